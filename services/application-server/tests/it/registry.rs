//! Leases, sessions and settings of the edges; health; the audit log.

use proto::centre;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::centre::{Centre, by_anna};

#[tokio::test]
async fn a_lease_has_one_owner_until_it_expires() {
    let mut centre = Centre::start().await;
    let mut acquire = async |owner: &str| {
        let request = centre::AcquireLeaseRequest {
            name: "bind/north/0".to_owned(),
            owner: owner.to_owned(),
            ttl_millis: 10_000,
        };
        let lease = centre.registry.acquire_lease(request).await.unwrap().into_inner();
        centre.clock.advance(std::time::Duration::from_secs(6));
        (lease.held, lease.owner, lease.epoch)
    };
    let (held, _, epoch) = acquire("a").await;
    assert!(held);
    assert_eq!(acquire("b").await, (false, "a".to_owned(), epoch));
    let (held, owner, next) = acquire("b").await;
    assert!(held && owner == "b" && next > epoch);
    let short = centre::AcquireLeaseRequest { name: "x".to_owned(), owner: "a".to_owned(), ttl_millis: 1 };
    assert_eq!(centre.registry.acquire_lease(short).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_newest_session_of_a_device_is_found() {
    let mut centre = Centre::start().await;
    let account = centre.card("441230001").await;
    let device = account.devices[0].device_id;
    let mut register = async |endpoint: &str, opened: Vec<i64>| {
        centre.clock.advance(std::time::Duration::from_secs(1));
        let request = centre::RegisterSessionsRequest {
            endpoint: endpoint.to_owned(),
            opened,
            ..centre::RegisterSessionsRequest::default()
        };
        centre.registry.register_sessions(request).await.unwrap().into_inner().superseded
    };
    assert!(register("edge-1:7000", vec![device]).await.is_empty());
    register("edge-2:7000", vec![device]).await;
    let request = centre::LocateSessionsRequest { device_ids: vec![device, 1] };
    let found = centre.registry.locate_sessions(request).await.unwrap().into_inner().endpoints;
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(device, "edge-2:7000".to_owned())]);
    // Of a snapshot in pieces, each says only what is held within its bounds.
    for (snapshot_from, is_open) in [(device + 1, true), (device, false)] {
        let request = centre::RegisterSessionsRequest {
            endpoint: "edge-2:7000".to_owned(),
            snapshot: true,
            snapshot_from: Some(snapshot_from),
            ..centre::RegisterSessionsRequest::default()
        };
        centre.registry.register_sessions(request).await.unwrap();
        let request = centre::LocateSessionsRequest { device_ids: vec![device] };
        let found = centre.registry.locate_sessions(request).await.unwrap().into_inner().endpoints;
        assert_eq!(!found.is_empty(), is_open);
    }
    let too_many = centre::RegisterSessionsRequest {
        endpoint: "edge-2:7000".to_owned(),
        opened: vec![device; 100_001],
        ..centre::RegisterSessionsRequest::default()
    };
    let refused = centre.registry.register_sessions(too_many).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn settings_survive_and_names_are_checked() {
    let mut centre = Centre::start().await;
    let put = |key: &str, value: &str| centre::PutSettingRequest {
        scope: "inbound-smpp".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    centre.registry.put_setting(by_anna(put("window", "10"))).await.unwrap();
    centre.registry.put_setting(by_anna(put("window", "20"))).await.unwrap();
    assert_eq!(centre.registry.put_setting(put("", "1")).await.unwrap_err().code(), Code::InvalidArgument);
    let request = centre::GetSettingsRequest { scope: "inbound-smpp".to_owned() };
    let settings = centre.registry.get_settings(request).await.unwrap().into_inner().settings;
    assert_eq!(settings.get("window").map(String::as_str), Some("20"));
}

/// Covers: PF-02
#[tokio::test]
async fn the_service_starts_alone() {
    let centre = Centre::start().await;
    let stop = CancellationToken::new();
    let clock = centre.clock.clock();
    let service = application_server::start(
        application_server::Config::default(),
        centre.store.clone(),
        centre.queue.clone(),
        clock,
        stop.clone(),
    );
    let service = service.await.unwrap();
    let balancer = rpc::Balancer::new(rpc::EndpointsConfig::new([service.address.to_string()]), stop.clone()).unwrap();
    let healthy = balancer.wait_healthy(1);
    tokio::time::timeout(std::time::Duration::from_secs(20), healthy).await.expect("its health says ready");
    stop.cancel();
    service.task.await.unwrap().unwrap();
}
