//! A rate that an operator may change at any time.

use std::time::Duration;

use tokio::time::Instant;

/// Evenly spaced turns, with a burst of 50 ms; the rate may change between two of them.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the next turn is due at this rate.
    next: Option<Instant>,
}

impl Pace {
    const BURST: Duration = Duration::from_millis(50);

    /// Takes a turn, or says when there is one. `per_second` 0: always.
    pub fn wait_until(&mut self, per_second: u64, now: Instant) -> Option<Instant> {
        if per_second == 0 {
            self.next = None;
            return None;
        }
        if let Some(next) = self.not_before(per_second, now) {
            return Some(next);
        }
        let earliest = now.checked_sub(Self::BURST).unwrap_or(now);
        let next = self.next.map_or(earliest, |next| next.max(earliest));
        self.next = Some(next + Duration::from_nanos(1_000_000_000 / per_second));
        None
    }

    /// When there is a turn, if not now; takes none.
    #[must_use]
    pub fn not_before(&self, per_second: u64, now: Instant) -> Option<Instant> {
        self.next.filter(|next| per_second > 0 && *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pace_keeps_its_rate_and_takes_a_new_one_at_once() {
        let mut pace = Pace::default();
        let mut count = |rate: u64, span: Duration, step: Duration, start: Instant| {
            let mut turns = 0;
            let mut passed = Duration::ZERO;
            while passed < span {
                while pace.wait_until(rate, start + passed).is_none() && turns < 100_000 {
                    turns += 1;
                }
                passed += step;
            }
            turns
        };
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let second = 1000 * ms;
        let turns = count(100, 10 * second, ms, start);
        assert!((1000..=1006).contains(&turns), "{turns}");
        let turns = count(10, 10 * second, ms, start + 10 * second);
        assert!((99..=102).contains(&turns), "{turns}");
        assert_eq!(pace.wait_until(0, start), None);
    }
}
