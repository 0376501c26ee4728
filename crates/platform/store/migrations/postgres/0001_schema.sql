-- Schema. Every key starts with subscriber_id (D-113), so that distribution by subscriber stays possible. Ids are made by
-- the services. Values (bytea) start with an octet that names their format. Times are UTC.

CREATE TABLE tenant (name text PRIMARY KEY);
INSERT INTO tenant VALUES ('default');

-- User table (SC-DB-03). Unique by number within a tenant; the number first, for messages come in by number.
CREATE TABLE subscriber (
  id bigint PRIMARY KEY,
  msisdn bigint NOT NULL,                   -- E.164, at most 15 digits
  closes timestamptz,                       -- when the account ends (D-126)
  state smallint NOT NULL,                  -- 0 active, 1 suspended, 2 service off (SC-AC-02)
  legal_hold boolean NOT NULL DEFAULT false,
  tenant text COLLATE "C" NOT NULL REFERENCES tenant,
  name text NOT NULL,
  address text NOT NULL DEFAULT '',
  login text,
  password_hash text,                       -- salted hash, never the password
  CONSTRAINT subscriber_msisdn UNIQUE (msisdn, tenant)
);

-- Device table (SC-DB-04); a replaced card stays, closed (D-112).
CREATE TABLE device (
  subscriber_id bigint NOT NULL REFERENCES subscriber,
  id bigint NOT NULL,
  opened timestamptz NOT NULL,
  closed timestamptz,
  profile smallint NOT NULL,                -- 1 E1, 2 E2, 3 E3 (D-50)
  bearer smallint NOT NULL,                 -- preferred channel: 0 SMS, 1 IP
  iccid text COLLATE "C" NOT NULL,
  ip_key bytea,                             -- key of the IP link (D-114)
  PRIMARY KEY (subscriber_id, id),
  CONSTRAINT device_iccid UNIQUE (iccid)
);
CREATE UNIQUE INDEX device_open ON device (subscriber_id) WHERE closed IS NULL;

