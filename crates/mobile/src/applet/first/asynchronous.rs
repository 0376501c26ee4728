//! Backups in blocks in the applet of the first embodiment (G-12): which entries have changed, and what is noted of them.

use link::checksum::crc16;
use uicc::files::{EF_ADN, FileSystem};

use super::{FirstApplet, Purpose};
use crate::applet::{
    asynchronous::{Choice, carried::AT_ONCE_MAX},
    carrier::Fate,
};

impl FirstApplet {
    /// Changes wait for the next backup in blocks; only what the centre asks for by a resynchronisation leaves by itself.
    pub(super) fn defers_changes(&self) -> bool {
        self.eeprom.asynchronous.as_ref().is_some_and(|it| it.settings.defers_changes())
    }

    /// The user or the interval asks for a backup.
    pub(super) fn request_backup(&mut self, files: &FileSystem, choice: Choice) {
        let (changed, limit) = (self.changed_entries(files), self.limit());
        if let Some(asynchronous) = self.eeprom.asynchronous.as_mut().filter(|_| self.eeprom.service_on) {
            asynchronous.request(choice, files, changed, limit, &mut self.carrier);
        }
    }

    /// Entries that differ from what the centre has, as far as the card knows.
    fn changed_entries(&self, files: &FileSystem) -> Vec<u8> {
        let differs = |record_number: &u8| {
            let known = self.eeprom.backup_record(*record_number);
            let record = files.record(EF_ADN, *record_number);
            known.zip(record.ok()).is_some_and(|(known, record)| known.is_changed || crc16(record) != known.checksum)
        };
        (1..=self.eeprom.entries()).filter(differs).collect()
    }

    /// Sends the next blocks if it is time for them. Whether a message was handed over.
    pub(super) fn run_asynchronous(&mut self, files: &FileSystem) -> bool {
        if let Some(choice) = self.eeprom.asynchronous.as_mut().and_then(|it| it.backup.take_again()) {
            self.request_backup(files, choice);
        }
        let mut has_sent = false;
        // Over IP a message has left at once, and the next may be due.
        for _ in 0..AT_ONCE_MAX {
            let limit = self.limit();
            if !self.carrier.is_free() || !self.eeprom.service_on {
                break;
            }
            let next = self.eeprom.asynchronous.as_mut().and_then(|it| it.next(files, limit, &mut self.carrier));
            let Some(next) = next else { break };
            next.record_numbers.iter().for_each(|record_number| self.noted(files, *record_number));
            let report = self.carrier.send(next.message, Purpose::Blocks, &self.eeprom.route);
            self.reported(report);
            has_sent = true;
        }
        has_sent
    }

    /// The entry is as it is sent: it is not changed any more.
    fn noted(&mut self, files: &FileSystem, record_number: u8) {
        if let Ok(record) = files.record(EF_ADN, record_number) {
            self.settled(record_number, crc16(record));
        }
    }

    pub(super) fn blocks_sent(&mut self, fate: Fate) {
        if let Some(asynchronous) = &mut self.eeprom.asynchronous {
            asynchronous.sent(fate, &mut self.carrier);
        }
    }

    /// TIMER EXPIRATION.
    pub(super) fn timer_ended(&mut self, files: &FileSystem, timer_id: u8) {
        let asynchronous = self.eeprom.asynchronous.as_mut();
        if asynchronous.is_some_and(|it| it.timer_expired(timer_id, &mut self.carrier)) {
            self.request_backup(files, Choice::Automatic);
        }
        self.run_asynchronous(files);
    }
}
