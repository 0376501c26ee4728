//! What the SMSC refuses, and what no link can take (SC-OC-04).

use std::time::{Duration, Instant};

use edge::{
    link::Bind,
    testing::{eventually, link},
};
use net::smpp::PeerHandle;
use proto::outbound::{Launch, launch_result::Outcome};
use smpp::CommandStatus;

use crate::{Bench, is_accepted, launch, launch_with};

/// Covers: SC-OC-04
#[tokio::test]
async fn throttling_lowers_the_rate_and_permanent_refusals_are_told_at_once() {
    let (bench, smsc) = Bench::with_smsc(|config| config.throttle_pause = Duration::from_millis(200)).await;
    smsc.answer_with(|number, _| {
        Some(if number == 0 { CommandStatus::ESME_RTHROTTLED } else { CommandStatus::ESME_ROK })
    });
    let Outcome::Temporary(temporary) = bench.launch(launch(1)).await else { panic!("not throttled") };
    assert_eq!((temporary.cause.as_str(), temporary.after_millis), ("ESME_RTHROTTLED", 200));
    let began = Instant::now();
    assert!(is_accepted(&bench.launch(launch(1)).await));
    assert!(began.elapsed() >= Duration::from_millis(150), "the link paused: {:?}", began.elapsed());

    smsc.answer_with(|_, _| Some(CommandStatus::ESME_RINVDSTADR));
    let Outcome::Permanent(permanent) = bench.launch(launch(2)).await else { panic!("not permanent") };
    assert_eq!(permanent.cause, "ESME_RINVDSTADR");
    bench.stop().await;
}

/// Covers: SC-OC-04
#[tokio::test]
async fn an_smsc_that_goes_on_throttling_gets_less_and_less() {
    let (bench, smsc) = Bench::with_smsc(|config| {
        config.throttle_pause = Duration::from_millis(20);
        config.hold = Duration::from_secs(5);
    })
    .await;
    smsc.answer_with(|_, _| Some(CommandStatus::ESME_RTHROTTLED));
    let mut pauses = Vec::new();
    for number in 0..5 {
        let Outcome::Temporary(temporary) = bench.launch(launch(number)).await else { panic!("not throttled") };
        pauses.push(temporary.after_millis);
    }
    assert_eq!(pauses, [20, 40, 80, 160, 320]);
    bench.stop().await;
}

#[tokio::test]
async fn a_full_queue_rests_one_destination_alone() {
    let (bench, smsc) = Bench::with_smsc(|config| config.retry_after = Duration::from_millis(400)).await;
    smsc.answer_with(|number, _| {
        Some(if number == 0 { CommandStatus::ESME_RMSGQFUL } else { CommandStatus::ESME_ROK })
    });
    assert!(matches!(bench.launch(launch(1)).await, Outcome::Temporary(_)));
    assert!(is_accepted(&bench.launch(launch(2)).await), "others go on at once");
    let Outcome::Temporary(resting) = bench.launch(launch(1)).await else { panic!("it does not rest") };
    assert!(resting.after_millis <= 400);
    assert_eq!(smsc.submitted_count(), 2, "nothing was sent to it");
    tokio::time::pause();
    // The answer is in whole milliseconds.
    tokio::time::advance(Duration::from_millis(u64::from(resting.after_millis) + 1)).await;
    tokio::time::resume();
    assert!(is_accepted(&bench.launch(launch(1)).await));
    bench.stop().await;
}

#[tokio::test]
async fn every_kind_of_refusal_has_its_result() {
    let (bench, smsc) = Bench::with_smsc(|_| {}).await;
    for (status, is_permanent) in [
        (CommandStatus::ESME_RSYSERR, false),
        (CommandStatus::ESME_RX_T_APPN, false),
        (CommandStatus(0x0400), false),
        (CommandStatus::ESME_RINVMSGLEN, true),
        (CommandStatus::ESME_RX_P_APPN, true),
        (CommandStatus::ESME_RX_R_APPN, true),
    ] {
        smsc.answer_with(move |_, _| Some(status));
        let outcome = bench.launch(launch(1)).await;
        assert_eq!(matches!(outcome, Outcome::Permanent(_)), is_permanent, "{status}: {outcome:?}");
        assert!(!is_accepted(&outcome));
    }
    let before = smsc.submitted_count();
    let unfit = Launch { msisdn: "not a number".into(), ..launch(1) };
    assert!(matches!(bench.launch(unfit).await, Outcome::Permanent(_)));
    assert_eq!(smsc.submitted_count(), before);
    bench.stop().await;
}

#[tokio::test]
async fn a_response_that_never_comes_is_unknown() {
    let (bench, smsc) = Bench::with_smsc(|config| config.links[0].response = Duration::from_millis(200)).await;
    smsc.answer_with(|_, _| None);
    let Outcome::Unknown(unknown) = bench.launch(launch(1)).await else { panic!("it may have been accepted") };
    assert!(unknown.cause.contains("without an answer"), "{}", unknown.cause);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_dropped_link_had_sent_is_unknown_and_submitted_once() {
    let (bench, smsc) = Bench::with_smsc(|_| {}).await;
    smsc.answer_with(|_, _| None);
    let mut launches = tokio::task::JoinSet::new();
    for number in 0..20 {
        launches.spawn(launch_with(bench.client.clone(), launch(number)));
    }
    eventually("all are submitted", || smsc.submitted_count() == 20).await;
    smsc.peers().iter().for_each(PeerHandle::cut);
    while let Some(outcome) = launches.join_next().await {
        let outcome = outcome.expect("no panic");
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    }
    assert_eq!(smsc.submitted_count(), 20);
    bench.stop().await;
}

#[tokio::test]
async fn without_a_bound_link_a_launch_is_held_and_then_temporary() {
    // Nobody listens there.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let links = vec![link("nowhere", nowhere, Bind::Transmitter)];
    let bench = Bench::start(links, |config| config.hold = Duration::from_millis(200)).await;
    let began = Instant::now();
    let outcomes = tokio::join!(bench.launch(launch(1)), bench.launch(launch(2)));
    assert!(matches!(outcomes, (Outcome::Temporary(_), Outcome::Temporary(_))), "{outcomes:?}");
    assert!(began.elapsed() >= Duration::from_millis(200));
    bench.stop().await;
}
