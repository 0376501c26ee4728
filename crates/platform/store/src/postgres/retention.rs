//! What is kept for a time and no longer (D-126): ended actions by row, journal and billing by day.

use domain::identity::Timestamp;

use super::{PostgresStore, columns::get, times::At};
use crate::{Expiring, Result, rows};

impl PostgresStore {
    pub(super) async fn remove_expired(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64> {
        let connection = self.writers.get().await?;
        let parent = match what {
            Expiring::EndedActions => {
                // What somebody works on at this moment is left for the next round.
                let delete = "DELETE FROM outbound_action WHERE (subscriber_id, id) IN (SELECT subscriber_id, id \
                              FROM outbound_action WHERE state > 2 AND due < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
                return connection.execute(delete, &[&At(before), &i64::from(limit)]).await;
            }
            Expiring::Journal => "book_change",
            Expiring::Billing => "billing_event",
        };
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let gone = connection.query("SELECT simvault_expire($1, $2, $3)", &[&parent, &At(before), &limit]).await?;
        gone.first().map_or(Ok(0), |row| Ok(get::<i64>(row, 0)?.unsigned_abs()))
    }

    pub(super) async fn read_journal_from(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT value FROM setting WHERE scope = $1 AND key = $2";
        let (scope, key) = rows::JOURNAL_FROM;
        let found = self.readers.get().await?.query(sql, &[&scope, &key]).await?;
        found.first().map(|row| rows::journal_from(get(row, 0)?)).transpose()
    }
}
