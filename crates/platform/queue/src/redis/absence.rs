//! Whether Redis is there, as far as the connections of a queue have seen: told when it changes and, while it is away,
//! now and then; always in the gauge [`UP`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use redis::RedisError;
use runtime::events::{self, Kind};
use tokio::time::Instant;

/// 1: Redis answers, 0: it is away.
pub(super) const UP: &str = "simvault_queue_up";
/// How often an absence is told of.
const TOLD_EVERY: Duration = Duration::from_secs(30);

pub(super) struct Absence {
    /// Host and port; never a password.
    address: String,
    /// Since when it is away, and when that was last told.
    away: Mutex<Option<(Instant, Instant)>>,
}

impl Absence {
    pub(super) fn new(address: String) -> Self {
        Self { address, away: Mutex::new(None) }
    }

    /// A connection was opened.
    pub(super) fn over(&self) {
        metrics::gauge!(UP).set(1.0);
        if self.away.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            events::record(Kind::CommunicationRestored, format!("queue: connected to Redis at {} again", self.address));
        }
    }

    /// A connection broke or was not made.
    pub(super) fn seen(&self, error: &RedisError) {
        metrics::gauge!(UP).set(0.0);
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = self.text(*away, now, error) {
            *away = Some((away.map_or(now, |(since, _)| since), now));
            drop(away);
            events::record(Kind::CommunicationFailure, text);
        }
    }

    fn text(&self, away: Option<(Instant, Instant)>, now: Instant, error: &RedisError) -> Option<String> {
        match away {
            None => Some(format!("queue: Redis at {}: {error}", self.address)),
            Some((since, told)) if now.duration_since(told) >= TOLD_EVERY => {
                let seconds = now.duration_since(since).as_secs();
                Some(format!("queue: Redis at {}: still away, {seconds} s: {error}", self.address))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    #[test]
    fn an_absence_is_told_of_once_and_then_now_and_then() {
        let absence = Absence::new("one:6379".to_owned());
        let error = RedisError::from((ErrorKind::Io, "refused"));
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let first = absence.text(None, began, &error).unwrap_or_default();
        assert!(first.starts_with("queue: Redis at one:6379: refused"), "{first}");
        assert_eq!(absence.text(Some((began, began)), at(29), &error), None);
        let later = absence.text(Some((began, at(30))), at(65), &error).unwrap_or_default();
        assert!(later.starts_with("queue: Redis at one:6379: still away, 65 s: refused"), "{later}");
    }
}
