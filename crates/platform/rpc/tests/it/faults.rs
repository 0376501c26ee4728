use std::{sync::atomic::Ordering, time::Duration};

use rpc::{
    Balancer, EndpointsConfig, ServerConfig,
    stream::{BatchClient, BatchClientConfig},
};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, call_all, client, until};

#[tokio::test]
async fn all_calls_are_answered_while_a_server_is_killed_under_load() {
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig::default(), &stop).await;
    let load = tokio::spawn({
        let client = client.clone();
        async move { call_all(&client, 0..20_000, 300).await }
    });
    until("the load runs", || servers[1].counting.count() > 500).await;
    servers[1].kill();
    load.await.expect("all answered");
    // What an operator reads of it.
    let told = format!("stream to inbound-data at {} broke (connection lost); ", servers[1].address());
    let events = runtime::events::log().newest(1000);
    let texts: Vec<_> =
        events.iter().map(|event| event.text.as_ref()).filter(|text| text.contains("stream to")).collect();
    assert!(texts.iter().any(|text| text.starts_with(&told) && text.ends_with("messages sent again")), "{texts:?}");
    stop.cancel();
}

#[tokio::test]
async fn a_server_that_takes_and_never_answers_is_left_after_the_progress_deadline() {
    let servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    servers[0].counting.is_silent.store(true, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let config = BatchClientConfig { progress: Duration::from_millis(300), ..BatchClientConfig::default() };
    let client = client(&servers, config, &stop).await;
    let begun = Instant::now();
    call_all(&client, 0..200, 200).await;
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(300), "{taken:?}");
    assert!(servers[0].counting.count() > 50, "the silent one had its share");
    assert_eq!(servers[1].counting.count(), 200);
    // It is passed over for a while; then it answers again and is used again.
    servers[0].counting.is_silent.store(false, Ordering::SeqCst);
    let before = servers[0].counting.count();
    let mut next = 200;
    while servers[0].counting.count() == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "never used again");
        call_all(&client, next..next + 20, 20).await;
        next += 20;
    }
    stop.cancel();
}

#[tokio::test]
async fn the_only_server_is_used_again_after_its_silence() {
    let servers = [Server::start(ServerConfig::default())];
    servers[0].counting.is_silent.store(true, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let config = BatchClientConfig { progress: Duration::from_millis(100), ..BatchClientConfig::default() };
    let client = client(&servers, config, &stop).await;
    let load = tokio::spawn({
        let client = client.clone();
        async move { call_all(&client, 0..10, 10).await }
    });
    until("it took them", || servers[0].counting.count() == 10).await;
    servers[0].counting.is_silent.store(false, Ordering::SeqCst);
    load.await.expect("answered after all");
    stop.cancel();
}

#[tokio::test]
async fn a_frozen_server_is_left_though_its_connections_stay() {
    let servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig::default(), &stop).await;
    servers[0].freeze(Duration::from_secs(60));
    let frozen = Instant::now();
    until("it is left", || client.replicas().len() == 1).await;
    // Two seconds, and half a second for a busy machine.
    assert!(frozen.elapsed() < Duration::from_millis(2500), "{:?}", frozen.elapsed());
    call_all(&client, 0..500, 100).await;
    assert_eq!(servers[1].counting.count(), 500);
    stop.cancel();
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_never_healthy() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let servers = [Server::start(ServerConfig::default())];
    let stop = CancellationToken::new();
    let addresses = [mute.local_addr().expect("address").to_string(), servers[0].address().to_string()];
    let balancer = Balancer::new(EndpointsConfig::new(addresses), stop.clone()).expect("endpoints");
    let client = BatchClient::new(&balancer, BatchClientConfig::default(), stop.clone());
    call_all(&client, 0..500, 100).await;
    assert_eq!(client.replicas(), [servers[0].address().to_string()]);
    stop.cancel();
}

#[tokio::test]
async fn a_server_that_comes_later_gets_what_waited() {
    let stop = CancellationToken::new();
    // An address of its own, so that no other test takes the port meanwhile.
    let reserved = std::net::TcpListener::bind("127.0.0.77:0").expect("bound");
    let later = reserved.local_addr().expect("address");
    drop(reserved);
    let balancer = Balancer::new(EndpointsConfig::new([later.to_string()]), stop.clone()).expect("endpoints");
    let waiting = BatchClient::new(&balancer, BatchClientConfig::default(), stop.clone());
    let load = tokio::spawn(async move { call_all(&waiting, 0..10, 10).await });
    tokio::task::yield_now().await;
    let server = Server::start(ServerConfig { listen: later, ..ServerConfig::default() });
    load.await.expect("parked until the server came");
    assert_eq!(server.counting.count(), 10);
    stop.cancel();
}
