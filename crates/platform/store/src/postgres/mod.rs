//! The store on Postgres 14 or newer, or what speaks its protocol.
//!
//! A batch costs two reads and one write, each one prepared statement over arrays ([`arrays`], [`commit`]). Connections and
//! what happens when they break: [`pool`]. SQL by role: `inbound`, `outbound`, `application`. The schema and its grants:
//! `migrations/postgres`.

mod accounts;
mod application;
mod arrays;
mod columns;
mod commit;
mod inbound;
mod outbound;
pub(crate) mod pool;
mod retention;
mod times;
mod tls;
mod transfer;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use crate::{Result, StoreConfig, StoreError, migrate};
use pool::{Connection, Pool};

/// Days of partitions made ahead, and how often it is looked after.
const PARTITION_DAYS: i32 = 7;
const PARTITION_CHECK: Duration = Duration::from_secs(3600);

/// A store on a Postgres that may move, fail over and come back: what breaks meanwhile is `Unavailable`, and the next call
/// connects anew.
pub struct PostgresStore {
    writers: Pool,
    readers: Pool,
    partitions: tokio::task::JoinHandle<()>,
    /// The block of ended actions at which their removal goes on.
    expired_to: AtomicI64,
}

impl PostgresStore {
    /// Connects and checks the schema's version. From then on it keeps partitions made ahead.
    ///
    /// # Errors
    /// `Refused` for a URL that is none, `Unavailable` when nobody answers, no host takes writes or the schema is too old.
    pub async fn connect(config: &StoreConfig) -> Result<Arc<Self>> {
        let writers = Pool::new(config, config.writers)?;
        let readers = Pool::new(config, config.readers)?;
        let first = writers.get().await?;
        let found = first.query("SELECT max(version) FROM schema_version", &[]).await;
        let found = found.map_err(|error| match error {
            StoreError::Unavailable(why) => StoreError::Unavailable(format!("{why}: run `simvault migrate`")),
            other => other,
        })?;
        let version = found.first().map_or(Ok(None), |row| columns::get::<Option<i32>>(row, 0))?;
        migrate::accept(version.unwrap_or(0))?;
        let partitions = tokio::spawn(keep_partitions(writers.clone()));
        Ok(Arc::new(Self { writers, readers, partitions, expired_to: AtomicI64::new(0) }))
    }

    async fn write_readiness(&self) -> Result<()> {
        let sql = "UPDATE readiness SET at = now() WHERE id = 1 RETURNING (SELECT max(version) FROM schema_version)";
        let rows = self.writers.get().await?.query(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt("the readiness row is gone".into()))?;
        migrate::accept(columns::get::<Option<i32>>(row, 0)?.unwrap_or(0))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.partitions.abort();
    }
}

async fn keep_partitions(pool: Pool) {
    let mut every = tokio::time::interval(PARTITION_CHECK);
    loop {
        every.tick().await;
        let made = async { pool.get().await?.query("SELECT simvault_create_partitions($1)", &[&PARTITION_DAYS]).await };
        if let Err(error) = made.await {
            // A week is made already; what has no partition goes to the rest.
            tracing::warn!(%error, "partitions were not made ahead; tried again in an hour");
        }
    }
}
