use std::time::Duration;

use proto::inbound::{ReportDeliveryRequest, inbound_data_client::InboundDataClient};
use rpc::{ServerConfig, stream::BatchClientConfig};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, balancer, call_all, client, until};

fn counts(servers: &[Server]) -> (usize, u64) {
    let (mut messages, mut arrivals) = (0, 0);
    for server in servers {
        let seen = server.counting.seen.lock().expect("lock");
        messages += seen.len();
        arrivals += seen.values().copied().map(u64::from).sum::<u64>();
    }
    (messages, arrivals)
}

#[tokio::test]
async fn a_drained_server_finishes_what_it_has_and_nothing_is_sent_twice() {
    let mut servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig::default(), &stop).await;
    let load = tokio::spawn({
        let client = client.clone();
        async move { call_all(&client, 0..20_000, 200).await }
    });
    until("the load runs", || servers[0].counting.count() > 500).await;
    let begun = Instant::now();
    servers[0].stop.cancel();
    let task = &mut servers[0].running.task;
    tokio::time::timeout(Duration::from_secs(5), task).await.expect("drained").expect("no panic").expect("no error");
    assert!(begun.elapsed() < Duration::from_secs(5));
    load.await.expect("all answered");
    assert_eq!(counts(&servers), (20_000, 20_000));
    stop.cancel();
}

#[tokio::test]
async fn rotation_and_recycled_connections_lose_and_repeat_nothing() {
    let config = ServerConfig {
        max_connection_age: Duration::from_millis(400),
        max_connection_age_grace: Duration::from_secs(1),
        ..ServerConfig::default()
    };
    let servers: Vec<Server> = (0..2).map(|_| Server::start(config.clone())).collect();
    let stop = CancellationToken::new();
    let rotate_after = Duration::from_millis(100);
    let client = client(&servers, BatchClientConfig { rotate_after, ..BatchClientConfig::default() }, &stop).await;
    let begun = Instant::now();
    let mut next = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        call_all(&client, next..next + 500, 100).await;
        next += 500;
    }
    assert_eq!(counts(&servers), (usize::try_from(next).expect("small"), next));
    stop.cancel();
}

#[tokio::test]
async fn a_replica_that_is_not_ready_gets_nothing() {
    let servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig::default(), &stop).await;
    servers[0].running.readiness.set(false);
    until("it is left", || client.replicas().len() == 1).await;
    call_all(&client, 0..300, 50).await;
    assert_eq!((servers[0].counting.count(), servers[1].counting.count()), (0, 300));
    servers[0].running.readiness.set(true);
    until("it is back", || client.replicas().len() == 2).await;
    call_all(&client, 300..600, 50).await;
    assert!(servers[0].counting.count() > 50);
    stop.cancel();
}

#[tokio::test]
async fn a_call_that_outlives_the_grace_is_cut() {
    let config = ServerConfig {
        drain_grace: Duration::from_millis(100),
        drain_delay: Duration::ZERO,
        ..ServerConfig::default()
    };
    let mut server = [Server::start(config)];
    server[0].counting.is_silent.store(true, std::sync::atomic::Ordering::SeqCst);
    let stop = CancellationToken::new();
    let balancer = balancer(&server, &stop);
    balancer.wait_healthy(1).await;
    let channel = balancer.least_loaded().expect("healthy");
    let call =
        tokio::spawn(
            async move { InboundDataClient::new(channel).report_delivery(ReportDeliveryRequest::default()).await },
        );
    until("the call is there", || server[0].counting.count() == 1).await;
    server[0].stop.cancel();
    let task = &mut server[0].running.task;
    tokio::time::timeout(Duration::from_secs(3), task).await.expect("bounded").expect("no panic").expect("no error");
    assert!(call.await.expect("no panic").is_err());
    stop.cancel();
}
