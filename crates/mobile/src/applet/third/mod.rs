//! The backup applet of the third embodiment: flags per record, and messages of as many tagged sets as fit (Figs 33 to 36).
//!
//! An edit sets a flag (`trigger` decides when a backup starts), a backup copies the flags and puts its messages into the
//! outbox (`backup`), which leaves one message per slot (here). What comes from the centre is in `incoming`.
//! [`memory::Eeprom`] is what survives power-off.

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
}

impl Default for Settings {
    fn default() -> Self {
        Self { trigger: Trigger::default(), poll_seconds: 5 }
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
}

/// Polls until what the network did not take is tried again.
const RETRY_WAIT: u8 = 12;

impl ThirdApplet {
    /// A card whose centre knows nothing of it: whatever is in EF_ADN is flagged as changed.
    #[must_use]
    pub fn new(settings: Settings, service_on: bool, route: Route, files: &FileSystem) -> Self {
        let eeprom = Eeprom::new(service_on, route, files.records(EF_ADN).unwrap_or(0));
        let interval = Duration::from_secs(settings.poll_seconds.max(1).into());
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
        let is_changed = eeprom.monitor_file.records.iter().any(|flags| flags.changes);
        let backup = is_changed || !eeprom.outbox.is_empty() || !eeprom.awaited.is_empty();
        (backup && eeprom.monitor_file.is_enabled)
            || !eeprom.errors.is_empty()
            || eeprom.restore_requested
            || !self.carrier.is_idle()
    }

    fn start(&mut self) {
        let items = vec![(MENU_RESTORE, "Restore".to_owned())];
        self.carrier.command(ProactiveCommand::SetUpMenu { title: "Backup".to_owned(), items });
        let seconds = self.settings.poll_seconds.max(1).into();
        self.carrier.command(ProactiveCommand::PollInterval(Duration::from_secs(seconds)));
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

    fn reported(&mut self, report: Option<Report<Purpose>>) {
        let Some(Report { purpose, fate }) = report else { return };
        match (fate, purpose) {
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
            EF_SMS => self.message_stored(files, record_number),
            EF_ADN => self.record_edited(files, record_number),
            _ => return,
        }
        self.send_next();
    }

    fn status(&mut self, files: &mut FileSystem) {
        self.eeprom.pause = self.eeprom.pause.saturating_sub(1);
        self.eeprom.age_awaited();
        self.watch_window(files);
        self.send_next();
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if let Some(written) = self.message(files, &deliver) {
            self.refresh_phone(written);
        }
        self.send_next();
    }

    fn timer_expired(&mut self, _files: &mut FileSystem, _timer_id: u8) {}

    fn menu_selected(&mut self, _files: &mut FileSystem, item_id: u8) {
        self.eeprom.restore_requested |= item_id == MENU_RESTORE;
        self.send_next();
    }

    fn next_command(&mut self, _files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.carrier.next_command()
    }

    fn terminal_response(&mut self, _files: &mut FileSystem, response: &TerminalResponse) {
        if let Some(granted) = response.duration.filter(|_| response.is_success()) {
            self.interval = granted;
        }
        let report = self.carrier.terminal_response(response);
        self.reported(report);
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        let written = self.receive(files, payload);
        self.refresh_phone(written);
        self.send_next();
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.carrier.next_ip_payload()
    }

    fn reset(&mut self, _files: &mut FileSystem) {
        self.carrier.reset();
        self.start();
    }
}
