//! When the next blocks are asked for (AS-V1-06, AS-V1-07).

use std::time::Duration;

use crate::identity::Timestamp;

const MINUTE_MICROS: i64 = 60_000_000;
const DAY_MICROS: i64 = 24 * 60 * MINUTE_MICROS;

/// What the centre does when the device leaves the delay to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Always as long.
    Fixed(Duration),
    /// At these minutes of the day, UTC, 0 to 1439. Empty: at midnight.
    Timetable(Vec<u16>),
    /// Anything between two bounds.
    Random { min: Duration, max: Duration },
}

/// Two minutes (AS-V1-02).
impl Default for Spacing {
    fn default() -> Self {
        Self::Fixed(Duration::from_secs(120))
    }
}

impl Spacing {
    /// After a block stored `now`: the device's own `delay_seconds`, or by this policy if that is 0. `seed`: any number that
    /// differs between devices and messages; of equal seeds the random time is equal.
    #[must_use]
    pub fn next(&self, delay_seconds: u16, now: Timestamp, seed: u64) -> Timestamp {
        if delay_seconds > 0 {
            return now.plus(Duration::from_secs(delay_seconds.into()));
        }
        match self {
            Self::Fixed(delay) => now.plus(*delay),
            Self::Timetable(minutes) => next_of_day(minutes, now),
            Self::Random { min, max } => {
                let span = u64::try_from(max.saturating_sub(*min).as_micros()).unwrap_or(u64::MAX);
                let offset = if span == u64::MAX { mixed(seed) } else { mixed(seed) % (span + 1) };
                now.plus(*min + Duration::from_micros(offset))
            }
        }
    }
}

/// The first of these minutes that is still to come.
fn next_of_day(minutes: &[u16], now: Timestamp) -> Timestamp {
    let midnight = now.0 - now.0.rem_euclid(DAY_MICROS);
    let minutes = if minutes.is_empty() { &[0][..] } else { minutes };
    let places = minutes.iter().flat_map(|minute| {
        let today = midnight + i64::from(*minute) * MINUTE_MICROS;
        [today, today + DAY_MICROS]
    });
    Timestamp(places.filter(|at| *at > now.0).min().unwrap_or(midnight + DAY_MICROS))
}

/// The finaliser of SplitMix64: near seeds give numbers far apart.
fn mixed(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15 08:00 UTC.
    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn waits(spacing: &Spacing, delay_seconds: u16, now: Timestamp, seed: u64) -> u64 {
        spacing.next(delay_seconds, now, seed).since(now).as_secs()
    }

    /// Covers: AS-V1-06
    #[test]
    fn the_devices_delay_goes_before_the_centres() {
        assert_eq!(waits(&Spacing::default(), 0, NOW, 1), 120);
        assert_eq!(waits(&Spacing::default(), 30, NOW, 1), 30);
        assert_eq!(waits(&Spacing::Timetable(vec![0]), 30, NOW, 1), 30);
    }

    #[test]
    fn a_timetable_gives_the_next_time_of_the_day_and_then_the_first_of_the_next() {
        let timetable = Spacing::Timetable(vec![8 * 60, 8 * 60 + 30, 2 * 60]);
        assert_eq!(waits(&timetable, 0, NOW, 1), 30 * 60, "now is not to come");
        assert_eq!(waits(&timetable, 0, NOW.plus(Duration::from_secs(1799)), 1), 1);
        assert_eq!(waits(&timetable, 0, NOW.plus(Duration::from_secs(1800)), 1), (24 - 8) * 3600 + 2 * 3600 - 1800);
        assert_eq!(waits(&Spacing::Timetable(vec![]), 0, NOW, 1), 16 * 3600);
    }

    #[test]
    fn random_times_stay_within_their_bounds_and_spread() {
        let (min, max) = (Duration::from_secs(60), Duration::from_secs(180));
        let spacing = Spacing::Random { min, max };
        let waits: Vec<u64> = (0..1000).map(|seed| waits(&spacing, 0, NOW, seed)).collect();
        assert!(waits.iter().all(|wait| (60..=180).contains(wait)));
        let in_first_half = waits.iter().filter(|wait| **wait < 120).count();
        assert!((400..600).contains(&in_first_half), "{in_first_half} of 1000");
        let never = Spacing::Random { min: max, max: min };
        assert_eq!(never.next(0, NOW, 5), NOW.plus(max));
    }
}
