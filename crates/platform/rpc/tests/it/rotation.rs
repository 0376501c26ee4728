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
    let (progress, rotate_after, deadline) = (millis(4000), millis(100), millis(60_000));
    BatchClientConfig { progress, rotate_after, deadline, ..BatchClientConfig::default() }
}

/// Long enough for a busy machine, shorter than the deadline of a call.
const PATIENCE: Duration = Duration::from_secs(40);

/// Calls as long as `goes_on`; all are answered, the held message notwithstanding.
async fn go_on_while(client: &rpc::stream::BatchClient<rpc::stream::Ingest>, mut goes_on: impl FnMut() -> bool) {
    let mut next = 1;
    let calls = async {
        while goes_on() {
            call_all(client, next..next + 10, 10).await;
            next += 10;
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, calls).await.expect("the stream sends on");
}

/// Calls for a while, in which a stream of `config` grows old several times over.
async fn go_on(client: &rpc::stream::BatchClient<rpc::stream::Ingest>) {
    let begun = Instant::now();
    go_on_while(client, || begun.elapsed() < Duration::from_millis(700)).await;
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
    go_on(&client).await;
    assert_eq!(servers[0].counting.seen.lock().expect("lock")[&HELD], 1, "its stream waits for it");
    servers[0].counting.held.store(0, Ordering::SeqCst);
    // When the old stream's time is up the message is sent again, and answered now.
    go_on_while(&client, || !held.is_finished()).await;
    held.await.expect("no panic").expect("an answer");
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
    // Several times the age at which a stream is renewed; on a busy machine some calls may be late themselves.
    let mut answered = 0;
    for _ in 0..400 {
        answered += u32::from(client.call(7, message(1)).await.is_ok());
    }
    assert!(answered > 200, "{answered} of 400 answered");
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
    go_on_while(&client, || !held.is_finished()).await;
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
