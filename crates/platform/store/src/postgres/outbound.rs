//! What `outbound-action` may do.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, SubscriberId, Timestamp},
    phonebook::DeviceView,
};
use tokio_postgres::Row;

use super::{
    PostgresStore,
    columns::{self, ACTION, Column, DEVICE, SUBSCRIBER, column, get},
    commit, inbound,
    times::At,
};
use crate::{Notice, OutboundStore, QueuedAction, Result, rows};

#[async_trait]
impl OutboundStore for PostgresStore {
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Vec<(Action, DeviceView)>> {
        let sql = format!(
            "SELECT {ACTION}, {SUBSCRIBER}, {DEVICE} FROM UNNEST($1::bigint[], $2::bigint[]) AS u(subscriber, id) \
             JOIN outbound_action a ON a.subscriber_id = u.subscriber AND a.id = u.id \
             JOIN subscriber s ON s.id = a.subscriber_id \
             JOIN device d ON d.subscriber_id = a.subscriber_id AND d.id = a.device_id \
             JOIN device_state t ON t.subscriber_id = a.subscriber_id AND t.device_id = a.device_id"
        );
        let columns = id_columns(ids);
        let found = self.readers.get().await?.query(&sql, &columns::params(&columns)).await?;
        found.iter().map(|row| Ok((columns::action(row, 0)?, columns::view(row, 15)?))).collect()
    }

    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>> {
        let sql = "SELECT u.subscriber, u.device, head.id FROM UNNEST($1::bigint[], $2::bigint[]) AS u(subscriber, device) \
                   CROSS JOIN LATERAL (SELECT a.id FROM outbound_action a WHERE a.subscriber_id = u.subscriber \
                   AND a.device_id = u.device AND a.state < 3 AND a.kind > 1 ORDER BY a.id LIMIT 1) head";
        let columns = inbound::device_columns(devices);
        let found = self.readers.get().await?.query(sql, &columns::params(&columns)).await?;
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
        let sql = commit::notice_sql(&columns::arguments(&commit::NOTICE_TYPES, 1));
        let columns = commit::notice_columns(notices);
        self.writers.get().await?.execute(&sql, &columns::params(&columns)).await.map(drop)
    }

    async fn finish(&self, ids: &[(DeviceKey, ActionId)], at: Timestamp) -> Result<()> {
        let sql = "UPDATE outbound_action a SET state = 3, due = $3 FROM UNNEST($1::bigint[], $2::bigint[]) \
                   AS u(subscriber, id) WHERE a.subscriber_id = u.subscriber AND a.id = u.id AND a.state < 3";
        if ids.is_empty() {
            return Ok(());
        }
        // In one order, so that two callers do not wait for each other.
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        let columns = id_columns(&ids);
        let mut params = columns::params(&columns);
        let at = At(at);
        params.push(&at);
        self.writers.get().await?.execute(sql, &params).await.map(drop)
    }

    async fn due(&self, due_before: Timestamp, created_before: Timestamp, limit: u32) -> Result<Vec<QueuedAction>> {
        let sql = "SELECT subscriber_id, device_id, id, channel, msisdn, CASE WHEN kind = 1 THEN content END, traces \
                   FROM outbound_action WHERE state < 2 AND due < $1 AND created < $2 ORDER BY due, id LIMIT $3";
        let connection = self.readers.get().await?;
        let found = connection.query(sql, &[&At(due_before), &At(created_before), &i64::from(limit)]).await?;
        let queued = |row: &Row| {
            let key = rows::key(get(row, 0)?, get(row, 1)?);
            rows::queued(key, get(row, 2)?, get(row, 3)?, get(row, 4)?, get(row, 5)?, get(row, 6)?)
        };
        found.iter().map(queued).collect()
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}

fn id_columns(ids: &[(DeviceKey, ActionId)]) -> [Column<'_>; 2] {
    [column(ids, |(device, _)| device.subscriber.0), column(ids, |(_, id)| id.0)]
}

/// An action, the states as bits that its row may be in, and the due time that it must have.
pub type Move = (Action, i32, Option<Timestamp>);

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
            let chosen: Vec<&Move> = now.iter().filter_map(|&at| moves.get(at)).collect();
            let actions: Vec<Action> = chosen.iter().map(|(action, ..)| action.clone()).collect();
            let guards: Vec<_> = chosen.iter().map(|(_, states, due)| (*states, *due)).collect();
            let columns = columns::move_columns(&actions, &guards);
            let sql = columns::move_sql(&columns::arguments(&columns::MOVE_TYPES, 1));
            let places: HashMap<_, _> = now.iter().zip(&actions).map(|(&at, action)| (identity(action), at)).collect();
            for row in connection.query(&sql, &columns::params(&columns)).await? {
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
