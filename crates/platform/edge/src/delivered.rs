//! The way of a delivered message (SC-IC-01 to 05, 07, 11): event buffer, header parser, payload removal, an inbound
//! data processor, and only then the answer.
//!
//! One task per link. The buffer is bounded; when it is full nothing more is taken from the driver, which stops
//! reading the socket; after [`STALL_MAX`] what comes is answered `ESME_RTHROTTLED`. Nothing is answered well before the processor
//! has committed it, so that whatever goes wrong leaves the message with the SMSC.

use std::{collections::VecDeque, time::Duration};

use metrics::{Counter, Gauge};
use net::smpp::{AnswerToken, LinkEvent, LinkHandle};
use proto::inbound::{InboundMessage, IngestResult, Outcome};
use rpc::stream::{BatchClient, Ingest, Unanswered};
use runtime::{
    Clock, TraceId,
    events::{self, Kind},
    mask::Number,
};
use smpp::{CommandStatus, DeliverSm};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    header::{self, LinkFacts},
    link::LinkSettings,
    names,
    pace::Pace,
    parameters::{Parameters, Setting},
    receipts::{self, Receipts},
};

/// Parameters of the way that an operator may change while the edge runs; each counts per link.
#[derive(Clone, Debug)]
pub struct PathParameters {
    /// Messages that wait unparsed.
    pub event_buffer: Setting,
    /// Messages handed to the inbound data processors and unanswered.
    pub window: Setting,
    /// Messages handed over a second; 0: no limit.
    pub rate: Setting,
}

impl PathParameters {
    /// Adds the three to the service's parameters, with the configuration's values.
    pub fn add(parameters: &mut Parameters, event_buffer: u64, window: u64, rate: u64) -> Self {
        Self {
            event_buffer: parameters.add("event_buffer", event_buffer, EVENT_BUFFER, "messages per link"),
            window: parameters.add("inbound_window", window, WINDOW, "messages per link"),
            rate: parameters.add("inbound_rate", rate, RATE, "messages a second and link, 0 for no limit"),
        }
    }
}

/// Accepted depths of the event buffer.
pub const EVENT_BUFFER: std::ops::RangeInclusive<u64> = 1..=30_000;
/// Accepted windows towards the inbound data processors.
pub const WINDOW: std::ops::RangeInclusive<u64> = 1..=10_000;
/// Accepted rates.
pub const RATE: std::ops::RangeInclusive<u64> = 0..=1_000_000;

/// What all links of a service share; cheap to clone.
#[derive(Clone)]
pub struct Path {
    /// Its deadline has to be below the SMSC's response timer.
    pub ingest: BatchClient<Ingest>,
    pub receipts: Receipts,
    pub parameters: PathParameters,
    pub clock: Clock,
}

/// A message in the event buffer.
struct Waiting {
    token: AnswerToken,
    message: DeliverSm,
    arrived: Instant,
    /// UTC, microseconds since the epoch.
    arrived_micros: i64,
}

/// How long the SMSC is held back by a full buffer before it is told to slow down.
pub const STALL_MAX: Duration = Duration::from_secs(1);
/// What waited in the buffer for so long is left to the SMSC, whose response timer is about to end.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// Events taken from the driver, and results from the processors, at once.
const TAKEN_MAX: usize = 64;
/// Room for the result of every message that may be handed over.
const RESULTS_MAX: usize = 10_000;

/// The result of a message, under the place of its token.
type IngestAnswer = (u64, Result<IngestResult, Unanswered>);

