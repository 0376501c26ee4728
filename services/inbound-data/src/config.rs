//! Settings of the inbound data processor.

use std::time::Duration;

use domain::{delivery::RetryLadder, phonebook::apply::Policy, security::Keyring};
use runtime::config::{Problem, Secret, Validate, duration};
use serde::{Deserialize, Serialize};

use crate::{plant, spacing::SpacingConfig};

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the edges reach this service.
    pub server: rpc::ServerConfig,
    /// Number of this process among all that make ids, 0 to 1023; different for every process. Default: from the
    /// process id.
    pub node: u16,
    /// Workers, each with its share of the subscribers and its own store connection, 1 to 16. Default 2.
    pub workers: usize,
    /// Messages that wait for one worker, 64 to 65 536; full means that the edges wait. Default 4096.
    pub waiting_max: usize,
    /// Messages of one commit, 1 to 1024. Default 256.
    pub batch_max: usize,
    /// What a sender is told to wait when the store cannot write, 10 ms to 60 s. Default 500 ms.
    #[serde(with = "duration")]
    pub retry_after: Duration,
    /// How long the parts of a long message wait for the others, 1 min to 7 days. Default 24 h.
    #[serde(with = "duration")]
    pub parts_age_max: Duration,
    /// Parts of incomplete long messages that one number may have waiting, 255 to 65 536. Default 1024.
    pub parts_max: usize,
    /// How often old parts are dropped and marked devices looked at, 100 ms to 10 min. Default 15 s.
    #[serde(with = "duration")]
    pub sweep_interval: Duration,
    /// Marked devices that one sweep looks at, 1 to 10 000. Default 500.
    pub sweep_devices_max: u32,
    /// How long a repeat without a reference is recognised, 0 s to 1 day (D-110). Default 10 min.
    #[serde(with = "duration")]
    pub duplicate_window: Duration,
    /// Status events that a checksum mismatch is given to heal by itself, 1 to 10 000 (D-62, D-124). Default 72.
    pub grace_status_events: u32,
    /// Least time between two resynchronisations of a device, 0 s to 1 day (D-62). Default 10 min.
    #[serde(with = "duration")]
    pub resynchronisation_spacing: Duration,
    /// Resynchronisations of a device in 24 h, 1 to 1000 (D-62). Default 3.
    pub resynchronisations_per_day: usize,
    /// What late messages of an E3 card are given before a mismatch counts, 1 s to 1 h (D-61). Default 30 s.
    #[serde(with = "duration")]
    pub third_grace: Duration,
    /// Between two resynchronisations of an E1 card, which has no checksum to compare, 0 s to 365 days; 0: never by
    /// itself (D-129). Default 7 days.
    #[serde(with = "duration")]
    pub first_interval: Duration,
    /// An E1 card that was silent for so long in a resynchronisation has told all, 1 s to 1 day. Default 30 min.
    #[serde(with = "duration")]
    pub first_quiet: Duration,
    /// First delay of the retry ladder, 1 to 86 400 s; as in outbound-action (D-128). Default 300.
    pub retry_first_seconds: u64,
    /// Longest delay of the retry ladder, 1 to 604 800 s. Default 86 400.
    pub retry_cap_seconds: u64,
    /// Launches before an action waits for the card, 1 to 100. Default 12.
    pub attempts_max: u32,
    /// When a card is asked for the next blocks of an asynchronous backup, if it leaves that to the centre.
    pub asynchronous: SpacingConfig,
    /// Launchers that send error messages by SMS. Default none: they are counted and not sent.
    pub error_sms: rpc::EndpointsConfig,
    /// Launchers that send error messages by IP. Default none.
    pub error_ip: rpc::EndpointsConfig,
    /// Answer an alert of the network or the next message of a card by resuming what waits for it. Default true.
    pub resume_waiting: bool,
    /// What the keys of cards are derived from or kept under (D-125): 64 hexadecimal digits, the same in inbound-data,
    /// outbound-action and application-server. Default none: no device can be secured.
    pub master_key: Secret,
}

