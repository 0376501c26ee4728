//! With which monitor table a backup is to be read (D-57).
//!
//! The known table becomes another one with the configuration acknowledgement. But a card has more urgent things to do
//! than to acknowledge (S2-PR-01): it sends what a new row makes it back up first. So when a backup does not fit the known
//! table while a table is on its way to the card, and fits that one better, the card is known to have it.

use link::{
    checksum::crc16,
    checksum_table::ChecksumTable,
    configuration::{self, Item},
    first_octet::{FirstOctet, classify},
    message::Message,
    monitor::MonitorTable,
    pid::MessageType,
};

use super::{Incoming, Parsed, parse};
use crate::{
    delivery::Content,
    phonebook::{Card, PageKey, page},
};

/// How to go on with a message.
pub(super) enum Choice {
    Read(Parsed),
    /// The open actions must be read first.
    LookCloser,
}

/// How well a backup fits a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Not all of it is under backup, or it is no message at all.
    Unreadable,
    /// The database checksum differs.
    Mismatch,
    Right,
}

/// Reads a backup with the table that it fits; everything else as it was read. Takes the new table over when it is the one.
pub(super) fn choose(incoming: &Incoming, parsed: Parsed, card: &mut Card) -> Choice {
    let state = &card.view.state;
    // A secured packet is none, whatever octet it begins with.
    let is_closed = matches!(parsed, Parsed::Unsupported { .. });
    if is_closed || !is_backup(incoming) {
        return Choice::Read(parsed);
    }
    // An earlier message of the batch has shown that the card has another table than when this one was parsed.
    let parsed = if card.is_newly_cut { parse(&incoming.octets, &state.monitor) } else { parsed };
    let known = fit(&parsed, &state.monitor, &state.checksums);
    if known == Fit::Right {
        return Choice::Read(parsed);
    }
    if !card.has_actions() {
        return Choice::LookCloser;
    }
    let Some(coming) = coming(card) else { return Choice::Read(parsed) };
    let checksums = carried_over(&state.monitor, &coming, &state.checksums);
    let reread = parse(&incoming.octets, &coming);
    if fit(&reread, &coming, &checksums) <= known {
        return Choice::Read(parsed);
    }
    card.view.state.monitor = coming;
    card.view.state.checksums = checksums;
    card.is_newly_cut = true;
    Choice::Read(reread)
}

/// The pages that a backup would touch if it were in the form of a table that is on its way.
pub(super) fn pages_needed(incoming: &Incoming, card: &Card, keys: &mut Vec<PageKey>) {
    if !is_backup(incoming) {
        return;
    }
    let Some(coming) = coming(card) else { return };
    if let Parsed::Message(Message::Backup { records, .. }) = parse(&incoming.octets, &coming) {
        super::backup::pages_needed(&records, &card.view, &coming, keys);
    }
}

/// Whether the message may be in the form of a table that is not known yet.
pub(super) fn is_unreadable(parsed: &Parsed, card: &Card) -> bool {
    match parsed {
        Parsed::Message(Message::Backup { .. }) => {
            fit(parsed, &card.view.state.monitor, &ChecksumTable::default()) == Fit::Unreadable
        }
        _ => false,
    }
}

fn is_backup(incoming: &Incoming) -> bool {
    let first = incoming.octets.first().copied().map(classify);
    matches!(
        first,
        Some(FirstOctet::SecondEmbodiment(pid))
            if matches!(pid.message_type, MessageType::Backup | MessageType::CompactBackup)
    )
}

fn fit(parsed: &Parsed, monitor: &MonitorTable, checksums: &ChecksumTable) -> Fit {
    let Parsed::Message(Message::Backup { records, checksum, refused }) = parsed else { return Fit::Unreadable };
    let is_covered = |index, record_number| monitor.row(index).is_some_and(|row| row.covers(record_number));
    if refused.is_some() || !records.iter().all(|record| is_covered(record.monitor_index, record.record_number)) {
        return Fit::Unreadable;
    }
    if checksum.octets() == 0 {
        return Fit::Right;
    }
    let mut after = checksums.clone();
    for record in records {
        if page::is_empty(&record.data) {
            after.remove(record.monitor_index, record.record_number);
        } else {
            after.set(record.monitor_index, record.record_number, crc16(&record.data));
        }
    }
    if checksum.compare(after.database_checksum()) == Some(false) { Fit::Mismatch } else { Fit::Right }
}

/// The known table with what a launched configuration makes of it; `None` when that is nothing.
fn coming(card: &Card) -> Option<MonitorTable> {
    let known = &card.view.state.monitor;
    let mut configurations = card.open.iter().filter(|action| action.state.is_open() && action.attempts > 0);
    let items = configurations.find_map(|action| match &action.content {
        Content::Configuration { items } => Some(items),
        _ => None,
    })?;
    let mut table = known.clone();
    for item in items.iter().filter(|item| item.progress.is_unsettled()) {
        match (configuration::ConfigurationItem { cid: item.cid, data: item.data.clone() }).item() {
            Ok(Item::MonitorTableSize(rows)) => table.resize(rows),
            Ok(Item::MonitorRow { index, row }) => table.set(index, row),
            _ => {}
        }
    }
    (table != *known).then_some(table)
}

/// S2-CG-07: the card drops the checksum rows of monitor rows that changed.
fn carried_over(known: &MonitorTable, coming: &MonitorTable, checksums: &ChecksumTable) -> ChecksumTable {
    let mut checksums = checksums.clone();
    let mut indexes: Vec<u8> = checksums.rows().map(|row| row.monitor_index).collect();
    indexes.dedup();
    for index in indexes {
        if known.row(index) != coming.row(index) {
            checksums.clear(Some(index));
        }
    }
    checksums
}
