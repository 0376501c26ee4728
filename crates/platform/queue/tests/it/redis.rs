use std::{sync::Arc, time::Duration};

use domain::phonebook::Bearer;
use queue::{
    Depth, Entry, Queue, QueueError,
    redis::{QueueConfig, RedisQueue},
};
use testkit::{Folder, redis::Server, tls::Authority};
use tokio::time::Instant;

use crate::contract::{bodies, check_all, contents, ids};

async fn connect(server: &Server, config: QueueConfig) -> Arc<RedisQueue> {
    RedisQueue::connect(&server.url(), config).await.expect("an address")
}

/// Asks until there is something; errors in between are what is waited out.
async fn eventually(queue: &RedisQueue, consumer: &str) -> Vec<Entry> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match queue.pop(Bearer::Sms, consumer, 100, Duration::from_secs(1)).await {
            Ok(entries) if !entries.is_empty() => return entries,
            other => assert!(Instant::now() < end, "nothing within 20 s: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn push_eventually(queue: &RedisQueue, range: std::ops::Range<u32>) {
    let end = Instant::now() + Duration::from_secs(20);
    while let Err(error) = queue.push(Bearer::Sms, &bodies(range.clone())).await {
        assert!(Instant::now() < end, "not within 20 s: {error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn connection(server: &Server) -> redis::Connection {
    let client = redis::Client::open(server.url()).expect("an address");
    client.get_connection().expect("connected")
}

fn flush(server: &Server) {
    redis::cmd("FLUSHALL").exec(&mut connection(server)).expect("flushed");
}

/// Looks again and again until Redis has a blocking read waiting.
async fn a_pop_waits(server: &Server) {
    let mut connection = connection(server);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let clients: String = redis::cmd("INFO").arg("clients").query(&mut connection).expect("told");
        if clients.contains("blocked_clients:1") {
            return;
        }
        assert!(Instant::now() < end, "no read waits within 20 s: {clients}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let server = Server::start();
    check_all(connect(&server, QueueConfig::default()).await, a_pop_waits(&server)).await;
}

#[tokio::test]
async fn over_tls_only_the_named_authority_is_trusted() {
    let authority = Authority::new();
    let server = Server::start_with_tls(&authority.identity(&["127.0.0.1"]));
    let folder = Folder::new("queue-tls");
    let written = |name: &str, pem: String| {
        std::fs::write(folder.join(name), pem).expect("written");
        QueueConfig { tls_ca: folder.join(name), ..QueueConfig::default() }
    };
    let url = server.tls_url().expect("it speaks TLS");
    let trusting = RedisQueue::connect(&url, written("ours.pem", authority.certificate_pem())).await.expect("a queue");
    trusting.push(Bearer::Sms, &bodies(0..3)).await.expect("pushed");
    assert_eq!(trusting.pop(Bearer::Sms, "one", 10, Duration::ZERO).await.expect("popped").len(), 3);

    let other = written("other.pem", Authority::new().certificate_pem());
    let distrusting = RedisQueue::connect(&url, other).await.expect("Redis may come later");
    assert!(distrusting.push(Bearer::Sms, &bodies(0..1)).await.is_err(), "signed by somebody else");
    let missing = QueueConfig { tls_ca: folder.join("none.pem"), ..QueueConfig::default() };
    let error = RedisQueue::connect(&url, missing).await.err().expect("no such file").to_string();
    assert!(error.contains("none.pem"), "{error}");
}

#[tokio::test]
async fn a_killed_consumers_entries_are_delivered_again_and_given_up_in_the_end() {
    let server = Server::start();
    let producer = connect(&server, QueueConfig::default()).await;
    producer.push(Bearer::Sms, &bodies(0..10)).await.expect("pushed");
    let first = connect(&server, QueueConfig::default()).await;
    let taken = first.pop(Bearer::Sms, "first", 10, Duration::ZERO).await.expect("popped");
    first.acknowledge(Bearer::Sms, &ids(&taken)[..4]).await.expect("acknowledged");
    drop(first);
    let second = connect(&server, QueueConfig::default()).await;
    assert!(second.reclaim(Bearer::Sms, "second", Duration::from_secs(60), 100).await.expect("reclaimed").is_empty());
    let mut rounds = 1;
    let given_up = loop {
        rounds += 1;
        let again = second.reclaim(Bearer::Sms, "second", Duration::ZERO, 100).await.expect("reclaimed");
        assert_eq!(contents(&again), bodies(4..10));
        assert!(again.iter().all(|entry| entry.deliveries == rounds), "{again:?}");
        if rounds == 5 {
            break again;
        }
    };
    second.bury(Bearer::Sms, &given_up[0], "delivered 5 times").await.expect("buried");
    second.acknowledge(Bearer::Sms, &ids(&given_up)[1..]).await.expect("acknowledged");
    let depth = producer.depth(Bearer::Sms).await.expect("depth");
    assert_eq!(depth, Depth { dead: 1, ..Depth::default() });
}

#[tokio::test]
async fn a_flush_at_any_time_is_survived() {
    let server = Server::start();
    let queue = connect(&server, QueueConfig::default()).await;
    queue.push(Bearer::Sms, &bodies(0..3)).await.expect("pushed");
    let taken = queue.pop(Bearer::Sms, "a", 2, Duration::ZERO).await.expect("popped");
    flush(&server);
    queue.acknowledge(Bearer::Sms, &ids(&taken)).await.expect("nothing there");
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
    assert!(queue.reclaim(Bearer::Sms, "a", Duration::ZERO, 9).await.expect("reclaimed").is_empty());
    flush(&server);
    queue.push(Bearer::Sms, &bodies(3..5)).await.expect("pushed");
    assert_eq!(contents(&eventually(&queue, "a").await), bodies(3..5));

    // While a read waits.
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { eventually(&queue, "b").await }
    });
    a_pop_waits(&server).await;
    flush(&server);
    queue.push(Bearer::Sms, &bodies(5..6)).await.expect("pushed");
    assert_eq!(contents(&waiting.await.expect("no panic")), bodies(5..6));
}

#[tokio::test]
async fn a_restart_of_redis_is_survived_with_its_entries() {
    let mut server = Server::start();
    // On the disk before the answer, for what is answered is asked for below.
    let always = ["SET", "appendfsync", "always"];
    redis::cmd("CONFIG").arg(&always).exec(&mut connection(&server)).expect("set");
    let queue = connect(&server, QueueConfig::default()).await;
    queue.push(Bearer::Sms, &bodies(0..3)).await.expect("pushed");
    let taken = queue.pop(Bearer::Sms, "a", 1, Duration::ZERO).await.expect("popped");
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop(Bearer::Ip, "a", 1, Duration::from_secs(20)).await }
    });
    a_pop_waits(&server).await;
    server.kill9();
    let error = waiting.await.expect("no panic").expect_err("its connection broke");
    assert!(matches!(error, QueueError::Unavailable(_)));
    assert!(queue.push(Bearer::Sms, &bodies(9..10)).await.is_err());
    assert!(queue.ping().await.is_err());
    server.restart();
    push_eventually(&queue, 3..4).await;
    let mut found = contents(&eventually(&queue, "b").await);
    found.extend(contents(&queue.reclaim(Bearer::Sms, "b", Duration::ZERO, 9).await.expect("reclaimed")));
    for body in bodies(0..4) {
        assert!(found.contains(&body), "{body:?} of {found:?}");
    }
    assert_eq!(taken.len(), 1);
}

