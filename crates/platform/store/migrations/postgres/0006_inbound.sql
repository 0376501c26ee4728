-- Messages that no commit took, with their octets: an operator's to look at, and the subscriber's to be erased. The notice
-- beside it is shown and logged, and holds none of them.
CREATE TABLE dead_letter (
  at timestamptz NOT NULL,
  msisdn bigint,                            -- originator, if it is an E.164 number
  channel text NOT NULL,                    -- bearer and link
  cause text NOT NULL,                      -- what the store said
  user_data_header bytea NOT NULL,
  payload bytea NOT NULL
);
CREATE INDEX dead_letter_msisdn ON dead_letter (msisdn);
-- For the sweep that drops what never became whole.
CREATE INDEX message_part_arrived ON message_part (arrived);
DO $$
BEGIN
  IF to_regrole('simvault_inbound') IS NOT NULL THEN
    GRANT INSERT ON dead_letter TO simvault_inbound;
  END IF;
  IF to_regrole('simvault_application') IS NOT NULL THEN
    GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letter TO simvault_application;
  END IF;
END $$;
