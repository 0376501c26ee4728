//! What `outbound-action` may do.

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, Timestamp},
};
use rusqlite::{Connection, Row};

use super::{
    SqliteStore,
    actions::{self, ACTION, DEVICE, SUBSCRIBER},
    commit,
};
use crate::{
    Damaged, DuePage, DueQuery, Loaded, Notice, OutboundStore, Result,
    rows::{self, DueRow},
};

#[async_trait]
impl OutboundStore for SqliteStore {
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Loaded> {
        let ids = ids.to_vec();
        let sql = format!(
            "SELECT {ACTION}, {SUBSCRIBER}, {DEVICE} FROM outbound_action a \
             JOIN subscriber s ON s.id = a.subscriber_id \
             JOIN device d ON d.subscriber_id = a.subscriber_id AND d.id = a.device_id \
             JOIN device_state t ON t.subscriber_id = a.subscriber_id AND t.device_id = a.device_id \
             WHERE a.subscriber_id = ?1 AND a.id = ?2"
        );
        let read = move |connection: &Connection| {
            let pair = |row: &Row<'_>| Ok((actions::action(row, 0), actions::view(row, 15)));
            let mut loaded = Loaded::default();
            for (device, id) in ids {
                if let Some((action, view)) = actions::first(connection, &sql, (device.subscriber.0, id.0), pair)? {
                    rows::load(&mut loaded, (device, id), action, view)?;
                }
            }
            Ok(loaded)
        };
        self.readers.read(read).await
    }

    async fn fail_damaged(&self, damaged: &[Damaged], at: Timestamp) -> Result<u64> {
        let damaged = damaged.to_vec();
        let write = move |connection: &Connection| {
            let mut written = 0;
            for one in &damaged {
                let (subscriber, cause) = (one.device.subscriber.0, rows::damage_cause(one));
                let fail = "UPDATE outbound_action SET state = 4, due = ?3, cause = ?4 \
                            WHERE subscriber_id = ?1 AND id = ?2 AND state < 3";
                if connection.prepare_cached(fail)?.execute((subscriber, one.id.0, at.0, &cause))? == 0 {
                    continue;
                }
                written += 1;
                // The notice's number is the subscriber's: the action's may be what is damaged.
                let tell = "INSERT INTO notice (at, msisdn, kind, text) \
                            SELECT ?2, msisdn, 'action_failed', ?3 FROM subscriber WHERE id = ?1";
                let text = format!("action {}: {cause}", one.id.0);
                connection.prepare_cached(tell)?.execute((subscriber, at.0, text))?;
            }
            Ok(written)
        };
        self.writer.write(write).await
    }

    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>> {
        let devices = devices.to_vec();
        let sql = "SELECT min(id) FROM outbound_action \
                   WHERE subscriber_id = ?1 AND device_id = ?2 AND state < 3 AND kind > 1 AND kind NOT IN (6, 8)";
        let read = move |connection: &Connection| {
            let mut heads = Vec::new();
            for device in devices {
                let params = (device.subscriber.0, device.device.0);
                let head: Option<Option<i64>> = actions::first(connection, sql, params, |row| Ok(row.get(0)?))?;
                heads.extend(head.flatten().map(|id| (device, ActionId(id))));
            }
            Ok(heads)
        };
        self.readers.read(read).await
    }

    async fn move_actions(&self, moves: &[(Action, Vec<State>)]) -> Result<Vec<bool>> {
        let moves = moves.to_vec();
        let write = move |connection: &Connection| {
            moves.iter().map(|(action, from)| actions::overwrite(connection, action, from, None)).collect()
        };
        self.writer.write(write).await
    }

    async fn replace_actions(&self, moves: &[(Action, State, Timestamp)]) -> Result<Vec<bool>> {
        let moves = moves.to_vec();
        let write = move |connection: &Connection| {
            let one = |(action, state, due): &(Action, State, Timestamp)| {
                actions::overwrite(connection, action, &[*state], Some(*due))
            };
            moves.iter().map(one).collect()
        };
        self.writer.write(write).await
    }

    async fn add_notices(&self, notices: &[Notice]) -> Result<()> {
        let notices = notices.to_vec();
        let write = move |connection: &Connection| {
            notices.iter().try_for_each(|notice| commit::write_notice(connection, notice))
        };
        self.writer.write(write).await
    }

    async fn finish(&self, ids: &[(DeviceKey, ActionId)]) -> Result<()> {
        let ids = ids.to_vec();
        let sql = "DELETE FROM outbound_action WHERE subscriber_id = ?1 AND id = ?2 AND kind = 1 AND state < 3";
        let write = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for (device, id) in ids {
                statement.execute((device.subscriber.0, id.0))?;
            }
            Ok(())
        };
        self.writer.write(write).await
    }

    async fn due(&self, query: &DueQuery) -> Result<DuePage> {
        let sql = "SELECT a.subscriber_id, a.device_id, a.id, a.due, a.msisdn, CASE WHEN a.kind = 1 THEN a.content END, \
                   a.traces, a.created < ?3 AND (a.kind IN (1, 6, 8) OR NOT EXISTS (SELECT 1 FROM outbound_action b \
                   WHERE b.subscriber_id = a.subscriber_id AND b.device_id = a.device_id AND b.id < a.id \
                   AND b.state < 3 AND b.kind > 1 AND b.kind NOT IN (6, 8))) \
                   FROM outbound_action a WHERE a.state < 2 AND a.channel = ?1 AND a.due < ?2 \
                   AND (a.due, a.id) > (?4, ?5) ORDER BY a.due, a.id LIMIT ?6";
        let row = |row: &Row<'_>| {
            Ok(DueRow {
                device: rows::key(row.get(0)?, row.get(1)?),
                id: row.get(2)?,
                due: row.get(3)?,
                msisdn: row.get(4)?,
                content: row.get(5)?,
                traces: row.get(6)?,
                is_wanted: row.get(7)?,
            })
        };
        let query = *query;
        let after = query.after.unwrap_or(rows::FIRST_DUE);
        let params =
            (query.channel.code(), query.due_before.0, query.created_before.0, after.due.0, after.id.0, query.rows_max);
        let found = self.readers.read(move |connection| actions::all(connection, sql, params, row)).await?;
        rows::due_page(&query, found)
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        self.reserve_secured_counters(device, count, floor).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}
