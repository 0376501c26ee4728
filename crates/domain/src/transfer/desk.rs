//! All sessions and collections together: what the centre answers to a transfer message, in memory.
//!
//! It finds the session, checks who asks, carries out the session's outputs on the [`Shelf`], and keeps the limits: one
//! session of a device runs at a time, and the ended ones are known for a day, so that a repeat gets its answer again.

use std::collections::BTreeMap;

use link::{
    reason::{Outcome, Reason},
    transfer::{
        Message, Wish,
        parts::{IP_ROOM_OCTETS, SMS_ROOM_OCTETS},
    },
};

use super::{
    book::{self, BookRecord},
    collection::Shelf,
    session::{Opening, Output, Phase, RESUMABLE, Session},
};
use crate::{
    identity::{DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::Bearer,
};

/// Sessions of a device that are known at most; the oldest are forgotten.
pub const SESSIONS_PER_DEVICE_MAX: usize = 8;
/// Octets of a collection's name at most.
pub const NAME_OCTETS_MAX: usize = 100;

/// Who sent a message, and the bearer that answers go by: that of the device's channel, even when an initiation came by
/// another (NK-IN-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub device: DeviceKey,
    pub bearer: Bearer,
}

/// What the caller of the desk does once all is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub messages: Vec<Message>,
    /// A collection was stored: these belong into the book of its device.
    pub book: Vec<BookRecord>,
}

/// The sessions and shelves of some users.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    sessions: BTreeMap<u32, Session>,
    shelves: BTreeMap<SubscriberId, Shelf>,
}

impl Desk {
    /// The user's collections.
    pub fn shelf(&mut self, subscriber: SubscriberId) -> &mut Shelf {
        self.shelves.entry(subscriber).or_default()
    }

    /// Sessions by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// Takes a session as it was stored: after a restart.
    pub fn restore_session(&mut self, session: Session) {
        self.sessions.insert(session.opening.id, session);
    }

    /// Takes a device's message. `new_id` is for a session that this opens: not to be guessed, and used by none.
    /// `subscriber_of` knows the user that a name names in front of a `/`.
    pub fn receive(
        &mut self,
        from: Caller,
        message: Message,
        new_id: u32,
        subscriber_of: impl FnOnce(Msisdn) -> Option<SubscriberId>,
        now: Timestamp,
    ) -> Answer {
        match message {
            Message::Initiation { transaction, wish, name } => {
                // A number that comes again with another wish is no repeat: the device has begun to count anew.
                let is_repeat = |session: &&Session| {
                    let opening = &session.opening;
                    (opening.device, opening.transaction, opening.wish) == (from.device, transaction, wish)
                        && name.rsplit('/').next() == Some(&opening.name)
                        && now.since(session.last_traffic) < RESUMABLE
                };
                let known = self.sessions.values().find(is_repeat);
                match known.map(|session| session.opening.id) {
                    Some(id) => self.with(
                        id,
                        |session| {
                            session.bearer = from.bearer;
                            session.initiated_again(now)
                        },
                        now,
                    ),
                    None => self.open(from, (transaction, wish, name), new_id, subscriber_of, now),
                }
            }
            Message::ItemRequest { session, .. }
            | Message::Item { session, .. }
            | Message::ItemResult { session, .. }
            | Message::SessionEnd { session, .. }
            | Message::SessionOpen { session, .. } => {
                // A session of another device is to this one as one that does not exist (NK-SE-02).
                match self.sessions.get(&session).filter(|known| known.opening.device == from.device) {
                    Some(_) => self.with(
                        session,
                        |session| {
                            session.bearer = from.bearer;
                            session.handle(message, now)
                        },
                        now,
                    ),
                    None if matches!(message, Message::SessionEnd { .. }) => Answer::default(),
                    None => {
                        let result = Outcome::PermanentFailure.to_octet();
                        Answer { messages: vec![Message::SessionEnd { session, result }], book: Vec::new() }
                    }
                }
            }
        }
    }

