//! Crashes, replicas, an empty queue, entries that never succeed.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use domain::{delivery::State, phonebook::Bearer};
use store::ApplicationStore;

use crate::{
    centre::{Centre, acknowledgement, config, eventually, next, nothing, restore},
    faulty_store::FaultyStore,
};

#[tokio::test]
async fn what_the_queue_has_lost_is_queued_again_from_the_table() {
    let mut centre = Centre::start(config()).await;
    let mut actions = Vec::new();
    for card in 0..20 {
        let card = centre.card(&format!("44114{card:04}"), Bearer::Sms).await;
        actions.push(centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]])));
        actions.push(centre.action(card, Bearer::Sms, restore(1)));
    }
    // Committed, and the queue was wiped before anybody read it.
    centre.commit(&actions).await;
    centre.clock.advance(Duration::from_secs(1));
    let mut janitor = centre.janitor();
    assert_eq!(janitor.tick().await.unwrap(), 40);
    assert_eq!(janitor.tick().await.unwrap(), 0, "what was queued within the lease is not queued again");
    for _ in 0..40 {
        next(&mut centre.sms).await;
    }
    for action in &actions {
        if action.content.is_ordered() {
            centre.until(action, |row| row.state == State::Sent).await;
        } else {
            centre.until_left(action).await;
        }
    }
}

#[tokio::test]
async fn the_janitor_does_not_flood_a_long_queue() {
    let config = outbound_action::Config { settle: Duration::from_secs(5), ..config() };
    let centre = Centre::start(config).await;
    let card = centre.card("441140100", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(1));
    centre.commit(&[action]).await;
    centre.clock.advance(Duration::from_secs(4));
    assert_eq!(centre.janitor().tick().await.unwrap(), 0, "its way to the queue may take a moment");
    centre.clock.advance(Duration::from_secs(2));
    assert_eq!(centre.janitor().tick().await.unwrap(), 1);
}

/// Covers: SC-OD-02
#[tokio::test]
async fn two_replicas_never_launch_one_action_twice() {
    let mut centre = Centre::start(config()).await;
    let _second = centre.replica(outbound_action::Config { consumer: "second".to_owned(), ..config() });
    let mut actions = Vec::new();
    for card in 0..30 {
        let card = centre.card(&format!("44115{card:04}"), Bearer::Sms).await;
        actions.push(centre.action(card, Bearer::Sms, restore(1)));
    }
    centre.commit(&actions).await;
    for _ in 0..4 {
        centre.push(&actions).await;
    }
    let mut seen = HashSet::new();
    for _ in 0..30 {
        assert!(seen.insert(next(&mut centre.sms).await.msisdn), "launched twice");
    }
    for action in &actions {
        assert_eq!(centre.until(action, |row| row.launched.is_some()).await.attempts, 1);
    }
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
}

/// Covers: PF-05, SC-OD-02
#[tokio::test]
async fn a_crashed_replica_s_entries_are_taken_over() {
    let mut centre = Centre::idle();
    let card = centre.card("441160001", Bearer::Sms).await;
    let actions =
        [centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]])), centre.action(card, Bearer::Sms, restore(1))];
    centre.commit_and_push(&actions).await;
    // This replica takes the entries and dies before it has done anything.
    let taken = centre.queue.pop(Bearer::Sms, "crashed", 10, Duration::ZERO).await.unwrap();
    assert_eq!(taken.len(), 2);
    let _survivor = centre.replica(outbound_action::Config { lease: Duration::from_millis(60), ..config() });
    for _ in 0..2 {
        next(&mut centre.sms).await;
    }
    centre.until_left(&actions[0]).await;
    centre.until(&actions[1], |row| row.state == State::Sent).await;
    centre.until_queue_is_empty().await;
}

/// Covers: PF-05
#[tokio::test]
async fn an_entry_that_never_succeeds_goes_to_the_dead_letter_list_and_its_action_fails() {
    let mut centre = Centre::idle();
    let card = centre.card("441160002", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(1));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    centre.queue.push(Bearer::Sms, &[Bytes::from_static(b"rubbish")]).await.unwrap();
    // Two consumers die over them.
    assert_eq!(centre.queue.pop(Bearer::Sms, "first", 10, Duration::ZERO).await.unwrap().len(), 2);
    assert_eq!(centre.queue.reclaim(Bearer::Sms, "second", Duration::ZERO, 10).await.unwrap().len(), 2);
    let config = outbound_action::Config { lease: Duration::from_millis(30), deliveries_max: 2, ..config() };
    let _third = centre.replica(config);
    eventually(async || (centre.queue.depth(Bearer::Sms).await.unwrap().dead == 2).then_some(())).await;
    centre.until(&action, |row| row.state == State::Failed).await;
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441160003", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]]));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    next(&mut centre.sms).await;
    centre.stop.cancel();
    centre.until_left(&action).await;
    centre.until_queue_is_empty().await;
}

