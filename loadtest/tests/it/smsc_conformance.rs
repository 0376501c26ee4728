//! Our SMPP link against the SMSC simulator, message by message (PF-06, PF-08).

use std::time::Duration;

use bytes::Bytes;
use loadtest::smsc::{
    Delivered, Delivery, Direction, Faults, Leg, MobileOriginated, MobileTerminated, Number, Outcome, Smsc, SmscConfig,
    SmscHandle,
};
use net::smpp::{DownReason, LinkConfig, LinkEvent, LinkHandle, SmppLink, SubmitError, Tls};
use smpp::{Address, BindKind, CommandStatus, Receipt, ShortMessage, SubmitSm, receipt::Stat};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const CARD: &str = "447700900123";

fn number(digits: &str) -> Number {
    Number::new(digits).unwrap()
}

fn from_card(payload: Vec<u8>) -> MobileOriginated {
    MobileOriginated {
        msisdn: number(CARD),
        destination: number("2001"),
        protocol_id: 0x08,
        data_coding: 0xF6,
        user_data_header: false,
        payload: Bytes::from(payload),
        message_reference: Some(7),
    }
}

fn to_card(payload: Vec<u8>, registered_delivery: u8) -> SubmitSm {
    let mut message = ShortMessage {
        source_addr: Address::new(0, 1, "2001").unwrap(),
        destination_addr: Address::international(CARD).unwrap(),
        protocol_id: 0x7F,
        data_coding: 0xF6,
        registered_delivery,
        ..ShortMessage::default()
    };
    message.set_payload(Bytes::from(payload));
    message
}

/// The simulator, a bound link of the centre, and the phones.
struct Bench {
    smsc: SmscHandle,
    phones: mpsc::Receiver<MobileTerminated>,
    link: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
    stop: CancellationToken,
    link_stop: CancellationToken,
}

async fn bench_with(adjust: impl FnOnce(&mut SmscConfig), adjust_link: impl FnOnce(&mut LinkConfig)) -> Bench {
    let mut config = SmscConfig {
        redelivery_min: Duration::from_millis(5),
        redelivery_max: Duration::from_millis(20),
        ..SmscConfig::default()
    };
    adjust(&mut config);
    let (stop, link_stop) = (CancellationToken::new(), CancellationToken::new());
    let (smsc, phones) = Smsc::start(config, stop.clone()).await.unwrap();
    let mut config = link_config(&smsc);
    adjust_link(&mut config);
    let (link, mut events) = SmppLink::start(config, link_stop.clone()).unwrap();
    assert!(matches!(events.recv().await, Some(LinkEvent::Bound { .. })));
    Bench { smsc, phones, link, events, stop, link_stop }
}

async fn bench() -> Bench {
    bench_with(|_| {}, |_| {}).await
}

fn link_config(smsc: &SmscHandle) -> LinkConfig {
    let mut config =
        LinkConfig::new("bench", vec![smsc.address().to_string()], BindKind::Transceiver, "simvault", "simvault");
    config.backoff_min = Duration::from_millis(5);
    config.backoff_max = Duration::from_millis(20);
    config.throttle_pause = Duration::from_millis(1);
    config
}

