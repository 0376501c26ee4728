//! The loop of one connection, for both roles: octets in, octets out, messages of the owner, answers, timers, drain.
//!
//! Everything that is ready is taken before a write, so that a busy link makes few and large writes. When the owner's
//! event channel is full the socket is not read; after [`STALL_MAX`] new messages are answered `ESME_RTHROTTLED` instead.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use smpp::{
    Bind, BindKind, CloseReason, Command, CommandStatus, Event, Input, Output, Request, Role, Session, SessionConfig,
    ShortMessage, Text,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use super::{
    exchange::{Answer, AnswerToken, Mailbox, Outgoing, Reply, SubmitError, SubmitOutcome},
    rate::RateLimit,
};

/// Octets taken from the socket at once.
const READ_OCTETS: usize = 64 * 1024;
/// With so much unwritten, nothing more is taken in.
const WRITE_OCTETS_MAX: usize = 512 * 1024;
/// How long a full event channel keeps the socket unread before messages are refused instead.
const STALL_MAX: Duration = Duration::from_secs(1);
/// How long the last octets may take to be written.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Messages and answers taken in one turn of the loop.
const TURN_MAX: usize = 512;

/// What a connection tells its owner; each role wraps it into its own event.
pub(super) enum ConnectionEvent {
    Bound { kind: BindKind, peer_system_id: Text<15>, interface_version: u8 },
    Message { token: AnswerToken, message: ShortMessage },
    Alert(smpp::AlertNotification),
}

/// Settings of the loop.
pub(super) struct Settings {
    pub role: Role,
    pub session: SessionConfig,
    pub rate_max_per_second: Option<u32>,
    /// Pause of our messages after the peer answered `ESME_RTHROTTLED` or `ESME_RMSGQFUL`.
    pub throttle_pause: Duration,
    /// How long a drain may take before the unbind.
    pub drain_timeout: Duration,
}

/// Decides about the bind of an ESME: the status and our system_id.
pub(super) type BindDecision<'a> = &'a mut (dyn FnMut(BindKind, &Bind) -> (CommandStatus, Text<15>) + Send);

/// One connection from its first octet to its last.
pub(super) struct Connection<'a, E, W> {
    settings: &'a Settings,
    mailbox: &'a mut Mailbox,
    events: &'a mpsc::Sender<E>,
    wrap: W,
    session: Session,
    /// What of the session's counters is in the metrics already.
    counted: smpp::session::Counters,
    epoch: u64,
    /// Replies of messages in the window; the session's token is the index.
    replies: Vec<Option<Reply>>,
    free: Vec<usize>,
    rate: RateLimit,
    paused_until: Option<Instant>,
    backlog: VecDeque<E>,
    stalled_since: Option<Instant>,
    out: VecDeque<Bytes>,
    out_octets: usize,
    needs_flush: bool,
    drain_until: Option<Instant>,
    /// Why the connection ends, and until when what is unwritten may still be written.
    closing: Option<(CloseReason, Instant)>,
    /// True once bound; the owner resets its back-off then.
    pub was_bound: bool,
}

