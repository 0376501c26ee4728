//! A bearer that the centre knows nothing of joins it: an edge of its own, which speaks the two contracts of every edge, and
//! two lines of configuration. Nothing of what decides, stores or answers knows that it is there (`docs/recipes/add-a-bearer.md`).
//!
//! The bearer carries dialogues, as USSD does: a phone says something and waits until the network has taken it; what is for a
//! phone is handed to it at once or not at all. [`Dialogues`] is the network with its edge, [`Handset`] a phone on it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use mobile::{Bearer, Input, Output, Profile, Station};
use proto::{
    centre::{self, restore_request::Selection},
    inbound::{
        Address, Bearer as WireBearer, InboundMessage, Outcome, ReportDeliveryRequest,
        inbound_data_client::InboundDataClient, report_delivery_request::State as Reported,
    },
    outbound::{
        Accepted, Launch, LaunchBatch, LaunchResult, Temporary, launch_result,
        outbound_channel_server::{OutboundChannel, OutboundChannelServer},
    },
};
use rpc::{
    Balancer, EndpointsConfig,
    stream::{BatchClient, BatchClientConfig, Ingest, Job, Results, serve_batches},
};
use sms::{DataCoding, Deliver, ProtocolId, Submit, TimeStamp, UserData};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::rig::{CENTRE, Records, Rig, card_of, delete, held, held_by, msisdn, new_account, until, write};

/// The stations' clock is faster than ours.
const SPEED: u32 = 60;

/// A phone whose messages go by dialogues.
struct Handset {
    msisdn: String,
    station: Mutex<Station>,
    changed: Notify,
    made: Instant,
}

impl Handset {
    fn with<T>(&self, action: impl FnOnce(&mut Station) -> T) -> T {
        let result = action(&mut self.station.lock().expect("the station"));
        self.changed.notify_one();
        result
    }

    fn now(&self) -> Duration {
        self.made.elapsed() * SPEED
    }

    /// Gives the station its time, and its messages to the network.
    async fn drive(self: Arc<Self>, network: Arc<Dialogues>) {
        loop {
            let (outputs, timeout): (Vec<Output>, _) = {
                let mut station = self.station.lock().expect("the station");
                let now = self.now();
                if station.next_timeout().is_some_and(|at| at <= now) {
                    station.handle_input(Input::Tick, now);
                }
                (std::iter::from_fn(|| station.poll_output()).collect(), station.next_timeout())
            };
            for output in outputs {
                if let Output::SmsSubmit { reference, tpdu } = output {
                    let submit = Submit::decode(&tpdu).expect("what the card's applet hands to its phone");
                    let ok = network.say(&self.msisdn, submit.user_data.body()).await;
                    self.with(|station| station.handle_input(Input::SmsSubmitResult { reference, ok }, self.now()));
                }
            }
            let wake = timeout.map_or(Duration::from_secs(1), |at| at.saturating_sub(self.now()) / SPEED);
            tokio::select! {
                () = tokio::time::sleep(wake) => {}
                () = self.changed.notified() => {}
                () = network.stop.cancelled() => return,
            }
        }
    }
}

/// The network of the bearer with its edge.
struct Dialogues {
    handsets: Mutex<HashMap<String, Arc<Handset>>>,
    ingest: BatchClient<Ingest>,
    /// Launchers of short messages: they have the numbers that are not on this network.
    next: BatchClient<rpc::stream::Launch>,
    inbound_data: String,
    said: AtomicU64,
    handed: AtomicU64,
    stop: CancellationToken,
}

impl Dialogues {
    /// Serves as a launcher; gives its address.
    async fn start(inbound_data: u16, next: u16, stop: CancellationToken) -> (Arc<Self>, EndpointsConfig) {
        let at = |port: u16| {
            let endpoints = EndpointsConfig::new([format!("127.0.0.1:{port}")]);
            Balancer::new(endpoints, stop.clone()).expect("an endpoint")
        };
        let network = Arc::new(Self {
            handsets: Mutex::default(),
            ingest: BatchClient::new(&at(inbound_data), BatchClientConfig::default(), stop.clone()),
            next: BatchClient::new(&at(next), BatchClientConfig::default(), stop.clone()),
            inbound_data: format!("http://127.0.0.1:{inbound_data}"),
            said: AtomicU64::new(0),
            handed: AtomicU64::new(0),
            stop: stop.clone(),
        });
        let routes = tonic::service::Routes::new(OutboundChannelServer::new(Launcher(network.clone())));
        let running = rpc::serve(rpc::ServerConfig::default(), routes, stop).await.expect("a free port");
        (network, EndpointsConfig::new([running.address.to_string()]))
    }

