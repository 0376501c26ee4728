//! From `deliver_sm` to the inbound data processor and back.

use edge::{
    link::Bind,
    testing::{FakeInboundData, Smsc, eventually, from_card, link},
};
use proto::inbound::{Bearer, Outcome};
use smpp::CommandStatus;
use tokio_util::sync::CancellationToken;

use crate::{Bench, config};

/// Covers: SC-IC-01, SC-IC-03, SC-IC-04, SC-IC-05
#[tokio::test]
async fn a_message_reaches_the_inbound_data_processor_with_its_header_apart() {
    let bench = Bench::start("way", |_| {}).await;
    let mut message = from_card("491721217212", &[]);
    message.esm_class = 0x40;
    message.set_payload(vec![5, 0x00, 3, 0x2A, 2, 1, 0xDE, 0xAD, 0x00].into());
    assert_eq!(bench.smsc.deliver(message).await, CommandStatus::ESME_ROK);
    let [request] = <[_; 1]>::try_from(bench.data.messages()).expect("one message");
    assert_eq!(request.bearer(), Bearer::Sms);
    assert_eq!((request.link.as_str(), request.country_code.as_str()), ("way", "49"));
    let originator = request.originator.expect("there");
    assert_eq!((originator.ton, originator.npi, originator.digits.as_str()), (1, 1, "491721217212"));
    assert_eq!(request.destination.expect("there").digits, "7788");
    assert_eq!((request.protocol_id, request.data_coding), (0x08, 0xF6));
    assert_eq!(request.user_data_header, vec![0x00, 3, 0x2A, 2, 1]);
    assert_eq!(request.payload, vec![0xDE, 0xAD, 0x00]);
    assert_eq!(request.trace_id.len(), 16);
    assert!(request.arrived_micros > 0 && request.reference.is_none());
    bench.stop().await;
}

/// Covers: PF-06, PF-08
#[tokio::test]
async fn all_octet_values_pass_on_every_kind_of_bind_and_in_message_payload() {
    let (smsc, data) = (Smsc::start().await, FakeInboundData::start().await);
    for (name, bind) in [("receiver", Bind::Receiver), ("transceiver", Bind::Transceiver)] {
        let stop = CancellationToken::new();
        let config = config(vec![link(name, smsc.address, bind)], &data);
        let running = inbound_smpp::start(config, stop.clone()).await.expect("started");
        let every: Vec<u8> = (0..=255).collect();
        for payload in [&every[..128], &every[128..], &every[..]] {
            assert_eq!(smsc.deliver(from_card("491700000001", payload)).await, CommandStatus::ESME_ROK);
            assert_eq!(data.messages().last().expect("one").payload, payload.to_vec());
        }
        stop.cancel();
        running.task.await.expect("no panic").expect("drained");
        eventually("unbound", || smsc.peers().is_empty()).await;
    }
}

/// Covers: SC-IC-10
#[tokio::test]
async fn every_result_has_its_answer_and_a_repeat_is_answered_too() {
    let bench = Bench::start("results", |_| {}).await;
    let table = [
        (Outcome::Stored, CommandStatus::ESME_ROK),
        (Outcome::Duplicate, CommandStatus::ESME_ROK),
        (Outcome::Refused, CommandStatus::ESME_ROK),
        (Outcome::Retry, CommandStatus::ESME_RX_T_APPN),
    ];
    for (outcome, status) in table {
        bench.data.judge_with(move |_| outcome);
        assert_eq!(bench.smsc.deliver(from_card("491700000002", b"same")).await, status, "{outcome:?}");
    }
    // The repeats are handed over as they are: only the processor can tell a repeat (D-110).
    let messages = bench.data.messages();
    assert_eq!(messages.len(), table.len());
    assert!(
        messages.iter().all(|message| message.payload == b"same"[..] && message.originator == messages[0].originator)
    );
    bench.stop().await;
}

/// Covers: SC-IC-11, PF-14
#[tokio::test]
async fn without_an_inbound_data_processor_the_smsc_keeps_the_message() {
    let mut bench =
        Bench::start("keeps", |config| config.ingest.deadline = std::time::Duration::from_millis(300)).await;
    assert_eq!(bench.smsc.deliver(from_card("491700000003", b"one")).await, CommandStatus::ESME_ROK);
    let killed = bench.data.kill().await;
    assert_eq!(bench.smsc.deliver(from_card("491700000003", b"two")).await, CommandStatus::ESME_RX_T_APPN);
    bench.data = killed.restart().await;
    // As an SMSC does: again and again.
    let mut status = CommandStatus::ESME_RX_T_APPN;
    for _ in 0..40 {
        status = bench.smsc.deliver(from_card("491700000003", b"two")).await;
        if status.is_ok() {
            break;
        }
    }
    assert_eq!(status, CommandStatus::ESME_ROK);
    let payloads: Vec<_> = bench.data.messages().into_iter().map(|message| message.payload).collect();
    assert!(payloads.contains(&b"one"[..].into()) && payloads.contains(&b"two"[..].into()));
    bench.stop().await;
}

