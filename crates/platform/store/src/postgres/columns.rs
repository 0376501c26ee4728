//! Rows to values, and lists of values to the arrays that `UNNEST` takes.

use domain::{
    delivery::Action,
    identity::Timestamp,
    phonebook::{Device, DeviceState, DeviceView, Subscriber},
};
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql},
};

use super::times::At;
use crate::{
    Result, StoreError,
    rows::{self, ActionRow, DeviceRow, SubscriberRow},
};

/// An array for `UNNEST`.
pub type Column<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Columns in the order that [`action`] reads them, of a table named `a`.
pub const ACTION: &str = "a.subscriber_id, a.device_id, a.id, a.msisdn, a.created, a.due, a.receipt, a.attempts, a.state, \
                          a.channel, a.link, a.bearer_message_id, a.cause, a.content, a.traces";
/// Columns in the order that [`device`] reads them, of tables named `d` and `t`.
pub const DEVICE: &str = "d.subscriber_id, d.id, d.iccid, d.profile, d.bearer, d.ip_key, d.opened, d.closed, t.version, \
                          t.downlink_counter, t.data";
/// Columns in the order that [`subscriber`] reads them, of a table named `s`.
pub const SUBSCRIBER: &str = "s.id, s.tenant, s.msisdn, s.name, s.state";

/// A column's value; another type than expected is a corrupt schema, not a panic.
pub fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub fn micros(row: &Row, at: usize) -> Result<i64> {
    Ok(get::<At>(row, at)?.micros())
}

/// Reads an action from column `from` on.
pub fn action(row: &Row, from: usize) -> Result<Action> {
    ActionRow {
        device: rows::key(get(row, from)?, get(row, from + 1)?),
        id: get(row, from + 2)?,
        msisdn: get(row, from + 3)?,
        created: micros(row, from + 4)?,
        due: micros(row, from + 5)?,
        receipt: get::<Option<At>>(row, from + 6)?.map(At::micros),
        attempts: get(row, from + 7)?,
        state: get(row, from + 8)?,
        channel: get(row, from + 9)?,
        link: get(row, from + 10)?,
        bearer_message_id: get(row, from + 11)?,
        cause: get(row, from + 12)?,
        content: get(row, from + 13)?,
        traces: get(row, from + 14)?,
    }
    .try_into()
}

pub fn device(row: &Row, from: usize) -> Result<(Device, DeviceState)> {
    DeviceRow {
        key: rows::key(get(row, from)?, get(row, from + 1)?),
        iccid: get(row, from + 2)?,
        profile: get(row, from + 3)?,
        bearer: get(row, from + 4)?,
        ip_key: get(row, from + 5)?,
        opened: micros(row, from + 6)?,
        closed: get::<Option<At>>(row, from + 7)?.map(At::micros),
        version: get(row, from + 8)?,
        downlink_counter: get(row, from + 9)?,
        state: get(row, from + 10)?,
    }
    .try_into()
}

pub fn subscriber(row: &Row, from: usize) -> Result<Subscriber> {
    SubscriberRow {
        id: get(row, from)?,
        tenant: get(row, from + 1)?,
        msisdn: get(row, from + 2)?,
        name: get(row, from + 3)?,
        state: get(row, from + 4)?,
    }
    .try_into()
}

/// Columns of [`SUBSCRIBER`], then of [`DEVICE`].
pub fn view(row: &Row, from: usize) -> Result<DeviceView> {
    let (device, state) = device(row, from + 5)?;
    Ok(DeviceView { subscriber: subscriber(row, from)?, device, state })
}

