//! The cost guard (D-121): a card that gets more short messages in a day than its budget is slowed and reported; nothing
//! of it is lost. Counted in this process only, so several replicas allow several budgets.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::identity::{DeviceKey, Timestamp};

const DAY_MICROS: i64 = 86_400_000_000;
/// Cards counted at most; beyond it new ones are not counted until the day ends.
const CARDS_MAX: usize = 2_000_000;

/// Whether a message may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Go,
    /// Not before this time.
    Later(Timestamp),
    /// As `Later`, and for the first time today: report it.
    Report(Timestamp),
}

/// Counts of one UTC day.
pub struct Budget {
    per_day: u32,
    slowed: Duration,
    day: Mutex<Day>,
}

#[derive(Default)]
struct Day {
    number: i64,
    cards: HashMap<DeviceKey, Card>,
}

#[derive(Clone, Copy, Default)]
struct Card {
    sent: u32,
    last: Timestamp,
    reported: bool,
}

impl Budget {
    /// `per_day` 0: no limit.
    pub fn new(per_day: u32, slowed: Duration) -> Self {
        Self { per_day, slowed, day: Mutex::default() }
    }

    /// Counts a message that goes now, or says when it may.
    pub fn take(&self, device: DeviceKey, now: Timestamp) -> Verdict {
        if self.per_day == 0 {
            return Verdict::Go;
        }
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.0.div_euclid(DAY_MICROS);
        if day.number != number {
            *day = Day { number, cards: HashMap::new() };
        }
        if day.cards.len() >= CARDS_MAX && !day.cards.contains_key(&device) {
            return Verdict::Go;
        }
        let card = day.cards.entry(device).or_default();
        let next = card.last.plus(self.slowed);
        if card.sent >= self.per_day && now < next {
            let first = !std::mem::replace(&mut card.reported, true);
            return if first { Verdict::Report(next) } else { Verdict::Later(next) };
        }
        card.sent = card.sent.saturating_add(1);
        card.last = now;
        Verdict::Go
    }
}

#[cfg(test)]
mod tests {
    use domain::identity::{DeviceId, SubscriberId};

    use super::*;

    #[test]
    fn a_looping_card_is_slowed_reported_once_and_free_again_the_next_day() {
        let budget = Budget::new(3, Duration::from_secs(300));
        let device = |id| DeviceKey { subscriber: SubscriberId(id), device: DeviceId(id) };
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for second in 0..3 {
            assert_eq!(budget.take(device(1), at(second)), Verdict::Go);
        }
        assert_eq!(budget.take(device(1), at(3)), Verdict::Report(at(302)));
        assert_eq!(budget.take(device(1), at(4)), Verdict::Later(at(302)));
        assert_eq!(budget.take(device(2), at(4)), Verdict::Go, "another card is not slowed");
        assert_eq!(budget.take(device(1), at(302)), Verdict::Go);
        assert_eq!(budget.take(device(1), at(303)), Verdict::Later(at(602)));
        assert_eq!(budget.take(device(1), at(86_400)), Verdict::Go);
        assert_eq!(Budget::new(0, Duration::ZERO).take(device(1), at(0)), Verdict::Go);
    }
}
