//! Operating parameters, system log, bind slots, reconnecting, and the drain.

use std::time::Duration;

use edge::{
    link::Bind,
    testing::{FakeInboundData, FakeRegistry, Smsc, eventually, from_card, link},
};
use proto::diagnostics::{
    EventsRequest, GetParametersRequest, Parameters, SetParameterRequest, diagnostics_client::DiagnosticsClient,
    edge_configuration_client::EdgeConfigurationClient,
};
use runtime::config::Validate;
use smpp::CommandStatus;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{Bench, config};

async fn channel(running: &rpc::Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", running.address)).expect("an address").connect().await.expect("serving")
}

fn value(parameters: &Parameters, key: &str) -> String {
    let found = parameters.parameters.iter().find(|parameter| parameter.key == key);
    found.map(|parameter| parameter.value.clone()).unwrap_or_default()
}

/// Covers: SC-IC-06
#[tokio::test]
async fn a_parameter_changed_at_run_time_takes_effect_and_survives_a_restart() {
    let registry = FakeRegistry::start().await;
    let bench = Bench::start("parameters", |config| config.application_server = registry.endpoints()).await;
    let mut console = EdgeConfigurationClient::new(channel(&bench.running).await);
    let before = console.get_parameters(GetParametersRequest {}).await.expect("known").into_inner();
    assert_eq!(value(&before, "inbound_window"), "1000");
    let wrong = SetParameterRequest { key: "inbound_window".into(), value: "0".into() };
    assert_eq!(console.set_parameter(wrong).await.expect_err("refused").code(), tonic::Code::InvalidArgument);
    let change = SetParameterRequest { key: "inbound_window".into(), value: "3".into() };
    let after = console.set_parameter(change).await.expect("accepted").into_inner();
    assert_eq!(value(&after, "inbound_window"), "3");

    bench.data.open_gate(false);
    let peer = bench.smsc.receiver().await;
    let mut burst = tokio::task::JoinSet::new();
    for number in 0..50_u8 {
        let peer = peer.clone();
        burst.spawn(async move { peer.deliver(from_card("491700000007", &[number])).await });
    }
    eventually("three are under way", || bench.data.held_most() == 3).await;
    bench.data.open_gate(true);
    while let Some(done) = burst.join_next().await {
        done.expect("no panic").expect("accepted");
    }
    assert_eq!(bench.data.held_most(), 3);

    bench.stop.cancel();
    bench.running.task.await.expect("no panic").expect("drained");
    let stop = CancellationToken::new();
    let mut again = config(vec![link("parameters", bench.smsc.address, Bind::Receiver)], &bench.data);
    again.application_server = registry.endpoints();
    let running = inbound_smpp::start(again, stop.clone()).await.expect("started");
    let mut console = EdgeConfigurationClient::new(channel(&running).await);
    let kept = console.get_parameters(GetParametersRequest {}).await.expect("known").into_inner();
    assert_eq!(value(&kept, "inbound_window"), "3");
    stop.cancel();
    running.task.await.expect("no panic").expect("drained");
}

