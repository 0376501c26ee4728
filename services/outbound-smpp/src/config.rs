//! Settings of the outbound SMPP edge.

use std::{ops::RangeInclusive, time::Duration};

use edge::{
    delivered::{EVENT_BUFFER, RATE},
    link::{self, Bind, LinkSettings},
    slot,
};
use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};

/// Accepted windows of a link.
pub const WINDOW: RangeInclusive<u64> = 1..=10_000;
/// Accepted pauses of a throttled link, milliseconds.
pub const THROTTLE_PAUSE: RangeInclusive<u64> = 1..=10_000;

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served: `outbound.v1.OutboundChannel`. Its `drain_grace` has to be longer than `hold` and a link's
    /// `response` together, so that a stop leaves no launch without its answer. Default of it here: 20 s.
    pub server: rpc::ServerConfig,
    /// The application servers, which keep operating parameters and bind slots. Default none: changes of parameters
    /// last until the process ends, and every link binds.
    pub application_server: rpc::EndpointsConfig,
    /// The inbound data processors, for what an SMSC delivers on transceiver binds. Default none: it is answered
    /// `ESME_RX_T_APPN`, so that the SMSC brings it to a receiver bind.
    pub inbound_data: rpc::EndpointsConfig,
    /// Streams to the inbound data processors.
    pub ingest: rpc::stream::BatchClientConfig,
    /// Links to SMSCs, transmitter or transceiver; at least one.
    pub links: Vec<LinkSettings>,
    /// Messages unanswered on one link, 1 to 10000. Default 100.
    pub window: u64,
    /// Messages a second on one link, up to 1000000; 0: no limit. Default 0.
    pub rate: u64,
    /// First pause of a link whose SMSC answers `ESME_RTHROTTLED`, 1 ms to 10 s; doubled each time, at most 10 s.
    /// Default 250 ms.
    #[serde(with = "duration")]
    pub throttle_pause: Duration,
    /// How long a launch waits for a link with room, 0 s to 10 s. Default 1 s.
    #[serde(with = "duration")]
    pub hold: Duration,
    /// After what time a launch that was refused for now may come again, and a destination whose queue is full rests,
    /// 10 ms to 1 min. Default 1 s.
    #[serde(with = "duration")]
    pub retry_after: Duration,
    /// Launches of one stream that may be unanswered, 1 to 100000. Default 2000.
    pub unanswered_max: usize,
    /// Delivered messages of one transceiver link that wait unparsed, 1 to 30000. Default 1000.
    pub event_buffer: u64,
    /// Name of this process where bind slots are kept. Default empty: a random one.
    pub instance: String,
    /// How long the lease of a bind slot lasts: at least half as long again as `drain` and a second, to 7.5 min. Default 20 s.
    #[serde(with = "duration")]
    pub slot_ttl: Duration,
    /// For emptying the window before a link is unbound, 0 s to 5 min. Default 10 s.
    #[serde(with = "duration")]
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: rpc::ServerConfig { drain_grace: Duration::from_secs(20), ..rpc::ServerConfig::default() },
            application_server: rpc::EndpointsConfig::default(),
            inbound_data: rpc::EndpointsConfig::default(),
            ingest: rpc::stream::BatchClientConfig::default(),
            links: Vec::new(),
            window: 100,
            rate: 0,
            throttle_pause: Duration::from_millis(250),
            hold: Duration::from_secs(1),
            retry_after: Duration::from_secs(1),
            unanswered_max: 2000,
            event_buffer: 1000,
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
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        let mut problems = Problem::under("server", self.server.problems());
        problems.extend(Problem::under("application_server", self.application_server.problems()));
        problems.extend(Problem::under("inbound_data", self.inbound_data.problems()));
        problems.extend(Problem::under("ingest", self.ingest.problems()));
        problems.extend(link::problems(&self.links, Bind::Receiver));
        problems.extend(
            [
                Problem::range("window", self.window, WINDOW),
                Problem::range("rate", self.rate, RATE),
                Problem::duration_range("throttle_pause", self.throttle_pause, millis(1)..=seconds(10)),
                Problem::duration_range("hold", self.hold, Duration::ZERO..=seconds(10)),
                Problem::duration_range("retry_after", self.retry_after, millis(10)..=seconds(60)),
                Problem::range("unanswered_max", self.unanswered_max, 1..=100_000),
                Problem::range("event_buffer", self.event_buffer, EVENT_BUFFER),
                Problem::duration_range("slot_ttl", self.slot_ttl, slot::ttl_min(self.drain)..=seconds(450)),
                Problem::duration_range("drain", self.drain, Duration::ZERO..=seconds(300)),
            ]
            .into_iter()
            .flatten(),
        );
        problems
    }
}
