//! The backup applet of the second embodiment: one of four tasks at each status event (S2-PR-01).
//!
//! [`memory::Eeprom`] is what survives power-off; the other fields of [`BackupApplet`] are gone after a reset. Events and
//! the outbound message are in `backup`, what waits for its acknowledgement in `awaiting`, messages from the centre in
//! `incoming`, restores and configuration in `work`.

mod asynchronous;
mod awaiting;
mod backup;
mod incoming;
pub mod memory;
mod work;

use std::time::Duration;

use bytes::Bytes;
use link::{
    configuration::Bearer,
    file_result::FileResult,
    message::Message,
    monitor::{MonitorRow, MonitorTable},
};
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_EXT1, FileSystem, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

use super::{
    asynchronous::{Act, Choice, MENU_ITEMS},
    carrier::{Carrier, Fate, Report},
};
use crate::guard::Limits;
use memory::{Configuration, ERRORS_MAX, Eeprom, Flight, Results, Route};

/// The menu item that asks the centre for a restore (S2-RR-01).
pub const MENU_RESTORE: u8 = 1;
/// Menu items of the backup in blocks (AS-MD-01): the card chooses the mode, the user is asked, or says it at once.
pub const MENU_BACKUP: u8 = 2;
pub const MENU_BACKUP_ASK: u8 = 3;
pub const MENU_BACKUP_NORMAL: u8 = 4;
pub const MENU_BACKUP_ASYNCHRONOUS: u8 = 5;

/// The applet on the card.
#[derive(Clone, Debug)]
pub struct BackupApplet {
    eeprom: Eeprom,
    carrier: Carrier<Purpose>,
    /// Seconds of the POLL INTERVAL asked for last; `None` when the phone did not carry it out.
    interval_asked: Option<u8>,
    limits: Limits,
}

/// What a message that is being sent carries, so that its success can be noted.
#[derive(Clone, Debug)]
enum Purpose {
    Backup(backup::SentRecords),
    /// So many records of the acknowledgement buffer.
    Acknowledgement(usize),
    /// So many records of the error buffer.
    Error(usize),
    RestoreRequest,
    /// Blocks of an asynchronous backup.
    Blocks,
}

impl BackupApplet {
    /// A new card with empty monitored files; what personalisation puts there is backed up when the service is switched
    /// on by a message (D-40).
    #[must_use]
    pub fn new(configuration: Configuration, monitor: MonitorTable) -> Self {
        Self::with_eeprom(Eeprom { configuration, monitor, ..Eeprom::default() })
    }

