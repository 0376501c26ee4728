//! What is kept for a time and no longer (D-126): ended actions by row, journal and billing by day.
//!
//! Ended actions have no index of their own, for each message would pay for it twice, when its action is made and when it
//! ends. They are found by walking the table in block ranges, once per round.

use std::sync::atomic::Ordering;

use domain::identity::Timestamp;

use super::{PostgresStore, columns::get, times::At};
use crate::{Expiring, Result, rows};

/// Rows that may lie in one block of 8192 octets, roughly.
const ROWS_PER_BLOCK: u32 = 64;
/// What somebody works on at this moment is left for the next round. `$2`, `$3`: the first block, and the first one behind.
const EXPIRE_ACTIONS: &str = "DELETE FROM outbound_action WHERE ctid = ANY (ARRAY(SELECT ctid FROM outbound_action \
                              WHERE ctid >= format('(%s,0)', $2::bigint)::tid AND ctid < format('(%s,0)', $3::bigint)::tid \
                              AND state > 2 AND due < $1 FOR UPDATE SKIP LOCKED))";

impl PostgresStore {
    pub(super) async fn remove_expired(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64> {
        let parent = match what {
            Expiring::Collections => return self.remove_old_collections(before, limit).await,
            Expiring::EndedActions => return self.remove_ended_actions(before, limit).await,
            Expiring::Journal => Some("book_change"),
            Expiring::Billing => Some("billing_event"),
            Expiring::Audit => None,
        };
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let connection = self.writers.get().await?;
        let gone = match parent {
            Some(parent) => {
                connection.query("SELECT simvault_expire($1, $2, $3)", &[&parent, &At(before), &limit]).await?
            }
            None => connection.query("SELECT simvault_expire_audit($1, $2)", &[&At(before), &limit]).await?,
        };
        gone.first().map_or(Ok(0), |row| Ok(get::<i64>(row, 0)?.unsigned_abs()))
    }

    /// Goes on where the last call stopped, block range by block range, until one held something; 0 at the table's end.
    async fn remove_ended_actions(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let connection = self.writers.get().await?;
        let sql = "SELECT pg_relation_size('outbound_action') / current_setting('block_size')::bigint";
        let found = connection.query(sql, &[]).await?;
        let blocks = found.first().map_or(Ok(0), |row| get::<i64>(row, 0))?;
        let step = i64::from((limit / ROWS_PER_BLOCK).max(1));
        let mut from = self.expired_to.load(Ordering::Relaxed);
        while from < blocks {
            let to = from.saturating_add(step);
            let gone = connection.execute(EXPIRE_ACTIONS, &[&At(before), &from, &to]).await?;
            self.expired_to.store(to, Ordering::Relaxed);
            if gone > 0 {
                return Ok(gone);
            }
            from = to;
        }
        self.expired_to.store(0, Ordering::Relaxed);
        Ok(0)
    }

    pub(super) async fn read_journal_from(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT value FROM setting WHERE scope = $1 AND key = $2";
        let (scope, key) = rows::JOURNAL_FROM;
        let found = self.readers.get().await?.query(sql, &[&scope, &key]).await?;
        found.first().map(|row| rows::journal_from(get(row, 0)?)).transpose()
    }
}
