//! A clock that moves only when a test moves it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

/// UTC in microseconds since 1970; clones show the same time.
#[derive(Clone, Debug)]
pub struct FakeClock(Arc<AtomicI64>);

impl FakeClock {
    /// Starts at `micros`.
    #[must_use]
    pub fn at(micros: i64) -> Self {
        Self(Arc::new(AtomicI64::new(micros)))
    }

    #[must_use]
    pub fn now(&self) -> i64 {
        self.0.load(SeqCst)
    }

    /// Moves on and answers the new time.
    pub fn advance(&self, span: Duration) -> i64 {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, SeqCst).saturating_add(micros)
    }
}
