use link::transfer::{
    Kind, Message as Transfer, Wish,
    entry::Entry,
    parts::{IP_ROOM_OCTETS, Item, SMS_ROOM_OCTETS},
};

use super::*;
use crate::{
    delivery::Words,
    phonebook::{EF_EXT1, Transfers},
    transfer::Desk,
};

const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };

fn initiation(transaction: u16, wish: Wish) -> Transfer {
    Transfer::Initiation { transaction, wish, name: "main".to_owned() }
}

fn ring(octets: usize) -> Item {
    Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value: vec![7; octets].into() }
}

fn entry(record_number: u8, name: &str) -> Item {
    Entry { record_number, adn: adn(name), extensions: Vec::new() }.to_item()
}

/// The centre, and its desk from message to message.
struct Rig {
    centre: Centre,
    desk: Desk,
    ids: u32,
}

impl Rig {
    fn new(centre: Centre) -> Self {
        Self { centre, desk: Desk::default(), ids: 0 }
    }

    fn receive(&mut self, message: &Transfer, bearer: Bearer) {
        self.centre.pass(1);
        let octets = Bytes::from(message.encode());
        let reference = (bearer == Bearer::Ip).then(|| u64::from(self.centre.card.view.state.uplink_counter) + 1);
        let incoming = Incoming { octets, bearer, reference, stamp: None, trace: Bytes::new() };
        let parsed = parse(&incoming.octets, &self.centre.card.view.state.monitor);
        let open = std::mem::take(&mut self.centre.card.open);
        let mut card = Card::new(self.centre.card.view.clone());
        assert!(needs_open_actions(&parsed, &card));
        card.set_actions(open);
        self.ids += 1;
        let desk = std::mem::take(&mut self.desk);
        card.set_transfers(Transfers { desk, new_id: self.ids, subscribers: HashMap::new() });
        let mut keys = Vec::new();
        pages_needed(&incoming, &parsed, &card, &mut keys);
        self.centre.card = card;
        let verdict = self
            .centre
            .step(keys, |card, pages, context, effects| apply(&incoming, parsed, card, pages, context, effects));
        assert_eq!(verdict, Verdict::stored());
        self.desk = self.centre.card.transfers.take().expect("given back").desk;
        self.centre.card.open.retain(|action| action.state.is_open());
    }

    /// What is said now, by SMS; the row says that it was.
    fn launch(&mut self) -> Vec<Transfer> {
        let action = self.action();
        let Content::Transfer(words) = action.content.clone() else { panic!("{action:?}") };
        let all =
            words.all(SMS_ROOM_OCTETS).iter().map(|octets| Transfer::decode(octets).expect("own octets")).collect();
        let now = self.centre.now;
        let action = &mut self.centre.card.open[0];
        action.content.ladder(&RetryLadder::default()).launched(action, None, now);
        self.centre.card.open.retain(|action| !action.content.ends_by_leaving());
        all
    }

    fn action(&self) -> &Action {
        let [action] = &self.centre.card.open[..] else { panic!("one action: {:?}", self.centre.card.open) };
        action
    }

    /// All items, and that there are no more.
    fn store(&mut self, items: &[Item]) -> Vec<Transfer> {
        self.receive(&initiation(1, STORE), Bearer::Sms);
        loop {
            let said = self.launch();
            let Some(Transfer::ItemRequest { session, item }) = said.last().cloned() else { return said };
            match items.get(usize::from(item) - 1) {
                Some(content) => {
                    for message in content.messages(session, item, SMS_ROOM_OCTETS).expect("few parts") {
                        self.receive(&message, Bearer::Sms);
                    }
                }
                None => self.receive(&Transfer::ItemResult { session, item, result: 2, reason: 2 }, Bearer::Sms),
            }
        }
    }
}

/// Covers: NK-CV-02
#[test]
fn entries_of_a_stored_collection_are_in_the_book_with_their_checksums_and_their_history() {
    let mut rig = Rig::new(Centre::adn());
    rig.centre.receive(&ModelCard::adn().backup(2, &adn("Newer")));
    let extension = Bytes::from_static(b"\x02___________\xFF");
    let mut long = adn("Long").to_vec();
    long[27] = 5;
    let long = Entry { record_number: 3, adn: long.into(), extensions: vec![extension.clone()] };
    let items = [ring(300), entry(1, "Anna"), entry(2, "Older"), long.to_item()];
    let said = rig.store(&items);
    assert!(matches!(said[..], [Transfer::SessionEnd { result: 0, .. }]), "{said:?}");
    assert!(rig.centre.card.open.is_empty(), "the end is answered by nobody");
    assert_eq!(rig.centre.record(1), Some(adn("Anna")));
    assert_eq!(rig.centre.record(2), Some(adn("Newer")), "what the card itself has backed up");
    assert_eq!(rig.centre.record(3), Some(long.adn));
    let checksums = &rig.centre.card.view.state.checksums;
    assert_eq!(checksums.get(0, 1), Some(crc16(&adn("Anna"))));
    let (key, slot) = PageKey::of(KEY, EF_EXT1, 5).unwrap();
    assert_eq!(rig.centre.pages[&key].slots[slot], Some(extension));
    let last = rig.centre.journal.last().unwrap();
    let changed: Vec<_> = last.records.iter().map(|change| (change.file, change.record_number)).collect();
    assert_eq!((last.source, changed), (Source::Backup, vec![(EF_ADN, 1), (EF_EXT1, 5), (EF_ADN, 3)]));
}

