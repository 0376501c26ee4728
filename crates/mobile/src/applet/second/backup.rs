//! File-update events and the outbound message (S2-BK, D-35 to D-42); what was sent goes on in `awaiting`.

use link::{
    checksum::crc16,
    compact::Builder,
    configuration::Bearer,
    file_result::FileResult,
    monitor::MonitorRow,
    reason::{self, Reason},
    record::{NotAdded, Record},
};
use uicc::files::{FileSystem, Path};

use super::{
    BackupApplet, Purpose,
    memory::{Cause, EVENTS_MAX, Event, Key, Scan},
};

/// Records of a message with their checksums as sent.
pub(super) type SentRecords = Vec<(Key, u16)>;

impl BackupApplet {
    /// S2801 to S2803: queues an event for each monitor row that covers the record.
    pub(super) fn record_changed(&mut self, path: Path, record_number: u8) {
        let configuration = &self.eeprom.configuration;
        if !configuration.service_on || configuration.asynchronous.defers_changes() {
            return;
        }
        let rows = self.eeprom.monitor.covering(path.df, path.ef, record_number);
        let covering: Vec<u8> = rows.map(|(index, _)| index).collect();
        for monitor_index in covering {
            let key = Key { monitor_index, record_number };
            self.queue_event(Event::Record { key, cause: Cause::Change });
        }
    }

    /// Puts an event into the buffer. When it is full the record's row is marked (D-42); the receipt of a configuration
    /// needs no mark, for its message waits in the inbound buffer.
    pub(super) fn queue_event(&mut self, event: Event) {
        let Event::Record { key, cause } = event else {
            if self.has_room_for_event() && !self.eeprom.events.contains(&event) {
                self.eeprom.events.push_back(event);
            }
            return;
        };
        let queued = self.eeprom.events.iter_mut().find(|queued| queued.is_about(key));
        if let Some(Event::Record { cause: queued, .. }) = queued {
            *queued = cause.max(*queued);
        } else if self.has_room_for_event() {
            self.eeprom.events.push_back(event);
        } else {
            self.start_scan(key.monitor_index, cause);
        }
    }

    fn has_room_for_event(&self) -> bool {
        self.eeprom.events.len() < EVENTS_MAX
    }

    /// D-40: every record of a row that is non-empty or has a checksum row.
    pub(super) fn start_scan(&mut self, monitor_index: u8, cause: Cause) {
        let before = self.eeprom.scans.get(&monitor_index).map_or(cause, |scan| scan.cause);
        self.eeprom.scans.insert(monitor_index, Scan { next: 1, cause: cause.max(before) });
    }

    /// D-40 for all rows.
    pub(in crate::applet) fn scan_all(&mut self) {
        let indexes: Vec<u8> = self.eeprom.monitor.rows().map(|(index, _)| index).collect();
        indexes.into_iter().for_each(|index| self.start_scan(index, Cause::Resynchronise));
    }

    /// The monitored octets of a record; `None` when row, file or record are not there.
    pub(super) fn content(&self, files: &FileSystem, key: Key) -> Option<Vec<u8>> {
        let row = self.eeprom.monitor.row(key.monitor_index).filter(|row| row.covers(key.record_number))?;
        let record = files.record(Path { df: row.df, ef: row.ef }, key.record_number).ok()?;
        Some(monitored(row, record))
    }

    /// Task 2: whether there was an event that could be dealt with (S2902 to S2907). One whose record has no place in the
    /// outbound message stays (S2-BK-08), and stands in the way of nothing else: a message that cannot leave must not
    /// keep out the configuration that would let it.
    pub(super) fn process_event(&mut self, files: &FileSystem) -> bool {
        let is_on = self.eeprom.configuration.service_on;
        if is_on {
            self.refill_from_scan(files);
        }
        let mut events = self.eeprom.events.iter();
        let Some(at) = events.position(|event| is_on || *event == Event::Configuration) else { return false };
        let is_done = match self.eeprom.events.get(at) {
            Some(&Event::Record { key, cause }) => self.process_change(files, key, cause),
            _ => {
                self.next_inbound();
                true
            }
        };
        if is_done {
            self.eeprom.events.remove(at);
        }
        is_done
    }

