-- What is due, channel by channel: a backlog of one channel hides nothing of the other's, and a page of it begins where
-- the one before ended. Takes the place of the index by time alone: an acknowledgement still writes two indexes.
CREATE INDEX outbound_action_due_by_channel ON outbound_action (channel, due, id) WHERE state < 2;
DROP INDEX outbound_action_due;

-- A delivery receipt may come behind the card's answer: a launch is looked for in every state.
CREATE INDEX outbound_action_launch ON outbound_action (bearer_message_id, link) WHERE bearer_message_id IS NOT NULL;
DROP INDEX outbound_action_launched;
