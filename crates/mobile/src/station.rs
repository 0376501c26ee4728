//! The phone with its card: polls, fetches, sends and delivers. A machine: inputs and the time in, outputs out.
//!
//! Start at [`Station::handle_input`]. The phone talks to its card in APDUs only; IP payloads go to the applet directly
//! (D-114). One short message is outstanding at a time, as on a phone. Here are the kernel and its clock; the other parts
//! (S1-ST-01) are `sim_manager`, `reception` and `assembly`, and beside this module `copies` and `contacts`.

mod assembly;
mod own;
mod reception;
mod sim_manager;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use link::configuration::{Bearer, IsdnAddress};
use uicc::{apdu::command, card::Card, proactive::envelope};

use crate::{
    applet::{CardApplet, Profile, Provisioning, first, memory::Route, second, third},
    bip::OverBip,
    channel::PhoneChannel,
    copies::{COPIED, Copies},
    guard::{CardSecurity, Guarded},
    interface::{Input, Output, StationConfig, Statistics, personalised},
    own_memory::OwnMemory,
    timers::{Busy, Timers},
};
use assembly::Outstanding;

/// A mobile station: phone and card.
pub struct Station {
    pub(crate) card: Card<OverBip<Guarded<CardApplet>>>,
    /// Boxed because most stations have no use for it, and there are tens of thousands.
    pub(crate) channel: Box<PhoneChannel>,
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
    /// Boxed because most stations have none.
    own: Option<Box<OwnMemory>>,
}

/// D-25: records of 28 octets.
const FIRST_ALPHA_OCTETS: u8 = 14;
/// D-34.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Response octets of STATUS on a directory.
const STATUS_OCTETS: u8 = 22;
/// Outputs that nobody fetched; more are dropped like messages without coverage.
const OUTPUTS_MAX: usize = 64;
/// General results (TS 51.014 12.12).
const PERFORMED: u8 = 0x00;

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
        let limits = config.security.as_ref().map(CardSecurity::limits).unwrap_or_default();
        let provisioning = Provisioning { service_on: config.service_on, route, limits };
        let profile = config.profile.clone();
        let applet = if config.applet_installed && config.has_card {
            CardApplet::new(profile, provisioning, &files)
        } else {
            CardApplet::Absent { profile, provisioning }
        };
        let applet = Guarded::new(applet, config.security.clone());
        let mut station = Self {
            card: Card::new(files, config.chv1, OverBip::new(applet, config.bip.clone())),
            channel: Box::default(),
            own: config.own_memory.clone().map(|config| Box::new(OwnMemory::new(config))),
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
                if let Some(own) = &mut self.own {
                    own.power_on(now);
                }
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
                if !self.is_for_own_memory(&payload) {
                    self.card.ip_received(&payload);
                    self.look_for_command();
                }
            }
            Input::ChannelOpened(ok) => self.channel_opened(ok),
            Input::ChannelData(octets) => self.channel_data(&octets),
            Input::ChannelClosed => self.channel_closed(),
            Input::MenuSelection(item) => {
                self.exchange(&command::envelope(&envelope::menu_selection(item)));
            }
            Input::OwnMenuSelection(item) => self.back_up_own_memory(item),
        }
        // A granted interval that became shorter counts from now.
        self.next_poll = self.next_poll.min(now + self.interval);
        let (bearer, centre) = (self.bearer(), self.centre_ip());
        self.card.applet.steer(bearer, centre);
        self.collect_ip();
        self.run_own_memory();
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
        let own = self.own.as_ref().and_then(|own| own.next_timeout()).unwrap_or(Duration::MAX);
        self.in_service.then_some(self.next_poll.min(answer).min(timer).min(channel).min(own))
    }

    /// Anything queued, unsent or unacknowledged, or a restore under way.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.card.applet.applet.pending()
            || self.card.applet.pending()
            || self.own.as_ref().is_some_and(|own| own.backup.is_open())
            || self.submit.is_some()
            || !self.outputs.is_empty()
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The preferred channel as the card's configuration has it now.
    #[must_use]
    pub fn bearer(&self) -> Bearer {
        self.card.applet.applet.bearer()
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
        self.card.applet.applet.centre_ip()
    }

    /// The card's applet, to look at.
    #[must_use]
    pub fn applet(&self) -> &CardApplet {
        &self.card.applet.applet
    }

    /// The applet of the first embodiment, to look at; `None`: the card has another or none.
    #[must_use]
    pub fn first(&self) -> Option<&first::FirstApplet> {
        match &self.card.applet.applet {
            CardApplet::First(applet) => Some(applet),
            _ => None,
        }
    }

    /// The applet of the third embodiment, to look at; `None`: the card has another or none.
    #[must_use]
    pub fn third(&self) -> Option<&third::ThirdApplet> {
        match &self.card.applet.applet {
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
        match &self.card.applet.applet {
            CardApplet::Second(applet) => applet.eeprom(),
            _ => panic!("a card of the second embodiment is expected"),
        }
    }

    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = self.card.applet.applet.counts();
        let backups = self.card.applet.applet.asynchronous().into_iter().chain(self.own.iter().map(|own| &own.backup));
        let (backups_completed, blocks_stored) = backups
            .fold((0, 0), |(completed, stored), backup| (completed + backup.completed, stored + backup.blocks_stored));
        Statistics {
            backups_completed,
            longest_blocked: self.busy.longest,
            records_backed_up: counts.records_backed_up + blocks_stored,
            records_restored: counts.records_restored,
            errors_received: counts.errors_received,
            records_given_up: counts.records_given_up,
            insecure_refused: self.card.applet.refused(),
            ..self.statistics
        }
    }

    pub(crate) fn alpha_octets(&self) -> usize {
        usize::from(self.config.alpha_octets)
    }

    fn start(&mut self, now: Duration) {
        self.interval = POLL_INTERVAL;
        self.next_poll = now + self.interval;
        self.copies = Copies::default();
        let (_, word) = self.exchange(&command::verify_chv1(&self.entered_chv1.clone()));
        self.in_service = word.is_success() || !self.config.has_card;
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