    /// Whether the event has been dealt with.
    fn process_change(&mut self, files: &FileSystem, key: Key, cause: Cause) -> bool {
        let Some(data) = self.content(files, key) else {
            self.forget_record(key);
            return false;
        };
        if cause == Cause::Change && !self.differs(key, &data) {
            return true;
        }
        if matches!(self.carrier.sending(), Some(Purpose::Backup(_))) {
            return false;
        }
        let has_place = self.eeprom.outbound.contains(&key) || self.fits(files, key, &data);
        if has_place {
            self.place(key, &data);
        }
        has_place
    }

    fn place(&mut self, key: Key, data: &[u8]) {
        if self.eeprom.outbound.is_empty() {
            self.eeprom.counter = 0;
        }
        if !self.eeprom.outbound.contains(&key) {
            self.eeprom.outbound.push(key);
        }
        self.apply_checksum(key, data);
    }

    /// S2904 to S2907: no row and not empty (new), or another checksum than the row's. A full table (CID 0x07) knows
    /// nothing of the records without a row, so that they all differ.
    pub(super) fn differs(&self, key: Key, data: &[u8]) -> bool {
        match self.eeprom.checksums.get(key.monitor_index, key.record_number) {
            Some(checksum) => link::record::is_empty(data) || checksum != crc16(data),
            None => !link::record::is_empty(data) || self.is_table_full(),
        }
    }

    fn is_table_full(&self) -> bool {
        self.eeprom.checksums.len() >= usize::from(self.eeprom.configuration.checksum_rows_max)
    }

    /// In the event buffer or the outbound message.
    pub(super) fn is_queued(&self, key: Key) -> bool {
        self.eeprom.outbound.contains(&key) || self.eeprom.events.iter().any(|event| event.is_about(key))
    }

    /// Notes the content in the checksum table, as far as the table may grow (CID 0x07).
    pub(super) fn apply_checksum(&mut self, key: Key, data: &[u8]) {
        if self.has_checksum_place(key) {
            self.eeprom.checksums.apply_record(key.monitor_index, key.record_number, data);
        }
    }

    /// Whether the record has a checksum row or may get one (CID 0x07).
    pub(super) fn has_checksum_place(&self, key: Key) -> bool {
        !self.is_table_full() || self.eeprom.checksums.get(key.monitor_index, key.record_number).is_some()
    }

    pub(super) fn limit(&self) -> usize {
        match self.eeprom.configuration.bearer {
            Bearer::Sms => self.limits.sms,
            Bearer::Ip => self.limits.ip.saturating_sub(2),
        }
    }

    /// Whether one more record fits the outbound message; alone it always does (D-17 trims). With compact coding more fit,
    /// by their content as it is now.
    fn fits(&self, files: &FileSystem, key: Key, data: &[u8]) -> bool {
        let data_octets = |key: &Key| self.eeprom.monitor.row(key.monitor_index).map_or(0, |row| row.data_octets);
        let placed: usize =
            self.eeprom.outbound.iter().map(|key| Record::HEADER_OCTETS + usize::from(data_octets(key))).sum();
        let is_alone = self.eeprom.outbound.is_empty();
        if is_alone || 1 + placed + Record::HEADER_OCTETS + data.len() <= self.limit() {
            return true;
        }
        if !self.eeprom.configuration.compact {
            return false;
        }
        let mut builder = Builder::backup(self.limit());
        let before = self.eeprom.outbound.iter().filter_map(|key| Some((*key, self.content(files, *key)?)));
        before.chain([(key, data.to_vec())]).all(|(key, data)| builder.push(&record(key, data)).is_ok())
    }

    /// Moves one record of a scan into the empty event buffer.
    fn refill_from_scan(&mut self, files: &FileSystem) {
        while self.eeprom.events.is_empty() {
            let Some((&monitor_index, &scan)) = self.eeprom.scans.first_key_value() else { return };
            let found = (scan.next..=u16::from(u8::MAX)).find_map(|number| {
                let key = Key { monitor_index, record_number: u8::try_from(number).ok()? };
                let known = self.eeprom.checksums.get(monitor_index, key.record_number).is_some();
                let used = |data: Vec<u8>| known || !link::record::is_empty(&data);
                self.content(files, key).is_some_and(used).then_some(key)
            });
            let Some(key) = found else {
                self.eeprom.scans.remove(&monitor_index);
                continue;
            };
            let next = u16::from(key.record_number) + 1;
            self.eeprom.scans.insert(monitor_index, Scan { next, ..scan });
            self.eeprom.events.push_back(Event::Record { key, cause: scan.cause });
        }
    }

