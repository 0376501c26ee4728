//! What things are called: subscribers, devices, numbers, times.

use std::fmt::{self, Write as _};

/// A subscriber, unique over all tenants (D-113). Made by the service: [`IdGenerator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberId(pub i64);

/// A card of a subscriber; a replaced card is another device (D-112).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub i64);

/// Every key of the store starts with the subscriber (D-113).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    pub subscriber: SubscriberId,
    pub device: DeviceId,
}

/// UTC wall time in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment moved forward.
    #[must_use]
    pub fn plus(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A subscriber number in E.164, digits only. `Debug` and `Display` mask it; [`Self::digits`] is the explicit way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msisdn(u64);

/// Not 1 to 15 digits that start with 1 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an E.164 number: expected 1 to 15 digits, the first not 0")]
pub struct NotE164;

impl Msisdn {
    /// # Errors
    /// [`NotE164`] for anything but 1 to 15 digits with a first digit of 1 to 9.
    pub fn parse(digits: &str) -> Result<Self, NotE164> {
        let legal =
            (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        if !legal {
            return Err(NotE164);
        }
        digits.parse().map(Self).map_err(|_| NotE164)
    }

    /// The number as the store keeps it (E.164 fits 50 bits).
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).expect("15 digits fit")
    }

    /// # Errors
    /// [`NotE164`] when the stored value is not a number.
    pub fn from_i64(value: i64) -> Result<Self, NotE164> {
        Self::parse(&value.to_string())
    }

    /// The digits in full. What shows them to a person leaves an audit record.
    #[must_use]
    pub fn digits(self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As the logs of every service show a number, so that one search finds it: 316*****78.
        let digits = self.0.to_string();
        let last = digits.len().saturating_sub(2);
        let shown = |at: usize| digits.len() > 7 && (at < 3 || at >= last);
        digits.chars().enumerate().try_for_each(|(at, digit)| f.write_char(if shown(at) { digit } else { '*' }))
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msisdn({self})")
    }
}

/// Makes ids that grow with time: 41 bits of milliseconds since 2024, 10 bits of node, 12 bits of sequence.
#[derive(Debug)]
pub struct IdGenerator {
    node: i64,
    last: std::sync::atomic::AtomicI64,
}

/// The start of 2024, from which ids count their milliseconds.
const EPOCH_MILLIS: i64 = 1_704_067_200_000;

/// When an id of an [`IdGenerator`] was made, to the millisecond.
#[must_use]
pub fn made_at(id: i64) -> Timestamp {
    Timestamp((id >> 22).saturating_add(EPOCH_MILLIS).saturating_mul(1000))
}

impl IdGenerator {
    /// `node`: 0 to 1023, different for every process that makes ids.
    #[must_use]
    pub fn new(node: u16) -> Self {
        Self { node: i64::from(node & 0x3FF), last: std::sync::atomic::AtomicI64::new(0) }
    }

    /// The next id, never lower than one before it from the same generator.
    pub fn next(&self, now: Timestamp) -> i64 {
        use std::sync::atomic::Ordering::Relaxed;
        // `last` counts milliseconds and sequence in one number, so one atomic step is enough.
        let floor = (now.0 / 1000 - EPOCH_MILLIS) << 12;
        let mut seen = self.last.load(Relaxed);
        let tick = loop {
            let tick = floor.max(seen + 1);
            match self.last.compare_exchange_weak(seen, tick, Relaxed, Relaxed) {
                Ok(_) => break tick,
                Err(actual) => seen = actual,
            }
        };
        ((tick >> 12) << 22) | (self.node << 12) | (tick & 0xFFF)
    }
}
