use std::time::Duration;

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
    assert_eq!(store.tables().parts.len(), 1, "a part is safe before it is answered");
    let mut centre = start_with(store, |_| {}).await;
    // The same part again, and the two others in one batch.
    let third = parts(1, 7, &long).remove(2);
    assert_eq!(centre.one(third).await, Outcome::Stored);
    sent.reverse();
    let outcomes = centre.edge.ingest(sent).await;
    assert_eq!(outcomes, [(Outcome::Stored, 0); 2]);
    assert_eq!((centre.book(1).len(), centre.store.tables().parts.len()), (12, 0));
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
    assert_eq!(centre.store.tables().parts.len(), 1);
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
    assert_eq!((centre.state(1).checksums, centre.store.tables().parts.len()), (card.table, 0));
    centre.stop().await;
}
