//! Backup (Table 8): each record into its slot, its checksum into the table, one result each (SC-ID-04 to SC-ID-10).

use bytes::Bytes;
use link::{
    checksum::crc16,
    message::{Message, PartialChecksum, Record, RefusedTail},
    monitor::{MonitorRow, MonitorTable},
    reason,
};

use super::{Context, Effects, Incoming, Parsed, Step, acknowledge, first, third};
use crate::phonebook::{AccountState, Card, DeviceView, EF_ADN, FilePath, Page, PageKey, Profile, RecordChange, page};

pub(super) fn pages_needed(records: &[Record], view: &DeviceView, monitor: &MonitorTable, keys: &mut Vec<PageKey>) {
    for record in records {
        let Some(row) = monitor.row(record.monitor_index) else { continue };
        let file = FilePath { df: row.df, ef: row.ef };
        let Some((key, _)) = PageKey::of(view.device.key, file, record.record_number) else { continue };
        if keys.last() != Some(&key) {
            keys.push(key);
        }
    }
}

/// Octets of a slot of this file: what the monitor rows reach (D-26). `None`: more than a record can have.
pub(super) fn extent(monitor: &MonitorTable, file: FilePath) -> Option<u8> {
    let rows = monitor.rows().filter(|(_, row)| row.is_enabled() && row.df == file.df && row.ef == file.ef);
    let reach = rows.map(|(_, row)| usize::from(row.data_offset) + usize::from(row.data_octets)).max()?;
    u8::try_from(reach).ok()
}

/// For a message of an active card that the store does not take, although it takes others: a backup acknowledgement with
/// a temporary failure for each record (D-10, SC-ID-18), so that the card keeps them and sends them again (D-36). Nothing
/// of the message is stored. Other messages are not answered: their sender repeats them.
pub fn refuse_for_now(incoming: &Incoming, parsed: &Parsed, card: &Card, context: Context<'_>, effects: &mut Effects) {
    if card.view.subscriber.state != AccountState::Active {
        return;
    }
    let (records, refused) = match (parsed, card.view.device.profile) {
        (Parsed::Message(Message::Backup { records, refused, .. }), Profile::E2) => (records, refused),
        (Parsed::First(link::first::Message::Backup { entries, .. }), Profile::E1) => {
            let record_numbers: Vec<u8> = entries.iter().map(|entry| entry.record_number).collect();
            return first::refuse(&record_numbers, incoming, card, context, effects);
        }
        (Parsed::Third(link::third::Message::ChangeComplete { .. }), Profile::E3) => {
            let answer = third::answer(reason::TEMPORARY_FAILURE);
            return acknowledge(answer, incoming, card, context, effects);
        }
        _ => return,
    };
    let mut results = Vec::with_capacity(3 * records.len() + 3);
    for record in records {
        results.extend([record.monitor_index, record.record_number, reason::TEMPORARY_FAILURE]);
    }
    if let Some(tail) = refused {
        results.extend([tail.monitor_index, tail.record_number, reason::PERMANENT_FAILURE]);
    }
    acknowledge(results.into(), incoming, card, context, effects);
}

impl Step<'_, '_> {
    /// Returns the Table 9 records of the acknowledgement.
    pub(super) fn backup(
        &mut self,
        records: Vec<Record>,
        checksum: PartialChecksum,
        refused: Option<RefusedTail>,
    ) -> Bytes {
        let mut results = Vec::with_capacity(3 * records.len() + 3);
        for record in &records {
            let result = self.backup_record(record);
            results.extend([record.monitor_index, record.record_number, result]);
        }
        if let Some(tail) = refused {
            self.note(
                "not-under-backup",
                format!("monitor index {} is not in the card's monitor table (reason 04)", tail.monitor_index),
            );
            results.extend([tail.monitor_index, tail.record_number, reason::PERMANENT_FAILURE]);
        }
        self.compare(checksum);
        let answer = Bytes::from(results);
        acknowledge(answer.clone(), self.incoming, self.card, self.context, self.effects);
        answer
    }