    /// Task 1, S2908: counts, and sends the outbound message when the preset is reached. Whether it was sent.
    pub(super) fn send_outbound(&mut self, files: &FileSystem) -> bool {
        if self.eeprom.outbound.is_empty() || !self.eeprom.configuration.service_on {
            return false;
        }
        self.eeprom.counter = self.eeprom.counter.saturating_add(1);
        if self.eeprom.counter < self.eeprom.configuration.retry_preset || self.carrier.sending().is_some() {
            return false;
        }
        let Some((payload, sent)) = self.build_backup(files) else { return false };
        let route = self.route();
        self.transmit(payload, Purpose::Backup(sent), &route);
        true
    }

    /// Reads the records anew, brings the checksum table to their state and encodes the message (D-20, S2-BK-16).
    fn build_backup(&mut self, files: &FileSystem) -> Option<(Vec<u8>, SentRecords)> {
        let builder = match self.eeprom.configuration.bearer {
            // A record that has no room beside others may take two messages.
            Bearer::Sms if self.eeprom.outbound.len() == 1 => Builder::backup(self.limits.sms_most),
            Bearer::Sms => Builder::backup(self.limits.sms),
            Bearer::Ip => Builder::backup_on_ip(self.limits.ip),
        };
        let mut builder = builder.compact(self.eeprom.configuration.compact);
        let mut sent = Vec::new();
        for key in self.eeprom.outbound.clone() {
            let Some(data) = self.content(files, key) else {
                self.forget_record(key);
                continue;
            };
            let Key { monitor_index, record_number } = key;
            let checksum = crc16(&data);
            match builder.push(&record(key, data.clone())) {
                Ok(()) => {
                    self.apply_checksum(key, &data);
                    sent.push((key, checksum));
                }
                Err(NotAdded::Full) => break,
                Err(NotAdded::TooLong { .. }) => {
                    self.forget_record(key);
                    self.eeprom.checksums.remove(monitor_index, record_number);
                    self.report(key, reason::PERMANENT_FAILURE, Reason::BadDataLengthOrOffset);
                }
            }
        }
        if sent.is_empty() {
            return None;
        }
        Some((builder.finish_backup(self.eeprom.checksums.database_checksum()), sent))
    }

    /// Queues an error record about a monitored record.
    pub(super) fn report(&mut self, key: Key, result: u8, reason: Reason) {
        let (df, ef) = self.eeprom.monitor.row(key.monitor_index).map_or((0, 0), |row| (row.df, row.ef));
        self.queue_error(FileResult { df, ef, record_number: key.record_number, result, reason: reason.code() });
    }

    /// Whatever waits for this record is void: a restore has written it, or it is not there any more.
    pub(super) fn forget_record(&mut self, key: Key) {
        self.eeprom.events.retain(|event| !event.is_about(key));
        self.eeprom.outbound.retain(|placed| *placed != key);
        self.eeprom.overtaking.retain(|each| *each != key);
        self.settle(key);
    }

    /// Rows that are no longer monitored: nothing of theirs waits.
    pub(super) fn forget_rows(&mut self, gone: impl Fn(u8) -> bool) {
        let is_gone = |event: &Event| matches!(event, Event::Record { key, .. } if gone(key.monitor_index));
        self.eeprom.events.retain(|event| !is_gone(event));
        self.eeprom.outbound.retain(|key| !gone(key.monitor_index));
        self.eeprom.overtaking.retain(|key| !gone(key.monitor_index));
        self.eeprom.in_flight.retain(|each| !gone(each.key.monitor_index));
    }
}

fn record(Key { monitor_index, record_number }: Key, data: Vec<u8>) -> Record {
    Record { monitor_index, record_number, data: data.into() }
}

/// The row's octets of a record; beyond its end they are FF.
pub(super) fn monitored(row: &MonitorRow, record: &[u8]) -> Vec<u8> {
    let start = usize::from(row.data_offset).min(record.len());
    let end = (start + usize::from(row.data_octets)).min(record.len());
    let mut data = record.get(start..end).unwrap_or_default().to_vec();
    data.resize(usize::from(row.data_octets), 0xFF);
    data
}
