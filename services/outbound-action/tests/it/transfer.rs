//! What the centre says in a transfer: all of it in order, cut for its bearer, said again in silence.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    delivery::{Content, State, Words},
    phonebook::Bearer,
    transfer::desk::Sending,
};
use link::transfer::{Kind, Message, parts::Item};
use outbound_action::launcher::Outcome;

use crate::centre::{Centre, config, next, nothing};

fn open() -> Bytes {
    Message::SessionOpen { transaction: 1, session: 7, items: 1 }.encode().into()
}

/// The session's opening, and an item of so many octets.
fn item(octets: usize) -> Content {
    let content = Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value: vec![7; octets].into() };
    let item = Some(Sending { session: 7, number: 1, content });
    Content::Transfer(Box::new(Words { messages: vec![open()], item }))
}

fn part(octets: &[u8]) -> (u8, u8, usize) {
    match Message::decode(octets) {
        Ok(Message::Item { session: 7, item: 1, part }) => (part.part, part.parts, part.value.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_item_leaves_in_parts_that_fit_its_bearer_for_the_phone_and_is_said_again_in_silence() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441150001", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, item(300));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let mut janitor = centre.janitor();
    for (attempt, wait) in [(1, 60), (2, 120), (3, 240), (4, 480)] {
        let first = next(&mut centre.sms).await;
        assert_eq!(first.payload, open());
        assert_eq!((first.protocol_id, first.data_coding, first.registered_delivery), (0, 0xF5, false));
        for (number, octets) in [(1, 125), (2, 125), (3, 50)] {
            let launch = next(&mut centre.sms).await;
            assert_eq!((part(&launch.payload), launch.data_coding), ((number, 3, octets), 0xF5));
        }
        let sent = centre.until(&action, |row| row.attempts == attempt && row.launched.is_some()).await;
        assert_eq!((sent.state, sent.due.since(centre.now()).as_secs()), (State::Sent, wait));
        centre.until_queue_is_empty().await;
        centre.clock.advance(Duration::from_secs(wait));
        assert_eq!(janitor.tick().await.unwrap(), 1);
    }
    // The session waits for the device now, and nothing for the card.
    let over = centre.until(&action, |row| !row.state.is_open()).await;
    assert_eq!((over.state, over.due), (State::Cancelled, centre.now()));
    nothing(&mut centre.sms);
}

/// D-69, D-130.
#[tokio::test]
async fn without_an_ip_session_it_goes_by_sms_or_the_device_is_told_to_wait_for_ip() {
    for (octets, parts) in [(300, 3), (60_000, 0)] {
        let mut centre = Centre::start(config()).await;
        let card = centre.card("441150002", Bearer::Ip).await;
        let action = centre.action(card, Bearer::Ip, item(octets));
        centre.ip_script.lock().unwrap().push(Outcome::NotReachable);
        centre.commit_and_push(std::slice::from_ref(&action)).await;
        assert_eq!(next(&mut centre.ip).await.payload, open());
        centre.until(&action, |row| row.state == State::Queued && row.cause == "no IP session").await;
        nothing(&mut centre.ip);
        centre.until_queue_is_empty().await;
        centre.clock.advance(Duration::from_secs(61));
        assert_eq!(centre.janitor().tick().await.unwrap(), 1);
        assert_eq!(next(&mut centre.sms).await.payload, open());
        for number in 1..=parts {
            assert_eq!(part(&next(&mut centre.sms).await.payload).0, number);
        }
        if parts == 0 {
            let told = Message::decode(&next(&mut centre.sms).await.payload);
            assert_eq!(told, Ok(Message::ItemResult { session: 7, item: 1, result: 1, reason: 3 }));
        }
        nothing(&mut centre.sms);
    }
}

#[tokio::test]
async fn a_part_that_is_refused_stops_the_others_and_all_of_it_is_said_later() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441150004", Bearer::Ip).await;
    let action = centre.action(card, Bearer::Ip, item(9000));
    let accepted = || Outcome::Accepted(proto::outbound::Accepted::default());
    let later = Outcome::Temporary { cause: "full".to_owned(), after: Duration::ZERO };
    centre.ip_script.lock().unwrap().extend([accepted(), accepted(), later]);
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    for _ in 0..3 {
        next(&mut centre.ip).await;
    }
    centre.until(&action, |row| row.state == State::Queued && row.cause == "full").await;
    nothing(&mut centre.ip);
    centre.until_queue_is_empty().await;
    centre.clock.advance(Duration::from_secs(60));
    assert_eq!(centre.janitor().tick().await.unwrap(), 1);
    assert_eq!(next(&mut centre.ip).await.payload, open());
    for number in 1..=3 {
        assert_eq!(part(&next(&mut centre.ip).await.payload).0, number);
    }
}

#[tokio::test]
async fn the_end_is_done_when_it_has_left() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441150005", Bearer::Ip).await;
    let end = Bytes::from(Message::SessionEnd { session: 7, result: 0 }.encode());
    let content = Content::Transfer(Box::new(Words { messages: vec![end.clone()], item: None }));
    let action = centre.action(card, Bearer::Ip, content);
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    assert_eq!(next(&mut centre.ip).await.payload, end);
    centre.until(&action, |row| row.state == State::Done).await;
}
