//! An SMSC that is not ours: `smpp.twisted3` (tests/peers/smsc.py) between our inbound and outbound SMPP services.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, Command, Stdio},
    time::Duration,
};

use edge::{
    link::{Bind, LinkSettings},
    testing::{FakeInboundData, eventually, link},
};
use proto::{
    inbound::report_delivery_request::State,
    outbound::{Launch, LaunchResult, launch_result::Outcome},
};
use rpc::stream::{BatchClient, BatchClientConfig};
use runtime::config::Secret;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::peer::{self, Process};

const PATIENCE: Duration = Duration::from_secs(30);
const CARD: &str = "491700000001";

/// The SMSC's process; it ends when its standard input is closed.
struct Twisted {
    port: u16,
    orders: ChildStdin,
    events: mpsc::UnboundedReceiver<Value>,
    _process: Process,
}

impl Twisted {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/smsc.py");
        let mut process = Command::new(peer::installed("venv/bin/python"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let orders = process.stdin.take().expect("piped");
        let told = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (tell, events) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in told.map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("JSON");
                // The test has ended when nobody listens.
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        let mut smsc = Self { port: 0, orders, events, _process: Process(process) };
        let port = smsc.event("listening").await["port"].as_u64().expect("a number");
        smsc.port = u16::try_from(port).expect("a port");
        smsc
    }

    async fn next(&mut self) -> Value {
        timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("alive")
    }

    /// The next event, which has to be of this kind.
    async fn event(&mut self, kind: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["event"], kind, "{event}");
        event
    }

    /// Delivers a message to the centre: name of the answer's command status.
    async fn deliver(&mut self, message: Value) -> String {
        let order = format!("{message}\n");
        self.orders.write_all(order.as_bytes()).expect("alive");
        self.event("delivered").await["status"].as_str().expect("text").to_owned()
    }

    fn link(&self, name: &str, bind: Bind) -> LinkSettings {
        let mut settings = link(name, ([127, 0, 0, 1], self.port).into(), bind);
        settings.smsc = "twisted".to_owned();
        settings.password = Secret::new("secret");
        settings
    }
}

