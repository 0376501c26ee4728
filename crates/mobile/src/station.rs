//! The phone with its card: polls, fetches, sends and delivers. A machine: inputs and the time in, outputs out.
//!
//! Start at [`Station::handle_input`]. The phone talks to its card in APDUs only; IP payloads go to the applet directly
//! (D-114). One short message is outstanding at a time, as on a phone.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use link::configuration::{Bearer, IsdnAddress};
use sms::{Alphabet, Deliver, MessageClass, alphabet::gsm7};
use uicc::{
    apdu::{StatusWord, command, split},
    card::Card,
    files::{EF_SMS, MF, Path},
    proactive::{ProactiveCommand, TerminalResponse, envelope},
};

use crate::{
    applet::{CardApplet, Profile, Provisioning, first, memory::Route, second, third},
    bip::OverBip,
    channel::{self, PhoneChannel},
    copies::{COPIED, Copies},
    interface::{Input, Output, StationConfig, Statistics, personalised},
    timers::{Busy, Timers},
};

/// A mobile station: phone and card.
pub struct Station {
    pub(crate) card: Card<OverBip<CardApplet>>,
    pub(crate) channel: PhoneChannel,
    config: StationConfig,
    is_on: bool,
    /// CHV1 was right when it was switched on: otherwise the phone is of no use but for reading what needs no CHV1.
    in_service: bool,
    /// What the user types when it is switched on.
    entered_chv1: [u8; 8],
    /// A call is being set up.
    is_setting_up_call: bool,
    pub(crate) copies: Copies,
    /// Of the last input.
    now: Duration,
    interval: Duration,
    next_poll: Duration,
    outputs: VecDeque<Output>,
    /// The short message that waits for the network's answer.
    submit: Option<Outstanding>,
    reference: u8,
    statistics: Statistics,
    timers: Timers,
    busy: Busy,
    /// What the user does with the next texts: agrees, or goes back. Beyond them: agrees.
    answers: VecDeque<bool>,
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
/// D-25: records of 28 octets.
const FIRST_ALPHA_OCTETS: u8 = 14;
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
/// The user went one step back.
const BACKWARD_MOVE: u8 = 0x11;
/// No such timer, or it does not run.
const TIMER_CONTRADICTED: u8 = 0x24;
const NOT_CAPABLE: u8 = 0x30;
const SMS_RP_ERROR: u8 = 0x35;

impl Station {
    /// Switched on at time 0. A centre's number that is none leaves the card without a centre: it sends no short message.
    #[must_use]
    pub fn new(mut config: StationConfig) -> Self {
        if let Profile::First(_) = config.profile {
            config.alpha_octets = FIRST_ALPHA_OCTETS;
        }
        let files = personalised(&config);
        let centre_isdn = IsdnAddress::new(0x91, &config.centre_isdn);
        let route = Route { bearer: config.bearer, centre_isdn, centre_ip: None };
        let provisioning = Provisioning { service_on: config.service_on, route };
        let profile = config.profile.clone();
        let applet = if config.applet_installed {
            CardApplet::new(profile, provisioning, &files)
        } else {
            CardApplet::Absent { profile, provisioning }
        };
        let mut station = Self {
            card: Card::new(files, config.chv1, OverBip::new(applet, config.bip.clone())),
            channel: PhoneChannel::default(),
            entered_chv1: config.chv1,
            config,
            is_on: true,
            in_service: false,
            is_setting_up_call: false,
            copies: Copies::default(),
            now: Duration::ZERO,
            interval: POLL_INTERVAL,
            next_poll: POLL_INTERVAL,
            outputs: VecDeque::new(),
            submit: None,
            reference: 0,
            statistics: Statistics::default(),
            timers: Timers::default(),
            busy: Busy::default(),
            answers: VecDeque::new(),
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
        while self.in_service
            && let Some((timer_id, elapsed)) = self.timers.expired(now)
        {
            self.exchange(&command::envelope(&envelope::timer_expiration(timer_id, elapsed)));
        }
        if self.channel.until().is_some_and(|until| now >= until) {
            self.channel_opened(false);
        }
        match input {
            Input::PowerOn if !self.is_on => {
                self.card.reset();
                self.is_on = true;
                self.start(now);
            }
            Input::EnterChv1(chv1) => self.entered_chv1 = chv1,
            _ if !self.is_on => {}
            Input::PowerOn => {}
            Input::PowerOff => {
                self.is_on = false;
                self.in_service = false;
                self.is_setting_up_call = false;
                self.submit = None;
                self.timers = Timers::default();
                self.busy.ends(now);
                self.outputs.clear();
                self.close_channel();
            }
            _ if !self.in_service => {}
            Input::CallSetUp(is_running) => {
                self.is_setting_up_call = is_running;
                self.look_for_command();
            }
            Input::Tick => self.poll(now),
            Input::SmsDeliver(tpdu) => self.deliver(&tpdu),
            Input::SmsSubmitResult { reference, ok } => self.submitted(reference, ok),
            Input::IpPayload(payload) => {
                self.statistics.ip_received += 1;
                self.card.ip_received(&payload);
                self.look_for_command();
            }
            Input::ChannelOpened(ok) => self.channel_opened(ok),
            Input::ChannelData(octets) => self.channel_data(&octets),
            Input::ChannelClosed => self.channel_closed(),
            Input::MenuSelection(item) => {
                self.exchange(&command::envelope(&envelope::menu_selection(item)));
            }
        }
        // A granted interval that became shorter counts from now.
        self.next_poll = self.next_poll.min(now + self.interval);
        let (bearer, centre) = (self.bearer(), self.centre_ip());
        self.card.applet.steer(bearer, centre);
        self.collect_ip();
    }

    /// What the station does next; call until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the user will do with the next text that asks: agree, or go back. Without a word the user agrees.
    pub fn user_will(&mut self, agrees: bool) {
        self.answers.push_back(agrees);
    }

    /// When [`Input::Tick`] is due: a poll, a timer of the card, or the end of the wait for the network. `None` while switched off.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        let answer = self.submit.as_ref().map_or(Duration::MAX, |submit| submit.until);
        let timer = self.timers.next().unwrap_or(Duration::MAX);
        let channel = self.channel.until().unwrap_or(Duration::MAX);
        self.in_service.then_some(self.next_poll.min(answer).min(timer).min(channel))
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
        self.card.applet.bearer()
    }

