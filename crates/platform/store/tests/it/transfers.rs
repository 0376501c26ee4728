//! Sessions and collections of transfers: every message finds what the one before left, and a collection is whole or not
//! there.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    identity::{DeviceKey, SubscriberId, Timestamp},
    phonebook::Bearer,
    transfer::{
        Collection, Desk, Needed, Opening, Place, Session, Staged, Writes,
        desk::{Answer, Caller},
    },
};
use link::transfer::{
    Kind, Message, Wish,
    entry::Entry,
    parts::{IP_ROOM_OCTETS, Item},
};
use store::{Consent, Expiring, InboundCommit};

use crate::fixtures::{Backend, NOON, audit, both, key, number};

const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };

fn item(kind: Kind, key: &'static str, value: &'static [u8]) -> Item {
    Item { kind, key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(value) }
}

fn some_items() -> Vec<Item> {
    let adn = Bytes::from_static(b"Anna__________\x07\x91\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x07");
    let entry = Entry { record_number: 3, adn, extensions: vec![Bytes::from_static(b"\x02___________\xFF")] };
    vec![
        item(Kind::Data, "ring", b"beep"),
        item(Kind::Setting, "volume", b"7"),
        entry.to_item(),
        item(Kind::Setting, "language", b"nl"),
    ]
}

/// One change of each kind, of a session that has just begun.
pub fn every_write(device: DeviceKey) -> Writes {
    let owner = device.subscriber;
    let name = "main".to_owned();
    let opening = Opening { id: 7, device, transaction: 1, wish: STORE, owner, name: name.clone() };
    let (session, _) = Session::open(opening, Bearer::Ip, Ok((0, 0)), NOON);
    let collection = Collection { version: 6, stored: NOON, origin: device, data: 1, settings: 0, octets: 8 };
    Writes {
        sessions: vec![session],
        forgotten: vec![(device, 5)],
        staged: vec![Staged { owner, session: 7, number: 1, content: item(Kind::Data, "ring", b"beep") }],
        dropped: vec![(owner, 5)],
        collections: vec![(owner, name, collection)],
        deleted: vec![(owner, "other".to_owned())],
        withdrawn: vec![(owner, "other".to_owned())],
    }
}

pub fn every_need(owner: SubscriberId) -> [Needed; 2] {
    [Needed::Item { owner, place: Place::of(6, FETCH, 1) }, Needed::Entries { owner, session: 7 }]
}

/// The centre, which keeps nothing but what is in the store.
struct Centre<'a> {
    store: &'a Backend,
    now: Timestamp,
    ids: u32,
}

