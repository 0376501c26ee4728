//! When an unanswered or refused launch is tried again, and what a launch's outcome makes of an action (D-128).

use std::time::Duration;

use super::{Action, Content, Launched, Progress, State};
use crate::identity::Timestamp;

/// Delays between attempts: the first, doubled each time up to the cap; after the last attempt the action waits for the
/// card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLadder {
    pub first: Duration,
    pub cap: Duration,
    pub attempts_max: u32,
    /// No validity period below this (D-128), and so no next attempt before it.
    pub validity_min: Duration,
}

impl RetryLadder {
    /// Reminders of a resume message that the card does not answer: after 120, 240 and 480 s, then it is suspended (D-84).
    pub const REMINDERS: Self = Self {
        first: Duration::from_secs(120),
        cap: Duration::from_secs(480),
        attempts_max: 4,
        validity_min: Duration::ZERO,
    };
    /// What a device does not answer in a transfer is said again after 60, 120 and 240 s; then the session waits for it
    /// (D-92).
    pub const TRANSFER: Self = Self {
        first: Duration::from_secs(60),
        cap: Duration::from_secs(480),
        attempts_max: 4,
        validity_min: Duration::ZERO,
    };
}

impl Default for RetryLadder {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5 * 60),
            cap: Duration::from_secs(24 * 3600),
            attempts_max: 12,
            validity_min: Duration::from_secs(5 * 60),
        }
    }
}

impl RetryLadder {
    /// From launch number `attempts` (1 is the first) to the next.
    #[must_use]
    pub fn delay(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }

    /// Validity period of launch number `attempts`: it ends at the next attempt, so nothing is at the SMSC twice
    /// (D-117), but is never below 5 min.
    #[must_use]
    pub fn validity(&self, attempts: u32) -> Duration {
        self.delay(attempts).max(self.validity_min)
    }

    /// A launcher took the message: the action is sent, and due again when the card has not answered by then.
    pub fn launched(&self, action: &mut Action, launched: Option<Launched>, now: Timestamp) {
        action.attempts = action.attempts.saturating_add(1);
        action.state = State::Sent;
        action.due = now.plus(self.validity(action.attempts));
        action.launched = launched;
        action.receipt = None;
        action.cause.clear();
    }

    /// The launcher or the network could not take it now: what was in flight is open again, the next attempt is a rung
    /// further, not before `after`. After the last attempt the action waits for the card.
    pub fn postponed(&self, action: &mut Action, cause: &str, after: Duration, now: Timestamp) {
        action.attempts = action.attempts.saturating_add(1);
        self.again(action, cause, now.plus(self.delay(action.attempts).max(after)));
    }

    /// A sent action whose time is up without an answer of the card, or whose message expired or failed in the network
    /// (the attempt was counted at its launch): it is launched again now, or waits for the card after the last attempt.
    pub fn overdue(&self, action: &mut Action, cause: &str, now: Timestamp) {
        self.again(action, cause, now);
    }

    /// The network said that the message will not arrive, before its time was up: again when it would have been.
    pub fn undelivered(&self, action: &mut Action, cause: &str) {
        let due = action.due;
        self.again(action, cause, due);
    }

    /// Refused for good: reported, not tried again (SC-OC-04).
    pub fn refused(&self, action: &mut Action, cause: &str) {
        action.content.reopen();
        action.state = State::Failed;
        cause.clone_into(&mut action.cause);
    }

    /// The card's next message, an alert or an operator: a waiting action starts over at the foot of the ladder (D-128).
    /// Whether it did.
    pub fn resume(&self, action: &mut Action, now: Timestamp) -> bool {
        if action.state != State::Waiting {
            return false;
        }
        action.content.reopen();
        action.attempts = 0;
        action.state = State::Queued;
        action.due = now;
        action.cause.clear();
        true
    }

    fn again(&self, action: &mut Action, cause: &str, due: Timestamp) {
        action.content.reopen();
        action.state = match action.attempts >= self.attempts_max {
            false => State::Queued,
            true if action.content.ends_in_silence() => State::Cancelled,
            true => State::Waiting,
        };
        action.due = due;
        cause.clone_into(&mut action.cause);
    }
}

impl Content {
    /// What was in flight is to be launched again.
    pub fn reopen(&mut self) {
        for progress in self.progresses_mut().filter(|progress| **progress == Progress::InFlight) {
            *progress = Progress::Again;
        }
    }

    /// What `built` found that no message can take, is refused here too. Nothing else of it counts: it never left.
    pub fn refused_in(&mut self, built: &Self) {
        for (progress, found) in self.progresses_mut().zip(built.progresses()) {
            if matches!(found, Progress::Failed(_)) {
                *progress = found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_doubled_up_to_a_day() {
        let ladder = RetryLadder::default();
        let minutes: Vec<u64> = (1..=12).map(|attempt| ladder.delay(attempt).as_secs() / 60).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440, 1440]);
        assert_eq!(ladder.delay(u32::MAX), ladder.cap);
        let quick = RetryLadder { first: Duration::from_secs(1), ..ladder };
        assert_eq!(quick.validity(1), Duration::from_secs(300));
        let reminders = RetryLadder::REMINDERS;
        let seconds: Vec<u64> = (1..=4).map(|attempt| reminders.validity(attempt).as_secs()).collect();
        assert_eq!(seconds, [120, 240, 480, 480]);
    }
}
