//! Names of this service's metrics.

use domain::phonebook::Bearer;

/// Messages by channel and outcome (`accepted`, `temporary`, `permanent`, `unanswered`).
pub const LAUNCHES: &str = "simvault_outbound_launches_total";
/// Messages that went as secured packets, by channel.
pub const SECURED: &str = "simvault_outbound_secured_total";
/// Acknowledgements that travelled in a message with others.
pub const COMBINED: &str = "simvault_outbound_combined_total";
/// Actions by what became of them (`done`, `sent`, `postponed`, `failed`, `waiting`).
pub const ACTIONS: &str = "simvault_outbound_actions_total";
/// Actions that the janitor put (back) into the queue.
pub const JANITOR: &str = "simvault_outbound_janitor_queued_total";
/// Rounds in which the janitor could not look: an alarm when it grows for minutes.
pub const JANITOR_FAILED: &str = "simvault_outbound_janitor_failed_total";
/// Outcomes that the store refused to write, so that their entries stay in the queue: an alarm.
pub const UNWRITTEN: &str = "simvault_outbound_unwritten_total";
/// Actions failed because their rows are damaged: an alarm.
pub const DAMAGED: &str = "simvault_outbound_damaged_total";
/// Looks at actions and queue entries that this release cannot read, or whose card's state does not decode, and which it
/// leaves as they are: an alarm when it grows while no update is under way.
pub const LEFT: &str = "simvault_outbound_left_total";
/// Devices without an IP session that were forgotten early because too many are remembered.
pub const REACH_FULL: &str = "simvault_outbound_reach_full_total";
/// Entries taken over from a replica that stopped.
pub const RECLAIMED: &str = "simvault_outbound_reclaimed_total";
/// Entries on the dead-letter list.
pub const BURIED: &str = "simvault_outbound_buried_total";
/// Messages held back because a card is over its budget: an alarm (D-121).
pub const OVER_BUDGET: &str = "simvault_outbound_over_budget_total";
/// Entries never delivered yet, by channel.
pub const QUEUE_WAITING: &str = "simvault_outbound_queue_waiting";
/// Entries delivered and not acknowledged, by channel.
pub const QUEUE_PENDING: &str = "simvault_outbound_queue_pending";
/// Age of the oldest entry, by channel.
pub const QUEUE_OLDEST_SECONDS: &str = "simvault_outbound_queue_oldest_seconds";

/// The label value of a channel.
pub fn channel(channel: Bearer) -> &'static str {
    match channel {
        Bearer::Sms => "sms",
        Bearer::Ip => "ip",
    }
}
