//! Names of the counters.

/// Connections accepted.
pub const CONNECTIONS: &str = "simvault_ip_connections_total";
/// Connections closed, by `reason`.
pub const CLOSED: &str = "simvault_ip_closed_total";
/// Sessions that are open now.
pub const SESSIONS: &str = "simvault_ip_sessions";
/// Frames refused, by `reason`.
pub const FRAMES_REFUSED: &str = "simvault_ip_frames_refused_total";
/// Payloads received and verified.
pub const MESSAGES: &str = "simvault_ip_messages_total";
/// Answers of the inbound data processor, by `outcome`.
pub const OUTCOMES: &str = "simvault_ip_outcomes_total";
/// Payloads dropped after the last attempt to hand them over.
pub const DROPPED: &str = "simvault_ip_messages_dropped_total";
/// Reports of delivered payloads, by `outcome`.
pub const DELIVERIES: &str = "simvault_ip_deliveries_total";
/// Payloads pushed to cards.
pub const PUSHED: &str = "simvault_ip_pushed_total";