impl Path {
    /// Follows one link until its events end: it was stopped and is closed, everything answered.
    pub async fn run(&self, link: &LinkSettings, handle: LinkHandle, mut events: mpsc::Receiver<LinkEvent>) {
        let (results, mut answers) = mpsc::channel(RESULTS_MAX);
        let mut run = Run::new(self, link, handle, results);
        let mut taken = Vec::with_capacity(TAKEN_MAX);
        let mut answered = Vec::with_capacity(TAKEN_MAX);
        let mut open = true;
        while open || !run.buffer.is_empty() || run.handed.len() > 0 {
            let paced_until = run.hand_over();
            run.waiting.set(f64::from(u32::try_from(run.buffer.len()).unwrap_or(u32::MAX)));
            let refuse_from = run.refuse_from(self.parameters.event_buffer.count());
            let refusing = refuse_from.is_some_and(|from| from <= Instant::now());
            let room = self.parameters.event_buffer.count().saturating_sub(run.buffer.len());
            let room = if refusing { TAKEN_MAX } else { room.min(TAKEN_MAX) };
            let wake = [paced_until, refuse_from.filter(|_| !refusing)].into_iter().flatten().min();
            tokio::select! {
                _ = answers.recv_many(&mut answered, TAKEN_MAX), if run.handed.len() > 0 => {
                    answered.drain(..).for_each(|(place, result)| run.settle(place, result));
                }
                count = events.recv_many(&mut taken, room), if open && room > 0 => {
                    open = count > 0;
                    taken.drain(..).for_each(|event| run.take(event, refusing));
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

/// Tokens of the messages that are handed over, each under its place.
#[derive(Default)]
struct Handed {
    tokens: Vec<Option<AnswerToken>>,
    free: Vec<usize>,
}

impl Handed {
    fn len(&self) -> usize {
        self.tokens.len() - self.free.len()
    }

    fn insert(&mut self, token: AnswerToken) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.tokens.push(None);
            self.tokens.len() - 1
        });
        if let Some(slot) = self.tokens.get_mut(place) {
            *slot = Some(token);
        }
        // A usize fits 64 bits wherever this runs.
        place as u64
    }

    fn remove(&mut self, place: u64) -> Option<AnswerToken> {
        let place = usize::try_from(place).ok()?;
        let token = self.tokens.get_mut(place)?.take()?;
        self.free.push(place);
        Some(token)
    }
}

/// One link's part of the way.
struct Run<'a> {
    path: &'a Path,
    facts: LinkFacts,
    smsc: String,
    handle: LinkHandle,
    buffer: VecDeque<Waiting>,
    handed: Handed,
    results: mpsc::Sender<IngestAnswer>,
    pace: Pace,
    /// Since when the buffer has been full.
    full_since: Option<Instant>,
    waiting: Gauge,
    throttled: Counter,
    stored: Counter,
    duplicate: Counter,
    refused: Counter,
    retry: Counter,
    unreachable: Counter,
}

impl<'a> Run<'a> {
    fn new(path: &'a Path, link: &LinkSettings, handle: LinkHandle, results: mpsc::Sender<IngestAnswer>) -> Self {
        let name = link.name.clone();
        let counter =
            |answer: &'static str| metrics::counter!(names::DELIVERED, "link" => name.clone(), "answer" => answer);
        Self {
            path,
            facts: LinkFacts { link: name.clone(), country_code: link.country_code.clone() },
            smsc: link.smsc().to_owned(),
            handle,
            buffer: VecDeque::new(),
            handed: Handed::default(),
            results,
            pace: Pace::default(),
            full_since: None,
            throttled: counter("throttled"),
            waiting: metrics::gauge!(names::EVENT_BUFFER, "link" => name.clone()),
            stored: counter("stored"),
            duplicate: counter("duplicate"),
            refused: counter("refused"),
            retry: counter("retry"),
            unreachable: counter("unreachable"),
        }
    }

    /// Parses and hands over what window and rate allow; returns when the rate allows more.
    fn hand_over(&mut self) -> Option<Instant> {
        let window = self.path.parameters.window.count().min(RESULTS_MAX);
        let rate = self.path.parameters.rate.get();
        while self.handed.len() < window && !self.buffer.is_empty() {
            if let Some(next) = self.pace.wait_until(rate, Instant::now()) {
                return Some(next);
            }
            let Some(waiting) = self.buffer.pop_front() else { break };
            if waiting.arrived.elapsed() >= WAIT_MAX {
                self.throttle(waiting.token);
                continue;
            }
            let Some((token, request)) = self.parse(waiting) else { continue };
            let key = key(&request);
            let place = self.handed.insert(token);
            if self.path.ingest.submit(key, request, place, &self.results).is_err() {
                // Other links use up the client: the SMSC keeps it.
                self.settle(place, Err(Unanswered::Deadline));
            }
        }
        None
    }

