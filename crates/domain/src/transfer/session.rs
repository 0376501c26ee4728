//! One session between a device and the centre, which leads it (NK-SE-01).
//!
//! Store: the centre asks for items 1, 2, … (C3), the device sends each in parts (C4), and says that there is none by C5
//! with result 02 and reason 02. Fetch: the centre sends items (C4), the device says what became of each (C5). Either
//! ends with C6. The centre repeats what the device is silent about; after 15 minutes the session waits for the device's
//! initiation and goes on at the first item that was not confirmed (D-92). The caller carries out [`Output`]s in order, in
//! one transaction with the session itself, and says nothing before the commit.

use std::time::Duration;

use link::{
    reason::{Outcome, Reason},
    transfer::{
        ItemPart, Kind, Message, Wish,
        parts::{Assembly, Item},
    },
};

use super::collection::{COLLECTION_OCTETS_MAX, Collection, is_wanted};
use crate::{
    identity::{DeviceKey, SubscriberId, Timestamp},
    phonebook::Bearer,
};

/// Silence of the device after which the session waits (D-92).
pub const EXPIRY: Duration = Duration::from_secs(15 * 60);
/// How long after the device's last message it can be resumed (D-92).
pub const RESUMABLE: Duration = Duration::from_secs(24 * 3600);
/// Silence after which the centre says the same again; doubled each time, so three times within [`EXPIRY`].
pub const REPEAT_AFTER: Duration = Duration::from_secs(60);
/// An initiation that comes so soon after the centre's last word is a copy of one that was answered.
const COPY_WITHIN: Duration = Duration::from_secs(10);

/// What the session does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// Until the device initiates it again, by the same transaction number.
    Waiting,
    Ended(End),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub outcome: Outcome,
    /// The item that it failed at (0: the initiation), and why.
    pub refused: Option<(u16, Reason)>,
}

/// What the caller does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Say(Message),
    /// Send this item of the collection, counted from 1 among those that are wanted, in parts.
    SendItem {
        item: u16,
    },
    /// Keep it, not visible yet.
    Stage {
        item: u16,
        content: Item,
    },
    /// What was staged becomes the collection, in place of the one before.
    Publish,
    /// What was staged is forgotten.
    Discard,
    /// The target of a move has all: that version of the collection is deleted.
    Delete {
        version: u32,
    },
}

/// What the session is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Not to be guessed, and of no other session.
    pub id: u32,
    pub device: DeviceKey,
    pub transaction: u16,
    pub wish: Wish,
    /// Whose collection it is.
    pub owner: SubscriberId,
    pub name: String,
}

/// A session: what its row in the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub opening: Opening,
    pub phase: Phase,
    /// What the centre says goes by this one: the device's last.
    pub bearer: Bearer,
    pub opened: Timestamp,
    /// When the device's last message came.
    pub last_traffic: Timestamp,
    /// When the centre spoke last, and how often it said the same without an answer.
    pub(super) last_word: Timestamp,
    pub(super) repeats: u8,
    /// The first item that is not confirmed, from 1.
    pub item: u16,
    /// Fetch: how many there are, and the version of the collection. Store: 0.
    pub items: u16,
    pub version: u32,
    /// Store: octets staged, and how many of the items are settings.
    pub octets: u32,
    pub settings: u16,
    /// Fetch: items that the device does not know (settings) and that it could not apply.
    pub skipped: u16,
    pub failed: u16,
    pub(super) assembly: Assembly,
}

impl Session {
    /// Opens a session; `found` is the version and number of items to fetch (0 and 0 for a store), or why it is refused.
    #[must_use]
    pub fn open(
        opening: Opening,
        bearer: Bearer,
        found: Result<(u32, u16), Reason>,
        now: Timestamp,
    ) -> (Self, Vec<Output>) {
        let (version, items) = found.unwrap_or_default();
        let mut session = Self {
            opening,
            phase: Phase::Running,
            bearer,
            opened: now,
            last_traffic: now,
            last_word: now,
            repeats: 0,
            item: 1,
            items,
            version,
            octets: 0,
            settings: 0,
            skipped: 0,
            failed: 0,
            assembly: Assembly::default(),
        };
        let mut out = vec![session.session_open()];
        match found {
            Err(reason) => session.refuse(0, reason, &mut out),
            Ok(_) => out.push(session.current()),
        }
        (session, out)
    }

