//! The session machine for both roles (SMPP 3.4 2.2, 2.7, 2.9): binding, window, timers, answers to what is wrong.
//!
//! Feed [`Session::handle_input`], then take [`Session::poll_output`] until `None`; ask [`Session::next_timeout`] when
//! to send [`Input::Tick`]. Several inputs may be fed before polling: their octets then leave in one `Transmit`.
//! Everything hostile costs one answer: unknown commands and malformed bodies are refused and the session goes on;
//! only a lying `command_length` ends it, for then nothing after it can be read.

mod config;
mod interface;
mod receive;
mod window;

use std::{collections::VecDeque, time::Instant};

use bytes::BytesMut;

use crate::{BindKind, BindResp, CommandStatus, EncodeError, Pdu, SmResp, Text, encode::encode, framer::Framer};

pub use config::{SessionConfig, WINDOW_LIMIT};
pub use interface::{
    CloseReason, Command, CommandError, Event, Input, Output, Request, RequestKind, RequestToken, Role, State,
    Unanswered,
};
use window::{PendingRequest, Window};

/// What went wrong so far, and what flowed; all count upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub pdus_received: u64,
    pub unknown_commands: u64,
    pub malformed: u64,
    pub unexpected_responses: u64,
    pub wrong_state: u64,
    pub throttled: u64,
    pub timeouts: u64,
}

/// The machine. Memory is bounded by one frame, the window and what the owner has not polled.
#[derive(Debug)]
pub struct Session {
    role: Role,
    config: SessionConfig,
    state: State,
    framer: Framer,
    window: Window,
    transmit: BytesMut,
    events: VecDeque<Event>,
    close: Option<CloseReason>,
    /// SMSC: a bind that awaits the owner's answer.
    bind_request: Option<(BindKind, u32, u8)>,
    inbound_unanswered: usize,
    accepting: bool,
    counters: Counters,
    started: Instant,
    last_received: Instant,
    last_message: Instant,
    enquiring: bool,
}

impl Session {
    /// A session over a fresh connection; `now` starts `session_init_timer`.
    #[must_use]
    pub fn new(role: Role, config: SessionConfig, now: Instant) -> Self {
        Self {
            role,
            state: State::Open,
            framer: Framer::new(config.command_length_max),
            window: Window::new(config.window_max),
            config,
            transmit: BytesMut::new(),
            events: VecDeque::new(),
            close: None,
            bind_request: None,
            inbound_unanswered: 0,
            accepting: true,
            counters: Counters::default(),
            started: now,
            last_received: now,
            last_message: now,
            enquiring: false,
        }
    }

