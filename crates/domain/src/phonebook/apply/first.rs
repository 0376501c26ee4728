//! Messages of the first embodiment: four entries, a result for each (SC-E1-03, SC-E1-04, D-24).
//!
//! An entry is a record of the monitor row over EF_ADN, so from here on it is stored, journalled and counted like any. E1
//! sends no checksum of the whole: what a late redelivery overwrote is found by a resynchronisation now and then (D-129).

use bytes::Bytes;
use link::{
    first::{Entry, Malformed, Message, PLAIN_OCTETS},
    message::Record,
    reason::{self, Reason},
};

use super::{Context, Effects, Incoming, Note, Parsed, Step, Verdict, acknowledge, backup, of_the_centre};
use crate::phonebook::{Card, DeviceView, PageKey};

/// The monitor row of cards that have no monitor table: EF_ADN.
pub(super) const ADN_ROW: u8 = 0;

pub(super) fn parse(octets: &[u8]) -> Parsed {
    match Message::decode(octets) {
        Ok(message @ (Message::Backup { .. } | Message::Error { .. })) => Parsed::First(message),
        Ok(_) => of_the_centre(format!("ID {:02X}", octets.first().copied().unwrap_or_default())),
        Err(damaged @ Malformed::Checksum { .. }) => {
            match Message::decode(octets.get(..PLAIN_OCTETS).unwrap_or(octets)) {
                Ok(Message::Backup { entries, .. }) => {
                    Parsed::FirstDamaged { record_numbers: entries.iter().map(|entry| entry.record_number).collect() }
                }
                _ => Parsed::Malformed { reason: damaged.reason(), what: damaged.to_string() },
            }
        }
        Err(malformed) => Parsed::Malformed { reason: malformed.reason(), what: malformed.to_string() },
    }
}

pub(super) fn pages_needed(message: &Message, view: &DeviceView, keys: &mut Vec<PageKey>) {
    if let Message::Backup { entries, .. } = message {
        backup::pages_needed(&records(entries), view, &view.state.monitor, keys);
    }
}

fn records(entries: &[Entry]) -> Vec<Record> {
    let record = |entry: &Entry| Record {
        monitor_index: ADN_ROW,
        record_number: entry.record_number,
        data: Bytes::copy_from_slice(&entry.data),
    };
    entries.iter().map(record).collect()
}

/// D-24: nothing of it is stored, and the card is told so of each entry; it sends them again when its scan comes there.
pub(super) fn damaged(
    incoming: &Incoming,
    card: &Card,
    record_numbers: &[u8],
    context: Context<'_>,
    effects: &mut Effects,
) -> Verdict {
    let text = format!("reason {:02X}: the checksum of a backup is wrong", Reason::ChecksumMismatch.code());
    effects.notes.push(Note { msisdn: card.view.subscriber.msisdn, kind: "refused-message", text });
    refuse(record_numbers, incoming, card, context, effects);
    Verdict::refused(Reason::ChecksumMismatch, None)
}

/// A temporary failure for each of these entries.
pub(super) fn refuse(
    record_numbers: &[u8],
    incoming: &Incoming,
    card: &Card,
    context: Context<'_>,
    effects: &mut Effects,
) {
    let results: Vec<u8> =
        record_numbers.iter().flat_map(|number| [ADN_ROW, *number, reason::TEMPORARY_FAILURE]).collect();
    if !results.is_empty() {
        acknowledge(results.into(), incoming, card, context, effects);
    }
}

impl Step<'_, '_> {
    /// Returns the records of the acknowledgement.
    pub(super) fn first(&mut self, message: Message) -> Bytes {
        match message {
            Message::Backup { entries, .. } => self.entries(&entries),
            Message::Error { refused, reason } => {
                self.note("card-error", format!("message {refused:02X}: reason {reason:02X}"));
                Bytes::new()
            }
            // `parse` lets nothing else through.
            _ => Bytes::new(),
        }
    }

    fn entries(&mut self, entries: &[Entry]) -> Bytes {
        let mut results = Vec::with_capacity(3 * entries.len());
        for record in records(entries) {
            let result = self.backup_record(&record);
            results.extend([ADN_ROW, record.record_number, result]);
        }
        // From here on its interval counts (D-129), or, while it resynchronises, its silence.
        let now = self.context.now;
        let begins = self.context.policy.first_interval.map(|_| now);
        let state = self.state();
        let runs = state.resynchronisation.as_ref().is_some_and(|running| !running.held);
        state.mismatch_since = if runs { Some(now) } else { state.mismatch_since.or(begins) };
        let answer = Bytes::from(results);
        if !answer.is_empty() {
            acknowledge(answer.clone(), self.incoming, self.card, self.context, self.effects);
        }
        answer
    }
}
