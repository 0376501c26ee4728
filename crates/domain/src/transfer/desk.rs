//! All sessions and collections together: what the centre answers to a transfer message, in memory.
//!
//! It finds the session, checks who asks, carries out the session's outputs on the [`Shelf`], and keeps the limits: one
//! session of a device runs at a time, and the ended ones are known for a day, so that a repeat gets its answer again.
//!
//! A service gives it what is stored: the device's sessions, the shelves of the users concerned, and what
//! [`Desk::needed`] names; what is to be kept then is [`Desk::take_writes`].

use std::collections::{BTreeMap, BTreeSet};

use link::{
    reason::{Outcome, Reason},
    transfer::{
        Message, Wish,
        parts::{IP_ROOM_OCTETS, Item, SMS_ROOM_OCTETS},
    },
};

use super::{
    book::{self, BookRecord},
    collection::{Place, Shelf},
    session::{Opening, Output, Phase, RESUMABLE, Session},
    writes::{Staged, Writes},
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
    /// Goes behind the messages, in parts that fit its bearer at that time.
    pub item: Option<Sending>,
    /// A collection was stored: these belong into the book of its device.
    pub book: Vec<BookRecord>,
}

/// An item on its way to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    pub session: u32,
    pub number: u16,
    pub content: Item,
}

impl Sending {
    /// The messages that carry it, each of at most `room_octets`. When it takes too many, what the device is told instead:
    /// it waits for IP (D-130).
    #[must_use]
    pub fn messages(&self, room_octets: usize) -> Vec<Message> {
        let Self { session, number, content } = self;
        content.messages(*session, *number, room_octets).unwrap_or_else(|_| {
            let (result, reason) = (Outcome::TemporaryFailure.to_octet(), Reason::BadDataLengthOrOffset.code());
            vec![Message::ItemResult { session: *session, item: *number, result, reason }]
        })
    }
}

impl Answer {
    /// All that is said, by this bearer.
    #[must_use]
    pub fn into_messages(self, bearer: Bearer) -> Vec<Message> {
        let item = self.item.map(|item| item.messages(room_octets(bearer)));
        self.messages.into_iter().chain(item.into_iter().flatten()).collect()
    }
}

/// Octets of a message by this bearer.
fn room_octets(bearer: Bearer) -> usize {
    match bearer {
        Bearer::Sms => SMS_ROOM_OCTETS,
        Bearer::Ip => IP_ROOM_OCTETS,
    }
}

/// What of a store's content a message needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// To be sent: [`Shelf::put_item`].
    Item { owner: SubscriberId, place: Place },
    /// The address-book entries among what the session staged: [`Shelf::stage`].
    Entries { owner: SubscriberId, session: u32 },
}

