-- Orders to cards, newest first, of everybody: an acknowledgement writes neither index.
CREATE INDEX outbound_action_orders ON outbound_action (id) WHERE kind > 1;
CREATE INDEX outbound_action_open_orders ON outbound_action (id) WHERE kind > 1 AND state < 3;
