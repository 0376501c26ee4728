//! Whether the workers get on: an edge leaves a replica whose worker is stuck, because every other sign of life of the
//! process goes on without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A worker that is at one batch for longer is stuck. Shorter than an edge waits for an answer (5 s), longer than a
/// database takes that is only slow.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// Since when each worker is at its batch.
pub struct Pace {
    born: Instant,
    /// Milliseconds since `born`, plus one; 0: at rest.
    since: Box<[AtomicU64]>,
}

impl Pace {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { born: Instant::now(), since: (0..workers).map(|_| AtomicU64::new(0)).collect() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// One worker, too late with its batch or gone with it.
    pub fn is_stuck(&self) -> bool {
        let oldest = self.now().saturating_sub(u64::try_from(STUCK_AFTER.as_millis()).unwrap_or(u64::MAX));
        self.since.iter().map(|since| since.load(Ordering::Relaxed)).any(|since| since != 0 && since < oldest)
    }
}

/// The part of one worker in it.
pub struct Turn {
    pub pace: Arc<Pace>,
    pub worker: usize,
}

impl Turn {
    pub fn begins(&self) {
        self.set(self.pace.now());
    }

    /// Not called by a worker that panics: it stays stuck, and its process is left.
    pub fn ends(&self) {
        self.set(0);
    }

    fn set(&self, value: u64) {
        if let Some(since) = self.pace.since.get(self.worker) {
            since.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_end_its_turn_is_stuck_and_one_at_rest_is_not() {
        let pace = Pace::new(2);
        let turn = Turn { pace: pace.clone(), worker: 1 };
        tokio::time::advance(STUCK_AFTER * 2).await;
        assert!(!pace.is_stuck());
        turn.begins();
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!pace.is_stuck());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(pace.is_stuck());
        turn.ends();
        assert!(!pace.is_stuck());
    }
}
