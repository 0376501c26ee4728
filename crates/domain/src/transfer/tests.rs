//! The centre's side alone, message by message.

use std::time::Duration;

use bytes::Bytes;
use link::{
    reason::Reason,
    transfer::{
        Kind, Message, Wish,
        parts::{IP_ROOM_OCTETS, ITEM_OCTETS_MAX, Item, SMS_ROOM_OCTETS},
    },
};
use proptest::prelude::*;

use super::{
    Desk, Phase, Session,
    collection::COLLECTIONS_MAX,
    desk::{Answer, Caller, SESSIONS_PER_DEVICE_MAX},
    session::{EXPIRY, REPEAT_AFTER, RESUMABLE},
};
use crate::{
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::Bearer,
};

const ANNA: SubscriberId = SubscriberId(1);
const BOB: SubscriberId = SubscriberId(2);
const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };

fn device(subscriber: SubscriberId, device: i64) -> Caller {
    Caller { device: DeviceKey { subscriber, device: DeviceId(device) }, bearer: Bearer::Ip }
}

fn item(kind: Kind, key: &str, octets: usize) -> Item {
    Item { kind, key: Bytes::copy_from_slice(key.as_bytes()), value: vec![7; octets].into() }
}

fn some_items() -> Vec<Item> {
    vec![item(Kind::Data, "ring", 9000), item(Kind::Setting, "volume", 1), item(Kind::Data, "note", 300)]
}

/// A desk, and the time there. Ids are counted.
#[derive(Default)]
struct Rig {
    desk: Desk,
    now: Timestamp,
    ids: u32,
}

impl Rig {
    fn receive(&mut self, from: Caller, message: Message) -> Vec<Message> {
        self.answer(from, message).into_messages(from.bearer)
    }

    fn answer(&mut self, from: Caller, message: Message) -> Answer {
        self.ids += 1;
        let subscriber_of = |number: Msisdn| (number.digits() == "31612345678").then_some(ANNA);
        self.desk.receive(from, message, self.ids, subscriber_of, self.now)
    }

    fn initiate(&mut self, from: Caller, transaction: u16, wish: Wish, name: &str) -> Vec<Message> {
        self.receive(from, Message::Initiation { transaction, wish, name: name.to_owned() })
    }

    /// Sends each item when it is asked for, and that there are no more; gives the centre's last words.
    fn store(&mut self, from: Caller, transaction: u16, name: &str, items: &[Item]) -> Vec<Message> {
        // Later than a mere copy of an initiation would come.
        self.wait(Duration::from_secs(30));
        let mut said = self.initiate(from, transaction, STORE, name);
        while let Some(Message::ItemRequest { session, item }) = said.last().cloned() {
            let messages = match items.get(usize::from(item) - 1) {
                Some(content) => content.messages(session, item, IP_ROOM_OCTETS).expect("few parts"),
                None => vec![no_more(session, item)],
            };
            said = messages.into_iter().flat_map(|message| self.receive(from, message)).collect();
        }
        said
    }

    /// Confirms each item with `result`; gives the items and the centre's last words.
    fn fetch(&mut self, from: Caller, said: Vec<Message>, result: (u8, u8)) -> (Vec<u16>, Vec<Message>) {
        let mut said = said;
        let mut got = Vec::new();
        while let Some(Message::Item { session, item, part }) = said.last().cloned() {
            assert_eq!(part.part, part.parts, "the last part comes last");
            got.push(item);
            said = self.receive(from, Message::ItemResult { session, item, result: result.0, reason: result.1 });
        }
        (got, said)
    }

    fn stored(&mut self, name: &str) -> Option<Vec<Item>> {
        let shelf = self.desk.shelf(ANNA);
        let version = shelf.get(name)?.version;
        Some(shelf.items(version).cloned().collect())
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }
}

fn no_more(session: u32, item: u16) -> Message {
    Message::ItemResult { session, item, result: 2, reason: Reason::RecordOutOfRange.code() }
}

fn refusal(said: &[Message]) -> Option<(u16, u8)> {
    match said {
        [.., Message::ItemResult { item, result: 2, reason, .. }, Message::SessionEnd { result: 2, .. }] => {
            Some((*item, *reason))
        }
        _ => None,
    }
}