    /// Time has come to [`Self::next_call`]: what is said to which device, by which bearer.
    pub fn tick(&mut self, now: Timestamp) -> Vec<(Caller, Message)> {
        let due = |session: &&Session| session.next_call().is_some_and(|call| call <= now);
        let due: Vec<u32> = self.sessions.values().filter(due).map(|session| session.opening.id).collect();
        let mut said = Vec::new();
        for id in due {
            let answer = self.with(id, |session| session.tick(now), now);
            let Some(session) = self.sessions.get(&id) else { continue };
            let to = Caller { device: session.opening.device, bearer: session.bearer };
            said.extend(answer.messages.into_iter().map(|message| (to, message)));
        }
        said
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_call(&self) -> Option<Timestamp> {
        self.sessions.values().filter_map(Session::next_call).min()
    }

    fn open(
        &mut self,
        from: Caller,
        (transaction, wish, asked): (u16, Wish, String),
        id: u32,
        subscriber_of: impl FnOnce(Msisdn) -> Option<SubscriberId>,
        now: Timestamp,
    ) -> Answer {
        let mut said = self.make_room(from.device, transaction, now);
        let found = find(&asked, from.device.subscriber, subscriber_of);
        let (owner, name) = found.unwrap_or((from.device.subscriber, asked.as_str()));
        let offer = found.and_then(|_| self.offer(from.device.subscriber, owner, name, wish));
        let opening = Opening { id, device: from.device, transaction, wish, owner, name: name.to_owned() };
        let (session, outputs) = Session::open(opening, from.bearer, offer, now);
        self.sessions.insert(id, session);
        let answer = self.with(id, |_| outputs, now);
        said.messages.extend(answer.messages);
        said
    }

    /// Ends what the device has running, and forgets its oldest sessions and one that had this transaction number.
    fn make_room(&mut self, device: DeviceKey, transaction: u16, now: Timestamp) -> Answer {
        let mut of_device: Vec<(Timestamp, u32)> = Vec::new();
        let mut said = Answer::default();
        for session in self.sessions.values().filter(|session| session.opening.device == device) {
            of_device.push((session.opened, session.opening.id));
        }
        of_device.sort_unstable();
        let surplus = (of_device.len() + 1).saturating_sub(SESSIONS_PER_DEVICE_MAX);
        for (at, (_, id)) in of_device.into_iter().enumerate() {
            let Some(session) = self.sessions.get(&id) else { continue };
            let forget = at < surplus || session.opening.transaction == transaction;
            if !matches!(session.phase, Phase::Ended(_)) {
                said.messages.extend(self.with(id, |session| session.fail(Reason::Busy), now).messages);
            }
            if forget {
                self.sessions.remove(&id);
            }
        }
        said
    }

    /// Version and number of items for a fetch, or why it is refused.
    fn offer(&self, asks: SubscriberId, owner: SubscriberId, name: &str, wish: Wish) -> Result<(u32, u16), Reason> {
        if !wish.data && !wish.settings {
            return Err(Reason::Malformed);
        }
        let shelf = self.shelves.get(&owner);
        if !wish.fetch {
            // Nobody stores for another.
            return if owner != asks {
                Err(Reason::AccessDenied)
            } else {
                shelf.map_or(Ok(()), |shelf| shelf.may_store(name)).map(|()| (0, 0))
            };
        }
        // Nobody moves a collection away from its owner, and who may not see it does not learn whether it exists.
        if owner != asks && (wish.moves || !shelf.is_some_and(|shelf| shelf.is_shared_with(name, asks))) {
            return Err(Reason::AccessDenied);
        }
        let collection = shelf.and_then(|shelf| shelf.get(name)).ok_or(Reason::UnknownFile)?;
        match u16::try_from(collection.wanted(wish).count()) {
            Ok(0) | Err(_) => Err(Reason::RecordOutOfRange),
            Ok(items) => Ok((collection.version, items)),
        }
    }

    /// Runs one step of a session and carries out what it says.
    fn with(&mut self, id: u32, step: impl FnOnce(&mut Session) -> Vec<Output>, now: Timestamp) -> Answer {
        let mut answer = Answer::default();
        let Some(session) = self.sessions.get_mut(&id) else { return answer };
        let mut outputs = std::collections::VecDeque::from(step(session));
        let shelf = self.shelves.entry(session.opening.owner).or_default();
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Say(message) => answer.messages.push(message),
                Output::Stage { item, content } => shelf.stage(id, item, content),
                Output::Discard => shelf.discard(id),
                Output::Delete { version } => shelf.delete(&session.opening.name, version),
                Output::Publish => match shelf.publish(id, &session.opening.name, session.opening.device, now) {
                    Ok(()) => {
                        let stored = shelf.get(&session.opening.name);
                        answer.book = stored.map_or_else(Vec::new, |stored| book::records(&stored.items));
                    }
                    Err(reason) => outputs = session.fail(reason).into(),
                },
                Output::SendItem { item } => outputs.extend(send(session, shelf, item, &mut answer.messages)),
            }
        }
        answer
    }
}

/// The item in parts; gives what the session says instead, when it cannot go.
fn send(session: &mut Session, shelf: &Shelf, item: u16, messages: &mut Vec<Message>) -> Vec<Output> {
    let room = match session.bearer {
        Bearer::Sms => SMS_ROOM_OCTETS,
        Bearer::Ip => IP_ROOM_OCTETS,
    };
    let collection = shelf.get(&session.opening.name).filter(|collection| collection.version == session.version);
    let content = collection
        .and_then(|collection| collection.wanted(session.opening.wish).nth(usize::from(item).checked_sub(1)?));
    // A newer version took its place: the items that the device has are not of one collection any more.
    let Some(content) = content else { return session.fail(Reason::UnknownFile) };
    match content.messages(session.opening.id, item, room) {
        Ok(parts) => {
            messages.extend(parts);
            Vec::new()
        }
        Err(_) => session.wait_for_ip(),
    }
}

/// Whose collection a name names: `main` is one's own, `31612345678/main` that of another user.
fn find(
    asked: &str,
    asks: SubscriberId,
    subscriber_of: impl FnOnce(Msisdn) -> Option<SubscriberId>,
) -> Result<(SubscriberId, &str), Reason> {
    let (owner, name) = match asked.split_once('/') {
        None => (asks, asked),
        Some((number, name)) => {
            let number = Msisdn::parse(number.trim_start_matches('+')).map_err(|_| Reason::Malformed)?;
            (subscriber_of(number).ok_or(Reason::AccessDenied)?, name)
        }
    };
    let is_legal = !name.is_empty()
        && name.len() <= NAME_OCTETS_MAX
        && !name.chars().any(|character| character.is_control() || character == '/');
    if is_legal { Ok((owner, name)) } else { Err(Reason::Malformed) }
}
