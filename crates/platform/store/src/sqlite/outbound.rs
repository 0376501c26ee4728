//! What `outbound-action` may do.

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, Timestamp},
    phonebook::DeviceView,
};
use rusqlite::{Connection, Row};

use super::{
    SqliteStore,
    actions::{self, ACTION, DEVICE, SUBSCRIBER},
    commit,
};
use crate::{Notice, OutboundStore, QueuedAction, Result, rows};

#[async_trait]
impl OutboundStore for SqliteStore {
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Vec<(Action, DeviceView)>> {
        let ids = ids.to_vec();
        let sql = format!(
            "SELECT {ACTION}, {SUBSCRIBER}, {DEVICE} FROM outbound_action a \
             JOIN subscriber s ON s.id = a.subscriber_id \
             JOIN device d ON d.subscriber_id = a.subscriber_id AND d.id = a.device_id \
             JOIN device_state t ON t.subscriber_id = a.subscriber_id AND t.device_id = a.device_id \
             WHERE a.subscriber_id = ?1 AND a.id = ?2"
        );
        let read = move |connection: &Connection| {
            let pair = |row: &Row<'_>| Ok((actions::action(row, 0)?, actions::view(row, 15)?));
            let mut found = Vec::with_capacity(ids.len());
            for (device, id) in ids {
                found.extend(actions::first(connection, &sql, (device.subscriber.0, id.0), pair)?);
            }
            Ok(found)
        };
        self.readers.read(read).await
    }

    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>> {
        let devices = devices.to_vec();
        let sql = "SELECT min(id) FROM outbound_action \
                   WHERE subscriber_id = ?1 AND device_id = ?2 AND state < 3 AND kind > 1";
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

    async fn finish(&self, ids: &[(DeviceKey, ActionId)], at: Timestamp) -> Result<()> {
        let ids = ids.to_vec();
        let sql = "UPDATE outbound_action SET state = 3, due = ?3 WHERE subscriber_id = ?1 AND id = ?2 AND state < 3";
        let write = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for (device, id) in ids {
                statement.execute((device.subscriber.0, id.0, at.0))?;
            }
            Ok(())
        };
        self.writer.write(write).await
    }

    async fn due(&self, due_before: Timestamp, created_before: Timestamp, limit: u32) -> Result<Vec<QueuedAction>> {
        let sql = "SELECT subscriber_id, device_id, id, channel, msisdn, CASE WHEN kind = 1 THEN content END, traces \
                   FROM outbound_action WHERE state < 2 AND due < ?1 AND created < ?2 ORDER BY due, id LIMIT ?3";
        let queued = |row: &Row<'_>| {
            let key = rows::key(row.get(0)?, row.get(1)?);
            rows::queued(key, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)
        };
        let params = (due_before.0, created_before.0, limit);
        self.readers.read(move |connection| actions::all(connection, sql, params, queued)).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}