fn is_success(said: &[Message]) -> bool {
    matches!(said, [.., Message::SessionEnd { result: 0, .. }])
}

/// Covers: NK-SE-01
#[test]
fn the_centre_leads_a_store_and_a_fetch() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    let said = rig.initiate(phone, 1, STORE, "main");
    let expected =
        [Message::SessionOpen { transaction: 1, session: 1, items: 0 }, Message::ItemRequest { session: 1, item: 1 }];
    assert_eq!(said, expected);
    assert!(is_success(&rig.store(phone, 1, "main", &some_items())));
    assert_eq!(rig.stored("main"), Some(some_items()));
    assert!(!rig.desk.shelf(ANNA).has_staged());
    let other = device(ANNA, 2);
    let said = rig.initiate(other, 1, FETCH, "main");
    assert!(matches!(said.first(), Some(Message::SessionOpen { transaction: 1, items: 3, .. })));
    let (got, said) = rig.fetch(other, said, (0, 0));
    assert_eq!((got, is_success(&said)), (vec![1, 2, 3], true));
    assert_eq!(rig.stored("main"), Some(some_items()), "copied, not moved");
}

#[test]
fn one_initiation_sent_twice_opens_one_session() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    rig.initiate(phone, 7, STORE, "main");
    let copy = rig.initiate(phone, 7, STORE, "main");
    assert_eq!(copy, [Message::SessionOpen { transaction: 7, session: 1, items: 0 }]);
    assert_eq!(rig.desk.sessions().count(), 1);
    // The end, too, is told again.
    rig.store(phone, 7, "main", &some_items());
    assert!(is_success(&rig.initiate(phone, 7, STORE, "main")));
    assert_eq!(rig.desk.sessions().count(), 1);
    // The same number of another device, or for another purpose, is another session.
    rig.initiate(device(ANNA, 2), 7, STORE, "main");
    rig.initiate(phone, 7, FETCH, "main");
    assert_eq!(rig.desk.sessions().filter(|session| session.phase == Phase::Running).count(), 2);
}

#[test]
fn silence_is_asked_again_then_the_session_waits_and_resumes_at_the_first_unconfirmed_item() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    rig.initiate(phone, 1, STORE, "main");
    let items = some_items();
    for message in items[0].messages(1, 1, IP_ROOM_OCTETS).expect("few parts") {
        rig.receive(phone, message);
    }
    let mut asked = Vec::new();
    while let Some(call) = rig.desk.next_call().filter(|call| *call <= Timestamp::default().plus(EXPIRY)) {
        rig.now = call;
        asked.extend(rig.desk.tick(call).into_iter().map(|(to, message)| (to, message, call.0 / 1_000_000)));
    }
    let again = Message::ItemRequest { session: 1, item: 2 };
    assert_eq!(asked, [60, 180, 420].map(|second| (phone, again.clone(), second)));
    assert!(REPEAT_AFTER * 7 < EXPIRY);
    // D-92: expired. A part that comes now is refused; the initiation resumes.
    let late = items[1].messages(1, 2, IP_ROOM_OCTETS).expect("few parts");
    assert_eq!(rig.receive(phone, late[0].clone()), [Message::SessionEnd { session: 1, result: 1 }]);
    rig.wait(RESUMABLE - EXPIRY - Duration::from_secs(1));
    let resumed = rig.initiate(phone, 1, STORE, "main");
    assert_eq!(resumed, [Message::SessionOpen { transaction: 1, session: 1, items: 0 }, again]);
    // A day of silence: another session, and nothing is left of the first.
    rig.wait(RESUMABLE);
    rig.desk.tick(rig.now);
    assert!(!rig.desk.shelf(ANNA).has_staged());
    let said = rig.initiate(phone, 1, STORE, "main");
    assert!(
        matches!(said[..], [Message::SessionOpen { session, .. }, Message::ItemRequest { item: 1, .. }] if session != 1)
    );
}

