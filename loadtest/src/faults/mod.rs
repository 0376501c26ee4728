//! `faults`: kills every part of a running centre under load, again and again, and then compares every card with what
//! the centre stored. Nothing that was acknowledged may be lost, nothing may be stored twice, nothing may stay
//! unacknowledged, and traffic flows again by itself after every kill.
//!
//! Start with [`run`]; the end's comparison is in `compare`, what replicas share and what the dead one gets in `replicas`,
//! entries that never succeed in `letters`, and what is kept of a difference in `way`.

mod compare;
mod letters;
mod replicas;
mod way;

use std::{
    path::PathBuf,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use compare::Comparison;
pub use replicas::Share;

use crate::{
    load::{self, Load, Pace},
    smsc::{Faults, Leg, Smsc, SmscConfig, SmscHandle},
    topology::{SERVICES, Topology, TopologyConfig},
};

/// What is done to the centre.
#[derive(Clone, Debug)]
pub struct FaultsConfig {
    pub simvault: PathBuf,
    /// Kills in all.
    pub kills: usize,
    /// No kill begins later than this.
    pub length: Option<Duration>,
    /// For the moments of the kills, and all else that is random.
    pub seed: u64,
    pub cards: usize,
    /// Messages a second.
    pub per_second: f64,
    /// For configuration files and logs.
    pub folder: PathBuf,
}

/// What is killed, with SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One replica of a service, the first or the second in turn.
    One(&'static str),
    /// All replicas of a service at once.
    All(&'static str),
    /// Redis, and all that it held.
    Redis,
    /// Redis and what it held, with the processes that had taken entries out of it: only the table knows of these.
    QueueAndItsReaders,
    /// Postgres, while it has commits of the centre before it that it has not made yet.
    Postgres,
}

/// Every service alone, every service as a whole, the servers; what holds data on its way comes most often.
const DECK: [Victim; 18] = [
    Victim::All("inbound-data"),
    Victim::Postgres,
    Victim::QueueAndItsReaders,
    Victim::One("inbound-data"),
    Victim::One("inbound-smpp"),
    Victim::One("outbound-action"),
    Victim::Redis,
    Victim::One("outbound-smpp"),
    Victim::One("application-server"),
    Victim::All("inbound-smpp"),
    Victim::One("inbound-data"),
    Victim::One("outbound-ip"),
    Victim::All("outbound-action"),
    Victim::One("inbound-ip"),
    Victim::All("outbound-smpp"),
    Victim::All("application-server"),
    Victim::All("inbound-ip"),
    Victim::All("outbound-ip"),
];

/// Records of each card's book.
const RECORDS: u8 = 48;
/// A kill hits at least so many messages on their way ...
const IN_FLIGHT_MIN: u64 = 50;
/// ... and is over when so many more were acknowledged, and every replica is healthy again ...
const FLOWING: u64 = 100;
/// ... not before the death was noticed and the next start has begun: a corpse may still be thought healthy ...
const RECOVERY_MIN: Duration = Duration::from_millis(1500);
/// ... and within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(45);
/// For the last messages to be acknowledged.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// For services to end in which something is stuck.
const STALLED_STOP_MAX: Duration = Duration::from_secs(5);
/// How long servers stay away.
const SERVER_DOWN: Duration = Duration::from_millis(500);
/// How long commits are held up before Postgres is killed.
const COMMITS_HELD: Duration = Duration::from_millis(250);
/// Messages that the network delivers twice before the kills begin.
const DUPLICATION: f64 = 0.3;

/// One kill.
#[derive(Clone, Debug)]
pub struct Kill {
    pub victim: String,
    /// Messages of cards that were not over at that moment, and of these, those without an answer of the centre.
    pub in_flight: u64,
    pub unanswered: u64,
    /// Messages acknowledged to cards since the last kill.
    pub acknowledged_before: u64,
    /// Until traffic flowed and every replica was healthy.
    pub recovered: Duration,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct FaultsReport {
    pub kills: Vec<Kill>,
    pub shares: Vec<Share>,
    /// Short messages that told a card nothing new: harmless, and counted.
    pub repeated_acknowledgements: u64,
    pub short_messages: u64,
    pub redelivered: u64,
    /// Entries that were made so that they never succeed, and are on the dead-letter list.
    pub poisoned: u64,
    /// Other dead letters, and failed actions: none is expected.
    pub dead_letters: u64,
    pub comparison: Comparison,
    /// What went wrong besides the differences of the comparison.
    pub failures: Vec<String>,
    /// Traffic did not flow again after a kill: the run was given up, and nothing compared.
    pub has_stalled: bool,
}

impl FaultsReport {
    /// Nothing went wrong and nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.comparison.differences.is_empty()
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let kills: Vec<Value> = self
            .kills
            .iter()
            .map(|kill| {
                json!({
                    "victim": kill.victim,
                    "in_flight": kill.in_flight,
                    "unanswered": kill.unanswered,
                    "acknowledged_before": kill.acknowledged_before,
                    "recovered_seconds": kill.recovered.as_secs_f64(),
                })
            })
            .collect();
        let comparison = &self.comparison;
        json!({
            "clean": self.is_clean(),
            "stalled": self.has_stalled,
            "kills": kills,
            "shares": self.shares.iter().map(Share::json).collect::<Vec<_>>(),
            "cards": comparison.cards,
            "messages": comparison.messages,
            "journal_rows": comparison.journal_rows,
            "records": comparison.records,
            "billing_events": comparison.billing_events,
            "billing_repeats": comparison.billing_repeats,
            "redelivered": self.redelivered,
            "short_messages": self.short_messages,
            "poisoned": self.poisoned,
            "dead_letters": self.dead_letters,
            "repeated_acknowledgements": self.repeated_acknowledgements,
            "differences": comparison.differences,
            "differences_untold": comparison.untold,
            "failures": self.failures,
        })
    }
}

/// Runs it; `progress` gets one line per step.
///
/// # Errors
/// What does not start. What goes wrong afterwards is in the report.
pub async fn run(config: &FaultsConfig, progress: &dyn Fn(&str)) -> Result<FaultsReport> {
    let stop = CancellationToken::new();
    let _ends_with_us = stop.clone().drop_guard();
    let smsc_config = SmscConfig {
        redelivery_min: Duration::from_millis(200),
        redelivery_max: Duration::from_secs(2),
        seed: config.seed,
        ..SmscConfig::default()
    };
    let (smsc, phones) = Smsc::start(smsc_config, stop.clone()).await.context("the SMSC simulator")?;
    progress("starting Postgres, Redis and two of every service");
    let mut topology = TopologyConfig::new(config.folder.clone(), config.simvault.clone(), smsc.address());
    topology.impatient = true;
    let topology = Topology::start(topology).await?;
    let channel = topology.channel("application-server")?;
    load::accounts::create(channel, load::FIRST_MSISDN, config.cards, RECORDS).await?;
    let load = Load::start(smsc.clone(), phones, config.cards, RECORDS);
    let random = StdRng::seed_from_u64(config.seed);
    let mut run = Run { config, topology, smsc, load, random, report: FaultsReport::default(), turn: 0, listed: 0 };
    run.duplicates(progress).await?;
    run.shares(progress).await;
    run.dead_replicas(progress).await?;
    if !run.report.has_stalled {
        run.poison(progress).await?;
        run.kills(progress).await?;
    }
    if run.report.has_stalled { run.give_up(progress).await } else { run.end(progress).await }
}

/// How a centre stands after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Traffic flows by itself, and every replica is healthy.
    Flows,
    NotYet,
    /// It has had its time. The next kill would take as long and say the same.
    Stalled,
}

impl Standing {
    /// `waited`: since the kill; `missing`: acknowledgements short of what is called flowing.
    fn of(waited: Duration, missing: u64, has_sick: bool) -> Self {
        match missing == 0 && !has_sick {
            true if waited >= RECOVERY_MIN => Self::Flows,
            _ if waited > RECOVERY_MAX => Self::Stalled,
            _ => Self::NotYet,
        }
    }
}

struct Run<'a> {
    config: &'a FaultsConfig,
    topology: Topology,
    smsc: SmscHandle,
    load: Load,
    random: StdRng,
    report: FaultsReport,
    /// Which replica is next where one is killed.
    turn: usize,
    /// Poisoned entries on the dead-letter list of the Redis that runs now.
    listed: u64,
}

