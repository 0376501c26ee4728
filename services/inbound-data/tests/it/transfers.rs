//! Transfers through the service: what comes in one batch, again, by another number, and what it leaves in the book.

use bytes::Bytes;
use domain::delivery::{Action, Content};
use link::{
    reason::Reason,
    transfer::{
        Kind, Message, Wish,
        entry::Entry,
        parts::{Item, SMS_ROOM_OCTETS},
    },
};
use proto::inbound::Outcome;

use crate::harness::{Card, Centre, adn, digits, key, sms, start};

const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };

fn initiation(transaction: u16, wish: Wish, name: &str) -> Message {
    Message::Initiation { transaction, wish, name: name.to_owned() }
}

/// What the centre says to a card now.
fn said(centre: &Centre, number: u32) -> (Vec<Message>, Option<Item>) {
    let tables = centre.store.tables();
    let is_of_card = |action: &&Action| action.device == key(number) && action.state.is_open();
    let mut words = tables.actions.values().filter(is_of_card).filter_map(|action| match &action.content {
        Content::Transfer(words) => Some(words.as_ref()),
        _ => None,
    });
    let (Some(words), None) = (words.next(), words.next()) else { panic!("one action of {number}") };
    let messages = words.messages.iter().map(|octets| Message::decode(octets).unwrap()).collect();
    (messages, words.item.as_ref().map(|item| item.content.clone()))
}

/// The session of what is said.
fn session(centre: &Centre, number: u32) -> u32 {
    match said(centre, number).0.first() {
        Some(Message::SessionOpen { session, .. }) => *session,
        other => panic!("{other:?}"),
    }
}

fn items() -> Vec<Item> {
    let ring = Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value: vec![7; 400].into() };
    let entry = |number, name| Entry { record_number: number, adn: adn(name), extensions: Vec::new() }.to_item();
    vec![ring, entry(1, "FROM COLLECTION"), entry(3, "CARL")]
}

/// Everything at once, as from a phone that is not asked: what does not fit the session's step has no effect, and the book
/// loses nothing that was in its page.
#[tokio::test]
async fn messages_of_one_batch_are_steps_one_after_the_other_and_the_book_keeps_what_it_has() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    for (record, name) in [(1, "ANNA"), (2, "BEN")] {
        assert_eq!(centre.one(sms(1, card.backup(record, &adn(name)))).await, Outcome::Stored);
    }
    assert_eq!(centre.one(sms(1, initiation(1, STORE, "main").encode())).await, Outcome::Stored);
    let session = session(&centre, 1);
    let mut batch = vec![initiation(1, STORE, "main")];
    for (number, item) in (1..).zip(items()) {
        batch.extend(item.messages(session, number, SMS_ROOM_OCTETS).unwrap());
    }
    batch.push(Message::ItemResult { session, item: 4, result: 2, reason: Reason::RecordOutOfRange.code() });
    batch.push(initiation(2, FETCH, "main"));
    let messages = batch.iter().map(|message| sms(1, message.encode())).collect();
    let outcomes = centre.edge.ingest(messages).await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Stored), "{outcomes:?}");
    let (words, item) = said(&centre, 1);
    assert!(matches!(words[..], [Message::SessionOpen { transaction: 2, items: 3, .. }]), "{words:?}");
    assert_eq!(item.as_ref(), items().first());
    let records = [1, 2, 3].map(|record| centre.record(1, record));
    assert_eq!(records, [Some(adn("ANNA")), Some(adn("BEN")), Some(adn("CARL"))], "what the card backed up is newer");
    assert_eq!(centre.store.tables().shelf(key(1).subscriber).iter().count(), 1);
    centre.stop().await;
}

#[tokio::test]
async fn a_collection_is_named_by_its_owner_s_number_and_a_foreign_session_is_none() {
    let mut centre = start().await;
    for number in [1, 2] {
        centre.subscriber(number);
    }
    centre.one(sms(1, initiation(1, STORE, "main").encode())).await;
    let session = session(&centre, 1);
    let setting = Item { kind: Kind::Setting, key: Bytes::from_static(b"volume"), value: Bytes::from_static(b"7") };
    for message in setting.messages(session, 1, SMS_ROOM_OCTETS).unwrap() {
        centre.one(sms(1, message.encode())).await;
    }
    let end = Message::ItemResult { session, item: 2, result: 2, reason: Reason::RecordOutOfRange.code() };
    // Of another card it ends nothing.
    centre.one(sms(2, end.encode())).await;
    assert_eq!(said(&centre, 2).0, [Message::SessionEnd { session, result: 2 }]);
    assert!(centre.store.tables().shelf(key(1).subscriber).iter().next().is_none());
    centre.one(sms(1, end.encode())).await;
    let theirs = format!("{}/main", digits(1));
    centre.one(sms(2, initiation(1, FETCH, &theirs).encode())).await;
    let (words, item) = said(&centre, 2);
    let refused = Reason::AccessDenied.code();
    assert!(matches!(words[..], [_, Message::ItemResult { item: 0, result: 2, reason, .. }, _] if reason == refused));
    assert_eq!(item, None);
    centre.store.tables().shelf(key(1).subscriber).consent("main", key(2).subscriber);
    centre.one(sms(2, initiation(2, FETCH, &theirs).encode())).await;
    assert_eq!(said(&centre, 2).1, Some(setting));
    centre.stop().await;
}