    /// Puts a card into a phone on this network.
    fn switch_on(self: &Arc<Self>, number: u32, station: Station) -> Arc<Handset> {
        let (station, changed) = (Mutex::new(station), Notify::new());
        let handset = Arc::new(Handset { msisdn: msisdn(number), station, changed, made: Instant::now() });
        self.handsets.lock().expect("handsets").insert(msisdn(number), handset.clone());
        tokio::spawn(handset.clone().drive(self.clone()));
        handset
    }

    /// A phone's message to the centre, taken once the centre has answered for it.
    async fn say(&self, number: &str, payload: &[u8]) -> bool {
        self.said.fetch_add(1, SeqCst);
        let message = InboundMessage {
            bearer: WireBearer::Sms.into(),
            link: "dialogues".to_owned(),
            originator: Some(Address { ton: 1, npi: 1, digits: number.to_owned() }),
            destination: Some(Address { ton: 1, npi: 1, digits: CENTRE.to_owned() }),
            payload: payload.to_vec().into(),
            arrived_micros: runtime::clock::now(),
            trace_id: runtime::TraceId::random().to_vec().into(),
            ..InboundMessage::default()
        };
        let result = self.ingest.call(rpc::key(number), message).await;
        result.is_ok_and(|result| result.outcome() != Outcome::Retry)
    }

    /// The centre's message to a phone, or to a number that is not on this network.
    async fn launch(self: Arc<Self>, job: Job<rpc::stream::Launch>) {
        let Job { message: launch, answer } = job;
        let handset = self.handsets.lock().expect("handsets").get(&launch.msisdn).cloned();
        let Some(handset) = handset else {
            let result = self.next.call(rpc::key(&launch.msisdn), launch).await;
            let cause = "no answer".to_owned();
            let none = || launch_result::Outcome::Temporary(Temporary { cause, ..Temporary::default() });
            let outcome = result.ok().and_then(|result| result.outcome).unwrap_or_else(none);
            return answer.send(LaunchResult { id: 0, outcome: Some(outcome) });
        };
        let bearer_message_id = format!("dialogue-{}", self.handed.fetch_add(1, SeqCst));
        handset.with(|station| station.handle_input(Input::SmsDeliver(deliver(&launch)), handset.now()));
        let accepted = Accepted { link: "dialogues".to_owned(), bearer_message_id: bearer_message_id.clone() };
        answer.send(LaunchResult { id: 0, outcome: Some(launch_result::Outcome::Accepted(accepted)) });
        if launch.registered_delivery {
            self.report(bearer_message_id).await;
        }
    }

    /// The phone has it: told until the centre knows of the launch (D-122).
    async fn report(&self, bearer_message_id: String) {
        let report = ReportDeliveryRequest {
            link: "dialogues".to_owned(),
            bearer_message_id,
            state: Reported::Delivered.into(),
            at_micros: runtime::clock::now(),
            ..ReportDeliveryRequest::default()
        };
        let mut client = InboundDataClient::connect(self.inbound_data.clone()).await.expect("inbound-data");
        // The commit of the launch may be under way; an edge holds a receipt for 30 s.
        for _ in 0..600 {
            if client.report_delivery(report.clone()).await.is_ok_and(|response| response.get_ref().matched) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no action has the receipt");
    }
}

/// As its phone hands it to the card.
fn deliver(launch: &Launch) -> Vec<u8> {
    let data_coding = DataCoding(u8::try_from(launch.data_coding).expect("an octet"));
    let deliver = Deliver {
        more_messages: false,
        loop_prevention: false,
        reply_path: false,
        status_report_indication: false,
        originator: sms::Address::international(CENTRE).expect("a number"),
        protocol_id: ProtocolId(u8::try_from(launch.protocol_id).expect("an octet")),
        data_coding,
        time_stamp: TimeStamp([0x62, 0x11, 0x12, 0, 0, 0, 0]),
        user_data: UserData::from_octets(&launch.payload).expect("the centre keeps to 140 octets"),
    };
    deliver.encode()
}

struct Launcher(Arc<Dialogues>);

#[tonic::async_trait]
impl OutboundChannel for Launcher {
    type LaunchStream = Results<rpc::stream::Launch>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let network = self.0.clone();
        let handle = move |job| {
            let network = network.clone();
            async move { drop(tokio::spawn(network.launch(job))) }
        };
        Ok(Response::new(serve_batches(request.into_inner(), 1000, handle)))
    }
}