/// Covers: PF-05
#[tokio::test]
async fn an_outage_of_the_store_counts_no_deliveries() {
    let mut centre = Centre::idle();
    let card = centre.card("441160010", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(1));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let store = FaultyStore::new(centre.store.clone());
    store.away.store(true, Ordering::SeqCst);
    // Two replicas whose leases run out again and again while neither can read.
    let config = |consumer: &str| {
        let lease = Duration::from_millis(30);
        outbound_action::Config { lease, deliveries_max: 2, consumer: consumer.to_owned(), ..config() }
    };
    let _replicas = [centre.replica_on(config("one"), store.clone()), centre.replica_on(config("two"), store.clone())];
    eventually(async || (store.refused.load(Ordering::SeqCst) >= 12).then_some(())).await;
    let [counted] = &centre.queue.reclaim(Bearer::Sms, "test", Duration::ZERO, 10).await.unwrap()[..] else {
        panic!("the entry is taken and not finished");
    };
    assert_eq!(counted.deliveries, 2, "the first replica's, and the test's own");
    store.away.store(false, Ordering::SeqCst);
    next(&mut centre.sms).await;
    centre.until(&action, |row| row.state == State::Sent).await;
}

#[tokio::test]
async fn what_is_not_written_stays_in_the_queue_and_holds_nobody_up() {
    let mut centre = Centre::idle();
    let mut actions = Vec::new();
    for card in 0..5 {
        let card = centre.card(&format!("44116002{card}"), Bearer::Sms).await;
        actions.push(centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]])));
    }
    let store = FaultyStore::new(centre.store.clone());
    store.unwritable.lock().unwrap().insert(actions[2].id);
    store.conflicts.store(2, Ordering::SeqCst);
    centre.commit_and_push(&actions).await;
    let _replica = centre.replica_on(config(), store.clone());
    for _ in 0..5 {
        next(&mut centre.sms).await;
    }
    for (_, action) in actions.iter().enumerate().filter(|(at, _)| *at != 2) {
        centre.until_left(action).await;
    }
    let depth = eventually(async || {
        let depth = centre.queue.depth(Bearer::Sms).await.unwrap();
        (depth.pending <= 1).then_some(depth)
    })
    .await;
    assert_eq!((depth.waiting, depth.pending), (0, 1), "the one that was not written");
    assert_eq!(centre.row(&actions[2]).await.state, State::Queued);
}

#[tokio::test]
async fn a_damaged_row_fails_alone_and_the_next_one_has_its_turn() {
    let mut centre = Centre::idle();
    let card = centre.card("441160030", Bearer::Sms).await;
    let damaged = centre.action(card, Bearer::Sms, restore(1));
    let behind = centre.action(card, Bearer::Sms, restore(2));
    let other = centre.card("441160031", Bearer::Sms).await;
    let beside = centre.action(other, Bearer::Sms, restore(1));
    centre.commit_and_push(&[damaged.clone(), beside.clone()]).await;
    centre.commit(std::slice::from_ref(&behind)).await;
    centre.sql(&format!("UPDATE outbound_action SET content = x'0102ff' WHERE id = {}", damaged.id.0));
    let _replica = centre.replica(config());
    let seen: HashSet<_> = [next(&mut centre.sms).await.msisdn, next(&mut centre.sms).await.msisdn].into();
    assert_eq!(seen.len(), 2, "the card beside it, and the action behind it");
    centre.until(&beside, |row| row.state == State::Sent).await;
    centre.until(&behind, |row| row.state == State::Sent).await;
    centre.until_queue_is_empty().await;
    let notices = centre.store.notices(10).await.unwrap();
    assert_eq!(notices.iter().map(|notice| notice.kind.as_str()).collect::<Vec<_>>(), ["action_failed"]);
}