/// The clock of the machines; follows a paused tokio clock in tests.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<'a, E, W: FnMut(ConnectionEvent) -> Option<E>> Connection<'a, E, W> {
    pub fn new(settings: &'a Settings, mailbox: &'a mut Mailbox, events: &'a mpsc::Sender<E>, wrap: W) -> Self {
        let epoch = mailbox.shared.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let started = now();
        Self {
            settings,
            mailbox,
            events,
            wrap,
            session: Session::new(settings.role, settings.session.clone(), started),
            counted: smpp::session::Counters::default(),
            epoch,
            replies: Vec::new(),
            free: Vec::new(),
            rate: RateLimit::new(settings.rate_max_per_second, started),
            paused_until: None,
            backlog: VecDeque::new(),
            stalled_since: None,
            out: VecDeque::new(),
            out_octets: 0,
            needs_flush: false,
            drain_until: None,
            closing: None,
            was_bound: false,
        }
    }

    /// Asks for a bind as soon as the connection runs (client role).
    pub fn bind(&mut self, kind: BindKind, bind: Bind) {
        self.session.command(Command::Bind(kind, bind), now()).unwrap_or_default();
    }

    /// Runs until the connection is closed; `stop` drains it: no new messages, window emptied, unbind.
    pub async fn run<S>(
        &mut self,
        stream: S,
        mut decide: Option<BindDecision<'_>>,
        stop: &CancellationToken,
    ) -> CloseReason
    where
        S: AsyncRead + AsyncWrite,
    {
        let (reader, writer) = tokio::io::split(stream);
        let (mut reader, mut writer) = (pin!(reader), pin!(writer));
        let mut buffer = vec![0; READ_OCTETS];
        let mut sleep = pin!(sleep_until(tokio::time::Instant::now()));
        loop {
            self.take_ready();
            self.drain_step();
            self.drain_outputs(&mut decide);
            self.flush_events();
            if let Some((reason, until)) = self.closing
                && (self.out.is_empty() && !self.needs_flush || now() >= until)
            {
                self.end();
                // The peer may have gone first, or may not read any more; everything of ours is written or given up.
                drop(tokio::time::timeout(CLOSE_MAX, writer.shutdown()).await);
                return reason;
            }
            if let Some(wake) = self.wake_at() {
                let wake = tokio::time::Instant::from_std(wake);
                if wake < sleep.deadline() || sleep.is_elapsed() {
                    sleep.as_mut().reset(wake);
                }
            }
            let messages = self.messages_allowed();
            let open = self.closing.is_none();
            tokio::select! {
                result = write_some(&mut writer, &mut self.out, &mut self.out_octets, &mut self.needs_flush),
                    if !self.out.is_empty() || self.needs_flush => if result.is_err() {
                        self.lost();
                    },
                result = reader.read(&mut buffer), if open && self.may_read() => match result {
                    Ok(octets @ 1..) => self.feed(buffer.get(..octets).unwrap_or_default()),
                    Ok(0) | Err(_) => self.lost(),
                },
                Some(outgoing) = self.mailbox.inbox.recv(), if open && messages > 0 => self.send(outgoing),
                Some(answer) = self.mailbox.answers.recv(), if open => self.answer(answer),
                permit = self.events.reserve(), if !self.backlog.is_empty() => match permit {
                    Ok(permit) => if let Some(event) = self.backlog.pop_front() { permit.send(event) },
                    Err(_) => self.backlog.clear(),
                },
                () = &mut sleep, if !sleep.is_elapsed() => self.session.handle_input(Input::Tick, now()).unwrap_or_default(),
                () = stop.cancelled(), if self.drain_until.is_none() => self.start_drain(),
                else => self.lost(),
            }
        }
    }

    fn feed(&mut self, octets: &[u8]) {
        self.session.handle_input(Input::Bytes(octets), now()).unwrap_or_default();
    }

    /// The connection is gone: nothing can be written any more.
    fn lost(&mut self) {
        self.out.clear();
        self.out_octets = 0;
        self.needs_flush = false;
        self.session.handle_input(Input::Closed, now()).unwrap_or_default();
        self.close(CloseReason::ConnectionLost);
    }

    /// Takes answers and messages that are ready without waiting, so that they share one write.
    fn take_ready(&mut self) {
        for _ in 0..TURN_MAX {
            let Ok(answer) = self.mailbox.answers.try_recv() else { break };
            self.answer(answer);
        }
        for _ in 0..self.messages_allowed().min(TURN_MAX) {
            let Ok(outgoing) = self.mailbox.inbox.try_recv() else { break };
            self.send(outgoing);
        }
    }

    /// How many messages may be taken from the inbox now. What comes while none may ever go is refused at once.
    fn messages_allowed(&mut self) -> usize {
        let now = now();
        if !self.sending() {
            return TURN_MAX;
        }
        if self.out_octets > WRITE_OCTETS_MAX || self.paused_until.is_some_and(|until| now < until) {
            return 0;
        }
        self.paused_until = None;
        let room = self.session.window_room();
        if room == 0 { 0 } else { self.rate.available(room.min(TURN_MAX), now) }
    }

    /// Bound in our direction and not draining.
    fn sending(&self) -> bool {
        let state = self.session.state();
        let direction = if self.settings.role == Role::Esme { state.transmits() } else { state.receives() };
        direction && self.drain_until.is_none()
    }

    fn send(&mut self, Outgoing { message, mut reply }: Outgoing) {
        if !self.sending() {
            return reply.complete(Err(SubmitError::NotBound));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.replies.push(None);
            self.replies.len() - 1
        });
        // A usize fits 64 bits on every platform of Rust's standard library that has threads.
        let token = index as u64;
        let command = match self.settings.role {
            Role::Esme => Command::Submit { token, message },
            Role::Smsc => Command::Deliver { token, message },
        };
        match self.session.command(command, now()) {
            Ok(()) => {
                self.rate.take(1);
                reply.mark_sent();
                if let Some(slot) = self.replies.get_mut(index) {
                    *slot = Some(reply);
                }
            }
            Err(error) => {
                self.free.push(index);
                reply.complete(Err(match error {
                    smpp::session::CommandError::Encode(error) => SubmitError::Encode(error),
                    _ => SubmitError::NotBound,
                }));
            }
        }
    }

    fn answer(&mut self, Answer { token, status, message_id }: Answer) {
        if token.epoch == self.epoch {
            // Refused only when the session is over, and then the peer sends the message again.
            let command = Command::Answer { request: token.request, status, message_id };
            self.session.command(command, now()).unwrap_or_default();
        }
    }

    fn drain_outputs(&mut self, decide: &mut Option<BindDecision<'_>>) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(octets) if self.closing.is_none() => {
                    self.out_octets += octets.len();
                    self.out.push_back(octets);
                }
                Output::Transmit(_) => {}
                Output::Event(event) => self.handle_event(event, decide),
                Output::Close(reason) => self.close(reason),
            }
        }
        self.mailbox.shared.outstanding.store(self.session.outstanding(), Ordering::Relaxed);
        self.mailbox.shared.bound.store(self.sending(), Ordering::Release);
        self.count_refused();
    }

    /// What the peer sent and we cannot use: rare, so that a look-up of the counter does no harm.
    fn count_refused(&mut self) {
        let (now, then) = (*self.session.counters(), self.counted);
        for (kind, count, counted) in [
            ("malformed", now.malformed, then.malformed),
            ("unknown_command", now.unknown_commands, then.unknown_commands),
            ("unexpected_response", now.unexpected_responses, then.unexpected_responses),
            ("wrong_state", now.wrong_state, then.wrong_state),
        ] {
            if count > counted {
                metrics::counter!("simvault_smpp_pdus_refused_total", "kind" => kind).increment(count - counted);
            }
        }
        self.counted = now;
    }

    fn handle_event(&mut self, event: Event, decide: &mut Option<BindDecision<'_>>) {
        match event {
            Event::Response { token, status, resp } => {
                if matches!(status, CommandStatus::ESME_RTHROTTLED | CommandStatus::ESME_RMSGQFUL) {
                    self.paused_until = Some(now() + self.settings.throttle_pause);
                }
                let outcome = if status.is_ok() {
                    Ok(SubmitOutcome { message_id: resp.message_id })
                } else {
                    Err(SubmitError::Refused(status))
                };
                self.complete(token, outcome);
            }
            Event::Unanswered { token, reason } => self.complete(token, Err(SubmitError::Unanswered(reason))),
            Event::Request { token, request } => {
                let message = match request {
                    Request::SubmitSm(message) | Request::DeliverSm(message) => message,
                    Request::DataSm(message) => message.into(),
                };
                let token = AnswerToken { epoch: self.epoch, request: token };
                self.emit(ConnectionEvent::Message { token, message });
            }
            Event::Bound { kind, peer_system_id, interface_version } => {
                self.was_bound = true;
                // Before the event is out, so that who hears of the bind can send.
                self.mailbox.shared.bound.store(self.sending(), Ordering::Release);
                self.emit(ConnectionEvent::Bound { kind, peer_system_id, interface_version });
            }
            Event::Alert(alert) => self.emit(ConnectionEvent::Alert(alert)),
            Event::BindRequested { kind, bind } => {
                let (status, system_id) = match decide {
                    Some(decide) if self.drain_until.is_none() => decide(kind, &bind),
                    _ => (CommandStatus::ESME_RBINDFAIL, Text::EMPTY),
                };
                self.session.command(Command::AnswerBind { status, system_id }, now()).unwrap_or_default();
            }
            // Both end in a Close with the same reason.
            Event::BindRefused { .. } | Event::Unbound { .. } => {}
        }
    }

    fn complete(&mut self, token: u64, outcome: Result<SubmitOutcome, SubmitError>) {
        let Ok(index) = usize::try_from(token) else { return };
        if let Some(reply) = self.replies.get_mut(index).and_then(Option::take) {
            self.free.push(index);
            reply.complete(outcome);
        }
    }

    fn emit(&mut self, event: ConnectionEvent) {
        self.backlog.extend((self.wrap)(event));
    }

    /// Hands events over as long as there is room; a full channel starts the stall.
    fn flush_events(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    // Nobody will answer: refuse what comes, so that the peer keeps it.
                    self.backlog.clear();
                    self.session.command(Command::Accept(false), now()).unwrap_or_default();
                    return;
                }
            }
        }
        if self.backlog.is_empty() {
            if self.stalled_since.take().is_some() && self.drain_until.is_none() {
                self.session.command(Command::Accept(true), now()).unwrap_or_default();
            }
        } else if now() >= *self.stalled_since.get_or_insert_with(now) + STALL_MAX {
            self.session.command(Command::Accept(false), now()).unwrap_or_default();
        }
    }

    fn may_read(&self) -> bool {
        let stalled = self.stalled_since.is_some_and(|since| now() < since + STALL_MAX);
        // Alerts still collect during a stall; a peer that floods them waits.
        !stalled && self.out_octets < WRITE_OCTETS_MAX && self.backlog.len() < 8192
    }

    fn start_drain(&mut self) {
        self.drain_until = Some(now() + self.settings.drain_timeout);
        self.session.command(Command::Accept(false), now()).unwrap_or_default();
    }

    /// Unbinds when everything is answered in both directions, or the time is over.
    fn drain_step(&mut self) {
        let Some(until) = self.drain_until else { return };
        let answered =
            self.session.outstanding() == 0 && self.session.inbound_unanswered() == 0 && self.backlog.is_empty();
        let state = self.session.state();
        if state.is_bound() && (answered || now() >= until) {
            self.session.command(Command::Unbind, now()).unwrap_or_default();
        } else if !state.is_bound() && state != smpp::State::Unbound && self.closing.is_none() {
            self.close(CloseReason::Unbound);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.closing.get_or_insert_with(|| (reason, now() + CLOSE_MAX));
    }

    fn wake_at(&self) -> Option<Instant> {
        let drain = self.drain_until.filter(|_| self.session.state().is_bound());
        let stall = self.stalled_since.map(|since| since + STALL_MAX).filter(|until| now() < *until);
        let rate = if self.sending() { self.rate.next().filter(|next| *next > now()) } else { None };
        let pause = self.paused_until.filter(|until| *until > now());
        let closing = self.closing.map(|(_, until)| until);
        [self.session.next_timeout(), drain, stall, rate, pause, closing].into_iter().flatten().min()
    }

    /// Leaves nothing behind that belongs to this connection.
    fn end(&mut self) {
        self.mailbox.shared.bound.store(false, Ordering::Release);
        self.session.handle_input(Input::Closed, now()).unwrap_or_default();
        self.drain_outputs(&mut None);
        self.mailbox.shared.outstanding.store(0, Ordering::Relaxed);
        self.replies.clear();
        self.free.clear();
        // Tokens of this connection are void now.
        self.mailbox.shared.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Gives everything up after [`Self::run`] was dropped: the socket is closed without a word.
    pub fn abandon(&mut self) -> CloseReason {
        self.lost();
        self.end();
        CloseReason::ConnectionLost
    }

    pub const fn counters(&self) -> &smpp::session::Counters {
        self.session.counters()
    }
}

/// Writes what the socket takes; once nothing is left, flushes (TLS keeps records back until then).
async fn write_some<W: AsyncWrite + Unpin>(
    writer: &mut W,
    out: &mut VecDeque<Bytes>,
    out_octets: &mut usize,
    needs_flush: &mut bool,
) -> io::Result<()> {
    if let Some(front) = out.front_mut() {
        let written = writer.write(front).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        front.advance(written);
        *out_octets = out_octets.saturating_sub(written);
        *needs_flush = true;
        if front.is_empty() {
            out.pop_front();
        }
        return Ok(());
    }
    writer.flush().await?;
    *needs_flush = false;
    Ok(())
}