impl Default for Config {
    fn default() -> Self {
        let (policy, ladder) = (Policy::default(), RetryLadder::default());
        Self {
            server: rpc::ServerConfig::default(),
            node: u16::try_from(std::process::id() % 1024).unwrap_or_default(),
            workers: 2,
            waiting_max: 4096,
            batch_max: 256,
            retry_after: Duration::from_millis(500),
            parts_age_max: Duration::from_secs(24 * 3600),
            parts_max: 1024,
            sweep_interval: Duration::from_secs(15),
            sweep_devices_max: 500,
            duplicate_window: policy.duplicate_window,
            grace_status_events: policy.grace_status_events,
            resynchronisation_spacing: policy.resynchronisation_spacing,
            resynchronisations_per_day: policy.resynchronisations_per_day,
            third_grace: policy.third_grace,
            first_interval: policy.first_interval.unwrap_or_default(),
            first_quiet: policy.first_quiet,
            retry_first_seconds: ladder.first.as_secs(),
            retry_cap_seconds: ladder.cap.as_secs(),
            attempts_max: ladder.attempts_max,
            asynchronous: SpacingConfig::default(),
            error_sms: rpc::EndpointsConfig::default(),
            error_ip: rpc::EndpointsConfig::default(),
            resume_waiting: true,
            master_key: Secret::default(),
        }
    }
}

impl Config {
    /// The rules that the domain applies.
    pub fn policy(&self) -> Policy {
        Policy {
            duplicate_window: self.duplicate_window,
            recognise_duplicates: !plant::FORGETS_DUPLICATES,
            grace_status_events: self.grace_status_events,
            resynchronisation_spacing: self.resynchronisation_spacing,
            resynchronisations_per_day: self.resynchronisations_per_day,
            third_grace: self.third_grace,
            first_interval: (!self.first_interval.is_zero()).then_some(self.first_interval),
            first_quiet: self.first_quiet,
            ladder: RetryLadder {
                first: Duration::from_secs(self.retry_first_seconds),
                cap: Duration::from_secs(self.retry_cap_seconds),
                attempts_max: self.attempts_max,
                ..RetryLadder::default()
            },
            spacing: self.asynchronous.spacing(),
            ..Policy::default()
        }
    }
}

fn master_key_problem(key: &Secret) -> Option<Problem> {
    let expected = Keyring::from_setting(key.expose()).err()?;
    Some(Problem::new("master_key", "another text (not shown)", expected))
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        const DAY: u64 = 86_400;
        let own = [
            Problem::range("node", self.node, 0..=1023),
            Problem::range("workers", self.workers, 1..=16),
            Problem::range("waiting_max", self.waiting_max, 64..=65_536),
            Problem::range("batch_max", self.batch_max, 1..=1024),
            Problem::duration_range("retry_after", self.retry_after, millis(10)..=seconds(60)),
            Problem::duration_range("parts_age_max", self.parts_age_max, seconds(60)..=seconds(7 * DAY)),
            Problem::range("parts_max", self.parts_max, 255..=65_536),
            Problem::duration_range("sweep_interval", self.sweep_interval, millis(100)..=seconds(600)),
            Problem::range("sweep_devices_max", self.sweep_devices_max, 1..=10_000),
            Problem::duration_range("duplicate_window", self.duplicate_window, Duration::ZERO..=seconds(DAY)),
            Problem::range("grace_status_events", self.grace_status_events, 1..=10_000),
            Problem::duration_range(
                "resynchronisation_spacing",
                self.resynchronisation_spacing,
                Duration::ZERO..=seconds(DAY),
            ),
            Problem::range("resynchronisations_per_day", self.resynchronisations_per_day, 1..=1000),
            Problem::duration_range("third_grace", self.third_grace, seconds(1)..=seconds(3600)),
            Problem::duration_range("first_interval", self.first_interval, Duration::ZERO..=seconds(365 * DAY)),
            Problem::duration_range("first_quiet", self.first_quiet, seconds(1)..=seconds(DAY)),
            Problem::range("retry_first_seconds", self.retry_first_seconds, 1..=DAY),
            Problem::range("retry_cap_seconds", self.retry_cap_seconds, 1..=7 * DAY),
            Problem::range("attempts_max", self.attempts_max, 1..=100),
        ];
        own.into_iter()
            .flatten()
            .chain(Problem::under("server", self.server.problems()))
            .chain(Problem::under("asynchronous", self.asynchronous.problems()))
            .chain(Problem::under("error_sms", self.error_sms.problems()))
            .chain(Problem::under("error_ip", self.error_ip.problems()))
            .chain(master_key_problem(&self.master_key))
            .collect()
    }
}
