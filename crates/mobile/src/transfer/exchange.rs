//! One transfer, the device's side: it initiates, answers what the centre asks, and initiates again when the centre is
//! silent, by the same transaction number, so that the session goes on where it was.

use std::time::Duration;

use link::{
    configuration::Bearer,
    reason::{Outcome, Reason},
    transfer::{
        Message, Wish,
        parts::{Assembly, IP_ROOM_OCTETS, Item, SMS_ROOM_OCTETS},
    },
};

use super::shown_key;

/// An initiation without an answer is repeated after this; each time after twice as long.
const INITIATE_AFTER: Duration = Duration::from_secs(60);
/// Silence in a session after which it is resumed (D-92), and the longest time between two initiations.
const RESUME_AFTER: Duration = Duration::from_secs(15 * 60 + 5);
/// How long the centre's end of a session may overtake its reason.
const REASON_WITHIN: Duration = Duration::from_secs(30);
/// Silence after which there is nothing to resume (D-92).
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

const KEYS_SHOWN_MAX: usize = 20;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Send(Message),
    /// The user is told.
    WaitForIp,
    End(Ended),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Failed(Option<Reason>),
}

/// Keys for the user to read: the first few, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub shown: Vec<String>,
    pub more: usize,
}

impl Keys {
    fn push(&mut self, key: String) {
        if self.shown.len() < KEYS_SHOWN_MAX { self.shown.push(key) } else { self.more += 1 }
    }
}

/// From the initiation to the end.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    transaction: u16,
    pub wish: Wish,
    pub name: String,
    /// Once the centre has opened it.
    session: Option<u32>,
    /// Store: what is sent, item 1 first.
    items: Vec<Item>,
    /// Store: the highest item that was asked for. Fetch: what became of each item, item 1 first.
    asked: u16,
    results: Vec<(Outcome, Reason)>,
    assembly: Assembly,
    /// Keys of settings that are unknown here, and of items that could not be applied.
    pub unknown: Keys,
    pub failed: Keys,
    /// What the centre said is wrong.
    refusal: Option<Reason>,
    /// It has ended without success; what it said of it may have been overtaken and still come.
    has_failed: bool,
    /// An item is too large for SMS: nothing to do before there is IP.
    waits_for_ip: bool,
    /// When the centre spoke last, and what was said since.
    heard: Duration,
    next_try: Duration,
    tries: u8,
}

impl Exchange {
    pub fn new(transaction: u16, wish: Wish, name: String, items: Vec<Item>, now: Duration) -> Self {
        Self {
            transaction,
            wish,
            name,
            session: None,
            items,
            asked: 0,
            results: Vec::new(),
            assembly: Assembly::default(),
            unknown: Keys::default(),
            failed: Keys::default(),
            refusal: None,
            has_failed: false,
            waits_for_ip: false,
            heard: now,
            next_try: now + INITIATE_AFTER,
            tries: 0,
        }
    }

    pub fn initiation(&self) -> Message {
        Message::Initiation { transaction: self.transaction, wish: self.wish, name: self.name.clone() }
    }

    /// The centre is to go on: after a power-on, or silence.
    pub fn resume(&mut self, now: Duration) -> Message {
        self.tries = self.tries.saturating_add(1);
        self.next_try = now + (INITIATE_AFTER * (1 << self.tries.min(5))).min(RESUME_AFTER);
        self.initiation()
    }

    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Items that are where they were to go.
    pub fn count_done(&self) -> usize {
        if self.wish.fetch {
            self.results.iter().filter(|(outcome, _)| *outcome == Outcome::Success).count()
        } else {
            self.items.len()
        }
    }

    pub fn end_message(&self) -> Option<Message> {
        let result = Outcome::PermanentFailure.to_octet();
        self.session.map(|session| Message::SessionEnd { session, result })
    }

    pub fn next_try(&self) -> Duration {
        self.next_try
    }

    pub fn tick(&mut self, bearer: Bearer, now: Duration) -> Vec<Step> {
        if now < self.next_try {
            return Vec::new();
        }
        if self.has_failed || now.saturating_sub(self.heard) >= GIVE_UP_AFTER {
            return vec![Step::End(Ended::Failed(None))];
        }
        if self.waits_for_ip && bearer == Bearer::Sms {
            self.next_try = now + INITIATE_AFTER;
            return Vec::new();
        }
        self.waits_for_ip = false;
        vec![Step::Send(self.resume(now))]
    }

