use std::time::Duration;

use proto::{
    diagnostics::{CountersRequest, EventsRequest, diagnostics_client::DiagnosticsClient},
    inbound::{OpenIpLinkRequest, ReportDeliveryRequest, inbound_data_client::InboundDataClient},
};
use rpc::{
    Balancer, EndpointsConfig, ServerConfig,
    stream::{BatchClient, BatchClientConfig, Ingest},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::server::{Server, balancer, call_all, client, message, until};

/// Covers: SC-AR-07
#[tokio::test]
async fn keys_spread_evenly_and_a_dead_replica_gets_none() {
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig::default(), &stop).await;
    call_all(&client, 0..3000, 200).await;
    for server in &servers {
        let count = server.counting.count();
        assert!((800..=1200).contains(&count), "{count} of 3000 on one of three");
    }
    let dead = servers.first().map(|server| server.address().to_string()).expect("three servers");
    servers[0].kill();
    let died = Instant::now();
    until("the dead replica is left", || !client.replicas().contains(&dead)).await;
    assert!(died.elapsed() < Duration::from_secs(2));
    let before: usize = servers[1..].iter().map(|server| server.counting.count()).sum();
    call_all(&client, 3000..6000, 200).await;
    let after: usize = servers[1..].iter().map(|server| server.counting.count()).sum();
    assert_eq!(after - before, 3000);
    assert!(!client.replicas().contains(&dead));
    stop.cancel();
}

#[tokio::test]
async fn unary_calls_spread_and_are_tried_elsewhere_once() {
    let mut servers: Vec<Server> = (0..3).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let balancer = balancer(&servers, &stop);
    balancer.wait_healthy(3).await;
    let report = |channel| async move {
        InboundDataClient::new(channel).report_delivery(ReportDeliveryRequest::default()).await
    };
    for _ in 0..300 {
        balancer.call_with_retry(Duration::from_secs(5), report).await.expect("answered");
    }
    for server in &servers {
        assert_eq!(server.counting.seen.lock().expect("lock").get(&0), Some(&100));
    }
    servers[2].kill();
    for _ in 0..300 {
        balancer.call_with_retry(Duration::from_secs(5), report).await.expect("answered by another");
    }
    let unavailable = balancer
        .call_keyed(7, Duration::from_secs(5), |channel| async move {
            InboundDataClient::new(channel).open_ip_link(OpenIpLinkRequest::default()).await
        })
        .await;
    assert_eq!(unavailable.expect_err("both refuse").message(), "try elsewhere");
    stop.cancel();
}

#[tokio::test]
async fn an_empty_endpoint_set_meets_the_deadline() {
    let stop = CancellationToken::new();
    let balancer = Balancer::new(EndpointsConfig::new(Vec::<String>::new()), stop.clone()).expect("endpoints");
    assert!(balancer.rendezvous(1).is_none() && balancer.least_loaded().is_none());
    let status = balancer
        .call_with_retry(Duration::from_millis(50), |channel| async move {
            InboundDataClient::new(channel).report_delivery(ReportDeliveryRequest::default()).await
        })
        .await;
    assert_eq!(status.expect_err("nobody there").code(), Code::Unavailable);
    let config = BatchClientConfig { deadline: Duration::from_millis(50), capacity: 2, ..BatchClientConfig::default() };
    let client = BatchClient::<Ingest>::new(&balancer, config, stop.clone());
    assert_eq!(client.call(1, message(1)).await, Err(rpc::stream::Unanswered::Deadline));

    let (results, mut received) = mpsc::channel(2);
    client.submit(1, message(1), 11, &results).expect("room");
    client.submit(1, message(2), 12, &results).expect("room");
    assert_eq!(client.submit(1, message(3), 13, &results).expect_err("full").0.reference, Some(3));
    assert_eq!(received.recv().await, Some((11, Err(rpc::stream::Unanswered::Deadline))));
    stop.cancel();
    assert_eq!(received.recv().await.map(|(token, _)| token), Some(12));
    until("the client is stopped", || client.free() == 2).await;
    assert_eq!(client.call(1, message(4)).await, Err(rpc::stream::Unanswered::Stopped));
    assert!(client.submit(1, message(5), 15, &results).is_err());
}

