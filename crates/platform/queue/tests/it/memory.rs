use std::time::Duration;

use domain::phonebook::Bearer;
use queue::{Queue, QueueError, memory::MemoryQueue};
use runtime::clock::Manual;

use crate::contract::{bodies, check_all};

#[tokio::test]
async fn the_memory_queue_keeps_the_contract() {
    // It waits from its first poll on.
    check_all(MemoryQueue::new(), std::future::ready(())).await;
}

#[tokio::test]
async fn reclaiming_follows_the_clock_and_room_is_limited() {
    let time = Manual::at(1_000_000);
    let queue = MemoryQueue::with(3, time.clock());
    queue.push(Bearer::Sms, &bodies(0..2)).await.expect("pushed");
    let full = queue.push(Bearer::Sms, &bodies(2..4)).await;
    assert!(matches!(full, Err(QueueError::Full { waiting: 2, entries_max: 3 })), "{full:?}");
    time.advance(Duration::from_secs(1));
    let taken = queue.pop(Bearer::Sms, "a", 1, Duration::ZERO).await.expect("popped");
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth").oldest_micros, Some(1_000_000));
    let idle = Duration::from_secs(30);
    time.advance(idle - Duration::from_micros(1));
    assert!(queue.reclaim(Bearer::Sms, "b", idle, 9).await.expect("reclaimed").is_empty());
    time.advance(Duration::from_micros(1));
    let reclaimed = queue.reclaim(Bearer::Sms, "b", idle, 9).await.expect("reclaimed");
    assert_eq!((reclaimed.len(), reclaimed[0].deliveries), (1, 2));
    queue.bury(Bearer::Sms, &taken[0], "cause").await.expect("buried");
    assert_eq!(queue.dead(Bearer::Sms), [(taken[0].body.clone(), "cause".to_owned())]);
}
