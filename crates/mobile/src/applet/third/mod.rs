//! The backup applet of the third embodiment: flags per record, and messages of as many tagged sets as fit (Figs 33 to 36).
//!
//! An edit sets a flag (`trigger` decides when a backup starts), a backup copies the flags and puts its messages into the
//! outbox (`backup`), which leaves one message per slot (here). What comes from the centre is in `incoming`.
//! [`memory::Eeprom`] is what survives power-off.

mod asynchronous;
mod backup;
mod incoming;
pub mod memory;
mod trigger;

use std::time::Duration;

use bytes::Bytes;
use link::{
    reason::Reason,
    third::{Message, Request},
};
use sms::Deliver;
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_SMS, FileSystem, Path},
    proactive::{ProactiveCommand, REFRESH_FILE_CHANGE, TerminalResponse},
};

use crate::guard::Limits;

use super::{
    asynchronous::{CarriedBackup, Choice, MENU_ITEMS, Settings as AsynchronousSettings},
    carrier::{Carrier, Fate, Report},
    inbox::{self, Received},
    memory::Route,
    second::MENU_RESTORE,
};
use memory::{Awaited, ERRORS_MAX, Eeprom};
pub use trigger::Trigger;

/// Of the profile, set at provisioning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// When a backup starts (D-41).
    pub trigger: Trigger,
    /// Asked for by POLL INTERVAL at power-on, seconds (D-34).
    pub poll_seconds: u8,
    /// The card also offers backups in blocks, in its menu, as set here (G-12, AS-DV-02).
    pub asynchronous: Option<AsynchronousSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { trigger: Trigger::default(), poll_seconds: 5, asynchronous: None }
    }
}

impl Settings {
    fn poll_interval(&self) -> Duration {
        Duration::from_secs(self.poll_seconds.max(1).into())
    }
}

/// The applet on the card.
#[derive(Clone, Debug)]
pub struct ThirdApplet {
    settings: Settings,
    eeprom: Eeprom,
    carrier: Carrier<Purpose>,
    /// What the phone has granted (D-34).
    interval: Duration,
    limits: Limits,
}

/// What a message that is being sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The first of the outbox that has this number.
    Backup {
        outbox: u8,
    },
    /// The first of the reasons.
    Error,
    RestoreRequest,
    /// Blocks of an asynchronous backup.
    Blocks,
}

/// Polls until what the network did not take is tried again.
const RETRY_WAIT: u8 = 12;

impl ThirdApplet {
    /// A card whose centre knows nothing of it: whatever is in EF_ADN is flagged as changed.
    #[must_use]
    pub fn new(settings: Settings, service_on: bool, route: Route, files: &FileSystem) -> Self {
        let mut eeprom = Eeprom::new(service_on, route, files.records(EF_ADN).unwrap_or(0));
        let interval = settings.poll_interval();
        eeprom.asynchronous = settings.asynchronous.map(|settings| CarriedBackup::new(settings, interval));
        let limits = Limits::default();
        let mut applet = Self { settings, eeprom, carrier: Carrier::new(), interval, limits };
        applet.flag_used(files);
        applet.start();
        applet
    }

