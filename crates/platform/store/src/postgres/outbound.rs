//! What `outbound-action` may do.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, SubscriberId, Timestamp},
};
use tokio_postgres::{Row, types::ToSql};

use super::{
    PostgresStore,
    arrays::Rows,
    columns::{self, ACTION, DEVICE, Move, SUBSCRIBER, get, micros},
    commit, inbound,
    times::At,
};
use crate::{
    Damaged, DuePage, DueQuery, Loaded, Notice, OutboundStore, Result,
    rows::{self, DueRow},
};

#[async_trait]
impl OutboundStore for PostgresStore {
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Loaded> {
        let rows = id_rows(ids);
        let sql = format!(
            "SELECT {ACTION}, {SUBSCRIBER}, {DEVICE} FROM {} \
             JOIN outbound_action a ON a.subscriber_id = u.subscriber_id AND a.id = u.id \
             JOIN subscriber s ON s.id = a.subscriber_id \
             JOIN device d ON d.subscriber_id = a.subscriber_id AND d.id = a.device_id \
             JOIN device_state t ON t.subscriber_id = a.subscriber_id AND t.device_id = a.device_id",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        let mut loaded = Loaded::default();
        for row in &found {
            let id = (rows::key(get(row, 0)?, get(row, 1)?), ActionId(get(row, 2)?));
            rows::load(&mut loaded, id, columns::action(row, 0), columns::view(row, 15))?;
        }
        Ok(loaded)
    }

    async fn fail_damaged(&self, damaged: &[Damaged], at: Timestamp) -> Result<u64> {
        // The notice's number is the subscriber's: the action's may be what is damaged.
        let mut damaged = damaged.to_vec();
        damaged.sort_by_key(|it| (it.device.subscriber, it.id));
        damaged.dedup_by_key(|it| (it.device.subscriber, it.id));
        let rows = Rows::of(&damaged)
            .with("cause", |it| columns::clean(&rows::damage_cause(it)))
            .with("subscriber_id", |it| it.device.subscriber.0)
            .with("id", |it| it.id.0);
        let sql = format!(
            "WITH failed AS (UPDATE outbound_action a SET state = 4, due = $1, cause = u.cause FROM {} \
             WHERE a.subscriber_id = u.subscriber_id AND a.id = u.id AND a.state < 3 \
             RETURNING a.subscriber_id, a.id, a.cause) INSERT INTO notice (at, msisdn, kind, text) \
             SELECT $1, s.msisdn, 'action_failed', 'action ' || f.id || ': ' || f.cause \
             FROM failed f JOIN subscriber s ON s.id = f.subscriber_id",
            rows.table(2)
        );
        let at = At(at);
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&at];
        params.extend(rows.params());
        self.writers.get().await?.execute(&sql, &params).await
    }

    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>> {
        let rows = inbound::device_rows(devices);
        let sql = format!(
            "SELECT u.subscriber_id, u.device_id, head.id FROM {} \
             CROSS JOIN LATERAL (SELECT a.id FROM outbound_action a WHERE a.subscriber_id = u.subscriber_id \
             AND a.device_id = u.device_id AND a.state < 3 AND a.kind > 1 AND a.kind NOT IN (6, 8) ORDER BY a.id LIMIT 1) head",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        found.iter().map(|row| Ok((rows::key(get(row, 0)?, get(row, 1)?), ActionId(get(row, 2)?)))).collect()
    }

    async fn move_actions(&self, moves: &[(Action, Vec<State>)]) -> Result<Vec<bool>> {
        let moves: Vec<_> = moves.iter().map(|(action, from)| (action.clone(), rows::state_bits(from), None)).collect();
        self.overwrite(&moves).await
    }

    async fn replace_actions(&self, moves: &[(Action, State, Timestamp)]) -> Result<Vec<bool>> {
        let guarded = |(action, state, due): &(Action, State, Timestamp)| {
            (action.clone(), rows::state_bits(&[*state]), Some(*due))
        };
        self.overwrite(&moves.iter().map(guarded).collect::<Vec<_>>()).await
    }

    async fn add_notices(&self, notices: &[Notice]) -> Result<()> {
        let rows = commit::notices(notices);
        self.writers.get().await?.execute(&rows.insert_into("notice", 1), &rows.params()).await.map(drop)
    }

    async fn finish(&self, ids: &[(DeviceKey, ActionId)]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        // In one order, so that two callers do not wait for each other.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let rows = id_rows(&ids);
        let sql = format!(
            "DELETE FROM outbound_action a USING {} WHERE a.subscriber_id = u.subscriber_id AND a.id = u.id \
             AND a.kind = 1 AND a.state < 3",
            rows.table(1)
        );
        self.writers.get().await?.execute(&sql, &rows.params()).await.map(drop)
    }

    async fn due(&self, query: &DueQuery) -> Result<DuePage> {
        // One walk along the index of what is due, of so many rows; each that waits for its turn costs one look into
        // the index of what is open.
        let sql = "SELECT a.subscriber_id, a.device_id, a.id, a.due, a.msisdn, a.content, a.traces, \
                   a.old_enough AND (a.kind IN (1, 6, 8) OR NOT EXISTS (SELECT 1 FROM outbound_action b \
                   WHERE b.subscriber_id = a.subscriber_id AND b.device_id = a.device_id AND b.id < a.id \
                   AND b.state < 3 AND b.kind > 1 AND b.kind NOT IN (6, 8))) \
                   FROM (SELECT subscriber_id, device_id, id, due, msisdn, kind, created < $3 AS old_enough, \
                   CASE WHEN kind = 1 AND created < $3 THEN content END AS content, \
                   CASE WHEN created < $3 THEN traces END AS traces FROM outbound_action \
                   WHERE state < 2 AND channel = $1 AND due < $2 AND (due, id) > ($4, $5) ORDER BY due, id LIMIT $6) a \
                   ORDER BY a.due, a.id";
        let after = query.after.unwrap_or(rows::FIRST_DUE);
        let (channel, rows_max) = (i16::from(query.channel.code()), i64::from(query.rows_max));
        let (due_before, created_before) = (At(query.due_before), At(query.created_before));
        let (after_due, after_id) = (At(after.due), after.id.0);
        let params: [&(dyn ToSql + Sync); 6] =
            [&channel, &due_before, &created_before, &after_due, &after_id, &rows_max];
        let found = self.readers.get().await?.query(sql, &params).await?;
        let row = |row: &Row| {
            Ok(DueRow {
                device: rows::key(get(row, 0)?, get(row, 1)?),
                id: get(row, 2)?,
                due: micros(row, 3)?,
                msisdn: get(row, 4)?,
                content: get(row, 5)?,
                traces: get(row, 6)?,
                is_wanted: get(row, 7)?,
            })
        };
        rows::due_page(query, found.iter().map(row).collect::<Result<_>>()?)
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        self.reserve_secured_counters(device, count, floor).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}

fn id_rows(ids: &[(DeviceKey, ActionId)]) -> Rows<'_, (DeviceKey, ActionId)> {
    Rows::of(ids).with("subscriber_id", |(device, _)| device.subscriber.0).with("id", |(_, id)| id.0)
}

impl PostgresStore {
    /// Overwrites actions whose rows are as given with each; which were written, in order.
    pub(super) async fn overwrite(&self, moves: &[Move]) -> Result<Vec<bool>> {
        let connection = self.writers.get().await?;
        let mut written = vec![false; moves.len()];
        let mut rest: Vec<usize> = (0..moves.len()).collect();
        // One statement writes a row once: an action that is there twice has its second turn in a second statement.
        while !rest.is_empty() {
            let mut named = HashSet::new();
            let (mut now, later): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|&at| moves.get(at).is_some_and(|it| named.insert(identity(&it.0))));
            // In one order, so that two callers do not wait for each other.
            now.sort_by_key(|&at| moves.get(at).map(|it| identity(&it.0)));
            let chosen: Vec<Move> = now.iter().filter_map(|&at| moves.get(at).cloned()).collect();
            let rows = columns::moves(&chosen);
            let sql = columns::move_sql(&rows, 1);
            let places: HashMap<_, _> = now.iter().zip(&chosen).map(|(&at, it)| (identity(&it.0), at)).collect();
            for row in connection.query(&sql, &rows.params()).await? {
                let id = (SubscriberId(get(&row, 0)?), ActionId(get(&row, 1)?));
                if let Some(written) = places.get(&id).and_then(|&at| written.get_mut(at)) {
                    *written = true;
                }
            }
            rest = later;
        }
        Ok(written)
    }
}

fn identity(action: &Action) -> (SubscriberId, ActionId) {
    (action.device.subscriber, action.id)
}