#[tokio::test]
async fn a_user_data_header_beyond_the_end_costs_one_message() {
    let bench = Bench::start("hostile", |_| {}).await;
    bench.data.judge_with(|message| if message.payload.is_empty() { Outcome::Refused } else { Outcome::Stored });
    let mut hostile = from_card("491700000004", &[0xFF, 1, 2]);
    hostile.esm_class = 0x40;
    assert_eq!(bench.smsc.deliver(hostile).await, CommandStatus::ESME_ROK);
    assert_eq!(bench.smsc.deliver(from_card("491700000004", b"next")).await, CommandStatus::ESME_ROK);
    assert_eq!(bench.data.messages().len(), 2);
    bench.stop().await;
}

/// Covers: SC-IC-02
#[tokio::test]
async fn a_burst_is_buffered_then_throttled_and_nothing_is_lost() {
    let depth = 50;
    let bench = Bench::start("burst", |config| {
        config.event_buffer = depth;
        config.window = 1;
        config.ingest.deadline = std::time::Duration::from_secs(30);
        config.ingest.progress = std::time::Duration::from_secs(30);
    })
    .await;
    // Slower than the burst: not at all, at first.
    bench.data.open_gate(false);
    let peer = bench.smsc.receiver().await;
    let mut burst = tokio::task::JoinSet::new();
    for number in 0..1000_u32 {
        let peer = peer.clone();
        burst.spawn(async move {
            let message = from_card("491700000005", &number.to_be_bytes());
            (number, peer.deliver(message).await)
        });
    }
    // The SMSC's window of 100 is within the buffers: it waits, and is answered when the processor answers.
    bench.data.noted().await;
    assert_eq!(bench.data.messages().len(), 1, "a window of one");
    bench.data.open_gate(true);
    let mut again = Vec::new();
    while let Some(done) = burst.join_next().await {
        let (number, outcome) = done.expect("no panic");
        match outcome {
            Ok(_) => {}
            Err(net::smpp::SubmitError::Refused(CommandStatus::ESME_RTHROTTLED)) => again.push(number),
            Err(other) => panic!("{other}"),
        }
    }
    for number in again {
        let message = from_card("491700000005", &number.to_be_bytes());
        assert_eq!(bench.smsc.deliver(message).await, CommandStatus::ESME_ROK);
    }
    let mut seen: Vec<_> = bench.data.messages().into_iter().map(|message| message.payload).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    bench.stop().await;
}

/// Covers: SC-IC-02
#[tokio::test]
async fn a_full_buffer_answers_throttled_after_a_second_and_recovers() {
    let bench = Bench::start("full", |config| {
        config.event_buffer = 4;
        config.window = 1;
        config.ingest.deadline = std::time::Duration::from_secs(30);
        config.ingest.progress = std::time::Duration::from_secs(30);
    })
    .await;
    bench.data.open_gate(false);
    let peer = bench.smsc.receiver().await;
    let mut burst = tokio::task::JoinSet::new();
    // More than buffer, driver's channel and window together; the SMSC's own window is 100.
    for number in 0..200_u32 {
        let peer = peer.clone();
        burst.spawn(async move { peer.deliver(from_card("491700000006", &number.to_be_bytes())).await });
    }
    let first = burst.join_next().await.expect("200 of them").expect("no panic");
    assert_eq!(first, Err(net::smpp::SubmitError::Refused(CommandStatus::ESME_RTHROTTLED)));
    bench.data.open_gate(true);
    let (mut accepted, mut throttled) = (0, 1);
    while let Some(done) = burst.join_next().await {
        match done.expect("no panic") {
            Ok(_) => accepted += 1,
            Err(net::smpp::SubmitError::Refused(CommandStatus::ESME_RTHROTTLED)) => throttled += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(accepted + throttled, 200);
    assert_eq!(bench.data.messages().len(), accepted, "what was throttled was not taken");
    assert_eq!(bench.smsc.deliver(from_card("491700000006", b"after")).await, CommandStatus::ESME_ROK);
    bench.stop().await;
}
