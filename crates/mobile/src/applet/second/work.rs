//! Task 3: one record of the restore/configuration buffer per status event (Figs 31 and 32).

use std::ops::Range;

use link::{
    addressable::AddressedRecord,
    checksum_table::{ChecksumRow, ChecksumTable},
    configuration::{ConfigurationItem, Item},
    file_result::FileResult,
    monitor::MonitorRow,
    reason,
    reason::Reason,
    record::Record,
};
use uicc::{
    files::{FileError, FileSystem, Path},
    proactive::{ProactiveCommand, REFRESH_FILE_CHANGE},
};

use super::{
    BackupApplet,
    backup::monitored,
    memory::{Cause, Event, Job, Key, Results, Work, address},
};

impl BackupApplet {
    /// Works on the record at the pointer; after the last one sets the acknowledgement flag (S2-RS-11, S2-RS-12). Whether
    /// there was a record. A message whose acknowledgement must wait for the one before stays, its pointer at the end.
    pub(super) fn process_work(&mut self, files: &mut FileSystem) -> bool {
        let Some(mut job) = self.eeprom.job.take() else { return false };
        let records = job.work.records();
        let has_worked = job.pointer < records;
        if has_worked {
            self.process_record(files, &mut job);
            job.pointer += 1;
            if job.pointer >= records {
                self.refresh_phone(&job);
            }
        }
        if job.pointer < records || self.eeprom.acknowledgement_flag() {
            self.eeprom.job = Some(job);
        } else {
            self.eeprom.acknowledgement = Some(job.acknowledgement);
            self.next_inbound();
        }
        has_worked
    }

    /// The record at the pointer, and its result into the job's acknowledgement.
    fn process_record(&mut self, files: &mut FileSystem, job: &mut Job) {
        let at = job.pointer;
        match (&job.work, &mut job.acknowledgement.results) {
            (Work::Restore { records, refused }, Results::Restore(results)) => {
                if let Some(record) = records.get(at) {
                    results.push(self.restore(files, record));
                } else if let Some(tail) = refused {
                    let refused = failure(Path { df: 0, ef: 0 }, tail.record_number, Reason::NotInMonitorTable);
                    self.queue_error(refused);
                    results.push(refused);
                }
            }
            (Work::AddressableRestore(records), Results::Restore(results)) => {
                results.extend(records.get(at).map(|record| self.restore_addressed(files, record)));
            }
            (Work::Configuration { items, unparsed }, Results::Configuration(results)) => {
                if let Some(item) = items.get(at) {
                    let is_applied = self.configure(files, item);
                    results.push((item.cid, if is_applied { reason::SUCCESS } else { reason::PERMANENT_FAILURE }));
                } else {
                    results.extend(unparsed.map(|cid| (cid, reason::PERMANENT_FAILURE)));
                }
            }
            // Made together in `next_inbound`.
            _ => {}
        }
    }

    /// S2-RS-15: the phone reads the files that the restore has written again.
    fn refresh_phone(&mut self, job: &Job) {
        let Results::Restore(results) = &job.acknowledgement.results else { return };
        let written = results.iter().filter(|result| result.result == reason::SUCCESS);
        let mut paths: Vec<Path> = written.map(|result| Path { df: result.df, ef: result.ef }).collect();
        paths.sort_unstable();
        paths.dedup();
        if !paths.is_empty() {
            self.carrier.command(ProactiveCommand::Refresh { qualifier: REFRESH_FILE_CHANGE, files: paths });
        }
    }

    /// S3102 to S3105 for one record.
    fn restore(&mut self, files: &mut FileSystem, record: &Record) -> FileResult {
        let key = Key { monitor_index: record.monitor_index, record_number: record.record_number };
        let row = self.eeprom.monitor.row(key.monitor_index).copied();
        let path = row.map_or(Path { df: 0, ef: 0 }, |row| Path { df: row.df, ef: row.ef });
        let Some(row) = row.filter(|row| row.covers(key.record_number)) else {
            let refused = failure(path, key.record_number, Reason::NotInMonitorTable);
            self.queue_error(refused);
            return refused;
        };
        self.write(files, path, key.record_number, row.data_offset, &record.data)
    }

