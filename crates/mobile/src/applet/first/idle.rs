//! The idle processor (Fig. 12): one entry per session, compared with the backup file.

use link::{
    checksum::crc16,
    first::{ENTRIES, ENTRY_OCTETS, Entry},
};
use uicc::files::{EF_ADN, FileSystem};

use super::{FirstApplet, Slot};

/// n at which a message leaves that is not full (D-30): 100 s at polls of 5 s.
const SESSIONS_MAX: u8 = 20;

impl FirstApplet {
    /// S1201 and S1202: four entries wait, or fewer for 20 sessions.
    pub(super) fn is_backup_due(&self) -> bool {
        self.eeprom.buffer.len() >= ENTRIES || self.eeprom.sessions >= SESSIONS_MAX
    }

    /// S1203 to S1213 for entry i, then on to the next; after the last comes the first (D-31).
    pub(super) fn idle(&mut self, files: &FileSystem) -> Slot {
        if !self.eeprom.buffer.is_empty() {
            self.eeprom.sessions = self.eeprom.sessions.saturating_add(1);
        }
        let examined = self.eeprom.next;
        self.examine(files, examined);
        self.eeprom.next = if examined >= self.eeprom.entries() { 1 } else { examined + 1 };
        self.eeprom.unscanned = self.eeprom.unscanned.saturating_sub(1);
        Slot::Idle { examined }
    }

    /// An entry whose content is not what the centre has acknowledged goes into the buffer. An empty one is compared like
    /// any other: blank in the backup file means that it was empty (S1-ID-07).
    fn examine(&mut self, files: &FileSystem, record_number: u8) {
        let Ok(record) = files.record(EF_ADN, record_number) else { return };
        let Ok(data) = <[u8; ENTRY_OCTETS]>::try_from(record) else { return };
        let checksum = crc16(&data);
        let is_held = self.eeprom.flight(record_number).is_some_and(|flight| flight.holds(checksum));
        let buffered = self.eeprom.buffer.iter_mut().find(|entry| entry.record_number == record_number);
        let is_buffered = buffered.is_some();
        if let Some(entry) = buffered {
            entry.data = data;
        }
        let defers_changes = self.defers_changes();
        let Some(known) = self.eeprom.backup_record_mut(record_number) else { return };
        let is_unchanged = (checksum == known.checksum || defers_changes) && !known.is_changed;
        if is_buffered || is_unchanged || is_held {
            return;
        }
        known.is_changed = true;
        self.eeprom.buffer.push(Entry { record_number, data });
    }
}
