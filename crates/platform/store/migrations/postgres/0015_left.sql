-- An acknowledgement that left is taken away: what it acknowledged is in the journal. Deleting writes no index, where marking
-- it done wrote a second row with its own entries, for retention to delete later.
DO $$
BEGIN
  IF to_regrole('simvault_outbound') IS NOT NULL THEN
    GRANT DELETE ON outbound_action TO simvault_outbound;
  END IF;
END $$;
