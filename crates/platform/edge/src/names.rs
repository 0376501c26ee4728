//! Names of the metrics of the SMPP edges.

/// Messages delivered by the SMSC, by `link` and `answer`: stored, duplicate, refused, retry, unreachable, throttled.
pub const DELIVERED: &str = "simvault_smpp_delivered_total";
/// Messages that wait in the event buffer, by `link`.
pub const EVENT_BUFFER: &str = "simvault_smpp_event_buffer_messages";
/// Delivery receipts, by `outcome`: matched, held, unmatched, unreadable, full, unreachable.
pub const RECEIPTS: &str = "simvault_smpp_receipts_total";
/// Messages submitted, by `link` and `outcome`: accepted, temporary, permanent, unanswered.
pub const SUBMITTED: &str = "simvault_smpp_submitted_total";
/// Answers `ESME_RTHROTTLED` and `ESME_RMSGQFUL` of the SMSC, by `link`.
pub const THROTTLED: &str = "simvault_smpp_throttled_total";
