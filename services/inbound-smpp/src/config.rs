//! Settings of the inbound SMPP edge.

use std::time::Duration;

use edge::{
    delivered::{EVENT_BUFFER, RATE, WINDOW},
    link::{self, Bind, LinkSettings},
    slot,
};
use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served.
    pub server: rpc::ServerConfig,
    /// The inbound data processors.
    pub inbound_data: rpc::EndpointsConfig,
    /// Streams to them. Their deadline has to be below the SMSC's response timer. Default: deadline 5 s.
    pub ingest: rpc::stream::BatchClientConfig,
    /// The application servers, which keep operating parameters and bind slots. Default none: changes of parameters
    /// last until the process ends, and every link binds.
    pub application_server: rpc::EndpointsConfig,
    /// Links to SMSCs, receiver or transceiver; at least one.
    pub links: Vec<LinkSettings>,
    /// Delivered messages of one link that wait unparsed, 1 to 30000; then the SMSC is held back. Default 1000.
    pub event_buffer: u64,
    /// Messages of one link that are handed over and unanswered, 1 to 10000. Default 1000.
    pub window: u64,
    /// Messages of one link handed over a second, up to 1000000; 0: no limit. Default 0.
    pub rate: u64,
    /// Name of this process where bind slots are kept. Default empty: a random one.
    pub instance: String,
    /// How long the lease of a bind slot lasts: at least half as long again as `drain` and a second, to 7.5 min. Default 20 s.
    #[serde(with = "duration")]
    pub slot_ttl: Duration,
    /// For answering what was delivered before a link is unbound, 0 s to 5 min. Default 10 s.
    #[serde(with = "duration")]
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: rpc::ServerConfig::default(),
            inbound_data: rpc::EndpointsConfig::default(),
            ingest: rpc::stream::BatchClientConfig::default(),
            application_server: rpc::EndpointsConfig::default(),
            links: Vec::new(),
            event_buffer: 1000,
            window: 1000,
            rate: 0,
            instance: String::new(),
            slot_ttl: Duration::from_secs(20),
            drain: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// [`Self::instance`], or a random name.
    pub(crate) fn owner(&self) -> String {
        if self.instance.is_empty() {
            format!("{}-{}", crate::NAME, runtime::TraceId::random())
        } else {
            self.instance.clone()
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let seconds = Duration::from_secs;
        let mut problems = Problem::under("server", self.server.problems());
        problems.extend(Problem::under("inbound_data", self.inbound_data.problems()));
        problems.extend(Problem::under("ingest", self.ingest.problems()));
        problems.extend(Problem::under("application_server", self.application_server.problems()));
        problems.extend(link::problems(&self.links, Bind::Transmitter));
        problems.extend(
            [
                Problem::range("event_buffer", self.event_buffer, EVENT_BUFFER),
                Problem::range("window", self.window, WINDOW),
                Problem::range("rate", self.rate, RATE),
                Problem::duration_range("slot_ttl", self.slot_ttl, slot::ttl_min(self.drain)..=seconds(450)),
                Problem::duration_range("drain", self.drain, Duration::ZERO..=seconds(300)),
            ]
            .into_iter()
            .flatten(),
        );
        problems
    }
}
