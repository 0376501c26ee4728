//! What the load measured over some time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Counts and latencies, microseconds, since the last report.
#[derive(Clone, Debug)]
pub struct Report {
    pub since: Instant,
    pub elapsed: Duration,
    pub accepted: u64,
    pub failed: u64,
    pub acknowledged: u64,
    /// Messages that needed more than one `deliver_sm`.
    pub redelivered: u64,
    /// As `redelivered`, only of messages that were offered since the last report.
    pub redelivered_since: u64,
    /// Longest time to an acknowledgement of messages that were offered since the last report.
    pub acknowledged_within: Duration,
    /// From the offer to the SMSC until the centre's positive answer.
    pub answers: Histogram<u64>,
    /// From the offer until the card had its acknowledgement.
    pub acknowledgements: Histogram<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            elapsed: Duration::ZERO,
            accepted: 0,
            failed: 0,
            acknowledged: 0,
            redelivered: 0,
            redelivered_since: 0,
            acknowledged_within: Duration::ZERO,
            answers: histogram(),
            acknowledgements: histogram(),
        }
    }
}

impl Report {
    /// Answered messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        count(self.accepted) / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Microseconds up to ten minutes; two digits are enough.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 2).expect("these bounds are allowed")
}

/// A quantile of a histogram of microseconds, in milliseconds.
#[must_use]
pub fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    count(histogram.value_at_quantile(quantile)) / 1000.0
}

/// Counts of this program stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
#[must_use]
pub fn count(value: u64) -> f64 {
    value as f64
}
