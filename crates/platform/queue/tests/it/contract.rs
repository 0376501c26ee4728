//! What every queue promises. Each promise uses a channel's streams for itself: a queue is handed in for each.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::phonebook::Bearer;
use queue::{Depth, Entry, Queue};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

pub fn bodies(range: std::ops::Range<u32>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(number.to_be_bytes().to_vec())).collect()
}

pub fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.id.clone()).collect()
}

pub fn contents(entries: &[Entry]) -> Vec<Bytes> {
    entries.iter().map(|entry| entry.body.clone()).collect()
}

/// All promises that need no moving clock, on an empty queue. `a_pop_waits` ends once the queue has a pop waiting.
pub async fn check_all(queue: Arc<dyn Queue>, a_pop_waits: impl Future<Output = ()>) {
    queue.ping().await.expect("there");
    entries_come_in_order_once(&*queue).await;
    a_pop_waits_for_the_first_entry(&*queue, a_pop_waits).await;
    an_entry_of_a_dead_consumer_is_taken_over(&*queue).await;
    a_buried_entry_is_dead(&*queue).await;
    what_is_meant_is_removed_wherever_it_is(&*queue).await;
    two_consumers_never_share_an_entry(&queue).await;
}

async fn entries_come_in_order_once(queue: &dyn Queue) {
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
    assert!(queue.pop(Bearer::Sms, "a", 10, NOW).await.expect("popped").is_empty());
    let pushed = bodies(0..300);
    queue.push(Bearer::Sms, &pushed).await.expect("pushed");
    queue.push(Bearer::Sms, &[]).await.expect("nothing to push");
    let first = queue.pop(Bearer::Sms, "a", 100, NOW).await.expect("popped");
    let rest = queue.pop(Bearer::Sms, "b", 1000, NOW).await.expect("popped");
    assert_eq!((first.len(), rest.len()), (100, 200));
    assert_eq!([contents(&first), contents(&rest)].concat(), pushed);
    assert!(first.iter().all(|entry| entry.deliveries == 1));
    assert!(queue.pop(Bearer::Ip, "a", 10, NOW).await.expect("popped").is_empty(), "channels are apart");
    let depth = queue.depth(Bearer::Sms).await.expect("depth");
    assert_eq!((depth.waiting, depth.pending, depth.dead), (0, 300, 0));
    assert!(depth.oldest_micros.is_some());
    queue.acknowledge(Bearer::Sms, &ids(&first)).await.expect("acknowledged");
    queue.acknowledge(Bearer::Sms, &ids(&rest)).await.expect("acknowledged");
    queue.acknowledge(Bearer::Sms, &ids(&rest)).await.expect("again does nothing");
    queue.acknowledge(Bearer::Sms, &[]).await.expect("nothing to acknowledge");
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
}

async fn a_pop_waits_for_the_first_entry(queue: &dyn Queue, a_pop_waits: impl Future<Output = ()>) {
    let push = async {
        a_pop_waits.await;
        queue.push(Bearer::Ip, &bodies(7..8)).await
    };
    // The pop is polled first.
    let (popped, pushed) = tokio::join!(biased; queue.pop(Bearer::Ip, "a", 10, Duration::from_secs(20)), push);
    pushed.expect("pushed");
    let popped = popped.expect("popped");
    assert_eq!(contents(&popped), bodies(7..8));
    queue.acknowledge(Bearer::Ip, &ids(&popped)).await.expect("acknowledged");
    let nothing = queue.pop(Bearer::Ip, "a", 10, Duration::from_millis(20)).await.expect("popped");
    assert!(nothing.is_empty());
}

