//! The backup manager (Fig. 13): the buffered message is sent; resynchronisation flags what is to be sent again.

use link::{
    checksum::crc16,
    first::{Entry, Message},
};
use uicc::files::{EF_ADN, FileSystem};

use super::{
    FirstApplet, Purpose,
    memory::{IN_FLIGHT_WAIT, InFlight, empty_checksum},
};

impl FirstApplet {
    /// S1301 to S1303. False: the phone is still busy with the message before.
    pub(super) fn send_backup(&mut self) -> bool {
        if !self.carrier.is_free() {
            return false;
        }
        let entries = std::mem::take(&mut self.eeprom.buffer);
        self.eeprom.sessions = 0;
        self.eeprom.ack_pending = true;
        entries.iter().for_each(|entry| self.note_sent(entry));
        let record_numbers = entries.iter().map(|entry| entry.record_number).collect();
        let message = Message::Backup { entries, is_checked: self.settings.with_checksum };
        let report = self.carrier.send(message.encode(), Purpose::Backup(record_numbers), &self.eeprom.route);
        self.reported(report);
        true
    }

    /// The entry is in flight with the checksum as sent (D-32); its flag stays until the acknowledgement (S1-BK-03).
    fn note_sent(&mut self, entry: &Entry) {
        let &Entry { record_number, data } = entry;
        let checksum = Some(crc16(&data));
        if let Some(known) = self.eeprom.backup_record_mut(record_number) {
            known.is_changed = true;
        }
        let at = self.eeprom.in_flight.iter().position(|flight| flight.record_number == record_number);
        let before = at.map(|at| self.eeprom.in_flight.remove(at));
        let flight = match before {
            Some(flight) if flight.checksum == checksum => {
                InFlight { age: 0, unanswered: flight.unanswered.saturating_add(1), ..flight }
            }
            _ => {
                let older = before.map_or(0, |flight| flight.older.saturating_add(flight.unanswered));
                InFlight { record_number, checksum, age: 0, unanswered: 1, older, refusals: 0 }
            }
        };
        self.eeprom.in_flight.push(flight);
    }

    /// The network did not take it: the flags are set, so the scan finds the entries when it reaches them (S1-AK-05).
    pub(super) fn backup_failed(&mut self, record_numbers: &[u8]) {
        self.eeprom.ack_pending = false;
        for &record_number in record_numbers {
            if let Some(flight) = self.eeprom.flight(record_number) {
                flight.unanswered = flight.unanswered.saturating_sub(1);
                flight.age = IN_FLIGHT_WAIT;
            }
        }
    }

    /// S1-RY-01: every entry that is not empty, and every deletion of which the centre has not been heard, whatever was
    /// acknowledged or refused before.
    pub(super) fn resynchronise(&mut self, files: &FileSystem) {
        for (record_number, known) in (1..=u8::MAX).zip(&mut self.eeprom.backup_file) {
            let is_used = files.record(EF_ADN, record_number).is_ok_and(|record| !link::record::is_empty(record));
            known.is_changed |= is_used || known.checksum != empty_checksum();
        }
        for flight in &mut self.eeprom.in_flight {
            flight.refusals = 0;
            flight.age = flight.age.max(IN_FLIGHT_WAIT);
        }
        self.eeprom.next = 1;
    }
}