#[test]
fn a_store_that_fails_keeps_the_previous_version() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    rig.store(phone, 1, "main", &some_items());
    let half = |rig: &mut Rig, transaction| {
        let said = rig.initiate(phone, transaction, STORE, "main");
        let Some(Message::ItemRequest { session, .. }) = said.last() else { panic!("{said:?}") };
        for message in item(Kind::Data, "new", 10).messages(*session, 1, SMS_ROOM_OCTETS).expect("few parts") {
            rig.receive(phone, message);
        }
        *session
    };
    // Ended by the device; by another session; by silence.
    let session = half(&mut rig, 2);
    rig.receive(phone, Message::SessionEnd { session, result: 2 });
    assert!(!rig.desk.shelf(ANNA).has_staged());
    half(&mut rig, 3);
    half(&mut rig, 4);
    rig.wait(EXPIRY);
    rig.desk.tick(rig.now);
    rig.wait(RESUMABLE);
    rig.desk.tick(rig.now);
    assert!(!rig.desk.shelf(ANNA).has_staged());
    let said = rig.initiate(device(ANNA, 2), 1, FETCH, "main");
    assert!(matches!(said.first(), Some(Message::SessionOpen { items: 3, .. })));
    assert_eq!(rig.stored("main"), Some(some_items()));
}

#[test]
fn what_exceeds_a_quota_is_refused_with_its_reason_and_nothing_of_it_is_stored() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    let fits = vec![item(Kind::Data, "a", ITEM_OCTETS_MAX)];
    assert!(is_success(&rig.store(phone, 1, "main", &fits)));
    let too_large = [item(Kind::Data, "a", 1), item(Kind::Data, "b", ITEM_OCTETS_MAX + 1)];
    let said = rig.store(phone, 2, "main", &too_large);
    assert_eq!(refusal(&said), Some((2, Reason::BadDataLengthOrOffset.code())));
    // 160 times 64 KiB are 10 MiB, and the keys come on top.
    let too_many: Vec<Item> = (0..160).map(|_| item(Kind::Data, "a", ITEM_OCTETS_MAX)).collect();
    assert_eq!(refusal(&rig.store(phone, 3, "main", &too_many)), Some((160, Reason::MemoryFault.code())));
    assert_eq!(rig.stored("main"), Some(fits));
    let small = some_items();
    for (transaction, number) in (10..).zip(1..COLLECTIONS_MAX) {
        assert!(is_success(&rig.store(phone, transaction, &format!("c{number}"), &small)));
    }
    assert_eq!(refusal(&rig.store(phone, 20, "sixth", &small)), Some((0, Reason::MemoryFault.code())));
    assert!(is_success(&rig.store(phone, 21, "main", &small)), "replacing one is none more");
    assert_eq!(rig.stored("sixth"), None);
    assert!(!rig.desk.shelf(ANNA).has_staged());
    assert_eq!(refusal(&rig.store(phone, 22, "main", &[])), Some((1, Reason::RecordOutOfRange.code())));
    assert_eq!(rig.stored("main"), Some(small));
}

#[test]
fn a_move_deletes_the_stored_copy_once_the_target_has_all_of_it() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    let moving = Wish { moves: true, ..FETCH };
    rig.store(phone, 1, "main", &some_items());
    for (transaction, result) in [(2, (2, Reason::Unsupported.code())), (3, (2, Reason::MemoryFault.code()))] {
        let said = rig.initiate(phone, transaction, moving, "main");
        let (got, said) = rig.fetch(phone, said, result);
        assert_eq!(got, [1, 2, 3], "the rest is tried");
        assert_eq!(is_success(&said), result.1 == Reason::Unsupported.code());
        assert_eq!(rig.stored("main"), Some(some_items()), "not all is there");
    }
    let said = rig.initiate(phone, 4, moving, "main");
    let Some(Message::SessionOpen { session, .. }) = said.first() else { panic!("{said:?}") };
    let session = *session;
    for item in [1, 2] {
        rig.receive(phone, Message::ItemResult { session, item, result: 0, reason: 0 });
        assert!(rig.stored("main").is_some());
    }
    assert!(is_success(&rig.receive(phone, Message::ItemResult { session, item: 3, result: 0, reason: 0 })));
    assert_eq!(rig.stored("main"), None);
    // Its end is told again, though the collection is gone.
    assert!(is_success(&rig.initiate(phone, 4, moving, "main")));
}