    /// The card speaks the IP link itself: its driver carries the octets of a channel, and no payloads.
    #[must_use]
    pub fn speaks_ip_itself(&self) -> bool {
        self.config.bip.is_some()
    }

    /// Where the card's configuration wants later IP messages to go (CID 0x03): take the waiting outputs first, they go where
    /// this said before. An acknowledgement that waits goes to the address before its message (S2-CG-06). `None`: the
    /// phone's own setting holds.
    #[must_use]
    pub fn centre_ip(&self) -> Option<SocketAddr> {
        self.card.applet.centre_ip()
    }

    /// The card's applet, to look at.
    #[must_use]
    pub fn applet(&self) -> &CardApplet {
        &self.card.applet
    }

    /// The applet of the first embodiment, to look at; `None`: the card has another or none.
    #[must_use]
    pub fn first(&self) -> Option<&first::FirstApplet> {
        match &*self.card.applet {
            CardApplet::First(applet) => Some(applet),
            _ => None,
        }
    }

    /// The applet of the third embodiment, to look at; `None`: the card has another or none.
    #[must_use]
    pub fn third(&self) -> Option<&third::ThirdApplet> {
        match &*self.card.applet {
            CardApplet::Third(applet) => Some(applet),
            _ => None,
        }
    }

    /// The EEPROM of the applet of the second embodiment, to look at.
    ///
    /// # Panics
    /// The card has another applet or none: a mistake of the caller, who made the station.
    #[must_use]
    pub fn eeprom(&self) -> &second::memory::Eeprom {
        match &*self.card.applet {
            CardApplet::Second(applet) => applet.eeprom(),
            _ => panic!("a card of the second embodiment is expected"),
        }
    }

    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = self.card.applet.counts();
        Statistics {
            backups_completed: self.card.applet.backups_completed(),
            longest_blocked: self.busy.longest,
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
        let is_done = done.is_some_and(|(_, word)| word.is_success());
        if is_done {
            self.read_copy_of_record(path, record_number);
        }
        self.collect_ip();
        is_done
    }

    pub(crate) fn alpha_octets(&self) -> usize {
        usize::from(self.config.alpha_octets)
    }

    fn on_file(&mut self, path: Path, apdu: &[u8]) -> Option<(Vec<u8>, StatusWord)> {
        self.select(path).then(|| self.exchange(apdu))
    }

    /// False: switched off, or no such file.
    pub(crate) fn select(&mut self, path: Path) -> bool {
        let files = [MF, path.df, path.ef];
        self.is_on && files.into_iter().all(|file| self.exchange(&command::select(file)).1.is_success())
    }

