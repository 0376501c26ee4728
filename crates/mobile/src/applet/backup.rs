//! File-update events, the outbound message and what waits for acknowledgement (S2-BK, S2-AK; D-32 to D-42).

use link::{
    backup::{AckRecord, Builder},
    checksum::crc16,
    configuration::Bearer,
    file_result::FileResult,
    ip, reason,
    reason::{Outcome, Reason},
    record::{NotAdded, Record},
};
use uicc::files::{FileSystem, Path};

use super::{
    BackupApplet, Purpose,
    memory::{EVENTS_MAX, Event, Flight, InFlight, Key, Scan},
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
        let rows = self.eeprom.monitor.rows();
        let covering: Vec<u8> = rows
            .filter(|(_, row)| row.df == path.df && row.ef == path.ef && row.covers(record_number))
            .map(|(index, _)| index)
            .collect();
        for monitor_index in covering {
            self.queue_event(Event { key: Key { monitor_index, record_number }, forced: false });
        }
    }

    /// Puts an event into the buffer, or marks its row when the buffer is full (D-42).
    pub(super) fn queue_event(&mut self, event: Event) {
        if let Some(queued) = self.eeprom.events.iter_mut().find(|queued| queued.key == event.key) {
            queued.forced |= event.forced;
        } else if self.eeprom.events.len() < EVENTS_MAX {
            self.eeprom.events.push_back(event);
        } else {
            self.start_scan(event.key.monitor_index, event.forced);
        }
    }

    /// D-40: every record of a row that is non-empty or has a checksum row.
    pub(super) fn start_scan(&mut self, monitor_index: u8, forced: bool) {
        let forced = forced || self.eeprom.scans.get(&monitor_index).is_some_and(|scan| scan.forced);
        self.eeprom.scans.insert(monitor_index, Scan { next: 1, forced });
    }

    /// D-40 for all rows.
    pub(super) fn scan_all(&mut self) {
        let indexes: Vec<u8> = self.eeprom.monitor.rows().map(|(index, _)| index).collect();
        indexes.into_iter().for_each(|index| self.start_scan(index, true));
    }

    /// The monitored octets of a record; `None` when row, file or record are not there.
    pub(super) fn content(&self, files: &FileSystem, key: Key) -> Option<Vec<u8>> {
        let row = self.eeprom.monitor.row(key.monitor_index).filter(|row| row.covers(key.record_number))?;
        let record = files.record(Path { df: row.df, ef: row.ef }, key.record_number).ok()?;
        let start = usize::from(row.data_offset).min(record.len());
        let end = (start + usize::from(row.data_octets)).min(record.len());
        let mut data = record.get(start..end)?.to_vec();
        data.resize(usize::from(row.data_octets), 0xFF);
        Some(data)
    }

    /// Task 2: whether there was an event to look at (S2902 to S2907).
    pub(super) fn process_event(&mut self, files: &FileSystem) -> bool {
        self.refill_from_scan(files);
        let Some(&event) = self.eeprom.events.front() else { return false };
        let Some(data) = self.content(files, event.key) else {
            self.eeprom.events.pop_front();
            return true;
        };
        if !event.forced && !self.differs(event.key, &data) {
            self.eeprom.events.pop_front();
            return true;
        }
        if self.sending.as_ref().is_some_and(|sending| matches!(sending, Purpose::Backup(_))) {
            return true;
        }
        if self.eeprom.outbound.contains(&event.key) || self.fits(data.len()) {
            self.place(event.key, &data);
            self.eeprom.events.pop_front();
        }
        true
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

    /// S2904 to S2907: no row and not empty (new), or another checksum than the row's.
    fn differs(&self, key: Key, data: &[u8]) -> bool {
        match self.eeprom.checksums.get(key.monitor_index, key.record_number) {
            Some(checksum) => link::record::is_empty(data) || checksum != crc16(data),
            None => !link::record::is_empty(data),
        }
    }

    /// Notes the content in the checksum table, as far as the table may grow (CID 0x07).
    pub(super) fn apply_checksum(&mut self, key: Key, data: &[u8]) {
        let known = self.eeprom.checksums.get(key.monitor_index, key.record_number).is_some();
        if known || self.eeprom.checksums.len() < usize::from(self.eeprom.configuration.checksum_rows_max) {
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
            self.eeprom.events.push_back(Event { key, forced: scan.forced });
        }
    }

    /// Task 1, S2908: counts, and sends the outbound message when the preset is reached. Whether it was sent.
    pub(super) fn send_outbound(&mut self, files: &FileSystem) -> bool {
        if self.eeprom.outbound.is_empty() {
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
                    self.report(key, Reason::BadDataLengthOrOffset);
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
            self.eeprom.outbound.retain(|placed| *placed != key);
            let before = self.eeprom.in_flight.iter().position(|each| each.key == key);
            let before = before.map(|at| self.eeprom.in_flight.remove(at));
            let fresh = InFlight {
                key,
                checksum,
                older: before.map_or(0, |old| old.older.saturating_add(old.sent)),
                sent: 1,
                repeats: 0,
                refusals: 0,
                next_wait: ACKNOWLEDGEMENT_WAIT,
                state: Flight::Sent { age: 0 },
            };
            let entry = match before {
                Some(old) if old.checksum == checksum => {
                    InFlight { sent: old.sent.saturating_add(1), state: Flight::Sent { age: 0 }, ..old }
                }
                _ => fresh,
            };
            self.eeprom.in_flight.push(entry);
        }
        self.eeprom.counter = 0;
    }

    /// D-36: one status event passes for every record that waits.
    pub(super) fn age_in_flight(&mut self) {
        let mut again = Vec::new();
        let mut given_up = 0;
        self.eeprom.in_flight.retain_mut(|each| {
            match &mut each.state {
                Flight::Sent { age } => {
                    *age += 1;
                    if *age < ACKNOWLEDGEMENT_WAIT {
                        return true;
                    }
                    if each.repeats >= REPEATS_MAX {
                        given_up += 1;
                        return false;
                    }
                    each.repeats += 1;
                }
                Flight::Refused { left } => {
                    *left = left.saturating_sub(1);
                    if *left > 0 {
                        return true;
                    }
                }
                Flight::Queued => return true,
            }
            each.state = Flight::Queued;
            again.push(each.key);
            true
        });
        self.eeprom.counts.records_given_up += given_up;
        again.into_iter().for_each(|key| self.queue_event(Event { key, forced: true }));
    }

    /// S3002 to S3007: one record of a backup acknowledgement.
    pub(super) fn acknowledged(&mut self, record: AckRecord) {
        let key = Key { monitor_index: record.monitor_index, record_number: record.record_number };
        let Some(at) = self.eeprom.in_flight.iter().position(|each| each.key == key) else { return };
        let Some(entry) = self.eeprom.in_flight.get_mut(at) else { return };
        let outcome = Outcome::from_octet(record.result);
        if entry.older > 0 {
            entry.older -= 1;
            return;
        }
        match outcome {
            Outcome::Success => {
                self.eeprom.in_flight.remove(at);
                // A repeat is no longer needed, but the event may stand for a newer change as well: compare (S2-AK-06).
                self.eeprom.events.iter_mut().filter(|event| event.key == key).for_each(|event| event.forced = false);
                self.eeprom.counts.records_backed_up += 1;
            }
            Outcome::TemporaryFailure => {
                if matches!(entry.state, Flight::Sent { .. }) {
                    entry.state = Flight::Refused { left: entry.next_wait };
                    entry.next_wait = (entry.next_wait * 2).min(REFUSED_WAIT_MAX);
                    entry.repeats = 0;
                }
            }
            Outcome::PermanentFailure if entry.refusals < REFUSALS_MAX => {
                entry.refusals += 1;
                entry.state = Flight::Queued;
                self.queue_event(Event { key, forced: true });
            }
            Outcome::PermanentFailure => {
                self.eeprom.in_flight.remove(at);
                self.report(key, Reason::None);
            }
        }
    }

    /// Queues an error record about a monitored record.
    pub(super) fn report(&mut self, key: Key, reason: Reason) {
        let (df, ef) = self.eeprom.monitor.row(key.monitor_index).map_or((0, 0), |row| (row.df, row.ef));
        let result = reason::PERMANENT_FAILURE;
        self.queue_error(FileResult { df, ef, record_number: key.record_number, result, reason: reason.code() });
    }

    /// Whatever waits for this record is void: a restore has written it, or it is no longer monitored.
    pub(super) fn forget_record(&mut self, key: Key) {
        self.forget(|each| each == key);
    }

    pub(super) fn forget(&mut self, gone: impl Fn(Key) -> bool) {
        self.eeprom.events.retain(|event| !gone(event.key));
        self.eeprom.outbound.retain(|key| !gone(*key));
        self.eeprom.in_flight.retain(|each| !gone(each.key));
    }
}
