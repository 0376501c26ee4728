use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    delivery::Content,
    phonebook::{history, restore},
};
use link::monitor::MonitorRow;
use proto::inbound::Outcome;

use crate::harness::{Card, Centre, adn, adn_row, item, key, msisdn, sms, start, start_with};

/// Covers: SC-ID-01, SC-ID-03, SC-DB-06, SC-DB-08
#[tokio::test]
async fn records_reach_the_senders_book_and_nobody_elses() {
    let mut centre = start().await;
    let (mut anna, mut ben) = (Card::default(), Card::default());
    for number in [1, 2] {
        centre.subscriber(number);
    }
    let same = adn("SAME");
    let messages = vec![sms(1, anna.backup(1, &same)), sms(2, ben.backup(2, &same)), sms(1, anna.backup(3, &same))];
    let outcomes = centre.edge.ingest(messages).await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Stored));
    let records =
        |centre: &Centre, number| centre.book(number).into_keys().map(|(_, record)| record).collect::<Vec<_>>();
    assert_eq!((records(&centre, 1), records(&centre, 2)), (vec![1, 3], vec![2]));
    assert_eq!((centre.state(1).checksums, centre.state(2).checksums), (anna.table, ben.table));
    centre.stop().await;
}

/// Covers: SC-ID-06, SC-ID-08, SC-IC-10
#[tokio::test]
async fn data_journal_and_acknowledgement_are_one_commit_and_the_queue_hears_of_it() {
    let mut centre = start().await;
    let device = centre.subscriber(1);
    let mut card = Card::default();
    assert_eq!(centre.one(sms(1, card.backup(1, &adn("ANNA")))).await, Outcome::Stored);
    centre.until("the entry is queued", |centre| centre.queue.entries().len() == 1).await;
    let entry = centre.queue.entries().remove(0);
    {
        let tables = centre.store.tables();
        assert_eq!((tables.commits, tables.journal.len(), tables.actions.len()), (1, 1, 1));
        assert_eq!(tables.journal[0].device, device);
        assert_eq!(tables.acknowledgements(), [[0, 1, 0]]);
    }
    assert_eq!(entry.acknowledgement.as_ref().map(|it| it.records.as_ref()), Some([0, 1, 0].as_slice()));
    assert_eq!((entry.device, entry.msisdn), (device, msisdn(1)));
    assert_eq!(entry.traces, [Bytes::from(vec![1; 16])]);
    // The repeat changes nothing.
    let again = Card::default().backup(1, &adn("ANNA"));
    assert_eq!(centre.one(sms(1, again)).await, Outcome::Duplicate);
    {
        let tables = centre.store.tables();
        assert_eq!((tables.journal.len(), tables.acknowledgements().len()), (1, 2));
        // One event per signal; the flag counts repeats (D-124).
        let repeats: Vec<_> = tables.billing.iter().map(|event| event.duplicate).collect();
        assert_eq!(repeats, [false, true]);
    }
    centre.stop().await;
}

#[tokio::test]
async fn messages_of_one_card_are_applied_in_order_whatever_the_batch() {
    let mut centre = start().await;
    let cards: u32 = 5;
    (0..cards).for_each(|number| {
        centre.subscriber(number);
    });
    let mut models = vec![Card::default(); 5];
    let mut messages = Vec::new();
    for round in 0..60_u8 {
        for number in 0..cards {
            let octets = if round % 7 == 6 { Bytes::from(vec![0xFF; 28]) } else { adn(&format!("R{round}")) };
            let message = models[number as usize].backup(1 + round % 9, &octets);
            messages.push(sms(number, message));
        }
    }
    let outcomes = centre.edge.ingest(messages).await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Stored), "{outcomes:?}");
    for number in 0..cards {
        assert_eq!(centre.state(number).checksums, models[number as usize].table);
        assert_eq!(centre.state(number).mismatch_since, None);
    }
    assert!(centre.store.tables().commits < 100, "{} commits for 300 messages", centre.store.tables().commits);
    centre.stop().await;
}

#[tokio::test]
async fn a_b_a_within_a_minute_ends_as_a() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    let (a, b) = (card.backup(1, &adn("A")), card.backup(1, &adn("B")));
    // In one batch and one by one.
    let outcomes = centre.edge.ingest(vec![sms(1, a.clone()), sms(1, b.clone()), sms(1, a.clone())]).await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Stored));
    assert_eq!(centre.record(1, 1), Some(adn("A")));
    for (message, expected) in [(&a, Outcome::Duplicate), (&b, Outcome::Stored), (&a, Outcome::Stored)] {
        assert_eq!(centre.one(sms(1, message.clone())).await, expected);
    }
    assert_eq!(centre.record(1, 1), Some(adn("A")));
    centre.stop().await;
}

