//! Rows to values, and actions to rows.

use domain::{
    delivery::Action,
    identity::Timestamp,
    phonebook::{Device, DeviceState, DeviceView, Subscriber},
};
use tokio_postgres::{Row, types::FromSql};

use super::{arrays::Rows, times::At};
use crate::{
    Result, StoreError,
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

pub fn octet(value: u8) -> i16 {
    i16::from(value)
}

/// Text as Postgres takes it: it refuses a character 0, and one such text would refuse its whole batch.
pub fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// New actions, for an insertion.
pub fn actions(actions: &[Action]) -> Rows<'_, Action> {
    let rows = Rows::of(actions)
        .with("subscriber_id", |action| action.device.subscriber.0)
        .with("id", |action| action.id.0)
        .with("device_id", |action| action.device.device.0)
        .with("msisdn", |action| action.msisdn.to_i64())
        .with("created", |action| At(action.created))
        .with("kind", |action| octet(action.content.code()))
        .with("subtype", |action| rows::subtype(&action.content));
    changing(rows, |action| action)
}

/// An action, the states as bits that its row may be in, and the due time that it must have.
pub type Move = (Action, i32, Option<Timestamp>);

/// Actions that are overwritten, for [`move_sql`].
pub fn moves(moves: &[Move]) -> Rows<'_, Move> {
    let rows = Rows::of(moves)
        .with("subscriber_id", |(action, ..)| action.device.subscriber.0)
        .with("id", |(action, ..)| action.id.0)
        .with("from_states", |(_, states, _)| *states)
        .with("from_due", |(.., due)| due.map(At));
    changing(rows, |(action, ..)| action)
}

/// Adds what changes in an action's life.
fn changing<'a, T>(rows: Rows<'a, T>, of: impl Fn(&'a T) -> &'a Action) -> Rows<'a, T> {
    let launched = |item| of(item).launched.as_ref();
    rows.with("due", |item| At(of(item).due))
        .with("receipt", |item| of(item).receipt.map(At))
        .with("attempts", |item| i32::try_from(of(item).attempts).unwrap_or(i32::MAX))
        .with("state", |item| octet(of(item).state.code()))
        .with("channel", |item| octet(of(item).channel.code()))
        .with("link", |item| launched(item).map(|launched| clean(&launched.link)))
        .with("bearer_message_id", |item| launched(item).map(|launched| clean(&launched.bearer_message_id)))
        .with("cause", |item| clean(&of(item).cause))
        .with("content", |item| of(item).content.to_stored(of(item).is_secured))
        .with("traces", |item| rows::join_traces(&of(item).traces))
}

/// The overwriting of [`moves`] whose rows are as given with each.
pub fn move_sql(moves: &Rows<'_, Move>, first: usize) -> String {
    format!(
        "UPDATE outbound_action a SET due = u.due, receipt = u.receipt, attempts = u.attempts, state = u.state, \
         channel = u.channel, link = u.link, bearer_message_id = u.bearer_message_id, cause = u.cause, \
         content = u.content, traces = u.traces FROM {} \
         WHERE a.subscriber_id = u.subscriber_id AND a.id = u.id AND ((1 << a.state::integer) & u.from_states) <> 0 \
         AND (u.from_due IS NULL OR a.due = u.from_due) RETURNING a.subscriber_id, a.id",
        moves.table(first)
    )
}
