//! The backup applet of the first embodiment: a scan of one entry per poll (Figs 10 to 15).
//!
//! The event manager (here) takes messages before polls and gives each poll to one of: an error message, the backup
//! manager (`backup`), the idle processor (`idle`). Messages go through `incoming` to the service state, to `restore` or
//! to `acknowledgement`. [`memory::Eeprom`] is what survives power-off.

mod acknowledgement;
mod asynchronous;
mod backup;
mod idle;
mod incoming;
pub mod memory;
mod restore;

use std::time::Duration;

use bytes::Bytes;
use link::{configuration::Bearer, first::Message, reason::Reason};
use sms::Deliver;
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_SMS, FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

use super::{
    asynchronous::{CarriedBackup, Choice, MENU_ITEMS, Settings as AsynchronousSettings},
    carrier::{Carrier, Fate, Report},
    inbox::{self, Received},
    memory::Route,
};
use crate::guard::Limits;
use memory::{ERRORS_MAX, Eeprom, Refusal};

/// Of the profile, set at provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The option `e1_crc` (D-24): backups carry a checksum too, 119 octets in place of 117.
    pub with_checksum: bool,
    /// Asked for by POLL INTERVAL at power-on, seconds (D-34).
    pub poll_seconds: u8,
    /// DISPLAY TEXT after a restore (S1-RS-06).
    pub shows_restores: bool,
    /// The card also offers backups in blocks, in a menu, as set here (G-12, AS-DV-02).
    pub asynchronous: Option<AsynchronousSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { with_checksum: false, poll_seconds: 5, shows_restores: false, asynchronous: None }
    }
}

impl Settings {
    fn poll_interval(&self) -> Duration {
        Duration::from_secs(self.poll_seconds.max(1).into())
    }
}

/// What the last slot of 5 s was used for (S1-ST-11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// Nothing: switched off, or a backup is due and the phone is still busy with the message before.
    #[default]
    Nothing,
    /// A message from the centre.
    Message,
    /// An error message has left.
    Error,
    /// A backup message has left.
    Backup,
    /// Blocks of an asynchronous backup have left.
    Blocks,
    /// The idle processor has examined this entry.
    Idle { examined: u8 },
}

/// The applet on the card.
#[derive(Clone, Debug)]
pub struct FirstApplet {
    settings: Settings,
    eeprom: Eeprom,
    carrier: Carrier<Purpose>,
    last_slot: Slot,
    limits: Limits,
}

/// What a message that is being sent carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    /// These entries.
    Backup(Vec<u8>),
    /// The first of the refusals.
    Error,
    /// Blocks of an asynchronous backup.
    Blocks,
}

impl FirstApplet {
    /// A card whose centre knows nothing of it: the backup file is blank (S1-ID-11).
    #[must_use]
    pub fn new(settings: Settings, service_on: bool, route: Route, files: &FileSystem) -> Self {
        let mut eeprom = Eeprom::new(service_on, route, files.records(EF_ADN).unwrap_or(0));
        let interval = settings.poll_interval();
        eeprom.asynchronous = settings.asynchronous.map(|settings| CarriedBackup::new(settings, interval));
        let limits = Limits::default();
        let mut applet = Self { settings, eeprom, carrier: Carrier::new(), last_slot: Slot::Nothing, limits };
        applet.start();
        applet
    }

