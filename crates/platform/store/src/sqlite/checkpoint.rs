//! Moves committed pages from the write-ahead log into the database, small and often, beside the writer.
//!
//! A passive checkpoint never stops a write, but can end the log only when nobody writes meanwhile. So when the log has
//! grown, the writer is asked to make one itself between two commits: almost nothing is left to move by then.

use std::{sync::mpsc, thread, time::Duration};

use rusqlite::Connection;

use super::writer::{WeakWriter, Writer};
use crate::{Result, StoreError};

const EVERY: Duration = Duration::from_millis(250);
/// Pages of 4 kB in the log from which the writer helps to end it.
const LOG_PAGES_MAX: i64 = 8192;

/// Ends the thread when dropped.
pub struct Checkpoints {
    _running: mpsc::Sender<()>,
}

impl Checkpoints {
    pub fn start(connection: Connection, writer: &Writer) -> Result<Self> {
        let (running, ended) = mpsc::channel::<()>();
        let writer = writer.downgrade();
        let thread = thread::Builder::new().name("sqlite-checkpoint".into());
        let run = move || {
            while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                tend(&connection, &writer);
            }
        };
        thread.spawn(run).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { _running: running })
    }
}

fn tend(connection: &Connection, writer: &WeakWriter) {
    match checkpoint(connection) {
        Ok(log_pages) if log_pages > LOG_PAGES_MAX => writer.between(|connection| {
            if let Err(error) = checkpoint(connection) {
                tracing::warn!(%error, "the writer's checkpoint failed");
            }
        }),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "a checkpoint failed; the next one does its work"),
    }
}

/// Pages that the log holds.
fn checkpoint(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |row| row.get(1))
}