    /// The same initiation came again: a copy, or the device resumes (NK-IN-05, NK-SE-03).
    pub fn initiated_again(&mut self, now: Timestamp) -> Vec<Output> {
        self.tick_silently(now);
        let is_copy = self.phase == Phase::Running && now.since(self.last_word) < COPY_WITHIN;
        let mut out = vec![self.session_open()];
        if let Phase::Ended(end) = self.phase {
            self.say_end(end, &mut out);
            return out;
        }
        self.phase = Phase::Running;
        self.last_traffic = now;
        if !is_copy {
            (self.last_word, self.repeats) = (now, 0);
            out.push(self.current());
        }
        out
    }

    /// Takes a message of the device in this session. One that the session does not wait for is late or a copy: nothing.
    pub fn handle(&mut self, message: Message, now: Timestamp) -> Vec<Output> {
        let mut out = self.tick_silently(now);
        match self.phase {
            Phase::Ended(end) => {
                self.say_end(end, &mut out);
                return out;
            }
            Phase::Waiting => {
                let result = Outcome::TemporaryFailure.to_octet();
                out.push(Output::Say(Message::SessionEnd { session: self.opening.id, result }));
                return out;
            }
            Phase::Running => self.last_traffic = now,
        }
        let before = self.item;
        match message {
            Message::Item { item, part, .. } if item == self.item && !self.opening.wish.fetch => {
                self.take_part(part, &mut out);
            }
            Message::ItemResult { item, result, reason, .. } if item == self.item => {
                let (outcome, reason) = (Outcome::from_octet(result), Reason::from_code(reason));
                if self.opening.wish.fetch {
                    self.applied(outcome, reason, &mut out);
                } else {
                    self.not_sent(outcome, reason, &mut out);
                }
            }
            Message::SessionEnd { .. } => self.end(Outcome::PermanentFailure, None, &mut out),
            _ => {}
        }
        if self.item != before {
            (self.last_word, self.repeats) = (now, 0);
        }
        out
    }

    /// Time has come to [`Self::next_call`].
    pub fn tick(&mut self, now: Timestamp) -> Vec<Output> {
        let mut out = self.tick_silently(now);
        if self.phase == Phase::Running && now >= self.next_repeat() {
            self.repeats = self.repeats.saturating_add(1);
            self.last_word = now;
            out.push(self.current());
        }
        out
    }

