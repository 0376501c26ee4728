//! Accounts as a whole: made, read, moved to another card or number, erased; and the sessions of their devices. Each
//! function runs within the caller's transaction.

use std::collections::HashSet;

use domain::{
    delivery::Action,
    identity::{DeviceId, Msisdn, SubscriberId, Timestamp},
    phonebook::{Device, DeviceState},
};

use super::{
    Connection,
    arrays::{Array, Rows, params},
    columns::{self, DEVICE, SUBSCRIBER, clean, get, octet},
    pool::Params,
    times::At,
    transfer,
};
use crate::{Account, Audit, Guard, NewAccount, NewCard, Result, SessionUpdate, StoreError, UserChange, rows};

pub async fn create(connection: &Connection, new: &[NewAccount]) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let subscribers = Rows::of(new)
        .with("name", |account| clean(&account.subscriber.name))
        .with("id", |account| account.subscriber.id.0)
        .with("tenant", |account| clean(&account.subscriber.tenant))
        .with("msisdn", |account| account.subscriber.msisdn.to_i64())
        .with("state", |account| rows::account_state_code(account.subscriber.state));
    let insert = subscribers.insert_into("subscriber", 1) + " ON CONFLICT (msisdn, tenant) DO NOTHING RETURNING msisdn";
    let written = connection.query(&insert, &subscribers.params()).await?;
    let mut written: HashSet<i64> = written.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
    // A number that is there twice was written once.
    if let Some(account) = new.iter().find(|account| !written.remove(&account.subscriber.msisdn.to_i64())) {
        return Err(rows::number_exists(account.subscriber.msisdn));
    }
    let devices: Vec<_> = new.iter().map(|account| (&account.device, &account.state)).collect();
    let actions: Vec<Action> = new.iter().flat_map(|account| account.actions.iter().cloned()).collect();
    insert_devices(connection, &devices).await?;
    insert_actions(connection, &actions).await
}

async fn insert_devices(connection: &Connection, devices: &[(&Device, &DeviceState)]) -> Result<()> {
    let new = Rows::of(devices)
        .with("iccid", |(device, _)| clean(&device.iccid))
        .with("subscriber_id", |(device, _)| device.key.subscriber.0)
        .with("id", |(device, _)| device.key.device.0)
        .with("profile", |(device, _)| rows::profile_code(device.profile))
        .with("bearer", |(device, _)| octet(device.bearer.code()))
        .with("ip_key", |(device, _)| device.ip_key.as_ref().map(|key| key.to_vec()))
        .with("opened", |(device, _)| At(device.opened))
        .with("closed", |(device, _)| device.closed.map(At));
    let insert = new.insert_into("device", 1) + " ON CONFLICT (iccid) DO NOTHING RETURNING iccid";
    let written = connection.query(&insert, &new.params()).await?;
    let mut written: HashSet<String> = written.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
    if let Some((device, _)) = devices.iter().find(|(device, _)| !written.remove(&clean(&device.iccid))) {
        return Err(rows::iccid_exists(&device.iccid));
    }
    let states = Rows::of(devices)
        .with("data", |(_, state)| state.to_octets())
        .with("subscriber_id", |(device, _)| device.key.subscriber.0)
        .with("device_id", |(device, _)| device.key.device.0)
        .with("version", |(_, state)| state.version)
        .with("downlink_counter", |(_, state)| i64::from(state.downlink_counter))
        .with("mismatch_since", |(_, state)| state.mismatch_since.map(At));
    connection.execute(&states.insert_into("device_state", 1), &states.params()).await.map(drop)
}

async fn insert_actions(connection: &Connection, actions: &[Action]) -> Result<()> {
    if actions.is_empty() {
        return Ok(());
    }
    let actions = columns::actions(actions);
    connection.execute(&actions.insert_into("outbound_action", 1), &actions.params()).await.map(drop)
}

/// Accounts that meet the condition on `s`, by number, each with its open device first.
pub async fn read(connection: &Connection, condition: &str, params: Params<'_>) -> Result<Vec<Account>> {
    let sql = format!(
        "SELECT {SUBSCRIBER}, {DEVICE} FROM subscriber s JOIN device d ON d.subscriber_id = s.id \
         JOIN device_state t ON t.subscriber_id = d.subscriber_id AND t.device_id = d.id \
         WHERE {condition} ORDER BY s.msisdn, d.closed DESC NULLS FIRST"
    );
    let mut accounts: Vec<Account> = Vec::new();
    for row in connection.query(&sql, params).await? {
        let subscriber = columns::subscriber(&row, 0)?;
        let device = columns::device(&row, 5)?;
        match accounts.last_mut().filter(|account| account.subscriber.id == subscriber.id) {
            Some(account) => account.devices.push(device),
            None => accounts.push(Account { subscriber, devices: vec![device] }),
        }
    }
    Ok(accounts)
}