async fn an_entry_of_a_dead_consumer_is_taken_over(queue: &dyn Queue) {
    queue.push(Bearer::Sms, &bodies(0..5)).await.expect("pushed");
    let taken = queue.pop(Bearer::Sms, "dead", 5, NOW).await.expect("popped");
    queue.acknowledge(Bearer::Sms, &ids(&taken)[..2]).await.expect("acknowledged");
    assert!(queue.reclaim(Bearer::Sms, "alive", HOUR, 10).await.expect("reclaimed").is_empty(), "not idle yet");
    let reclaimed = queue.reclaim(Bearer::Sms, "alive", NOW, 2).await.expect("reclaimed");
    assert_eq!(contents(&reclaimed), bodies(2..4));
    assert!(reclaimed.iter().all(|entry| entry.deliveries == 2));
    queue.acknowledge(Bearer::Sms, &ids(&reclaimed)).await.expect("acknowledged");
    let last = queue.reclaim(Bearer::Sms, "alive", NOW, 10).await.expect("reclaimed");
    assert_eq!(contents(&last), bodies(4..5));
    let again = queue.reclaim(Bearer::Sms, "other", NOW, 10).await.expect("reclaimed");
    assert_eq!((contents(&again), again[0].deliveries), (bodies(4..5), 3));
    queue.acknowledge(Bearer::Sms, &ids(&again)).await.expect("acknowledged");
    assert!(queue.reclaim(Bearer::Sms, "alive", NOW, 10).await.expect("reclaimed").is_empty());
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
}

async fn a_buried_entry_is_dead(queue: &dyn Queue) {
    queue.push(Bearer::Sms, &bodies(0..2)).await.expect("pushed");
    let taken = queue.pop(Bearer::Sms, "a", 2, NOW).await.expect("popped");
    queue.bury(Bearer::Sms, &taken[0], "delivered too often").await.expect("buried");
    let depth = queue.depth(Bearer::Sms).await.expect("depth");
    assert_eq!((depth.waiting, depth.pending, depth.dead), (0, 1, 1));
    let reclaimed = queue.reclaim(Bearer::Sms, "b", NOW, 10).await.expect("reclaimed");
    assert_eq!(contents(&reclaimed), bodies(1..2), "the dead one does not come back");
    queue.acknowledge(Bearer::Sms, &ids(&reclaimed)).await.expect("acknowledged");
}

/// The dead letter that [`a_buried_entry_is_dead`] left is one of them.
async fn what_is_meant_is_removed_wherever_it_is(queue: &dyn Queue) {
    queue.push(Bearer::Sms, &bodies(0..2500)).await.expect("pushed");
    let taken = queue.pop(Bearer::Sms, "a", 100, NOW).await.expect("popped");
    let is_even = |body: &Bytes| body.last().is_some_and(|octet| octet % 2 == 0);
    assert_eq!(queue.remove(Bearer::Ip, &is_even).await.expect("removed"), 0, "channels are apart");
    assert_eq!(queue.remove(Bearer::Sms, &is_even).await.expect("removed"), 1251);
    let depth = queue.depth(Bearer::Sms).await.expect("depth");
    assert_eq!((depth.waiting, depth.pending, depth.dead), (1200, 50, 0));
    queue.acknowledge(Bearer::Sms, &ids(&taken)).await.expect("what is gone too");
    let rest = queue.pop(Bearer::Sms, "a", 2500, NOW).await.expect("popped");
    assert!(rest.len() == 1200 && !contents(&rest).iter().any(is_even));
    assert_eq!(queue.remove(Bearer::Sms, &|_| true).await.expect("removed"), 1200, "taken ones too");
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
}

async fn two_consumers_never_share_an_entry(queue: &Arc<dyn Queue>) {
    queue.push(Bearer::Ip, &bodies(0..500)).await.expect("pushed");
    let consumers = ["a", "b", "c"].map(|consumer| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut all = Vec::new();
            loop {
                let popped = queue.pop(Bearer::Ip, consumer, 7, NOW).await.expect("popped");
                if popped.is_empty() {
                    return all;
                }
                queue.acknowledge(Bearer::Ip, &ids(&popped)).await.expect("acknowledged");
                all.extend(contents(&popped));
            }
        })
    });
    let mut all = Vec::new();
    for consumer in consumers {
        all.extend(consumer.await.expect("no panic"));
    }
    all.sort();
    assert_eq!(all, bodies(0..500));
}
