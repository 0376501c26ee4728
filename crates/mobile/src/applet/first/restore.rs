//! The restore manager (Fig. 15): entries from the centre into EF_ADN, without an echo.

use link::{
    checksum::crc16,
    first::{Entry, id},
    reason::Reason,
};
use uicc::files::{EF_ADN, FileError, FileSystem};

use super::{FirstApplet, Written};

impl FirstApplet {
    /// S1501 to S1507. The checksum of the message has been looked at when it was decoded (S1-RS-01). An entry that has no
    /// place on this card is told to the centre, the others are written.
    pub(super) fn restore(&mut self, files: &mut FileSystem, entries: &[Entry]) -> Written {
        let mut written = Written::default();
        for entry in entries {
            match files.set_record(EF_ADN, entry.record_number, &entry.data) {
                Ok(()) => {
                    self.restored(entry);
                    written = Written { files: vec![EF_ADN], is_restored: true };
                }
                Err(FileError::WrongLength { .. }) => self.refuse(id::RESTORE, Reason::BadDataLengthOrOffset),
                Err(_) => self.refuse(id::RESTORE, Reason::RecordOutOfRange),
            }
        }
        written
    }

    /// The checksum is that of the entry as restored and its flag is clear, so that the scan finds nothing new; whatever
    /// waited for this entry is void.
    fn restored(&mut self, entry: &Entry) {
        self.eeprom.counts.records_restored += 1;
        self.settled(entry.record_number, crc16(&entry.data));
    }

    /// The centre has the entry with this checksum, or is being sent it in a block.
    pub(super) fn settled(&mut self, record_number: u8, checksum: u16) {
        if let Some(known) = self.eeprom.backup_record_mut(record_number) {
            known.checksum = checksum;
            known.is_changed = false;
        }
        self.eeprom.buffer.retain(|buffered| buffered.record_number != record_number);
        if self.eeprom.buffer.is_empty() {
            self.eeprom.sessions = 0;
        }
        if let Some(flight) = self.eeprom.flight(record_number) {
            flight.settle();
        }
    }
}