impl Run<'_> {
    fn pace(&self) -> Pace {
        Pace::Rate { per_second: self.config.per_second, window_max: 1000 }
    }

    /// A network that delivers many messages twice: each is stored once.
    async fn duplicates(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        progress("two seconds in which the network delivers many messages twice");
        let leg = Leg { duplication: DUPLICATION, ..Leg::default() };
        self.smsc.set_faults(None, Faults { mobile_originated: leg, ..Faults::default() }).await;
        self.load.set_pace(self.pace());
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.load.set_pace(Pace::Stopped);
        self.settle().await;
        self.smsc.set_faults(None, Faults::default()).await;
        Ok(())
    }

    async fn kills(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        let began = Instant::now();
        let mut acknowledged = self.load.counts().acknowledged.load(Relaxed);
        for (number, victim) in (1..=self.config.kills).zip(DECK.into_iter().cycle()) {
            if self.config.length.is_some_and(|length| began.elapsed() > length) {
                break;
            }
            let pause = Duration::from_millis(self.random.random_range(0..400));
            tokio::time::sleep(pause).await;
            self.wait_for_load().await;
            let counts = self.load.counts();
            let (in_flight, unanswered) = (counts.in_flight(), counts.unanswered());
            let now_acknowledged = counts.acknowledged.load(Relaxed);
            let killed_at = Instant::now();
            let name = self.kill(victim).await?;
            let acknowledged_before = now_acknowledged - acknowledged;
            progress(&format!(
                "kill {number:>3}: {name}: {in_flight} messages in flight ({unanswered} unanswered), {acknowledged_before} acknowledged since the last"
            ));
            if in_flight < IN_FLIGHT_MIN {
                self.fail(format!("kill {number} of {name} met only {in_flight} messages in flight"));
            }
            acknowledged = now_acknowledged;
            self.recover(&name, killed_at).await;
            let recovered = killed_at.elapsed();
            self.report.kills.push(Kill { victim: name, in_flight, unanswered, acknowledged_before, recovered });
            if self.report.has_stalled {
                break;
            }
        }
        Ok(())
    }

    /// Kills; answers the name of what was killed.
    async fn kill(&mut self, victim: Victim) -> Result<String> {
        Ok(match victim {
            Victim::One(service) => {
                self.turn += 1;
                let name = format!("{service}-{}", self.turn % self.topology.replicas() + 1);
                self.topology.keeper().kill9(&name)?;
                name
            }
            Victim::All(service) => {
                kill_all(&self.topology, service)?;
                format!("all of {service}")
            }
            Victim::Redis => {
                self.count_dead_letters().await?;
                self.topology.kill_and_wipe_redis(SERVER_DOWN).await?;
                self.listed = 0;
                "Redis, wiped".to_owned()
            }
            Victim::QueueAndItsReaders => {
                self.count_dead_letters().await?;
                kill_all(&self.topology, "outbound-action")?;
                self.topology.kill_and_wipe_redis(SERVER_DOWN).await?;
                self.listed = 0;
                "all of outbound-action and Redis, wiped".to_owned()
            }
            Victim::Postgres => {
                // Messages are read and decided, and their commits wait: whatever is answered before is lost now.
                self.topology.hold_commits(COMMITS_HELD).await?;
                self.topology.kill_postgres(SERVER_DOWN).await?;
                "Postgres".to_owned()
            }
        })
    }

    /// At least so much on its way that a kill hits something.
    async fn wait_for_load(&self) {
        let began = Instant::now();
        while self.load.counts().in_flight() < IN_FLIGHT_MIN && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Until traffic flows by itself and every replica is healthy; too late is a failure, and the run's last.
    async fn recover(&mut self, name: &str, since: Instant) {
        let counts = self.load.counts();
        let wanted = counts.acknowledged.load(Relaxed) + FLOWING;
        loop {
            let missing = wanted.saturating_sub(self.load.counts().acknowledged.load(Relaxed));
            let sick = self.topology.sick();
            match Standing::of(since.elapsed(), missing, !sick.is_empty()) {
                Standing::Flows => return,
                Standing::NotYet => tokio::time::sleep(Duration::from_millis(20)).await,
                Standing::Stalled => {
                    let sick = sick.join(", ");
                    self.fail(format!("{name}: traffic does not flow {RECOVERY_MAX:?} later ({missing} acknowledgements short; not healthy: {sick})"));
                    self.report.has_stalled = true;
                    return;
                }
            }
        }
    }

    /// Waits until nothing is on its way; whether it came to that.
    async fn settle(&mut self) -> bool {
        let began = Instant::now();
        while self.load.counts().in_flight() > 0 {
            if began.elapsed() > SETTLE_MAX {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Stops the load, waits for the last acknowledgement, compares.
    async fn end(mut self, progress: &dyn Fn(&str)) -> Result<FaultsReport> {
        self.load.set_pace(Pace::Stopped);
        progress("no more messages; waiting for the last acknowledgement");
        if !self.settle().await {
            let (in_flight, unanswered) = (self.load.counts().in_flight(), self.load.counts().unanswered());
            self.fail(format!(
                "{in_flight} messages are not over {SETTLE_MAX:?} after the last ({unanswered} unanswered)"
            ));
        }
        let counts = self.load.counts();
        let failed = counts.failed.load(Relaxed);
        let refused = counts.refused_records.load(Relaxed);
        self.report.short_messages = counts.received.load(Relaxed);
        self.report.repeated_acknowledgements = counts.repeats.load(Relaxed);
        if failed > 0 || refused > 0 {
            self.fail(format!("{failed} messages and {refused} records were refused for good"));
        }
        self.count_dead_letters().await?;
        self.count_failed_actions().await?;
        let Self { topology, load, smsc, config, mut report, .. } = self;
        report.redelivered += load.report().await.redelivered;
        progress("comparing every card with the centre");
        let cards = load.end().await;
        report.comparison = compare::compare(&topology, &cards).await?;
        way::keep(&topology, &smsc, &report.comparison.different, &config.folder).await?;
        let killed = topology.stop(Duration::from_secs(40)).await?;
        if !killed.is_empty() {
            report.failures.push(format!("not stopped 40 s after SIGTERM: {}", killed.join(", ")));
        }
        Ok(report)
    }

    /// After a stall: what is on its way stays there, so there is nothing to wait for and nothing to compare.
    async fn give_up(self, progress: &dyn Fn(&str)) -> Result<FaultsReport> {
        progress("traffic has stalled: no more kills, and no comparison");
        self.load.set_pace(Pace::Stopped);
        let Self { topology, mut report, load, .. } = self;
        report.redelivered += load.report().await.redelivered;
        topology.stop(STALLED_STOP_MAX).await?;
        Ok(report)
    }

    fn fail(&mut self, text: String) {
        tracing::error!("{text}");
        self.report.failures.push(text);
    }
}

fn kill_all(topology: &Topology, service: &str) -> Result<()> {
    debug_assert!(SERVICES.contains(&service), "{service} is no service");
    for replica in 1..=topology.replicas() {
        topology.keeper().kill9(&format!("{service}-{replica}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_after_a_recovery_and_ends_with_the_first_stall() {
        let after = |millis| Duration::from_millis(millis);
        let late = RECOVERY_MAX + after(1);
        for (waited, missing, has_sick, expected) in [
            (after(100), 0, false, Standing::NotYet),
            (RECOVERY_MIN, 0, false, Standing::Flows),
            (RECOVERY_MIN, 1, false, Standing::NotYet),
            (RECOVERY_MIN, 0, true, Standing::NotYet),
            (RECOVERY_MAX, 1, true, Standing::NotYet),
            (late, 1, false, Standing::Stalled),
            (late, 0, true, Standing::Stalled),
            (late, 0, false, Standing::Flows),
        ] {
            assert_eq!(Standing::of(waited, missing, has_sick), expected, "{waited:?} {missing} {has_sick}");
        }
    }

    /// Whoever reads the report or the exit status is told.
    #[test]
    fn a_stalled_run_is_not_clean() {
        let failures = vec!["Redis: traffic does not flow".to_owned()];
        let report = FaultsReport { has_stalled: true, failures, ..FaultsReport::default() };
        assert!(!report.is_clean());
        assert_eq!((&report.json()["stalled"], &report.json()["clean"]), (&json!(true), &json!(false)));
    }
}
