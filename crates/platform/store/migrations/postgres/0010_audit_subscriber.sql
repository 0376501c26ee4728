-- The audit log of one subscriber is found by key. The column is made from the text, in which every writer names the
-- subscriber first, so that rows of before and of a replica that is not updated yet have it too.
ALTER TABLE audit ADD COLUMN subscriber_id bigint
  GENERATED ALWAYS AS (substring(what FROM '^subscriber ([0-9]{1,19})[ :]')::bigint) STORED;
CREATE INDEX audit_subscriber ON audit (subscriber_id, at) WHERE subscriber_id IS NOT NULL;

-- Retention. What an operator did cannot be altered by the services, and taken away only when it is old: whatever is asked,
-- the last 90 days stay.
CREATE FUNCTION simvault_expire_audit(before timestamptz, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  gone bigint;
BEGIN
  DELETE FROM audit WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM audit WHERE at < least(before, now() - interval '90 days') ORDER BY at LIMIT rows_max));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

REVOKE ALL ON FUNCTION simvault_expire_audit FROM PUBLIC;
DO $$
BEGIN
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION simvault_expire_audit TO simvault_application;
  END IF;
END $$;
