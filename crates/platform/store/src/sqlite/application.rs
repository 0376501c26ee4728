//! What `application-server` may do.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{AccountState, Change, Page, PageKey, Subscriber},
};
use rusqlite::{Connection, Row};

use super::{
    SqliteStore,
    actions::{self, ACTION, DEVICE, SUBSCRIBER},
    commit, transfer,
};
use crate::{
    Account, ApplicationStore, Audit, Expiring, Guard, InboundCommit, InboundStore, Lease, NewAccount, NewCard, Notice,
    Result, SessionUpdate, StoreError, User, UserChange, rows,
};

#[async_trait]
impl ApplicationStore for SqliteStore {
    async fn create_accounts(&self, accounts: &[NewAccount], audit: Audit) -> Result<()> {
        let accounts = accounts.to_vec();
        let write = move |connection: &Connection| {
            accounts.iter().try_for_each(|account| {
                insert_subscriber(connection, &account.subscriber)?;
                actions::insert_device(connection, &account.device, &account.state)?;
                account.actions.iter().try_for_each(|action| actions::insert(connection, action))
            })?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn account(&self, msisdn: Msisdn) -> Result<Option<Account>> {
        let sql = format!("SELECT {SUBSCRIBER} FROM subscriber s WHERE s.msisdn = ?1 AND s.tenant = ?2");
        let read = move |connection: &Connection| {
            let params = (msisdn.to_i64(), rows::DEFAULT_TENANT);
            let found = actions::first(connection, &sql, params, |row| actions::subscriber(row, 0))?;
            found.map(|subscriber| with_devices(connection, subscriber)).transpose()
        };
        self.readers.read(read).await
    }

    async fn accounts(&self, after: Option<Msisdn>, limit: u32) -> Result<Vec<Account>> {
        let sql = format!(
            "SELECT {SUBSCRIBER} FROM subscriber s WHERE s.msisdn > ?1 AND s.tenant = ?2 ORDER BY s.msisdn LIMIT ?3"
        );
        let read = move |connection: &Connection| {
            let params = (after.map_or(0, Msisdn::to_i64), rows::DEFAULT_TENANT, limit);
            let found = actions::all(connection, &sql, params, |row| actions::subscriber(row, 0))?;
            found.into_iter().map(|subscriber| with_devices(connection, subscriber)).collect()
        };
        self.readers.read(read).await
    }

    async fn set_state(&self, id: SubscriberId, state: AccountState, batch: InboundCommit, audit: Audit) -> Result<()> {
        let batch = rows::settle(batch)?;
        let write = move |connection: &Connection| {
            let update = "UPDATE subscriber SET state = ?2 WHERE id = ?1";
            let params = (id.0, rows::account_state_code(state));
            found(connection.prepare_cached(update)?.execute(params)?, id)?;
            commit::write(connection, &batch)?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn replace_card(&self, old: Guard, new: &NewCard, audit: Audit) -> Result<()> {
        let new = new.clone();
        self.writer.write(move |connection| replace_card(connection, old, &new, &audit)).await
    }

    async fn change_number(&self, id: SubscriberId, msisdn: Msisdn, audit: Audit) -> Result<()> {
        let write = move |connection: &Connection| {
            let sql = "SELECT tenant, msisdn FROM subscriber WHERE id = ?1";
            let known: Option<(String, i64)> =
                actions::first(connection, sql, [id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (tenant, old) = known.ok_or_else(|| rows::no_subscriber(id))?;
            let holder = holder(connection, msisdn, &tenant)?;
            if holder.is_some_and(|holder| holder != id.0) {
                return Err(rows::number_exists(msisdn));
            }
            let update = "UPDATE subscriber SET msisdn = ?2 WHERE id = ?1";
            connection.prepare_cached(update)?.execute((id.0, msisdn.to_i64()))?;
            // A command that read the old number would be sent to whoever gets it.
            connection.execute("UPDATE device_state SET version = version + 1 WHERE subscriber_id = ?1", [id.0])?;
            // What still waits goes to the subscriber, not to whoever gets the old number.
            let update = "UPDATE outbound_action SET msisdn = ?2 WHERE subscriber_id = ?1 AND state < 3";
            connection.prepare_cached(update)?.execute((id.0, msisdn.to_i64()))?;
            // What is kept by number alone goes along, so that an erasure finds it.
            connection.execute("UPDATE notice SET msisdn = ?2 WHERE msisdn = ?1", (old, msisdn.to_i64()))?;
            connection.execute("UPDATE dead_letter SET msisdn = ?2 WHERE msisdn = ?1", (old, msisdn.to_i64()))?;
            connection.execute("DELETE FROM error_reply WHERE msisdn = ?1", [old])?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn user(&self, id: SubscriberId) -> Result<Option<User>> {
        let sql = "SELECT address, login, password_hash IS NOT NULL FROM subscriber WHERE id = ?1";
        let user = |row: &Row<'_>| Ok(User { address: row.get(0)?, login: row.get(1)?, has_password: row.get(2)? });
        self.readers.read(move |connection| actions::first(connection, sql, [id.0], user)).await
    }

    async fn change_user(&self, id: SubscriberId, change: &UserChange, audit: Audit) -> Result<()> {
        let change = change.clone();
        let write = move |connection: &Connection| {
            change_user(connection, id, &change)?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn by_login(&self, login: &str) -> Result<Option<(Subscriber, Option<String>)>> {
        let sql =
            format!("SELECT {SUBSCRIBER}, s.password_hash FROM subscriber s WHERE s.login = ?1 AND s.tenant = ?2");
        let params = (login.to_owned(), rows::DEFAULT_TENANT);
        let read = |row: &Row<'_>| Ok((actions::subscriber(row, 0)?, row.get(5)?));
        self.readers.read(move |connection| actions::first(connection, &sql, params, read)).await
    }

    async fn erase(&self, id: SubscriberId, audit: Audit) -> Result<u64> {
        self.writer.write(move |connection| erase(connection, id, &audit)).await
    }

    async fn erase_rest(&self, limit: u32) -> Result<u64> {
        self.writer.write(move |connection| erase_rest(connection, limit)).await
    }

    async fn book(&self, device: DeviceKey) -> Result<Vec<(PageKey, Page)>> {
        let sql =
            "SELECT file, page, data FROM book_page WHERE subscriber_id = ?1 AND device_id = ?2 ORDER BY file, page";
        let page =
            move |row: &Row<'_>| Ok((rows::page_key(device, row.get(0)?, row.get(1)?)?, rows::page(row.get(2)?)?));
        let params = (device.subscriber.0, device.device.0);
        self.readers.read(move |connection| actions::all(connection, sql, params, page)).await
    }

    async fn journal(&self, device: DeviceKey, since: Timestamp, limit: u32) -> Result<Vec<Change>> {
        let sql = "SELECT id, at, source, dedup, data FROM book_change \
                   WHERE subscriber_id = ?1 AND device_id = ?2 AND at > ?3 ORDER BY at DESC, id DESC LIMIT ?4";
        let change =
            move |row: &Row<'_>| rows::change(device, row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let params = (device.subscriber.0, device.device.0, since.0, limit);
        self.readers.read(move |connection| actions::all(connection, sql, params, change)).await
    }

    async fn commit(&self, batch: InboundCommit, audit: Audit) -> Result<()> {
        let batch = rows::settle(batch)?;
        let write = move |connection: &Connection| {
            commit::write(connection, &batch)?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn ordered_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>> {
        InboundStore::open_actions(self, devices).await
    }

    async fn actions_of(&self, subscriber: Option<SubscriberId>, open_only: bool, limit: u32) -> Result<Vec<Action>> {
        let whose = if subscriber.is_some() { "a.subscriber_id = ?1" } else { "?1 IS NULL AND a.kind > 1" };
        let which = if open_only { "a.state < 3" } else { "true" };
        let sql =
            format!("SELECT {ACTION} FROM outbound_action a WHERE {whose} AND {which} ORDER BY a.id DESC LIMIT ?2");
        let params = (subscriber.map(|id| id.0), limit);
        self.readers.read(move |it| actions::all(it, &sql, params, |row| actions::action(row, 0))).await
    }

    async fn action(&self, subscriber: SubscriberId, id: ActionId) -> Result<Option<Action>> {
        let sql = format!("SELECT {ACTION} FROM outbound_action a WHERE a.subscriber_id = ?1 AND a.id = ?2");
        let params = (subscriber.0, id.0);
        self.readers.read(move |it| actions::first(it, &sql, params, |row| actions::action(row, 0))).await
    }

    async fn move_action(&self, action: &Action, from: &[State], guard: Option<Guard>, audit: Audit) -> Result<bool> {
        let (action, from) = (action.clone(), from.to_vec());
        let write = move |connection: &Connection| {
            if let Some(guard) = guard {
                hold(connection, guard)?;
            }
            let moved = actions::overwrite(connection, &action, &from, None)?;
            if moved {
                commit::write_audit(connection, &audit)?;
            }
            Ok(moved)
        };
        self.writer.write(write).await
    }

    async fn queue_counts(&self) -> Result<HashMap<State, u64>> {
        let sql = "SELECT state, count(*) FROM outbound_action WHERE state < 2 GROUP BY state \
                   UNION ALL SELECT state, count(*) FROM outbound_action WHERE state IN (2, 4) GROUP BY state";
        let count = |row: &Row<'_>| Ok((rows::action_state(row.get(0)?)?, row.get::<_, i64>(1)?.unsigned_abs()));
        let counts = self.readers.read(move |connection| actions::all(connection, sql, [], count)).await?;
        Ok(counts.into_iter().collect())
    }

    async fn oldest_due(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT due FROM (SELECT (SELECT min(due) FROM outbound_action WHERE state < 2 AND channel = 0) AS due \
                   UNION ALL SELECT (SELECT min(due) FROM outbound_action WHERE state < 2 AND channel = 1)) AS each \
                   WHERE due IS NOT NULL ORDER BY due LIMIT 1";
        self.readers.read(move |it| actions::first(it, sql, [], |row| Ok(Timestamp(row.get(0)?)))).await
    }

    async fn audit_log(&self, subscriber: Option<SubscriberId>, limit: u32) -> Result<Vec<Audit>> {
        let newest = "ORDER BY at DESC, rowid DESC LIMIT ?1";
        let audit = |row: &Row<'_>| Ok(Audit { at: Timestamp(row.get(0)?), who: row.get(1)?, what: row.get(2)? });
        let read = move |connection: &Connection| match subscriber {
            None => actions::all(connection, &format!("SELECT at, who, what FROM audit {newest}"), [limit], audit),
            Some(id) => {
                let sql = format!("SELECT at, who, what FROM audit WHERE subscriber_id = ?2 {newest}");
                actions::all(connection, &sql, (limit, id.0), audit)
            }
        };
        self.readers.read(read).await
    }

    async fn notices(&self, limit: u32) -> Result<Vec<Notice>> {
        let sql = "SELECT at, msisdn, kind, text FROM notice ORDER BY at DESC, rowid DESC LIMIT ?1";
        let notice = |row: &Row<'_>| {
            let msisdn = row.get::<_, Option<i64>>(1)?.map(rows::msisdn).transpose()?;
            Ok(Notice { at: Timestamp(row.get(0)?), msisdn, kind: row.get(2)?, text: row.get(3)? })
        };
        self.readers.read(move |connection| actions::all(connection, sql, [limit], notice)).await
    }

    async fn acquire_lease(&self, name: &str, owner: &str, now: Timestamp, ttl: Duration) -> Result<Lease> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let write = move |connection: &Connection| {
            let upsert = "INSERT INTO lease (name, owner, epoch, expires) VALUES (?1, ?2, 1, ?4) \
                          ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires, \
                          epoch = epoch + (owner <> excluded.owner) WHERE owner = excluded.owner OR expires <= ?3";
            connection.prepare_cached(upsert)?.execute((&name, &owner, now.0, now.plus(ttl).0))?;
            let read = "SELECT owner, epoch FROM lease WHERE name = ?1";
            let lease = actions::first(connection, read, [&name], |row| {
                let holder: String = row.get(0)?;
                Ok(Lease { held: holder == owner, owner: holder, epoch: row.get::<_, i64>(1)?.unsigned_abs() })
            })?;
            lease.ok_or_else(|| StoreError::NotFound(format!("lease {name}")))
        };
        self.writer.write(write).await
    }

    async fn release_lease(&self, name: &str, owner: &str) -> Result<()> {
        let params = (name.to_owned(), owner.to_owned());
        let sql = "UPDATE lease SET expires = 0 WHERE name = ?1 AND owner = ?2";
        self.writer.write(move |it| Ok(it.prepare_cached(sql)?.execute(params).map(drop)?)).await
    }

    async fn register_sessions(&self, sessions: &SessionUpdate) -> Result<Vec<DeviceId>> {
        let sessions = sessions.clone();
        self.writer.write(move |connection| register_sessions(connection, &sessions)).await
    }

    async fn locate_sessions(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, String>> {
        let devices = devices.to_vec();
        let sql = "SELECT endpoint FROM ip_session WHERE device_id = ?1";
        let read = move |connection: &Connection| {
            let mut located = HashMap::new();
            for device in devices {
                let endpoint = actions::first(connection, sql, [device.0], |row| Ok(row.get(0)?))?;
                located.extend(endpoint.map(|endpoint| (device, endpoint)));
            }
            Ok(located)
        };
        self.readers.read(read).await
    }

    async fn expire(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64> {
        self.remove_expired(what, before, limit).await
    }

    async fn journal_from(&self) -> Result<Option<Timestamp>> {
        self.read_journal_from().await
    }

    async fn settings(&self, scope: &str) -> Result<HashMap<String, String>> {
        let sql = "SELECT key, value FROM setting WHERE scope = ?1";
        let scope = scope.to_owned();
        let pairs = self.readers.read(move |it| actions::all(it, sql, [scope], |row| Ok((row.get(0)?, row.get(1)?))));
        Ok(pairs.await?.into_iter().collect())
    }

    async fn put_setting(&self, scope: &str, key: &str, value: &str, audit: Audit) -> Result<()> {
        let params = (scope.to_owned(), key.to_owned(), value.to_owned());
        let write = move |connection: &Connection| {
            let upsert = "INSERT OR REPLACE INTO setting (scope, key, value) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(upsert)?.execute(params)?;
            commit::write_audit(connection, &audit)
        };
        self.writer.write(write).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}

fn found(rows: usize, id: SubscriberId) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(rows::no_subscriber(id)) }
}

fn holder(connection: &Connection, msisdn: Msisdn, tenant: &str) -> Result<Option<i64>> {
    let sql = "SELECT id FROM subscriber WHERE msisdn = ?1 AND tenant = ?2";
    actions::first(connection, sql, (msisdn.to_i64(), tenant), |row| Ok(row.get(0)?))
}

fn change_user(connection: &Connection, id: SubscriberId, change: &UserChange) -> Result<()> {
    let UserChange { name, address, login, password_hash } = change;
    if let Some(Some(login)) = login {
        let sql = "SELECT 1 FROM subscriber o JOIN subscriber s ON s.tenant = o.tenant \
                   WHERE o.login = ?1 AND s.id = ?2 AND o.id <> s.id";
        if actions::first(connection, sql, (login, id.0), |_| Ok(()))?.is_some() {
            return Err(rows::login_exists());
        }
    }
    let update = "UPDATE subscriber SET name = coalesce(?2, name), address = coalesce(?3, address), \
                  login = CASE WHEN ?4 THEN ?5 ELSE login END, \
                  password_hash = CASE WHEN ?6 THEN ?7 ELSE password_hash END WHERE id = ?1";
    let (login, has_login) = (login.clone().flatten(), login.is_some());
    let (hash, has_hash) = (password_hash.clone().flatten(), password_hash.is_some());
    let params = (id.0, name, address, has_login, login, has_hash, hash);
    found(connection.prepare_cached(update)?.execute(params)?, id)
}

fn insert_subscriber(connection: &Connection, subscriber: &Subscriber) -> Result<()> {
    if holder(connection, subscriber.msisdn, &subscriber.tenant)?.is_some() {
        return Err(rows::number_exists(subscriber.msisdn));
    }
    let insert = "INSERT INTO subscriber (id, tenant, msisdn, name, state) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (msisdn, state) = (subscriber.msisdn.to_i64(), rows::account_state_code(subscriber.state));
    let params = (subscriber.id.0, &subscriber.tenant, msisdn, &subscriber.name, state);
    connection.prepare_cached(insert)?.execute(params)?;
    Ok(())
}

/// The open device first, then the closed ones, newest first.
fn with_devices(connection: &Connection, subscriber: Subscriber) -> Result<Account> {
    let sql = format!(
        "SELECT {DEVICE} FROM device d JOIN device_state t ON t.subscriber_id = d.subscriber_id AND t.device_id = d.id \
         WHERE d.subscriber_id = ?1 ORDER BY d.closed IS NOT NULL, d.closed DESC"
    );
    let devices = actions::all(connection, &sql, [subscriber.id.0], |row| actions::device(row, 0))?;
    Ok(Account { subscriber, devices })
}

/// Moves the version of a device's state on, if it still is the one that was read.
fn hold(connection: &Connection, (device, version): Guard) -> Result<()> {
    let update = "UPDATE device_state SET version = version + 1 \
                  WHERE subscriber_id = ?1 AND device_id = ?2 AND version = ?3";
    match connection.prepare_cached(update)?.execute((device.subscriber.0, device.device.0, version))? {
        1 => Ok(()),
        _ => Err(rows::state_changed(device)),
    }
}

fn replace_card(connection: &Connection, replaced: Guard, new: &NewCard, audit: &Audit) -> Result<()> {
    let NewCard { device, state, actions } = new;
    let id = device.key.subscriber;
    let known = actions::first(connection, "SELECT 1 FROM subscriber WHERE id = ?1", [id.0], |_| Ok(()))?;
    known.ok_or_else(|| rows::no_subscriber(id))?;
    // A batch or a command that read the old card's state must not be committed any more: it is read-only (D-112).
    hold(connection, replaced)?;
    let close = "UPDATE device SET closed = ?2 WHERE subscriber_id = ?1 AND closed IS NULL RETURNING id";
    let old: Option<i64> = actions::first(connection, close, (id.0, audit.at.0), |row| Ok(row.get(0)?))?;
    if let Some(old) = old {
        if old != replaced.0.device.0 {
            return Err(rows::state_changed(replaced.0));
        }
        let rest = "UPDATE device_state SET mismatch_since = NULL WHERE subscriber_id = ?1 AND device_id = ?2";
        connection.prepare_cached(rest)?.execute((id.0, old))?;
        let cancel = "UPDATE outbound_action SET state = 5, cause = ?3, due = ?4 \
                      WHERE subscriber_id = ?1 AND device_id = ?2 AND state < 3";
        connection.prepare_cached(cancel)?.execute((id.0, old, rows::CARD_REPLACED, audit.at.0))?;
    }
    actions::insert_device(connection, device, state)?;
    actions.iter().try_for_each(|action| actions::insert(connection, action))?;
    commit::write_audit(connection, audit)
}

/// Deletes what is found by key, and leaves word of the rest for [`erase_rest`]; how many rows.
fn erase(connection: &Connection, id: SubscriberId, audit: &Audit) -> Result<u64> {
    let sql = "SELECT msisdn, legal_hold FROM subscriber WHERE id = ?1";
    let known: Option<(i64, bool)> = actions::first(connection, sql, [id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (number, held) = known.ok_or_else(|| rows::no_subscriber(id))?;
    if held {
        return Err(rows::legal_hold(id));
    }
    let sessions = "DELETE FROM ip_session WHERE device_id IN (SELECT id FROM device WHERE subscriber_id = ?1)";
    let mut erased = connection.execute(sessions, [id.0])?;
    for table in ["book_page", "book_change", "outbound_action", "device_state", "device"] {
        erased += connection.execute(&format!("DELETE FROM {table} WHERE subscriber_id = ?1"), [id.0])?;
    }
    erased += transfer::erase(connection, id)?;
    let insert = "INSERT INTO erasure (subscriber_id, msisdn, asked) VALUES (?1, ?2, ?3)";
    connection.execute(insert, [id.0, number, audit.at.0])?;
    for table in ["dead_letter", "message_part", "error_reply"] {
        erased += connection.execute(&format!("DELETE FROM {table} WHERE msisdn = ?1"), [number])?;
    }
    erased += connection.execute("DELETE FROM subscriber WHERE id = ?1", [id.0])?;
    commit::write_audit(connection, audit)?;
    Ok(erased as u64)
}

/// Deletes at most `limit` rows of an erased subscriber; 0: nothing is left of anybody.
fn erase_rest(connection: &Connection, limit: u32) -> Result<u64> {
    let oldest = "SELECT subscriber_id, msisdn, asked FROM erasure ORDER BY asked LIMIT 1";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    while let Some((id, number, asked)) = actions::first::<(i64, i64, i64)>(connection, oldest, [], read)? {
        for (table, whose, whom, until) in [
            ("billing_event", "subscriber_id = ?1", id, i64::MAX),
            ("billing_event", "subscriber_id IS NULL AND msisdn = ?1", number, asked),
            ("notice", "msisdn = ?1", number, asked),
        ] {
            let delete = format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {whose} AND at <= ?2 LIMIT ?3)"
            );
            let gone = connection.prepare_cached(&delete)?.execute((whom, until, limit))?;
            if gone > 0 {
                return Ok(gone as u64);
            }
        }
        connection.execute("DELETE FROM erasure WHERE subscriber_id = ?1", [id])?;
    }
    Ok(0)
}

fn register_sessions(connection: &Connection, sessions: &SessionUpdate) -> Result<Vec<DeviceId>> {
    let SessionUpdate { endpoint, opened, closed, snapshot, at, snapshot_from, snapshot_to } = sessions;
    // A snapshot says what is held, not when it was opened: it takes no session from another endpoint.
    let upsert = "INSERT INTO ip_session (device_id, endpoint, at) VALUES (?1, ?2, ?3) ON CONFLICT (device_id) DO UPDATE \
                  SET endpoint = excluded.endpoint, at = max(at, excluded.at) \
                  WHERE endpoint = excluded.endpoint OR (NOT ?4 AND at <= excluded.at)";
    if *snapshot {
        let held = "SELECT device_id FROM ip_session WHERE endpoint = ?1 AND device_id BETWEEN ?2 AND ?3";
        let from = snapshot_from.map_or(i64::MIN, |device| device.0);
        let to = snapshot_to.map_or(i64::MAX, |device| device.0);
        let held = actions::all(connection, held, (endpoint, from, to), |row| Ok(DeviceId(row.get(0)?)))?;
        let kept: std::collections::HashSet<_> = opened.iter().collect();
        close_sessions(connection, endpoint, held.iter().filter(|device| !kept.contains(device)))?;
    }
    // Closed before opened: a device that is in both has come back.
    close_sessions(connection, endpoint, closed.iter())?;
    let mut elsewhere = Vec::new();
    for device in opened {
        if connection.prepare_cached(upsert)?.execute((device.0, endpoint, at.0, snapshot))? == 0 {
            elsewhere.push(*device);
        }
    }
    Ok(elsewhere)
}

fn close_sessions<'a>(
    connection: &Connection,
    endpoint: &str,
    devices: impl Iterator<Item = &'a DeviceId>,
) -> Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM ip_session WHERE device_id = ?1 AND endpoint = ?2")?;
    for device in devices {
        statement.execute((device.0, endpoint))?;
    }
    Ok(())
}
