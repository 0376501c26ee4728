use bytes::Bytes;
use domain::phonebook::{AccountState, Bearer};
use link::{
    ip::{Direction, encode_frame},
    reason::Reason,
};
use proto::inbound::{Bearer as WireBearer, InboundMessage, OpenIpLinkRequest, OpenIpLinkResponse, Outcome};

use crate::harness::{Card, Centre, adn, digits, key, sms, start};

const KEY: &[u8] = b"sixteen octets ..";
const NONCE: [u8; 16] = [7; 16];

fn frame(with_key: &[u8], number: u32, direction: Direction, counter: u32) -> Bytes {
    let whole = encode_frame(with_key, &NONCE, &digits(number), direction, counter, &[]).unwrap();
    Bytes::from(whole).slice(2..)
}

async fn open(centre: &mut Centre, number: u32, frame: Bytes) -> OpenIpLinkResponse {
    let request = OpenIpLinkRequest { msisdn: digits(number), nonce: Bytes::copy_from_slice(&NONCE), frame };
    centre.client.open_ip_link(request).await.unwrap().into_inner()
}

fn with_counter(payload: Vec<u8>, counter: u64) -> InboundMessage {
    InboundMessage { bearer: WireBearer::Ip.into(), reference: Some(counter), ..sms(1, payload) }
}

#[tokio::test]
async fn a_link_opens_with_the_devices_key_and_every_opening_gets_counters_of_its_own() {
    let mut centre = start().await;
    centre.subscriber_with(1, |view| view.device.ip_key = Some(Bytes::from_static(KEY)));
    centre.subscriber(2);
    let opened = open(&mut centre, 1, frame(KEY, 1, Direction::Up, 1)).await;
    assert!(opened.accepted && opened.key == KEY);
    assert_eq!((opened.subscriber_id, opened.device_id), (key(1).subscriber.0, key(1).device.0));
    assert_eq!((opened.uplink_counter, opened.downlink_counter), (0, 1));
    let again = open(&mut centre, 1, frame(KEY, 1, Direction::Up, 1)).await;
    assert_eq!(again.downlink_counter, 1001);
    let mut refuse = async |number, frame, expected: Reason| {
        let refused = open(&mut centre, number, frame).await;
        assert_eq!((refused.accepted, refused.reason), (false, expected.code().into()));
        assert!(refused.key.is_empty());
    };
    refuse(1, frame(b"another key", 1, Direction::Up, 1), Reason::KeyOrCounterRefused).await;
    refuse(1, frame(KEY, 1, Direction::Down, 1), Reason::KeyOrCounterRefused).await;
    refuse(1, frame(KEY, 1, Direction::Up, 0), Reason::KeyOrCounterRefused).await;
    refuse(2, frame(KEY, 2, Direction::Up, 1), Reason::KeyOrCounterRefused).await;
    refuse(2, frame(KEY, 1, Direction::Up, 1), Reason::Malformed).await;
    refuse(3, frame(KEY, 3, Direction::Up, 1), Reason::UnknownSubscriber).await;
    refuse(1, Bytes::from_static(&[1, 2, 3]), Reason::Malformed).await;
    centre.stop().await;
}

/// D-115: the error message is the only answer, and the link its only way. Nothing is stored, not even the counter.
#[tokio::test]
async fn a_suspended_card_opens_its_link_and_gets_its_error_message_by_it() {
    let mut centre = start().await;
    centre.subscriber_with(1, |view| {
        view.device.ip_key = Some(Bytes::from_static(KEY));
        view.subscriber.state = AccountState::Suspended;
    });
    assert!(!open(&mut centre, 1, frame(b"another key", 1, Direction::Up, 1)).await.accepted);
    assert!(open(&mut centre, 1, frame(KEY, 1, Direction::Up, 1)).await.accepted);
    let message = with_counter(Card::default().backup(1, &adn("A")), 2);
    for _ in 0..2 {
        assert_eq!(centre.one(message.clone()).await, Outcome::Refused);
    }
    centre.until("the error message", |centre| !centre.errors.lock().unwrap().is_empty()).await;
    let error = centre.errors.lock().unwrap().first().cloned().unwrap();
    assert_eq!((error.payload.as_ref(), error.device_id), ([0x48, 0, 0, 0, 0, 0, 1, 0x0A].as_slice(), key(1).device.0));
    assert!(centre.store.tables().journal.is_empty() && centre.queue.entries().is_empty());
    assert_eq!(centre.state(1).uplink_counter, 0);
    centre.stop().await;
}

#[tokio::test]
async fn the_counter_of_ip_messages_only_grows_and_the_answer_goes_by_ip() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let (a, b) = (card.backup(1, &adn("A")), card.backup(1, &adn("B")));
    assert_eq!(centre.one(with_counter(a.clone(), 5)).await, Outcome::Stored);
    assert_eq!(centre.one(with_counter(a.clone(), 5)).await, Outcome::Duplicate);
    assert_eq!(centre.one(with_counter(b.clone(), 4)).await, Outcome::Refused);
    assert_eq!(centre.one(with_counter(b, 6)).await, Outcome::Stored);
    assert_eq!(centre.one(with_counter(a, 7)).await, Outcome::Stored);
    assert_eq!((centre.state(1).uplink_counter, centre.record(1, 1)), (7, Some(adn("A"))));
    centre.until("four answers", |centre| centre.queue.entries().len() == 4).await;
    assert!(centre.queue.entries().iter().all(|entry| entry.channel == Bearer::Ip));
    assert!(centre.store.tables().billing.iter().all(|event| event.channel == "ip/north"));
    centre.stop().await;
}

/// A connection that was opened before its card was replaced, its number given away, or its account erased.
/// Covers: SC-ID-03
#[tokio::test]
async fn a_connection_of_a_card_that_is_not_the_numbers_writes_nothing_and_is_closed() {
    let mut centre = start().await;
    let device = centre.subscriber(1).device.0;
    let mut card = Card::default();
    let (first, second) = (card.backup(1, &adn("A")), card.backup(2, &adn("B")));
    let of =
        |device_id, payload: &Vec<u8>, counter| InboundMessage { device_id, ..with_counter(payload.clone(), counter) };
    assert_eq!(centre.one(of(device, &first, 50)).await, Outcome::Stored);
    let mut refused = async |message: InboundMessage| {
        let ids = centre.edge.send(vec![message]).await;
        let result = centre.edge.results(&ids).await.remove(0);
        assert_eq!((result.outcome(), result.close_link), (Outcome::Refused, true));
        assert_eq!(result.reason, u32::from(Reason::KeyOrCounterRefused.code()));
    };
    // Another card's connection, with a counter that the open device has not reached.
    refused(of(device + 1, &second, 100)).await;
    let nobody = InboundMessage { originator: sms(2, Vec::new()).originator, ..of(device, &second, 51) };
    refused(nobody).await;
    assert_eq!((centre.state(1).uplink_counter, centre.record(1, 2)), (50, None));
    {
        let tables = centre.store.tables();
        assert!(tables.notices.is_empty() && tables.journal.len() == 1);
        let subscribers: Vec<_> = tables.billing.iter().map(|event| event.subscriber).collect();
        assert_eq!(subscribers, [Some(key(1).subscriber), None, None]);
    }
    assert_eq!(centre.one(of(device, &second, 51)).await, Outcome::Stored);
    centre.stop().await;
}