impl Bench {
    async fn deliver(&mut self) -> (net::smpp::AnswerToken, ShortMessage) {
        loop {
            match self.events.recv().await {
                Some(LinkEvent::Deliver { token, message }) => return (token, message),
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
    }

    fn offer(&self, payload: Vec<u8>) -> tokio::task::JoinHandle<Delivered> {
        let smsc = self.smsc.clone();
        tokio::spawn(async move { smsc.mobile_originated(from_card(payload)).await })
    }

    async fn end(mut self) {
        self.link_stop.cancel();
        while self.events.recv().await.is_some() {}
        self.stop.cancel();
        while self.phones.recv().await.is_some() {}
    }
}

/// Covers: PF-08
#[tokio::test]
async fn all_256_octet_values_pass_unaltered_both_ways() {
    let mut bench = bench().await;
    let all: Vec<u8> = (0..=255).collect();
    for payload in [all[..128].to_vec(), all[128..].to_vec(), all[..254].to_vec(), all.clone(), all.repeat(4)] {
        let offered = bench.offer(payload.clone());
        let (token, message) = bench.deliver().await;
        assert_eq!(message.payload(), &payload);
        assert_eq!(message.tlvs.message_payload().is_some(), payload.len() > 254);
        assert_eq!((message.protocol_id, message.data_coding), (0x08, 0xF6));
        assert_eq!(message.tlvs.user_message_reference(), Some(7));
        assert_eq!(message.source_addr, Address::international(CARD).unwrap());
        bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
        assert_eq!(offered.await.unwrap().delivery, Delivery::Accepted);

        bench.link.submit(to_card(payload.clone(), 0)).await.unwrap();
        let phone = bench.phones.recv().await.unwrap();
        assert_eq!(phone.payload, payload);
        assert_eq!((phone.protocol_id, phone.data_coding, phone.msisdn), (0x7F, 0xF6, number(CARD)));
    }
    // A user data header is reported as such, and stays in front of the payload.
    let mut with_header = from_card(vec![5, 0, 3, 1, 2, 1, 0xAA]);
    with_header.user_data_header = true;
    let smsc = bench.smsc.clone();
    let offered = tokio::spawn(async move { smsc.mobile_originated(with_header).await });
    let (token, message) = bench.deliver().await;
    assert!(message.has_user_data_header());
    assert_eq!(message.payload().first(), Some(&5));
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    offered.await.unwrap();
    bench.end().await;
}

/// Covers: PF-06
#[tokio::test]
async fn every_kind_of_bind_carries_its_direction() {
    let mut bench = bench_with(|_| {}, |link| link.kind = BindKind::Receiver).await;
    assert_eq!(bench.link.submit(to_card(vec![1], 0)).await, Err(SubmitError::NotBound));
    let offered = bench.offer(vec![1]);
    let (token, _) = bench.deliver().await;
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    assert_eq!(offered.await.unwrap().delivery, Delivery::Accepted);
    let stop = CancellationToken::new();
    let mut config = link_config(&bench.smsc);
    config.kind = BindKind::Transmitter;
    let (transmitter, mut events) = SmppLink::start(config, stop.clone()).unwrap();
    assert!(matches!(events.recv().await, Some(LinkEvent::Bound { kind: BindKind::Transmitter, .. })));
    // The receipt for what the transmitter submits arrives at the receiver.
    let message_id = transmitter.submit(to_card(vec![2], 1)).await.unwrap().message_id;
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![2]);
    let (token, message) = bench.deliver().await;
    assert!(message.is_delivery_receipt());
    assert_eq!(message.tlvs.receipted_message_id(), Some(message_id.as_bytes()));
    let receipt = Receipt::parse(message.payload()).unwrap();
    assert_eq!((receipt.id.as_str(), receipt.stat), (message_id.as_str().unwrap(), Stat::Delivered));
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    stop.cancel();
    while events.recv().await.is_some() {}
    bench.end().await;
}

/// Covers: PF-06
#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let bench = bench().await;
    for (system_id, password, status) in
        [("simvault", "no", CommandStatus::ESME_RINVPASWD), ("who", "simvault", CommandStatus::ESME_RINVSYSID)]
    {
        let stop = CancellationToken::new();
        let mut config = link_config(&bench.smsc);
        (config.system_id, config.password) = (system_id.to_owned(), password.to_owned());
        let (_, mut events) = SmppLink::start(config, stop.clone()).unwrap();
        let event = events.recv().await;
        assert!(
            matches!(event, Some(LinkEvent::Down { reason: DownReason::BindRefused { status: got, .. }, .. }) if got == status)
        );
        stop.cancel();
    }
    bench.end().await;
}

/// Covers: PF-06
#[tokio::test]
async fn a_temporary_answer_or_a_cut_brings_the_message_again() {
    let mut bench = bench().await;
    let offered = bench.offer(vec![9]);
    for status in [CommandStatus::ESME_RX_T_APPN, CommandStatus::ESME_RTHROTTLED, CommandStatus::ESME_RMSGQFUL] {
        let (token, _) = bench.deliver().await;
        bench.link.respond_deliver(token, status);
    }
    let (late, _) = bench.deliver().await;
    bench.smsc.cut_links(false).await;
    let (token, message) = bench.deliver().await;
    // The answer to the delivery of the broken link goes nowhere.
    bench.link.respond_deliver(late, CommandStatus::ESME_RINVDSTADR);
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    assert_eq!(message.payload(), &[9][..]);
    let end = offered.await.unwrap();
    assert_eq!((end.delivery, end.attempts), (Delivery::Accepted, 5));
    let counters = bench.smsc.counters();
    assert_eq!((counters.mo_offered, counters.mo_acked, counters.mo_nacked, counters.mo_redelivered), (1, 1, 3, 4));
    let entries = bench.smsc.ledger().entries();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].outcome, entries[0].attempts), (Outcome::Delivered, 5));
    bench.end().await;
}

