//! Backups in blocks in the applet of the third embodiment (G-12): its flags say what has changed, and a block clears them.

use uicc::files::FileSystem;

use super::{
    Purpose, ThirdApplet,
    memory::{Eeprom, Flags},
};
use crate::applet::{
    asynchronous::{Choice, carried::AT_ONCE_MAX},
    carrier::Fate,
};

impl ThirdApplet {
    /// Changes wait for the next backup in blocks, or for the centre to ask for them.
    pub(super) fn defers_changes(&self) -> bool {
        self.eeprom.asynchronous.as_ref().is_some_and(|it| it.settings.defers_changes())
    }

    /// The user or the interval asks for a backup.
    pub(super) fn request_backup(&mut self, files: &FileSystem, choice: Choice) {
        let (changed, limit) = (self.eeprom.flagged(|flags| flags.changes || flags.current), self.limit());
        let Eeprom { asynchronous, monitor_file, .. } = &mut self.eeprom;
        if let Some(asynchronous) = asynchronous.as_mut().filter(|_| monitor_file.is_enabled) {
            asynchronous.request(choice, files, changed, limit, &mut self.carrier);
        }
    }

    /// Sends the next blocks if it is time for them.
    pub(super) fn run_asynchronous(&mut self, files: &FileSystem) {
        if let Some(choice) = self.eeprom.asynchronous.as_mut().and_then(|it| it.backup.take_again()) {
            self.request_backup(files, choice);
        }
        // Over IP a message has left at once, and the next may be due.
        for _ in 0..AT_ONCE_MAX {
            let limit = self.limit();
            if !self.carrier.is_free() || !self.eeprom.monitor_file.is_enabled {
                return;
            }
            let next = self.eeprom.asynchronous.as_mut().and_then(|it| it.next(files, limit, &mut self.carrier));
            let Some(next) = next else { return };
            for record_number in next.record_numbers {
                if let Some(flags) = self.eeprom.flags_mut(record_number) {
                    *flags = Flags::default();
                }
            }
            let report = self.carrier.send(next.message, Purpose::Blocks, &self.eeprom.route);
            self.reported(report);
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
        self.send_next_or_blocks(files);
    }
}
