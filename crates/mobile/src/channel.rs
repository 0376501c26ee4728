//! The phone's side of the bearer independent protocol: one channel for its card, over a connection that whoever drives the
//! station opens and carries octets for (TS 102 223 6.4.27 to 6.4.31, 7.5.10 and 7.5.11).

use std::{collections::VecDeque, time::Duration};

use uicc::{
    apdu::command,
    channel::{ChannelStatus, LINK_DROPPED},
    proactive::{Event, ProactiveCommand, TerminalResponse, envelope},
};

use crate::{Station, interface::Output};

/// What the phone keeps of a channel.
#[derive(Default)]
pub(crate) struct PhoneChannel {
    state: State,
    /// Until the card fetches it.
    received: VecDeque<u8>,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// The connection is being opened; the command waits for its answer.
    Opening(Box<Opening>),
    Open,
}

struct Opening {
    command: ProactiveCommand,
    number: u8,
    until: Duration,
}

/// The only channel.
const CHANNEL: u8 = 1;
const OPEN_WAIT: Duration = Duration::from_secs(60);
/// Octets that the card has not fetched; a connection that brings more is closed.
const RECEIVED_MAX: usize = 16 * 1024;
/// General results and additional information (TS 102 223 8.12.11).
const BIP_ERROR: u8 = 0x3A;
const NO_CHANNEL: u8 = 0x01;
const CHANNEL_CLOSED: u8 = 0x02;
const BUFFER_SIZE: u8 = 0x04;
const PERFORMED: u8 = 0x00;
const PERFORMED_PARTIALLY: u8 = 0x02;

impl PhoneChannel {
    /// When the wait for the connection is over.
    pub fn until(&self) -> Option<Duration> {
        match &self.state {
            State::Opening(opening) => Some(opening.until),
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    fn status(&self) -> ChannelStatus {
        let is_up = self.is_open();
        ChannelStatus { channel: if is_up { CHANNEL } else { 0 }, is_up, information: 0 }
    }

    /// Octets that wait, as one octet can say it.
    fn waiting(&self) -> u8 {
        u8::try_from(self.received.len()).unwrap_or(u8::MAX)
    }
}

/// Whether a command is about channels, or about being told of them.
pub(crate) fn is_about(command: &ProactiveCommand) -> bool {
    matches!(
        command,
        ProactiveCommand::SetUpEventList { .. }
            | ProactiveCommand::OpenChannel(_)
            | ProactiveCommand::CloseChannel { .. }
            | ProactiveCommand::ReceiveData { .. }
            | ProactiveCommand::SendData { .. }
            | ProactiveCommand::GetChannelStatus
    )
}

impl Station {
    /// Carries out a command of [`is_about`]; the length of the card's next one.
    pub(crate) fn on_channel(&mut self, number: u8, command: ProactiveCommand, now: Duration) -> Option<usize> {
        let mut response = TerminalResponse::to(number, &command, PERFORMED);
        let failed = |response: &mut TerminalResponse, why: u8| {
            response.general_result = BIP_ERROR;
            response.additional = vec![why];
        };
        match &command {
            ProactiveCommand::OpenChannel(_) if self.channel.is_open() => failed(&mut response, NO_CHANNEL),
            ProactiveCommand::OpenChannel(open) => {
                let to = open.to;
                *self.channel = PhoneChannel::default();
                self.channel.state = State::Opening(Box::new(Opening { command, number, until: now + OPEN_WAIT }));
                self.output(Output::ChannelOpen(to));
                return None;
            }
            ProactiveCommand::CloseChannel { .. } => self.close_channel(),
            ProactiveCommand::SendData { .. } | ProactiveCommand::ReceiveData { .. } if !self.channel.is_open() => {
                failed(&mut response, CHANNEL_CLOSED);
            }
            ProactiveCommand::SendData { data, .. } => {
                if self.output(Output::ChannelData(data.clone().into())) {
                    response.data_length = Some(0xFF);
                } else {
                    failed(&mut response, BUFFER_SIZE);
                }
            }
            ProactiveCommand::ReceiveData { octets, .. } => {
                let count = usize::from(*octets).min(self.channel.received.len());
                if count < usize::from(*octets) {
                    response.general_result = PERFORMED_PARTIALLY;
                }
                response.data = Some(self.channel.received.drain(..count).collect());
                response.data_length = Some(self.channel.waiting());
            }
            ProactiveCommand::GetChannelStatus => response.channel_status = Some(self.channel.status()),
            _ => {}
        }
        self.answer(&response)
    }

    /// The connection is there, or could not be opened.
    pub(crate) fn channel_opened(&mut self, ok: bool) {
        let State::Opening(opening) = std::mem::take(&mut self.channel.state) else { return };
        let Opening { command, number, .. } = *opening;
        let mut response = TerminalResponse::to(number, &command, PERFORMED);
        if let (true, ProactiveCommand::OpenChannel(open)) = (ok, &command) {
            self.channel.state = State::Open;
            response.channel_status = Some(self.channel.status());
            response.buffer_octets = Some(open.buffer_octets);
        } else {
            response.general_result = BIP_ERROR;
            response.additional = vec![NO_CHANNEL];
        }
        let waiting = self.answer(&response);
        self.fetch_all(waiting);
    }

    /// Octets over the connection: the card is told, and fetches them.
    pub(crate) fn channel_data(&mut self, octets: &[u8]) {
        if !self.channel.is_open() {
            return;
        }
        if self.channel.received.len() + octets.len() > RECEIVED_MAX {
            self.output(Output::ChannelClose);
            return self.channel_closed();
        }
        self.channel.received.extend(octets);
        let event = Event::DataAvailable { status: self.channel.status(), octets: self.channel.waiting() };
        self.exchange(&command::envelope(&envelope::event_download(event)));
    }

    /// The connection is gone.
    pub(crate) fn channel_closed(&mut self) {
        if !self.channel.is_open() {
            return self.channel_opened(false);
        }
        *self.channel = PhoneChannel::default();
        let status = ChannelStatus { channel: CHANNEL, is_up: false, information: LINK_DROPPED };
        self.exchange(&command::envelope(&envelope::event_download(Event::ChannelStatus(status))));
    }

    /// By the card's wish, or because the phone is switched off.
    pub(crate) fn close_channel(&mut self) {
        if !matches!(std::mem::take(&mut *self.channel).state, State::Closed) {
            self.output(Output::ChannelClose);
        }
    }
}
