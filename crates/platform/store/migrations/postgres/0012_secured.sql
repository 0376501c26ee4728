-- Counters of secured packets towards a card (D-127): the highest that was ever reserved. Moved only by reserving, before a
-- packet leaves, so that no counter is used twice whatever dies when. All else about a device's security is in its state.
ALTER TABLE device_state ADD COLUMN secured_counter bigint NOT NULL DEFAULT 0;
DO $$
BEGIN
  IF to_regrole('simvault_outbound') IS NOT NULL THEN
    GRANT UPDATE (secured_counter) ON device_state TO simvault_outbound;
  END IF;
END $$;