/// Covers: SC-DB-13, SC-DB-07
#[tokio::test]
async fn the_book_as_of_earlier_survives_deletion_monitor_change_and_restart() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    for (record, name) in [(1, "ANNA"), (2, "BEN"), (1, "ANNE")] {
        centre.one(sms(1, card.backup(record, &adn(name)))).await;
    }
    let (kept_at, kept) = (centre.now(), centre.book(1));
    centre.one(sms(1, card.backup(2, &vec![0xFF; 28].into()))).await;
    assert_eq!(centre.record(1, 2), None);
    // A wider table, current with the acknowledgement, and a message in the same batch that is in the new form.
    let wide = MonitorRow { data_octets: 30, ..adn_row() };
    let row = [&[0], wide.to_octets().as_slice()].concat();
    let action = centre.order(1, Content::Configuration { items: vec![item(6, &row)] });
    centre.launch(action);
    let in_flight = card.backup(3, &adn("CARL"));
    let wider: Bytes = [adn("DORA").as_ref(), &[1, 2]].concat().into();
    let mut rewritten = Card::default();
    let messages = vec![sms(1, in_flight), sms(1, vec![0x38, 6, 0]), sms(1, rewritten.backup(4, &wider))];
    centre.edge.ingest(messages).await;
    assert_eq!(centre.state(1).monitor.row(0), Some(&wide));
    assert_eq!(centre.record(1, 4), Some(wider));
    assert_eq!(centre.record(1, 3).map(|record| record.slice(..28)), Some(adn("CARL")));
    let store = centre.stop().await;
    let mut centre = start_with(store, |_| {}).await;
    let journal: Vec<_> = centre.store.tables().journal.iter().rev().cloned().collect();
    let monitor = centre.state(1).monitor;
    let past = history::as_of(&centre.book(1), &journal, kept_at);
    // Stored are the records in the new length, in the book that was kept in the old one.
    let common = |book: &restore::Book| -> Vec<_> {
        book.iter().map(|(record, octets)| (*record, octets.slice(..28))).collect()
    };
    assert_eq!(common(&past), common(&kept));
    assert_eq!(history::entries(&journal).filter(|entry| entry.record_number == 1).count(), 2);
    // And it is restored as of then: the deleted entry comes back.
    let source = restore::Origin { book: &past, monitor: &monitor };
    let plan = restore::plan(source, &centre.book(1), &monitor, &restore::Selection::All).unwrap();
    let action = centre.order(1, Content::Restore { records: plan, check_data: None });
    let message = centre.launch(action);
    let record = |number: u8| [0x7F, 0x10, 0x6F, 0x3A, number, 0, 0];
    assert_eq!(message[2], 1);
    let acknowledgement = [&[0x20], record(1).as_slice(), &record(2), &record(3), &record(4)].concat();
    assert_eq!(centre.one(sms(1, acknowledgement)).await, Outcome::Stored);
    assert_eq!(centre.record(1, 2).map(|record| record.slice(..28)), Some(adn("BEN")));
    assert_eq!((centre.record(1, 3), centre.record(1, 4)), (None, None));
    centre.stop().await;
}

/// Covers: SC-ER-02
#[tokio::test]
async fn a_forced_mismatch_is_followed_by_a_request_to_resynchronise() {
    let mut centre = start().await;
    // The other's mismatch is two seconds older.
    for (number, age) in [(2, 2), (1, 0)] {
        centre.subscriber(number);
        let mut card = Card::default();
        centre.one(sms(number, card.backup(1, &adn("ANNA")))).await;
        let mut state = centre.state(number);
        state.checksums.remove(0, 1);
        centre.store.tables().set_state(key(number), &state);
        centre.one(sms(number, card.backup(2, &adn("BEN")))).await;
        centre.clock.advance(Duration::from_secs(age));
    }
    let asked = |centre: &Centre, number: u32| {
        centre.store.tables().ordered().into_iter().find(|action| action.device == key(number))
    };
    centre.clock.advance(Duration::from_secs(359));
    centre.until("the other's resynchronisation", |centre| asked(centre, 2).is_some()).await;
    assert!(asked(&centre, 1).is_none(), "not within the grace");
    centre.clock.advance(Duration::from_secs(2));
    centre.until("a resynchronisation", |centre| asked(centre, 1).is_some()).await;
    let action = asked(&centre, 1).unwrap();
    assert_eq!(centre.launch(action.id), [0x30, 0x09, 0xFF, 0x0A, 0xFF]);
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == action.id)).await;
    centre.stop().await;
}

/// A device that seldom polls has a grace of hours: marked first, it is due last.
#[tokio::test]
async fn a_long_grace_keeps_nobody_else_from_the_sweep() {
    let mut centre = start_with(Arc::default(), |config| config.sweep_devices_max = 1).await;
    for number in [1, 2] {
        centre.subscriber(number);
        let mut card = Card::default();
        centre.one(sms(number, card.backup(1, &adn("ANNA")))).await;
        let mut state = centre.state(number);
        state.checksums.remove(0, 1);
        if number == 1 {
            state.settings.insert(0x0B, Bytes::from_static(&[255, 1]));
        }
        centre.store.tables().set_state(key(number), &state);
        centre.one(sms(number, card.backup(2, &adn("BEN")))).await;
    }
    let asked = |centre: &Centre| -> Vec<_> {
        centre.store.tables().ordered().into_iter().map(|action| action.device).collect()
    };
    centre.clock.advance(Duration::from_secs(361));
    centre.until("the second is asked", |centre| asked(centre) == [key(2)]).await;
    centre.clock.advance(Duration::from_secs(72 * 255));
    centre.until("the first is asked in its time", |centre| asked(centre).contains(&key(1))).await;
    centre.stop().await;
}