/// Covers: NK-IN-05
#[test]
fn a_copy_of_the_initiation_is_the_same_session_and_the_same_action() {
    let mut rig = Rig::new(Centre::adn());
    for _ in 0..3 {
        // The last one when it was said already.
        rig.receive(&initiation(7, STORE), Bearer::Sms);
        assert_eq!((rig.desk.sessions().count(), rig.centre.card.open.len()), (1, 1));
        let said = rig.launch();
        let [Transfer::SessionOpen { transaction: 7, session, .. }, Transfer::ItemRequest { item: 1, .. }] = said[..]
        else {
            panic!("{said:?}")
        };
        assert_eq!(session, 1);
    }
}

/// D-92.
#[test]
fn silence_repeats_what_the_centre_said_and_then_the_session_waits_for_the_device() {
    let mut rig = Rig::new(Centre::adn());
    rig.receive(&initiation(1, STORE), Bearer::Sms);
    rig.launch();
    // Parts of an item put the repeat off.
    let parts = ring(300).messages(1, 1, SMS_ROOM_OCTETS).unwrap();
    rig.centre.pass(50);
    rig.receive(&parts[0], Bearer::Sms);
    assert_eq!(rig.action().due, rig.centre.now.plus(Duration::from_secs(60)));
    let mut waits = Vec::new();
    while let Some(mut action) = rig.centre.card.open.first().cloned() {
        waits.push(action.due.since(rig.centre.now).as_secs());
        rig.centre.now = action.due;
        let ladder = action.content.ladder(&RetryLadder::default());
        ladder.overdue(&mut action, "silence", rig.centre.now);
        rig.centre.card.open[0] = action.clone();
        if action.state == State::Cancelled {
            rig.centre.card.open.clear();
        } else {
            assert!(matches!(rig.launch()[..], [Transfer::SessionOpen { .. }, Transfer::ItemRequest { item: 1, .. }]));
        }
    }
    assert_eq!(waits, [60, 120, 240, 480]);
    // D-92: what it says in the session now is refused; its initiation goes on.
    rig.receive(&parts[1], Bearer::Sms);
    assert!(matches!(rig.launch()[..], [Transfer::SessionEnd { session: 1, result: 1 }]));
    rig.receive(&initiation(1, STORE), Bearer::Sms);
    assert!(matches!(rig.launch()[..], [Transfer::SessionOpen { session: 1, .. }, Transfer::ItemRequest { .. }]));
    // It gives up: nothing is said again.
    rig.receive(&Transfer::SessionEnd { session: 1, result: 2 }, Bearer::Sms);
    rig.launch();
    assert!(rig.centre.card.open.is_empty());
}

/// Covers: NK-IN-04
#[test]
fn an_initiation_by_sms_is_answered_by_the_devices_channel_and_what_is_said_fits_the_bearer() {
    let mut centre = Centre::adn();
    centre.card.view.device.bearer = Bearer::Ip;
    let mut rig = Rig::new(centre);
    rig.receive(&initiation(1, STORE), Bearer::Sms);
    assert_eq!(rig.action().channel, Bearer::Ip);
    for message in ring(9000).messages(1, 1, IP_ROOM_OCTETS).unwrap() {
        rig.receive(&message, Bearer::Ip);
    }
    rig.receive(&Transfer::ItemResult { session: 1, item: 2, result: 2, reason: 2 }, Bearer::Ip);
    rig.centre.pass(30);
    rig.receive(&initiation(2, FETCH), Bearer::Sms);
    let Content::Transfer(words) = &rig.action().content else { panic!() };
    let Words { messages, item: Some(item) } = words.as_ref() else { panic!("{words:?}") };
    assert_eq!((messages.len(), item.number, item.content.value.len()), (1, 1, 9000));
    let lengths = |room| words.all(room).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(IP_ROOM_OCTETS), [9, 4000, 4000, 9 + 36 + 1000], "in messages of the bearer that it goes by");
    assert!(lengths(SMS_ROOM_OCTETS).iter().all(|octets| *octets <= 140));
}
