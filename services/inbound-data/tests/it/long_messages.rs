use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::delivery::Content;
use link::monitor::MonitorTable;
use proto::inbound::{InboundMessage, Outcome};

use crate::harness::{Card, adn, adn_row, item, sms, start, start_with};

fn parts(number: u32, reference: u8, octets: &[u8]) -> Vec<InboundMessage> {
    let chunks: Vec<_> = octets.chunks(134).collect();
    let total = u8::try_from(chunks.len()).unwrap();
    let part = |(sequence, chunk): (u8, &&[u8])| {
        let mut message = sms(number, Bytes::copy_from_slice(chunk));
        message.user_data_header = vec![0x00, 3, reference, total, sequence].into();
        message
    };
    (1..).zip(&chunks).map(part).collect()
}

#[tokio::test]
async fn a_long_message_is_whole_when_its_last_part_comes_in_any_order_and_over_a_restart() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let records: Vec<_> = (1..=12).map(|record| (record, adn(&format!("N{record}")))).collect();
    let long = card.backup_all(&records, 4096);
    let mut sent = parts(1, 7, &long);
    assert_eq!(sent.len(), 3);
    assert_eq!(centre.one(sent.remove(2)).await, Outcome::Stored);
    assert!(centre.book(1).is_empty());
    let store = centre.stop().await;
    assert_eq!(store.tables().waiting_parts(), 1, "a part is safe before it is answered");
    let mut centre = start_with(store, |_| {}).await;
    // The same part again, and the two others in one batch.
    let third = parts(1, 7, &long).remove(2);
    assert_eq!(centre.one(third).await, Outcome::Stored);
    sent.reverse();
    let outcomes = centre.edge.ingest(sent).await;
    assert_eq!(outcomes, [(Outcome::Stored, 0); 2]);
    assert_eq!((centre.book(1).len(), centre.store.tables().waiting_parts()), (12, 0));
    assert_eq!(centre.state(1).checksums, card.table);
    assert_eq!(centre.store.tables().billing.len(), 4);
    assert_eq!(centre.store.tables().acknowledgements().len(), 1);
    // All of it again is one repeat.
    let outcomes = centre.edge.ingest(parts(1, 8, &long)).await;
    assert_eq!(outcomes[2].0, Outcome::Duplicate);
    centre.stop().await;
}

#[tokio::test]
async fn parts_that_never_become_whole_are_dropped_and_strangers_leave_none() {
    let mut centre = start().await;
    centre.subscriber(1);
    let long =
        Card::default().backup_all(&[(1, adn("A")), (2, adn("B")), (3, adn("C")), (4, adn("D")), (5, adn("E"))], 4096);
    centre.one(parts(1, 7, &long).remove(0)).await;
    assert_eq!(centre.one(parts(2, 7, &long).remove(0)).await, Outcome::Refused);
    assert_eq!(centre.store.tables().waiting_parts(), 1);
    centre.clock.advance(Duration::from_secs(24 * 3600 + 1));
    centre.until("the part is dropped", |centre| centre.store.tables().parts.is_empty()).await;
    assert_eq!(centre.one(parts(1, 7, &long).remove(1)).await, Outcome::Stored);
    assert!(centre.book(1).is_empty());
    centre.stop().await;
}

#[tokio::test]
async fn a_long_message_behind_a_change_of_the_monitor_table_is_read_with_the_new_one() {
    let mut centre = start().await;
    centre.subscriber_with(1, |view| view.state.monitor = MonitorTable::default());
    let row = [&[0], adn_row().to_octets().as_slice()].concat();
    let action = centre.order(1, Content::Configuration { items: vec![item(6, &row)] });
    centre.launch(action);
    let mut card = Card::default();
    let records: Vec<_> = (1..=6).map(|record| (record, adn(&format!("N{record}")))).collect();
    // Before the acknowledgement, and in one batch with what comes after it.
    let first = parts(1, 1, &card.backup_all(&records, 4096));
    let second = parts(
        1,
        2,
        &card.backup_all(&[(1, adn("AGAIN")), (7, adn("A")), (8, adn("B")), (9, adn("C")), (10, adn("D"))], 4096),
    );
    let messages: Vec<_> = first.into_iter().chain([sms(1, vec![0x38, 6, 0])]).chain(second).collect();
    let outcomes = centre.edge.ingest(messages).await;
    assert_eq!(outcomes, [(Outcome::Stored, 0); 5]);
    assert_eq!(centre.book(1).len(), 10);
    assert_eq!((centre.state(1).checksums, centre.store.tables().waiting_parts()), (card.table, 0));
    centre.stop().await;
}

