//! The phone with its card: polls, fetches, sends and delivers. A machine: inputs and the time in, outputs out.
//!
//! Start at [`Station::handle_input`]. The phone talks to its card in APDUs only; IP payloads go to the applet directly
//! (D-114). One short message is outstanding at a time, as on a phone.

use std::{collections::VecDeque, time::Duration};

use link::configuration::{Bearer, IsdnAddress};
use sms::{Deliver, MessageClass};
use uicc::{
    apdu::{StatusWord, command, split},
    card::Card,
    files::{MF, Path},
    proactive::{ProactiveCommand, TerminalResponse, envelope},
};

use crate::{
    applet::{BackupApplet, default_monitor_table, memory::Configuration},
    interface::{Input, Output, StationConfig, Statistics, personalised},
};

/// A mobile station: phone and card.
pub struct Station {
    pub(crate) card: Card<BackupApplet>,
    config: StationConfig,
    is_on: bool,
    interval: Duration,
    next_poll: Duration,
    outputs: VecDeque<Output>,
    /// TP-MR and the command that waits for the network's answer.
    submit: Option<(u8, u8, ProactiveCommand)>,
    reference: u8,
    statistics: Statistics,
}

/// D-34.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Response octets of STATUS on a directory.
const STATUS_OCTETS: u8 = 22;
/// Outputs that nobody fetched; more are dropped like messages without coverage.
const OUTPUTS_MAX: usize = 64;
/// Commands in one go: an applet that never ends must not stop the phone.
const FETCHES_MAX: usize = 32;
/// General results (TS 51.014 12.12).
const PERFORMED: u8 = 0x00;
const NOT_CAPABLE: u8 = 0x30;
const SMS_RP_ERROR: u8 = 0x35;

impl Station {
    /// Switched on at time 0. A centre's number that is none leaves the card without a centre: it sends no short message.
    #[must_use]
    pub fn new(config: StationConfig) -> Self {
        let files = personalised(&config);
        let configuration = Configuration {
            service_on: config.service_on,
            centre_isdn: IsdnAddress::new(0x91, &config.centre_isdn),
            bearer: config.bearer,
            ..Configuration::default()
        };
        let applet = BackupApplet::new(configuration, default_monitor_table(&files));
        let mut station = Self {
            card: Card::new(files, config.chv1, applet),
            config,
            is_on: true,
            interval: POLL_INTERVAL,
            next_poll: POLL_INTERVAL,
            outputs: VecDeque::new(),
            submit: None,
            reference: 0,
            statistics: Statistics::default(),
        };
        station.start(Duration::ZERO);
        station
    }

    /// `now`: since the station was made. While it is off, only [`Input::PowerOn`] does anything.
    pub fn handle_input(&mut self, input: Input, now: Duration) {
        match input {
            Input::PowerOn if !self.is_on => {
                self.card.reset();
                self.is_on = true;
                self.start(now);
            }
            _ if !self.is_on => {}
            Input::PowerOn => {}
            Input::PowerOff => {
                self.is_on = false;
                self.submit = None;
                self.outputs.clear();
            }
            Input::Tick => self.poll(now),
            Input::SmsDeliver(tpdu) => self.deliver(&tpdu),
            Input::SmsSubmitResult { reference, ok } => self.submitted(reference, ok),
            Input::IpPayload(payload) => {
                self.statistics.ip_received += 1;
                self.card.ip_received(&payload);
                self.look_for_command();
            }
            Input::MenuSelection(item) => {
                self.exchange(&command::envelope(&envelope::menu_selection(item)));
            }
        }
        // A granted interval that became shorter counts from now.
        self.next_poll = self.next_poll.min(now + self.interval);
        self.collect_ip();
    }

