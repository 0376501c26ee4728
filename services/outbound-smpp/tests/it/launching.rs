//! What the SMSC is sent, and over which link.

use std::time::{Duration, Instant};

use edge::{
    link::Bind,
    testing::{Smsc, eventually, link},
};
use proto::outbound::{Launch, launch_result::Outcome, outbound_channel_client::OutboundChannelClient};
use rpc::stream::BatchClientConfig;
use smpp::CommandStatus;

use crate::{Bench, is_accepted, launch, launch_with};

/// Covers: SC-OC-01, SC-OC-02, PF-08
#[tokio::test]
async fn a_launch_is_seen_by_the_smsc_octet_for_octet() {
    let (bench, smsc) = Bench::with_smsc(|config| config.links[0].smsc = "smsc-a".to_owned()).await;
    let every: Vec<u8> = (0..=255).collect();
    let message = Launch {
        user_data_header: vec![0x70, 0x00].into(),
        payload: every[..137].to_vec().into(),
        registered_delivery: true,
        priority: 2,
        ..launch(1)
    };
    let Outcome::Accepted(accepted) = bench.launch(message).await else { panic!("refused") };
    assert_eq!((accepted.link.as_str(), accepted.bearer_message_id.as_str()), ("smsc-a", "m0"));
    assert!(is_accepted(&bench.launch(Launch { payload: every.clone().into(), ..launch(2) }).await));
    let [first, second] = <[_; 2]>::try_from(smsc.submitted()).expect("two");
    assert_eq!(first.destination_addr, smpp::Address::international("491700000001").expect("fits"));
    assert_eq!(first.source_addr, smpp::Address::new(0, 1, "7788").expect("fits"));
    assert_eq!((first.esm_class, first.protocol_id, first.data_coding), (0x40, 0x7F, 0xF6));
    assert_eq!((first.registered_delivery, first.priority_flag), (1, 2));
    assert_eq!(first.validity_period.as_str(), Some("000000000500000R"));
    assert_eq!(first.payload()[..3], [2, 0x70, 0x00]);
    assert_eq!(first.payload()[3..], every[..137]);
    // Longer than a short message: in message_payload, unaltered.
    assert!(second.short_message.is_empty());
    assert_eq!(second.payload()[..], every[..]);
    bench.stop().await;
}

/// Covers: SC-OC-03
#[tokio::test]
async fn an_error_message_reaches_the_mobile_from_a_second_client_without_an_action() {
    let (bench, smsc) = Bench::with_smsc(|_| {}).await;
    let endpoints = rpc::EndpointsConfig::new([bench.running.address.to_string()]);
    let balancer = rpc::Balancer::new(endpoints, bench.client_stop.clone()).expect("an address");
    let inbound_data = rpc::stream::BatchClient::new(&balancer, Default::default(), bench.client_stop.clone());
    // Neither subscriber nor device is known: there can be no action row.
    let error = Launch { payload: vec![0x13, 0x37].into(), ..launch(77) };
    let (action, error) = tokio::join!(bench.launch(launch(78)), launch_with(inbound_data, error));
    assert!(is_accepted(&action) && is_accepted(&error));
    let submitted = smsc.submitted();
    assert!(submitted.iter().any(|message| message.payload()[..] == [0x13, 0x37]));
    assert_eq!(submitted.len(), 2);
    bench.stop().await;
}

/// Covers: PF-06
#[tokio::test]
async fn a_window_is_never_exceeded_and_every_launch_is_answered_once() {
    let (bench, smsc) = Bench::with_smsc(|config| {
        config.window = 5;
        config.hold = Duration::from_secs(10);
    })
    .await;
    smsc.answer_with(|_, _| None);
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..50 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    let mut accepted = 0;
    while accepted < 50 {
        tokio::select! {
            Some(done) = launches.join_next() => {
                assert!(is_accepted(&done.expect("no panic")));
                accepted += 1;
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => smsc.answer_all(CommandStatus::ESME_ROK),
        }
    }
    assert_eq!(smsc.submitted_count(), 50);
    assert_eq!(smsc.unanswered_most(), 5);
    bench.stop().await;
}

#[tokio::test]
async fn a_silent_link_holds_nothing_for_the_others() {
    let (silent, lively) = (Smsc::start().await, Smsc::start().await);
    silent.answer_with(|_, _| None);
    let links =
        vec![link("silent", silent.address, Bind::Transmitter), link("lively", lively.address, Bind::Transmitter)];
    let bench = Bench::start(links, |config| config.window = 10).await;
    silent.wait_bound(1).await;
    lively.wait_bound(1).await;
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..500 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    eventually("the lively one took what the silent one has no window for", || lively.submitted_count() >= 490).await;
    assert!(silent.submitted_count() <= 10);
    silent.answer_all(CommandStatus::ESME_ROK);
    silent.answer_with(|_, _| Some(CommandStatus::ESME_ROK));
    while let Some(done) = launches.join_next().await {
        assert!(is_accepted(&done.expect("no panic")));
    }
    assert_eq!(silent.submitted_count() + lively.submitted_count(), 500);
    bench.stop().await;
}

#[tokio::test]
async fn a_slow_smsc_is_waited_for_and_nothing_is_sent_twice() {
    let (bench, smsc) = Bench::with_smsc(|_| {}).await;
    smsc.answer_with(|_, _| None);
    let launching = tokio::spawn(launch_with(bench.client.clone(), launch(5)));
    eventually("submitted", || smsc.submitted_count() == 1).await;
    let begun = Instant::now();
    // As many signs of life, each on its stream, as outlast the progress deadline of the client: the first comes at once.
    let address = format!("http://{}", bench.running.address);
    let mut other = OutboundChannelClient::connect(address).await.expect("connected");
    let mut signs = other.launch(tokio_stream::pending()).await.expect("open").into_inner();
    for _ in 0..6 {
        signs.message().await.expect("no error").expect("open");
    }
    assert!(begun.elapsed() > BatchClientConfig::default().progress);
    smsc.answer_all(CommandStatus::ESME_ROK);
    assert!(is_accepted(&launching.await.expect("no panic")));
    assert_eq!(smsc.submitted_count(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let (bench, smsc) = Bench::with_smsc(|config| {
        config.rate = 200;
        config.hold = Duration::from_secs(10);
    })
    .await;
    let began = Instant::now();
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..150 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    while let Some(done) = launches.join_next().await {
        assert!(is_accepted(&done.expect("no panic")));
    }
    // A burst of 50 ms is allowed: 150 messages need at least 700 ms less a little.
    assert!(began.elapsed() > Duration::from_millis(650), "{:?}", began.elapsed());
    assert_eq!(smsc.submitted_count(), 150);
    bench.stop().await;
}
