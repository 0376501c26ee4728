//! What the applet of the third embodiment keeps in EEPROM: it survives power-off.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use link::reason::Reason;

use crate::applet::{
    asynchronous::CarriedBackup,
    memory::{Counts, Route},
};

/// Error messages that wait (D-42).
pub const ERRORS_MAX: usize = 4;
/// Backups whose confirmation is awaited; beyond that the oldest is no longer.
const AWAITED_MAX: usize = 8;
/// Polls for which a confirmation is awaited.
const AWAITED_POLLS: u16 = 60;

/// The backup monitor file (Fig. 33).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorFile {
    /// "Backup service enabled".
    pub is_enabled: bool,
    /// Record 1 first.
    pub records: Vec<Flags>,
}

/// Of one EF_ADN record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// "Changes to be backed up": the user has changed it since the last backup started.
    pub changes: bool,
    /// "Current backup": in the last backup, in the buffer or being transmitted, and not confirmed.
    pub current: bool,
    /// Checksum of the content that the current backup holds, so that a confirmation of an older one does not count (D-32).
    pub built: u16,
}

/// A message of the current backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub payload: Bytes,
    /// The last, Change Complete: all records of the backup with their checksums.
    pub completes: Option<Vec<(u8, u16)>>,
}

/// A backup that was sent whole and is not yet confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Record numbers and checksums as sent.
    pub records: Vec<(u8, u16)>,
    /// Polls since.
    pub age: u16,
}

/// The time since the user began entering changes (trigger A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// No poll has come yet: the first one tells when now is.
    pub is_new: bool,
    pub elapsed: Duration,
}

/// Everything that survives power-off.
#[derive(Clone, Debug)]
pub struct Eeprom {
    pub route: Route,
    pub monitor_file: MonitorFile,
    pub window: Option<Window>,
    /// The messages of the current backup that have not left.
    pub outbox: VecDeque<Outgoing>,
    /// Counts outboxes, so that a report on a message of an older one is known.
    pub outbox_number: u8,
    /// Oldest first.
    pub awaited: VecDeque<Awaited>,
    /// Reasons of the error messages that wait.
    pub errors: VecDeque<Reason>,
    /// The backup in blocks, where the card offers one.
    pub asynchronous: Option<CarriedBackup>,
    /// The user has asked for a restore and the Control message has not left.
    pub restore_requested: bool,
    /// Polls until something is sent again after the network did not take it.
    pub pause: u8,
    pub counts: Counts,
}

impl Eeprom {
    /// No record of `records` is flagged.
    #[must_use]
    pub fn new(is_enabled: bool, route: Route, records: u8) -> Self {
        Self {
            route,
            monitor_file: MonitorFile { is_enabled, records: vec![Flags::default(); records.into()] },
            window: None,
            outbox: VecDeque::new(),
            outbox_number: 0,
            awaited: VecDeque::new(),
            errors: VecDeque::new(),
            asynchronous: None,
            restore_requested: false,
            pause: 0,
            counts: Counts::default(),
        }
    }

    /// The flags of a record, 1 the first.
    #[must_use]
    pub fn flags(&self, record_number: u8) -> Option<&Flags> {
        self.monitor_file.records.get(usize::from(record_number).checked_sub(1)?)
    }

    pub(super) fn flags_mut(&mut self, record_number: u8) -> Option<&mut Flags> {
        self.monitor_file.records.get_mut(usize::from(record_number).checked_sub(1)?)
    }

    /// Numbers of the records for which `is_wanted`.
    #[must_use]
    pub fn flagged(&self, is_wanted: impl Fn(&Flags) -> bool) -> Vec<u8> {
        let records = (1..=u8::MAX).zip(&self.monitor_file.records);
        records.filter(|(_, flags)| is_wanted(flags)).map(|(record_number, _)| record_number).collect()
    }

    /// One poll passes. A backup that is not confirmed keeps its flags and goes with the next one (S3-MB-08).
    pub(super) fn age_awaited(&mut self) {
        self.awaited.iter_mut().for_each(|awaited| awaited.age = awaited.age.saturating_add(1));
        while self.awaited.front().is_some_and(|awaited| awaited.age >= AWAITED_POLLS)
            || self.awaited.len() > AWAITED_MAX
        {
            let given_up = self.awaited.pop_front().map_or(0, |awaited| awaited.records.len());
            self.counts.records_given_up += given_up as u64;
        }
    }
}