fn from_card(esm_class: u8, payload: &[u8], in_message_payload: bool) -> Value {
    json!({
        "esm_class": esm_class, "protocol_id": 0x08, "data_coding": 0xF6, "source": CARD, "payload": hex(payload),
        "in_message_payload": in_message_payload,
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Covers: PF-06, PF-08
#[tokio::test]
async fn binary_messages_and_receipts_pass_between_an_smsc_of_others_and_our_services() {
    let mut smsc = Twisted::start().await;
    let (data, stop) = (FakeInboundData::start().await, CancellationToken::new());
    let inbound = inbound_smpp::Config {
        inbound_data: data.endpoints(),
        links: vec![smsc.link("in", Bind::Receiver)],
        ..Default::default()
    };
    let inbound = inbound_smpp::start(inbound, stop.clone()).await.expect("started");
    let bound = smsc.event("bind").await;
    assert_eq!((&bound["kind"], &bound["status"]), (&json!("bind_receiver"), &json!("ESME_ROK")));

    let every: Vec<u8> = (0..=255).collect();
    for (payload, in_message_payload) in [(&every[..140], false), (&every[116..], false), (&every[..], true)] {
        assert_eq!(smsc.deliver(from_card(0, payload, in_message_payload)).await, "ESME_ROK");
        let message = data.messages().pop().expect("handed over");
        assert_eq!(message.payload, payload.to_vec());
        assert_eq!((message.protocol_id, message.data_coding), (0x08, 0xF6));
        assert_eq!(message.originator.expect("there").digits, CARD);
    }
    let with_header = [&[5, 0x00, 3, 0x2A, 2, 1][..], &[0x00, 0xFF, 0x7F]].concat();
    assert_eq!(smsc.deliver(from_card(0x40, &with_header, false)).await, "ESME_ROK");
    let message = data.messages().pop().expect("handed over");
    assert_eq!(message.user_data_header, with_header[1..6].to_vec());
    assert_eq!(message.payload, with_header[6..].to_vec());

    let outbound = outbound_smpp::Config { links: vec![smsc.link("out", Bind::Transmitter)], ..Default::default() };
    let outbound = outbound_smpp::start(outbound, stop.clone()).await.expect("started");
    assert_eq!(smsc.event("bind").await["kind"], "bind_transmitter");
    let endpoints = rpc::EndpointsConfig::new([outbound.address.to_string()]);
    let client_stop = CancellationToken::new();
    let balancer = rpc::Balancer::new(endpoints, client_stop.clone()).expect("an address");
    let client = BatchClient::new(&balancer, BatchClientConfig::default(), client_stop.clone());
    balancer.wait_healthy(1).await;

    for (payload, header) in [(&every[..130], vec![0x70, 0x00]), (&every[130..], vec![]), (&every[..], vec![])] {
        let submitted = launch(&client, payload, &header);
        let (accepted, submit) = tokio::join!(submitted, smsc.event("submit"));
        assert_eq!((accepted.0.as_str(), &json!(accepted.1)), ("twisted", &submit["message_id"]));
        let on_the_wire = if header.is_empty() { payload.to_vec() } else { [&[2, 0x70, 0x00][..], payload].concat() };
        assert_eq!(submit["payload"], hex(&on_the_wire));
        assert_eq!(submit["esm_class"], if header.is_empty() { 0 } else { 0x40 });
        assert_eq!((&submit["protocol_id"], &submit["data_coding"]), (&json!(0x7F), &json!(0xF6)));
        assert_eq!((&submit["source"], &submit["destination"]), (&json!("7788"), &json!(CARD)));
        assert_eq!(submit["receipt"], "SMSC_DELIVERY_RECEIPT_REQUESTED");

        // What the SMSC tells of it later finds it: same SMSC, same message id.
        let text = format!(
            "id:{} sub:001 dlvrd:001 submit date:2411211034 done date:2411211035 stat:DELIVRD err:000 text:",
            accepted.1
        );
        assert_eq!(smsc.deliver(from_card(0x04, text.as_bytes(), false)).await, "ESME_ROK");
        eventually("reported", || data.reports().iter().any(|report| report.bearer_message_id == accepted.1)).await;
        let report = data.reports().pop().expect("reported");
        assert_eq!((report.link, report.bearer_message_id), accepted);
        assert_eq!(State::try_from(report.state), Ok(State::Delivered));
    }
    client_stop.cancel();
    stop.cancel();
    let mut ended = Vec::new();
    while ended.len() < 4 {
        let event = smsc.next().await;
        ended.push(event["event"].as_str().expect("text").to_owned());
    }
    ended.sort();
    assert_eq!(ended, ["closed", "closed", "unbind", "unbind"]);
    for running in [inbound, outbound] {
        running.task.await.expect("no panic").expect("drained");
    }
}

/// SMSC and message id of an accepted launch.
async fn launch(client: &BatchClient<rpc::stream::Launch>, payload: &[u8], header: &[u8]) -> (String, String) {
    let message = Launch {
        msisdn: CARD.to_owned(),
        payload: payload.to_vec().into(),
        user_data_header: header.to_vec().into(),
        protocol_id: 0x7F,
        data_coding: 0xF6,
        registered_delivery: true,
        ..Launch::default()
    };
    let LaunchResult { outcome, .. } = client.call(rpc::key(CARD), message).await.expect("answered");
    let Some(Outcome::Accepted(accepted)) = outcome else { panic!("refused: {outcome:?}") };
    (accepted.link, accepted.bearer_message_id)
}

/// A wrong password is refused by the SMSC, logged, and tried again later; the service stays up, and binds at once where
/// the password is right.
#[tokio::test]
async fn a_wrong_password_is_refused_and_the_service_goes_on() {
    let mut smsc = Twisted::start().await;
    let (data, stop) = (FakeInboundData::start().await, CancellationToken::new());
    let mut wrong = smsc.link("wrong-password", Bind::Receiver);
    wrong.password = Secret::new("guess");
    let links = vec![wrong, smsc.link("right-password", Bind::Receiver)];
    let config = inbound_smpp::Config { inbound_data: data.endpoints(), links, ..Default::default() };
    let running = inbound_smpp::start(config, stop.clone()).await.expect("started");
    let (mut refused, mut bound) = (0, 0);
    while refused < 2 || bound < 1 {
        let event = smsc.next().await;
        refused += u32::from(event["status"] == "ESME_RINVPASWD");
        bound += u32::from(event["status"] == "ESME_ROK");
    }
    let log = runtime::events::log().newest(1000);
    let told = |event: &&runtime::events::Event| event.text.contains("wrong-password");
    assert!(log.iter().filter(told).any(|event| event.text.contains("ESME_RINVPASWD")), "{log:#?}");
    stop.cancel();
    running.task.await.expect("no panic").expect("drained");
}
