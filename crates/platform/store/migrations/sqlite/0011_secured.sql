-- Counters of secured packets towards a card (D-127): the highest that was ever reserved.
ALTER TABLE device_state ADD COLUMN secured_counter INTEGER NOT NULL DEFAULT 0;
