//! Task 3: one record of the restore/configuration buffer per status event (Figs 31 and 32).

use link::{
    addressable::AddressedRecord,
    checksum_table::ChecksumTable,
    configuration::{ConfigurationItem, Item},
    file_result::FileResult,
    monitor::MonitorRow,
    reason,
    reason::Reason,
    record::Record,
};
use uicc::{
    files::{FileError, FileSystem, Path},
    proactive::ProactiveCommand,
};

use super::{
    BackupApplet,
    memory::{Acknowledgement, Job, Key, Work},
};

/// REFRESH: file change notification (TS 31.111 6.4.7).
const FILE_CHANGE: u8 = 0x01;

impl BackupApplet {
    /// Works on the record at the pointer; after the last one sets the acknowledgement flag (S2-RS-11, S2-RS-12).
    pub(super) fn process_work(&mut self, files: &mut FileSystem) {
        let Some(mut job) = self.eeprom.job.take() else { return };
        let finished = match &job.work {
            Work::Restore { records, refused } => {
                if let Some(record) = records.get(job.pointer) {
                    let result = self.restore(files, record);
                    self.note(result);
                } else if let Some(tail) = refused {
                    let record_number = tail.record_number;
                    let result = failure(Path { df: 0, ef: 0 }, record_number, Reason::NotInMonitorTable);
                    self.queue_error(result);
                    self.note(result);
                }
                job.pointer + 1 >= records.len() + usize::from(refused.is_some())
            }
            Work::AddressableRestore(records) => {
                if let Some(record) = records.get(job.pointer) {
                    let result = self.restore_addressed(files, record);
                    self.note(result);
                }
                job.pointer + 1 >= records.len()
            }
            Work::Configuration { items, unparsed } => {
                if let Some(item) = items.get(job.pointer) {
                    let result = if self.configure(files, item) { reason::SUCCESS } else { reason::PERMANENT_FAILURE };
                    self.note_item(item.cid, result);
                } else if let Some(cid) = unparsed {
                    self.note_item(*cid, reason::PERMANENT_FAILURE);
                }
                job.pointer + 1 >= items.len() + usize::from(unparsed.is_some())
            }
        };
        job.pointer += 1;
        if finished {
            self.eeprom.acknowledgement_flag = true;
            self.refresh_phone(&job);
        } else {
            self.eeprom.job = Some(job);
        }
    }

    fn note(&mut self, result: FileResult) {
        if result.result == reason::SUCCESS {
            self.eeprom.counts.records_restored += 1;
        }
        if let Some(Acknowledgement::Restore(results)) = &mut self.eeprom.acknowledgement {
            results.push(result);
        }
    }

    fn note_item(&mut self, cid: u8, result: u8) {
        if let Some(Acknowledgement::Configuration(results)) = &mut self.eeprom.acknowledgement {
            results.push((cid, result));
        }
    }

