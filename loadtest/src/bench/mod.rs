//! `bench`: what a message costs, in the form that survives a noisy machine (rounds of reference and subject in turn,
//! medians, CPU nanoseconds by process). Writes `docs/performance.md`.
//!
//! Start with [`run`]. Measuring: `measure`; references: `reference`; what is printed and written: `report`.

mod embedded;
mod measure;
mod reference;
mod report;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use domain::{
    identity::{DeviceKey, Msisdn},
    phonebook::{EF_ADN, Page, PageKey},
};
use store::{ApplicationStore, Audit, InboundCommit, StoreConfig};
use tokio_util::sync::CancellationToken;

pub use measure::{LOAD, POSTGRES, REDIS, Usage};
pub use report::{Latency, Results, Round};

use crate::{
    load::{self, Load, Pace, Report},
    load_card::{self, RECORD_OCTETS},
    smsc::{Smsc, SmscConfig, SmscHandle},
    topology::{Topology, TopologyConfig},
};
use measure::Snapshot;

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    pub simvault: PathBuf,
    /// Length of one round.
    pub seconds: u64,
    pub rounds: usize,
    pub cards: usize,
    /// Records of each card's book.
    pub records: u8,
    /// For configuration files, logs and the embedded store.
    pub folder: PathBuf,
}

/// Messages that may be unanswered when saturated.
const WINDOW: usize = 1000;
/// Before each measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest time to fill the books before anything counts.
const FILL_MAX: Duration = Duration::from_secs(60);
/// Books of 250 entries, and how often one is read (G9): often enough that what Postgres does for itself meanwhile, after
/// the load before, does not count.
const FULL_BOOKS: usize = 50;
const FULL_BOOK_READS: usize = 20_000;
const FULL_MSISDN: u64 = 491_800_000_000;
const FULL_RECORDS: u8 = 250;

/// Runs all of it; `progress` gets one line per step.
///
/// # Errors
/// What does not start, by name, or a message that was not accepted.
pub async fn run(config: &BenchConfig, progress: &dyn Fn(&str)) -> Result<Results> {
    let stop = CancellationToken::new();
    let _ends_with_us = stop.clone().drop_guard();
    let smsc_config = SmscConfig { keep_ledger: false, ..SmscConfig::default() };
    let (smsc, phones) = Smsc::start(smsc_config, stop.clone()).await.context("the SMSC simulator")?;
    progress("starting Postgres, Redis and two of every service");
    let topology = TopologyConfig::new(config.folder.clone(), config.simvault.clone(), smsc.address());
    let topology = Topology::start(topology).await?;
    reference::prepare_pgbench(&topology).await?;
    progress(&format!("creating {} accounts", config.cards));
    load::accounts::create(topology.channel("application-server")?, load::FIRST_MSISDN, config.cards, config.records)
        .await?;
    let full = FullBooks::create(&topology).await?;
    let load = Load::start(smsc.clone(), phones, config.cards, config.records);
    let mut bench = Bench { config, topology, smsc, load, full, results: Results::default() };
    bench.all(progress).await?;
    let Bench { topology, mut results, .. } = bench;
    let killed = topology.stop(Duration::from_secs(30)).await?;
    ensure!(killed.is_empty(), "not stopped within 30 s: {}", killed.join(", "));
    progress("every service in one process, embedded store");
    results.embedded = Some(embedded::run(config).await?);
    Ok(results)
}

struct Bench<'a> {
    config: &'a BenchConfig,
    topology: Topology,
    smsc: SmscHandle,
    load: Load,
    full: FullBooks,
    results: Results,
}