/// Each replica reads before the other has committed: neither sees the other's part.
#[tokio::test]
async fn parts_that_two_replicas_get_at_the_same_time_become_whole() {
    let mut north = start().await;
    let mut south = start_with(north.store.clone(), |config| config.node = 2).await;
    north.subscriber(1);
    let mut card = Card::default();
    let records: Vec<_> = (1..=6).map(|record| (record, adn(&format!("N{record}")))).collect();
    let mut sent = parts(1, 7, &card.backup_all(&records, 4096));
    assert_eq!(sent.len(), 2);
    let store = north.store.clone();
    let gate = store.gate.acquire_many(1 << 20).await.unwrap();
    let last = south.edge.send(vec![sent.remove(1)]).await;
    let first = north.edge.send(vec![sent.remove(0)]).await;
    north.until("both have read", |centre| centre.store.tables().begun == 2).await;
    drop(gate);
    assert_eq!(north.edge.results(&first).await[0].outcome(), Outcome::Stored);
    assert_eq!(south.edge.results(&last).await[0].outcome(), Outcome::Stored);
    assert_eq!((north.book(1).len(), store.tables().waiting_parts()), (6, 0));
    assert_eq!(north.state(1).checksums, card.table);
    south.stop().await;
    north.stop().await;
}

/// The network's answer to our answer that got lost: a part comes once more, and later its reference is used again.
#[tokio::test]
async fn a_part_that_comes_again_completes_no_other_message() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let long = |card: &mut Card, name: &str| {
        let records: Vec<_> = (1..=6).map(|record| (record, adn(&format!("{name}{record}")))).collect();
        parts(1, 7, &card.backup_all(&records, 4096))
    };
    let first = long(&mut card, "OLD");
    for part in &first {
        assert_eq!(centre.one(part.clone()).await, Outcome::Stored);
    }
    assert_eq!(centre.one(first[1].clone()).await, Outcome::Stored);
    let second = long(&mut card, "NEW");
    assert_eq!(centre.one(second[0].clone()).await, Outcome::Stored);
    assert_eq!(centre.record(1, 6), Some(adn("OLD6")), "half of one and half of another is no message");
    assert_eq!(centre.store.tables().journal.len(), 1);
    assert_eq!(centre.one(second[1].clone()).await, Outcome::Stored);
    assert_eq!((centre.record(1, 1), centre.record(1, 6)), (Some(adn("NEW1")), Some(adn("NEW6"))));
    assert_eq!((centre.state(1).checksums.clone(), centre.store.tables().waiting_parts()), (card.table, 0));
    // A whole repeat is known as one, and answered again.
    assert_eq!(centre.one(second[1].clone()).await, Outcome::Stored);
    assert_eq!(centre.one(second[0].clone()).await, Outcome::Duplicate);
    assert_eq!(centre.store.tables().acknowledgements().len(), 3);
    centre.stop().await;
}

#[tokio::test]
async fn a_number_with_too_many_parts_waiting_is_asked_to_come_again_and_others_are_not() {
    let mut centre = start_with(Arc::default(), |config| config.parts_max = 255).await;
    centre.subscriber(1);
    centre.subscriber(2);
    let part = |number, reference: u16, sequence: u8| {
        let mut message = sms(number, Bytes::from_static(&[0x08, 0]));
        let [high, low] = reference.to_be_bytes();
        message.user_data_header = vec![0x08, 4, high, low, 254, sequence].into();
        message
    };
    let messages: Vec<_> = (0..300).map(|reference| part(1, reference, 1)).collect();
    let outcomes = centre.edge.ingest(messages).await;
    assert_eq!(outcomes.iter().filter(|(outcome, _)| *outcome == Outcome::Stored).count(), 255);
    assert_eq!(outcomes.iter().filter(|(outcome, _)| *outcome == Outcome::Retry).count(), 45);
    assert_eq!(centre.store.tables().waiting_parts(), 255);
    assert_eq!(centre.one(part(2, 1, 1)).await, Outcome::Stored);
    assert_eq!(centre.one(part(1, 0, 1)).await, Outcome::Stored, "a repeat of one that waits");
    assert_eq!(centre.store.tables().billing.len(), 257, "what is not taken is not billed");
    centre.stop().await;
}
