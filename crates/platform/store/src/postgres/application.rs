//! What `application-server` may do; what touches an account's rows as a whole is in [`super::accounts`].

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{AccountState, Change, Page, PageKey, Subscriber},
};
use tokio_postgres::Row;

use super::{
    Connection, PostgresStore, accounts,
    columns::{self, ACTION, SUBSCRIBER, clean, get, micros},
    commit,
    times::At,
};
use crate::{
    Account, ApplicationStore, Audit, Expiring, Guard, InboundCommit, InboundStore, Lease, NewAccount, NewCard, Notice,
    Result, SessionUpdate, StoreError, User, UserChange, rows,
};

#[async_trait]
impl ApplicationStore for PostgresStore {
    async fn create_accounts(&self, new: &[NewAccount], audit: Audit) -> Result<()> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        accounts::create(&connection, new).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await
    }

    async fn account(&self, msisdn: Msisdn) -> Result<Option<Account>> {
        let condition = "s.msisdn = $1 AND s.tenant = 'default'";
        let found = accounts::read(&self.readers.get().await?, condition, &[&msisdn.to_i64()]).await?;
        Ok(found.into_iter().next())
    }

    async fn accounts(&self, after: Option<Msisdn>, limit: u32) -> Result<Vec<Account>> {
        let condition = "s.msisdn IN (SELECT msisdn FROM subscriber WHERE msisdn > $1 AND tenant = 'default' \
                         ORDER BY msisdn LIMIT $2) AND s.tenant = 'default'";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&after.map_or(0, Msisdn::to_i64), &i64::from(limit)];
        accounts::read(&self.readers.get().await?, condition, &params).await
    }

    async fn set_state(&self, id: SubscriberId, state: AccountState, batch: InboundCommit, audit: Audit) -> Result<()> {
        let batch = rows::settle(batch)?;
        let connection = self.writers.get().await?;
        connection.begin().await?;
        let update = "UPDATE subscriber SET state = $2 WHERE id = $1";
        if connection.execute(update, &[&id.0, &rows::account_state_code(state)]).await? == 0 {
            return Err(rows::no_subscriber(id));
        }
        commit::write(&connection, &batch, Some(&audit)).await?;
        connection.commit().await
    }

    async fn replace_card(&self, old: Guard, new: &NewCard, audit: Audit) -> Result<()> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        accounts::replace_card(&connection, old, new, &audit).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await
    }

    async fn change_number(&self, id: SubscriberId, msisdn: Msisdn, audit: Audit) -> Result<()> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        accounts::change_number(&connection, id, msisdn).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await
    }

    async fn user(&self, id: SubscriberId) -> Result<Option<User>> {
        let sql = "SELECT address, login, password_hash IS NOT NULL FROM subscriber WHERE id = $1";
        let found = self.readers.get().await?.query(sql, &[&id.0]).await?;
        let user = |row: &Row| Ok(User { address: get(row, 0)?, login: get(row, 1)?, has_password: get(row, 2)? });
        found.first().map(user).transpose()
    }

    async fn change_user(&self, id: SubscriberId, change: &UserChange, audit: Audit) -> Result<()> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        accounts::change_user(&connection, id, change).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await
    }

    async fn by_login(&self, login: &str) -> Result<Option<(Subscriber, Option<String>)>> {
        let sql = format!(
            "SELECT {SUBSCRIBER}, s.password_hash FROM subscriber s WHERE s.login = $1 AND s.tenant = 'default'"
        );
        let found = self.readers.get().await?.query(&sql, &[&clean(login)]).await?;
        found.first().map(|row| Ok((columns::subscriber(row, 0)?, get(row, 5)?))).transpose()
    }

    async fn erase(&self, id: SubscriberId, audit: Audit) -> Result<u64> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        let erased = accounts::erase(&connection, id, audit.at).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await?;
        Ok(erased)
    }

    async fn erase_rest(&self, limit: u32) -> Result<u64> {
        accounts::erase_rest(&self.writers.get().await?, limit).await
    }

    async fn book(&self, device: DeviceKey) -> Result<Vec<(PageKey, Page)>> {
        let sql =
            "SELECT file, page, data FROM book_page WHERE subscriber_id = $1 AND device_id = $2 ORDER BY file, page";
        let found = self.readers.get().await?.query(sql, &[&device.subscriber.0, &device.device.0]).await?;
        let page = |row: &Row| Ok((rows::page_key(device, get(row, 0)?, get(row, 1)?)?, rows::page(get(row, 2)?)?));
        found.iter().map(page).collect()
    }

    async fn journal(&self, device: DeviceKey, since: Timestamp, limit: u32) -> Result<Vec<Change>> {
        let sql = "SELECT id, at, source, dedup, data FROM book_change \
                   WHERE subscriber_id = $1 AND device_id = $2 AND at > $3 ORDER BY at DESC, id DESC LIMIT $4";
        let (subscriber, id) = (device.subscriber.0, device.device.0);
        let connection = self.readers.get().await?;
        let found = connection.query(sql, &[&subscriber, &id, &At(since), &i64::from(limit)]).await?;
        let change =
            |row: &Row| rows::change(device, get(row, 0)?, micros(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 4)?);
        found.iter().map(change).collect()
    }

    async fn commit(&self, batch: InboundCommit, audit: Audit) -> Result<()> {
        let batch = rows::settle(batch)?;
        let connection = self.writers.get().await?;
        commit::write(&connection, &batch, Some(&audit)).await
    }

    async fn ordered_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>> {
        InboundStore::open_actions(self, devices).await
    }

    async fn actions_of(&self, subscriber: Option<SubscriberId>, open_only: bool, limit: u32) -> Result<Vec<Action>> {
        let whose = if subscriber.is_some() { "a.subscriber_id = $1" } else { "$1::bigint IS NULL AND a.kind > 1" };
        let which = if open_only { "a.state < 3" } else { "true" };
        let sql =
            format!("SELECT {ACTION} FROM outbound_action a WHERE {whose} AND {which} ORDER BY a.id DESC LIMIT $2");
        let connection = self.readers.get().await?;
        let found = connection.query(&sql, &[&subscriber.map(|id| id.0), &i64::from(limit)]).await?;
        found.iter().map(|row| columns::action(row, 0)).collect()
    }

    async fn action(&self, subscriber: SubscriberId, id: ActionId) -> Result<Option<Action>> {
        let sql = format!("SELECT {ACTION} FROM outbound_action a WHERE a.subscriber_id = $1 AND a.id = $2");
        let found = self.readers.get().await?.query(&sql, &[&subscriber.0, &id.0]).await?;
        found.first().map(|row| columns::action(row, 0)).transpose()
    }

    async fn move_action(&self, action: &Action, from: &[State], guard: Option<Guard>, audit: Audit) -> Result<bool> {
        let moves = [(action.clone(), rows::state_bits(from), None)];
        let moves = columns::moves(&moves);
        let connection = self.writers.get().await?;
        connection.begin().await?;
        if let Some(guard) = guard {
            accounts::hold(&connection, guard).await?;
        }
        let moved = !connection.query(&columns::move_sql(&moves, 1), &moves.params()).await?.is_empty();
        if moved {
            write_audit(&connection, &audit).await?;
        }
        connection.commit().await?;
        Ok(moved)
    }

    async fn queue_counts(&self) -> Result<HashMap<State, u64>> {
        let sql = "SELECT state, count(*) FROM outbound_action WHERE state < 2 GROUP BY state \
                   UNION ALL SELECT state, count(*) FROM outbound_action WHERE state IN (2, 4) GROUP BY state";
        let found = self.readers.get().await?.query(sql, &[]).await?;
        let count = |row: &Row| Ok((rows::action_state(get(row, 0)?)?, get::<i64>(row, 1)?.unsigned_abs()));
        found.iter().map(count).collect()
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT due FROM (SELECT (SELECT min(due) FROM outbound_action WHERE state < 2 AND channel = 0) AS due \
                   UNION ALL SELECT (SELECT min(due) FROM outbound_action WHERE state < 2 AND channel = 1)) AS each \
                   WHERE due IS NOT NULL ORDER BY due LIMIT 1";
        let found = self.readers.get().await?.query(sql, &[]).await?;
        found.first().map(|row| Ok(Timestamp(micros(row, 0)?))).transpose()
    }

    async fn audit_log(&self, subscriber: Option<SubscriberId>, limit: u32) -> Result<Vec<Audit>> {
        let (connection, limit) = (self.readers.get().await?, i64::from(limit));
        let found = match subscriber {
            None => connection.query("SELECT at, who, what FROM audit ORDER BY at DESC LIMIT $1", &[&limit]).await?,
            Some(id) => {
                let sql = "SELECT at, who, what FROM audit WHERE subscriber_id = $2 ORDER BY at DESC LIMIT $1";
                connection.query(sql, &[&limit, &id.0]).await?
            }
        };
        let audit = |row: &Row| Ok(Audit { at: Timestamp(micros(row, 0)?), who: get(row, 1)?, what: get(row, 2)? });
        found.iter().map(audit).collect()
    }

    async fn notices(&self, limit: u32) -> Result<Vec<Notice>> {
        let sql = "SELECT at, msisdn, kind, text FROM notice ORDER BY at DESC LIMIT $1";
        let found = self.readers.get().await?.query(sql, &[&i64::from(limit)]).await?;
        let notice = |row: &Row| {
            let msisdn = get::<Option<i64>>(row, 1)?.map(rows::msisdn).transpose()?;
            Ok(Notice { at: Timestamp(micros(row, 0)?), msisdn, kind: get(row, 2)?, text: get(row, 3)? })
        };
        found.iter().map(notice).collect()
    }

    async fn acquire_lease(&self, name: &str, owner: &str, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let upsert = "INSERT INTO lease (name, owner, epoch, expires) VALUES ($1, $2, 1, $4) \
                      ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, expires = EXCLUDED.expires, \
                      epoch = lease.epoch + (lease.owner <> EXCLUDED.owner)::integer \
                      WHERE lease.owner = EXCLUDED.owner OR lease.expires <= $3 RETURNING owner, epoch";
        let connection = self.writers.get().await?;
        let mut found = connection.query(upsert, &[&name, &owner, &At(now), &At(now.plus(ttl))]).await?;
        if found.is_empty() {
            found = connection.query("SELECT owner, epoch FROM lease WHERE name = $1", &[&name]).await?;
        }
        let row = found.first().ok_or_else(|| StoreError::Conflict(format!("lease {name} changed meanwhile")))?;
        let holder: String = get(row, 0)?;
        Ok(Lease { held: holder == owner, owner: holder, epoch: get::<i64>(row, 1)?.unsigned_abs() })
    }

    async fn release_lease(&self, name: &str, owner: &str) -> Result<()> {
        let sql = "UPDATE lease SET expires = to_timestamp(0) WHERE name = $1 AND owner = $2";
        self.writers.get().await?.execute(sql, &[&name, &owner]).await.map(drop)
    }

    async fn register_sessions(&self, sessions: &SessionUpdate) -> Result<Vec<DeviceId>> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        let elsewhere = accounts::register_sessions(&connection, sessions).await?;
        connection.commit().await?;
        Ok(elsewhere)
    }

    async fn locate_sessions(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, String>> {
        let ids: Vec<i64> = devices.iter().map(|device| device.0).collect();
        let sql = "SELECT device_id, endpoint FROM ip_session WHERE device_id = ANY($1)";
        let found = self.readers.get().await?.query(sql, &[&ids]).await?;
        found.iter().map(|row| Ok((DeviceId(get(row, 0)?), get(row, 1)?))).collect()
    }

    async fn expire(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64> {
        self.remove_expired(what, before, limit).await
    }

    async fn journal_from(&self) -> Result<Option<Timestamp>> {
        self.read_journal_from().await
    }

    async fn settings(&self, scope: &str) -> Result<HashMap<String, String>> {
        let sql = "SELECT key, value FROM setting WHERE scope = $1";
        let found = self.readers.get().await?.query(sql, &[&clean(scope)]).await?;
        found.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    async fn put_setting(&self, scope: &str, key: &str, value: &str, audit: Audit) -> Result<()> {
        let connection = self.writers.get().await?;
        connection.begin().await?;
        let upsert = "INSERT INTO setting (scope, key, value) VALUES ($1, $2, $3) \
                      ON CONFLICT (scope, key) DO UPDATE SET value = EXCLUDED.value";
        connection.execute(upsert, &[&clean(scope), &clean(key), &clean(value)]).await?;
        write_audit(&connection, &audit).await?;
        connection.commit().await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}

pub async fn write_audit(connection: &Connection, audit: &Audit) -> Result<()> {
    let insert = "INSERT INTO audit (at, who, what) VALUES ($1, $2, $3)";
    connection.execute(insert, &[&At(audit.at), &clean(&audit.who), &clean(&audit.what)]).await.map(drop)
}