impl Bench<'_> {
    async fn all(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        self.results.settings = self.settings().await?;
        progress("filling the books");
        self.fill().await?;
        self.topology.sql("CHECKPOINT").await?;
        for round in 1..=self.config.rounds {
            progress(&format!("round {round} of {}", self.config.rounds));
            let pgbench = reference::pgbench(&self.topology, self.config.seconds).await?;
            let echo = reference::echo(Duration::from_secs(1)).await?;
            let round = self.round(Pace::Saturated { window: WINDOW }, pgbench, echo).await?;
            progress(&round.line());
            self.results.rounds.push(round);
        }
        for per_second in [2000, 10_000] {
            progress(&format!("{per_second} messages a second"));
            let latency = self.at_rate(per_second).await?;
            self.results.at_rate.push(latency);
        }
        self.one_bind(progress).await?;
        progress("reading books of 250 entries");
        self.results.full_book_micros = self.full_books().await?;
        let counts = self.load.counts();
        self.results.sums = report::Sums::of(counts);
        Ok(())
    }

    /// What the server says of what makes a commit durable.
    async fn settings(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT name || ' ' || setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', \
                   'full_page_writes', 'shared_buffers', 'server_version', 'wal_compression') ORDER BY name";
        let text = self.topology.sql(sql).await?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }

    /// Every record of every card written once, so that no page is new any more.
    async fn fill(&mut self) -> Result<()> {
        let groups = u64::from((self.config.records / load::RECORDS_PER_MESSAGE).max(1));
        let wanted = groups * u64::try_from(self.config.cards).unwrap_or(u64::MAX);
        let began = std::time::Instant::now();
        self.load.set_pace(Pace::Saturated { window: WINDOW });
        while self.load.counts().completed.load(std::sync::atomic::Ordering::Relaxed) < wanted
            && began.elapsed() < FILL_MAX
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.quiet().await
    }

    /// Stops the load and waits until nothing is under way.
    async fn quiet(&self) -> Result<()> {
        self.load.set_pace(Pace::Stopped);
        let began = std::time::Instant::now();
        while self.load.counts().in_flight() > 0 {
            ensure!(
                began.elapsed() < Duration::from_secs(60),
                "{} messages are not over a minute after the last was sent",
                self.load.counts().in_flight()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Runs at a pace, warm, for one round.
    async fn measure(&self, pace: Pace) -> Result<(Report, Usage, f64)> {
        self.load.set_pace(pace);
        tokio::time::sleep(WARM_UP).await;
        let wal_before = self.wal().await?;
        self.load.report().await;
        let before = Snapshot::take(&self.topology);
        tokio::time::sleep(Duration::from_secs(self.config.seconds)).await;
        let (report, after) = (self.load.report().await, Snapshot::take(&self.topology));
        let wal = self.wal().await? - wal_before;
        self.quiet().await?;
        ensure!(report.failed == 0, "{} messages were refused", report.failed);
        Ok((report, before.until(&after), wal))
    }

    /// Octets of WAL written so far.
    async fn wal(&self) -> Result<f64> {
        let text = self.topology.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").await?;
        text.parse().with_context(|| format!("octets of WAL: {text}"))
    }

    async fn round(&self, pace: Pace, pgbench: reference::PgBench, echo: f64) -> Result<Round> {
        let (report, usage, wal) = self.measure(pace).await?;
        let messages = report.accepted.max(1);
        Ok(Round { pgbench, echo, wal_octets: wal / load::count(messages), report, usage })
    }

    /// As many rounds as of the rest; the one in the middle by its 99th percentile stands for them, for one pause of a disk
    /// is that of a whole round.
    async fn at_rate(&self, per_second: u32) -> Result<Latency> {
        let pace = Pace::Rate { per_second: f64::from(per_second), window_max: 2 * WINDOW };
        let mut rounds = Vec::with_capacity(self.config.rounds);
        for _ in 0..self.config.rounds.max(1) {
            let (report, usage, _) = self.measure(pace).await?;
            rounds.push((load::millis(&report.answers, 0.99), report, usage));
        }
        rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let p99s = rounds.iter().map(|(p99, ..)| *p99).collect();
        let (_, report, usage) = rounds.swap_remove(rounds.len() / 2);
        Ok(Latency { name: format!("{per_second}/s"), wanted: Some(f64::from(per_second)), report, usage, p99s })
    }

    /// One receiver bind, small windows (G6).
    async fn one_bind(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        for replica in 2..=self.topology.replicas() {
            self.topology.keeper().suspend(&format!("inbound-smpp-{replica}"))?;
        }
        let links = 1 + self.topology.replicas();
        while self.smsc.links().await != links {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for window in [10, 100] {
            progress(&format!("one bind, window {window}"));
            let (report, usage, _) = self.measure(Pace::Saturated { window }).await?;
            let name = format!("one bind, window {window}");
            self.results.one_bind.push(Latency { name, wanted: None, report, usage, p99s: Vec::new() });
        }
        for replica in 2..=self.topology.replicas() {
            self.topology.keeper().resume(&format!("inbound-smpp-{replica}"));
        }
        self.topology.wait_healthy().await
    }

    /// CPU microseconds of Postgres for reading a book of 250 entries (G9).
    async fn full_books(&self) -> Result<f64> {
        self.full.read(FULL_BOOKS).await?;
        let before = Snapshot::take(&self.topology);
        self.full.read(FULL_BOOK_READS).await?;
        let usage = before.until(&Snapshot::take(&self.topology));
        Ok(usage.micros(POSTGRES, u64::try_from(FULL_BOOK_READS).unwrap_or(1)))
    }
}

/// Books of 250 entries, written and read through the store itself: what a restore reads.
struct FullBooks {
    store: Arc<dyn ApplicationStore>,
    devices: Vec<DeviceKey>,
}

impl FullBooks {
    async fn create(topology: &Topology) -> Result<Self> {
        load::accounts::create(topology.channel("application-server")?, FULL_MSISDN, FULL_BOOKS, FULL_RECORDS).await?;
        let store = store::open(&StoreConfig::at(topology.store_url())).await?.application;
        let mut devices = Vec::new();
        for number in (FULL_MSISDN..).take(FULL_BOOKS) {
            let msisdn = Msisdn::parse(&number.to_string())?;
            let account = store.account(msisdn).await?.context("an account that was just created")?;
            let (device, state) = account.devices.into_iter().next().context("a device")?;
            let mut pages: BTreeMap<PageKey, Page> = BTreeMap::new();
            for record in 1..=FULL_RECORDS {
                let Some((key, slot)) = PageKey::of(device.key, EF_ADN, record) else { continue };
                let page = pages.entry(key).or_insert_with(|| Page { slot_octets: RECORD_OCTETS, ..Page::default() });
                let octets = load_card::contents(number, record, 1).to_vec();
                if let Some(place) = page.slots.get_mut(slot) {
                    *place = Some(octets.into());
                }
            }
            let pages = pages.into_iter().collect();
            let commit = InboundCommit { states: vec![(device.key, state)], pages, ..InboundCommit::default() };
            let audit = Audit { at: device.opened, who: "bench".to_owned(), what: "a book of 250 entries".to_owned() };
            store.commit(commit, audit).await?;
            devices.push(device.key);
        }
        Ok(Self { store, devices })
    }

    async fn read(&self, times: usize) -> Result<()> {
        for device in self.devices.iter().cycle().take(times) {
            let book = self.store.book(*device).await?;
            let records: usize = book.iter().map(|(_, page)| page.slots.iter().flatten().count()).sum();
            ensure!(records == usize::from(FULL_RECORDS), "a full book has {records} records");
        }
        Ok(())
    }
}