    /// A card that has been used, after power-on.
    #[must_use]
    pub fn with_eeprom(eeprom: Eeprom) -> Self {
        let mut applet = Self { eeprom, carrier: Carrier::new(), interval_asked: None, limits: Limits::default() };
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

    /// Anything queued, unsent or unacknowledged, or a restore under way. With the service off no backup is awaited.
    #[must_use]
    pub fn pending(&self) -> bool {
        let eeprom = &self.eeprom;
        let awaited = eeprom.in_flight.iter().any(|each| !matches!(each.state, Flight::Settled { .. }));
        let backup = awaited || !(eeprom.events.is_empty() && eeprom.scans.is_empty() && eeprom.outbound.is_empty());
        (backup && eeprom.configuration.service_on)
            || !(eeprom.inbound.is_empty() && eeprom.errors.is_empty())
            || eeprom.job.is_some()
            || eeprom.acknowledgement_flag()
            || eeprom.restore_requested
            || (eeprom.asynchronous.is_open() && eeprom.configuration.service_on)
            || !self.carrier.is_idle()
    }

    /// After power-on: the menu, and the poll interval that the state asks for.
    fn start(&mut self) {
        let backups = MENU_ITEMS.map(|(item, text, _)| (item, text));
        let items = [(MENU_RESTORE, "Restore")].into_iter().chain(backups);
        let items = items.map(|(item, text)| (item, text.to_owned())).collect();
        self.carrier.command(ProactiveCommand::SetUpMenu { title: "Backup".to_owned(), items });
        self.ask_interval(self.eeprom.job.is_some());
        let settings = self.eeprom.configuration.asynchronous;
        for act in self.eeprom.asynchronous.power_on(&settings) {
            if let Act::Command(command) = act {
                self.carrier.command(command);
            }
        }
    }

    /// POLL INTERVAL (D-34).
    fn ask_interval(&mut self, fast: bool) {
        let configuration = &self.eeprom.configuration;
        let seconds = if fast { configuration.fast_seconds } else { configuration.normal_seconds };
        self.interval_asked = Some(seconds);
        self.carrier.command(ProactiveCommand::PollInterval(Duration::from_secs(seconds.into())));
    }

    fn route(&self) -> Route {
        let configuration = &self.eeprom.configuration;
        Route {
            bearer: configuration.bearer,
            centre_isdn: configuration.centre_isdn.clone(),
            centre_ip: configuration.centre_ip,
        }
    }

    /// Fig. 29: one of four tasks, in this order of priority (S2-PR-01).
    fn status_event(&mut self, files: &mut FileSystem) {
        self.age_in_flight();
        self.eeprom.pause = self.eeprom.pause.saturating_sub(1);
        if self.send_outbound(files) || self.send_error() || self.send_request() {
            return;
        }
        if self.process_event(files) || self.process_work(files) {
            return;
        }
        self.send_acknowledgement();
        self.next_inbound();
        self.run_asynchronous(files);
    }

    fn may_send(&self) -> bool {
        self.carrier.sending().is_none() && self.eeprom.pause == 0
    }

    /// S2-ER-01: error records go out as an outgoing message.
    fn send_error(&mut self) -> bool {
        if self.eeprom.errors.is_empty() || !self.may_send() {
            return false;
        }
        let records: Vec<FileResult> = self.eeprom.errors.iter().copied().collect();
        let count = records.len();
        let route = self.route();
        self.transmit(Message::Error { records }.encode(), Purpose::Error(count), &route);
        true
    }

    fn send_request(&mut self) -> bool {
        if !self.eeprom.restore_requested || !self.may_send() {
            return false;
        }
        let route = self.route();
        self.transmit(Message::RestoreRequest { ranges: Vec::new() }.encode(), Purpose::RestoreRequest, &route);
        true
    }

    /// Task 4, S2912 to S2915: poll interval back first, then the acknowledgement, in as many messages as it needs. When
    /// there is no way back to where its message came from it goes where messages go now; when there is no way at all it is
    /// given up, for it would keep the next restore or configuration waiting for ever.
    fn send_acknowledgement(&mut self) {
        if !self.may_send() || self.eeprom.acknowledgement.is_none() {
            return;
        }
        if self.interval_asked != Some(self.eeprom.configuration.normal_seconds) {
            self.ask_interval(false);
        }
        let Some(acknowledgement) = &self.eeprom.acknowledgement else { return };
        let routes = [acknowledgement.route.clone(), self.route()];
        let Some(route) = routes.into_iter().find(Route::is_usable) else {
            return self.acknowledgement_sent(usize::MAX);
        };
        let limit = match route.bearer {
            Bearer::Sms => self.limits.sms,
            Bearer::Ip => self.limits.ip,
        };
        let (message, count) = match &acknowledgement.results {
            Results::Restore(results) => {
                let records: Vec<_> = results.iter().take(FileResult::per_message(limit)).copied().collect();
                let count = records.len();
                (Message::RestoreAcknowledgement { records }, count)
            }
            Results::Configuration(results) => {
                let records: Vec<_> = results.iter().take((limit - 1) / 2).copied().collect();
                let count = records.len();
                (Message::ConfigurationAcknowledgement { records }, count)
            }
        };
        self.transmit(message.encode(), Purpose::Acknowledgement(count), &route);
    }

    /// Hands a message to the phone: SEND SHORT MESSAGE, or a payload for the IP link (S2-BK-11).
    fn transmit(&mut self, payload: Vec<u8>, purpose: Purpose, route: &Route) {
        if let Some(Report { purpose, fate }) = self.carrier.send(payload, purpose, route) {
            self.sent(purpose, fate == Fate::Sent);
        }
    }

    /// The phone's report on a message: done with it, or again after another retry interval (S2-BK-10).
    fn sent(&mut self, purpose: Purpose, ok: bool) {
        match purpose {
            Purpose::Backup(_) if !ok => self.eeprom.counter = 0,
            Purpose::Blocks if !ok => {
                self.eeprom.pause = self.eeprom.configuration.retry_preset;
                self.blocks_sent(false);
            }
            _ if !ok => self.eeprom.pause = self.eeprom.configuration.retry_preset,
            Purpose::Backup(sent) => self.backup_sent(&sent),
            Purpose::Error(count) => {
                self.eeprom.errors.drain(..count.min(self.eeprom.errors.len()));
            }
            Purpose::RestoreRequest => self.eeprom.restore_requested = false,
            Purpose::Blocks => self.blocks_sent(true),
            Purpose::Acknowledgement(count) => self.acknowledgement_sent(count),
        }
    }

    fn acknowledgement_sent(&mut self, count: usize) {
        let Some(acknowledgement) = &mut self.eeprom.acknowledgement else { return };
        let left = match &mut acknowledgement.results {
            Results::Restore(results) => {
                results.drain(..count.min(results.len()));
                results.len()
            }
            Results::Configuration(results) => {
                results.drain(..count.min(results.len()));
                results.len()
            }
        };
        if left == 0 {
            self.eeprom.acknowledgement = None;
            self.repeat_overtaking();
        }
    }

    /// The error buffer keeps the first four records (D-42).
    fn queue_error(&mut self, error: FileResult) {
        if self.eeprom.errors.len() < ERRORS_MAX {
            self.eeprom.errors.push_back(error);
        }
    }
}

impl Applet for BackupApplet {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        self.record_changed(path, record_number);
        self.status_event(files);
    }

