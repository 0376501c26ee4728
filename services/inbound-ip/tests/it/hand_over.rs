//! What the inbound data processor answers, and what the edge does then.

use std::time::Duration;

use proto::inbound::Outcome;
use tokio::{io::AsyncWriteExt, net::TcpSocket, time::timeout};

use crate::{
    Set,
    card::{Card, within},
    centre::{key, msisdn},
};

#[tokio::test]
async fn retry_is_tried_again_with_the_same_counter_and_in_order() {
    let set = Set::start().await;
    set.centre.change(|inner| inner.script = [Outcome::Retry, Outcome::Retry, Outcome::Stored].into());
    let mut card = set.card(1).await;
    card.send(b"first").await;
    card.send(b"second").await;
    let expected = [b"first".to_vec(), b"first".to_vec(), b"first".to_vec(), b"second".to_vec()];
    assert_eq!(set.centre.payloads(4).await, expected);
    let references: Vec<_> =
        set.centre.until(|inner| Some(inner.received.iter().map(|message| message.reference).collect())).await;
    assert_eq!(references, [Some(1), Some(1), Some(1), Some(2)]);
}

#[tokio::test]
async fn after_the_last_attempt_the_message_is_dropped_for_the_card_repeats_it() {
    let set = Set::with(|config| config.retries = 2).await;
    set.centre.change(|inner| inner.script = [Outcome::Retry; 3].into());
    let mut card = set.card(1).await;
    card.send(b"lost").await;
    card.send(b"next").await;
    let expected = [b"lost".to_vec(), b"lost".to_vec(), b"lost".to_vec(), b"next".to_vec()];
    assert_eq!(set.centre.payloads(4).await, expected);
    card.alive().await;
}

#[tokio::test]
async fn refused_and_duplicate_are_final() {
    let set = Set::start().await;
    set.centre.change(|inner| inner.script = [Outcome::Refused, Outcome::Duplicate].into());
    let mut card = set.card(1).await;
    for payload in ["refused", "duplicate", "stored"] {
        card.send(payload.as_bytes()).await;
    }
    let expected = ["refused", "duplicate", "stored"].map(|payload| payload.as_bytes().to_vec());
    assert_eq!(set.centre.payloads(3).await, expected);
    card.alive().await;
}

/// The card was replaced, or the number is another's: its connection has nothing left to say.
#[tokio::test]
async fn messages_name_the_verified_device_and_a_disowned_connection_is_closed() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    card.send(b"mine").await;
    card.alive().await;
    let device = set.centre.until(|inner| inner.received.first().map(|message| message.device_id)).await;
    assert_eq!(device, 1);
    set.centre.change(|inner| {
        inner.script = [Outcome::Refused].into();
        inner.close_link = true;
    });
    card.send(b"another's").await;
    card.closed().await;
    set.centre.until(|inner| inner.registrations.iter().any(|it| it.closed.contains(&1)).then_some(())).await;
}

#[tokio::test]
async fn a_full_window_stops_the_reading_and_loses_nothing() {
    const MESSAGES: u32 = 600;
    let set = Set::with(|config| config.window = 2).await;
    set.centre.state.hold.send_replace(true);
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_send_buffer_size(32 * 1024).expect("small buffer");
    let stream = socket.connect(set.edge).await.expect("connected");
    let mut card = Card::on(stream, msisdn(1), key(1)).await;
    let payload = |number: u32| [&number.to_be_bytes()[..], &[0x41; 4000]].concat();
    let octets: Vec<u8> = (1..=MESSAGES).flat_map(|number| card.frame(number, &payload(number))).collect();
    // 2.4 million octets: more than the sockets' buffers hold while nobody reads.
    let mut written = 0;
    while let Ok(count) = timeout(Duration::from_millis(300), card.stream.write(&octets[written..])).await {
        written += count.expect("connection lives");
        assert!(written < octets.len(), "the edge went on reading");
    }
    let taken = set.centre.until(|inner| Some(inner.received.len())).await;
    assert_eq!(taken, 1, "one card's messages go one after the other");

    set.centre.state.hold.send_replace(false);
    within(card.stream.write_all(&octets[written..])).await.expect("written");
    let all = set.centre.payloads(MESSAGES as usize).await;
    assert!((1..=MESSAGES).zip(&all).all(|(number, found)| *found == payload(number)), "out of order");
}

#[tokio::test]
async fn one_stuck_card_does_not_hold_up_another() {
    let set = Set::with(|config| config.window = 1).await;
    set.centre.change(|inner| inner.script = [Outcome::Retry; 5].into());
    let mut stuck = set.card(1).await;
    stuck.send(b"again and again").await;
    let mut other = set.card(2).await;
    other.send(b"other").await;
    set.centre.until(|inner| inner.received.iter().any(|message| message.payload == "other").then_some(())).await;
}
