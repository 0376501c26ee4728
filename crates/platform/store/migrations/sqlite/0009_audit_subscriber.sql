-- The audit log of one subscriber is found by key. Every writer names the subscriber first: "subscriber ID:" or
-- "subscriber ID ".
ALTER TABLE audit ADD COLUMN subscriber_id INTEGER GENERATED ALWAYS AS (
  CASE WHEN what GLOB 'subscriber [0-9]*'
    AND substr(what, 12 + length(CAST(substr(what, 12) AS INTEGER)), 1) IN (' ', ':')
  THEN CAST(substr(what, 12) AS INTEGER) END) VIRTUAL;
CREATE INDEX audit_subscriber ON audit (subscriber_id, at) WHERE subscriber_id IS NOT NULL;