#[tokio::test]
async fn a_permanent_answer_ends_the_message() {
    let mut bench = bench().await;
    let offered = bench.offer(vec![9]);
    let (token, _) = bench.deliver().await;
    bench.link.respond_deliver(token, CommandStatus::ESME_RX_R_APPN);
    assert_eq!(offered.await.unwrap().delivery, Delivery::Refused(CommandStatus::ESME_RX_R_APPN));
    bench.end().await;
}

#[tokio::test]
async fn messages_wait_in_the_smsc_while_nobody_is_bound() {
    let mut bench = bench().await;
    bench.smsc.cut_links(true).await;
    let offered = bench.offer(vec![4]);
    let (token, _) = bench.deliver().await;
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    assert_eq!(offered.await.unwrap().delivery, Delivery::Accepted);
    bench.end().await;
}

/// Covers: PF-06
#[tokio::test]
async fn injected_answers_to_submits_arrive_as_such() {
    let mut bench = bench().await;
    let cases = [
        (Faults { throttled: 1.0, ..Faults::default() }, CommandStatus::ESME_RTHROTTLED),
        (Faults { queue_full: 1.0, ..Faults::default() }, CommandStatus::ESME_RMSGQFUL),
        (Faults { permanent: 1.0, ..Faults::default() }, CommandStatus::ESME_RINVDSTADR),
    ];
    for (faults, status) in cases {
        bench.smsc.set_faults(Some(number(CARD)), faults).await;
        bench.smsc.links().await; // The faults are in force.
        assert_eq!(bench.link.submit(to_card(vec![1], 0)).await, Err(SubmitError::Refused(status)));
    }
    bench.smsc.set_faults(Some(number(CARD)), Faults::default()).await;
    bench.smsc.links().await;
    let mut wrong = to_card(vec![1], 0);
    wrong.validity_period = "tomorrow".try_into().unwrap();
    let refused = Err(SubmitError::Refused(CommandStatus::ESME_RINVEXPIRY));
    assert_eq!(bench.link.submit(wrong).await, refused);
    bench.link.submit(to_card(vec![1], 0)).await.unwrap();
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![1]);
    assert_eq!(bench.smsc.counters().mt_refused, 4);
    bench.end().await;
}

#[tokio::test]
async fn an_absent_phone_gets_its_messages_when_it_is_back_or_they_expire() {
    let mut bench = bench().await;
    bench.smsc.set_reachable(number(CARD), false).await;
    bench.smsc.links().await;
    bench.link.submit(to_card(vec![1], 1)).await.unwrap();
    let mut short = to_card(vec![2], 1);
    short.validity_period = smpp::time::format_relative(Duration::from_secs(1));
    let expiring = bench.link.submit(short).await.unwrap().message_id;
    let (token, message) = bench.deliver().await;
    let receipt = Receipt::parse(message.payload()).unwrap();
    assert_eq!((receipt.stat, receipt.id.as_str()), (Stat::Expired, expiring.as_str().unwrap()));
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    assert!(bench.phones.try_recv().is_err());
    bench.smsc.set_reachable(number(CARD), true).await;
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![1]);
    let (token, message) = bench.deliver().await;
    assert_eq!(Receipt::parse(message.payload()).unwrap().stat, Stat::Delivered);
    bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    let counters = bench.smsc.counters();
    assert_eq!((counters.mt_accepted, counters.mt_delivered, counters.mt_expired), (2, 1, 1));
    bench.end().await;
}

