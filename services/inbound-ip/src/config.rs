//! Settings of the IP edge.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use runtime::config::{Problem, Secret, Validate, duration};
use serde::{Deserialize, Serialize};

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where cards and phones connect. Default 0.0.0.0:7474.
    pub listen: SocketAddr,
    /// TLS on [`Self::listen`]; none: plain TCP (tests, or TLS ended before the edge). Default none.
    pub tls: Option<Tls>,
    /// Where gRPC is served: `session.v1.IpSession`.
    pub server: rpc::ServerConfig,
    /// `host:port` at which `outbound-ip` reaches this replica's gRPC. Default empty: the address that is listened on.
    pub advertise: String,
    /// The inbound data processors.
    pub inbound_data: rpc::EndpointsConfig,
    /// Streams of messages to the inbound data processors.
    pub ingest: rpc::stream::BatchClientConfig,
    /// The application servers, which keep the registry of sessions.
    pub application_server: rpc::EndpointsConfig,
    /// Name of this link in messages, records and metrics, 1 to 64 characters. Default `ip`.
    pub link: String,
    /// Connections at most, 1 to 1 000 000; a further one is closed at once. Default 20 000.
    pub connections_max: usize,
    /// From connection to the end of the first verified frame, TLS included, 1 s to 5 min. Default 20 s.
    #[serde(with = "duration")]
    pub opening: Duration,
    /// A connection on which nothing arrives for this time is closed, 5 s to 1 d. Default 15 min.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// A peer that takes no octets for this time is closed, 1 s to 5 min. Default 10 s.
    #[serde(with = "duration")]
    pub write: Duration,
    /// Messages of one connection that wait for the inbound data processor, 1 to 1024; then nothing more is read. Default 16.
    pub window: usize,
    /// Further attempts to hand over one message, 0 to 20; then it is dropped, for the card repeats it (D-36). Default 4.
    pub retries: u32,
    /// Before the first further attempt, doubled each time, 1 ms to 1 min. Default 250 ms.
    #[serde(with = "duration")]
    pub retry_pause: Duration,
    /// Between two full reports of the sessions to the registry, 1 s to 1 h. Default 1 min.
    #[serde(with = "duration")]
    pub snapshot: Duration,
    /// For what was received to be handed over after a stop, 1 s to 5 min. Default 20 s.
    #[serde(with = "duration")]
    pub drain: Duration,
}

/// Certificate and key, each the path of a PEM file or the PEM text itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificate: String,
    /// The private key.
    pub key: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7474)),
            tls: None,
            server: rpc::ServerConfig::default(),
            advertise: String::new(),
            inbound_data: rpc::EndpointsConfig::default(),
            ingest: rpc::stream::BatchClientConfig::default(),
            application_server: rpc::EndpointsConfig::default(),
            link: "ip".to_owned(),
            connections_max: 20_000,
            opening: Duration::from_secs(20),
            idle: Duration::from_secs(900),
            write: Duration::from_secs(10),
            window: 16,
            retries: 4,
            retry_pause: Duration::from_millis(250),
            snapshot: Duration::from_secs(60),
            drain: Duration::from_secs(20),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let link =
            (!(1..=64).contains(&self.link.len())).then(|| Problem::new("link", &self.link, "1 to 64 characters"));
        [
            link,
            Problem::range("connections_max", self.connections_max, 1..=1_000_000),
            Problem::range("window", self.window, 1..=1024),
            Problem::range("retries", self.retries, 0..=20),
            Problem::duration_range("opening", self.opening, second..=5 * minute),
            Problem::duration_range("idle", self.idle, 5 * second..=1440 * minute),
            Problem::duration_range("write", self.write, second..=5 * minute),
            Problem::duration_range("retry_pause", self.retry_pause, Duration::from_millis(1)..=minute),
            Problem::duration_range("snapshot", self.snapshot, second..=60 * minute),
            Problem::duration_range("drain", self.drain, Duration::ZERO..=5 * minute),
        ]
        .into_iter()
        .flatten()
        .chain(Problem::under("server", self.server.problems()))
        .chain(Problem::under("inbound_data", self.inbound_data.problems()))
        .chain(Problem::under("ingest", self.ingest.problems()))
        .chain(Problem::under("application_server", self.application_server.problems()))
        .collect()
    }
}