    /// When [`Self::tick`] has something to do; `None`: the session has ended.
    #[must_use]
    pub fn next_call(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Running => Some(self.next_repeat().min(self.last_traffic.plus(EXPIRY))),
            Phase::Waiting => Some(self.last_traffic.plus(RESUMABLE)),
            Phase::Ended(_) => None,
        }
    }

    /// What was staged, as a collection.
    #[must_use]
    pub(super) fn collection(&self, now: Timestamp) -> Collection {
        let Opening { id, device, .. } = self.opening;
        let items = self.item.saturating_sub(1);
        Collection {
            version: id,
            stored: now,
            origin: device,
            data: items.saturating_sub(self.settings),
            settings: self.settings,
            octets: self.octets,
        }
    }

    /// The item does not fit the bearer (D-130): the device is told, and the session waits for it to come by another.
    pub fn wait_for_ip(&mut self) -> Vec<Output> {
        self.phase = Phase::Waiting;
        let (session, item) = (self.opening.id, self.item);
        let (result, reason) = (Outcome::TemporaryFailure.to_octet(), Reason::BadDataLengthOrOffset.code());
        vec![Output::Say(Message::ItemResult { session, item, result, reason })]
    }

    /// What it was about to send or to publish is not there any more, or has no room: the session ends.
    pub fn fail(&mut self, reason: Reason) -> Vec<Output> {
        let mut out = Vec::new();
        self.refuse(self.item, reason, &mut out);
        out
    }

    fn next_repeat(&self) -> Timestamp {
        self.last_word.plus(REPEAT_AFTER * (1 << self.repeats.min(4)))
    }

    /// What time alone does to the session.
    fn tick_silently(&mut self, now: Timestamp) -> Vec<Output> {
        let silence = now.since(self.last_traffic);
        let mut out = Vec::new();
        if self.phase == Phase::Running && silence >= EXPIRY {
            self.phase = Phase::Waiting;
        }
        if self.phase == Phase::Waiting && silence >= RESUMABLE {
            self.phase = Phase::Ended(End { outcome: Outcome::PermanentFailure, refused: None });
            self.assembly.clear();
            out.push(Output::Discard);
        }
        out
    }

    /// A part of the item that was asked for.
    fn take_part(&mut self, part: ItemPart, out: &mut Vec<Output>) {
        if !is_wanted(self.opening.wish, part.kind) {
            return self.refuse(self.item, Reason::Unsupported, out);
        }
        let content = match self.assembly.add(part) {
            Ok(None) => return,
            Ok(Some(content)) => content,
            Err(_) => return self.refuse(self.item, Reason::BadDataLengthOrOffset, out),
        };
        let octets = u32::try_from(content.octets()).unwrap_or(u32::MAX);
        self.octets = self.octets.saturating_add(octets);
        let next = self.item.checked_add(1);
        let fits = usize::try_from(self.octets).is_ok_and(|octets| octets <= COLLECTION_OCTETS_MAX);
        let Some(next) = next.filter(|_| fits) else {
            return self.refuse(self.item, Reason::MemoryFault, out);
        };
        self.settings += u16::from(content.kind == Kind::Setting);
        out.push(Output::Stage { item: self.item, content });
        self.item = next;
        out.push(self.current());
    }

    /// The device does not send the item that was asked for.
    fn not_sent(&mut self, outcome: Outcome, reason: Option<Reason>, out: &mut Vec<Output>) {
        match (outcome, reason) {
            (Outcome::PermanentFailure, Some(Reason::RecordOutOfRange)) if self.item > 1 => {
                out.push(Output::Publish);
                self.end(Outcome::Success, None, out);
            }
            (Outcome::PermanentFailure, reason) => self.refuse(self.item, reason.unwrap_or(Reason::None), out),
            (Outcome::TemporaryFailure, Some(Reason::BadDataLengthOrOffset)) => self.phase = Phase::Waiting,
            (Outcome::TemporaryFailure | Outcome::Success, _) => {}
        }
    }

    /// What became of the item that was sent.
    fn applied(&mut self, outcome: Outcome, reason: Option<Reason>, out: &mut Vec<Output>) {
        match (outcome, reason) {
            (Outcome::TemporaryFailure, _) => return,
            (Outcome::Success, _) => {}
            (Outcome::PermanentFailure, Some(Reason::Unsupported)) => self.skipped += 1,
            (Outcome::PermanentFailure, _) => self.failed += 1,
        }
        if self.item < self.items {
            self.item += 1;
            out.push(self.current());
            return;
        }
        let is_whole = self.skipped == 0 && self.failed == 0;
        if self.opening.wish.moves && is_whole {
            out.push(Output::Delete { version: self.version });
        }
        let outcome = if self.failed == 0 { Outcome::Success } else { Outcome::PermanentFailure };
        self.end(outcome, None, out);
    }

    fn refuse(&mut self, item: u16, reason: Reason, out: &mut Vec<Output>) {
        self.end(Outcome::PermanentFailure, Some((item, reason)), out);
    }

    fn end(&mut self, outcome: Outcome, refused: Option<(u16, Reason)>, out: &mut Vec<Output>) {
        self.assembly.clear();
        if outcome != Outcome::Success && !self.opening.wish.fetch {
            out.push(Output::Discard);
        }
        let end = End { outcome, refused };
        self.phase = Phase::Ended(end);
        self.say_end(end, out);
    }

    fn say_end(&self, end: End, out: &mut Vec<Output>) {
        let (session, result) = (self.opening.id, end.outcome.to_octet());
        if let Some((item, reason)) = end.refused {
            out.push(Output::Say(Message::ItemResult { session, item, result, reason: reason.code() }));
        }
        out.push(Output::Say(Message::SessionEnd { session, result }));
    }

    fn session_open(&self) -> Output {
        let Opening { id: session, transaction, .. } = self.opening;
        Output::Say(Message::SessionOpen { transaction, session, items: self.items })
    }

    /// What the device is to answer now.
    fn current(&self) -> Output {
        let (session, item) = (self.opening.id, self.item);
        if self.opening.wish.fetch {
            Output::SendItem { item }
        } else {
            Output::Say(Message::ItemRequest { session, item })
        }
    }
}