    fn status(&mut self, files: &mut FileSystem) {
        self.asynchronous_status();
        self.status_event(files);
    }

    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        self.receive_sms(tpdu);
        self.status_event(files);
    }

    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.timer_ended(files, timer_id);
    }

    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        self.eeprom.restore_requested |= item_id == MENU_RESTORE;
        if let Some(choice) = Choice::of_menu(item_id) {
            self.request_backup(files, choice);
        }
    }

    fn next_command(&mut self, _files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.carrier.next_command()
    }

    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        if self.asynchronous_response(files, response) {
            return;
        }
        let Some(Report { purpose, fate }) = self.carrier.terminal_response(response) else {
            // Which command it was does not matter: asking for an interval twice does no harm.
            self.interval_asked = self.interval_asked.filter(|_| response.is_success());
            return;
        };
        let is_blocks = matches!(purpose, Purpose::Blocks);
        self.sent(purpose, fate == Fate::Sent);
        // In normal mode one message follows the other.
        if is_blocks {
            self.run_asynchronous(files);
        }
    }

    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        self.receive(payload);
        self.status_event(files);
    }

    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.carrier.next_ip_payload()
    }

    fn reset(&mut self, _files: &mut FileSystem) {
        self.carrier.reset();
        self.interval_asked = None;
        self.start();
    }
}

/// All of EF_ADN, then all of EF_EXT1, so that long numbers come back whole: one row each unless the records are longer
/// than a row may be (D-26).
#[must_use]
pub fn default_monitor_table(files: &FileSystem) -> MonitorTable {
    let rows = |path: Path| {
        let record_octets = files.record_octets(path).unwrap_or(0);
        (0..record_octets).step_by(MonitorRow::DATA_OCTETS_MAX.into()).map(move |data_offset| MonitorRow {
            df: path.df,
            ef: path.ef,
            record_offset: 0,
            record_count: files.records(path).unwrap_or(0),
            data_offset: data_offset.into(),
            data_octets: (record_octets - data_offset).min(MonitorRow::DATA_OCTETS_MAX),
        })
    };
    MonitorTable::new(rows(EF_ADN).chain(rows(EF_EXT1)).collect())
}
