//! TP-VP (TS 23.040 9.2.3.12).

use crate::TimeStamp;
use std::time::Duration;

/// How long the centre keeps a SUBMIT that it cannot deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityPeriod {
    /// TP-VPF 2: one octet, [`Self::relative_duration`].
    Relative(u8),
    /// TP-VPF 1: seven octets, kept as they are.
    Enhanced([u8; 7]),
    /// TP-VPF 3.
    Absolute(TimeStamp),
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

impl ValidityPeriod {
    /// The shortest relative period that is not below `wanted` (5 minutes to 63 weeks).
    #[must_use]
    pub fn relative_at_least(wanted: Duration) -> Self {
        let value = (0..=u8::MAX).find(|value| relative_seconds(*value) >= wanted.as_secs()).unwrap_or(u8::MAX);
        Self::Relative(value)
    }

    /// The length of a relative period; `None` for the other formats.
    #[must_use]
    pub fn relative_duration(self) -> Option<Duration> {
        match self {
            Self::Relative(value) => Some(Duration::from_secs(relative_seconds(value))),
            Self::Enhanced(_) | Self::Absolute(_) => None,
        }
    }
}

/// TS 23.040 9.2.3.12.1.
fn relative_seconds(value: u8) -> u64 {
    let n = u64::from(value);
    match value {
        0..=143 => (n + 1) * 5 * MINUTE,
        144..=167 => 12 * HOUR + (n - 143) * 30 * MINUTE,
        168..=196 => (n - 166) * DAY,
        197..=255 => (n - 192) * WEEK,
    }
}