/// Holds the subscriber's row until the transaction ends; number and legal hold.
async fn lock(connection: &Connection, id: SubscriberId) -> Result<(i64, bool)> {
    let sql = "SELECT msisdn, legal_hold FROM subscriber WHERE id = $1 FOR UPDATE";
    let found = connection.query(sql, &[&id.0]).await?;
    let row = found.first().ok_or_else(|| rows::no_subscriber(id))?;
    Ok((get(row, 0)?, get(row, 1)?))
}

/// Moves the version of a device's state on, if it still is the one that was read.
pub async fn hold(connection: &Connection, (device, version): Guard) -> Result<()> {
    let update = "UPDATE device_state SET version = version + 1 \
                  WHERE subscriber_id = $1 AND device_id = $2 AND version = $3";
    match connection.execute(update, &[&device.subscriber.0, &device.device.0, &version]).await? {
        1 => Ok(()),
        _ => Err(rows::state_changed(device)),
    }
}

pub async fn replace_card(connection: &Connection, replaced: Guard, new: &NewCard, audit: &Audit) -> Result<()> {
    let NewCard { device, state, actions } = new;
    let id = device.key.subscriber;
    lock(connection, id).await?;
    // A batch or a command that read the old card's state must not be committed any more: it is read-only (D-112).
    hold(connection, replaced).await?;
    let at = At(audit.at);
    let close = "UPDATE device SET closed = $2 WHERE subscriber_id = $1 AND closed IS NULL RETURNING id";
    for row in connection.query(close, &[&id.0, &at]).await? {
        let old: i64 = get(&row, 0)?;
        if old != replaced.0.device.0 {
            return Err(rows::state_changed(replaced.0));
        }
        let rest = "UPDATE device_state SET mismatch_since = NULL WHERE subscriber_id = $1 AND device_id = $2";
        connection.execute(rest, &[&id.0, &old]).await?;
        let cancel = "UPDATE outbound_action SET state = 5, cause = $3, due = $4 \
                      WHERE subscriber_id = $1 AND device_id = $2 AND state < 3";
        connection.execute(cancel, &[&id.0, &old, &rows::CARD_REPLACED, &at]).await?;
    }
    insert_devices(connection, &[(device, state)]).await?;
    insert_actions(connection, actions).await
}

pub async fn change_number(connection: &Connection, id: SubscriberId, msisdn: Msisdn) -> Result<()> {
    let (old, _) = lock(connection, id).await?;
    let update = "UPDATE subscriber s SET msisdn = $2 WHERE s.id = $1 AND NOT EXISTS \
                  (SELECT FROM subscriber o WHERE o.msisdn = $2 AND o.tenant = s.tenant AND o.id <> s.id)";
    if connection.execute(update, &[&id.0, &msisdn.to_i64()]).await? == 0 {
        return Err(rows::number_exists(msisdn));
    }
    // A command that read the old number would be sent to whoever gets it.
    connection.execute("UPDATE device_state SET version = version + 1 WHERE subscriber_id = $1", &[&id.0]).await?;
    // What still waits goes to the subscriber, not to whoever gets the old number.
    let update = "UPDATE outbound_action SET msisdn = $2 WHERE subscriber_id = $1 AND state < 3";
    connection.execute(update, &[&id.0, &msisdn.to_i64()]).await?;
    // What is kept by number alone goes along, so that an erasure finds it.
    connection.execute("UPDATE notice SET msisdn = $2 WHERE msisdn = $1", &[&old, &msisdn.to_i64()]).await?;
    connection.execute("UPDATE dead_letter SET msisdn = $2 WHERE msisdn = $1", &[&old, &msisdn.to_i64()]).await?;
    connection.execute("DELETE FROM error_reply WHERE msisdn = $1", &[&old]).await.map(drop)
}

/// `Refused` by the unique index when another user has the login.
pub async fn change_user(connection: &Connection, id: SubscriberId, change: &UserChange) -> Result<()> {
    let text = |text: &Option<String>| text.as_deref().map(clean);
    let update = "UPDATE subscriber SET name = coalesce($2, name), address = coalesce($3, address), \
                  login = CASE WHEN $4 THEN $5 ELSE login END, \
                  password_hash = CASE WHEN $6 THEN $7 ELSE password_hash END WHERE id = $1";
    let columns: [Array<'_>; 7] = [
        Box::new(id.0),
        Box::new(text(&change.name)),
        Box::new(text(&change.address)),
        Box::new(change.login.is_some()),
        Box::new(text(&change.login.clone().flatten())),
        Box::new(change.password_hash.is_some()),
        Box::new(text(&change.password_hash.clone().flatten())),
    ];
    match connection.execute(update, &params(&columns)).await {
        Ok(0) => Err(rows::no_subscriber(id)),
        Ok(_) => Ok(()),
        Err(StoreError::Refused(why)) if why.contains("subscriber_login") => Err(rows::login_exists()),
        Err(error) => Err(error),
    }
}

