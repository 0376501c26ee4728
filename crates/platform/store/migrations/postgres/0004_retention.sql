-- Retention (D-126). One bounded step: drops the oldest day of one parent that lies wholly before `before`; when there is none, deletes at most
-- `rows_max` such rows from the rest. Answers how many rows went (of a day: the planner's estimate, at least 1). What went
-- of the journal is remembered: from there on books can be shown as of earlier times.
CREATE FUNCTION simvault_expire(parent text, before timestamptz, rows_max integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
  partition regclass;
  gone bigint;
BEGIN
  IF parent NOT IN ('book_change', 'billing_event') THEN
    RAISE EXCEPTION 'no partitions by day: %', parent USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT inhrelid::regclass, greatest(reltuples::bigint, 1) INTO partition, gone
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = parent::regclass AND relname ~ '_[0-9]{8}$'
      AND (to_date(right(relname, 8), 'YYYYMMDD') + 1)::timestamptz <= before
    ORDER BY relname LIMIT 1;
  IF partition IS NOT NULL THEN
    EXECUTE format('DROP TABLE %s', partition);
  ELSE
    EXECUTE format('DELETE FROM %1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM %1$I WHERE at < $1 LIMIT $2))',
      parent || '_rest') USING before, rows_max;
    GET DIAGNOSTICS gone = ROW_COUNT;
  END IF;
  IF parent = 'book_change' AND gone > 0 THEN
    INSERT INTO setting (scope, key, value)
      VALUES ('retention', 'journal_from', (extract(epoch FROM before) * 1000000)::bigint::text)
      ON CONFLICT (scope, key) DO UPDATE SET value = greatest(setting.value::bigint, EXCLUDED.value::bigint)::text;
  END IF;
  RETURN gone;
END $$;

REVOKE ALL ON FUNCTION simvault_expire FROM PUBLIC;
DO $$
BEGIN
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION simvault_expire TO simvault_application;
  END IF;
END $$;

-- Nothing ever called it, and it locks for as long as there are days to drop.
DROP FUNCTION simvault_drop_partitions(text, date);
