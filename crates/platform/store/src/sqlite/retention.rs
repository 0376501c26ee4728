//! What is kept for a time and no longer (D-126). The rows are looked for beside the writer, which deletes them by key.

use domain::identity::Timestamp;
use rusqlite::{Connection, Row};

use super::{SqliteStore, actions};
use crate::{Expiring, Result, rows};

/// The key of a row: as many numbers as the table's key has.
type Key = Vec<i64>;

impl SqliteStore {
    pub(super) async fn remove_expired(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64> {
        let (columns, select) = match what {
            Expiring::Collections => return self.remove_old_collections(before, limit).await,
            Expiring::EndedActions => {
                (2, "SELECT subscriber_id, id FROM outbound_action WHERE state > 2 AND due < ?1 ORDER BY due LIMIT ?2")
            }
            Expiring::Journal => (4, "SELECT subscriber_id, device_id, at, id FROM book_change WHERE at < ?1 LIMIT ?2"),
            Expiring::Billing => (1, "SELECT rowid FROM billing_event WHERE at < ?1 ORDER BY rowid LIMIT ?2"),
            Expiring::Audit => (1, "SELECT rowid FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2"),
        };
        let read = move |connection: &Connection| {
            let key = |row: &Row<'_>| Ok((0..columns).map(|at| row.get(at)).collect::<rusqlite::Result<Key>>()?);
            actions::all(connection, select, (before.0, limit), key)
        };
        let keys = self.readers.read(read).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        self.writer.write(move |connection| delete(connection, what, &keys, before)).await
    }

    pub(super) async fn read_journal_from(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT value FROM setting WHERE scope = ?1 AND key = ?2";
        let read = |row: &Row<'_>| rows::journal_from(&row.get::<_, String>(0)?);
        self.readers.read(move |connection| actions::first(connection, sql, rows::JOURNAL_FROM, read)).await
    }
}

fn delete(connection: &Connection, what: Expiring, keys: &[Key], before: Timestamp) -> Result<u64> {
    let delete = match what {
        // It may have been tried again meanwhile.
        Expiring::EndedActions => "DELETE FROM outbound_action WHERE subscriber_id = ?1 AND id = ?2 AND state > 2",
        Expiring::Journal => {
            "DELETE FROM book_change WHERE subscriber_id = ?1 AND device_id = ?2 AND at = ?3 AND id = ?4"
        }
        Expiring::Billing => "DELETE FROM billing_event WHERE rowid = ?1",
        Expiring::Audit => "DELETE FROM audit WHERE rowid = ?1",
        // By themselves, with what belongs to them.
        Expiring::Collections => return Ok(0),
    };
    let mut statement = connection.prepare_cached(delete)?;
    let mut deleted = 0;
    for key in keys {
        deleted += statement.execute(rusqlite::params_from_iter(key))?;
    }
    if what == Expiring::Journal {
        let upsert = "INSERT INTO setting (scope, key, value) VALUES (?1, ?2, ?3) ON CONFLICT (scope, key) DO UPDATE \
                      SET value = CAST(max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)";
        let (scope, key) = rows::JOURNAL_FROM;
        connection.prepare_cached(upsert)?.execute((scope, key, before.0.to_string()))?;
    }
    Ok(deleted as u64)
}
