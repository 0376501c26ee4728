//! The links, their windows, rates and pauses: which of them takes the next message.
//!
//! The link with the most free window is chosen, so that a silent or full one never holds messages for others. A link
//! that is throttled pauses, longer each time, and its window is halved; it grows again with every accepted message.

use std::{collections::HashMap, time::Duration};

use edge::{names, pace::Pace, parameters::Setting};
use metrics::Counter;
use net::smpp::{CompletionSender, LinkHandle};
use smpp::SubmitSm;
use tokio::{sync::watch, time::Instant};

use crate::assemble::Template;

/// Parameters that an operator may change while the service runs.
#[derive(Clone, Debug)]
pub struct PoolParameters {
    /// Messages unanswered on one link.
    pub window: Setting,
    /// Messages a second on one link; 0: no limit.
    pub rate: Setting,
    /// First pause of a throttled link, milliseconds; doubled each time.
    pub throttle_pause_millis: Setting,
}

/// A pause never grows beyond this.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Destinations that can be paused at once.
const DESTINATIONS_MAX: usize = 10_000;

/// One link.
pub struct Member {
    /// `None` while the link is not started: its bind slot belongs to another process.
    handle: watch::Receiver<Option<LinkHandle>>,
    /// Name of its SMSC, for receipts.
    pub smsc: String,
    pub template: Template,
    pub counters: Counters,
    outstanding: usize,
    /// The window that the SMSC bears, as far as is known; at most the configured one.
    allowed: f64,
    pace: Pace,
    pause: Duration,
    paused_until: Option<Instant>,
}

/// Outcomes of one link.
pub struct Counters {
    pub accepted: Counter,
    pub temporary: Counter,
    pub permanent: Counter,
    pub unanswered: Counter,
    pub throttled: Counter,
}

impl Member {
    pub fn new(name: &str, smsc: &str, template: Template, handle: watch::Receiver<Option<LinkHandle>>) -> Self {
        let counter = |outcome: &'static str| metrics::counter!(names::SUBMITTED, "link" => name.to_owned(), "outcome" => outcome);
        let counters = Counters {
            accepted: counter("accepted"),
            temporary: counter("temporary"),
            permanent: counter("permanent"),
            unanswered: counter("unanswered"),
            throttled: metrics::counter!(names::THROTTLED, "link" => name.to_owned()),
        };
        Self {
            handle,
            smsc: smsc.to_owned(),
            template,
            counters,
            outstanding: 0,
            allowed: f64::INFINITY,
            pace: Pace::default(),
            pause: Duration::ZERO,
            paused_until: None,
        }
    }

    fn can_submit(&self) -> bool {
        self.handle.borrow().as_ref().is_some_and(LinkHandle::can_submit)
    }

    /// Hands a message to the link; its outcome comes to `completions` under `token`. False: the link is gone.
    pub fn submit(&self, message: SubmitSm, token: u64, completions: &CompletionSender) -> bool {
        let handle = self.handle.borrow();
        handle.as_ref().is_some_and(|handle| handle.try_submit_with(message, token, completions).is_ok())
    }

    /// Messages that it may take now.
    fn free(&self, parameters: &PoolParameters, now: Instant) -> usize {
        let paused = self.paused_until.is_some_and(|until| now < until);
        if paused || !self.can_submit() || self.pace.not_before(parameters.rate.get(), now).is_some() {
            return 0;
        }
        self.window(parameters).saturating_sub(self.outstanding)
    }

    fn window(&self, parameters: &PoolParameters) -> usize {
        let configured = parameters.window.count().max(1);
        if self.allowed >= parameters.window.get() as f64 {
            return configured;
        }
        // Between 1 and the configured window.
        (self.allowed.max(1.0) as usize).min(configured)
    }
}

/// All links of the service.
pub struct Pool {
    members: Vec<Member>,
    parameters: PoolParameters,
    /// Destinations whose queue at the SMSC is full, and until when they rest.
    resting: HashMap<String, Instant>,
}

impl Pool {
    pub fn new(members: Vec<Member>, parameters: PoolParameters) -> Self {
        Self { members, parameters, resting: HashMap::new() }
    }

    /// The link with the most free window, with one place of it and one turn of its rate taken.
    pub fn take(&mut self, now: Instant) -> Option<usize> {
        let parameters = &self.parameters;
        let (index, _) = self
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| (index, member.free(parameters, now)))
            .filter(|(_, free)| *free > 0)
            .max_by_key(|(_, free)| *free)?;
        let member = self.members.get_mut(index)?;
        member.outstanding += 1;
        // `free` has seen that there is a turn.
        member.pace.wait_until(self.parameters.rate.get(), now);
        Some(index)
    }

    /// When a link that is paused or paced may take a message again, if any is.
    pub fn next_turn(&self, now: Instant) -> Option<Instant> {
        let turns = self.members.iter().filter(|member| member.can_submit()).filter_map(|member| {
            let paused = member.paused_until.filter(|until| *until > now);
            paused.max(member.pace.not_before(self.parameters.rate.get(), now))
        });
        turns.min()
    }

    pub fn member(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }

    /// The place is free again.
    pub fn give_back(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index) {
            member.outstanding = member.outstanding.saturating_sub(1);
        }
    }

    /// The SMSC accepted a message: the window may grow by one per window of messages.
    pub fn accepted(&mut self, index: usize, now: Instant) {
        let window_max = self.parameters.window.get() as f64;
        let Some(member) = self.members.get_mut(index) else { return };
        if member.allowed < window_max {
            member.allowed += 1.0 / member.allowed.max(1.0);
        } else {
            member.allowed = f64::INFINITY;
        }
        if member.paused_until.is_some_and(|until| now > until + member.pause) {
            member.paused_until = None;
            member.pause = Duration::ZERO;
        }
    }

    /// The SMSC throttles this link: it pauses; what is left of a window that was sent before adds nothing.
    pub fn throttled(&mut self, index: usize, now: Instant) -> Duration {
        let first = Duration::from_millis(self.parameters.throttle_pause_millis.get());
        let window_max = self.parameters.window.get() as f64;
        let Some(member) = self.members.get_mut(index) else { return first };
        member.counters.throttled.increment(1);
        if member.paused_until.is_none_or(|until| now >= until) {
            member.pause = if member.pause.is_zero() { first } else { (member.pause * 2).min(PAUSE_MAX) };
            member.paused_until = Some(now + member.pause);
            member.allowed = (member.allowed.min(window_max) / 2.0).max(1.0);
        }
        member.pause
    }

    /// This destination rests for `span`.
    pub fn rest(&mut self, msisdn: String, now: Instant, span: Duration) {
        if self.resting.len() >= DESTINATIONS_MAX {
            self.resting.retain(|_, until| *until > now);
        }
        if self.resting.len() < DESTINATIONS_MAX {
            self.resting.insert(msisdn, now + span);
        }
    }

    /// How long this destination still rests.
    pub fn rests(&mut self, msisdn: &str, now: Instant) -> Option<Duration> {
        if self.resting.is_empty() {
            return None;
        }
        let until = *self.resting.get(msisdn)?;
        if until > now {
            return Some(until - now);
        }
        self.resting.remove(msisdn);
        None
    }
}
