-- Messages that no commit took, with their octets: an operator's to look at, and the subscriber's to be erased.
CREATE TABLE dead_letter (
  at INTEGER NOT NULL, msisdn INTEGER, channel TEXT NOT NULL, cause TEXT NOT NULL, user_data_header BLOB NOT NULL,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX dead_letter_msisdn ON dead_letter (msisdn);
-- For the sweep that drops what never became whole.
CREATE INDEX message_part_arrived ON message_part (arrived);