/// A newer replica wrote these rows and this queue entry, or a card's state is damaged: nothing of it is failed or buried,
/// and all of it goes on once it can be read.
#[tokio::test]
async fn what_cannot_be_read_yet_is_left() {
    let mut centre = Centre::idle();
    let mut cards = Vec::new();
    for digits in ["441160040", "441160041", "441160042"] {
        cards.push(centre.card(digits, Bearer::Sms).await);
    }
    let ordered = [0, 1].map(|at| centre.action(cards[at], Bearer::Sms, restore(1)));
    let acknowledged = centre.action(cards[2], Bearer::Sms, acknowledgement(&[[0, 1, 0]]));
    let actions = [ordered[0].clone(), ordered[1].clone(), acknowledged.clone()];
    centre.commit(&actions).await;
    centre.push(&ordered).await;
    centre.queue.push(Bearer::Sms, &[Bytes::from_static(&[2, 0, 0])]).await.unwrap();
    centre.sql(
        "CREATE TABLE kept AS SELECT id, content FROM outbound_action; \
         CREATE TABLE states AS SELECT device_id, data FROM device_state",
    );
    let (newer, ill) =
        ([&ordered[0], &acknowledged].map(|it| it.id.0.to_string()).join(","), ordered[1].device.device.0);
    centre.sql(&format!(
        "UPDATE outbound_action SET content = x'01ff' WHERE id IN ({newer}); \
         UPDATE device_state SET data = x'00' WHERE device_id = {ill}"
    ));
    let replica = centre.replica(config());
    centre.until_queue_is_empty().await;
    let mut janitor = outbound_action::janitor::Janitor::new(replica.processor.clone());
    for _ in 0..3 {
        centre.clock.advance(Duration::from_secs(60));
        janitor.tick().await.unwrap();
        centre.until_queue_is_empty().await;
    }
    nothing(&mut centre.sms);
    assert_eq!(centre.queue.depth(Bearer::Sms).await.unwrap().dead, 0);
    assert!(centre.store.notices(10).await.unwrap().is_empty());
    centre.sql(
        "UPDATE outbound_action SET content = (SELECT content FROM kept WHERE kept.id = outbound_action.id); \
         UPDATE device_state SET data = (SELECT data FROM states WHERE states.device_id = device_state.device_id)",
    );
    for action in &actions {
        assert_eq!(centre.row(action).await.state, State::Queued);
    }
    centre.clock.advance(Duration::from_secs(60));
    assert_eq!(janitor.tick().await.unwrap(), 3);
    for _ in &actions {
        next(&mut centre.sms).await;
    }
}

/// Covers: SC-OD-03
#[tokio::test]
async fn flushing_redis_under_load_loses_no_action() {
    let redis = testkit::redis::Server::start();
    let queue = queue::redis::RedisQueue::connect(&redis.url(), queue::redis::QueueConfig::default()).await.unwrap();
    // A small window keeps most of the load in Redis, where the flush finds it.
    let hold = Duration::from_millis(50);
    let config = outbound_action::Config { lease: Duration::from_secs(1), in_flight_max: 32, hold, ..config() };
    let clock = runtime::clock::Manual::at(runtime::clock::now());
    let centre = Centre::on(config, queue, clock, tokio_util::sync::CancellationToken::new());
    let mut actions = Vec::new();
    for chunk in 0..10_u8 {
        let mut made = Vec::new();
        for card in 0..10_u8 {
            let card = centre.card(&format!("44118{chunk:02}{card:02}"), Bearer::Sms).await;
            made.extend((1..=3).map(|record| centre.action(card, Bearer::Sms, acknowledgement(&[[0, record, 0]]))));
            made.push(centre.action(card, Bearer::Sms, restore(1)));
        }
        centre.commit_and_push(&made).await;
        actions.extend(made);
        if chunk % 3 == 1 {
            flush(redis.port());
        }
    }
    flush(redis.port());
    let janitor = tokio::sync::Mutex::new(centre.janitor());
    let unfinished = tokio::sync::Mutex::new(actions);
    eventually(async || {
        // The queue may be away for a moment; the next round does it.
        centre.clock.advance(Duration::from_secs(2));
        let round = janitor.lock().await.tick().await;
        let mut unfinished = unfinished.lock().await;
        let mut left = Vec::new();
        for action in unfinished.drain(..) {
            let is_finished = match action.content.is_ordered() {
                true => centre.row(&action).await.state == State::Sent,
                false => centre.has_left(&action).await,
            };
            if !is_finished {
                left.push(action);
            }
        }
        *unfinished = left;
        (round.is_ok() && unfinished.is_empty()).then_some(())
    })
    .await;
}

fn flush(port: u16) {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(b"FLUSHALL\r\n").unwrap();
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
}