/// Covers: SC-IC-07
#[tokio::test]
async fn the_system_log_has_every_kind() {
    let bench = Bench::start("logged", |_| {}).await;
    bench.smsc.deliver(from_card("491700000008", b"arrives")).await;
    let diagnostics = channel(&bench.running).await;
    let address = bench.smsc.address;
    bench.smsc.stop().await;
    let events = || {
        let mut client = DiagnosticsClient::new(diagnostics.clone());
        async move { client.events(EventsRequest { limit: 1000 }).await.expect("answered").into_inner().events }
    };
    let mut found = false;
    for _ in 0..500 {
        let log = events().await;
        let has = |kind: &str, text: &str| log.iter().any(|event| event.kind == kind && event.text.contains(text));
        found = has("start_up", "inbound-smpp: 1 links")
            && has("arrival", "link logged: message of 491*******08 arrived, 7 octets")
            && has("communication_restored", "link logged: bound")
            && has("communication_failure", "link logged");
        if found {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(found, "{:#?}", events().await);
    bench.stop.cancel();
    bench.running.task.await.expect("no panic").expect("drained");
    let log = runtime::events::log().newest(1000);
    assert!(log.iter().any(|event| event.kind.name() == "shut_down" && event.text == "inbound-smpp: stopped"));
    assert!(address.port() > 0);
}

/// Covers: PF-06
#[tokio::test]
async fn a_link_comes_back_after_the_smsc_was_away() {
    let bench = Bench::start("comes-back", |_| {}).await;
    let address = bench.smsc.address;
    bench.smsc.stop().await;
    let smsc = Smsc::start_at(address).await;
    assert_eq!(smsc.deliver(from_card("491700000009", b"again")).await, CommandStatus::ESME_ROK);
    bench.stop.cancel();
    bench.running.task.await.expect("no panic").expect("drained");
}

/// Covers: PF-15
#[tokio::test]
async fn a_stop_under_load_answers_everything_and_unbinds() {
    let bench = Bench::start("drain", |config| {
        config.ingest.progress = Duration::from_secs(30);
        config.ingest.deadline = Duration::from_secs(30);
    })
    .await;
    bench.data.open_gate(false);
    let peer = bench.smsc.receiver().await;
    let mut burst = tokio::task::JoinSet::new();
    for number in 0..80_u8 {
        let peer = peer.clone();
        burst.spawn(async move { peer.deliver(from_card("491700000010", &[number])).await });
    }
    eventually("all under way", || bench.data.messages().len() == 80).await;
    bench.stop.cancel();
    tokio::task::yield_now().await;
    assert!(!bench.running.task.is_finished());
    bench.data.open_gate(true);
    while let Some(done) = burst.join_next().await {
        done.expect("no panic").expect("answered well");
    }
    bench.running.task.await.expect("no panic").expect("drained");
    eventually("unbound", || bench.smsc.closed() == [smpp::CloseReason::UnboundByPeer]).await;
}

#[tokio::test]
async fn a_bind_slot_belongs_to_one_process_at_a_time() {
    let registry = FakeRegistry::start().await;
    let (smsc, data) = (Smsc::start().await, FakeInboundData::start().await);
    let mut runs = Vec::new();
    for instance in ["one", "two"] {
        let mut settings = link("slotted", smsc.address, Bind::Receiver);
        settings.slot = "smsc/0".to_owned();
        let mut config = config(vec![settings], &data);
        config.application_server = registry.endpoints();
        config.instance = instance.to_owned();
        (config.slot_ttl, config.drain) = (Duration::from_secs(3), Duration::from_millis(100));
        let stop = CancellationToken::new();
        runs.push((stop.clone(), inbound_smpp::start(config, stop).await.expect("started")));
        smsc.wait_bound(1).await;
    }
    assert_eq!(registry.holder("smsc/0").as_deref(), Some("one"));
    // A moment without an application server costs nothing, ...
    registry.fail(4);
    eventually("they were tried", || registry.failures_left() == 0).await;
    assert_eq!((smsc.closed().len(), registry.holder("smsc/0").as_deref()), (0, Some("one")));
    // ... but what another may have is given up at once.
    registry.refuse("one");
    eventually("the slot moved", || registry.holder("smsc/0").as_deref() == Some("two")).await;
    eventually("one unbound", || smsc.closed().len() == 1 && smsc.peers().len() == 1).await;
    for (stop, running) in runs {
        stop.cancel();
        running.task.await.expect("no panic").expect("drained");
    }
    assert_eq!(registry.holder("smsc/0"), None);
}

#[test]
fn mistakes_of_the_configuration_are_all_named() {
    let mut wrong = link("", ([127, 0, 0, 1], 1).into(), Bind::Transmitter);
    wrong.addresses.clear();
    wrong.country_code = "4x".to_owned();
    let config = inbound_smpp::Config { links: vec![wrong], window: 0, ..Default::default() };
    let mut keys: Vec<_> = config.problems().into_iter().map(|problem| problem.key).collect();
    keys.sort();
    assert_eq!(keys, ["links.0.addresses", "links.0.bind", "links.0.country_code", "links.0.name", "window"]);
}
