-- Transfer between devices (NK): sessions, what a user has stored, and who else may fetch it.

-- One session of a device with the centre; the value holds where it is (D-91, D-92).
CREATE TABLE transfer_session (
  subscriber_id bigint NOT NULL,
  device_id bigint NOT NULL,
  id bigint NOT NULL,                       -- 32 bits, made by the centre
  last_traffic timestamptz NOT NULL,        -- of the device: a day later it cannot be resumed (D-92)
  data bytea NOT NULL,
  PRIMARY KEY (subscriber_id, device_id, id)
);
CREATE INDEX transfer_session_traffic ON transfer_session (last_traffic);

-- Items, by the session that staged them. Those of a collection's version are visible, all others are not: publishing moves
-- none (NK-ST-02).
CREATE TABLE transfer_item (
  subscriber_id bigint NOT NULL,            -- whose collection it is
  session bigint NOT NULL,
  number integer NOT NULL,                  -- from 1, in the order in which they came
  kind smallint NOT NULL,                   -- 1 data, 2 setting (D-91)
  key bytea NOT NULL,
  value bytea NOT NULL,                     -- at most 65 536 octets (D-93)
  PRIMARY KEY (subscriber_id, session, number)
);

-- At most five of a user, each whole (D-93, NK-ST-01).
CREATE TABLE transfer_collection (
  subscriber_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  version bigint NOT NULL,                  -- the session of its items
  stored timestamptz NOT NULL,
  origin bigint NOT NULL,                   -- the device that it came from
  data integer NOT NULL,                    -- items of this kind
  settings integer NOT NULL,
  octets integer NOT NULL,                  -- keys and values
  PRIMARY KEY (subscriber_id, name)
);
CREATE INDEX transfer_collection_stored ON transfer_collection (stored);

-- The owner lets another user fetch a collection of that name (NK-SE-02).
CREATE TABLE transfer_consent (
  subscriber_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  to_subscriber bigint NOT NULL,
  given timestamptz NOT NULL,
  PRIMARY KEY (subscriber_id, name, to_subscriber)
);
CREATE INDEX transfer_consent_to ON transfer_consent (to_subscriber);

DO $$
BEGIN
  IF to_regrole('simvault_inbound') IS NOT NULL THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON transfer_session, transfer_item, transfer_collection TO simvault_inbound;
    GRANT SELECT, DELETE ON transfer_consent TO simvault_inbound;
  END IF;
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON transfer_session, transfer_item, transfer_collection, transfer_consent
      TO simvault_application;
  END IF;
END $$;
