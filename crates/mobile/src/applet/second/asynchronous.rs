//! The asynchronous mode in the applet of the second embodiment: which records have changed, and what its acts mean there.

use link::asynchronous::Message;
use uicc::{
    files::{FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse, TimerAction},
};

use super::{
    BackupApplet, Purpose,
    memory::{Cause, Key},
};
use crate::applet::asynchronous::{Act, Choice, Place, Settings, TIMER_BACKUP, backup_timer};

/// Messages that leave over IP in one go.
const AT_ONCE_MAX: usize = 8;

impl BackupApplet {
    /// The user or the interval asks for a backup.
    pub(super) fn request_backup(&mut self, files: &FileSystem, choice: Choice) {
        if !self.eeprom.configuration.service_on {
            return;
        }
        let (settings, changed, limit) =
            (self.eeprom.configuration.asynchronous, self.changed_places(files), self.limit());
        let acts = self.eeprom.asynchronous.request(choice, &settings, changed, limit);
        self.act(files, acts);
    }

    /// Records that differ from what was last backed up, in record order (AS-GN-06).
    fn changed_places(&self, files: &FileSystem) -> Vec<Place> {
        let mut places = Vec::new();
        for (monitor_index, row) in self.eeprom.monitor.rows() {
            let path = Path { df: row.df, ef: row.ef };
            let octets = files.record_octets(path).unwrap_or(0);
            for record_number in (1..=u8::MAX).filter(|number| row.covers(*number)) {
                let key = Key { monitor_index, record_number };
                if self.content(files, key).is_some_and(|data| self.differs(key, &data)) {
                    places.push(Place { df: row.df, ef: row.ef, record_number, octets });
                }
            }
        }
        places
    }

    /// Sends the next blocks if it is time for them.
    pub(super) fn run_asynchronous(&mut self, files: &FileSystem) {
        if let Some(choice) = self.eeprom.asynchronous.take_again() {
            self.request_backup(files, choice);
        }
        // Over IP a message has left at once, and the next may be due.
        for _ in 0..AT_ONCE_MAX {
            if !self.may_send() || !self.eeprom.configuration.service_on {
                return;
            }
            let limit = self.limit();
            let record = |place: Place| {
                let path = Path { df: place.df, ef: place.ef };
                files.record(path, place.record_number).ok().map(<[u8]>::to_vec)
            };
            let acts = self.eeprom.asynchronous.next(limit, record);
            if acts.is_empty() {
                return;
            }
            self.act(files, acts);
        }
    }

    /// The phone's report on the blocks.
    pub(super) fn blocks_sent(&mut self, ok: bool) {
        for act in self.eeprom.asynchronous.sent(ok) {
            if let Act::Command(command) = act {
                self.command(command);
            }
        }
    }

    pub(super) fn act(&mut self, files: &FileSystem, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Send(message) => {
                    let route = self.route();
                    self.transmit(message, Purpose::Blocks, &route);
                }
                Act::Command(command) => self.command(command),
                Act::UsualInterval => self.ask_interval(self.eeprom.job.is_some()),
                Act::Noted(places) => places.into_iter().for_each(|place| self.noted(files, place)),
            }
        }
    }

    fn command(&mut self, command: ProactiveCommand) {
        if matches!(command, ProactiveCommand::PollInterval(_)) {
            // It is none of the two usual ones: whoever needs one of those asks for it.
            self.interval_asked = None;
        }
        self.carrier.command(command);
    }

    /// The record is as it is sent: no row over it is changed any more.
    fn noted(&mut self, files: &FileSystem, place: Place) {
        let rows = self.eeprom.monitor.covering(place.df, place.ef, place.record_number);
        let keys: Vec<Key> =
            rows.map(|(monitor_index, _)| Key { monitor_index, record_number: place.record_number }).collect();
        for key in keys {
            if let Some(data) = self.content(files, key) {
                self.apply_checksum(key, &data);
            }
        }
    }

    /// 0xA2 or 0xA3.
    pub(super) fn receive_asynchronous(&mut self, payload: &[u8]) {
        match Message::decode(payload) {
            Ok(Message::Blocks { .. }) => self.refuse(link::reason::Reason::Unsupported),
            Ok(message) => {
                for act in self.eeprom.asynchronous.receive(&message) {
                    match act {
                        Act::Command(command) => self.command(command),
                        Act::UsualInterval => self.ask_interval(self.eeprom.job.is_some()),
                        Act::Send(_) | Act::Noted(_) => {}
                    }
                }
            }
            Err(malformed) => self.refuse(malformed.reason()),
        }
    }

    /// CID 0x0D. Changes that waited for a backup are looked for when they do not wait any more.
    pub(super) fn configure_asynchronous(&mut self, mode: u8, blocks: u8, delay_seconds: u16) -> bool {
        let before = self.eeprom.configuration.asynchronous;
        let Some(settings) = before.configured(mode, blocks, delay_seconds) else { return false };
        self.eeprom.configuration.asynchronous = settings;
        if before.defers_changes() && !settings.defers_changes() {
            let indexes: Vec<u8> = self.eeprom.monitor.rows().map(|(index, _)| index).collect();
            indexes.into_iter().for_each(|index| self.start_scan(index, Cause::Change));
        }
        self.set_backup_timer(&before, &settings);
        true
    }

    fn set_backup_timer(&mut self, before: &Settings, settings: &Settings) {
        if before.hours == settings.hours {
            return;
        }
        if settings.hours == 0 {
            let action = TimerAction::Deactivate;
            self.carrier.command(ProactiveCommand::TimerManagement { timer_id: TIMER_BACKUP, action });
        }
        for act in backup_timer(settings) {
            if let Act::Command(command) = act {
                self.carrier.command(command);
            }
        }
    }

    /// TIMER EXPIRATION.
    pub(super) fn timer_ended(&mut self, files: &FileSystem, timer_id: u8) {
        if self.eeprom.asynchronous.timer_expired(timer_id) {
            let settings = self.eeprom.configuration.asynchronous;
            self.act(files, backup_timer(&settings));
            self.request_backup(files, Choice::Automatic);
        }
        self.run_asynchronous(files);
    }

    /// The phone's answer to DISPLAY TEXT or TIMER MANAGEMENT; false: it is to something else.
    pub(super) fn asynchronous_response(&mut self, files: &FileSystem, response: &TerminalResponse) -> bool {
        let is_to = |command: &ProactiveCommand| command.kind().0 == response.command_type;
        let timer = ProactiveCommand::TimerManagement { timer_id: 0, action: TimerAction::Deactivate };
        if is_to(&timer) {
            if !response.is_success() {
                let acts = self.eeprom.asynchronous.timer_refused();
                self.act(files, acts);
            }
            return true;
        }
        if !is_to(&ProactiveCommand::DisplayText { text: String::new() }) {
            return false;
        }
        let settings = self.eeprom.configuration.asynchronous;
        if let Some(acts) = self.eeprom.asynchronous.answered(response, &settings) {
            self.act(files, acts);
            self.run_asynchronous(files);
        }
        true
    }

    /// STATUS: time has passed.
    pub(super) fn asynchronous_status(&mut self) {
        let seconds = self.interval_asked.unwrap_or(self.eeprom.configuration.normal_seconds);
        self.eeprom.asynchronous.status(seconds.into());
    }
}
