use bytes::Bytes;
use proto::inbound::Outcome;
use store::StoreError;

use crate::harness::{Card, Edge, adn, sms, start, start_with};

/// Covers: SC-ID-18
#[tokio::test]
async fn while_the_store_is_down_everybody_is_asked_to_come_again() {
    let mut centre = start().await;
    centre.subscriber(1);
    let message = Card::default().backup(1, &adn("ANNA"));
    centre.store.tables().unavailable = true;
    let ids = centre.edge.send(vec![sms(1, message.clone()), sms(5, message.clone())]).await;
    for result in centre.edge.results(&ids).await {
        assert_eq!((result.outcome(), result.retry_after_millis), (Outcome::Retry, 500));
    }
    centre.store.tables().unavailable = false;
    {
        let tables = centre.store.tables();
        assert!(tables.journal.is_empty() && tables.actions.is_empty() && tables.billing.is_empty());
    }
    assert_eq!(centre.one(sms(1, message)).await, Outcome::Stored);
    assert_eq!(centre.store.tables().billing.len(), 1);
    centre.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_committed() {
    let mut centre = start().await;
    centre.subscriber(1);
    let gate = centre.store.gate.acquire_many(1 << 20).await.unwrap();
    let store = centre.store.clone();
    let ids = centre.edge.send(vec![sms(1, Card::default().backup(1, &adn("ANNA")))]).await;
    assert!(!centre.edge.is_answered_soon().await);
    assert!(store.tables().journal.is_empty() && centre.queue.entries().is_empty());
    drop(gate);
    assert_eq!(centre.edge.results(&ids).await[0].outcome(), Outcome::Stored);
    assert_eq!(store.tables().journal.len(), 1);
    centre.stop().await;
}

#[tokio::test]
async fn a_slow_commit_is_no_silence() {
    let mut centre = start().await;
    centre.subscriber(1);
    let store = centre.store.clone();
    let gate = store.gate.acquire_many(1 << 20).await.unwrap();
    let ids = centre.edge.send(vec![sms(1, Card::default().backup(1, &adn("ANNA")))]).await;
    centre.until("it is being committed", |centre| centre.store.tables().begun == 1).await;
    for _ in 0..2 {
        centre.edge.sign_of_life().await;
    }
    drop(gate);
    assert_eq!(centre.edge.results(&ids).await[0].outcome(), Outcome::Stored);
    centre.stop().await;
}

#[tokio::test]
async fn a_conflict_is_read_and_done_again() {
    let mut centre = start().await;
    centre.subscriber(1);
    centre.store.tables().failures =
        vec![StoreError::Conflict("moved".to_owned()), StoreError::Conflict("moved".to_owned())];
    assert_eq!(centre.one(sms(1, Card::default().backup(1, &adn("ANNA")))).await, Outcome::Stored);
    {
        let tables = centre.store.tables();
        assert_eq!((tables.commits, tables.reads, tables.acknowledgements().len()), (1, 3, 1));
    }
    centre.stop().await;
}

/// Covers: SC-ID-18
#[tokio::test]
async fn one_bad_message_does_not_spoil_its_batch() {
    let mut centre = start().await;
    centre.store.tables().poison = Some(b"POISON".to_vec());
    let mut cards = vec![Card::default(); 40];
    for number in 0..40 {
        centre.subscriber(number);
    }
    // Held back, so that they form batches.
    let store = centre.store.clone();
    let gate = store.gate.acquire_many(1 << 20).await.unwrap();
    let mut messages = Vec::new();
    for round in 1..=3 {
        for number in 0..40_u32 {
            let is_bad = round == 2 && number % 13 == 0;
            let name = if is_bad { "POISON" } else { "GOOD" };
            let card = &mut cards[number as usize];
            let message = if is_bad { card.clone().backup(round, &adn(name)) } else { card.backup(round, &adn(name)) };
            messages.push(sms(number, message));
        }
    }
    let ids = centre.edge.send(messages).await;
    assert!(!centre.edge.is_answered_soon().await);
    drop(gate);
    let results = centre.edge.results(&ids).await;
    let refused: Vec<_> = results.iter().filter(|result| result.outcome() == Outcome::Refused).collect();
    assert_eq!((refused.len(), refused[0].reason), (4, 0x0D));
    assert_eq!(results.iter().filter(|result| result.outcome() == Outcome::Stored).count(), 116);
    for number in 0..40 {
        assert_eq!(centre.state(number).checksums, cards[number as usize].table, "card {number}");
    }
    {
        let tables = store.tables();
        assert_eq!(tables.notices.iter().filter(|notice| notice.kind == "dead-letter").count(), 4);
        assert_eq!(tables.billing.len(), 120);
        let has_octets = |letter: &store::DeadLetter| letter.payload.windows(6).any(|octets| octets == b"POISON");
        assert_eq!(tables.dead_letters.iter().filter(|letter| has_octets(letter)).count(), 4);
    }
    centre.stop().await;
}

/// What a card is told of a message that the store does not take: keep it, send it again. Other types of message are not
/// answered, and neither are parts.
/// Covers: SC-ID-18
#[tokio::test]
async fn a_backup_that_is_set_aside_is_a_temporary_failure_and_is_stored_when_it_comes_again() {
    let mut centre = start().await;
    centre.subscriber(1);
    centre.store.tables().poison = Some(b"POISON".to_vec());
    let mut card = Card::default();
    let message = card.backup_all(&[(3, adn("GOOD")), (7, adn("POISON"))], 140);
    for round in 1..=2 {
        assert_eq!(centre.one(sms(1, message.clone())).await, Outcome::Refused);
        centre.until("the answer is queued", |centre| centre.queue.entries().len() == round).await;
        let answers = centre.store.tables().acknowledgements();
        assert_eq!(answers, vec![vec![0, 3, 1, 0, 7, 1]; round], "all of a message is stored, or nothing");
    }
    assert_eq!((centre.record(1, 3), centre.state(1).last_message), (None, None));
    centre.store.tables().poison = None;
    assert_eq!(centre.one(sms(1, message)).await, Outcome::Stored, "no repeat: it was never stored");
    assert_eq!(centre.store.tables().acknowledgements().last(), Some(&vec![0, 3, 0, 0, 7, 0]));
    assert_eq!((centre.record(1, 7), centre.state(1).checksums), (Some(adn("POISON")), card.table));
    centre.stop().await;
}

#[tokio::test]
async fn two_processes_on_one_store_lose_nothing_of_one_card() {
    let mut north = start().await;
    let mut south = start_with(north.store.clone(), |config| config.node = 2).await;
    north.subscriber(1);
    let mut tasks = Vec::new();
    // Different records of one page, half through each process.
    let payload = |record| Card::default().backup(record, &adn(&format!("N{record}")));
    let mut edges = [Edge::connect(north.client.clone()).await, Edge::connect(south.client.clone()).await];
    for record in 1..=32_u8 {
        let edge = &mut edges[usize::from(record % 2)];
        tasks.push((record % 2, edge.send(vec![sms(1, payload(record))]).await));
    }
    for (edge, ids) in tasks {
        let result = edges[usize::from(edge)].results(&ids).await.remove(0);
        assert_eq!(result.outcome(), Outcome::Stored);
    }
    assert_eq!(north.book(1).len(), 32);
    assert_eq!(north.state(1).checksums.len(), 32);
    drop(edges);
    north.edge.ingest(Vec::new()).await;
    south.edge.ingest(Vec::new()).await;
    south.stop().await;
    north.stop().await;
}

#[tokio::test]
async fn what_was_received_is_finished_when_the_process_stops() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let messages: Vec<_> = (1..=50).map(|record| sms(1, card.backup(record, &adn("N")))).collect();
    let ids = centre.edge.send(messages).await;
    let results = centre.edge.results(&ids).await;
    assert_eq!(results.len(), 50);
    let store = centre.stop().await;
    assert_eq!(store.tables().journal.len(), 50);
    let mut centre = start_with(store, |_| {}).await;
    let octets: Bytes = adn("AFTER");
    assert_eq!(centre.one(sms(1, card.backup(60, &octets))).await, Outcome::Stored);
    assert_eq!(centre.state(1).checksums, card.table);
    assert_eq!(centre.state(1).mismatch_since, None);
    centre.stop().await;
}

#[tokio::test]
async fn hostile_octets_cost_one_message() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut messages = Vec::new();
    for first in 0..=255_u8 {
        for length in [0, 1, 7, 30, 160] {
            let mut octets = vec![first; length + 1];
            octets[length] = 0xFF;
            let mut message = sms(1, octets);
            if first % 5 == 0 {
                message.user_data_header = vec![first, 0x05, first].into();
            }
            messages.push(message);
        }
    }
    let count = messages.len();
    let outcomes = centre.edge.ingest(messages).await;
    assert_eq!(outcomes.len(), count);
    assert!(outcomes.iter().all(|(outcome, _)| *outcome != Outcome::Unspecified && *outcome != Outcome::Retry));
    assert_eq!(centre.one(sms(1, Card::default().backup(1, &adn("ANNA")))).await, Outcome::Stored);
    assert_eq!(centre.record(1, 1), Some(adn("ANNA")));
    centre.stop().await;
}
