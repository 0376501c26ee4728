//! One batch, written within the writer's transaction: all of it or nothing.

use domain::{
    identity::{DeviceKey, Timestamp},
    phonebook::{Change, DeviceState},
};
use rusqlite::{Connection, params};

use super::{actions, transfer};
use crate::{Audit, BillingEvent, DeadLetter, InboundCommit, Notice, Part, PartsKey, Result, rows};

/// `batch` is settled ([`rows::settle`]).
pub fn write(connection: &Connection, batch: &InboundCommit) -> Result<()> {
    for (device, state) in &batch.states {
        write_state(connection, *device, state, batch.mismatch_due_of(device, state))?;
    }
    for (key, page) in &batch.pages {
        let mut statement = connection.prepare_cached(
            "INSERT INTO book_page (subscriber_id, device_id, file, page, data) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (subscriber_id, device_id, file, page) DO UPDATE SET data = excluded.data",
        )?;
        let DeviceKey { subscriber, device } = key.device;
        statement.execute((subscriber.0, device.0, rows::file_code(key.file), key.page, page.to_octets()))?;
    }
    for change in &batch.changes {
        write_change(connection, change)?;
    }
    for action in &batch.new_actions {
        actions::insert(connection, action)?;
    }
    for (action, state, due) in &batch.moved_actions {
        if !actions::overwrite(connection, action, &[*state], Some(*due))? {
            return Err(rows::action_changed(action.id));
        }
    }
    for event in &batch.billing {
        write_billing(connection, event)?;
    }
    for notice in &batch.notices {
        write_notice(connection, notice)?;
    }
    for letter in &batch.dead_letters {
        write_dead_letter(connection, letter)?;
    }
    for part in &batch.new_parts {
        write_part(connection, part)?;
    }
    for key in &batch.finished_parts {
        let delete = "DELETE FROM message_part WHERE msisdn = ?1 AND reference = ?2 AND total = ?3 AND sequence > 0";
        connection.prepare_cached(delete)?.execute((key.msisdn.to_i64(), rows::reference_code(key), key.total))?;
    }
    transfer::write(connection, &batch.transfers)
}

fn write_state(connection: &Connection, device: DeviceKey, state: &DeviceState, due: Option<Timestamp>) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE device_state SET version = version + 1, mismatch_since = ?4, data = ?5 \
         WHERE subscriber_id = ?1 AND device_id = ?2 AND version = ?3",
    )?;
    let due = due.map(|at| at.0);
    let written = statement.execute((device.subscriber.0, device.device.0, state.version, due, state.to_octets()))?;
    if written == 1 {
        return Ok(());
    }
    Err(rows::state_changed(device))
}

fn write_change(connection: &Connection, change: &Change) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO book_change (subscriber_id, device_id, at, id, source, dedup, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    statement.execute((
        change.device.subscriber.0,
        change.device.device.0,
        change.at.0,
        change.id,
        change.source.code(),
        change.dedup.cast_signed(),
        Change::records_to_octets(&change.records),
    ))?;
    Ok(())
}

fn write_billing(connection: &Connection, event: &BillingEvent) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO billing_event (at, msisdn, subscriber_id, channel, octets, first_octet, duplicate, account_state) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    statement.execute(params![
        event.at.0,
        event.msisdn.map(|number| number.to_i64()),
        event.subscriber.map(|id| id.0),
        event.channel,
        event.octets,
        event.first_octet,
        event.duplicate,
        event.account_state,
    ])?;
    Ok(())
}

pub fn write_notice(connection: &Connection, notice: &Notice) -> Result<()> {
    let Notice { at: Timestamp(at), msisdn, kind, text } = notice;
    let insert = "INSERT INTO notice (at, msisdn, kind, text) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute((at, msisdn.map(|number| number.to_i64()), kind, text))?;
    Ok(())
}

fn write_dead_letter(connection: &Connection, letter: &DeadLetter) -> Result<()> {
    let DeadLetter { at, msisdn, channel, cause, user_data_header, payload } = letter;
    let insert = "INSERT INTO dead_letter (at, msisdn, channel, cause, user_data_header, payload) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (number, header) = (msisdn.map(|number| number.to_i64()), user_data_header.as_ref());
    connection.prepare_cached(insert)?.execute((at.0, number, channel, cause, header, payload.as_ref()))?;
    Ok(())
}

fn write_part(connection: &Connection, part: &Part) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO message_part (msisdn, reference, total, sequence, user_data_header, payload, arrived) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let PartsKey { msisdn, total, .. } = &part.key;
    let reference = rows::reference_code(&part.key);
    let (header, payload) = (part.user_data_header.as_ref(), part.payload.as_ref());
    statement.execute((msisdn.to_i64(), reference, total, part.sequence, header, payload, part.arrived.0))?;
    Ok(())
}

pub fn write_audit(connection: &Connection, audit: &Audit) -> Result<()> {
    let insert = "INSERT INTO audit (at, who, what) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(insert)?.execute((audit.at.0, &audit.who, &audit.what))?;
    Ok(())
}
