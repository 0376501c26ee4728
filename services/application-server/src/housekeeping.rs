//! What is kept for a time and no longer (D-126): ended actions, journal, billing events, collections, audit log. One process of all does it at a
//! time, in small steps with pauses, so that it never has more than half of a connection.

use std::{sync::Arc, time::Duration};

use domain::identity::Timestamp;
use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};
use store::{Expiring, StoreError};
use tokio_util::sync::CancellationToken;

use crate::App;

const LEASE: &str = "housekeeping";
const DAY_MICROS: i64 = 86_400_000_000;

/// How long things are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HousekeepingConfig {
    /// From one round to the next (default 1h, 1min to 1d).
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long actions stay that are done, failed or cancelled (default 7d, 1h to 3650d).
    #[serde(with = "duration")]
    pub ended_actions: Duration,
    /// How long the journal is kept, by whole days UTC: so far back books can be shown and restored (default 400d: the 13
    /// months of D-126; 1d to 36500d).
    #[serde(with = "duration")]
    pub journal: Duration,
    /// How long billing events are kept, by whole days UTC (default 400d, 1d to 36500d).
    #[serde(with = "duration")]
    pub billing: Duration,
    /// How long a collection of a transfer is kept that is not stored anew (default 400d, 1d to 36500d).
    #[serde(with = "duration")]
    pub collections: Duration,
    /// How long it stays who did and saw what (default 730d: 24 months; 90d to 36500d).
    #[serde(with = "duration")]
    pub audit: Duration,
    /// Rows removed in one transaction (default 1000, 10 to 100 000).
    pub batch_rows: u32,
}

impl Default for HousekeepingConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3600),
            ended_actions: days(7),
            journal: days(400),
            billing: days(400),
            collections: days(400),
            audit: days(730),
            batch_rows: 1000,
        }
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

impl Validate for HousekeepingConfig {
    fn problems(&self) -> Vec<Problem> {
        [
            Problem::duration_range("interval", self.interval, Duration::from_secs(60)..=days(1)),
            Problem::duration_range("ended_actions", self.ended_actions, Duration::from_secs(3600)..=days(3650)),
            Problem::duration_range("journal", self.journal, days(1)..=days(36_500)),
            Problem::duration_range("billing", self.billing, days(1)..=days(36_500)),
            Problem::duration_range("collections", self.collections, days(1)..=days(36_500)),
            Problem::duration_range("audit", self.audit, days(90)..=days(36_500)),
            Problem::range("batch_rows", self.batch_rows, 10..=100_000),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Rounds until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let interval = app.config.housekeeping.interval;
    // Whoever has the lease keeps it from round to round; when it is gone another takes over after two.
    let owner = format!("application-server-{}-{:016x}", app.config.node, rand::random::<u64>());
    let rounds = async {
        loop {
            match app.store.acquire_lease(LEASE, &owner, app.now(), interval * 2).await {
                Ok(lease) if lease.held => {
                    if let Err(error) = round(&app).await {
                        tracing::warn!(%error, "old rows were not all removed; the next round goes on");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the lease of housekeeping was not asked for"),
            }
            tokio::time::sleep(interval).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop.cancelled() => {}
    }
}

/// One round; also for tests. How many rows went, of actions, journal, billing, collections and audit log. What fails with one kind keeps no other.
///
/// # Errors
/// The store's first; what is left is for the next round.
pub async fn round(app: &App) -> Result<[u64; 5], StoreError> {
    let HousekeepingConfig { ended_actions, journal, billing, collections, audit, .. } = app.config.housekeeping;
    let now = app.now();
    erase_rest(app, Duration::MAX).await;
    let actions = remove(app, Expiring::EndedActions, "actions", earlier(now, ended_actions)).await;
    let journal = remove(app, Expiring::Journal, "journal", midnight(earlier(now, journal))).await;
    let billing = remove(app, Expiring::Billing, "billing", midnight(earlier(now, billing))).await;
    let collections = remove(app, Expiring::Collections, "collections", earlier(now, collections)).await;
    let audit = remove(app, Expiring::Audit, "audit", earlier(now, audit)).await;
    Ok([actions?, journal?, billing?, collections?, audit?])
}

async fn remove(app: &App, what: Expiring, name: &'static str, before: Timestamp) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let started = std::time::Instant::now();
        let gone = app.store.expire(what, before, app.config.housekeeping.batch_rows).await?;
        if gone == 0 {
            break;
        }
        metrics::counter!("simvault_application_rows_removed_total", "what" => name).increment(gone);
        removed += gone;
        tokio::time::sleep(started.elapsed()).await;
    }
    if removed > 0 {
        tracing::info!(what = name, rows = removed, "old rows removed");
    }
    Ok(removed)
}

/// Goes on with what is left of erased subscribers; how many rows went, and whether some are left.
pub(crate) async fn erase_rest(app: &App, within: Duration) -> (u64, bool) {
    let (begun, mut erased) = (std::time::Instant::now(), 0);
    while begun.elapsed() < within {
        let started = std::time::Instant::now();
        match app.store.erase_rest(app.config.housekeeping.batch_rows).await {
            Ok(0) => return (erased, false),
            Ok(gone) => {
                metrics::counter!("simvault_application_rows_removed_total", "what" => "erased").increment(gone);
                erased += gone;
            }
            Err(error) => {
                tracing::warn!(%error, "billing events and notices of erased subscribers are left for the next round");
                break;
            }
        }
        tokio::time::sleep(started.elapsed()).await;
    }
    (erased, true)
}

/// From when on the journal is surely whole, as far as the settings go.
pub(crate) fn journal_from(config: &HousekeepingConfig, now: Timestamp) -> Timestamp {
    earlier(now, config.journal)
}

fn earlier(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
}

/// Whole days go, as Postgres keeps them.
fn midnight(at: Timestamp) -> Timestamp {
    Timestamp(at.0.saturating_sub(at.0.rem_euclid(DAY_MICROS)))
}