#[test]
fn data_settings_or_both_are_sent() {
    let (mut rig, phone) = (Rig::default(), device(ANNA, 1));
    rig.store(phone, 1, "main", &some_items());
    for (transaction, data, settings, items) in [(2, true, false, 2), (3, false, true, 1), (4, true, true, 3)] {
        let said = rig.initiate(phone, transaction, Wish { data, settings, ..FETCH }, "main");
        assert_eq!(rig.fetch(phone, said, (0, 0)).0.len(), items);
    }
    let neither = Wish { data: false, settings: false, ..FETCH };
    assert_eq!(refusal(&rig.initiate(phone, 5, neither, "main")), Some((0, Reason::Malformed.code())));
    // A store of data takes no setting.
    let said = rig.initiate(phone, 6, Wish { settings: false, ..STORE }, "main");
    let Some(Message::ItemRequest { session, item: number }) = said.last().cloned() else { panic!("{said:?}") };
    let setting = item(Kind::Setting, "volume", 1).messages(session, number, SMS_ROOM_OCTETS).expect("one part");
    assert_eq!(refusal(&rig.receive(phone, setting[0].clone())), Some((1, Reason::Unsupported.code())));
}

/// Covers: NK-SE-02
#[test]
fn another_user_is_refused_until_the_owner_consents_and_sessions_are_their_devices_own() {
    let (mut rig, phone, foreign) = (Rig::default(), device(ANNA, 1), device(BOB, 9));
    rig.store(phone, 1, "main", &some_items());
    let refused = Some((0, Reason::AccessDenied.code()));
    assert_eq!(refusal(&rig.initiate(foreign, 1, FETCH, "main")), Some((0, Reason::UnknownFile.code())));
    assert_eq!(refusal(&rig.initiate(foreign, 2, FETCH, "31612345678/main")), refused);
    assert_eq!(refusal(&rig.initiate(foreign, 3, FETCH, "31612345678/none")), refused, "nor is it told what exists");
    assert_eq!(refusal(&rig.initiate(foreign, 4, FETCH, "4670000000/main")), refused);
    rig.desk.shelf(ANNA).consent("main", BOB);
    let said = rig.initiate(foreign, 5, FETCH, "31612345678/main");
    assert_eq!(rig.fetch(foreign, said, (0, 0)).0, [1, 2, 3]);
    let moving = Wish { moves: true, ..FETCH };
    assert_eq!(refusal(&rig.initiate(foreign, 6, moving, "31612345678/main")), refused);
    assert_eq!(refusal(&rig.initiate(foreign, 7, STORE, "31612345678/main")), refused);
    rig.desk.shelf(ANNA).withdraw_consent("main", BOB);
    assert_eq!(refusal(&rig.initiate(foreign, 8, FETCH, "31612345678/main")), refused);
    // A session of another device, and one that has expired.
    let said = rig.initiate(phone, 2, FETCH, "main");
    let Some(Message::SessionOpen { session, .. }) = said.first() else { panic!("{said:?}") };
    let confirmation = Message::ItemResult { session: *session, item: 1, result: 0, reason: 0 };
    let ended = |result| [Message::SessionEnd { session: *session, result }];
    assert_eq!(rig.receive(foreign, confirmation.clone()), ended(2));
    rig.wait(EXPIRY);
    assert_eq!(rig.receive(phone, confirmation.clone()), ended(1));
    rig.wait(RESUMABLE);
    assert_eq!(rig.receive(phone, confirmation), ended(2));
}

