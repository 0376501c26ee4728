//! What the applet of the first embodiment keeps in EEPROM: it survives power-off.

use std::collections::VecDeque;

use link::{
    checksum::crc16,
    first::{ENTRY_OCTETS, Entry},
    reason::Reason,
};

use crate::applet::{
    asynchronous::CarriedBackup,
    memory::{Counts, Route},
};

/// Error messages that wait (D-42).
pub const ERRORS_MAX: usize = 4;
/// Polls for which an unchanged entry that was sent is not sent again (D-32).
pub const IN_FLIGHT_WAIT: u16 = 20;
/// Polls for which answers to versions that do not count any more are still expected.
const LATE_WAIT: u16 = 60;

/// A record of the backup file (Fig. 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// Of the 28 octets as the centre has acknowledged or restored them (D-09, D-19).
    pub checksum: u16,
    /// The change flag: found changed, and not acknowledged since.
    pub is_changed: bool,
}

/// An entry that was sent and is not yet acknowledged (D-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub record_number: u8,
    /// Of the newest version sent; `None`: acknowledged, or overwritten by a restore, so that only late answers to
    /// versions that no longer count are still to come.
    pub checksum: Option<u16>,
    /// Polls since it was sent last.
    pub age: u16,
    /// How often this version was sent without having been answered.
    pub unanswered: u8,
    /// Answers to older versions that may still come: they say nothing of the newest (S1-AK-06).
    pub older: u8,
    /// Permanent refusals of this version (D-37).
    pub refusals: u8,
}

impl InFlight {
    /// D-37: so many permanent refusals, and the version is not sent again.
    pub const REFUSALS_MAX: u8 = 3;

    /// Whether content with this checksum must not be sent now.
    #[must_use]
    pub fn holds(&self, checksum: u16) -> bool {
        self.checksum == Some(checksum) && (self.age < IN_FLIGHT_WAIT || self.is_given_up())
    }

    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.refusals >= Self::REFUSALS_MAX
    }

    /// Nothing is awaited any more; late answers are still counted.
    pub fn settle(&mut self) {
        self.checksum = None;
        self.older = self.older.saturating_add(std::mem::take(&mut self.unanswered));
        self.age = 0;
    }
}

/// An error message to the centre: the ID of the message that was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub refused: u8,
    pub reason: Reason,
}

/// Everything that survives power-off.
#[derive(Clone, Debug)]
pub struct Eeprom {
    pub service_on: bool,
    pub route: Route,
    /// Fig. 6, entry 1 first.
    pub backup_file: Vec<BackupRecord>,
    /// SMSTPDU: the message under construction, at most four entries; their number is j.
    pub buffer: Vec<Entry>,
    /// n: idle sessions since the first entry came into the buffer.
    pub sessions: u8,
    /// i: the entry that the next idle session examines.
    pub next: u8,
    /// p: a message was sent and no acknowledgement has come since; it only tells (D-33).
    pub ack_pending: bool,
    pub in_flight: Vec<InFlight>,
    pub errors: VecDeque<Refusal>,
    /// The backup in blocks, where the card offers one.
    pub asynchronous: Option<CarriedBackup>,
    /// Entries that the scan has still to look at since the phone wrote into EF_ADN; nothing depends on it but what the
    /// station says of itself.
    pub unscanned: u8,
    pub counts: Counts,
}

impl Eeprom {
    /// A blank backup file of `entries` records: the checksum of every one is that of an empty entry.
    #[must_use]
    pub fn new(service_on: bool, route: Route, entries: u8) -> Self {
        Self {
            service_on,
            route,
            backup_file: vec![BackupRecord { checksum: empty_checksum(), is_changed: false }; entries.into()],
            buffer: Vec::new(),
            sessions: 0,
            next: 1,
            ack_pending: false,
            in_flight: Vec::new(),
            errors: VecDeque::new(),
            asynchronous: None,
            unscanned: 0,
            counts: Counts::default(),
        }
    }

    /// Entries of the file.
    #[must_use]
    pub fn entries(&self) -> u8 {
        u8::try_from(self.backup_file.len()).unwrap_or(u8::MAX)
    }

    /// The backup file's record of an entry, 1 the first.
    #[must_use]
    pub fn backup_record(&self, record_number: u8) -> Option<&BackupRecord> {
        self.backup_file.get(usize::from(record_number).checked_sub(1)?)
    }

    pub(super) fn backup_record_mut(&mut self, record_number: u8) -> Option<&mut BackupRecord> {
        self.backup_file.get_mut(usize::from(record_number).checked_sub(1)?)
    }

    pub(super) fn flight(&mut self, record_number: u8) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|flight| flight.record_number == record_number)
    }

    /// A change that the centre has not acknowledged, and that is not given up.
    pub(super) fn is_any_awaited(&self) -> bool {
        let given_up = |record_number: u8| {
            self.in_flight.iter().any(|flight| flight.record_number == record_number && flight.is_given_up())
        };
        let mut records = (1..=u8::MAX).zip(&self.backup_file);
        records.any(|(record_number, record)| record.is_changed && !given_up(record_number))
    }

    /// One poll passes.
    pub(super) fn age_in_flight(&mut self) {
        self.in_flight.retain_mut(|flight| {
            flight.age = flight.age.saturating_add(1);
            flight.checksum.is_some() || (flight.older > 0 && flight.age < LATE_WAIT)
        });
    }
}

/// The checksum of an empty entry (D-22).
#[must_use]
pub fn empty_checksum() -> u16 {
    crc16(&[0xFF; ENTRY_OCTETS])
}
