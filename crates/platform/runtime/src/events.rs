//! The system log (SC-IC-07): what happened to a process, by kind, in a bounded ring per kind, counted in the metrics and
//! read through the Diagnostics service (SC-DG-02). Texts carry no personal data: numbers go through [`crate::mask`].

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::clock::{self, Clock};

/// Kinds of SC-IC-07.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    StartUp,
    ShutDown,
    /// A link, a peer or a store cannot be reached, or misbehaves.
    CommunicationFailure,
    CommunicationRestored,
    /// One inbound message arrived.
    Arrival,
    /// An inbound message was refused.
    Refusal,
    /// An operator changed something.
    Configuration,
    /// Any other action worth a line.
    Action,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::StartUp,
        Self::ShutDown,
        Self::CommunicationFailure,
        Self::CommunicationRestored,
        Self::Arrival,
        Self::Refusal,
        Self::Configuration,
        Self::Action,
    ];

    /// As in logs, metrics and the Diagnostics service.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartUp => "start_up",
            Self::ShutDown => "shut_down",
            Self::CommunicationFailure => "communication_failure",
            Self::CommunicationRestored => "communication_restored",
            Self::Arrival => "arrival",
            Self::Refusal => "refusal",
            Self::Configuration => "configuration",
            Self::Action => "action",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// One line of the system log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// UTC, microseconds since the epoch.
    pub at_micros: i64,
    pub kind: Kind,
    pub text: Cow<'static, str>,
}

/// The newest events of each kind, and how many there were. One per process ([`log`]); tests make their own.
pub struct EventLog {
    rings: [Mutex<VecDeque<Event>>; Kind::ALL.len()],
    counts: [AtomicU64; Kind::ALL.len()],
    capacity: usize,
    clock: Clock,
}

/// Events kept per kind.
const CAPACITY: usize = 256;

impl EventLog {
    /// Keeps `capacity` events of each kind.
    pub fn new(capacity: usize, clock: Clock) -> Self {
        Self { rings: Default::default(), counts: Default::default(), capacity: capacity.max(1), clock }
    }

    /// Adds an event, counts it, and logs a line: failures as warnings, arrivals at debug level, the rest as information.
    pub fn record(&self, kind: Kind, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        match kind {
            Kind::CommunicationFailure => tracing::warn!(event = kind.name(), "{text}"),
            Kind::Arrival => tracing::debug!(event = kind.name(), "{text}"),
            _ => tracing::info!(event = kind.name(), "{text}"),
        }
        self.keep(kind, text);
    }

    /// As [`Self::record`], logged as an error: somebody has to do something.
    pub fn alarm(&self, kind: Kind, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        tracing::error!(event = kind.name(), "{text}");
        self.keep(kind, text);
    }

    fn keep(&self, kind: Kind, text: Cow<'static, str>) {
        metrics::counter!("simvault_events_total", "kind" => kind.name()).increment(1);
        let at_micros = (self.clock)();
        let (Some(ring), Some(count)) = (self.rings.get(kind.index()), self.counts.get(kind.index())) else { return };
        count.fetch_add(1, Ordering::Relaxed);
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= self.capacity {
            ring.pop_front();
        }
        ring.push_back(Event { at_micros, kind, text });
    }

    /// The newest events of all kinds, newest first, at most `limit`.
    pub fn newest(&self, limit: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for ring in &self.rings {
            events.extend(ring.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(limit).cloned());
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.at_micros));
        events.truncate(limit);
        events
    }

    /// How many events of this kind there were since the start.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(kind.index()).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// The system log of this process.
pub fn log() -> &'static EventLog {
    static LOG: OnceLock<EventLog> = OnceLock::new();
    LOG.get_or_init(|| EventLog::new(CAPACITY, clock::system()))
}

/// Adds an event to the process's [`log`].
pub fn record(kind: Kind, text: impl Into<Cow<'static, str>>) {
    log().record(kind, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_kept_counted_and_bounded() {
        let time = clock::Manual::at(0);
        let log = EventLog::new(3, time.clock());
        for kind in Kind::ALL {
            for number in 0..5 {
                time.set(time.now() + 1);
                log.record(kind, format!("{} {number}", kind.name()));
            }
        }
        for kind in Kind::ALL {
            assert_eq!(log.count(kind), 5);
        }
        let newest = log.newest(100);
        assert_eq!(newest.len(), 3 * Kind::ALL.len());
        assert_eq!(newest.first().map(|event| event.text.as_ref()), Some("action 4"));
        assert!(newest.iter().any(|event| event.text == "start_up 2"), "arrivals do not push out a start");
        assert_eq!(log.newest(2).len(), 2);
    }
}
