//! The phone's toolkit timers (TS 102 223 6.4.21), and for how long it is busy with what its card wants.

use std::time::Duration;

use uicc::proactive::TimerAction;

/// Timers 1 to 8, each with when it was started and when it ends. They are gone with the power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<(Duration, Duration)>; 8]);

impl Timers {
    /// TIMER MANAGEMENT; false: no such timer, or it does not run.
    pub(crate) fn manage(&mut self, timer_id: u8, action: TimerAction, now: Duration) -> bool {
        let Some(timer) = usize::from(timer_id).checked_sub(1).and_then(|at| self.0.get_mut(at)) else { return false };
        match action {
            TimerAction::Start(span) => {
                *timer = Some((now, now + span));
                true
            }
            TimerAction::Deactivate => timer.take().is_some(),
            TimerAction::GetValue => timer.is_some(),
        }
    }

    /// The first that has ended, and how long it ran; it is stopped.
    pub(crate) fn expired(&mut self, now: Duration) -> Option<(u8, Duration)> {
        let (number, timer) = (1..).zip(&mut self.0).find(|(_, timer)| timer.is_some_and(|(_, end)| end <= now))?;
        let (started, _) = timer.take()?;
        Some((number, now.saturating_sub(started)))
    }

    /// When the next one ends.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.iter().flatten().map(|(_, end)| *end).min()
    }
}

/// How long the phone was busy with short messages. Messages without a pause between them are one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    since: Option<Duration>,
    until: Option<Duration>,
    pub(crate) longest: Duration,
}

impl Busy {
    pub(crate) fn begins(&mut self, now: Duration) {
        if self.until.take() != Some(now) {
            self.since = Some(now);
        }
    }

    /// Nothing, if it is not busy.
    pub(crate) fn ends(&mut self, now: Duration) {
        if self.until.is_some() {
            return;
        }
        self.until = Some(now);
        self.longest = self.longest.max(now.saturating_sub(self.since.unwrap_or(now)));
    }
}