    /// What the station does next; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due; `None` while switched off.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.is_on.then_some(self.next_poll)
    }

    /// Anything queued, unsent or unacknowledged, or a restore under way.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.card.applet.pending() || self.submit.is_some() || !self.outputs.is_empty()
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The preferred channel as the card's configuration has it now.
    #[must_use]
    pub fn bearer(&self) -> Bearer {
        self.card.applet.eeprom().configuration.bearer
    }

    /// The applet's EEPROM, to look at.
    #[must_use]
    pub fn eeprom(&self) -> &crate::applet::memory::Eeprom {
        self.card.applet.eeprom()
    }

    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = self.card.applet.eeprom().counts;
        Statistics {
            records_backed_up: counts.records_backed_up,
            records_restored: counts.records_restored,
            errors_received: counts.errors_received,
            records_given_up: counts.records_given_up,
            ..self.statistics
        }
    }

    /// READ RECORD by the phone's SIM manager.
    pub fn read_record(&mut self, path: Path, record_number: u8) -> Option<Vec<u8>> {
        let octets = self.card.files().record_octets(path)?;
        let (data, word) = self.on_file(path, &command::read_record(record_number, octets))?;
        word.is_success().then_some(data)
    }

    /// UPDATE RECORD by the phone's SIM manager; false when off or refused. `octets`: the whole record, at most 255.
    pub fn update_record(&mut self, path: Path, record_number: u8, octets: &[u8]) -> bool {
        if octets.is_empty() || octets.len() > usize::from(u8::MAX) {
            return false;
        }
        let done = self.on_file(path, &command::update_record(record_number, octets));
        self.collect_ip();
        done.is_some_and(|(_, word)| word.is_success())
    }

    pub(crate) fn alpha_octets(&self) -> usize {
        usize::from(self.config.alpha_octets)
    }

    fn on_file(&mut self, path: Path, apdu: &[u8]) -> Option<(Vec<u8>, StatusWord)> {
        if !self.is_on {
            return None;
        }
        for file in [MF, path.df, path.ef] {
            let (_, word) = self.exchange(&command::select(file));
            if !word.is_success() {
                return None;
            }
        }
        Some(self.exchange(apdu))
    }

    fn start(&mut self, now: Duration) {
        self.interval = POLL_INTERVAL;
        self.next_poll = now + self.interval;
        let chv1 = self.config.chv1;
        self.exchange(&command::verify_chv1(&chv1));
        self.exchange(&command::terminal_profile(&[0xFF; 5]));
        self.collect_ip();
    }

    fn poll(&mut self, now: Duration) {
        if now < self.next_poll {
            return;
        }
        self.exchange(&command::status(STATUS_OCTETS));
        self.next_poll = now + self.interval;
    }

    /// One command to the card, and whatever the card then wants of the phone (91xx).
    fn exchange(&mut self, apdu: &[u8]) -> (Vec<u8>, StatusWord) {
        let response = self.card.transmit(apdu);
        let Some((data, word)) = split(&response) else { return (Vec::new(), StatusWord::TECHNICAL_PROBLEM) };
        let data = data.to_vec();
        let mut waiting = word.waiting_command_octets();
        for _ in 0..FETCHES_MAX {
            let Some(octets) = waiting else { break };
            waiting = self.fetch(octets);
        }
        (data, word)
    }

    /// Fetches a command and carries it out; the length of the next one.
    fn fetch(&mut self, octets: usize) -> Option<usize> {
        let response = self.card.transmit(&command::fetch(u8::try_from(octets).unwrap_or(0)));
        let (data, _) = split(&response)?;
        let (number, command) = ProactiveCommand::decode(data).ok()?;
        let mut result = PERFORMED;
        let mut duration = None;
        match &command {
            ProactiveCommand::SendShortMessage { tpdu, .. } => {
                self.send(tpdu);
                if !self.config.immediate_result {
                    self.submit = Some((self.reference, number, command));
                    return None;
                }
                self.statistics.sms_sent += 1;
            }
            ProactiveCommand::PollInterval(wanted) => {
                self.interval = (*wanted).max(self.config.poll_minimum);
                duration = Some(self.interval);
            }
            ProactiveCommand::Refresh { .. } => self.statistics.refreshes += 1,
            ProactiveCommand::DisplayText { text } => self.output(Output::Display(text.clone())),
            ProactiveCommand::SetUpMenu { .. } | ProactiveCommand::MoreTime => {}
            _ => result = NOT_CAPABLE,
        }
        self.respond(number, &command, result, duration)
    }

    fn respond(
        &mut self,
        number: u8,
        command: &ProactiveCommand,
        result: u8,
        duration: Option<Duration>,
    ) -> Option<usize> {
        let mut response = TerminalResponse::to(number, command, result);
        response.duration = duration;
        let answer = self.card.transmit(&command::terminal_response(&response.encode()));
        let (_, word) = split(&answer)?;
        word.waiting_command_octets()
    }

    /// The phone sets TP-MR (octet 2 of the TPDU).
    fn send(&mut self, tpdu: &[u8]) {
        self.reference = self.reference.wrapping_add(1);
        let mut tpdu = tpdu.to_vec();
        if let Some(octet) = tpdu.get_mut(1) {
            *octet = self.reference;
        }
        self.output(Output::SmsSubmit { reference: self.reference, tpdu });
    }

    /// TERMINAL RESPONSE to SEND SHORT MESSAGE; a result for another message is ignored.
    fn submitted(&mut self, reference: u8, ok: bool) {
        let Some((expected, number, command)) = self.submit.take() else { return };
        if expected != reference {
            self.submit = Some((expected, number, command));
            return;
        }
        if ok {
            self.statistics.sms_sent += 1;
        } else {
            self.statistics.sms_failed += 1;
        }
        let result = if ok { PERFORMED } else { SMS_RP_ERROR };
        let mut waiting = self.respond(number, &command, result, None);
        for _ in 0..FETCHES_MAX {
            let Some(octets) = waiting else { break };
            waiting = self.fetch(octets);
        }
    }

    /// Class 2 with PID 7F goes straight to the card (TS 23.040 9.2.3.9); what else comes is not for it.
    fn deliver(&mut self, tpdu: &[u8]) {
        self.statistics.sms_received += 1;
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        let for_card = deliver.protocol_id.is_sim_data_download();
        if for_card && deliver.data_coding.class() == Some(MessageClass::Sim) {
            self.exchange(&command::envelope(&envelope::sms_pp_download(&[], tpdu)));
        }
    }

    /// IP data reaches the card without an APDU; a harmless command lets the card announce what it wants.
    fn look_for_command(&mut self) {
        if self.card.has_command() {
            self.exchange(&command::terminal_profile(&[0xFF; 5]));
        }
    }

    fn collect_ip(&mut self) {
        while let Some(payload) = self.card.next_ip_payload() {
            self.statistics.ip_sent += 1;
            self.output(Output::IpPayload(payload));
        }
    }

    fn output(&mut self, output: Output) {
        if self.outputs.len() < OUTPUTS_MAX {
            self.outputs.push_back(output);
        }
    }
}