/// Deletes what is found by key, and leaves word of the rest for [`erase_rest`]; how many rows.
pub async fn erase(connection: &Connection, id: SubscriberId, asked: Timestamp) -> Result<u64> {
    let (number, held) = lock(connection, id).await?;
    if held {
        return Err(rows::legal_hold(id));
    }
    // The states first: a batch that is being committed holds one of them, and from here on none can be.
    let mut erased = connection.execute("DELETE FROM device_state WHERE subscriber_id = $1", &[&id.0]).await?;
    let sessions = "DELETE FROM ip_session WHERE device_id IN (SELECT id FROM device WHERE subscriber_id = $1)";
    erased += connection.execute(sessions, &[&id.0]).await?;
    for table in ["book_page", "book_change", "outbound_action", "device"] {
        let delete = format!("DELETE FROM {table} WHERE subscriber_id = $1");
        erased += connection.execute(&delete, &[&id.0]).await?;
    }
    erased += transfer::erase(connection, id).await?;
    let insert = "INSERT INTO erasure (subscriber_id, msisdn, asked) VALUES ($1, $2, $3)";
    connection.execute(insert, &[&id.0, &number, &At(asked)]).await?;
    for table in ["dead_letter", "message_part", "error_reply"] {
        let delete = format!("DELETE FROM {table} WHERE msisdn = $1");
        erased += connection.execute(&delete, &[&number]).await?;
    }
    Ok(erased + connection.execute("DELETE FROM subscriber WHERE id = $1", &[&id.0]).await?)
}

/// Deletes about `limit` rows of an erased subscriber, each step by itself; 0: nothing is left of anybody.
pub async fn erase_rest(connection: &Connection, limit: u32) -> Result<u64> {
    let oldest = "SELECT subscriber_id, msisdn FROM erasure ORDER BY asked LIMIT 1";
    while let Some(row) = connection.query(oldest, &[]).await?.first() {
        let (id, number): (i64, i64) = (get(row, 0)?, get(row, 1)?);
        // The rows up to a time, for partitions are by time; a few more than the limit if they are of one moment.
        for (table, whose, whom) in [
            ("billing_event", "subscriber_id = $1", id),
            ("billing_event", "subscriber_id IS NULL AND msisdn = $1 AND at <= (SELECT asked FROM asked)", number),
            ("notice", "msisdn = $1 AND at <= (SELECT asked FROM asked)", number),
        ] {
            let delete = format!(
                "WITH asked AS (SELECT asked FROM erasure WHERE subscriber_id = $3) DELETE FROM {table} WHERE {whose} \
                 AND at <= (SELECT max(at) FROM (SELECT at FROM {table} WHERE {whose} ORDER BY at LIMIT $2) AS first)"
            );
            let gone = connection.execute(&delete, &[&whom, &i64::from(limit), &id]).await?;
            if gone > 0 {
                return Ok(gone);
            }
        }
        connection.execute("DELETE FROM erasure WHERE subscriber_id = $1", &[&id]).await?;
    }
    Ok(0)
}

pub async fn register_sessions(connection: &Connection, sessions: &SessionUpdate) -> Result<Vec<DeviceId>> {
    let SessionUpdate { endpoint, snapshot, at, snapshot_from, snapshot_to, .. } = sessions;
    let ids = |devices: &[DeviceId]| {
        let mut ids: Vec<i64> = devices.iter().map(|device| device.0).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let opened = ids(&sessions.opened);
    if *snapshot {
        let delete =
            "DELETE FROM ip_session WHERE endpoint = $1 AND device_id <> ALL($2) AND device_id BETWEEN $3 AND $4";
        let from = snapshot_from.map_or(i64::MIN, |device| device.0);
        let to = snapshot_to.map_or(i64::MAX, |device| device.0);
        connection.execute(delete, &[endpoint, &opened, &from, &to]).await?;
    }
    // Closed before opened: a device that is in both has come back.
    let delete = "DELETE FROM ip_session WHERE endpoint = $1 AND device_id = ANY($2)";
    connection.execute(delete, &[endpoint, &ids(&sessions.closed)]).await?;
    // A snapshot says what is held, not when it was opened: it takes no session from another endpoint.
    let upsert = "INSERT INTO ip_session (device_id, endpoint, at) SELECT u.id, $2, $3 FROM UNNEST($1::bigint[]) AS u(id) \
                  ON CONFLICT (device_id) DO UPDATE SET endpoint = EXCLUDED.endpoint, at = greatest(ip_session.at, EXCLUDED.at) \
                  WHERE ip_session.endpoint = EXCLUDED.endpoint OR (NOT $4 AND ip_session.at <= EXCLUDED.at) \
                  RETURNING device_id";
    let columns: [Array<'_>; 4] =
        [Box::new(opened.clone()), Box::new(clean(endpoint)), Box::new(At(*at)), Box::new(*snapshot)];
    let written = connection.query(upsert, &params(&columns)).await?;
    let written: HashSet<i64> = written.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
    Ok(opened.into_iter().filter(|id| !written.contains(id)).map(DeviceId).collect())
}
