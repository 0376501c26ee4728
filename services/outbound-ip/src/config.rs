//! Settings of the IP launcher.

use std::time::Duration;

use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served: `outbound.v1.OutboundChannel`.
    pub server: rpc::ServerConfig,
    /// The application servers, which keep the registry of sessions.
    pub application_server: rpc::EndpointsConfig,
    /// TLS towards the replicas of `inbound-ip`; none: plain text. Default none.
    pub edge_tls: Option<rpc::ClientTls>,
    /// How long a session's place is believed without asking again, 0 s to 5 min. Default 5 s.
    #[serde(with = "duration")]
    pub cache: Duration,
    /// Places remembered at most, 1 to 10 000 000. Default 100 000.
    pub cache_max: usize,
    /// For one push, 10 ms to 1 min. Default 900 ms: within the time after which callers take a stream for dead.
    #[serde(with = "duration")]
    pub push_deadline: Duration,
    /// Launches of one stream at a time, 1 to 4096. Default 256.
    pub window: usize,
    /// What a caller is told to wait after a failure that passes, 100 ms to 1 h. Default 5 s.
    #[serde(with = "duration")]
    pub retry_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: rpc::ServerConfig::default(),
            application_server: rpc::EndpointsConfig::default(),
            edge_tls: None,
            cache: Duration::from_secs(5),
            cache_max: 100_000,
            push_deadline: Duration::from_millis(900),
            window: 256,
            retry_after: Duration::from_secs(5),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let (tenth, minute) = (Duration::from_millis(100), Duration::from_secs(60));
        [
            Problem::duration_range("cache", self.cache, Duration::ZERO..=5 * minute),
            Problem::range("cache_max", self.cache_max, 1..=10_000_000),
            Problem::duration_range("push_deadline", self.push_deadline, Duration::from_millis(10)..=minute),
            Problem::range("window", self.window, 1..=4096),
            Problem::duration_range("retry_after", self.retry_after, tenth..=60 * minute),
        ]
        .into_iter()
        .flatten()
        .chain(Problem::under("server", self.server.problems()))
        .chain(Problem::under("application_server", self.application_server.problems()))
        .collect()
    }
}