    /// Takes one input. Bytes never make an error: what is wrong with them is answered and counted.
    ///
    /// # Errors
    /// [`CommandError`] for a command that cannot be carried out now.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) -> Result<(), CommandError> {
        match input {
            Input::Bytes(octets) => self.receive(octets, now),
            Input::Command(command) => return self.command(command, now),
            Input::Tick => self.tick(now),
            Input::Closed => self.end(CloseReason::ConnectionLost),
        }
        Ok(())
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        if !self.transmit.is_empty() {
            return Some(Output::Transmit(self.transmit.split().freeze()));
        }
        if let Some(event) = self.events.pop_front() {
            return Some(Output::Event(event));
        }
        self.close.take().map(Output::Close)
    }

    /// When [`Input::Tick`] is due; may be early, never late. `None` once closed.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let mut next = self.window.earliest_deadline();
        let mut consider = |deadline: Instant| next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
        match self.state {
            State::Open | State::Outbound => consider(self.started + self.config.session_init_timeout),
            state if state.is_bound() => {
                if !self.enquiring {
                    consider(self.last_received + self.config.enquire_link_interval);
                }
                if let Some(timeout) = self.config.inactivity_timeout {
                    consider(self.last_message + timeout);
                }
            }
            _ => {}
        }
        next
    }

    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Messages that may be sent before the window is full.
    #[must_use]
    pub fn window_room(&self) -> usize {
        self.window.room()
    }

    /// Messages sent and unanswered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.window.messages()
    }

    /// Messages of the peer that the owner has not answered.
    #[must_use]
    pub const fn inbound_unanswered(&self) -> usize {
        self.inbound_unanswered
    }

    /// Carries out a wish of the owner.
    ///
    /// # Errors
    /// [`CommandError`]; then nothing was sent.
    pub fn command(&mut self, command: Command, now: Instant) -> Result<(), CommandError> {
        match command {
            Command::Submit { token, message } => self.send_message(Role::Esme, token, Pdu::SubmitSm(message), now),
            Command::Deliver { token, message } => self.send_message(Role::Smsc, token, Pdu::DeliverSm(message), now),
            Command::Data { token, message } => self.send_message(self.role, token, Pdu::DataSm(message), now),
            Command::Answer { request, status, message_id } => self.answer(request, status, message_id),
            Command::Bind(kind, bind) => {
                self.allow(
                    self.role == Role::Esme && self.state == State::Open && self.window.earliest_deadline().is_none(),
                )?;
                let deadline = now + self.config.session_init_timeout;
                self.request(PendingRequest::Bind(kind), &Pdu::Bind(kind, bind), deadline)
            }
            Command::AnswerBind { status, system_id } => self.answer_bind(status, system_id, now),
            Command::Outbind(outbind) => {
                self.allow(self.role == Role::Smsc && self.state == State::Open)?;
                self.send(&Pdu::Outbind(outbind), CommandStatus::ESME_ROK, 0)?;
                self.state = State::Outbound;
                Ok(())
            }
            Command::Alert(alert) => {
                self.allow(self.role == Role::Smsc && self.state.receives())?;
                Ok(self.send(&Pdu::AlertNotification(alert), CommandStatus::ESME_ROK, 0)?)
            }
            Command::Accept(accepting) => {
                self.accepting = accepting;
                Ok(())
            }
            Command::Unbind => self.unbind(now),
        }
    }

    fn send_message(&mut self, role: Role, token: u64, pdu: Pdu, now: Instant) -> Result<(), CommandError> {
        let direction = if role == Role::Esme { self.state.transmits() } else { self.state.receives() };
        self.allow(self.role == role && direction)?;
        self.last_message = now;
        let request = PendingRequest::Message { command_id: pdu.command_id(), token };
        self.request(request, &pdu, now + self.config.response_timeout)
    }

    fn request(&mut self, request: PendingRequest, pdu: &Pdu, deadline: Instant) -> Result<(), CommandError> {
        let sequence_number = self.window.insert(request, deadline).ok_or(CommandError::WindowFull)?;
        self.send(pdu, CommandStatus::ESME_ROK, sequence_number).map_err(|error| {
            self.window.remove(sequence_number);
            CommandError::Encode(error)
        })
    }

    fn answer(
        &mut self,
        request: RequestToken,
        status: CommandStatus,
        message_id: Text<64>,
    ) -> Result<(), CommandError> {
        self.inbound_unanswered = self.inbound_unanswered.saturating_sub(1);
        self.allow(self.state.is_bound() || self.state == State::Unbound)?;
        let resp = SmResp { message_id, ..SmResp::default() };
        let pdu = match request.kind {
            RequestKind::SubmitSm => Pdu::SubmitSmResp(resp),
            RequestKind::DeliverSm => Pdu::DeliverSmResp(resp),
            RequestKind::DataSm => Pdu::DataSmResp(resp),
        };
        Ok(self.send(&pdu, status, request.sequence_number)?)
    }

    fn answer_bind(&mut self, status: CommandStatus, system_id: Text<15>, now: Instant) -> Result<(), CommandError> {
        let (kind, sequence_number, interface_version) =
            self.bind_request.take().ok_or(CommandError::WrongState { state: self.state })?;
        let mut resp = BindResp::default();
        if status.is_ok() {
            resp.system_id = system_id;
            // sc_interface_version is for peers that speak 3.4 or later (SMPP 3.4 2.9.1, 7.1).
            if interface_version >= crate::INTERFACE_VERSION_3_4 {
                resp.tlvs.set_sc_interface_version(self.config.interface_version);
            }
        }
        self.send(&Pdu::BindResp(kind, resp), status, sequence_number)?;
        if status.is_ok() {
            self.bound(kind, Text::EMPTY, interface_version, now);
        } else {
            self.end(CloseReason::BindRefused(status));
        }
        Ok(())
    }

    fn bound(&mut self, kind: BindKind, peer_system_id: Text<15>, interface_version: u8, now: Instant) {
        self.state = match kind {
            BindKind::Receiver => State::BoundRx,
            BindKind::Transmitter => State::BoundTx,
            BindKind::Transceiver => State::BoundTrx,
        };
        self.last_message = now;
        self.events.push_back(Event::Bound { kind, peer_system_id, interface_version });
    }

    fn unbind(&mut self, now: Instant) -> Result<(), CommandError> {
        self.allow(self.state.is_bound())?;
        self.request(PendingRequest::Unbind, &Pdu::Unbind, now + self.config.response_timeout)?;
        self.state = State::Unbound;
        self.accepting = false;
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        for request in self.window.expire(Some(now)) {
            match request {
                PendingRequest::Message { token, .. } => {
                    self.counters.timeouts += 1;
                    self.events.push_back(Event::Unanswered { token, reason: Unanswered::TimedOut });
                }
                PendingRequest::Bind(_) => self.end(CloseReason::SessionInitTimeout),
                // A peer whose messages still arrive is alive, however late its answer.
                PendingRequest::EnquireLink if now < self.last_received + self.config.response_timeout => {
                    self.enquiring = false
                }
                PendingRequest::EnquireLink => self.end(CloseReason::EnquireLinkTimeout),
                PendingRequest::Unbind => self.end(CloseReason::UnbindTimeout),
            }
        }
        if matches!(self.state, State::Open | State::Outbound) && now >= self.started + self.config.session_init_timeout
        {
            self.end(CloseReason::SessionInitTimeout);
        }
        if !self.state.is_bound() {
            return;
        }
        // An unbind or enquire_link always finds a place in the window and has no body: no error is possible.
        if self.config.inactivity_timeout.is_some_and(|timeout| now >= self.last_message + timeout) {
            self.unbind(now).unwrap_or_default();
        } else if !self.enquiring && now >= self.last_received + self.config.enquire_link_interval {
            let deadline = now + self.config.response_timeout;
            self.enquiring = self.request(PendingRequest::EnquireLink, &Pdu::EnquireLink, deadline).is_ok();
        }
    }

    /// Gives up what is outstanding and closes; only the first reason counts.
    fn end(&mut self, reason: CloseReason) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        for request in self.window.expire(None) {
            if let PendingRequest::Message { token, .. } = request {
                self.events.push_back(Event::Unanswered { token, reason: Unanswered::ConnectionLost });
            }
        }
        self.close = Some(reason);
    }

    fn allow(&self, allowed: bool) -> Result<(), CommandError> {
        if allowed { Ok(()) } else { Err(CommandError::WrongState { state: self.state }) }
    }

    fn send(&mut self, pdu: &Pdu, status: CommandStatus, sequence_number: u32) -> Result<(), EncodeError> {
        encode(pdu, status, sequence_number, &mut self.transmit)
    }
}
