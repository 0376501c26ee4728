//! Wall time as a value that is handed in: services take a [`Clock`], tests move a [`Manual`] one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// UTC, microseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's time now: UTC, microseconds since the epoch (0 before it).
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A clock that follows the system.
pub fn system() -> Clock {
    Arc::new(now)
}

/// A clock that moves only when a test moves it.
#[derive(Clone, Debug, Default)]
pub struct Manual(Arc<AtomicI64>);

impl Manual {
    /// Starts at `micros`.
    pub fn at(micros: i64) -> Self {
        Self(Arc::new(AtomicI64::new(micros)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }

    pub fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    /// What a service takes.
    pub fn clock(&self) -> Clock {
        let time = self.0.clone();
        Arc::new(move || time.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_it_is_moved() {
        let manual = Manual::at(5);
        let clock = manual.clock();
        assert_eq!(clock(), 5);
        manual.advance(Duration::from_millis(2));
        assert_eq!(clock(), 2_005);
        assert!(now() > 1_600_000_000_000_000);
    }
}
