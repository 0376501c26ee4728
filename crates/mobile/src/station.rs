//! The phone with its card: polls, fetches, sends and delivers. A machine: inputs and the time in, outputs out.
//!
//! Start at [`Station::handle_input`]. The phone talks to its card in APDUs only; IP payloads go to the applet directly
//! (D-114). One short message is outstanding at a time, as on a phone.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use link::configuration::{Bearer, IsdnAddress};
use sms::{Deliver, MessageClass};
use uicc::{
    apdu::{StatusWord, command, split},
    card::Card,
    files::{EF_SMS, MF, Path},
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
    /// Of the last input.
    now: Duration,
    interval: Duration,
    next_poll: Duration,
    outputs: VecDeque<Output>,
    /// The short message that waits for the network's answer.
    submit: Option<Outstanding>,
    reference: u8,
    statistics: Statistics,
}

/// A short message that the phone has sent for its card.
struct Outstanding {
    /// TP-MR.
    reference: u8,
    /// The command to answer, and its number.
    command: ProactiveCommand,
    number: u8,
    /// Without an answer until then it counts as failed.
    until: Duration,
}

/// What the phone waits for the network's answer (in the order of TS 24.011's TR1M and its repeat).
const SUBMIT_WAIT: Duration = Duration::from_secs(60);
/// EF_SMS: bit 1 of the status octet says that the record is used (TS 51.011 10.5.3).
const SMS_RECEIVED_UNREAD: u8 = 0x03;
const SMS_USED: u8 = 0x01;
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
            now: Duration::ZERO,
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
        self.now = now;
        if let Some(late) = self.submit.take_if(|submit| now >= submit.until) {
            self.answered(&late, false);
        }
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

    /// When [`Input::Tick`] is due: a poll, or the end of the wait for the network. `None` while switched off.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        let answer = self.submit.as_ref().map_or(Duration::MAX, |submit| submit.until);
        self.is_on.then_some(self.next_poll.min(answer))
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

    /// Where the card's configuration wants later IP messages to go (CID 0x03): take the waiting outputs first, they go where
    /// this said before. An acknowledgement that waits goes to the address before its message (S2-CG-06). `None`: the
    /// phone's own setting holds.
    #[must_use]
    pub fn centre_ip(&self) -> Option<SocketAddr> {
        let eeprom = self.eeprom();
        match &eeprom.acknowledgement {
            Some(acknowledgement) => acknowledgement.route.centre_ip,
            None => eeprom.configuration.centre_ip,
        }
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
        self.fetch_all(word.waiting_command_octets());
        (data, word)
    }

    fn fetch_all(&mut self, mut waiting: Option<usize>) {
        for _ in 0..FETCHES_MAX {
            let Some(octets) = waiting else { break };
            waiting = self.fetch(octets);
        }
    }

    /// Fetches a command and carries it out; the length of the next one.
    fn fetch(&mut self, octets: usize) -> Option<usize> {
        let response = self.card.transmit(&command::fetch(u8::try_from(octets).unwrap_or(0)));
        let (data, _) = split(&response)?;
        let Ok((number, command)) = ProactiveCommand::decode(data) else {
            return self.answer(&TerminalResponse::to_unknown(data)?);
        };
        let mut result = PERFORMED;
        let mut duration = None;
        match &command {
            ProactiveCommand::SendShortMessage { tpdu, .. } => {
                self.send(tpdu);
                if !self.config.immediate_result {
                    let (reference, until) = (self.reference, self.now + SUBMIT_WAIT);
                    self.submit = Some(Outstanding { reference, command, number, until });
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
        self.answer(&response)
    }

    /// TERMINAL RESPONSE; the length of the next command.
    fn answer(&mut self, response: &TerminalResponse) -> Option<usize> {
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

    /// The network's answer; one to another message is ignored.
    fn submitted(&mut self, reference: u8, ok: bool) {
        if let Some(submit) = self.submit.take_if(|submit| submit.reference == reference) {
            self.answered(&submit, ok);
        }
    }

    /// TERMINAL RESPONSE to SEND SHORT MESSAGE, and whatever the card then wants.
    fn answered(&mut self, submit: &Outstanding, ok: bool) {
        if ok {
            self.statistics.sms_sent += 1;
        } else {
            self.statistics.sms_failed += 1;
        }
        let result = if ok { PERFORMED } else { SMS_RP_ERROR };
        let waiting = self.respond(submit.number, &submit.command, result, None);
        self.fetch_all(waiting);
    }

    /// Class 2 is for the card: with PID 7F it goes to the applet, with any other into EF_SMS (TS 23.040 9.2.3.9, TS
    /// 23.038 4). What else comes is for a person, and this phone has none.
    fn deliver(&mut self, tpdu: &[u8]) {
        self.statistics.sms_received += 1;
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if deliver.data_coding.class() != Some(MessageClass::Sim) {
            return;
        }
        if deliver.protocol_id.is_sim_data_download() {
            self.exchange(&command::envelope(&envelope::sms_pp_download(&[], tpdu)));
        } else if self.store_message(tpdu) {
            self.statistics.sms_stored += 1;
        } else {
            self.statistics.sms_refused += 1;
        }
    }

    /// Status, a service centre's address of no octets, TPDU, FF (TS 51.011 10.5.3). False: no record is free.
    fn store_message(&mut self, tpdu: &[u8]) -> bool {
        let files = self.card.files();
        let octets = files.record_octets(EF_SMS).map_or(0, usize::from);
        let is_free =
            |number: &u8| files.record(EF_SMS, *number).is_ok_and(|record| record.first().is_some_and(is_free_sms));
        let Some(free) = (1..=u8::MAX).find(is_free) else { return false };
        let mut record = vec![SMS_RECEIVED_UNREAD, 0];
        record.extend(tpdu);
        if record.len() > octets {
            return false;
        }
        record.resize(octets, 0xFF);
        self.update_record(EF_SMS, free, &record)
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

/// A record of FF octets has never been used: it is free too.
fn is_free_sms(status: &u8) -> bool {
    *status == 0xFF || status & SMS_USED == 0
}