#[tokio::test]
async fn loss_duplication_and_reordering_happen_as_injected() {
    let mut bench = bench().await;
    let leg = |leg| Faults { mobile_originated: leg, mobile_terminated: leg, ..Faults::default() };
    bench.smsc.set_faults(None, leg(Leg { loss: 1.0, ..Leg::default() })).await;
    assert_eq!(bench.offer(vec![1]).await.unwrap().delivery, Delivery::Lost);
    bench.link.submit(to_card(vec![1], 0)).await.unwrap();
    bench.smsc.set_faults(None, leg(Leg { duplication: 1.0, ..Leg::default() })).await;
    let offered = bench.offer(vec![2]);
    for _ in 0..2 {
        let (token, message) = bench.deliver().await;
        assert_eq!(message.payload(), &[2][..]);
        bench.link.respond_deliver(token, CommandStatus::ESME_ROK);
    }
    offered.await.unwrap();
    bench.link.submit(to_card(vec![2], 0)).await.unwrap();
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![2]);
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![2]);
    let reordering = Leg { reordering: 0.5, reordering_delay_max: Duration::from_millis(30), ..Leg::default() };
    bench.smsc.set_faults(None, leg(reordering)).await;
    for payload in 0..60 {
        bench.link.submit(to_card(vec![payload], 0)).await.unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..60 {
        order.push(bench.phones.recv().await.unwrap().payload[0]);
    }
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert!(order.into_iter().eq(0..60));
    let lost = bench.smsc.ledger().entries().iter().filter(|entry| entry.outcome == Outcome::Lost).count();
    assert_eq!(lost, 2);
    bench.end().await;
}

#[tokio::test]
async fn tls_protects_the_link() {
    let certified = rcgen::generate_simple_self_signed(vec!["smsc.test".to_owned()]).unwrap();
    let pem = certified.cert.pem().into_bytes();
    let identity = net::tls::Identity {
        certificates_pem: pem.clone(),
        private_key_pem: certified.signing_key.serialize_pem().into_bytes(),
    };
    let server = net::tls::server_config(&identity, None).unwrap();
    let client = net::tls::client_config(&pem, None).unwrap();
    let mut bench = bench_with(
        |smsc| smsc.tls = Some(server),
        |link| link.tls = Some(Tls { config: client, server_name: "smsc.test".to_owned() }),
    )
    .await;
    bench.link.submit(to_card(vec![3; 140], 0)).await.unwrap();
    assert_eq!(bench.phones.recv().await.unwrap().payload, vec![3; 140]);
    bench.end().await;
}

#[tokio::test]
async fn a_storm_of_messages_over_several_binds_ends_with_every_one_answered_once() {
    let bench = bench_with(|_| {}, |link| link.session.inbound_window_max = 2000).await;
    let stop = CancellationToken::new();
    let mut answering = Vec::new();
    let (second, second_events) = SmppLink::start(link_config(&bench.smsc), stop.clone()).unwrap();
    for (link, mut events) in [(bench.link.clone(), bench.events), (second, second_events)] {
        answering.push(tokio::spawn(async move {
            let mut count = 0_u64;
            while let Some(event) = events.recv().await {
                if let LinkEvent::Deliver { token, .. } = event {
                    count += 1;
                    let status =
                        if count.is_multiple_of(50) { CommandStatus::ESME_RX_T_APPN } else { CommandStatus::ESME_ROK };
                    link.respond_deliver(token, status);
                }
            }
        }));
    }
    let (ends, mut ended) = mpsc::unbounded_channel();
    let offering = tokio::spawn({
        let smsc = bench.smsc.clone();
        async move {
            for token in 0..5000 {
                smsc.offer(from_card(vec![8; 100]), token, &ends).await;
            }
        }
    });
    let mut seen = vec![0; 5000];
    while let Some(end) = ended.recv().await {
        assert_eq!(end.delivery, Delivery::Accepted);
        seen[usize::try_from(end.token).unwrap()] += 1;
    }
    offering.await.unwrap();
    assert!(seen.into_iter().all(|count| count == 1));
    let counters = bench.smsc.counters();
    assert_eq!((counters.mo_offered, counters.mo_acked), (5000, 5000));
    assert!(counters.mo_nacked >= 98 && counters.mo_redelivered >= counters.mo_nacked);
    let entries = bench.smsc.ledger().entries();
    assert!(entries.iter().all(|entry| entry.direction == Direction::MobileOriginated && entry.ended_at.is_some()));
    bench.link_stop.cancel();
    stop.cancel();
    for task in answering {
        task.await.unwrap();
    }
    bench.stop.cancel();
}