/// Waits until card and book are equal; what is in them.
async fn settled(rig: &Rig, handset: &Handset) -> Records {
    until("the card and its book are equal", async || {
        !handset.with(|station| station.pending()) && rig.book(&handset.msisdn).await == handset.with(held_by)
    })
    .await;
    handset.with(held_by)
}

async fn restored(rig: &Rig, number: &str, as_of_micros: i64) {
    let selection = Some(Selection::All(true));
    let request = centre::RestoreRequest { msisdn: number.to_owned(), from_device_id: 0, as_of_micros, selection };
    let ordered = rig.commands.clone().restore(request).await.expect("restore").into_inner();
    until("the restore is done", async || {
        let actions = rig.actions(number, false).await;
        actions.iter().any(|action| action.action_id == ordered.action_id && action.state == "done")
    })
    .await;
}

/// Cards on the new bearer, beside cards on SMS and on IP, are backed up, restored and refused like any.
///
/// Covers: G-10, SC-AR-02
#[tokio::test]
async fn a_bearer_of_another_kind_joins_by_configuration_alone() {
    let (inbound_data, short_messages) = (testkit::free_port(), testkit::free_port());
    let stop = CancellationToken::new();
    let (network, launcher) = Dialogues::start(inbound_data, short_messages, stop.clone()).await;
    let rig = Rig::with(1, |config| {
        config.inbound_data.server.listen = ([127, 0, 0, 1], inbound_data).into();
        config.outbound_smpp.server.listen = ([127, 0, 0, 1], short_messages).into();
        config.outbound_action.sms = launcher.clone();
        config.inbound_data.error_sms = launcher;
    })
    .await;
    // Those whose orders are settled by their own answer, and by a receipt.
    let third = Profile::Third(mobile::applet::third::Settings::default());
    for (number, profile, name) in [(900, Profile::Second, "E2"), (901, third, "E3")] {
        let mut account =
            centre::NewAccount { personalised: true, profile: name.to_owned(), ..new_account(number, Bearer::Sms) };
        account.monitor.truncate(if name == "E2" { 2 } else { 1 });
        rig.subscribe(account).await;
        let handset = network.switch_on(number, card_of(profile, Bearer::Sms));
        let contact = |name: String| mobile::Contact { name, number: "+4930123456".to_owned() };
        for record in 1..=12 {
            handset.with(|it| it.write_contact(record, &contact(format!("Person {record}")))).expect("written");
        }
        let before = settled(&rig, &handset).await;
        assert_eq!(before.len(), 12);
        let moment = runtime::clock::now();
        assert!(handset.with(|station| station.delete_contact(3)));
        handset.with(|station| station.write_contact(4, &contact("Another".to_owned()))).expect("written");
        assert_eq!(settled(&rig, &handset).await.len(), 11);
        restored(&rig, &msisdn(number), moment).await;
        until("the card has it all back", async || handset.with(held_by) == before).await;
        assert_eq!(rig.book(&msisdn(number)).await, before);
        assert!(rig.delivered(&msisdn(number)).is_empty(), "nothing went by SMS");
    }
    assert!(network.said.load(SeqCst) > 6 && network.handed.load(SeqCst) > 6);
    // Nobody's card is told so, by the bearer that its message came on.
    let stranger = network.switch_on(909, card_of(Profile::Second, Bearer::Sms));
    let nobody = mobile::Contact { name: "Nobody".to_owned(), number: "+4930123456".to_owned() };
    stranger.with(|station| station.write_contact(1, &nobody)).expect("written");
    until("an error message", async || stranger.with(|station| station.statistics()).errors_received == 1).await;
    // The two bearers of before go on beside it.
    for (number, bearer) in [(902, Bearer::Sms), (903, Bearer::Ip)] {
        let phone = rig.phone(number, bearer).await;
        write(&phone, 1, "Alice");
        write(&phone, 2, "Bob");
        rig.settled(&phone).await;
        delete(&phone, 1);
        rig.settled(&phone).await;
        assert_eq!(held(&phone).len(), 1);
        assert_eq!(rig.delivered(&msisdn(number)).is_empty(), bearer == Bearer::Ip);
    }
    rig.stop().await;
    stop.cancel();
}
