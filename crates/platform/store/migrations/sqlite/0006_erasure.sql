-- Erasures under way (PF-20): the account is gone, its billing events and notices go in bounded steps, then this row.
CREATE TABLE erasure (
  subscriber_id INTEGER PRIMARY KEY,
  msisdn INTEGER NOT NULL,
  asked INTEGER NOT NULL                -- what came later under this number is somebody else's
) STRICT;
-- One entry for each event: those of nobody's account are looked for by number.
CREATE INDEX billing_event_subscriber ON billing_event (subscriber_id, at) WHERE subscriber_id IS NOT NULL;
CREATE INDEX billing_event_stranger ON billing_event (msisdn, at) WHERE subscriber_id IS NULL;
CREATE INDEX notice_msisdn ON notice (msisdn, at) WHERE msisdn IS NOT NULL;
