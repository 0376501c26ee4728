//! The timers and limits of a session, one table (SMPP 3.4 7.2 for the timers).

use std::time::Duration;

use crate::INTERFACE_VERSION_3_4;

/// Settings of one session; all are plain values, so that a service can read them from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Requests that may be unanswered at once in our direction. Default 100, range 1..=65,536.
    pub window_max: usize,
    /// Requests of the peer that the owner may have unanswered; beyond it they get `ESME_RTHROTTLED`. Default 1000.
    pub inbound_window_max: usize,
    /// Largest frame accepted, octets. Default and ceiling 65,536.
    pub command_length_max: usize,
    /// `session_init_timer`: from connecting until bound. Default 10 s.
    pub session_init_timeout: Duration,
    /// `enquire_link_timer`: silence of the peer before it is asked for life. Default 30 s.
    pub enquire_link_interval: Duration,
    /// `response_timer`: from a request to its response. Default 10 s.
    pub response_timeout: Duration,
    /// `inactivity_timer`: no message in either direction; then the link is unbound. Default none.
    pub inactivity_timeout: Option<Duration>,
    /// Written into bind and bind response (`sc_interface_version`). Default 0x34.
    pub interface_version: u8,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            window_max: 100,
            inbound_window_max: 1000,
            command_length_max: crate::framer::COMMAND_LENGTH_LIMIT,
            session_init_timeout: Duration::from_secs(10),
            enquire_link_interval: Duration::from_secs(30),
            response_timeout: Duration::from_secs(10),
            inactivity_timeout: None,
            interface_version: INTERFACE_VERSION_3_4,
        }
    }
}

/// Largest window that can be configured.
pub const WINDOW_LIMIT: usize = 65_536;
