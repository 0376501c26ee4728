//! A backup: the flags are copied, the messages built, and reset by the confirmation (S3-MB-05 to S3-MB-09).

use link::{
    checksum::crc16,
    configuration::Bearer,
    reason::{Outcome, Reason},
    third::{Direction, FILE_CHECK, Set, messages},
};
use uicc::files::{EF_ADN, FileSystem};

use super::{ThirdApplet, memory::Outgoing};

/// Octets of a Change Complete before its sets.
pub(super) const COMPLETE_OCTETS: usize = 5;

impl ThirdApplet {
    /// Octets that a message may have.
    pub(super) fn limit(&self) -> usize {
        match self.eeprom.route.bearer {
            Bearer::Sms => self.limits.sms,
            Bearer::Ip => self.limits.ip,
        }
    }

    /// Current := current OR changes, changes := 0 (S3-MB-05), and the messages of all that is current. What an older
    /// backup has not sent yet is in them.
    pub(super) fn start_backup(&mut self, files: &FileSystem) {
        self.eeprom.window = None;
        for flags in &mut self.eeprom.monitor_file.records {
            flags.current |= flags.changes;
            flags.changes = false;
        }
        self.build(files);
        // What the network did not take was of another backup.
        self.eeprom.pause = 0;
    }

    /// Fills the outbox anew with all records that are flagged current (S3-MB-06); with none it becomes empty.
    pub(super) fn build(&mut self, files: &FileSystem) {
        let mut sets = Vec::new();
        let mut records = Vec::new();
        for record_number in self.eeprom.flagged(|flags| flags.current) {
            let Some((set, checksum)) = self.sendable(files, record_number) else {
                self.eeprom.counts.records_given_up += 1;
                self.set_current(record_number, None);
                self.refuse(Reason::BadDataLengthOrOffset);
                continue;
            };
            self.set_current(record_number, Some(checksum));
            sets.push(set);
            records.push((record_number, checksum));
        }
        self.eeprom.outbox.clear();
        self.eeprom.outbox_number = self.eeprom.outbox_number.wrapping_add(1);
        if !sets.is_empty() {
            self.fill_outbox(files, &sets, records);
        }
    }

    fn fill_outbox(&mut self, files: &FileSystem, sets: &[Set], records: Vec<(u8, u16)>) {
        // Each set fits a message by itself, so that there is no error.
        let payloads = messages(Direction::Backup, sets, self.check_data(files), self.limit()).unwrap_or_default();
        let outgoing = payloads.into_iter().map(|payload| Outgoing { payload: payload.into(), completes: None });
        self.eeprom.outbox = outgoing.collect();
        if let Some(last) = self.eeprom.outbox.back_mut() {
            last.completes = Some(records);
        }
    }

    /// The set of a record and the checksum of its octets; `None`: there is no set of it, or no message takes it.
    fn sendable(&self, files: &FileSystem, record_number: u8) -> Option<(Set, u16)> {
        let set = set_of(files, record_number)?;
        let checksum = crc16(files.record(EF_ADN, record_number).ok()?);
        (COMPLETE_OCTETS + set_octets(&set) <= self.limit()).then_some((set, checksum))
    }

    fn set_current(&mut self, record_number: u8, built: Option<u16>) {
        if let Some(flags) = self.eeprom.flags_mut(record_number) {
            flags.current = built.is_some();
            flags.built = built.unwrap_or(0);
        }
    }

    /// Over all records of the file, not only those that are sent (S3-MF-06).
    pub(super) fn check_data(&self, files: &FileSystem) -> u16 {
        let records = 1..=files.records(EF_ADN).unwrap_or(0);
        let sets: Vec<Set> = records.filter_map(|record_number| set_of(files, record_number)).collect();
        FILE_CHECK(&sets)
    }

    /// S3-RY-01: every record of the file, the empty ones as deletions, so that the centre is left with no other.
    pub(super) fn resynchronise(&mut self, files: &FileSystem) {
        self.eeprom.monitor_file.records.iter_mut().for_each(|flags| flags.changes = true);
        self.start_backup(files);
    }

    /// The answer to the oldest backup that has none. A success resets the flags of its records, unless a newer backup
    /// holds another content of them (S3-MB-07); anything else leaves them (S3-MB-08).
    pub(super) fn answered(&mut self, outcome: Outcome) {
        let Some(answered) = self.eeprom.awaited.pop_front() else { return };
        if outcome != Outcome::Success {
            return;
        }
        for (record_number, checksum) in answered.records {
            let Some(flags) = self.eeprom.flags_mut(record_number) else { continue };
            if flags.current && flags.built == checksum {
                flags.current = false;
                self.eeprom.counts.records_backed_up += 1;
            }
        }
    }
}

/// `None`: no such record, or one that has no place in a set.
pub(super) fn set_of(files: &FileSystem, record_number: u8) -> Option<Set> {
    Set::of_record(record_number, files.record(EF_ADN, record_number).ok()?)
}

pub(super) fn set_octets(set: &Set) -> usize {
    let mut octets = Vec::new();
    set.append_to(&mut octets);
    octets.len()
}
