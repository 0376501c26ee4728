//! A running service with one edge connected, a clock that only tests move, a queue and a launcher that remember.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, ConfigurationItem, Content, Progress, QueueEntry, RetryLadder, State, build},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{
        AccountState, Bearer, Device, DeviceState, DeviceView, EF_ADN, Page, PageKey, Profile, Subscriber, restore,
    },
};
use inbound_data::Config;
use link::{
    backup,
    checksum::crc16,
    checksum_table::ChecksumTable,
    message::Record,
    monitor::{MonitorRow, MonitorTable},
};
use proto::{
    inbound::{
        Address, Bearer as WireBearer, InboundMessage, IngestBatch, IngestResult, IngestResults, Outcome,
        inbound_data_client::InboundDataClient,
    },
    outbound::{
        Launch, LaunchBatch, LaunchResults,
        outbound_channel_server::{OutboundChannel, OutboundChannelServer},
    },
};
use queue::{Depth, Entry, Queue};
use runtime::clock::Manual;
use store::InboundStore;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::memory_store::MemoryStore;

pub const START: i64 = 1_750_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Centre {
    pub store: Arc<MemoryStore>,
    pub clock: Manual,
    pub queue: Arc<Pushed>,
    pub errors: Arc<Mutex<Vec<Launch>>>,
    pub client: InboundDataClient<Channel>,
    pub edge: Edge,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// One stream of an edge.
pub struct Edge {
    batches: mpsc::Sender<IngestBatch>,
    results: Streaming<IngestResults>,
    early: HashMap<u64, IngestResult>,
    next: u64,
}

pub async fn start() -> Centre {
    start_with(Arc::default(), |_| {}).await
}

/// On a store that may hold data already: a restart is a second start.
pub async fn start_with(store: Arc<MemoryStore>, set: impl FnOnce(&mut Config)) -> Centre {
    let clock = Manual::at(START + i64::try_from(store.tables().journal.len()).unwrap() * 60_000_000);
    let stop = CancellationToken::new();
    let errors = Arc::new(Mutex::new(Vec::new()));
    let launcher = Launcher(errors.clone());
    let routes = tonic::service::Routes::new(OutboundChannelServer::new(launcher));
    let launcher = rpc::serve(rpc::ServerConfig::default(), routes, stop.clone()).await.unwrap();
    let mut config = Config { node: 1, sweep_interval: Duration::from_millis(20), ..Config::default() };
    config.server.drain_delay = Duration::ZERO;
    config.error_sms = rpc::EndpointsConfig::new([launcher.address.to_string()]);
    config.error_ip = config.error_sms.clone();
    set(&mut config);
    let queue = Arc::new(Pushed::default());
    let behind: Arc<dyn InboundStore> = store.clone();
    let running = inbound_data::start(config, behind, queue.clone(), clock.clock(), stop.clone()).await.unwrap();
    let client = InboundDataClient::connect(format!("http://{}", running.address)).await.unwrap();
    let edge = Edge::connect(client.clone()).await;
    Centre { store, clock, queue, errors, client, edge, stop, task: running.task }
}

impl Edge {
    pub async fn connect(mut client: InboundDataClient<Channel>) -> Self {
        let (batches, stream) = mpsc::channel(64);
        let results = client.ingest(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { batches, results, early: HashMap::new(), next: 0 }
    }

    /// Sends in batches of at most 64; gives the ids.
    pub async fn send(&mut self, messages: Vec<InboundMessage>) -> Vec<u64> {
        let mut ids = Vec::new();
        for chunk in messages.chunks(64) {
            let mut messages = chunk.to_vec();
            for message in &mut messages {
                self.next += 1;
                message.id = self.next;
                ids.push(message.id);
            }
            self.batches.send(IngestBatch { messages }).await.unwrap();
        }
        ids
    }

    /// Results in the order of the ids.
    pub async fn results(&mut self, ids: &[u64]) -> Vec<IngestResult> {
        let all = async {
            while ids.iter().any(|id| !self.early.contains_key(id)) {
                let batch = self.results.message().await.unwrap().expect("the stream is open");
                self.early.extend(batch.results.into_iter().map(|result| (result.id, result)));
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("results in time");
        ids.iter().map(|id| self.early.remove(id).unwrap()).collect()
    }

    pub async fn ingest(&mut self, messages: Vec<InboundMessage>) -> Vec<(Outcome, u32)> {
        let ids = self.send(messages).await;
        let results = self.results(&ids).await;
        results.into_iter().map(|result| (result.outcome(), result.reason)).collect()
    }

    /// Whether a result comes soon: for what must not be answered yet.
    pub async fn is_answered_soon(&mut self) -> bool {
        let answer = async {
            loop {
                let batch = self.results.message().await.unwrap().expect("the stream is open");
                if !batch.results.is_empty() {
                    return batch;
                }
            }
        };
        match tokio::time::timeout(Duration::from_millis(150), answer).await {
            Ok(batch) => {
                self.early.extend(batch.results.into_iter().map(|result| (result.id, result)));
                true
            }
            Err(_) => false,
        }
    }

    /// Waits for a batch without results.
    pub async fn sign_of_life(&mut self) {
        let batch = tokio::time::timeout(PATIENCE, self.results.message()).await.expect("in time");
        assert!(batch.unwrap().expect("the stream is open").results.is_empty());
    }
}

impl Centre {
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    pub async fn one(&mut self, message: InboundMessage) -> Outcome {
        self.clock.advance(Duration::from_secs(1));
        self.edge.ingest(vec![message]).await[0].0
    }

    pub fn subscriber(&self, number: u32) -> DeviceKey {
        self.subscriber_with(number, |_| {})
    }

    pub fn subscriber_with(&self, number: u32, set: impl FnOnce(&mut DeviceView)) -> DeviceKey {
        let mut view = view(number);
        set(&mut view);
        self.store.add(view);
        key(number)
    }

    pub fn record(&self, number: u32, record_number: u8) -> Option<Bytes> {
        let (key, slot) = PageKey::of(key(number), EF_ADN, record_number)?;
        self.store.tables().page(&key)?.slots[slot].clone()
    }

    pub fn book(&self, number: u32) -> restore::Book {
        let tables = self.store.tables();
        let keys = (0..7).map(|page| PageKey { device: key(number), file: EF_ADN, page });
        restore::book(&keys.filter_map(|key| Some((key, tables.page(&key)?))).collect::<Vec<(PageKey, Page)>>())
    }

    pub fn state(&self, number: u32) -> DeviceState {
        self.store.tables().state(key(number))
    }

    /// As application-server makes an action, and outbound-action launches its next message.
    pub fn order(&self, number: u32, content: Content) -> ActionId {
        let mut tables = self.store.tables();
        let id = 1 + tables.actions.keys().last().copied().unwrap_or_default();
        let action = action(number, id, content, self.now());
        tables.actions.insert(id, action);
        ActionId(id)
    }

    pub fn launch(&self, id: ActionId) -> Vec<u8> {
        let mut tables = self.store.tables();
        let tables = &mut *tables;
        let action = tables.actions.get_mut(&id.0).unwrap();
        let profile = tables.devices[&action.msisdn].device.profile;
        let message = build::next_message(&mut action.content, profile, 140).expect("something to send");
        let launched =
            domain::delivery::Launched { link: "north".to_owned(), bearer_message_id: format!("id-{}", id.0) };
        RetryLadder::default().launched(action, Some(launched), self.now());
        message
    }

    pub fn action(&self, id: ActionId) -> Action {
        self.store.tables().actions[&id.0].clone()
    }

    /// Waits for what follows a commit unawaited.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Drains and ends; gives the store for another start.
    pub async fn stop(self) -> Arc<MemoryStore> {
        self.stop.cancel();
        drop(self.edge);
        tokio::time::timeout(PATIENCE, self.task).await.expect("stops in time").unwrap().unwrap();
        self.store
    }
}

/// An ordered action, queued and due.
pub fn action(number: u32, id: i64, content: Content, at: Timestamp) -> Action {
    Action {
        device: key(number),
        id: ActionId(id),
        content,
        msisdn: msisdn(number),
        is_secured: false,
        channel: Bearer::Sms,
        state: State::Queued,
        attempts: 0,
        created: at,
        due: at,
        launched: None,
        receipt: None,
        cause: String::new(),
        traces: Vec::new(),
    }
}

/// A subscriber as personalisation makes it.
pub fn view(number: u32) -> DeviceView {
    let key = key(number);
    DeviceView {
        subscriber: Subscriber {
            id: key.subscriber,
            tenant: "default".to_owned(),
            msisdn: msisdn(number),
            name: String::new(),
            state: AccountState::Active,
        },
        device: Device {
            key,
            iccid: format!("89440000000000{number:05}"),
            profile: Profile::E2,
            bearer: Bearer::Sms,
            ip_key: None,
            opened: Timestamp(START),
            closed: None,
        },
        state: DeviceState { monitor: MonitorTable::new(vec![adn_row()]), ..DeviceState::default() },
    }
}

pub fn key(number: u32) -> DeviceKey {
    DeviceKey { subscriber: SubscriberId(number.into()), device: DeviceId(i64::from(number) + 1_000_000) }
}

pub fn msisdn(number: u32) -> Msisdn {
    Msisdn::parse(&digits(number)).unwrap()
}

pub fn digits(number: u32) -> String {
    format!("4477009{number:05}")
}

pub fn adn_row() -> MonitorRow {
    MonitorRow { df: 0x7F10, ef: 0x6F3A, record_offset: 0, record_count: 100, data_offset: 0, data_octets: 28 }
}

pub fn adn(name: &str) -> Bytes {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(14, 0xFF);
    octets.extend([5, 0x81, 0x20, 0x80, 0x91, 0x99]);
    octets.resize(28, 0xFF);
    octets.into()
}

pub fn sms(number: u32, payload: impl Into<Bytes>) -> InboundMessage {
    InboundMessage {
        bearer: WireBearer::Sms.into(),
        link: "north".to_owned(),
        country_code: "44".to_owned(),
        originator: Some(Address { ton: 1, npi: 1, digits: digits(number) }),
        payload: payload.into(),
        trace_id: vec![number.to_be_bytes()[3]; 16].into(),
        ..InboundMessage::default()
    }
}

pub fn item(cid: u8, data: &[u8]) -> ConfigurationItem {
    ConfigurationItem { cid, data: Bytes::copy_from_slice(data), progress: Progress::Open }
}

/// A card by the book.
#[derive(Clone, Default)]
pub struct Card {
    pub table: ChecksumTable,
}

impl Card {
    pub fn backup(&mut self, record_number: u8, octets: &Bytes) -> Vec<u8> {
        self.backup_all(&[(record_number, octets.clone())], 140)
    }

    pub fn backup_all(&mut self, records: &[(u8, Bytes)], limit: usize) -> Vec<u8> {
        let mut builder = backup::Builder::new(limit);
        for (record_number, data) in records {
            if data.iter().all(|octet| *octet == 0xFF) {
                self.table.remove(0, *record_number);
            } else {
                self.table.set(0, *record_number, crc16(data));
            }
            builder.push(&Record { monitor_index: 0, record_number: *record_number, data: data.clone() }).unwrap();
        }
        builder.finish(self.table.database_checksum())
    }
}

/// A queue that only remembers.
#[derive(Default)]
pub struct Pushed {
    entries: Mutex<Vec<QueueEntry>>,
}

impl Pushed {
    pub fn entries(&self) -> Vec<QueueEntry> {
        self.entries.lock().unwrap().clone()
    }
}

#[async_trait]
impl Queue for Pushed {
    async fn push(&self, channel: Bearer, bodies: &[Bytes]) -> queue::Result<()> {
        let entries = bodies.iter().map(|body| QueueEntry::from_octets(body.clone()).unwrap());
        let entries: Vec<_> = entries.inspect(|entry| assert_eq!(entry.channel, channel)).collect();
        self.entries.lock().unwrap().extend(entries);
        Ok(())
    }

    async fn pop(&self, _: Bearer, _: &str, _: usize, _: Duration) -> queue::Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    async fn reclaim(&self, _: Bearer, _: &str, _: Duration, _: usize) -> queue::Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    async fn acknowledge(&self, _: Bearer, _: &[String]) -> queue::Result<()> {
        Ok(())
    }

    async fn bury(&self, _: Bearer, _: &Entry, _: &str) -> queue::Result<()> {
        Ok(())
    }

    async fn remove(&self, _: Bearer, _: &queue::IsMeant<'_>) -> queue::Result<u64> {
        Ok(0)
    }

    async fn depth(&self, _: Bearer) -> queue::Result<Depth> {
        Ok(Depth::default())
    }

    async fn ping(&self) -> queue::Result<()> {
        Ok(())
    }
}

/// A launcher that only remembers.
struct Launcher(Arc<Mutex<Vec<Launch>>>);

#[tonic::async_trait]
impl OutboundChannel for Launcher {
    type LaunchStream = std::pin::Pin<Box<dyn Stream<Item = Result<LaunchResults, Status>> + Send>>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let launched = self.0.clone();
        let results = request.into_inner().map(move |batch| {
            launched.lock().unwrap().extend(batch?.launches);
            Ok(LaunchResults::default())
        });
        Ok(Response::new(Box::pin(results)))
    }
}