    /// D-14: any file; a transparent one has record number 0.
    fn restore_addressed(&mut self, files: &mut FileSystem, record: &AddressedRecord) -> FileResult {
        let path = Path { df: record.df, ef: record.ef };
        self.write(files, path, record.record_number, record.data_offset, &record.data)
    }

    /// Writes, with the checksums first so that nothing is echoed (D-39).
    fn write(&mut self, files: &mut FileSystem, path: Path, number: u8, offset: u16, data: &[u8]) -> FileResult {
        let written = usize::from(offset)..usize::from(offset) + data.len();
        if let Ok(before) = files.record(path, number) {
            let mut after = before.to_vec();
            match after.get_mut(written.clone()) {
                Some(place) => place.copy_from_slice(data),
                None => return failure(path, number, Reason::BadDataLengthOrOffset),
            }
            let rows = self.eeprom.monitor.covering(path.df, path.ef, number);
            let covering: Vec<(u8, MonitorRow)> = rows.map(|(index, row)| (index, *row)).collect();
            for (monitor_index, row) in covering {
                let key = Key { monitor_index, record_number: number };
                self.overwritten(key, &row, before, &after, &written);
            }
        }
        match files.write(path, number, offset, data) {
            Ok(()) => {
                self.eeprom.counts.records_restored += 1;
                FileResult::success(path.df, path.ef, number)
            }
            Err(error) => failure(path, number, reason_of(error, number)),
        }
    }

    /// What a restore means for one row over the record. All of the row's octets: the restore wins over whatever waits.
    /// Some of them: a change by the user that waits is still news to the centre, in its new surroundings.
    fn overwritten(&mut self, key: Key, row: &MonitorRow, before: &[u8], after: &[u8], written: &Range<usize>) {
        let start = usize::from(row.data_offset);
        let end = (start + usize::from(row.data_octets)).min(before.len());
        if written.start >= end || written.end <= start {
            return;
        }
        let waits = self.is_queued(key) || self.differs(key, &monitored(row, before));
        if written.start <= start && end <= written.end {
            self.forget_record(key);
        } else if waits {
            return self.queue_event(Event::Record { key, cause: Cause::Change });
        }
        self.apply_checksum(key, &monitored(row, after));
    }

    /// S3202: whether the item was accepted and applied (D-12).
    fn configure(&mut self, files: &FileSystem, item: &ConfigurationItem) -> bool {
        let Ok(item) = item.item() else { return false };
        match item {
            Item::ServiceState { on } => self.switch_service(on),
            Item::CentreIsdn(isdn) if address(&isdn).is_none() => return false,
            Item::CentreIsdn(isdn) => self.eeprom.configuration.centre_isdn = Some(isdn),
            Item::CentreIp(address) => self.eeprom.configuration.centre_ip = Some(address),
            Item::Bearer(bearer) => self.eeprom.configuration.bearer = bearer,
            Item::MonitorTableSize(rows) => {
                self.eeprom.monitor.resize(rows);
                self.drop_rows(|index| index >= rows);
            }
            Item::MonitorRow { index, row } => return self.set_row(files, index, row),
            Item::ChecksumTableSize(rows) => self.resize_checksums(rows),
            Item::ChecksumRow(row) => return self.set_checksum_row(files, row),
            Item::ClearChecksums { index } => self.clear_checksums(files, index),
            Item::Resynchronise { index: None } => self.scan_all(),
            Item::Resynchronise { index: Some(index) } => {
                if self.eeprom.monitor.row(index).is_none() {
                    return false;
                }
                self.start_scan(index, Cause::Resynchronise);
            }
            Item::PollIntervals { normal_seconds, fast_seconds } => {
                self.eeprom.configuration.normal_seconds = normal_seconds;
                self.eeprom.configuration.fast_seconds = fast_seconds;
            }
            Item::RetryPreset(0) => return false,
            Item::Asynchronous { mode, blocks_per_message, delay } => {
                return self.configure_asynchronous(mode, blocks_per_message, delay);
            }
            Item::RetryPreset(preset) => self.eeprom.configuration.retry_preset = preset,
            Item::Compact { on } => self.eeprom.configuration.compact = on,
        }
        true
    }

