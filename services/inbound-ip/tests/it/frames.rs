//! Good frames reach the centre; bad ones cost themselves, or their connection, and nothing else.

use link::ip::{Direction, FRAME_OCTETS_MAX, PAYLOAD_OCTETS_MAX, encode_frame};
use proto::inbound::Bearer;
use tokio::io::AsyncWriteExt;

use crate::{
    Set,
    card::Card,
    centre::{key, msisdn},
};

/// Covers: SC-IC-01, SC-IC-03, SC-IC-04, SC-IC-05
#[tokio::test]
async fn a_payload_reaches_the_inbound_data_processor_as_the_card_made_it() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    let payloads = [b"\x0A\x00\x01BOB".to_vec(), vec![0xFF; PAYLOAD_OCTETS_MAX], vec![0x00]];
    card.counter = 7;
    for payload in &payloads {
        card.send(payload).await;
    }
    assert_eq!(set.centre.payloads(3).await, payloads);
    let first = set.centre.until(|inner| inner.received.first().cloned()).await;
    let originator = first.originator.clone().expect("originator");
    assert_eq!((originator.ton, originator.npi, originator.digits), (1, 1, msisdn(1)));
    assert_eq!((first.bearer(), first.link.as_str(), first.reference), (Bearer::Ip, "ip", Some(7)));
    assert_eq!(first.trace_id.len(), 16);
    assert!(first.arrived_micros > 1_600_000_000_000_000);
}

#[tokio::test]
async fn a_keep_alive_is_answered_by_an_empty_frame_and_goes_no_further() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    card.alive().await;
    card.send(b"payload").await;
    card.alive().await;
    assert_eq!(set.centre.payloads(1).await, [b"payload"]);
}

#[tokio::test]
async fn a_first_frame_with_a_wrong_tag_closes_the_connection() {
    let set = Set::start().await;
    for (number, key) in [(msisdn(1), key(2)), (msisdn(2), key(1)), ("999".to_owned(), key(1))] {
        let mut stranger = Card::connect(set.edge, number, key).await;
        stranger.send(b"payload").await;
        stranger.closed().await;
    }
    let opened = set.centre.until(|inner| Some(inner.opened)).await;
    assert_eq!(opened, 0);
}

#[tokio::test]
async fn a_later_frame_with_a_wrong_tag_closes_the_connection_and_is_not_handed_over() {
    let set = Set::start().await;
    let wrong: [fn(&Card) -> Vec<u8>; 5] = [
        |card| encode_frame(b"another key", &card.nonce, &card.msisdn, Direction::Up, 9, b"forged").expect("legal"),
        |card| encode_frame(&card.key, &[0; 16], &card.msisdn, Direction::Up, 9, b"forged").expect("legal"),
        |card| encode_frame(&card.key, &card.nonce, &card.msisdn, Direction::Down, 9, b"forged").expect("legal"),
        // The card's own key does not make another subscriber's frame.
        |card| encode_frame(&card.key, &card.nonce, &msisdn(2), Direction::Up, 9, b"forged").expect("legal"),
        |card| {
            let mut changed = card.frame(9, b"forged");
            *changed.last_mut().expect("octets") ^= 1;
            changed
        },
    ];
    for (count, wrong) in (1..).zip(wrong) {
        let mut card = set.card(1).await;
        card.send(b"good").await;
        assert_eq!(set.centre.payloads(count).await.len(), count);
        card.write(&wrong(&card)).await;
        card.closed().await;
    }
    assert!(set.centre.payloads(5).await.iter().all(|payload| payload == b"good"));
}

#[tokio::test]
async fn a_frame_with_an_old_counter_is_dropped_and_the_connection_stays() {
    let set = Set::start().await;
    set.centre.change(|inner| inner.uplink_counter = 10);
    let mut card = set.card(1).await;
    for (counter, payload) in [(10, "seen before"), (11, "a"), (11, "repeated"), (5, "old"), (0, "zero"), (20, "b")] {
        let frame = card.frame(counter, payload.as_bytes());
        card.write(&frame).await;
    }
    card.counter = 21;
    card.alive().await;
    assert_eq!(set.centre.payloads(2).await, [b"a", b"b"]);
}

#[tokio::test]
async fn frames_may_arrive_in_pieces_or_joined() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    for octet in card.frame(1, b"octet by octet") {
        card.write(&[octet]).await;
        tokio::task::yield_now().await;
    }
    let joined = [card.frame(2, b"joined"), card.frame(3, b"with the next"), card.frame(4, b"cut off here")].concat();
    let (before, after) = joined.split_at(joined.len() - 3);
    card.write(before).await;
    assert_eq!(
        set.centre.payloads(3).await,
        [b"octet by octet".to_vec(), b"joined".to_vec(), b"with the next".to_vec()]
    );
    card.write(after).await;
    assert_eq!(set.centre.payloads(4).await.last().expect("payload"), b"cut off here");
}

#[tokio::test]
async fn what_is_no_frame_closes_its_connection_and_harms_no_other() {
    let set = Set::start().await;
    let mut good = set.card(2).await;
    good.alive().await;
    let too_long = u16::try_from(FRAME_OCTETS_MAX + 1).expect("fits").to_be_bytes();
    let mut version = set.card(1).await.frame(1, b"x");
    version[2] = 9;
    let hostile: [&[u8]; 6] = [
        &too_long,
        &[0, 0],
        &[0xFF; 64],
        b"GET / HTTP/1.1\r\nHost: centre\r\n\r\n",
        &version,
        &[0, 15, 1, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for octets in hostile {
        // As the first frame, and after a good one.
        let mut card = set.card(1).await;
        card.write(octets).await;
        card.closed().await;
        let mut card = set.card(1).await;
        card.alive().await;
        card.write(octets).await;
        card.closed().await;
    }
    good.alive().await;
    good.stream.shutdown().await.expect("closed");
    good.closed().await;
}
