//! Token bucket: so many messages a second, with a burst of a tenth of a second.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct RateLimit {
    /// Messages a second; `None` = no limit.
    per_second: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    pub fn new(per_second: Option<u32>, now: Instant) -> Self {
        Self { per_second: per_second.map(|rate| f64::from(rate.max(1))), tokens: 1.0, filled: now }
    }

    /// Messages that may go now, at most `wanted`.
    pub fn available(&mut self, wanted: usize, now: Instant) -> usize {
        let Some(rate) = self.per_second else { return wanted };
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min((rate / 10.0).max(1.0));
        self.filled = now;
        (1..=wanted.min(4096))
            .take_while(|count| f64::from(u16::try_from(*count).unwrap_or(u16::MAX)) <= self.tokens)
            .count()
    }

    pub fn take(&mut self, count: usize) {
        if self.per_second.is_some() {
            self.tokens -= f64::from(u16::try_from(count).unwrap_or(u16::MAX));
        }
    }

    /// When one more message may go, if a limit is set.
    pub fn next(&self) -> Option<Instant> {
        let rate = self.per_second?;
        let missing = (1.0 - self.tokens).max(0.0);
        Some(self.filled + Duration::from_secs_f64(missing / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_rate_over_ten_seconds() {
        let start = Instant::now();
        let mut limit = RateLimit::new(Some(100), start);
        let mut sent = 0;
        for step in 0..10_000 {
            let count = limit.available(50, start + Duration::from_millis(step));
            limit.take(count);
            sent += count;
        }
        assert!((990..=1011).contains(&sent), "{sent}");
        assert!(RateLimit::new(None, start).available(7, start) == 7);
    }
}