    fn start(&mut self, now: Duration) {
        self.interval = POLL_INTERVAL;
        self.next_poll = now + self.interval;
        self.copies = Copies::default();
        let (_, word) = self.exchange(&command::verify_chv1(&self.entered_chv1.clone()));
        self.in_service = word.is_success();
        if !self.in_service {
            return;
        }
        self.exchange(&command::terminal_profile(&[0xFF; 5]));
        self.next_poll = self.next_poll.min(now + self.interval);
        for path in COPIED {
            self.read_copy(path);
        }
        self.collect_ip();
    }

    fn poll(&mut self, now: Duration) {
        if now < self.next_poll {
            return;
        }
        if !self.is_setting_up_call {
            self.exchange(&command::status(STATUS_OCTETS));
        }
        self.next_poll = now + self.interval;
    }

    /// One command to the card, and whatever the card then wants of the phone (91xx).
    pub(crate) fn exchange(&mut self, apdu: &[u8]) -> (Vec<u8>, StatusWord) {
        let response = self.card.transmit(apdu);
        let Some((data, word)) = split(&response) else { return (Vec::new(), StatusWord::TECHNICAL_PROBLEM) };
        let data = data.to_vec();
        self.fetch_all(word.waiting_command_octets());
        (data, word)
    }

    pub(crate) fn fetch_all(&mut self, mut waiting: Option<usize>) {
        for _ in 0..FETCHES_MAX {
            if self.is_setting_up_call {
                break;
            }
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
                self.busy.begins(self.now);
                if !self.config.immediate_result {
                    let (reference, until) = (self.reference, self.now + SUBMIT_WAIT);
                    self.submit = Some(Outstanding { reference, command, number, until });
                    return None;
                }
                self.busy.ends(self.now);
                self.statistics.sms_sent += 1;
            }
            ProactiveCommand::PollInterval(wanted) => {
                self.interval = (*wanted).max(self.config.poll_minimum);
                duration = Some(self.interval);
            }
            ProactiveCommand::Refresh { files, .. } => {
                files.iter().for_each(|path| self.read_copy(*path));
                self.statistics.refreshes += 1;
            }
            ProactiveCommand::DisplayText { text } => {
                self.output(Output::Display(text.clone()));
                if self.answers.pop_front() == Some(false) {
                    result = BACKWARD_MOVE;
                }
            }
            ProactiveCommand::TimerManagement { timer_id, action } => {
                if !self.timers.manage(*timer_id, *action, self.now) {
                    result = TIMER_CONTRADICTED;
                }
            }
            ProactiveCommand::SetUpMenu { .. } | ProactiveCommand::MoreTime => {}
            _ if self.config.bip.is_some() && channel::is_about(&command) => {
                return self.on_channel(number, command, self.now);
            }
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
    pub(crate) fn answer(&mut self, response: &TerminalResponse) -> Option<usize> {
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
        self.busy.ends(self.now);
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
    /// 23.038 4). What else comes is for a person: text is displayed (S1-ST-02), data has no use here.
    fn deliver(&mut self, tpdu: &[u8]) {
        self.statistics.sms_received += 1;
        let Ok(deliver) = Deliver::decode(tpdu) else { return };
        if deliver.data_coding.class() != Some(MessageClass::Sim) {
            return self.display(&deliver);
        }
        if deliver.protocol_id.is_sim_data_download() {
            self.exchange(&command::envelope(&envelope::sms_pp_download(&[], tpdu)));
        } else if self.store_message(tpdu) {
            self.statistics.sms_stored += 1;
        } else {
            self.statistics.sms_refused += 1;
        }
    }

    fn display(&mut self, deliver: &Deliver) {
        let body = deliver.user_data.body();
        let text = match deliver.data_coding.alphabet() {
            Alphabet::Gsm7 => gsm7::decode(body),
            Alphabet::Ucs2 => {
                let (units, _) = body.as_chunks::<2>();
                String::from_utf16_lossy(&units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>())
            }
            Alphabet::Octets | Alphabet::Compressed => return,
        };
        self.output(Output::Display(text));
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
        if self.card.has_command() && !self.is_setting_up_call {
            self.exchange(&command::terminal_profile(&[0xFF; 5]));
        }
    }

    fn collect_ip(&mut self) {
        if self.is_setting_up_call {
            return;
        }
        while let Some(payload) = self.card.next_ip_payload() {
            self.statistics.ip_sent += 1;
            self.output(Output::IpPayload(payload));
        }
    }

    /// False: too many wait, and this one is dropped.
    pub(crate) fn output(&mut self, output: Output) -> bool {
        let has_room = self.outputs.len() < OUTPUTS_MAX;
        if has_room {
            self.outputs.push_back(output);
        }
        has_room
    }
}

/// A record of FF octets has never been used: it is free too.
fn is_free_sms(status: &u8) -> bool {
    *status == 0xFF || status & SMS_USED == 0
}
