//! When a backup starts: the three triggers of the source (D-41).

use std::time::Duration;

use link::third::Set;
use uicc::files::{EF_ADN, FileSystem};

use super::{
    ThirdApplet,
    backup::{COMPLETE_OCTETS, set_octets, set_of},
    memory::Window,
};

/// The smallest set: a deletion.
const SET_OCTETS_MIN: usize = 5;

/// What starts a backup, beside the centre's Control message "poll".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A: one message is full, or so much time has passed since the user began.
    Window(Duration),
    /// B: so many records are changed. No clock is needed, so that switching off loses nothing.
    Changes(u8),
    /// C: nothing else.
    CentrePolls,
}

impl Default for Trigger {
    fn default() -> Self {
        Self::Window(Duration::from_secs(60))
    }
}

impl ThirdApplet {
    /// Flags what is in the file as if the user had just entered it.
    pub(super) fn flag_used(&mut self, files: &FileSystem) {
        for (record_number, flags) in (1..=u8::MAX).zip(&mut self.eeprom.monitor_file.records) {
            let record = files.record(EF_ADN, record_number);
            flags.changes = record.is_ok_and(|record| !link::record::is_empty(record));
        }
        if self.eeprom.monitor_file.records.iter().any(|flags| flags.changes) {
            self.open_window();
        }
    }

    fn open_window(&mut self) {
        let is_open = self.eeprom.monitor_file.is_enabled && !self.defers_changes();
        if is_open && matches!(self.settings.trigger, Trigger::Window(_)) {
            self.eeprom.window.get_or_insert(Window { is_new: true, elapsed: Duration::ZERO });
        }
    }

    /// The prompt of the card's kernel (S3-MB-01): the flag is set, and the trigger looks.
    pub(super) fn record_edited(&mut self, files: &FileSystem, record_number: u8) {
        let Some(flags) = self.eeprom.flags_mut(record_number) else { return };
        flags.changes = true;
        self.open_window();
        if !self.eeprom.monitor_file.is_enabled || self.defers_changes() {
            return;
        }
        let is_due = match self.settings.trigger {
            Trigger::Window(_) => self.is_message_full(files),
            Trigger::Changes(wanted) => self.eeprom.flagged(|flags| flags.changes).len() >= usize::from(wanted),
            Trigger::CentrePolls => false,
        };
        if is_due {
            self.start_backup(files);
        }
    }

    /// Trigger A's clock: the polls, which come at the granted interval (D-34).
    pub(super) fn watch_window(&mut self, files: &FileSystem) {
        let (Some(window), Trigger::Window(span)) = (&mut self.eeprom.window, self.settings.trigger) else { return };
        if std::mem::take(&mut window.is_new) {
            return;
        }
        window.elapsed += self.interval;
        if window.elapsed >= span {
            self.start_backup(files);
        }
    }

    /// Whether no further set would fit the message that a backup would now make.
    fn is_message_full(&self, files: &FileSystem) -> bool {
        let flagged = self.eeprom.flagged(|flags| flags.changes || flags.current);
        let sets = flagged.into_iter().filter_map(|record_number| set_of(files, record_number));
        let octets: usize = sets.map(|set: Set| set_octets(&set)).sum();
        COMPLETE_OCTETS + octets + SET_OCTETS_MIN > self.limit()
    }
}