impl Centre<'_> {
    async fn receive(&mut self, device: DeviceKey, message: Message) -> Answer {
        let store = &self.store.inbound;
        let mut desk = Desk::default();
        for session in store.transfer_sessions(&[device]).await.unwrap() {
            desk.restore_session(session);
        }
        let named = Desk::named(&message);
        let named = match named {
            Some(number) => store.devices(&[number]).await.unwrap().remove(0).map(|view| view.subscriber.id),
            None => None,
        };
        let owners: Vec<SubscriberId> = desk.owners().chain(named).chain([device.subscriber]).collect();
        for (owner, shelf) in store.shelves(&owners).await.unwrap() {
            desk.put_shelf(owner, shelf);
        }
        let needed: Vec<Needed> = desk.needed(device, &message, |_| named);
        for found in store.transfer_items(&needed).await.unwrap() {
            desk.put_needed(found.needed, found.number, found.content);
        }
        self.ids += 1;
        let answer = desk.receive(Caller { device, bearer: Bearer::Ip }, message, self.ids, |_| named, self.now);
        let transfers = desk.take_writes();
        store.commit(InboundCommit { transfers, ..InboundCommit::default() }).await.unwrap();
        answer
    }

    async fn initiate(&mut self, device: DeviceKey, transaction: u16, wish: Wish, name: &str) -> Vec<Message> {
        self.now = self.now.plus(Duration::from_secs(30));
        let initiation = Message::Initiation { transaction, wish, name: name.to_owned() };
        self.receive(device, initiation).await.into_messages(Bearer::Ip)
    }

    /// The first `count` items, and that there are no more; what the centre said last, and what it makes of the book.
    async fn send(&mut self, device: DeviceKey, said: Vec<Message>, items: &[Item], ends: bool) -> Answer {
        let mut answer = Answer { messages: said, ..Answer::default() };
        while let Some(Message::ItemRequest { session, item }) = answer.messages.last().cloned() {
            let messages = match items.get(usize::from(item) - 1) {
                Some(content) => content.messages(session, item, IP_ROOM_OCTETS).unwrap(),
                None if ends => vec![Message::ItemResult { session, item, result: 2, reason: 2 }],
                None => break,
            };
            for message in messages {
                answer = self.receive(device, message).await;
            }
        }
        answer
    }

    /// Fetches all of it; the items, and the result.
    async fn fetch(&mut self, device: DeviceKey, transaction: u16, wish: Wish, name: &str) -> (Vec<Item>, u8) {
        let mut said = self.initiate(device, transaction, wish, name).await;
        let mut items = Vec::new();
        loop {
            match said.last().cloned() {
                Some(Message::Item { session, item, part }) => {
                    assert_eq!((part.part, part.parts), (1, 1));
                    items.push(Item { kind: part.kind, key: part.key, value: part.value });
                    let result = Message::ItemResult { session, item, result: 0, reason: 0 };
                    said = self.receive(device, result).await.into_messages(Bearer::Ip);
                }
                Some(Message::SessionEnd { result, .. }) => return (items, result),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Covers: NK-ST-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_whole_or_not_there_and_its_previous_version_stays_until_then() {
    for store in both().await {
        store.account(1).await;
        let (phone, name) = (key(1), store.name);
        let mut centre = Centre { store: &store, now: NOON, ids: 100 };
        let said = centre.initiate(phone, 1, STORE, "main").await;
        let half = centre.send(phone, said, &some_items()[..2], false).await;
        assert!(matches!(half.messages[..], [Message::ItemRequest { item: 3, .. }]), "{name}: {half:?}");
        assert_eq!((store.count("transfer_collection"), store.count("transfer_item")), (0, 2), "{name}");
        assert_eq!(centre.fetch(phone, 19, FETCH, "main").await, (Vec::new(), 2), "{name}: nothing to be seen");
        assert_eq!(store.count("transfer_item"), 0, "{name}: another transfer ends the first");

        let said = centre.initiate(phone, 2, STORE, "main").await;
        let end = centre.send(phone, said, &some_items(), true).await;
        assert!(matches!(end.messages[..], [Message::SessionEnd { result: 0, .. }]), "{name}: {end:?}");
        assert_eq!(end.book.iter().map(|record| record.record_number).collect::<Vec<_>>(), [7, 3], "{name}");
        assert_eq!(centre.fetch(phone, 3, FETCH, "main").await, (some_items(), 0), "{name}");
        let only = |kind| some_items().into_iter().filter(|item| item.kind == kind).collect::<Vec<_>>();
        for (transaction, data, kind) in [(4, true, Kind::Data), (5, false, Kind::Setting)] {
            let wish = Wish { data, settings: !data, ..FETCH };
            assert_eq!(centre.fetch(phone, transaction, wish, "main").await, (only(kind), 0), "{name}");
        }

        // A store that fails leaves the version before it.
        let said = centre.initiate(phone, 6, STORE, "main").await;
        let newer = [item(Kind::Data, "new", b"1")];
        let half = centre.send(phone, said, &newer, false).await;
        let Some(Message::ItemRequest { session, .. }) = half.messages.last() else { panic!("{half:?}") };
        centre.receive(phone, Message::SessionEnd { session: *session, result: 2 }).await;
        assert_eq!(centre.fetch(phone, 7, FETCH, "main").await, (some_items(), 0), "{name}");
        let said = centre.initiate(phone, 8, STORE, "main").await;
        centre.send(phone, said, &newer, true).await;
        assert_eq!(centre.fetch(phone, 9, FETCH, "main").await, (newer.to_vec(), 0), "{name}");
        assert_eq!(store.count("transfer_item"), 1, "{name}: nothing is left of the version before");

        let moving = Wish { moves: true, ..FETCH };
        assert_eq!(centre.fetch(phone, 10, moving, "main").await, (newer.to_vec(), 0), "{name}");
        assert_eq!((store.count("transfer_collection"), store.count("transfer_item")), (0, 0), "{name}: moved");
        assert_eq!(store.count("transfer_session"), 8, "{name}: the last eight of a device");
    }
}

/// Covers: NK-ST-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_are_listed_with_their_consents_and_go_with_their_time_and_their_subscriber() {
    for store in both().await {
        store.account(1).await;
        store.account(2).await;
        let (anna, bob, name) = (key(1), key(2), store.name);
        let mut centre = Centre { store: &store, now: NOON, ids: 100 };
        for (transaction, collection) in [(1, "main"), (2, "office")] {
            let said = centre.initiate(anna, transaction, STORE, collection).await;
            centre.send(anna, said, &some_items(), true).await;
        }
        let stored = centre.now;
        let transfers = store.application.transfers_of(anna.subscriber).await.unwrap();
        let octets = some_items().iter().map(Item::octets).sum::<usize>();
        let shown: Vec<_> = transfers.collections.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
        assert_eq!(shown.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["main", "office"], "{name}");
        for (_, it) in &shown {
            assert_eq!((it.data, it.settings, it.octets as usize, it.origin), (2, 2, octets, anna), "{name}");
        }
        assert_eq!((shown[1].1.stored, transfers.sessions.len()), (stored, 2), "{name}");

        // Another user: not before the owner agrees, and not after.
        let theirs = format!("{}/main", number(1).digits());
        assert_eq!(centre.fetch(bob, 1, FETCH, &theirs).await, (Vec::new(), 2), "{name}");
        let consent = Consent { owner: anna.subscriber, name: "main".to_owned(), to: bob.subscriber };
        let at = |what| store::Audit { at: NOON.plus(Duration::from_secs(1)), ..audit(what) };
        assert!(store.application.set_consent(&consent, true, at("given")).await.unwrap(), "{name}");
        assert!(!store.application.set_consent(&consent, true, at("given again")).await.unwrap(), "{name}");
        let transfers = store.application.transfers_of(anna.subscriber).await.unwrap();
        assert_eq!(transfers.consents, [("main".to_owned(), number(2))], "{name}");
        assert_eq!(centre.fetch(bob, 2, FETCH, &theirs).await, (some_items(), 0), "{name}");
        assert!(store.application.set_consent(&consent, false, at("withdrawn")).await.unwrap(), "{name}");
        assert_eq!(centre.fetch(bob, 3, FETCH, &theirs).await, (Vec::new(), 2), "{name}");
        let said = store.application.audit_log(None, 3).await.unwrap();
        assert_eq!(said.iter().filter(|row| row.what == "withdrawn").count(), 1, "{name}");

        // Retention takes what was stored before a time, with what belongs to it.
        store.application.set_consent(&consent, true, at("given")).await.unwrap();
        let expire = |before| store.application.expire(Expiring::Collections, before, 100);
        assert_eq!(expire(stored).await.unwrap(), 1, "{name}: the first");
        assert_eq!(expire(stored).await.unwrap(), 0, "{name}");
        assert_eq!(store.application.transfers_of(anna.subscriber).await.unwrap().consents, [], "{name}");
        assert_eq!(store.count("transfer_item"), 4, "{name}: those of the other");

        // An erased subscriber takes all of it, also what others had given.
        let consent = Consent { owner: bob.subscriber, name: "main".to_owned(), to: anna.subscriber };
        store.application.set_consent(&consent, true, at("given")).await.unwrap();
        store.application.erase(anna.subscriber, audit("erased")).await.unwrap();
        assert_eq!(store.count("transfer_session"), 3, "{name}: bob's");
        for table in ["transfer_item", "transfer_collection", "transfer_consent"] {
            assert_eq!(store.count(table), 0, "{name}: {table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_after_the_last_word_a_session_and_what_it_staged_are_gone_and_collections_stay() {
    for store in both().await {
        store.account(1).await;
        let (phone, name) = (key(1), store.name);
        let mut centre = Centre { store: &store, now: NOON, ids: 100 };
        let said = centre.initiate(phone, 1, STORE, "main").await;
        centre.send(phone, said, &some_items(), true).await;
        let said = centre.initiate(phone, 2, STORE, "other").await;
        centre.send(phone, said, &some_items()[..1], false).await;
        assert_eq!((store.count("transfer_session"), store.count("transfer_item")), (2, 5), "{name}");
        let last = centre.now;
        assert_eq!(store.inbound.expire_transfers(last, 100).await.unwrap(), 1, "{name}: the first is older");
        assert_eq!(store.inbound.expire_transfers(last.plus(Duration::from_secs(1)), 100).await.unwrap(), 1, "{name}");
        assert_eq!((store.count("transfer_session"), store.count("transfer_item")), (0, 4), "{name}");
        assert_eq!(centre.fetch(phone, 3, FETCH, "main").await, (some_items(), 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_a_transfer_has_no_turn_and_takes_nobodys() {
    use domain::delivery::{Content, Words};
    use domain::transfer::desk::Sending;
    for store in both().await {
        store.account(1).await;
        let messages = vec![Bytes::from_static(&[0xC2, 0, 1, 0, 0, 0, 7, 0, 1])];
        let content = Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value: vec![7; 65_536].into() };
        let words = Words { messages, item: Some(Sending { session: 7, number: 1, content }) };
        let said = crate::fixtures::action(1, 2, Content::Transfer(Box::new(words)));
        let new_actions = vec![said.clone(), crate::fixtures::restore(1, 3)];
        store.inbound.commit(InboundCommit { new_actions, ..InboundCommit::default() }).await.unwrap();
        let heads = store.outbound.heads(&[key(1)]).await.unwrap();
        assert_eq!(heads.iter().map(|(_, id)| id.0).collect::<Vec<_>>(), [3], "{}", store.name);
        let due = crate::fixtures::due(NOON.plus(Duration::from_secs(60)), NOON.plus(Duration::from_secs(60)), 10);
        let found = store.outbound.due(&due).await.unwrap().actions;
        assert_eq!(found.iter().map(|action| action.id.0).collect::<Vec<_>>(), [2, 3], "{}", store.name);
        let loaded = store.outbound.actions(&[(key(1), said.id)]).await.unwrap();
        assert_eq!(loaded.actions.iter().map(|(action, _)| action).collect::<Vec<_>>(), [&said], "{}", store.name);
        assert_eq!(store.sql("SELECT kind, subtype FROM outbound_action WHERE id = 2"), ["8|194"], "{}", store.name);
    }
}