#[tokio::test]
async fn redis_may_come_later_and_its_room_is_limited() {
    assert!(matches!(RedisQueue::connect("nowhere", QueueConfig::default()).await, Err(QueueError::Address(_))));
    let mut server = Server::start();
    server.kill9();
    let queue = connect(&server, QueueConfig { entries_max: 10, ..QueueConfig::default() }).await;
    assert!(queue.ping().await.is_err());
    server.restart();
    push_eventually(&queue, 0..10).await;
    let full = queue.push(Bearer::Sms, &bodies(10..11)).await;
    assert!(matches!(full, Err(QueueError::Full { waiting: 10, entries_max: 10 })), "{full:?}");
    let taken = eventually(&queue, "a").await;
    queue.acknowledge(Bearer::Sms, &ids(&taken)).await.expect("acknowledged");
    queue.push(Bearer::Sms, &bodies(10..11)).await.expect("room again");
}

#[tokio::test]
async fn a_frozen_redis_costs_a_bounded_time() {
    let server = Server::start();
    let config = QueueConfig { response_timeout: Duration::from_millis(200), ..QueueConfig::default() };
    let queue = connect(&server, config).await;
    queue.push(Bearer::Sms, &bodies(0..1)).await.expect("pushed");
    let signal = |name: &str| assert!(testkit::signal(name, &[server.pid()]));
    signal("STOP");
    let begun = Instant::now();
    assert!(queue.push(Bearer::Sms, &bodies(1..2)).await.is_err());
    assert!(queue.pop(Bearer::Sms, "a", 1, Duration::from_millis(100)).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    signal("CONT");
    assert_eq!(contents(&eventually(&queue, "a").await).first(), bodies(0..1).first());
}

#[tokio::test]
async fn batches_of_64_are_quick() {
    let server = Server::start();
    let queue = connect(&server, QueueConfig::default()).await;
    let begun = Instant::now();
    for _ in 0..40 {
        queue.push(Bearer::Sms, &bodies(0..64)).await.expect("pushed");
        let popped = queue.pop(Bearer::Sms, "a", 64, Duration::ZERO).await.expect("popped");
        assert_eq!(popped.len(), 64);
        queue.acknowledge(Bearer::Sms, &ids(&popped)).await.expect("acknowledged");
    }
    // Three round trips a batch: a command per entry would take many times as long.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(queue.depth(Bearer::Sms).await.expect("depth"), Depth::default());
}
