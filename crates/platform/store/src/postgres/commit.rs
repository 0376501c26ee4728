//! One batch as one statement.
//!
//! Each table that has something to write is a `WITH` part over `UNNEST`ed arrays; what has nothing is left out. A single
//! statement is a transaction by itself: it costs one trip, its answer is the commit's, and no half of it can ever be
//! written. The main query counts the device states and the moved actions that were still as read, and divides by zero when
//! one was not.

use super::{
    columns::{self, Column, column, octet},
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
    columns: Vec<Column<'a>>,
}

impl<'a> Statement<'a> {
    /// `sql` is handed the arguments of `UNNEST`.
    pub fn part(&mut self, name: &str, types: &[&str], columns: Vec<Column<'a>>, sql: impl FnOnce(&str) -> String) {
        let arguments = columns::arguments(types, self.columns.len() + 1);
        self.parts.push(format!("{name} AS ({})", sql(&arguments)));
        self.columns.extend(columns);
    }
}

/// `batch` is settled ([`rows::settle`]).
pub async fn write(connection: &Connection, batch: &InboundCommit, audit: Option<&Audit>) -> Result<()> {
    let moved: Vec<Action> = batch.moved_actions.iter().map(|(action, ..)| action.clone()).collect();
    let guard = |(_, state, due): &(Action, State, Timestamp)| (rows::state_bits(&[*state]), Some(*due));
    let guards: Vec<_> = batch.moved_actions.iter().map(guard).collect();
    let mut statement = Statement::default();
    states(&mut statement, batch);
    books(&mut statement, batch);
    if !batch.new_actions.is_empty() {
        let columns = columns::action_columns(&batch.new_actions);
        statement.part("action", &columns::ACTION_TYPES, columns, |arguments| {
            format!("{} SELECT * FROM UNNEST({arguments})", columns::INSERT_ACTION)
        });
    }
    if !moved.is_empty() {
        let columns = columns::move_columns(&moved, &guards);
        statement.part("moved", &columns::MOVE_TYPES, columns, columns::move_sql);
    }
    signals(&mut statement, batch);
    parts(&mut statement, batch);
    transfer::write(&mut statement, &batch.transfers);
    if let Some(Audit { at, who, what }) = audit {
        let columns: Vec<Column<'_>> =
            vec![Box::new(vec![At(*at)]), Box::new(vec![columns::clean(who)]), Box::new(vec![columns::clean(what)])];
        statement.part("audit", &["timestamptz", "text", "text"], columns, |arguments| {
            format!("INSERT INTO audit (at, who, what) SELECT * FROM UNNEST({arguments})")
        });
    }
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
        statement.columns.push(Box::new(expected));
        let last = statement.columns.len();
        sql.push_str(&format!(", 1 / (CASE WHEN (SELECT count(*) FROM {part}) = ${last}::bigint THEN 1 ELSE 0 END)"));
    }
    let written = connection.query(&sql, &columns::params(&statement.columns)).await;
    written.map(drop).map_err(|error| match error {
        StoreError::Conflict(_) => StoreError::Conflict("the state of a device or an action changed meanwhile".into()),
        other => other,
    })
}

fn states<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    let states = &batch.states;
    if states.is_empty() {
        return;
    }
    let columns = vec![
        column(states, |(device, _)| device.subscriber.0),
        column(states, |(device, _)| device.device.0),
        column(states, |(_, state)| state.version),
        column(states, |(device, state)| batch.mismatch_due_of(device, state).map(At)),
        column(states, |(_, state)| state.to_octets()),
    ];
    statement.part("state", &["bigint", "bigint", "bigint", "timestamptz", "bytea"], columns, |arguments| {
        format!(
            "UPDATE device_state t SET version = t.version + 1, mismatch_since = u.mismatch_since, data = u.data \
             FROM UNNEST({arguments}) AS u(subscriber, device, version, mismatch_since, data) \
             WHERE t.subscriber_id = u.subscriber AND t.device_id = u.device AND t.version = u.version RETURNING 1"
        )
    });
}

fn books<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    let pages = &batch.pages;
    if !pages.is_empty() {
        let columns = vec![
            column(pages, |(key, _)| key.device.subscriber.0),
            column(pages, |(key, _)| key.device.device.0),
            column(pages, |(key, _)| rows::file_code(key.file)),
            column(pages, |(key, _)| octet(key.page)),
            column(pages, |(_, page)| page.to_octets()),
        ];
        statement.part("page", &["bigint", "bigint", "integer", "smallint", "bytea"], columns, |arguments| {
            format!(
                "INSERT INTO book_page (subscriber_id, device_id, file, page, data) SELECT * FROM UNNEST({arguments}) \
                 ON CONFLICT (subscriber_id, device_id, file, page) DO UPDATE SET data = EXCLUDED.data"
            )
        });
    }
    let changes = &batch.changes;
    if !changes.is_empty() {
        let columns = vec![
            column(changes, |change| change.device.subscriber.0),
            column(changes, |change| change.device.device.0),
            column(changes, |change| At(change.at)),
            column(changes, |change| change.id),
            column(changes, |change| change.dedup.cast_signed()),
            column(changes, |change| octet(change.source.code())),
            column(changes, |change| Change::records_to_octets(&change.records)),
        ];
        let types = ["bigint", "bigint", "timestamptz", "bigint", "bigint", "smallint", "bytea"];
        statement.part("change", &types, columns, |arguments| {
            format!(
                "INSERT INTO book_change (subscriber_id, device_id, at, id, dedup, source, data) \
                 SELECT * FROM UNNEST({arguments})"
            )
        });
    }
}