    /// S2-RS-15: the phone reads the files that the restore has written again.
    fn refresh_phone(&mut self, job: &Job) {
        if matches!(job.work, Work::Configuration { .. }) {
            return;
        }
        let Some(Acknowledgement::Restore(results)) = &self.eeprom.acknowledgement else { return };
        let written = results.iter().filter(|result| result.result == reason::SUCCESS);
        let mut paths: Vec<Path> = written.map(|result| Path { df: result.df, ef: result.ef }).collect();
        paths.sort_unstable();
        paths.dedup();
        if !paths.is_empty() {
            self.command(ProactiveCommand::Refresh { qualifier: FILE_CHANGE, files: paths });
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
        let before = files.record(path, number).map(<[u8]>::to_vec).ok();
        let covering: Vec<(Key, MonitorRow)> = self
            .eeprom
            .monitor
            .rows()
            .filter(|(_, row)| row.df == path.df && row.ef == path.ef && row.covers(number))
            .map(|(monitor_index, row)| (Key { monitor_index, record_number: number }, *row))
            .collect();
        if let Some(mut content) = before {
            let start = usize::from(offset);
            match content.get_mut(start..start + data.len()) {
                Some(place) => place.copy_from_slice(data),
                None => return failure(path, number, Reason::BadDataLengthOrOffset),
            }
            for (key, row) in &covering {
                let start = usize::from(row.data_offset).min(content.len());
                let end = (start + usize::from(row.data_octets)).min(content.len());
                let mut monitored = content.get(start..end).unwrap_or_default().to_vec();
                monitored.resize(usize::from(row.data_octets), 0xFF);
                self.forget_record(*key);
                self.apply_checksum(*key, &monitored);
            }
        }
        match files.write(path, number, offset, data) {
            Ok(()) => FileResult::success(path.df, path.ef, number),
            Err(error) => {
                for (key, _) in covering {
                    if let Some(content) = self.content(files, key) {
                        self.apply_checksum(key, &content);
                    }
                }
                failure(path, number, reason_of(error))
            }
        }
    }

    /// S3202: whether the item was accepted and applied (D-12).
    fn configure(&mut self, files: &FileSystem, item: &ConfigurationItem) -> bool {
        let Ok(item) = item.item() else { return false };
        match item {
            Item::ServiceState { on } => self.switch_service(on),
            Item::CentreIsdn(address) => self.eeprom.configuration.centre_isdn = Some(address),
            Item::CentreIp(address) => self.eeprom.configuration.centre_ip = Some(address),
            Item::Bearer(bearer) => self.eeprom.configuration.bearer = bearer,
            Item::MonitorTableSize(rows) => {
                self.eeprom.monitor.resize(rows);
                self.drop_rows(|index| index >= rows);
            }
            Item::MonitorRow { index, row } => return self.set_row(files, index, row),
            Item::ChecksumTableSize(rows) => self.resize_checksums(rows),
            Item::ChecksumRow(row) => {
                self.eeprom.checksums.set(row.monitor_index, row.record_number, row.checksum);
            }
            Item::ClearChecksums { index } => self.eeprom.checksums.clear(index),
            Item::Resynchronise { index: None } => self.scan_all(),
            Item::Resynchronise { index: Some(index) } => {
                if self.eeprom.monitor.row(index).is_none() {
                    return false;
                }
                self.start_scan(index, true);
            }
            Item::PollIntervals { normal_seconds, fast_seconds } => {
                self.eeprom.configuration.normal_seconds = normal_seconds;
                self.eeprom.configuration.fast_seconds = fast_seconds;
            }
            Item::RetryPreset(0) => return false,
            Item::RetryPreset(preset) => self.eeprom.configuration.retry_preset = preset,
            Item::Asynchronous { mode, blocks_per_message, delay } => {
                self.eeprom.configuration.asynchronous = Some((mode, blocks_per_message, delay));
            }
        }
        if !self.eeprom.configuration.service_on {
            self.eeprom.scans.clear();
        }
        true
    }

    /// Off: nothing is backed up, and what waited is void, for switching on starts anew (D-40).
    fn switch_service(&mut self, on: bool) {
        let was_on = std::mem::replace(&mut self.eeprom.configuration.service_on, on);
        if on && !was_on {
            self.scan_all();
        } else if !on {
            self.forget(|_| true);
        }
    }

    /// S2-CG-07. A row must name a linear file that exists, or watch nothing.
    fn set_row(&mut self, files: &FileSystem, index: u8, row: MonitorRow) -> bool {
        if row.is_enabled() && files.record_octets(Path { df: row.df, ef: row.ef }).is_none() {
            return false;
        }
        if self.eeprom.monitor.row(index) != Some(&row) {
            self.drop_rows(|each| each == index);
            self.eeprom.monitor.set(index, row);
            if self.eeprom.configuration.service_on {
                self.start_scan(index, true);
            }
        }
        true
    }

    fn drop_rows(&mut self, gone: impl Fn(u8) -> bool) {
        for index in (0..=u8::MAX).filter(|index| gone(*index)) {
            self.eeprom.checksums.clear(Some(index));
            self.eeprom.scans.remove(&index);
        }
        self.forget(|key| gone(key.monitor_index));
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

fn reason_of(error: FileError) -> Reason {
    match error {
        FileError::NotFound => Reason::UnknownFile,
        FileError::OutOfRange => Reason::RecordOutOfRange,
        FileError::WrongKind | FileError::WrongLength { .. } => Reason::BadDataLengthOrOffset,
    }
}