    /// Off: nothing is backed up (S2-CF-02). What waited stays: a deletion is in no file any more, so that the scan of
    /// switching on (D-40) would not find it.
    fn switch_service(&mut self, on: bool) {
        let was_on = std::mem::replace(&mut self.eeprom.configuration.service_on, on);
        if on && !was_on {
            self.scan_all();
        }
    }

    /// CID 0x08: only for a record that is monitored, and within the size of CID 0x07.
    fn set_checksum_row(&mut self, files: &FileSystem, row: ChecksumRow) -> bool {
        let key = Key { monitor_index: row.monitor_index, record_number: row.record_number };
        let is_taken = self.has_checksum_place(key) && self.content(files, key).is_some();
        if is_taken {
            self.eeprom.checksums.set(row.monitor_index, row.record_number, row.checksum);
        }
        is_taken
    }

    /// CID 0x09. Only its row tells of a deletion that still waits for its turn: that row stays until the deletion has been
    /// placed, as the centre has the record until then (D-20).
    fn clear_checksums(&mut self, files: &FileSystem, index: Option<u8>) {
        let rows = self.eeprom.checksums.rows();
        let rows = rows.filter(|row| index.is_none_or(|index| row.monitor_index == index));
        let key_of = |row: &ChecksumRow| Key { monitor_index: row.monitor_index, record_number: row.record_number };
        let is_empty =
            |row: &&ChecksumRow| self.content(files, key_of(row)).is_some_and(|data| link::record::is_empty(&data));
        let deleted: Vec<ChecksumRow> = rows.filter(is_empty).copied().collect();
        self.eeprom.checksums.clear(index);
        for row in deleted {
            self.eeprom.checksums.set(row.monitor_index, row.record_number, row.checksum);
            self.queue_event(Event::Record { key: key_of(&row), cause: Cause::Resynchronise });
        }
    }

    /// S2-CG-07. A row must name a linear file that exists, reach no further than its records and take no more octets than
    /// a message has room for (D-26), or watch nothing.
    fn set_row(&mut self, files: &FileSystem, index: u8, row: MonitorRow) -> bool {
        let record_octets = files.record_octets(Path { df: row.df, ef: row.ef });
        let end = usize::from(row.data_offset) + usize::from(row.data_octets);
        let fits = row.data_octets <= MonitorRow::DATA_OCTETS_MAX
            && record_octets.is_some_and(|octets| end <= usize::from(octets));
        if row.is_enabled() && !fits {
            return false;
        }
        if self.eeprom.monitor.row(index) != Some(&row) {
            self.drop_rows(|each| each == index);
            self.eeprom.monitor.set(index, row);
            if self.eeprom.configuration.service_on {
                self.start_scan(index, Cause::Resynchronise);
            }
        }
        true
    }

    fn drop_rows(&mut self, gone: impl Fn(u8) -> bool) {
        for index in (0..=u8::MAX).filter(|index| gone(*index)) {
            self.eeprom.checksums.clear(Some(index));
            self.eeprom.scans.remove(&index);
        }
        self.forget_rows(gone);
    }

    fn resize_checksums(&mut self, rows: u16) {
        self.eeprom.configuration.checksum_rows_max = rows;
        let mut octets = self.eeprom.checksums.to_octets();
        octets.truncate(usize::from(rows) * ChecksumTable::ROW_OCTETS);
        self.eeprom.checksums = ChecksumTable::from_octets(&octets).unwrap_or_default();
    }
}

fn failure(path: Path, record_number: u8, reason: Reason) -> FileResult {
    let Path { df, ef } = path;
    FileResult { df, ef, record_number, result: reason::PERMANENT_FAILURE, reason: reason.code() }
}

/// D-11. A transparent file (record number 0) has no records: out of range is its offset.
fn reason_of(error: FileError, record_number: u8) -> Reason {
    match error {
        FileError::NotFound => Reason::UnknownFile,
        FileError::OutOfRange if record_number > 0 => Reason::RecordOutOfRange,
        FileError::OutOfRange | FileError::WrongKind | FileError::WrongLength { .. } => Reason::BadDataLengthOrOffset,
    }
}