    /// What blocks may take of a message, if that is not a whole short message or IP payload.
    pub fn limit_to(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What survives power-off, to look at.
    #[must_use]
    pub fn eeprom(&self) -> &Eeprom {
        &self.eeprom
    }

    #[must_use]
    pub fn last_slot(&self) -> Slot {
        self.last_slot
    }

    /// Anything unscanned since the phone wrote last, buffered, unsent or unacknowledged. With the service off no backup is
    /// awaited.
    #[must_use]
    pub fn pending(&self) -> bool {
        let eeprom = &self.eeprom;
        let backup = eeprom.unscanned > 0 || !eeprom.buffer.is_empty() || eeprom.is_any_awaited();
        let is_session_open = eeprom.asynchronous.as_ref().is_some_and(|it| it.backup.is_open());
        ((backup || is_session_open) && eeprom.service_on) || !eeprom.errors.is_empty() || !self.carrier.is_idle()
    }

    /// Poll control (S1-ST-06), and the menu where there is one.
    fn start(&mut self) {
        self.carrier.command(ProactiveCommand::PollInterval(self.settings.poll_interval()));
        if let Some(asynchronous) = &mut self.eeprom.asynchronous {
            let items = MENU_ITEMS.map(|(item, text, _)| (item, text.to_owned())).to_vec();
            self.carrier.command(ProactiveCommand::SetUpMenu { title: "Backup".to_owned(), items });
            asynchronous.power_on(&mut self.carrier);
        }
    }

    /// The scheduler (S1-ST-11): one thing in each slot.
    fn poll(&mut self, files: &FileSystem) {
        if self.eeprom.service_on {
            self.eeprom.age_in_flight();
        }
        self.last_slot = if self.send_error() {
            Slot::Error
        } else if !self.eeprom.service_on {
            Slot::Nothing
        } else if self.run_asynchronous(files) {
            Slot::Blocks
        } else if self.is_backup_due() {
            if self.send_backup() { Slot::Backup } else { Slot::Nothing }
        } else {
            self.idle(files)
        };
    }

    /// A message in EF_SMS: done with at once, its slot freed, the phone told (S1406, S1508).
    fn message_stored(&mut self, files: &mut FileSystem, record_number: u8) {
        let Some(deliver) = inbox::stored(files, record_number) else { return };
        if let Some(mut written) = self.message(files, &deliver) {
            if inbox::free(files, record_number) {
                written.files.push(EF_SMS);
            }
            self.tell_phone(written);
        }
    }

    /// `None`: the message is not for this applet.
    fn message(&mut self, files: &mut FileSystem, deliver: &Deliver) -> Option<Written> {
        let written = match inbox::read(deliver, self.eeprom.route.destination().as_ref()) {
            Received::NotOurs => {
                self.eeprom.counts.messages_ignored += 1;
                return None;
            }
            Received::WithHeader(first) => {
                self.refuse(first, Reason::Unsupported);
                Written::default()
            }
            Received::Payload(payload) => self.receive(files, &payload),
        };
        self.after_message(files);
        Some(written)
    }

    fn after_message(&mut self, files: &FileSystem) {
        self.last_slot = Slot::Message;
        self.send_error();
        self.run_asynchronous(files);
    }

    fn tell_phone(&mut self, written: Written) {
        if !written.files.is_empty() {
            let qualifier = uicc::proactive::REFRESH_FILE_CHANGE;
            self.carrier.command(ProactiveCommand::Refresh { qualifier, files: written.files });
        }
        if written.is_restored && self.settings.shows_restores {
            self.carrier.command(ProactiveCommand::DisplayText { text: "Restore successful".to_owned() });
        }
    }

    /// Octets that blocks may take of a message.
    fn limit(&self) -> usize {
        match self.eeprom.route.bearer {
            Bearer::Sms => self.limits.sms,
            Bearer::Ip => self.limits.ip,
        }
    }

    /// The next error message, if any waits and the phone is free.
    fn send_error(&mut self) -> bool {
        let Some(&Refusal { refused, reason }) = self.eeprom.errors.front() else { return false };
        if !self.carrier.is_free() {
            return false;
        }
        let message = Message::Error { refused, reason: reason.code() };
        let report = self.carrier.send(message.encode(), Purpose::Error, &self.eeprom.route);
        self.reported(report);
        true
    }

    /// Queues an error message (D-04); the buffer keeps the first four (D-42).
    fn refuse(&mut self, refused: u8, reason: Reason) {
        if self.eeprom.errors.len() < ERRORS_MAX {
            self.eeprom.errors.push_back(Refusal { refused, reason });
        }
    }

    fn reported(&mut self, report: Option<Report<Purpose>>) {
        let Some(Report { purpose, fate }) = report else { return };
        match (purpose, fate) {
            (Purpose::Blocks, fate) => self.blocks_sent(fate),
            (Purpose::Error, Fate::Sent) => drop(self.eeprom.errors.pop_front()),
            // Tried again in the next slot.
            (Purpose::Error, _) => {}
            (Purpose::Backup(_), Fate::Sent) => {}
            (Purpose::Backup(record_numbers), _) => self.backup_failed(&record_numbers),
        }
    }
}

/// Files that a message has changed, for the REFRESH.
#[derive(Debug, Default)]
struct Written {
    files: Vec<Path>,
    is_restored: bool,
}

impl Applet for FirstApplet {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        match path {
            EF_SMS => self.message_stored(files, record_number),
            // What waits for a backup is not scanned for.
            EF_ADN if self.defers_changes() => {}
            EF_ADN => self.eeprom.unscanned = self.eeprom.entries(),
            _ => {}
        }
    }

    fn status(&mut self, files: &mut FileSystem) {
        if let Some(asynchronous) = &mut self.eeprom.asynchronous {
            asynchronous.status(self.settings.poll_interval());
        }
        self.poll(files);
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if let Some(written) = self.message(files, &deliver) {
            self.tell_phone(written);
        }
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.timer_ended(files, timer_id);
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        if let Some(choice) = Choice::of_menu(item_id) {
            self.request_backup(files, choice);
        }
    }

    fn next_command(&mut self, _files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.carrier.next_command()
    }

    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        let asynchronous = self.eeprom.asynchronous.as_mut();
        if asynchronous.is_some_and(|it| it.response(response, &mut self.carrier)) {
            self.run_asynchronous(files);
            return;
        }
        let report = self.carrier.terminal_response(response);
        let is_blocks = report.as_ref().is_some_and(|report| report.purpose == Purpose::Blocks);
        self.reported(report);
        // In normal mode one message follows the other.
        if is_blocks {
            self.run_asynchronous(files);
        }
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        let written = self.receive(files, payload);
        self.after_message(files);
        self.tell_phone(written);
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.carrier.next_ip_payload()
    }

    fn reset(&mut self, _files: &mut FileSystem) {
        self.carrier.reset();
        self.last_slot = Slot::Nothing;
        self.start();
    }
}