    /// From when on messages are refused, if the buffer is full.
    fn refuse_from(&mut self, depth: usize) -> Option<Instant> {
        if self.buffer.len() < depth {
            self.full_since = None;
            return None;
        }
        Some(*self.full_since.get_or_insert_with(Instant::now) + STALL_MAX)
    }

    fn throttle(&self, token: AnswerToken) {
        self.throttled.increment(1);
        self.handle.respond_deliver(token, CommandStatus::ESME_RTHROTTLED);
    }

    fn take(&mut self, event: LinkEvent, refusing: bool) {
        match event {
            LinkEvent::Deliver { token, .. } if refusing => self.throttle(token),
            LinkEvent::Deliver { token, message } => {
                let arrived = Instant::now();
                self.buffer.push_back(Waiting { token, message, arrived, arrived_micros: (self.path.clock)() });
            }
            LinkEvent::Down { .. } => {
                // Not answered, and no answer can reach the SMSC any more: it delivers them again.
                self.buffer.clear();
                log_link_event(&self.facts.link, &event);
            }
            LinkEvent::Alert(ref alert) => {
                self.path.receipts.alert(&alert.source_addr, &self.facts, (self.path.clock)());
                log_link_event(&self.facts.link, &event);
            }
            LinkEvent::Bound { .. } => log_link_event(&self.facts.link, &event),
        }
    }

    /// The request for the processor; `None` for a receipt, which goes its own way.
    fn parse(&self, waiting: Waiting) -> Option<(AnswerToken, InboundMessage)> {
        let Waiting { token, message, arrived_micros, .. } = waiting;
        if message.is_delivery_receipt() {
            match receipts::read(&message, &self.smsc, arrived_micros) {
                Some(report) => self.path.receipts.take(report, self.handle.clone(), token),
                None => {
                    self.path.receipts.unreadable();
                    self.handle.respond_deliver(token, CommandStatus::ESME_ROK);
                }
            }
            return None;
        }
        let trace = TraceId::random();
        let request = header::parse(&message, &self.facts, arrived_micros, trace.0);
        let originator = request.originator.as_ref().map_or("", |address| address.digits.as_str());
        events::record(
            Kind::Arrival,
            format!(
                "link {}: message of {} arrived, {} octets, trace {trace}",
                self.facts.link,
                Number(originator),
                request.payload.len()
            ),
        );
        Some((token, request))
    }

    fn settle(&mut self, place: u64, result: Result<IngestResult, Unanswered>) {
        let Some(token) = self.handed.remove(place) else { return };
        let (status, counter) = match result.as_ref().map(IngestResult::outcome) {
            Ok(Outcome::Stored) => (CommandStatus::ESME_ROK, &self.stored),
            Ok(Outcome::Duplicate) => (CommandStatus::ESME_ROK, &self.duplicate),
            Ok(Outcome::Refused) => (CommandStatus::ESME_ROK, &self.refused),
            Ok(Outcome::Retry) => (CommandStatus::ESME_RX_T_APPN, &self.retry),
            Ok(Outcome::Unspecified) | Err(_) => (CommandStatus::ESME_RX_T_APPN, &self.unreachable),
        };
        counter.increment(1);
        self.handle.respond_deliver(token, status);
    }
}

/// Messages of one card meet one worker.
fn key(request: &InboundMessage) -> u64 {
    rpc::key(request.originator.as_ref().map_or("", |address| address.digits.as_str()))
}

/// Binds, failures and alerts of a link in the system log (SC-IC-07).
pub fn log_link_event(link: &str, event: &LinkEvent) {
    match event {
        LinkEvent::Bound { smsc_system_id, .. } => {
            events::record(Kind::CommunicationRestored, format!("link {link}: bound to {smsc_system_id}"));
        }
        LinkEvent::Down { reason, retry_in } => {
            let text = format!("link {link}: {reason}; next attempt in {:.1} s", retry_in.as_secs_f64());
            if reason.is_account_refused() {
                events::log().alarm(Kind::CommunicationFailure, text);
            } else {
                events::record(Kind::CommunicationFailure, text);
            }
        }
        LinkEvent::Alert(alert) => {
            let source = header::digits(&alert.source_addr);
            tracing::debug!(link, source = %Number(&source), "a phone can be reached again");
        }
        LinkEvent::Deliver { .. } => {}
    }
}
