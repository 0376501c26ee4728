-- The embedded store's schema. Times are microseconds UTC since 1970. Values start with an octet that names their format (D-113).
CREATE TABLE tenant (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO tenant VALUES ('default');

-- User table (SC-DB-03).
CREATE TABLE subscriber (
  id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL REFERENCES tenant,
  msisdn INTEGER NOT NULL,              -- E.164, at most 15 digits
  name TEXT NOT NULL,
  address TEXT NOT NULL DEFAULT '',
  login TEXT,
  password_hash TEXT,                   -- salted hash, never the password
  state INTEGER NOT NULL,               -- 0 active, 1 suspended, 2 service off (SC-AC-02)
  closes INTEGER,                       -- when the account ends (D-126)
  legal_hold INTEGER NOT NULL DEFAULT 0,
  UNIQUE (msisdn, tenant)
) STRICT;

-- Device table (SC-DB-04); a replaced card stays, closed (D-112).
CREATE TABLE device (
  subscriber_id INTEGER NOT NULL REFERENCES subscriber,
  id INTEGER NOT NULL,
  iccid TEXT NOT NULL UNIQUE,
  profile INTEGER NOT NULL,             -- 1 E1, 2 E2, 3 E3 (D-50)
  bearer INTEGER NOT NULL,              -- preferred channel: 0 SMS, 1 IP
  ip_key BLOB,
  opened INTEGER NOT NULL,
  closed INTEGER,
  PRIMARY KEY (subscriber_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX device_open ON device (subscriber_id) WHERE closed IS NULL;

-- Monitor and checksum tables, last message, counters, settings (SC-DB-05, SC-DB-06, SC-DB-09, D-119): one guarded row.
CREATE TABLE device_state (
  subscriber_id INTEGER NOT NULL,
  device_id INTEGER NOT NULL,
  version INTEGER NOT NULL,
  downlink_counter INTEGER NOT NULL,    -- first counter that no edge has been lent (D-114)
  mismatch_since INTEGER,               -- D-62
  data BLOB NOT NULL,
  PRIMARY KEY (subscriber_id, device_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_state_mismatch ON device_state (mismatch_since) WHERE mismatch_since IS NOT NULL;

-- Data table (SC-DB-08): 16 records a page.
CREATE TABLE book_page (
  subscriber_id INTEGER NOT NULL,
  device_id INTEGER NOT NULL,
  file INTEGER NOT NULL,                -- DF and EF identifiers, 16 bits each
  page INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (subscriber_id, device_id, file, page)
) STRICT, WITHOUT ROWID;

-- Journal: one row per accepted message; history, idempotency record and inbound action (D-118, SC-DB-10, SC-DB-13).
CREATE TABLE book_change (
  subscriber_id INTEGER NOT NULL,
  device_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  id INTEGER NOT NULL,
  source INTEGER NOT NULL,              -- 0 backup, 1 restore, 2 operator, 3 sync
  dedup INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (subscriber_id, device_id, at, id)
) STRICT, WITHOUT ROWID;

-- Outbound actions (SC-DB-11, Table 7, D-54).
CREATE TABLE outbound_action (
  subscriber_id INTEGER NOT NULL,
  id INTEGER NOT NULL,
  device_id INTEGER NOT NULL,
  msisdn INTEGER NOT NULL,
  created INTEGER NOT NULL,             -- load time and date
  due INTEGER NOT NULL,
  receipt INTEGER,
  attempts INTEGER NOT NULL,
  kind INTEGER NOT NULL,                -- type: 1 acknowledgement, 2 restore, 3 addressable restore, 4 configuration
  subtype INTEGER NOT NULL,
  state INTEGER NOT NULL,               -- 0 queued, 1 sent (acknowledgement pending), 2 waiting, 3 done, 4 failed, 5 cancelled
  channel INTEGER NOT NULL,             -- 0 SMS, 1 IP
  link TEXT,
  bearer_message_id TEXT,
  cause TEXT NOT NULL,
  content BLOB NOT NULL,
  traces BLOB NOT NULL,                 -- 16 octets each
  PRIMARY KEY (subscriber_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbound_action_due ON outbound_action (due) WHERE state < 2;
CREATE INDEX outbound_action_ordered ON outbound_action (subscriber_id, device_id, id) WHERE state < 3 AND kind > 1;
CREATE INDEX outbound_action_stuck ON outbound_action (state, id) WHERE state IN (2, 4);
CREATE INDEX outbound_action_launched ON outbound_action (bearer_message_id, link) WHERE state = 1 AND bearer_message_id IS NOT NULL;

-- One per incoming signal (D-64); only ever appended.
CREATE TABLE billing_event (
  at INTEGER NOT NULL,
  msisdn INTEGER,
  subscriber_id INTEGER,
  channel TEXT NOT NULL,
  octets INTEGER NOT NULL,
  first_octet INTEGER,
  duplicate INTEGER NOT NULL,
  account_state TEXT NOT NULL
) STRICT;

CREATE TABLE notice (at INTEGER NOT NULL, msisdn INTEGER, kind TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE INDEX notice_at ON notice (at);

-- Parts of long messages that wait for their others (TS 23.040 9.2.3.24).
CREATE TABLE message_part (
  msisdn INTEGER NOT NULL,
  reference INTEGER NOT NULL,
  total INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  user_data_header BLOB NOT NULL,
  payload BLOB NOT NULL,
  arrived INTEGER NOT NULL,
  PRIMARY KEY (msisdn, reference, total, sequence)
) STRICT, WITHOUT ROWID;

-- The last UTC day on which a number got an error message (D-115), in days since 1970.
CREATE TABLE error_reply (msisdn INTEGER PRIMARY KEY, day INTEGER NOT NULL) STRICT;

CREATE TABLE audit (at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL) STRICT;

CREATE TABLE lease (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ip_session (device_id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX ip_session_endpoint ON ip_session (endpoint);

CREATE TABLE setting (scope TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (scope, key)) STRICT, WITHOUT ROWID;

-- One row, written by every readiness check: a write that comes back proves that writes come back.
CREATE TABLE readiness (id INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;
INSERT INTO readiness VALUES (1, 0);