fn signals<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    let events = &batch.billing;
    if !events.is_empty() {
        let columns = vec![
            column(events, |event| At(event.at)),
            column(events, |event| event.msisdn.map(|number| number.to_i64())),
            column(events, |event| event.subscriber.map(|id| id.0)),
            column(events, |event| i32::try_from(event.octets).unwrap_or(i32::MAX)),
            column(events, |event| event.first_octet.map(octet)),
            column(events, |event| event.duplicate),
            column(events, |event| columns::clean(&event.channel)),
            column(events, |event| event.account_state),
        ];
        let types = ["timestamptz", "bigint", "bigint", "integer", "smallint", "boolean", "text", "text"];
        statement.part("billing", &types, columns, |arguments| {
            format!(
                "INSERT INTO billing_event (at, msisdn, subscriber_id, octets, first_octet, duplicate, channel, \
                 account_state) SELECT * FROM UNNEST({arguments})"
            )
        });
    }
    if !batch.notices.is_empty() {
        let columns = notice_columns(&batch.notices);
        statement.part("notice", &NOTICE_TYPES, columns, notice_sql);
    }
    let letters = &batch.dead_letters;
    if !letters.is_empty() {
        let columns = vec![
            column(letters, |letter| At(letter.at)),
            column(letters, |letter| letter.msisdn.map(|number| number.to_i64())),
            column(letters, |letter| columns::clean(&letter.channel)),
            column(letters, |letter| columns::clean(&letter.cause)),
            column(letters, |letter| letter.user_data_header.to_vec()),
            column(letters, |letter| letter.payload.to_vec()),
        ];
        let types = ["timestamptz", "bigint", "text", "text", "bytea", "bytea"];
        statement.part("letter", &types, columns, |arguments| {
            format!(
                "INSERT INTO dead_letter (at, msisdn, channel, cause, user_data_header, payload) \
                 SELECT * FROM UNNEST({arguments})"
            )
        });
    }
}

pub const NOTICE_TYPES: [&str; 4] = ["timestamptz", "bigint", "text", "text"];

pub fn notice_columns(notices: &[crate::Notice]) -> Vec<Column<'_>> {
    vec![
        column(notices, |notice| At(notice.at)),
        column(notices, |notice| notice.msisdn.map(|number| number.to_i64())),
        column(notices, |notice| columns::clean(&notice.kind)),
        column(notices, |notice| columns::clean(&notice.text)),
    ]
}

pub fn notice_sql(arguments: &str) -> String {
    format!("INSERT INTO notice (at, msisdn, kind, text) SELECT * FROM UNNEST({arguments})")
}

fn parts<'a>(statement: &mut Statement<'a>, batch: &'a InboundCommit) {
    let parts = &batch.new_parts;
    if !parts.is_empty() {
        let columns = vec![
            column(parts, |part| part.key.msisdn.to_i64()),
            column(parts, |part| rows::reference_code(&part.key)),
            column(parts, |part| octet(part.key.total)),
            column(parts, |part| octet(part.sequence)),
            column(parts, |part| part.user_data_header.to_vec()),
            column(parts, |part| part.payload.to_vec()),
            column(parts, |part| At(part.arrived)),
        ];
        let types = ["bigint", "integer", "smallint", "smallint", "bytea", "bytea", "timestamptz"];
        statement.part("part", &types, columns, |arguments| {
            format!(
                "INSERT INTO message_part (msisdn, reference, total, sequence, user_data_header, payload, arrived) \
                 SELECT * FROM UNNEST({arguments}) ON CONFLICT (msisdn, reference, total, sequence) DO UPDATE \
                 SET user_data_header = EXCLUDED.user_data_header, payload = EXCLUDED.payload, arrived = EXCLUDED.arrived"
            )
        });
    }
    let finished = &batch.finished_parts;
    if !finished.is_empty() {
        statement.part("finished", &PARTS_KEY_TYPES, parts_key_columns(finished), |arguments| {
            format!(
                "DELETE FROM message_part p USING UNNEST({arguments}) AS u(msisdn, reference, total) \
                 WHERE p.msisdn = u.msisdn AND p.reference = u.reference AND p.total = u.total AND p.sequence > 0"
            )
        });
    }
}

pub const PARTS_KEY_TYPES: [&str; 3] = ["bigint", "integer", "smallint"];

pub fn parts_key_columns(keys: &[crate::PartsKey]) -> Vec<Column<'_>> {
    vec![
        column(keys, |key| key.msisdn.to_i64()),
        column(keys, rows::reference_code),
        column(keys, |key| octet(key.total)),
    ]
}
