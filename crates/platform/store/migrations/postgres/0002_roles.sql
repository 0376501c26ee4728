-- The three roles of the store (D-124), made when the migrating user may; an operator gives them their passwords or
-- certificates. Their settings stand on the role, because a session's setting does not survive PgBouncer.
DO $$
DECLARE
  role text;
  setting text;
  may boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
  FOREACH role IN ARRAY ARRAY['simvault_inbound', 'simvault_outbound', 'simvault_application'] LOOP
    IF to_regrole(role) IS NULL AND may THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', role);
        FOREACH setting IN ARRAY ARRAY['plan_cache_mode = force_generic_plan', 'jit = off', 'enable_seqscan = off',
          'enable_hashjoin = off', 'enable_mergejoin = off', 'enable_bitmapscan = off', 'enable_memoize = off',
          'statement_timeout = ''10s'''] LOOP
          EXECUTE format('ALTER ROLE %I SET %s', role, setting);
        END LOOP;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        -- Roles belong to all databases of a server: another one's migration was quicker.
        NULL;
      END;
    END IF;
    IF to_regrole(role) IS NULL THEN
      RAISE WARNING 'role % is not there and % may not make it: make it, then grant what 0002_roles.sql says', role, current_user;
      CONTINUE;
    END IF;
    EXECUTE format('GRANT SELECT ON subscriber, device, device_state, schema_version TO %I', role);
    EXECUTE format('GRANT SELECT, UPDATE ON readiness, outbound_action TO %I', role);
    EXECUTE format('GRANT INSERT ON notice TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION simvault_create_partitions TO %I', role);
  END LOOP;

  IF to_regrole('simvault_inbound') IS NOT NULL THEN
    GRANT UPDATE ON device_state TO simvault_inbound;
    GRANT SELECT, INSERT, UPDATE ON book_page, error_reply TO simvault_inbound;
    GRANT INSERT ON book_change, billing_event, outbound_action TO simvault_inbound;
    GRANT SELECT, INSERT, UPDATE, DELETE ON message_part TO simvault_inbound;
  END IF;
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON tenant, subscriber, device, device_state, book_page, book_change,
      outbound_action, billing_event, notice, message_part, error_reply, lease, ip_session, setting TO simvault_application;
    -- What an operator did cannot be undone or altered by the services.
    GRANT SELECT, INSERT ON audit TO simvault_application;
    GRANT EXECUTE ON FUNCTION simvault_drop_partitions TO simvault_application;
  END IF;
END $$;
