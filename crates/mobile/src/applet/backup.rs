//! File-update events, the outbound message and what waits for acknowledgement (S2-BK, S2-AK; D-32 to D-42).

use link::{
    backup::{AckRecord, Builder},
    checksum::crc16,
    configuration::Bearer,
    file_result::FileResult,
    ip,
    monitor::MonitorRow,
    reason::{self, Outcome, Reason},
    record::{NotAdded, Record},
};
use uicc::files::{FileSystem, Path};

use super::{
    BackupApplet, Purpose,
    memory::{Cause, EVENTS_MAX, Event, Flight, InFlight, Key, Results, Scan},
};

/// Status events without acknowledgement until a record is sent again (D-36).
const ACKNOWLEDGEMENT_WAIT: u16 = 60;
/// D-36: the longest wait after a temporary refusal.
const REFUSED_WAIT_MAX: u16 = 720;
const REPEATS_MAX: u8 = 3;
/// D-37: re-sent at most so often per version.
const REFUSALS_MAX: u8 = 2;

/// Records of a message with their checksums as sent.
pub(super) type SentRecords = Vec<(Key, u16)>;

impl BackupApplet {
    /// S2801 to S2803: queues an event for each monitor row that covers the record.
    pub(super) fn record_changed(&mut self, path: Path, record_number: u8) {
        if !self.eeprom.configuration.service_on {
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
    pub(super) fn scan_all(&mut self) {
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
        if matches!(self.sending, Some(Purpose::Backup(_))) {
            return false;
        }
        let has_place = self.eeprom.outbound.contains(&key) || self.fits(data.len());
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
        let known = self.eeprom.checksums.get(key.monitor_index, key.record_number).is_some();
        if known || !self.is_table_full() {
            self.eeprom.checksums.apply_record(key.monitor_index, key.record_number, data);
        }
    }

    fn limit(&self) -> usize {
        match self.eeprom.configuration.bearer {
            Bearer::Sms => link::SMS_OCTETS,
            Bearer::Ip => ip::PAYLOAD_OCTETS_MAX - 2,
        }
    }

    /// Whether one more record of `octets` fits the outbound message; alone it always does (D-17 trims).
    fn fits(&self, octets: usize) -> bool {
        let data_octets = |key: &Key| self.eeprom.monitor.row(key.monitor_index).map_or(0, |row| row.data_octets);
        let placed: usize =
            self.eeprom.outbound.iter().map(|key| Record::HEADER_OCTETS + usize::from(data_octets(key))).sum();
        self.eeprom.outbound.is_empty() || 1 + placed + Record::HEADER_OCTETS + octets <= self.limit()
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
        if self.eeprom.counter < self.eeprom.configuration.retry_preset || self.sending.is_some() {
            return false;
        }
        let Some((payload, sent)) = self.build_backup(files) else { return false };
        let route = self.route();
        self.transmit(payload, Purpose::Backup(sent), &route);
        true
    }

    /// Reads the records anew, brings the checksum table to their state and encodes the message (D-20, S2-BK-16).
    fn build_backup(&mut self, files: &FileSystem) -> Option<(Vec<u8>, SentRecords)> {
        let mut builder = match self.eeprom.configuration.bearer {
            Bearer::Sms => Builder::new(link::SMS_OCTETS),
            Bearer::Ip => Builder::on_ip(),
        };
        let mut sent = Vec::new();
        for key in self.eeprom.outbound.clone() {
            let Some(data) = self.content(files, key) else {
                self.forget_record(key);
                continue;
            };
            let Key { monitor_index, record_number } = key;
            let checksum = crc16(&data);
            match builder.push(&Record { monitor_index, record_number, data: data.clone().into() }) {
                Ok(()) => {
                    self.apply_checksum(key, &data);
                    sent.push((key, checksum));
                }
                Err(NotAdded::Full) => break,
                Err(NotAdded::TooLong { .. }) => {
                    self.forget_record(key);
                    self.report(key, reason::PERMANENT_FAILURE, Reason::BadDataLengthOrOffset);
                }
            }
        }
        if sent.is_empty() {
            return None;
        }
        Some((builder.finish(self.eeprom.checksums.database_checksum()), sent))
    }

    /// The phone has sent the message: its records now wait for their acknowledgement.
    pub(super) fn backup_sent(&mut self, sent: &[(Key, u16)]) {
        for &(key, checksum) in sent {
            let placed = self.eeprom.outbound.len();
            self.eeprom.outbound.retain(|each| *each != key);
            let was_placed = self.eeprom.outbound.len() < placed;
            let at = self.eeprom.in_flight.iter().position(|each| each.key == key);
            let before = at.map(|at| self.eeprom.in_flight.remove(at));
            let mut entry = match before {
                Some(old) if old.checksum == checksum && !matches!(old.state, Flight::Settled { .. }) => old,
                _ => InFlight {
                    key,
                    checksum,
                    older: before.map_or(0, |old| old.older.saturating_add(old.unanswered)),
                    unanswered: 0,
                    repeats: 0,
                    refusals: 0,
                    next_wait: ACKNOWLEDGEMENT_WAIT,
                    state: Flight::Queued,
                },
            };
            entry.unanswered = entry.unanswered.saturating_add(1);
            entry.state = Flight::Sent { age: 0 };
            self.eeprom.in_flight.push(entry);
            if !was_placed {
                // A restore has overwritten it while the phone was sending: only the answer is still to come.
                self.settle(key);
            } else if self.is_newly_restored(key) && !self.eeprom.overtaking.contains(&key) {
                self.eeprom.overtaking.push(key);
            }
        }
        self.eeprom.counter = 0;
    }

    /// Restored, and the centre has not been told yet.
    fn is_newly_restored(&self, key: Key) -> bool {
        let Some(row) = self.eeprom.monitor.row(key.monitor_index) else { return false };
        let waiting = self.eeprom.acknowledgement.iter();
        let growing = self.eeprom.job.iter().map(|job| &job.acknowledgement);
        let results = waiting.chain(growing).flat_map(|acknowledgement| match &acknowledgement.results {
            Results::Restore(results) => results.as_slice(),
            Results::Configuration(_) => &[],
        });
        let place = (row.df, row.ef, key.record_number);
        results.into_iter().any(|result| (result.df, result.ef, result.record_number) == place)
    }

    /// An acknowledgement has left: what overtook it is sent once more.
    pub(super) fn repeat_overtaking(&mut self) {
        for key in std::mem::take(&mut self.eeprom.overtaking) {
            self.queue_event(Event::Record { key, cause: Cause::Resynchronise });
        }
    }

    /// D-36: one status event passes for every record that waits. A repeat for which the event buffer has no room waits
    /// for the next status event, rather than have its whole row sent.
    pub(super) fn age_in_flight(&mut self) {
        if !self.eeprom.configuration.service_on {
            return;
        }
        let mut room = EVENTS_MAX.saturating_sub(self.eeprom.events.len());
        let mut again = Vec::new();
        let mut given_up = Vec::new();
        self.eeprom.in_flight.retain_mut(|each| {
            let is_due = match &mut each.state {
                Flight::Sent { age } => {
                    *age = age.saturating_add(1);
                    *age >= ACKNOWLEDGEMENT_WAIT
                }
                Flight::Refused { left } => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                Flight::Settled { left } => {
                    *left = left.saturating_sub(1);
                    return *left > 0;
                }
                Flight::Queued => false,
            };
            if !is_due {
                return true;
            }
            let is_repeat = matches!(each.state, Flight::Sent { .. });
            if is_repeat && each.repeats >= REPEATS_MAX {
                given_up.push(each.key);
            } else if room > 0 {
                room -= 1;
                each.repeats += u8::from(is_repeat);
                each.state = Flight::Queued;
                again.push(each.key);
            }
            true
        });
        again.into_iter().for_each(|key| self.queue_event(Event::Record { key, cause: Cause::Repeat }));
        for key in given_up {
            self.eeprom.counts.records_given_up += 1;
            self.settle(key);
            self.report(key, reason::TEMPORARY_FAILURE, Reason::None);
        }
    }

    /// S3002 to S3007: one record of a backup acknowledgement.
    pub(super) fn acknowledged(&mut self, record: AckRecord) {
        let key = Key { monitor_index: record.monitor_index, record_number: record.record_number };
        let Some(entry) = self.eeprom.in_flight.iter_mut().find(|each| each.key == key) else { return };
        let outcome = Outcome::from_octet(record.result);
        // Messages overtake one another: a refusal is taken as that of the newest version, which is then sent once too
        // often at worst; a success only once all older versions have theirs.
        let is_settled = matches!(entry.state, Flight::Settled { .. });
        if is_settled || (outcome == Outcome::Success && entry.older > 0) {
            entry.older = entry.older.saturating_sub(1);
            if is_settled && entry.older == 0 {
                self.eeprom.in_flight.retain(|each| each.key != key);
            }
            return;
        }
        entry.unanswered = entry.unanswered.saturating_sub(1);
        let is_sent = matches!(entry.state, Flight::Sent { .. });
        match outcome {
            Outcome::Success => {
                self.settle(key);
                self.eeprom.counts.records_backed_up += 1;
            }
            // The answer to an earlier repeat: the record is queued already.
            _ if !is_sent => {}
            Outcome::TemporaryFailure => {
                entry.state = Flight::Refused { left: entry.next_wait };
                entry.next_wait = (entry.next_wait * 2).min(REFUSED_WAIT_MAX);
                entry.repeats = 0;
            }
            Outcome::PermanentFailure if entry.refusals < REFUSALS_MAX => {
                entry.refusals += 1;
                // Queued by the status event that this message is.
                entry.state = Flight::Refused { left: 1 };
            }
            Outcome::PermanentFailure => {
                self.settle(key);
                self.report(key, reason::PERMANENT_FAILURE, Reason::None);
            }
        }
    }

    /// Nothing is awaited for this record any more; late answers are still counted. An event that only stood for a repeat
    /// may stand for a newer change as well: it is compared now (S2-AK-06).
    fn settle(&mut self, key: Key) {
        for event in &mut self.eeprom.events {
            match event {
                Event::Record { key: queued, cause: cause @ Cause::Repeat } if *queued == key => *cause = Cause::Change,
                _ => {}
            }
        }
        self.eeprom.in_flight.retain_mut(|each| {
            if each.key != key {
                return true;
            }
            each.older = each.older.saturating_add(std::mem::take(&mut each.unanswered));
            each.state = Flight::Settled { left: ACKNOWLEDGEMENT_WAIT };
            each.older > 0
        });
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

/// The row's octets of a record; beyond its end they are FF.
pub(super) fn monitored(row: &MonitorRow, record: &[u8]) -> Vec<u8> {
    let start = usize::from(row.data_offset).min(record.len());
    let end = (start + usize::from(row.data_octets)).min(record.len());
    let mut data = record.get(start..end).unwrap_or_default().to_vec();
    data.resize(usize::from(row.data_octets), 0xFF);
    data
}
