//! Messages from the centre: confirmations, Control requests, restores (D-05).

use link::{
    first_octet::{FirstOctet, classify},
    reason::{Outcome, Reason},
    third::{Message, Request, Set, id},
};
use uicc::files::{EF_ADN, FileSystem, Path};

use super::ThirdApplet;

impl ThirdApplet {
    /// The files that the message has changed. An unknown version, type or request is answered with an error and changes
    /// nothing (S3-MF-09).
    pub(super) fn receive(&mut self, files: &mut FileSystem, payload: &[u8]) -> Vec<Path> {
        if payload.first() == Some(&id::ERROR) {
            // Recorded, well-formed or not, and never answered (D-115). The flags stay (S3-MB-08).
            self.eeprom.counts.errors_received += 1;
            self.answered(Outcome::PermanentFailure);
            return Vec::new();
        }
        let is_asynchronous = matches!(payload.first().copied().map(classify), Some(FirstOctet::Asynchronous(_)));
        if let Some(asynchronous) = self.eeprom.asynchronous.as_mut().filter(|_| is_asynchronous) {
            if let Err(reason) = asynchronous.receive(payload, &mut self.carrier) {
                self.refuse(reason);
            }
            return Vec::new();
        }
        match Message::decode(payload) {
            Ok(Message::Confirmation { result }) => self.answered(Outcome::from_octet(result)),
            Ok(Message::Control { request: Request::Resynchronise | Request::Poll })
                if !self.eeprom.monitor_file.is_enabled =>
            {
                self.refuse(Reason::ServiceOff);
            }
            Ok(Message::Control { request: Request::Resynchronise }) => self.resynchronise(files),
            Ok(Message::Control { request: Request::Poll }) => self.start_backup(files),
            Ok(Message::Restore { sets }) => return self.restore(files, &sets, None),
            Ok(Message::RestoreComplete { check_data, sets }) => return self.restore(files, &sets, Some(check_data)),
            Ok(_) => self.refuse(Reason::Unsupported),
            Err(malformed) => self.refuse(malformed.reason()),
        }
        Vec::new()
    }

    /// Writes the sets into EF_ADN; nothing is flagged by that (S3-RS-01), and what waited for these records is void. A
    /// set that has no place on this card is told to the centre, the others are written.
    fn restore(&mut self, files: &mut FileSystem, sets: &[Set], told: Option<u16>) -> Vec<Path> {
        let octets = files.record_octets(EF_ADN).map_or(0, usize::from);
        let mut written = Vec::new();
        for set in sets {
            let Some(flags) = self.eeprom.flags_mut(set.record_number) else {
                self.refuse(Reason::RecordOutOfRange);
                continue;
            };
            let record = set.to_record(octets);
            if record.is_some_and(|record| files.set_record(EF_ADN, set.record_number, &record).is_ok()) {
                *flags = super::memory::Flags::default();
                self.eeprom.counts.records_restored += 1;
                written = vec![EF_ADN];
            } else {
                self.refuse(Reason::BadDataLengthOrOffset);
            }
        }
        if !self.eeprom.outbox.is_empty() && !written.is_empty() {
            self.build(files);
        }
        self.compare(files, told);
        written
    }

    /// Whether the file is now what the centre says: not when the user has changed records that it does not know of.
    fn compare(&mut self, files: &FileSystem, told: Option<u16>) {
        let is_ahead = self.eeprom.monitor_file.records.iter().any(|flags| flags.changes || flags.current);
        if told.is_some_and(|told| !is_ahead && told != self.check_data(files)) {
            self.refuse(Reason::ChecksumMismatch);
        }
    }
}