    /// What its messages may hold, if that is not a whole short message or IP payload.
    pub fn limit_to(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What survives power-off, to look at.
    #[must_use]
    pub fn eeprom(&self) -> &Eeprom {
        &self.eeprom
    }

    /// Anything changed and not sent, unsent or unconfirmed. What stays flagged for want of a confirmation waits for the
    /// next edit (S3-MB-08) and does not count. With the service disabled no backup is awaited.
    #[must_use]
    pub fn pending(&self) -> bool {
        let eeprom = &self.eeprom;
        let is_changed = eeprom.monitor_file.records.iter().any(|flags| flags.changes) && !self.defers_changes();
        let is_session_open = eeprom.asynchronous.as_ref().is_some_and(|it| it.backup.is_open());
        let backup = is_changed || is_session_open || !eeprom.outbox.is_empty() || !eeprom.awaited.is_empty();
        (backup && eeprom.monitor_file.is_enabled)
            || !eeprom.errors.is_empty()
            || eeprom.restore_requested
            || !self.carrier.is_idle()
    }

    fn start(&mut self) {
        let backups: &[(u8, &str, Choice)] = if self.eeprom.asynchronous.is_some() { &MENU_ITEMS } else { &[] };
        let items = [(MENU_RESTORE, "Restore")].into_iter().chain(backups.iter().map(|(item, text, _)| (*item, *text)));
        let items = items.map(|(item, text)| (item, text.to_owned())).collect();
        self.carrier.command(ProactiveCommand::SetUpMenu { title: "Backup".to_owned(), items });
        self.carrier.command(ProactiveCommand::PollInterval(self.settings.poll_interval()));
        if let Some(asynchronous) = &mut self.eeprom.asynchronous {
            asynchronous.power_on(&mut self.carrier);
        }
    }

    /// Hands one message to the phone, if it is free: errors, the request, then the outbox in its order.
    fn send_next(&mut self) {
        if !self.carrier.is_free() || self.eeprom.pause > 0 {
            return;
        }
        let (payload, purpose) = if let Some(reason) = self.eeprom.errors.front() {
            (Message::Error { reason: reason.code() }.encode(), Purpose::Error)
        } else if self.eeprom.restore_requested {
            (Message::Control { request: Request::Restore }.encode(), Purpose::RestoreRequest)
        } else if let Some(outgoing) = self.eeprom.outbox.front().filter(|_| self.eeprom.monitor_file.is_enabled) {
            (outgoing.payload.to_vec(), Purpose::Backup { outbox: self.eeprom.outbox_number })
        } else {
            return;
        };
        let report = self.carrier.send(payload, purpose, &self.eeprom.route);
        self.reported(report);
    }

    /// As [`Self::send_next`]; with nothing else to send, blocks.
    fn send_next_or_blocks(&mut self, files: &FileSystem) {
        self.send_next();
        self.run_asynchronous(files);
    }

    fn reported(&mut self, report: Option<Report<Purpose>>) {
        let Some(Report { purpose, fate }) = report else { return };
        match (fate, purpose) {
            (fate, Purpose::Blocks) => self.blocks_sent(fate),
            (Fate::Busy, _) => {}
            (Fate::Failed, _) => self.eeprom.pause = RETRY_WAIT,
            (Fate::Sent, Purpose::Error) => drop(self.eeprom.errors.pop_front()),
            (Fate::Sent, Purpose::RestoreRequest) => self.eeprom.restore_requested = false,
            (Fate::Sent, Purpose::Backup { outbox }) if outbox == self.eeprom.outbox_number => {
                let sent = self.eeprom.outbox.pop_front().and_then(|outgoing| outgoing.completes);
                if let Some(records) = sent {
                    self.eeprom.awaited.push_back(Awaited { records, age: 0 });
                }
            }
            // Of an outbox that a newer one has replaced, with all its records.
            (Fate::Sent, Purpose::Backup { .. }) => {}
        }
    }

    /// Queues an error message; the buffer keeps the first four (D-42).
    fn refuse(&mut self, reason: Reason) {
        if self.eeprom.errors.len() < ERRORS_MAX {
            self.eeprom.errors.push_back(reason);
        }
    }

    /// A message in EF_SMS: done with at once, its slot freed, the phone told.
    fn message_stored(&mut self, files: &mut FileSystem, record_number: u8) {
        let Some(deliver) = inbox::stored(files, record_number) else { return };
        if let Some(mut written) = self.message(files, &deliver) {
            if inbox::free(files, record_number) {
                written.push(EF_SMS);
            }
            self.refresh_phone(written);
        }
    }

    /// The files that it has changed; `None`: the message is not for this applet.
    fn message(&mut self, files: &mut FileSystem, deliver: &Deliver) -> Option<Vec<Path>> {
        match inbox::read(deliver, self.eeprom.route.destination().as_ref()) {
            Received::NotOurs => {
                self.eeprom.counts.messages_ignored += 1;
                None
            }
            Received::WithHeader(_) => {
                self.refuse(Reason::Unsupported);
                Some(Vec::new())
            }
            Received::Payload(payload) => Some(self.receive(files, &payload)),
        }
    }

    fn refresh_phone(&mut self, files: Vec<Path>) {
        if !files.is_empty() {
            self.carrier.command(ProactiveCommand::Refresh { qualifier: REFRESH_FILE_CHANGE, files });
        }
    }
}

impl Applet for ThirdApplet {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        match path {
            EF_SMS => {
                self.message_stored(files, record_number);
                self.send_next_or_blocks(files);
            }
            EF_ADN => {
                self.record_edited(files, record_number);
                self.send_next();
            }
            _ => {}
        }
    }

    fn status(&mut self, files: &mut FileSystem) {
        self.eeprom.pause = self.eeprom.pause.saturating_sub(1);
        self.eeprom.age_awaited();
        if let Some(asynchronous) = &mut self.eeprom.asynchronous {
            asynchronous.status(self.interval);
        }
        self.watch_window(files);
        self.send_next_or_blocks(files);
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if let Some(written) = self.message(files, &deliver) {
            self.refresh_phone(written);
        }
        self.send_next_or_blocks(files);
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.timer_ended(files, timer_id);
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        self.eeprom.restore_requested |= item_id == MENU_RESTORE;
        if let Some(choice) = Choice::of_menu(item_id) {
            self.request_backup(files, choice);
        }
        // Blocks wait for the next STATUS, to which the answer says when the one after is to come (AS-V3-02).
        self.send_next();
    }

    fn next_command(&mut self, _files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.carrier.next_command()
    }

    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        if let Some(granted) = response.duration.filter(|_| response.is_success()) {
            self.interval = granted;
        }
        let asynchronous = self.eeprom.asynchronous.as_mut();
        if asynchronous.is_some_and(|it| it.response(response, &mut self.carrier)) {
            return self.send_next_or_blocks(files);
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
        self.refresh_phone(written);
        self.send_next_or_blocks(files);
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.carrier.next_ip_payload()
    }

    fn reset(&mut self, _files: &mut FileSystem) {
        self.carrier.reset();
        self.start();
    }
}