    /// The result code of D-10.
    pub(super) fn backup_record(&mut self, record: &Record) -> u8 {
        let Some(row) = self.card.view.state.monitor.row(record.monitor_index).copied() else {
            return reason::PERMANENT_FAILURE;
        };
        let file = FilePath { df: row.df, ef: row.ef };
        if !row.covers(record.record_number) {
            self.note(
                "not-under-backup",
                format!("record {} is outside monitor row {} (reason 04)", record.record_number, record.monitor_index),
            );
            return reason::PERMANENT_FAILURE;
        }
        if record.data.len() != usize::from(row.data_octets) {
            let (got, expected) = (record.data.len(), row.data_octets);
            let text = format!("record {} not stored: {got} octets, expected {expected}", record.record_number);
            self.note("incompatible-data", text);
            return reason::PERMANENT_FAILURE;
        }
        let page = PageKey::of(self.card.view.device.key, file, record.record_number);
        let page = page.and_then(|(key, _)| self.pages.get(&key));
        if let Some(fault) = incompatible(file, &row, &record.data, page) {
            self.note("incompatible-data", format!("record {} not stored: {fault}", record.record_number));
            return reason::PERMANENT_FAILURE;
        }
        let changes = self.records.len();
        match self.write(file, &row, record.record_number, &record.data) {
            Some(stored) => {
                if self.records.len() == changes && !page::is_empty(&record.data) {
                    self.scanned(record.monitor_index, record.record_number);
                }
                self.set_checksum(record.monitor_index, record.record_number, &record.data);
                self.reported(file, record.record_number, stored);
                reason::SUCCESS
            }
            None => {
                let text = format!("row {} reaches beyond a record of 255 octets (reason 03)", record.monitor_index);
                self.note("incompatible-data", text);
                reason::PERMANENT_FAILURE
            }
        }
    }

    /// Writes what a monitor row covers of a record; gives the whole record as it is now. `None`: it has no slot.
    pub(super) fn write(
        &mut self,
        file: FilePath,
        row: &MonitorRow,
        record_number: u8,
        data: &Bytes,
    ) -> Option<Option<Bytes>> {
        let slot_octets = extent(&self.card.view.state.monitor, file)?;
        let (key, slot) = PageKey::of(self.card.view.device.key, file, record_number)?;
        let page = self.pages.open(key, slot_octets);
        let size = page.slot_octets;
        let place = page.slots.get_mut(slot)?;
        let new = page::merge(place.as_ref(), size, row.data_offset, data).ok()?;
        if *place != new {
            let old = std::mem::replace(place, new.clone());
            self.pages.changed(&key);
            self.records.push(RecordChange { file, record_number, old, new: new.clone() });
        }
        Some(new)
    }

    /// D-19, D-20: the row of an empty record goes.
    pub(super) fn set_checksum(&mut self, monitor_index: u8, record_number: u8, data: &[u8]) {
        if page::is_empty(data) {
            self.state().checksums.remove(monitor_index, record_number);
        } else {
            self.state().checksums.set(monitor_index, record_number, crc16(data));
        }
    }
}

/// SC-ER-03: an EF_ADN record that is no entry, in a page of entries. A row may cover only a part of the record, so the
/// page must show, by a number behind the alpha identifier (TS 31.102 4.4.2.3), that it holds whole ones.
pub(super) fn incompatible(file: FilePath, row: &MonitorRow, data: &[u8], page: Option<&Page>) -> Option<&'static str> {
    const TAIL_OCTETS: usize = 14;
    let tail = |record: &[u8]| {
        let tail = record.get(record.len().checked_sub(TAIL_OCTETS)?..)?;
        Some((*tail.first()?, *tail.get(1)?))
    };
    if file != EF_ADN || row.data_offset != 0 || page::is_empty(data) {
        return None;
    }
    let is_entry = |stored: &Bytes| {
        stored.len() == data.len()
            && tail(stored).is_some_and(|(length, ton_npi)| (2..=11).contains(&length) && ton_npi >= 0x80)
    };
    let (length, _) = tail(data)?;
    let fits = length <= 11 || length == 0xFF;
    (!fits && page?.slots.iter().flatten().any(is_entry)).then_some("the length of its number is more than 11 octets")
}
