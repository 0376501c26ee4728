//! One batch as one statement.
//!
//! Each table that has something to write is a `WITH` part over arrays ([`Rows`]); what has nothing is left out. A single
//! statement is a transaction by itself: it costs one trip, its answer is the commit's, and no half of it can ever be
//! written. The main query counts the device states and the moved actions that were still as read, and divides by zero when
//! one was not.

use super::{
    arrays::{Array, Rows, params},
    columns::{self, Move, clean, octet},
    pool::Connection,
    times::At,
    transfer,
};
use crate::{Audit, InboundCommit, Result, StoreError, rows};
use domain::{
    delivery::{Action, State},
    identity::Timestamp,
    phonebook::Change,
};

/// The statement while it is put together.
#[derive(Default)]
pub struct Statement<'a> {
    parts: Vec<String>,
    arrays: Vec<Array<'a>>,
}

impl<'a> Statement<'a> {
    /// `sql` is handed the rows, and the number of the first parameter that stands for them.
    pub fn part<T>(&mut self, name: &str, rows: Rows<'a, T>, sql: impl FnOnce(&Rows<'a, T>, usize) -> String) {
        self.parts.push(format!("{name} AS ({})", sql(&rows, self.arrays.len() + 1)));
        self.arrays.extend(rows.into_arrays());
    }

    /// Inserts the rows, if there are any.
    fn insert<T>(&mut self, table: &str, rows: Rows<'a, T>) {
        if !rows.is_empty() {
            self.part(&format!("new_{table}"), rows, |rows, first| rows.insert_into(table, first));
        }
    }
}

/// `batch` is settled ([`rows::settle`]).
pub async fn write(connection: &Connection, batch: &InboundCommit, audit: Option<&Audit>) -> Result<()> {
    let guarded =
        |(action, state, due): &(Action, State, Timestamp)| (action.clone(), rows::state_bits(&[*state]), Some(*due));
    let moved: Vec<Move> = batch.moved_actions.iter().map(guarded).collect();
    let mut statement = Statement::default();
    states(&mut statement, batch);
    books(&mut statement, batch);
    statement.insert("outbound_action", columns::actions(&batch.new_actions));
    if !moved.is_empty() {
        statement.part("moved", columns::moves(&moved), columns::move_sql);
    }
    signals(&mut statement, batch);
    parts(&mut statement, batch);
    transfer::write(&mut statement, &batch.transfers);
    let audits = audit.map(std::slice::from_ref).unwrap_or_default();
    let audits = Rows::of(audits).with("at", |it| At(it.at)).with("who", |it| clean(&it.who));
    statement.insert("audit", audits.with("what", |it| clean(&it.what)));
    run(connection, statement, [("state", batch.states.len()), ("moved", moved.len())]).await
}

/// `guarded`: parts of which every row must have been written, and how many.
async fn run(connection: &Connection, mut statement: Statement<'_>, guarded: [(&str, usize); 2]) -> Result<()> {
    if statement.parts.is_empty() {
        return Ok(());
    }
    let mut sql = format!("WITH {} SELECT 1", statement.parts.join(", "));
    for (part, rows) in guarded.into_iter().filter(|(_, rows)| *rows > 0) {
        let expected = i64::try_from(rows).unwrap_or(i64::MAX);
        statement.arrays.push(Box::new(expected));
        let last = statement.arrays.len();
        sql.push_str(&format!(", 1 / (CASE WHEN (SELECT count(*) FROM {part}) = ${last}::bigint THEN 1 ELSE 0 END)"));
    }
    let written = connection.query(&sql, &params(&statement.arrays)).await;
    written.map(drop).map_err(|error| match error {
        StoreError::Conflict(_) => StoreError::Conflict("the state of a device or an action changed meanwhile".into()),
        other => other,
    })
}

fn states<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    if batch.states.is_empty() {
        return;
    }
    let rows = Rows::of(&batch.states)
        .with("data", |(_, state)| state.to_octets())
        .with("subscriber_id", |(device, _)| device.subscriber.0)
        .with("device_id", |(device, _)| device.device.0)
        .with("version", |(_, state)| state.version)
        .with("mismatch_since", |(device, state)| batch.mismatch_due_of(device, state).map(At));
    statement.part("state", rows, |rows, first| {
        format!(
            "UPDATE device_state t SET version = t.version + 1, mismatch_since = u.mismatch_since, data = u.data FROM {} \
             WHERE t.subscriber_id = u.subscriber_id AND t.device_id = u.device_id AND t.version = u.version RETURNING 1",
            rows.table(first)
        )
    });
}