    /// `apply`: puts a fetched item where it belongs, or says why not.
    pub fn handle(
        &mut self,
        message: Message,
        bearer: Bearer,
        now: Duration,
        apply: impl FnOnce(&Item) -> Result<(), Reason>,
    ) -> Vec<Step> {
        let is_ours = match &message {
            Message::Initiation { .. } => false,
            Message::SessionOpen { transaction, .. } => *transaction == self.transaction,
            Message::ItemRequest { session, .. }
            | Message::Item { session, .. }
            | Message::ItemResult { session, .. }
            | Message::SessionEnd { session, .. } => self.session == Some(*session),
        };
        if !is_ours {
            return Vec::new();
        }
        (self.heard, self.next_try, self.tries) = (now, now + RESUME_AFTER, 0);
        match message {
            Message::SessionOpen { session, .. } => {
                self.opened(session);
                // What the centre said along with it may have come before, and was of no session then.
                self.next_try = now + INITIATE_AFTER;
            }
            Message::ItemRequest { item, .. } if !self.wish.fetch => return self.send(item, bearer),
            Message::Item { session, item, part } if self.wish.fetch => {
                let done = usize::from(item).checked_sub(1).and_then(|at| self.results.get(at)).copied();
                let is_next = usize::from(item) == self.results.len() + 1;
                let result = match done {
                    // The centre has not heard: it is told again, once for all parts.
                    Some(result) => (part.part == part.parts).then_some(result),
                    None if is_next => match self.assembly.add(part) {
                        Ok(None) => None,
                        Ok(Some(content)) => Some(self.keep(&content, apply)),
                        Err(_) => Some((Outcome::PermanentFailure, Reason::BadDataLengthOrOffset)),
                    },
                    None => None,
                };
                return result.map(|result| Step::Send(item_result(session, item, result))).into_iter().collect();
            }
            Message::ItemResult { result, reason, .. } => return self.told(Outcome::from_octet(result), reason),
            Message::SessionEnd { result, .. } => return self.ended(Outcome::from_octet(result), now),
            Message::Initiation { .. } | Message::ItemRequest { .. } | Message::Item { .. } => {}
        }
        Vec::new()
    }

    fn opened(&mut self, session: u32) {
        if self.session.replace(session) != Some(session) {
            // The centre has begun anew.
            self.asked = 0;
            self.results.clear();
            self.assembly.clear();
            (self.unknown, self.failed) = (Keys::default(), Keys::default());
        }
        self.refusal = None;
    }

    /// Sends the item that the centre asks for, or that there is none.
    fn send(&mut self, item: u16, bearer: Bearer) -> Vec<Step> {
        let (Some(session), Some(at)) = (self.session, usize::from(item).checked_sub(1)) else { return Vec::new() };
        // A late copy of a request: the centre has that item.
        if item < self.asked {
            return Vec::new();
        }
        self.asked = item;
        let Some(content) = self.items.get(at) else {
            let result = (Outcome::PermanentFailure, Reason::RecordOutOfRange);
            return vec![Step::Send(item_result(session, item, result))];
        };
        let room = match bearer {
            Bearer::Sms => SMS_ROOM_OCTETS,
            Bearer::Ip => IP_ROOM_OCTETS,
        };
        match (content.messages(session, item, room), bearer) {
            (Ok(messages), _) => messages.into_iter().map(Step::Send).collect(),
            (Err(_), Bearer::Sms) => {
                let result = (Outcome::TemporaryFailure, Reason::BadDataLengthOrOffset);
                let mut steps = vec![Step::Send(item_result(session, item, result))];
                steps.extend(self.wait_for_ip());
                steps
            }
            (Err(_), Bearer::Ip) => {
                let result = (Outcome::PermanentFailure, Reason::BadDataLengthOrOffset);
                vec![Step::Send(item_result(session, item, result))]
            }
        }
    }

    /// Applies a fetched item; the result is kept for when the centre sends it again.
    fn keep(&mut self, content: &Item, apply: impl FnOnce(&Item) -> Result<(), Reason>) -> (Outcome, Reason) {
        let result = match apply(content) {
            Ok(()) => (Outcome::Success, Reason::None),
            Err(reason) => (Outcome::PermanentFailure, reason),
        };
        match result {
            (Outcome::Success, _) => {}
            (_, Reason::Unsupported) => self.unknown.push(shown_key(content)),
            _ => self.failed.push(shown_key(content)),
        }
        self.results.push(result);
        result
    }

    /// The centre says what is wrong.
    fn told(&mut self, outcome: Outcome, reason: u8) -> Vec<Step> {
        match (outcome, Reason::from_code(reason)) {
            (Outcome::TemporaryFailure, Some(Reason::BadDataLengthOrOffset)) => self.wait_for_ip(),
            (Outcome::PermanentFailure, reason) => {
                self.refusal = reason;
                if self.has_failed { vec![Step::End(Ended::Failed(reason))] } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// The user is told once.
    fn wait_for_ip(&mut self) -> Vec<Step> {
        self.next_try = self.heard + INITIATE_AFTER;
        if std::mem::replace(&mut self.waits_for_ip, true) { Vec::new() } else { vec![Step::WaitForIp] }
    }

    fn ended(&mut self, outcome: Outcome, now: Duration) -> Vec<Step> {
        match outcome {
            Outcome::Success => vec![Step::End(Ended::Done)],
            Outcome::PermanentFailure if self.refusal.is_some() || self.failed != Keys::default() => {
                vec![Step::End(Ended::Failed(self.refusal))]
            }
            Outcome::PermanentFailure => {
                (self.has_failed, self.next_try) = (true, now + REASON_WITHIN);
                Vec::new()
            }
            // The session has expired: it is resumed.
            Outcome::TemporaryFailure => {
                if !self.waits_for_ip {
                    self.next_try = now + INITIATE_AFTER;
                }
                Vec::new()
            }
        }
    }
}

fn item_result(session: u32, item: u16, (outcome, reason): (Outcome, Reason)) -> Message {
    Message::ItemResult { session, item, result: outcome.to_octet(), reason: reason.code() }
}
