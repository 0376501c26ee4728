-- Retention (D-126).
CREATE INDEX outbound_action_ended ON outbound_action (due) WHERE state > 2;
