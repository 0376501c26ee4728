//! When cards are asked for the next blocks of an asynchronous backup, as an operator sets it (AS-V1-07).

use std::time::Duration;

use domain::asynchronous::Spacing;
use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};

/// The policy and its figures; those of another policy are not looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpacingConfig {
    /// `fixed`, `timetable` or `random`. Default `fixed`.
    pub policy: Policy,
    /// `fixed`: from the blocks to the resume message, 1 s to 18 h. Default 2 min.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// `timetable`: times of the day, UTC, such as `02:30`; 1 to 1440 of them. Default midnight.
    pub times: Vec<String>,
    /// `random`: the shortest delay, 1 s to 7 days. Default 1 min.
    #[serde(with = "duration")]
    pub random_min: Duration,
    /// `random`: the longest delay, from `random_min` to 7 days. Default 3 min.
    #[serde(with = "duration")]
    pub random_max: Duration,
}

/// How the delays follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Fixed,
    Timetable,
    Random,
}

impl Default for SpacingConfig {
    fn default() -> Self {
        Self {
            policy: Policy::Fixed,
            delay: Duration::from_secs(120),
            times: vec!["00:00".to_owned()],
            random_min: Duration::from_secs(60),
            random_max: Duration::from_secs(180),
        }
    }
}

impl SpacingConfig {
    /// As the domain wants it. A time that is none is left out; [`Self::problems`] has told of it.
    #[must_use]
    pub fn spacing(&self) -> Spacing {
        match self.policy {
            Policy::Fixed => Spacing::Fixed(self.delay),
            Policy::Timetable => Spacing::Timetable(self.times.iter().filter_map(|time| minute_of_day(time)).collect()),
            Policy::Random => Spacing::Random { min: self.random_min, max: self.random_max },
        }
    }
}

/// `HH:MM`.
fn minute_of_day(time: &str) -> Option<u16> {
    let (hours, minutes) = time.split_once(':')?;
    let number = |digits: &str, below: u16| -> Option<u16> {
        let is_two_digits = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| is_two_digits && *number < below)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

impl Validate for SpacingConfig {
    fn problems(&self) -> Vec<Problem> {
        let seconds = Duration::from_secs;
        let week = seconds(7 * 86_400);
        let wrong = self.times.iter().find(|time| minute_of_day(time).is_none());
        [
            Problem::duration_range("delay", self.delay, seconds(1)..=seconds(18 * 3600)),
            Problem::range("times", self.times.len(), 1..=1440),
            wrong.map(|time| Problem::new("times", format!("{time:?}"), "HH:MM")),
            Problem::duration_range("random_min", self.random_min, seconds(1)..=week),
            Problem::duration_range("random_max", self.random_max, self.random_min..=week.max(self.random_min)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_can_be_chosen() {
        let fixed = SpacingConfig::default();
        assert_eq!(fixed.spacing(), Spacing::default());
        let times = vec!["02:30".to_owned(), "23:59".to_owned()];
        let timetable = SpacingConfig { policy: Policy::Timetable, times, ..fixed.clone() };
        assert_eq!(timetable.spacing(), Spacing::Timetable(vec![150, 1439]));
        let random = SpacingConfig { policy: Policy::Random, ..fixed };
        let (min, max) = (Duration::from_secs(60), Duration::from_secs(180));
        assert_eq!(random.spacing(), Spacing::Random { min, max });
    }

    #[test]
    fn what_is_no_time_of_the_day_is_told() {
        let keys = |times: &[&str]| {
            let times = times.iter().map(|time| (*time).to_owned()).collect();
            let config = SpacingConfig { times, ..SpacingConfig::default() };
            config.problems().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&["00:00", "23:59"]), [] as [&str; 0]);
        for wrong in ["24:00", "12:60", "1:00", "+1:00", "noon", ""] {
            assert_eq!(keys(&[wrong]), ["times"], "{wrong}");
        }
        assert_eq!(keys(&[]), ["times"]);
    }
}
