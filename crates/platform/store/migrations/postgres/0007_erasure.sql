-- Erasures under way (PF-20): the account is gone, its billing events and notices go in bounded steps, then this row.
CREATE TABLE erasure (
  subscriber_id bigint PRIMARY KEY,
  msisdn bigint NOT NULL,
  asked timestamptz NOT NULL                -- what came later under this number is somebody else's
);
-- One entry for each event: those of nobody's account are looked for by number.
CREATE INDEX billing_event_subscriber ON billing_event (subscriber_id, at) WHERE subscriber_id IS NOT NULL;
CREATE INDEX billing_event_stranger ON billing_event (msisdn, at) WHERE subscriber_id IS NULL;
CREATE INDEX notice_msisdn ON notice (msisdn, at) WHERE msisdn IS NOT NULL;

-- A message waits for another transaction's lock for a moment, not until its batch fails.
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['simvault_inbound', 'simvault_outbound', 'simvault_application'] LOOP
    IF to_regrole(role) IS NOT NULL THEN
      BEGIN
        EXECUTE format('ALTER ROLE %I SET lock_timeout = ''2s''', role);
      EXCEPTION WHEN insufficient_privilege OR internal_error THEN
        -- Not ours to alter, or another database's migration alters it at this moment.
        RAISE WARNING 'role % keeps its lock_timeout: set it to 2s', role;
      END;
    END IF;
  END LOOP;
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT SELECT, INSERT, DELETE ON erasure TO simvault_application;
  END IF;
END $$;
