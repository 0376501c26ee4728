//! Durations as an operator writes them: `250ms`, `5s`, `10min`, `2h`, `1d`. For `#[serde(with = "runtime::config::duration")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// What is accepted, in words.
pub const ACCEPTED: &str = "a whole number with its unit: us, ms, s, min, h or d, such as \"250ms\"";

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("min", 60_000_000), ("s", 1_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// `None`: not a duration, or longer than 584 thousand years.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let micros = UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(micros).map(Duration::from_micros)
}

/// The largest unit that divides it: `90s`, `2min`, `1500ms`.
pub fn show(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS
        .iter()
        .filter(|(_, size)| micros > 0 && micros.is_multiple_of(*size))
        .max_by_key(|(_, size)| *size)
        .unwrap_or(&("s", 1_000_000));
    format!("{}{unit}", micros / size)
}

/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show(*duration))
}

/// # Errors
/// Not in the form of [`ACCEPTED`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom(format!("found {text:?}, accepted: {ACCEPTED}")))
}