-- Monitor and checksum tables, last message, counters, settings (SC-DB-05, SC-DB-06, SC-DB-09, D-119): one guarded row,
-- rewritten by nearly every message, so room is left on the page (heap-only updates).
CREATE TABLE device_state (
  subscriber_id bigint NOT NULL,
  device_id bigint NOT NULL,
  version bigint NOT NULL,                  -- guards every write
  downlink_counter bigint NOT NULL,         -- first counter that no edge has been lent (D-114)
  mismatch_since timestamptz,               -- D-62
  data bytea NOT NULL,
  PRIMARY KEY (subscriber_id, device_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE device_state ALTER data SET STORAGE EXTERNAL;
CREATE INDEX device_state_mismatch ON device_state (mismatch_since) WHERE mismatch_since IS NOT NULL;

-- Data table (SC-DB-08): 16 records a page.
CREATE TABLE book_page (
  subscriber_id bigint NOT NULL,
  device_id bigint NOT NULL,
  file integer NOT NULL,                    -- DF and EF identifiers, 16 bits each
  page smallint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (subscriber_id, device_id, file, page)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE book_page ALTER data SET STORAGE EXTERNAL;

-- Journal: one row per accepted message; history, idempotency record and inbound action (D-118, SC-DB-10, SC-DB-13).
CREATE TABLE book_change (
  subscriber_id bigint NOT NULL,
  device_id bigint NOT NULL,
  at timestamptz NOT NULL,
  id bigint NOT NULL,
  dedup bigint NOT NULL,                    -- D-110
  source smallint NOT NULL,                 -- 0 backup, 1 restore, 2 operator, 3 sync
  data bytea NOT NULL,                      -- old and new octets of each record
  PRIMARY KEY (subscriber_id, device_id, at, id)
) PARTITION BY RANGE (at);
-- Whatever no day's partition takes: a clock that is wrong must not stop the service.
CREATE TABLE book_change_rest PARTITION OF book_change DEFAULT;

-- Outbound actions (SC-DB-11, Table 7, D-54). Acknowledgements are most of them and use two indexes only.
CREATE TABLE outbound_action (
  subscriber_id bigint NOT NULL,
  id bigint NOT NULL,
  device_id bigint NOT NULL,
  msisdn bigint NOT NULL,
  created timestamptz NOT NULL,             -- load time and date
  due timestamptz NOT NULL,
  receipt timestamptz,
  attempts integer NOT NULL,
  kind smallint NOT NULL,                   -- type: 1 acknowledgement, 2 restore, 3 addressable restore, 4 configuration
  subtype smallint NOT NULL,
  state smallint NOT NULL,                  -- 0 queued, 1 sent (acknowledgement pending), 2 waiting, 3 done, 4 failed, 5 cancelled
  channel smallint NOT NULL,                -- 0 SMS, 1 IP
  link text COLLATE "C",
  bearer_message_id text COLLATE "C",
  cause text NOT NULL,
  content bytea NOT NULL,
  traces bytea NOT NULL,                    -- 16 octets each
  PRIMARY KEY (subscriber_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX outbound_action_due ON outbound_action (due) WHERE state < 2;
CREATE INDEX outbound_action_ordered ON outbound_action (subscriber_id, device_id, id) WHERE state < 3 AND kind > 1;
CREATE INDEX outbound_action_stuck ON outbound_action (state, id) WHERE state IN (2, 4);
CREATE INDEX outbound_action_launched ON outbound_action (bearer_message_id, link)
  WHERE state = 1 AND bearer_message_id IS NOT NULL;

-- One per incoming signal (D-64); only ever appended, read by day: no index.
CREATE TABLE billing_event (
  at timestamptz NOT NULL,
  msisdn bigint,
  subscriber_id bigint,
  octets integer NOT NULL,
  first_octet smallint,
  duplicate boolean NOT NULL,
  channel text NOT NULL,
  account_state text NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE billing_event_rest PARTITION OF billing_event DEFAULT;

CREATE TABLE notice (at timestamptz NOT NULL, msisdn bigint, kind text NOT NULL, text text NOT NULL);
CREATE INDEX notice_at ON notice (at);

-- Parts of long messages that wait for their others (TS 23.040 9.2.3.24).
CREATE TABLE message_part (
  msisdn bigint NOT NULL,
  arrived timestamptz NOT NULL,
  reference integer NOT NULL,
  total smallint NOT NULL,
  sequence smallint NOT NULL,
  user_data_header bytea NOT NULL,
  payload bytea NOT NULL,
  PRIMARY KEY (msisdn, reference, total, sequence)
);

-- The last UTC day on which a number got an error message (D-115), in days since 1970.
CREATE TABLE error_reply (msisdn bigint PRIMARY KEY, day integer NOT NULL);

CREATE TABLE audit (at timestamptz NOT NULL, who text NOT NULL, what text NOT NULL);

CREATE TABLE lease (name text PRIMARY KEY, owner text NOT NULL, epoch bigint NOT NULL, expires timestamptz NOT NULL);

CREATE TABLE ip_session (device_id bigint PRIMARY KEY, endpoint text NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ip_session_endpoint ON ip_session (endpoint);

CREATE TABLE setting (scope text NOT NULL, key text NOT NULL, value text NOT NULL, PRIMARY KEY (scope, key));

-- One row, written by every readiness check: a write that comes back proves that writes come back.
CREATE TABLE readiness (id smallint PRIMARY KEY, at timestamptz NOT NULL) WITH (fillfactor = 10);
INSERT INTO readiness VALUES (1, now());

-- Makes the partitions of yesterday, today and the days ahead. Called by every process that has the store; runs as the owner.
CREATE FUNCTION simvault_create_partitions(days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' SET timezone = 'UTC' AS $$
DECLARE
  day date;
  parent text;
  made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('simvault_partitions'));
  FOR day IN SELECT generate_series(current_date - 1, current_date + days, interval '1 day')::date LOOP
    FOREACH parent IN ARRAY ARRAY['book_change', 'billing_event'] LOOP
      IF to_regclass(format('%I', parent || to_char(day, '_YYYYMMDD'))) IS NULL THEN
        BEGIN
          EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            parent || to_char(day, '_YYYYMMDD'), parent, day::timestamptz, (day + 1)::timestamptz);
          made := made + 1;
        EXCEPTION WHEN check_violation THEN
          -- Rows of this day are in the rest already, and stay there.
          RAISE WARNING 'no partition of % for %: its rows are in the rest', parent, day;
        END;
      END IF;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- Retention (D-126): drops one parent's partitions of days before `before`; how many.
CREATE FUNCTION simvault_drop_partitions(parent text, before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '1s' AS $$
DECLARE
  partition regclass;
  dropped integer := 0;
BEGIN
  IF parent NOT IN ('book_change', 'billing_event') THEN
    RAISE EXCEPTION 'no partitions by day: %', parent USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR partition IN
    SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = parent::regclass AND relname ~ '_[0-9]{8}$' AND to_date(right(relname, 8), 'YYYYMMDD') < before
  LOOP
    EXECUTE format('DROP TABLE %s', partition);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;

REVOKE ALL ON FUNCTION simvault_create_partitions, simvault_drop_partitions FROM PUBLIC;
SELECT simvault_create_partitions(7);
