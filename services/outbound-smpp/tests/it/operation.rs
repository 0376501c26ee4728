//! Transceiver binds, operating parameters, and the drain.

use std::time::Duration;

use edge::{
    link::Bind,
    testing::{FakeInboundData, Smsc, eventually, from_card, link},
};
use proto::{
    diagnostics::{SetParameterRequest, edge_configuration_client::EdgeConfigurationClient},
    inbound::report_delivery_request::State,
};
use runtime::config::Validate;
use smpp::{CommandStatus, ShortMessage};
use tonic::transport::Endpoint;

use crate::{Bench, is_accepted, launch, launch_with};

/// Covers: PF-06
#[tokio::test]
async fn a_transceiver_carries_both_directions() {
    let (smsc, data) = (Smsc::start().await, FakeInboundData::start().await);
    let links = vec![link("both", smsc.address, Bind::Transceiver)];
    let bench = Bench::start(links, |config| config.inbound_data = data.endpoints()).await;
    smsc.wait_bound(1).await;
    assert!(is_accepted(&bench.launch(launch(1)).await));
    assert_eq!(smsc.deliver(from_card("491700000001", b"up")).await, CommandStatus::ESME_ROK);
    assert_eq!(data.messages()[0].payload, b"up"[..]);
    let receipt = ShortMessage { esm_class: 0x04, ..from_card("491700000001", b"id:m0 stat:DELIVRD") };
    assert_eq!(smsc.deliver(receipt).await, CommandStatus::ESME_ROK);
    let report = &data.reports()[0];
    assert_eq!(
        (report.link.as_str(), report.bearer_message_id.as_str(), report.state()),
        ("both", "m0", State::Delivered)
    );
    bench.stop().await;
}

#[tokio::test]
async fn without_an_inbound_data_processor_deliveries_stay_with_the_smsc() {
    let smsc = Smsc::start().await;
    let bench = Bench::start(vec![link("both", smsc.address, Bind::Transceiver)], |_| {}).await;
    smsc.wait_bound(1).await;
    assert_eq!(smsc.deliver(from_card("491700000001", b"up")).await, CommandStatus::ESME_RX_T_APPN);
    bench.stop().await;
}

#[tokio::test]
async fn a_window_changed_at_run_time_takes_effect() {
    let (bench, smsc) = Bench::with_smsc(|config| config.hold = Duration::from_secs(10)).await;
    let channel = Endpoint::from_shared(format!("http://{}", bench.running.address)).expect("an address");
    let mut console = EdgeConfigurationClient::new(channel.connect().await.expect("serving"));
    let change = SetParameterRequest { key: "window".into(), value: "2".into() };
    console.set_parameter(change).await.expect("accepted");
    smsc.answer_with(|_, _| None);
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..10 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    let mut accepted = 0;
    while accepted < 10 {
        tokio::select! {
            Some(done) = launches.join_next() => {
                assert!(is_accepted(&done.expect("no panic")));
                accepted += 1;
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => smsc.answer_all(CommandStatus::ESME_ROK),
        }
    }
    assert_eq!(smsc.unanswered_most(), 2);
    bench.stop().await;
}

/// Covers: PF-15
#[tokio::test]
async fn a_stop_under_load_answers_every_launch_and_unbinds() {
    let (bench, smsc) = Bench::with_smsc(|config| {
        config.window = 10;
        config.hold = Duration::from_secs(10);
    })
    .await;
    smsc.answer_with(|_, _| None);
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..60 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    eventually("under load", || smsc.submitted_count() == 10).await;
    bench.stop.cancel();
    let mut answered = 0;
    while answered < 60 {
        tokio::select! {
            Some(done) = launches.join_next() => {
                assert!(is_accepted(&done.expect("no panic")));
                answered += 1;
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => smsc.answer_all(CommandStatus::ESME_ROK),
        }
    }
    bench.running.task.await.expect("no panic").expect("drained");
    eventually("unbound", || smsc.closed() == [smpp::CloseReason::UnboundByPeer]).await;
    assert_eq!(smsc.submitted_count(), 60, "nothing twice");
}

#[test]
fn mistakes_of_the_configuration_are_all_named() {
    let wrong = link("a", ([127, 0, 0, 1], 1).into(), Bind::Receiver);
    let config = outbound_smpp::Config { links: vec![wrong.clone(), wrong], window: 0, ..Default::default() };
    let mut keys: Vec<_> = config.problems().into_iter().map(|problem| problem.key).collect();
    keys.sort();
    assert_eq!(keys, ["links.0.bind", "links.1.bind", "links.1.name", "window"]);
    assert_eq!(outbound_smpp::Config::default().problems().len(), 1, "a service without links");
}
