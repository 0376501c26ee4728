//! Settings of the outbound action processor.

use std::time::Duration;

use domain::security::Keyring;
use runtime::config::{Problem, Secret, Validate, duration};
use serde::{Deserialize, Serialize};

/// Everything that can be set, with its default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where health, reflection and diagnostics are served.
    pub server: rpc::ServerConfig,
    /// Name of this process among the consumers of the queue, different for every process. Default `outbound-action-`
    /// and the process id.
    pub consumer: String,
    /// Launchers of short messages. Default none: nothing goes by SMS.
    pub sms: rpc::EndpointsConfig,
    /// Launchers of IP messages. Default none: nothing goes by IP.
    pub ip: rpc::EndpointsConfig,
    /// Streams to the launchers. A launcher answers when the network has, so a stream is given 5 s before it is left.
    pub streams: rpc::stream::BatchClientConfig,
    /// How long the first acknowledgement of a device waits for others, 0 to 500 ms (D-56). Default 200 ms.
    #[serde(with = "duration")]
    pub hold: Duration,
    /// Queue entries taken and not finished at once, per channel, 128 to 65 536. Default 4096.
    pub in_flight_max: usize,
    /// How long a refused launch is tried again here before the row's due time is moved, 0 to 20 s: less than the lease,
    /// or another replica would take it over. Default 10 s.
    #[serde(with = "duration")]
    pub patience: Duration,
    /// Entries that another consumer left unfinished for this long are taken over, 1 s to 5 min: longer than `patience`
    /// and the streams' deadline together, or what is only slow is taken over. Default 30 s.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// Deliveries after which an entry goes to the dead-letter list, 2 to 100; none is counted while the store is away.
    /// Default 10.
    pub deliveries_max: u32,
    /// How often the janitor looks for what is due and not queued, 100 ms to 10 min: a resume message of an asynchronous
    /// backup leaves so much later than its time at worst (AS-V1-02). Default 500 ms.
    #[serde(with = "duration")]
    pub janitor_interval: Duration,
    /// Actions of one channel that one round of the janitor queues at most, and the rows of one page that it looks at,
    /// 1 to 100 000. Default 2000.
    pub janitor_actions_max: u32,
    /// How old an action must be before the janitor calls it missing from the queue, 0 to 10 min: longer than a commit
    /// takes to reach the queue. Default 5 s.
    #[serde(with = "duration")]
    pub settle: Duration,
    /// First delay of the retry ladder, 1 s to 1 d (D-128). Default 5 min.
    #[serde(with = "duration")]
    pub retry_first: Duration,
    /// Longest delay of the retry ladder, 1 s to 7 d. Default 1 d.
    #[serde(with = "duration")]
    pub retry_cap: Duration,
    /// Launches before an action waits for the card, 1 to 100. Default 12.
    pub attempts_max: u32,
    /// How long a device may be unreachable by IP before SMS takes its place, 0 to 1 d (D-69). Default 60 s.
    #[serde(with = "duration")]
    pub ip_fallback: Duration,
    /// Between two looks for a device that has no IP session, 1 s to 1 h. Default 10 s.
    #[serde(with = "duration")]
    pub ip_retry: Duration,
    /// Short messages per card and day before it is slowed to one per `sms_slowed` and reported (D-121), 0 to 1 000 000;
    /// 0: no limit. Default 1000.
    pub sms_budget_per_day: u32,
    /// Between two short messages of a card over its budget, 1 s to 1 d. Default 5 min.
    #[serde(with = "duration")]
    pub sms_slowed: Duration,
    /// What the keys of cards are derived from or kept under (D-125): 64 hexadecimal digits, the same in inbound-data,
    /// outbound-action and application-server. Default none: no device can be secured.
    pub master_key: Secret,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            server: rpc::ServerConfig::default(),
            consumer: format!("outbound-action-{}", std::process::id()),
            sms: rpc::EndpointsConfig::default(),
            ip: rpc::EndpointsConfig::default(),
            streams: rpc::stream::BatchClientConfig {
                progress: seconds(5),
                deadline: seconds(15),
                ..rpc::stream::BatchClientConfig::default()
            },
            hold: Duration::from_millis(200),
            in_flight_max: 4096,
            patience: seconds(10),
            lease: seconds(30),
            deliveries_max: 10,
            janitor_interval: Duration::from_millis(500),
            janitor_actions_max: 2000,
            settle: seconds(5),
            retry_first: seconds(300),
            retry_cap: seconds(86_400),
            attempts_max: 12,
            ip_fallback: seconds(60),
            ip_retry: seconds(10),
            sms_budget_per_day: 1000,
            sms_slowed: seconds(300),
            master_key: Secret::default(),
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<Problem> {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        let day = seconds(86_400);
        let consumer = (!(1..=200).contains(&self.consumer.len()))
            .then(|| Problem::new("consumer", format!("{:?}", self.consumer), "1 to 200 octets"));
        let slowest = self.patience.saturating_add(self.streams.deadline);
        let lease = (self.lease <= slowest).then(|| {
            let expected = format!("longer than patience and streams.deadline together, {slowest:?}");
            Problem::new("lease", format!("{:?}", self.lease), expected)
        });
        let master_key = Keyring::from_setting(self.master_key.expose()).err();
        let master_key = master_key.map(|expected| Problem::new("master_key", "another text (not shown)", expected));
        [
            consumer,
            lease,
            master_key,
            Problem::duration_range("hold", self.hold, Duration::ZERO..=millis(500)),
            Problem::range("in_flight_max", self.in_flight_max, 128..=65_536),
            Problem::duration_range("patience", self.patience, Duration::ZERO..=seconds(20)),
            Problem::duration_range("lease", self.lease, seconds(1)..=seconds(300)),
            Problem::range("deliveries_max", self.deliveries_max, 2..=100),
            Problem::duration_range("janitor_interval", self.janitor_interval, millis(100)..=seconds(600)),
            Problem::range("janitor_actions_max", self.janitor_actions_max, 1..=100_000),
            Problem::duration_range("settle", self.settle, Duration::ZERO..=seconds(600)),
            Problem::duration_range("retry_first", self.retry_first, seconds(1)..=day),
            Problem::duration_range("retry_cap", self.retry_cap, seconds(1)..=day * 7),
            Problem::range("attempts_max", self.attempts_max, 1..=100),
            Problem::duration_range("ip_fallback", self.ip_fallback, Duration::ZERO..=day),
            Problem::duration_range("ip_retry", self.ip_retry, seconds(1)..=seconds(3600)),
            Problem::range("sms_budget_per_day", self.sms_budget_per_day, 0..=1_000_000),
            Problem::duration_range("sms_slowed", self.sms_slowed, seconds(1)..=day),
        ]
        .into_iter()
        .flatten()
        .chain(Problem::under("server", self.server.problems()))
        .chain(Problem::under("sms", self.sms.problems()))
        .chain(Problem::under("ip", self.ip.problems()))
        .chain(Problem::under("streams", self.streams.problems()))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlasts_the_slowest_launch() {
        assert_eq!(Config::default().problems(), []);
        let keys = |config: Config| config.problems().into_iter().map(|problem| problem.key).collect::<Vec<_>>();
        let short = Config { lease: Duration::from_secs(25), ..Config::default() };
        assert_eq!(keys(short), ["lease"], "patience of 10 s and a deadline of 15 s");
        assert_eq!(keys(Config { lease: Duration::from_millis(25_001), ..Config::default() }), [] as [&str; 0]);
    }
}
