//! Rows of `outbound_action` and of devices, in and out.

use domain::{
    delivery::{Action, State},
    identity::{DeviceKey, Timestamp},
    phonebook::{Device, DeviceState, DeviceView, Subscriber},
};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::{
    Result,
    rows::{self, ActionRow, DeviceRow, SubscriberRow},
};

/// Columns in the order that [`action`] reads them, of a table named `a`.
pub const ACTION: &str = "a.subscriber_id, a.device_id, a.id, a.msisdn, a.created, a.due, a.receipt, a.attempts, a.state, \
                          a.channel, a.link, a.bearer_message_id, a.cause, a.content, a.traces";
/// Columns in the order that [`device`] reads them, of tables named `d` and `t`.
pub const DEVICE: &str = "d.subscriber_id, d.id, d.iccid, d.profile, d.bearer, d.ip_key, d.opened, d.closed, t.version, \
                          t.downlink_counter, t.data";
/// Columns in the order that [`subscriber`] reads them, of a table named `s`.
pub const SUBSCRIBER: &str = "s.id, s.tenant, s.msisdn, s.name, s.state";

/// Reads an action from column `from` on.
pub fn action(row: &Row<'_>, from: usize) -> Result<Action> {
    ActionRow {
        device: rows::key(row.get(from)?, row.get(from + 1)?),
        id: row.get(from + 2)?,
        msisdn: row.get(from + 3)?,
        created: row.get(from + 4)?,
        due: row.get(from + 5)?,
        receipt: row.get(from + 6)?,
        attempts: row.get(from + 7)?,
        state: row.get(from + 8)?,
        channel: row.get(from + 9)?,
        link: row.get(from + 10)?,
        bearer_message_id: row.get(from + 11)?,
        cause: row.get(from + 12)?,
        content: row.get(from + 13)?,
        traces: row.get(from + 14)?,
    }
    .try_into()
}

pub fn device(row: &Row<'_>, from: usize) -> Result<(Device, DeviceState)> {
    DeviceRow {
        key: rows::key(row.get(from)?, row.get(from + 1)?),
        iccid: row.get(from + 2)?,
        profile: row.get(from + 3)?,
        bearer: row.get(from + 4)?,
        ip_key: row.get(from + 5)?,
        opened: row.get(from + 6)?,
        closed: row.get(from + 7)?,
        version: row.get(from + 8)?,
        downlink_counter: row.get(from + 9)?,
        state: row.get(from + 10)?,
    }
    .try_into()
}

pub fn subscriber(row: &Row<'_>, from: usize) -> Result<Subscriber> {
    SubscriberRow {
        id: row.get(from)?,
        tenant: row.get(from + 1)?,
        msisdn: row.get(from + 2)?,
        name: row.get(from + 3)?,
        state: row.get(from + 4)?,
    }
    .try_into()
}

/// Columns of [`SUBSCRIBER`], then of [`DEVICE`].
pub fn view(row: &Row<'_>, from: usize) -> Result<DeviceView> {
    let (device, state) = device(row, from + 5)?;
    Ok(DeviceView { subscriber: subscriber(row, from)?, device, state })
}

/// All rows of a query, each read by `read`.
pub fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query(params)?;
    let mut values = Vec::new();
    while let Some(row) = found.next()? {
        values.push(read(row)?);
    }
    Ok(values)
}

/// The first row of a query, if there is one.
pub fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params, |row| Ok(read(row))).optional()?.transpose()
}

pub fn insert(connection: &Connection, action: &Action) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO outbound_action (subscriber_id, id, device_id, msisdn, created, due, receipt, attempts, kind, subtype, \
         state, channel, link, bearer_message_id, cause, content, traces) VALUES (:subscriber, :id, :device, :msisdn, \
         :created, :due, :receipt, :attempts, :kind, :subtype, :state, :channel, :link, :message, :cause, :content, :traces)",
    )?;
    statement.execute(named_params! {
        ":subscriber": action.device.subscriber.0,
        ":id": action.id.0,
        ":device": action.device.device.0,
        ":msisdn": action.msisdn.to_i64(),
        ":created": action.created.0,
        ":due": action.due.0,
        ":receipt": action.receipt.map(|at| at.0),
        ":attempts": action.attempts,
        ":kind": action.content.code(),
        ":subtype": rows::subtype(&action.content),
        ":state": action.state.code(),
        ":channel": action.channel.code(),
        ":link": action.launched.as_ref().map(|launched| &launched.link),
        ":message": action.launched.as_ref().map(|launched| &launched.bearer_message_id),
        ":cause": action.cause,
        ":content": action.content.to_stored(action.is_secured),
        ":traces": rows::join_traces(&action.traces),
    })?;
    Ok(())
}

/// Overwrites what an action's life changes, if its row is still in one of `from` (all: any) and due at `from_due` (none:
/// at any time).
pub fn overwrite(
    connection: &Connection,
    action: &Action,
    from: &[State],
    from_due: Option<Timestamp>,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "UPDATE outbound_action SET due = :due, receipt = :receipt, attempts = :attempts, state = :state, \
         channel = :channel, link = :link, bearer_message_id = :message, cause = :cause, content = :content, traces = :traces \
         WHERE subscriber_id = :subscriber AND id = :id AND ((1 << state) & :from) <> 0 AND due = coalesce(:from_due, due)",
    )?;
    let written = statement.execute(named_params! {
        ":subscriber": action.device.subscriber.0,
        ":id": action.id.0,
        ":due": action.due.0,
        ":receipt": action.receipt.map(|at| at.0),
        ":attempts": action.attempts,
        ":state": action.state.code(),
        ":channel": action.channel.code(),
        ":link": action.launched.as_ref().map(|launched| &launched.link),
        ":message": action.launched.as_ref().map(|launched| &launched.bearer_message_id),
        ":cause": action.cause,
        ":content": action.content.to_stored(action.is_secured),
        ":traces": rows::join_traces(&action.traces),
        ":from": rows::state_bits(from),
        ":from_due": from_due.map(|at| at.0),
    })?;
    Ok(written == 1)
}

/// Writes a device that was not there; `Refused` when its ICCID is taken.
pub fn insert_device(connection: &Connection, device: &Device, state: &DeviceState) -> Result<()> {
    let taken = first(connection, "SELECT 1 FROM device WHERE iccid = ?1", [&device.iccid], |_| Ok(()))?;
    if taken.is_some() {
        return Err(rows::iccid_exists(&device.iccid));
    }
    let DeviceKey { subscriber, device: id } = device.key;
    let mut statement = connection.prepare_cached(
        "INSERT INTO device (subscriber_id, id, iccid, profile, bearer, ip_key, opened, closed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let (opened, closed) = (device.opened.0, device.closed.map(|at| at.0));
    let (profile, bearer) = (rows::profile_code(device.profile), device.bearer.code());
    statement.execute((
        subscriber.0,
        id.0,
        &device.iccid,
        profile,
        bearer,
        device.ip_key.as_deref(),
        opened,
        closed,
    ))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO device_state (subscriber_id, device_id, version, downlink_counter, mismatch_since, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let since = state.mismatch_since.map(|at| at.0);
    statement.execute((subscriber.0, id.0, state.version, state.downlink_counter, since, state.to_octets()))?;
    Ok(())
}
