//! A stream that is old, or lost, and what it had sent.

use std::{sync::atomic::Ordering, time::Duration};

use rpc::{
    ServerConfig,
    stream::{BatchClientConfig, Unanswered},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, call_all, client, message, until};

const HELD: u64 = 1_000_000;

fn config() -> BatchClientConfig {
    let millis = Duration::from_millis;
    let (progress, rotate_after, deadline) = (millis(1000), millis(100), millis(30_000));
    BatchClientConfig { progress, rotate_after, deadline, ..BatchClientConfig::default() }
}

/// Calls until the end of the span; each answer must come within `progress`, the held message notwithstanding.
async fn go_on(client: &rpc::stream::BatchClient<rpc::stream::Ingest>, span: Duration) {
    let begun = Instant::now();
    let mut next = 1;
    while begun.elapsed() < span {
        let calls = call_all(client, next..next + 10, 10);
        timeout(Duration::from_secs(1), calls).await.expect("the stream sends on");
        next += 10;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_that_is_never_answered_holds_no_other_when_its_stream_is_old() {
    let servers = [Server::start(ServerConfig::default())];
    servers[0].counting.held.store(HELD, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let client = client(&servers, config(), &stop).await;
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.call(7, message(HELD)).await }
    });
    until("it is there", || servers[0].counting.count() == 1).await;
    go_on(&client, Duration::from_millis(700)).await;
    assert_eq!(servers[0].counting.seen.lock().expect("lock")[&HELD], 1, "its stream waits for it");
    servers[0].counting.held.store(0, Ordering::SeqCst);
    // When the old stream's time is up the message is sent again, and answered now.
    go_on(&client, Duration::from_millis(700)).await;
    timeout(Duration::from_secs(5), held).await.expect("answered").expect("no panic").expect("an answer");
    assert_eq!(servers[0].counting.seen.lock().expect("lock")[&HELD], 2);
    stop.cancel();
}

#[tokio::test]
async fn a_message_past_its_deadline_does_not_hold_its_stream() {
    let servers = [Server::start(ServerConfig::default())];
    servers[0].counting.held.store(HELD, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let config = BatchClientConfig { deadline: Duration::from_millis(50), ..config() };
    let client = client(&servers, config, &stop).await;
    assert_eq!(client.call(7, message(HELD)).await.err(), Some(Unanswered::Deadline));
    let begun = Instant::now();
    let mut answered = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        answered += u32::from(client.call(7, message(1)).await.is_ok());
    }
    assert!(answered > 50, "{answered} answered");
    stop.cancel();
}

#[tokio::test]
async fn once_means_that_what_may_have_arrived_is_reported_and_not_sent_again() {
    let mut servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let once = BatchClientConfig { once: true, ..config() };
    // Given up with its old stream.
    servers[0].counting.held.store(HELD, Ordering::SeqCst);
    servers[1].counting.held.store(HELD, Ordering::SeqCst);
    let client = client(&servers, once, &stop).await;
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.call(7, message(HELD)).await }
    });
    until("it is there", || servers.iter().any(|server| server.counting.count() == 1)).await;
    go_on(&client, Duration::from_millis(1500)).await;
    assert_eq!(held.await.expect("no panic").err(), Some(Unanswered::Unknown));
    // Lost with its replica.
    servers[0].counting.is_silent.store(true, Ordering::SeqCst);
    servers[1].counting.is_silent.store(true, Ordering::SeqCst);
    let before = servers[0].counting.count();
    let mut calls = tokio::task::JoinSet::new();
    for number in 2_000_000..2_000_020 {
        let client = client.clone();
        calls.spawn(async move { client.call(rpc::key(&number.to_string()), message(number)).await });
    }
    until("some are there", || servers[0].counting.count() > before).await;
    servers[0].kill();
    servers[1].kill();
    while let Some(result) = calls.join_next().await {
        assert_eq!(result.expect("no panic").err(), Some(Unanswered::Unknown));
    }
    for server in &servers {
        let seen = server.counting.seen.lock().expect("lock");
        assert!(seen.iter().all(|(number, count)| *number < HELD || *count == 1), "sent again");
    }
    stop.cancel();
}