fn books<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    if !batch.pages.is_empty() {
        let rows = Rows::of(&batch.pages)
            .with("data", |(_, page)| page.to_octets())
            .with("subscriber_id", |(key, _)| key.device.subscriber.0)
            .with("device_id", |(key, _)| key.device.device.0)
            .with("file", |(key, _)| rows::file_code(key.file))
            .with("page", |(key, _)| octet(key.page));
        statement.part("page", rows, |rows, first| {
            let insert = rows.insert_into("book_page", first);
            format!("{insert} ON CONFLICT (subscriber_id, device_id, file, page) DO UPDATE SET data = EXCLUDED.data")
        });
    }
    let changes = Rows::of(&batch.changes)
        .with("data", |change| Change::records_to_octets(&change.records))
        .with("subscriber_id", |change| change.device.subscriber.0)
        .with("device_id", |change| change.device.device.0)
        .with("at", |change| At(change.at))
        .with("id", |change| change.id)
        .with("dedup", |change| change.dedup.cast_signed())
        .with("source", |change| octet(change.source.code()));
    statement.insert("book_change", changes);
}

fn signals<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    let events = Rows::of(&batch.billing)
        .with("channel", |event| clean(&event.channel))
        .with("account_state", |event| event.account_state)
        .with("at", |event| At(event.at))
        .with("msisdn", |event| event.msisdn.map(|number| number.to_i64()))
        .with("subscriber_id", |event| event.subscriber.map(|id| id.0))
        .with("octets", |event| i32::try_from(event.octets).unwrap_or(i32::MAX))
        .with("first_octet", |event| event.first_octet.map(octet))
        .with("duplicate", |event| event.duplicate);
    statement.insert("billing_event", events);
    statement.insert("notice", notices(&batch.notices));
    let letters = Rows::of(&batch.dead_letters)
        .with("payload", |letter| letter.payload.to_vec())
        .with("user_data_header", |letter| letter.user_data_header.to_vec())
        .with("at", |letter| At(letter.at))
        .with("msisdn", |letter| letter.msisdn.map(|number| number.to_i64()))
        .with("channel", |letter| clean(&letter.channel))
        .with("cause", |letter| clean(&letter.cause));
    statement.insert("dead_letter", letters);
}

pub fn notices(notices: &[crate::Notice]) -> Rows<'_, crate::Notice> {
    Rows::of(notices)
        .with("text", |notice| clean(&notice.text))
        .with("at", |notice| At(notice.at))
        .with("msisdn", |notice| notice.msisdn.map(|number| number.to_i64()))
        .with("kind", |notice| clean(&notice.kind))
}

fn parts<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    if !batch.new_parts.is_empty() {
        let rows = Rows::of(&batch.new_parts)
            .with("payload", |part| part.payload.to_vec())
            .with("user_data_header", |part| part.user_data_header.to_vec())
            .with("msisdn", |part| part.key.msisdn.to_i64())
            .with("reference", |part| rows::reference_code(&part.key))
            .with("total", |part| octet(part.key.total))
            .with("sequence", |part| octet(part.sequence))
            .with("arrived", |part| At(part.arrived));
        statement.part("part", rows, |rows, first| {
            format!(
                "{} ON CONFLICT (msisdn, reference, total, sequence) DO UPDATE \
                 SET user_data_header = EXCLUDED.user_data_header, payload = EXCLUDED.payload, arrived = EXCLUDED.arrived",
                rows.insert_into("message_part", first)
            )
        });
    }
    if !batch.finished_parts.is_empty() {
        statement.part("finished", parts_keys(&batch.finished_parts), |rows, first| {
            format!(
                "DELETE FROM message_part p USING {} WHERE p.msisdn = u.msisdn AND p.reference = u.reference \
                 AND p.total = u.total AND p.sequence > 0",
                rows.table(first)
            )
        });
    }
}

pub fn parts_keys(keys: &[crate::PartsKey]) -> Rows<'_, crate::PartsKey> {
    Rows::of(keys)
        .with("msisdn", |key| key.msisdn.to_i64())
        .with("reference", rows::reference_code)
        .with("total", |key| octet(key.total))
}
