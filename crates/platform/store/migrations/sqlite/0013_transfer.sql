-- Transfer between devices (NK): sessions, what a user has stored, and who else may fetch it.

-- One session of a device with the centre; the value holds where it is (D-91, D-92).
CREATE TABLE transfer_session (
  subscriber_id INTEGER NOT NULL,
  device_id INTEGER NOT NULL,
  id INTEGER NOT NULL,                  -- 32 bits, made by the centre
  last_traffic INTEGER NOT NULL,        -- of the device: a day later it cannot be resumed (D-92)
  data BLOB NOT NULL,
  PRIMARY KEY (subscriber_id, device_id, id)
) STRICT;
CREATE INDEX transfer_session_traffic ON transfer_session (last_traffic);

-- Items, by the session that staged them. Those of a collection's version are visible, all others are not: publishing moves
-- none (NK-ST-02).
CREATE TABLE transfer_item (
  subscriber_id INTEGER NOT NULL,       -- whose collection it is
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,              -- from 1, in the order in which they came
  kind INTEGER NOT NULL,                -- 1 data, 2 setting (D-91)
  key BLOB NOT NULL,
  value BLOB NOT NULL,                  -- at most 65 536 octets (D-93)
  PRIMARY KEY (subscriber_id, session, number)
) STRICT;

-- At most five of a user, each whole (D-93, NK-ST-01).
CREATE TABLE transfer_collection (
  subscriber_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,             -- the session of its items
  stored INTEGER NOT NULL,
  origin INTEGER NOT NULL,              -- the device that it came from
  data INTEGER NOT NULL,                -- items of this kind
  settings INTEGER NOT NULL,
  octets INTEGER NOT NULL,              -- keys and values
  PRIMARY KEY (subscriber_id, name)
) STRICT;
CREATE INDEX transfer_collection_stored ON transfer_collection (stored);

-- The owner lets another user fetch a collection of that name (NK-SE-02).
CREATE TABLE transfer_consent (
  subscriber_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  to_subscriber INTEGER NOT NULL,
  given INTEGER NOT NULL,
  PRIMARY KEY (subscriber_id, name, to_subscriber)
) STRICT;
CREATE INDEX transfer_consent_to ON transfer_consent (to_subscriber);