#[test]
fn an_item_too_large_for_sms_waits_for_ip() {
    let mut rig = Rig::default();
    let (ip, sms) = (device(ANNA, 1), Caller { bearer: Bearer::Sms, ..device(ANNA, 1) });
    rig.store(ip, 1, "main", &[item(Kind::Data, "a", 5), item(Kind::Data, "b", 40_000)]);
    let said = rig.initiate(sms, 2, FETCH, "main");
    let (got, said) = rig.fetch(sms, said, (0, 0));
    let reason = Reason::BadDataLengthOrOffset.code();
    assert_eq!(got, [1]);
    assert!(matches!(said[..], [Message::ItemResult { item: 2, result: 1, reason: said, .. }] if said == reason));
    rig.wait(Duration::from_secs(3600));
    let said = rig.initiate(ip, 2, FETCH, "main");
    let (got, said) = rig.fetch(ip, said, (0, 0));
    assert_eq!((got, is_success(&said)), (vec![2], true));
}

#[test]
fn a_version_that_was_replaced_is_not_sent_to_its_end() {
    let (mut rig, phone, other) = (Rig::default(), device(ANNA, 1), device(ANNA, 2));
    rig.store(phone, 1, "main", &some_items());
    let said = rig.initiate(other, 1, FETCH, "main");
    rig.store(phone, 2, "main", &some_items());
    let (got, said) = rig.fetch(other, said, (0, 0));
    assert_eq!((got, refusal(&said)), (vec![1], Some((2, Reason::UnknownFile.code()))));
}

fn any_message() -> impl Strategy<Value = Message> {
    let name = prop_oneof![Just("main"), Just("31612345678/main"), Just(""), Just("a/b/c")];
    let kind = prop_oneof![Just(Kind::Data), Just(Kind::Setting)];
    let numbers = (0..12_u32, 0..4_u16);
    prop_oneof![
        (0..4_u16, any::<[bool; 4]>(), name).prop_map(|(transaction, [fetch, data, settings, moves], name)| {
            Message::Initiation { transaction, wish: Wish { fetch, data, settings, moves }, name: name.to_owned() }
        }),
        (numbers.clone(), kind, 1..3_u8, 0..200_usize).prop_map(|((session, number), kind, part, octets)| {
            let part = link::transfer::ItemPart {
                kind,
                key: Bytes::from_static(b"k"),
                part,
                parts: 2,
                value: vec![1; octets].into(),
            };
            Message::Item { session, item: number, part }
        }),
        (numbers.clone(), 0..4_u8, 0..0x10_u8).prop_map(|((session, item), result, reason)| Message::ItemResult {
            session,
            item,
            result,
            reason
        }),
        numbers.clone().prop_map(|(session, item)| Message::ItemRequest { session, item }),
        numbers.prop_map(|(session, item)| Message::SessionOpen { transaction: item, session, items: item }),
        (0..12_u32, any::<u8>()).prop_map(|(session, result)| Message::SessionEnd { session, result }),
    ]
}

proptest! {
    #[test]
    fn any_messages_keep_the_limits_and_every_session_is_one_stored_value(
        messages in prop::collection::vec((any_message(), 0..3_i64, 0..100_000_u64), 1..60),
    ) {
        let mut rig = Rig::default();
        for (message, from, seconds) in messages {
            // Mostly a moment, sometimes a day.
            rig.wait(Duration::from_secs(if seconds < 90_000 { seconds / 3000 } else { seconds }));
            rig.receive(device(SubscriberId(1 + from / 2), from), message);
            rig.desk.tick(rig.now);
            for session in rig.desk.sessions() {
                prop_assert_eq!(&Session::from_octets(session.to_octets()).expect("own octets"), session);
                let octets = session.to_octets();
                prop_assert!(Session::from_octets(octets[..octets.len() - 1].to_vec()).is_err());
            }
            prop_assert!(rig.desk.sessions().count() <= 3 * SESSIONS_PER_DEVICE_MAX);
            let of_device = |id| rig.desk.sessions().filter(move |session| {
                session.opening.device.device == DeviceId(id) && !matches!(session.phase, Phase::Ended(_))
            });
            prop_assert!((0..3).all(|id| of_device(id).count() <= 1));
        }
    }

    #[test]
    fn any_octets_are_a_session_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(session) = Session::from_octets([&[1], &octets[..]].concat()) {
            prop_assert!(session.to_octets().len() <= octets.len() + 1);
        }
    }
}