/// The sessions and shelves of some users.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    sessions: BTreeMap<u32, Session>,
    shelves: BTreeMap<SubscriberId, Shelf>,
    /// Sessions that changed, or are gone.
    touched: BTreeSet<(DeviceKey, u32)>,
    writes: Writes,
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

    /// Takes a shelf as it was stored.
    pub fn put_shelf(&mut self, subscriber: SubscriberId, shelf: Shelf) {
        self.shelves.insert(subscriber, shelf);
    }

    /// The number of another user that an initiation names.
    #[must_use]
    pub fn named(message: &Message) -> Option<Msisdn> {
        let Message::Initiation { name, .. } = message else { return None };
        let (number, _) = name.split_once('/')?;
        Msisdn::parse(number.trim_start_matches('+')).ok()
    }

    /// Users whose shelves a message of the device may need, as far as its sessions tell.
    pub fn owners(&self) -> impl Iterator<Item = SubscriberId> + '_ {
        self.sessions.values().map(|session| session.opening.owner)
    }

    /// What is to be read before the message is received; the sessions and shelves are here.
    pub fn needed(
        &self,
        device: DeviceKey,
        message: &Message,
        subscriber_of: impl FnOnce(Msisdn) -> Option<SubscriberId>,
    ) -> Vec<Needed> {
        let mut needed = Vec::new();
        let mut item = |session: &Session, number: u16| {
            let place = Place::of(session.version, session.opening.wish, number);
            needed.push(Needed::Item { owner: session.opening.owner, place });
        };
        let of_device = |session: &&Session| session.opening.device == device;
        match message {
            Message::ItemResult { session, .. } => {
                if let Some(session) = self.sessions.get(session).filter(of_device) {
                    if session.opening.wish.fetch {
                        item(session, session.item.saturating_add(1));
                    } else {
                        let (owner, session) = (session.opening.owner, session.opening.id);
                        needed.push(Needed::Entries { owner, session });
                    }
                }
            }
            Message::Initiation { transaction, wish, name } if wish.fetch => {
                for session in self.sessions.values().filter(of_device) {
                    if session.opening.transaction == *transaction && session.opening.wish.fetch {
                        item(session, session.item);
                    }
                }
                if let Ok((owner, name)) = find(name, device.subscriber, subscriber_of)
                    && let Some(collection) = self.shelves.get(&owner).and_then(|shelf| shelf.get(name))
                {
                    needed.push(Needed::Item { owner, place: Place::of(collection.version, *wish, 1) });
                }
            }
            _ => {}
        }
        needed
    }

    /// Takes what was needed as it was stored; `number`: the item's.
    pub fn put_needed(&mut self, needed: Needed, number: u16, content: Item) {
        match needed {
            Needed::Item { owner, place } => self.shelf(owner).put_item(place, content),
            Needed::Entries { owner, session } => self.shelf(owner).stage(session, number, content),
        }
    }

    /// The records of the entries that a session has staged, as far as they are here.
    #[must_use]
    pub fn entries(&self, owner: SubscriberId, session: u32) -> Vec<BookRecord> {
        self.shelves.get(&owner).map_or_else(Vec::new, |shelf| book::records(shelf.items(session)))
    }

    /// The first of these ids that neither a session nor a collection here has.
    #[must_use]
    pub fn unused_id(&self, mut ids: impl Iterator<Item = u32>) -> u32 {
        let is_used = |id: &u32| {
            let mut collections = self.shelves.values().flat_map(Shelf::iter);
            self.sessions.contains_key(id) || collections.any(|(_, collection)| collection.version == *id)
        };
        ids.find(|id| !is_used(id)).unwrap_or_default()
    }

    /// Whether a session of the device waits for it to answer.
    #[must_use]
    pub fn is_running(&self, device: DeviceKey) -> bool {
        self.sessions.values().any(|session| session.opening.device == device && session.phase == Phase::Running)
    }

    /// What is to be kept since the last call.
    pub fn take_writes(&mut self) -> Writes {
        let mut writes = std::mem::take(&mut self.writes);
        for (device, id) in std::mem::take(&mut self.touched) {
            match self.sessions.get(&id) {
                Some(session) => writes.sessions.push(session.clone()),
                None => writes.forgotten.push((device, id)),
            }
        }
        writes
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
                        Answer { messages: vec![Message::SessionEnd { session, result }], ..Answer::default() }
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
            said.extend(answer.into_messages(to.bearer).into_iter().map(|message| (to, message)));
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
        said.item = answer.item;
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
                self.touched.insert((device, id));
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
        match collection.wanted(wish) {
            0 => Err(Reason::RecordOutOfRange),
            items => Ok((collection.version, items)),
        }
    }

    /// Runs one step of a session and carries out what it says.
    fn with(&mut self, id: u32, step: impl FnOnce(&mut Session) -> Vec<Output>, now: Timestamp) -> Answer {
        let mut answer = Answer::default();
        let Some(session) = self.sessions.get_mut(&id) else { return answer };
        let mut outputs = std::collections::VecDeque::from(step(session));
        let Opening { device, owner, .. } = session.opening;
        self.touched.insert((device, id));
        let name = session.opening.name.clone();
        let shelf = self.shelves.entry(owner).or_default();
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Say(message) => answer.messages.push(message),
                Output::Stage { item: number, content } => {
                    shelf.stage(id, number, content.clone());
                    self.writes.stage(Staged { owner, session: id, number, content });
                }
                Output::Discard => {
                    shelf.discard(id);
                    self.writes.drop_items(owner, id);
                }
                Output::Delete { version } => {
                    if shelf.delete(&name, version) {
                        self.writes.drop_items(owner, version);
                        self.writes.delete(owner, &name);
                    }
                }
                Output::Publish => {
                    let collection = session.collection(now);
                    match shelf.publish(&name, collection.clone()) {
                        Ok(replaced) => {
                            answer.book = book::records(shelf.items(id));
                            self.writes.publish(owner, &name, collection);
                            replaced.into_iter().for_each(|version| self.writes.drop_items(owner, version));
                        }
                        Err(reason) => {
                            self.writes.drop_items(owner, id);
                            outputs = session.fail(reason).into();
                        }
                    }
                }
                Output::SendItem { item } => match send(session, shelf, item) {
                    Ok(sending) => answer.item = Some(sending),
                    Err(instead) => outputs.extend(instead),
                },
            }
        }
        answer
    }
}

/// The item, or what the session says instead when it cannot go.
fn send(session: &mut Session, shelf: &Shelf, number: u16) -> Result<Sending, Vec<Output>> {
    let collection = shelf.get(&session.opening.name).filter(|collection| collection.version == session.version);
    let place = Place::of(session.version, session.opening.wish, number);
    // A newer version took its place: the items that the device has are not of one collection any more.
    let Some(content) = collection.and_then(|_| shelf.item(place)) else {
        return Err(session.fail(Reason::UnknownFile));
    };
    match content.messages(session.opening.id, number, room_octets(session.bearer)) {
        Ok(_) => Ok(Sending { session: session.opening.id, number, content: content.clone() }),
        Err(_) => Err(session.wait_for_ip()),
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
    if is_legal_name(name) { Ok((owner, name)) } else { Err(Reason::Malformed) }
}

/// Whether a collection may have this name.
#[must_use]
pub fn is_legal_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_OCTETS_MAX
        && !name.chars().any(|character| character.is_control() || character == '/')
}