#[tokio::test]
async fn a_dropped_call_gives_its_place_back() {
    let stop = CancellationToken::new();
    let balancer = Balancer::new(EndpointsConfig::new(["127.0.0.1:1"]), stop.clone()).expect("endpoints");
    let config = BatchClientConfig { capacity: 1, ..BatchClientConfig::default() };
    let client = BatchClient::<Ingest>::new(&balancer, config, stop.clone());
    assert!(tokio::time::timeout(Duration::from_millis(20), client.call(1, message(1))).await.is_err());
    until("its place is free", || client.free() == 1).await;
    stop.cancel();
}

#[tokio::test]
async fn results_of_submitted_messages_carry_their_tokens() {
    let servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let client = client(&servers, BatchClientConfig { window: 100, ..BatchClientConfig::default() }, &stop).await;
    let (results, mut received) = mpsc::channel(10_000);
    let mut open: std::collections::HashSet<u64> = (0..5000).collect();
    for number in 0..5000 {
        client.submit(rpc::key(&number.to_string()), message(number), number, &results).expect("room");
    }
    while !open.is_empty() {
        let (token, result) = received.recv().await.expect("open");
        assert!(open.remove(&token), "answered twice: {token}");
        assert_eq!(u64::from(result.expect("answered").reason), token & 0xFFFF);
    }
    assert_eq!(servers.iter().map(|server| server.counting.count()).sum::<usize>(), 5000);
    stop.cancel();
}

#[tokio::test]
async fn names_are_resolved_and_diagnostics_answer() {
    let servers = [Server::start(ServerConfig::default())];
    let stop = CancellationToken::new();
    let port = servers[0].address().port();
    let balancer =
        Balancer::new(EndpointsConfig::new([format!("dns:localhost:{port}")]), stop.clone()).expect("endpoints");
    balancer.wait_healthy(1).await;
    let channel = balancer.rendezvous(3).expect("healthy");
    let mut diagnostics = DiagnosticsClient::new(channel);
    let events = diagnostics.events(EventsRequest { limit: 0 }).await.expect("answered").into_inner().events;
    assert!(events.iter().any(|event| event.kind == "start_up" && event.text.contains(&port.to_string())));
    let counters = diagnostics.counters(CountersRequest {}).await.expect("answered").into_inner().counters;
    assert!(counters.iter().any(|counter| counter.name.contains("start_up") && counter.value >= 1.0));
    stop.cancel();
}

#[tokio::test]
async fn an_endpoint_set_without_a_healthy_replica_shows_in_the_metrics() {
    runtime::telemetry::init_metrics().expect("the only recorder");
    let servers: Vec<Server> = (0..2).map(|_| Server::start(ServerConfig::default())).collect();
    let stop = CancellationToken::new();
    let _balancer = balancer(&servers, &stop);
    let endpoints = format!("{},{}", servers[0].address(), servers[1].address());
    let shows = |known: usize, healthy: usize| {
        let shown = runtime::telemetry::render();
        let line = |name, value| shown.contains(&format!("{name}{{endpoints=\"{endpoints}\"}} {value}\n"));
        line("simvault_rpc_replicas", known) && line("simvault_rpc_replicas_healthy", healthy)
    };
    until("both are healthy", || shows(2, 2)).await;
    servers[0].running.readiness.set(false);
    until("one is", || shows(2, 1)).await;
    servers[1].running.readiness.set(false);
    until("none is", || shows(2, 0)).await;
    stop.cancel();
    until("it is no set any more", || shows(0, 0)).await;
}