/// One array of a value of each item.
pub fn column<'a, T, V>(items: &'a [T], value: impl Fn(&'a T) -> V) -> Column<'a>
where
    V: ToSql + Sync + Send + 'a,
{
    Box::new(items.iter().map(value).collect::<Vec<V>>())
}

pub fn octet(value: u8) -> i16 {
    i16::from(value)
}

/// Text as Postgres takes it: it refuses a character 0, and one such text would refuse its whole batch.
pub fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// Types and arrays of a new action, in the order of [`INSERT_ACTION`].
pub const INSERT_ACTION: &str = "INSERT INTO outbound_action (subscriber_id, id, device_id, msisdn, created, due, receipt, \
                                 attempts, kind, subtype, state, channel, link, bearer_message_id, cause, content, traces)";
pub const ACTION_TYPES: [&str; 17] = [
    "bigint",
    "bigint",
    "bigint",
    "bigint",
    "timestamptz",
    "timestamptz",
    "timestamptz",
    "integer",
    "smallint",
    "smallint",
    "smallint",
    "smallint",
    "text",
    "text",
    "text",
    "bytea",
    "bytea",
];

pub fn action_columns(actions: &[Action]) -> Vec<Column<'_>> {
    let mut columns = vec![
        column(actions, |action| action.device.subscriber.0),
        column(actions, |action| action.id.0),
        column(actions, |action| action.device.device.0),
        column(actions, |action| action.msisdn.to_i64()),
        column(actions, |action| At(action.created)),
        column(actions, |action| At(action.due)),
        column(actions, |action| action.receipt.map(At)),
        column(actions, attempts),
        column(actions, |action| octet(action.content.code())),
        column(actions, |action| rows::subtype(&action.content)),
    ];
    columns.extend(changing_columns(actions));
    columns
}

/// State, channel, link, message id, cause, content and traces.
fn changing_columns(actions: &[Action]) -> Vec<Column<'_>> {
    vec![
        column(actions, |action| octet(action.state.code())),
        column(actions, |action| octet(action.channel.code())),
        column(actions, |action| action.launched.as_ref().map(|launched| clean(&launched.link))),
        column(actions, |action| action.launched.as_ref().map(|launched| clean(&launched.bearer_message_id))),
        column(actions, |action| clean(&action.cause)),
        column(actions, |action| action.content.to_stored(action.is_secured)),
        column(actions, |action| rows::join_traces(&action.traces)),
    ]
}

fn attempts(action: &Action) -> i32 {
    i32::try_from(action.attempts).unwrap_or(i32::MAX)
}

/// Types and arrays of actions that are overwritten, each if its row is still in one of some states and due as given.
pub const MOVE_TYPES: [&str; 14] = [
    "bigint",
    "bigint",
    "timestamptz",
    "timestamptz",
    "integer",
    "smallint",
    "smallint",
    "text",
    "text",
    "text",
    "bytea",
    "bytea",
    "integer",
    "timestamptz",
];

/// The overwriting, given the arguments of `UNNEST`.
pub fn move_sql(arguments: &str) -> String {
    format!(
        "UPDATE outbound_action a SET due = u.due, receipt = u.receipt, attempts = u.attempts, state = u.state, \
         channel = u.channel, link = u.link, bearer_message_id = u.message, cause = u.cause, content = u.content, \
         traces = u.traces \
         FROM UNNEST({arguments}) AS u(subscriber, id, due, receipt, attempts, state, channel, link, message, cause, \
         content, traces, from_states, from_due) \
         WHERE a.subscriber_id = u.subscriber AND a.id = u.id AND ((1 << a.state::integer) & u.from_states) <> 0 \
         AND (u.from_due IS NULL OR a.due = u.from_due) RETURNING a.subscriber_id, a.id"
    )
}

/// `guards`: states as bits and due time, one for each action.
pub fn move_columns<'a>(actions: &'a [Action], guards: &'a [(i32, Option<Timestamp>)]) -> Vec<Column<'a>> {
    let mut columns = vec![
        column(actions, |action| action.device.subscriber.0),
        column(actions, |action| action.id.0),
        column(actions, |action| At(action.due)),
        column(actions, |action| action.receipt.map(At)),
        column(actions, attempts),
    ];
    columns.extend(changing_columns(actions));
    columns.push(column(guards, |(states, _)| *states));
    columns.push(column(guards, |(_, due)| due.map(At)));
    columns
}

/// `$1::bigint[], $2::text[]`, counting from `first`.
pub fn arguments(types: &[&str], first: usize) -> String {
    let each: Vec<String> = types.iter().enumerate().map(|(at, ty)| format!("${}::{ty}[]", first + at)).collect();
    each.join(", ")
}

/// Arrays as the parameters of a statement.
pub fn params<'a>(columns: &'a [Column<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    columns.iter().map(|column| -> &(dyn ToSql + Sync) { column.as_ref() }).collect()
}
