//! Doubles for the tests of the SMPP services: an SMSC, an inbound data processor, an application server.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use net::smpp::{AnswerToken, PeerHandle, Server, ServerConfig, ServerEvent, SubmitError};
use proto::{
    centre::{
        self,
        edge_registry_server::{EdgeRegistry, EdgeRegistryServer},
    },
    inbound::{
        InboundMessage, IngestBatch, IngestResult, OpenIpLinkRequest, OpenIpLinkResponse, Outcome,
        ReportDeliveryRequest, ReportDeliveryResponse,
        inbound_data_server::{InboundData, InboundDataServer},
    },
};
use rpc::stream::{Ingest, Job, Results, serve_batches};
use smpp::{Address, BindKind, CommandStatus, ShortMessage, SubmitSm, Text};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::link::{Bind, LinkSettings};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `holds`, at most half a minute.
///
/// # Panics
/// When it does not come true.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within half a minute: {what}");
}

/// Settings of a link to a double, with short pauses.
#[must_use]
pub fn link(name: &str, address: SocketAddr, bind: Bind) -> LinkSettings {
    LinkSettings {
        name: name.to_owned(),
        addresses: vec![address.to_string()],
        bind,
        system_id: "centre".to_owned(),
        country_code: "49".to_owned(),
        source_address: "7788".to_owned(),
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(100),
        backoff_refused: Duration::from_millis(20),
        ..LinkSettings::default()
    }
}

/// How an [`Smsc`] treats a `submit_sm`; `None`: it stays silent.
pub type Answering = Box<dyn Fn(usize, &SubmitSm) -> Option<CommandStatus> + Send + Sync>;

/// An SMSC that notes what it is sent.
pub struct Smsc {
    pub address: SocketAddr,
    state: Arc<SmscState>,
    stop: CancellationToken,
    ended: watch::Receiver<bool>,
}

struct SmscState {
    submitted: Mutex<Vec<SubmitSm>>,
    peers: Mutex<Vec<PeerHandle>>,
    closed: Mutex<Vec<smpp::CloseReason>>,
    unanswered: Mutex<Vec<(PeerHandle, AnswerToken, usize)>>,
    unanswered_most: Mutex<usize>,
    answering: Mutex<Answering>,
}

impl Smsc {
    /// Accepts every bind and every message.
    pub async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// On this address.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn start_at(address: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let config = ServerConfig::new(address, Text::new("smsc").expect("fits"));
        let accept = Arc::new(|_: &net::smpp::BindRequest<'_>| CommandStatus::ESME_ROK);
        let (server, mut events) = Server::start(config, accept, stop.clone()).await.expect("a free port");
        let state = Arc::new(SmscState {
            submitted: Mutex::default(),
            peers: Mutex::default(),
            closed: Mutex::default(),
            unanswered: Mutex::default(),
            unanswered_most: Mutex::default(),
            answering: Mutex::new(Box::new(|_, _| Some(CommandStatus::ESME_ROK))),
        });
        let (end, ended) = watch::channel(false);
        let address = server.address();
        let noting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                noting.note(event);
            }
            server.closed().await;
            end.send_replace(true);
        });
        Self { address, state, stop, ended }
    }

    /// From now on it answers so; the first argument counts the messages from 0.
    pub fn answer_with(&self, answering: impl Fn(usize, &SubmitSm) -> Option<CommandStatus> + Send + Sync + 'static) {
        *lock(&self.state.answering) = Box::new(answering);
    }

    /// Answers what it was silent about.
    pub fn answer_all(&self, status: CommandStatus) {
        for (peer, token, number) in lock(&self.state.unanswered).drain(..) {
            peer.respond_submit(token, status, message_id(number));
        }
    }

    #[must_use]
    pub fn submitted(&self) -> Vec<SubmitSm> {
        lock(&self.state.submitted).clone()
    }

    #[must_use]
    pub fn submitted_count(&self) -> usize {
        lock(&self.state.submitted).len()
    }

    /// Messages that it was silent about at once, at most.
    #[must_use]
    pub fn unanswered_most(&self) -> usize {
        *lock(&self.state.unanswered_most)
    }

    #[must_use]
    pub fn peers(&self) -> Vec<PeerHandle> {
        lock(&self.state.peers).clone()
    }

    /// Why connections ended.
    #[must_use]
    pub fn closed(&self) -> Vec<smpp::CloseReason> {
        lock(&self.state.closed).clone()
    }

    /// Waits for this many bound peers.
    pub async fn wait_bound(&self, count: usize) {
        eventually("bound", || self.peers().len() >= count).await;
    }

    /// A peer that can be delivered to.
    pub async fn receiver(&self) -> PeerHandle {
        let find = || self.peers().into_iter().find(|peer| peer.kind() != BindKind::Transmitter && peer.can_deliver());
        eventually("a receiver is bound", || find().is_some()).await;
        find().expect("just seen")
    }

    /// Delivers on any receiver bind: the status of the answer.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn deliver(&self, message: ShortMessage) -> CommandStatus {
        match self.receiver().await.deliver(message).await {
            Ok(_) => CommandStatus::ESME_ROK,
            Err(SubmitError::Refused(status)) => status,
            Err(other) => panic!("no answer: {other}"),
        }
    }

    /// Unbinds everything and frees the port.
    pub async fn stop(mut self) {
        self.stop.cancel();
        drop(self.ended.wait_for(|ended| *ended).await);
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SmscState {
    fn note(&self, event: ServerEvent) {
        match event {
            ServerEvent::Bound(peer) => lock(&self.peers).push(peer),
            ServerEvent::Unbound { id, reason } => {
                lock(&self.peers).retain(|peer| peer.id() != id);
                lock(&self.closed).push(reason);
            }
            ServerEvent::Submit { peer, token, message } => {
                let number = lock(&self.submitted).len();
                let answer = lock(&self.answering)(number, &message);
                lock(&self.submitted).push(message);
                match answer {
                    Some(status) => peer.respond_submit(token, status, message_id(number)),
                    None => {
                        let mut unanswered = lock(&self.unanswered);
                        unanswered.push((peer, token, number));
                        let mut most = lock(&self.unanswered_most);
                        *most = (*most).max(unanswered.len());
                    }
                }
            }
        }
    }
}

fn message_id(number: usize) -> Text<64> {
    Text::new(format!("m{number}")).expect("short")
}

/// A message of a card.
///
/// # Panics
/// When the number is longer than 20 digits.
#[must_use]
pub fn from_card(digits: &str, payload: &[u8]) -> ShortMessage {
    let mut message = ShortMessage {
        source_addr: Address::international(digits).expect("a number"),
        destination_addr: Address::new(0, 1, "7788").expect("a number"),
        protocol_id: 0x08,
        data_coding: 0xF6,
        ..ShortMessage::default()
    };
    message.set_payload(payload.to_vec().into());
    message
}

/// What a [`FakeInboundData`] answers.
pub type Judge = Box<dyn Fn(&InboundMessage) -> Outcome + Send + Sync>;

/// An inbound data processor that notes what it is sent.
pub struct FakeInboundData {
    pub address: SocketAddr,
    state: Arc<InboundState>,
    stop: CancellationToken,
    running: rpc::Running,
}

struct InboundState {
    messages: Mutex<Vec<InboundMessage>>,
    reports: Mutex<Vec<ReportDeliveryRequest>>,
    judge: Mutex<Judge>,
    matches: Mutex<bool>,
    /// While false, nothing is answered.
    gate: watch::Sender<bool>,
    held: Mutex<usize>,
    held_most: Mutex<usize>,
    noted: Notify,
}

impl FakeInboundData {
    /// Stores everything, matches every receipt.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let state = Arc::new(InboundState {
            messages: Mutex::default(),
            reports: Mutex::default(),
            judge: Mutex::new(Box::new(|_| Outcome::Stored)),
            matches: Mutex::new(true),
            gate: watch::channel(true).0,
            held: Mutex::default(),
            held_most: Mutex::default(),
            noted: Notify::new(),
        });
        Self::serve(state, ([127, 0, 0, 1], 0).into()).await
    }

    async fn serve(state: Arc<InboundState>, listen: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let service = InboundDataServer::new(FakeService(Arc::clone(&state)));
        let config = rpc::ServerConfig {
            listen,
            drain_delay: Duration::ZERO,
            drain_grace: Duration::from_millis(200),
            ..rpc::ServerConfig::default()
        };
        let running =
            rpc::serve(config, tonic::service::Routes::new(service), stop.clone()).await.expect("a free port");
        Self { address: running.address, state, stop, running }
    }

    /// Where a service finds it.
    #[must_use]
    pub fn endpoints(&self) -> rpc::EndpointsConfig {
        rpc::EndpointsConfig::new([self.address.to_string()])
    }

    pub fn judge_with(&self, judge: impl Fn(&InboundMessage) -> Outcome + Send + Sync + 'static) {
        *lock(&self.state.judge) = Box::new(judge);
    }

    /// Whether receipts find their action.
    pub fn match_receipts(&self, matches: bool) {
        *lock(&self.state.matches) = matches;
    }

    /// While shut, nothing is answered.
    pub fn open_gate(&self, open: bool) {
        self.state.gate.send_replace(open);
    }

    #[must_use]
    pub fn messages(&self) -> Vec<InboundMessage> {
        lock(&self.state.messages).clone()
    }

    #[must_use]
    pub fn reports(&self) -> Vec<ReportDeliveryRequest> {
        lock(&self.state.reports).clone()
    }

    /// Messages that waited at the gate at once, at most.
    #[must_use]
    pub fn held_most(&self) -> usize {
        *lock(&self.state.held_most)
    }

    /// Waits for the next message or report.
    pub async fn noted(&self) {
        self.state.noted.notified().await;
    }

    /// Ends it; [`Self::restart`] brings it back with what it had.
    pub async fn kill(self) -> Killed {
        self.stop.cancel();
        drop(self.running.task.await);
        Killed { state: self.state, address: self.address }
    }
}

/// A processor that is down.
pub struct Killed {
    state: Arc<InboundState>,
    address: SocketAddr,
}

impl Killed {
    /// At the same address.
    pub async fn restart(self) -> FakeInboundData {
        FakeInboundData::serve(self.state, self.address).await
    }
}

struct FakeService(Arc<InboundState>);

#[tonic::async_trait]
impl InboundData for FakeService {
    type IngestStream = Results<Ingest>;

    async fn ingest(&self, request: Request<Streaming<IngestBatch>>) -> Result<Response<Results<Ingest>>, Status> {
        let state = Arc::clone(&self.0);
        let results = serve_batches(request.into_inner(), 100_000, move |job: Job<Ingest>| {
            let state = Arc::clone(&state);
            async move { state.take(job) }
        });
        Ok(Response::new(results))
    }

    async fn report_delivery(
        &self,
        request: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        lock(&self.0.reports).push(request.into_inner());
        self.0.noted.notify_one();
        Ok(Response::new(ReportDeliveryResponse { matched: *lock(&self.0.matches) }))
    }

    async fn open_ip_link(&self, _: Request<OpenIpLinkRequest>) -> Result<Response<OpenIpLinkResponse>, Status> {
        Err(Status::unimplemented("SMS only"))
    }
}

impl InboundState {
    fn take(self: Arc<Self>, job: Job<Ingest>) {
        let outcome = lock(&self.judge)(&job.message);
        lock(&self.messages).push(job.message);
        self.noted.notify_one();
        let answer = job.answer;
        let result = IngestResult { outcome: outcome.into(), ..IngestResult::default() };
        if *self.gate.borrow() {
            return answer.send(result);
        }
        let held = {
            let mut held = lock(&self.held);
            *held += 1;
            *held
        };
        let mut most = lock(&self.held_most);
        *most = (*most).max(held);
        drop(most);
        let state = Arc::clone(&self);
        tokio::spawn(async move {
            drop(state.gate.subscribe().wait_for(|open| *open).await);
            *lock(&state.held) -= 1;
            answer.send(result);
        });
    }
}

/// An application server that keeps settings and leases.
pub struct FakeRegistry {
    pub address: SocketAddr,
    state: Arc<RegistryState>,
}

#[derive(Default)]
struct RegistryState {
    settings: Mutex<HashMap<(String, String), String>>,
    leases: Mutex<HashMap<String, String>>,
    /// Renewals of this owner fail.
    refused: Mutex<Option<String>>,
    /// So many calls for leases get no answer.
    unanswered: Mutex<u32>,
}

impl FakeRegistry {
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let state = Arc::new(RegistryState::default());
        let service = EdgeRegistryServer::new(FakeEdgeRegistry(Arc::clone(&state)));
        let routes = tonic::service::Routes::new(service);
        let running =
            rpc::serve(rpc::ServerConfig::default(), routes, CancellationToken::new()).await.expect("a free port");
        Self { address: running.address, state }
    }

    /// Where a service finds it.
    #[must_use]
    pub fn endpoints(&self) -> rpc::EndpointsConfig {
        rpc::EndpointsConfig::new([self.address.to_string()])
    }

    /// Who holds a lease.
    #[must_use]
    pub fn holder(&self, name: &str) -> Option<String> {
        lock(&self.state.leases).get(name).cloned()
    }

    /// Takes the leases of this owner away.
    pub fn refuse(&self, owner: &str) {
        *lock(&self.state.refused) = Some(owner.to_owned());
        lock(&self.state.leases).retain(|_, holder| holder != owner);
    }
}

impl FakeRegistry {
    /// The next `calls` for a lease get no answer.
    pub fn fail(&self, calls: u32) {
        *lock(&self.state.unanswered) = calls;
    }

    /// How many of them are left.
    #[must_use]
    pub fn failures_left(&self) -> u32 {
        *lock(&self.state.unanswered)
    }
}

struct FakeEdgeRegistry(Arc<RegistryState>);

#[tonic::async_trait]
impl EdgeRegistry for FakeEdgeRegistry {
    async fn acquire_lease(
        &self,
        request: Request<centre::AcquireLeaseRequest>,
    ) -> Result<Response<centre::AcquireLeaseResponse>, Status> {
        let centre::AcquireLeaseRequest { name, owner, .. } = request.into_inner();
        let is_unanswered = {
            let mut left = lock(&self.0.unanswered);
            let is_one_left = *left > 0;
            *left = left.saturating_sub(1);
            is_one_left
        };
        if is_unanswered {
            return Err(Status::unavailable("not now"));
        }
        let is_refused = lock(&self.0.refused).as_ref() == Some(&owner);
        let mut leases = lock(&self.0.leases);
        if !is_refused {
            leases.entry(name.clone()).or_insert_with(|| owner.clone());
        }
        let holder = leases.get(&name).cloned().unwrap_or_default();
        Ok(Response::new(centre::AcquireLeaseResponse { held: holder == owner, epoch: 1, owner: holder }))
    }

    async fn release_lease(
        &self,
        request: Request<centre::ReleaseLeaseRequest>,
    ) -> Result<Response<centre::ReleaseLeaseResponse>, Status> {
        let centre::ReleaseLeaseRequest { name, owner } = request.into_inner();
        lock(&self.0.leases).retain(|held, holder| *held != name || *holder != owner);
        Ok(Response::new(centre::ReleaseLeaseResponse {}))
    }

    async fn register_sessions(
        &self,
        _: Request<centre::RegisterSessionsRequest>,
    ) -> Result<Response<centre::RegisterSessionsResponse>, Status> {
        Err(Status::unimplemented("SMS only"))
    }

    async fn locate_sessions(
        &self,
        _: Request<centre::LocateSessionsRequest>,
    ) -> Result<Response<centre::LocateSessionsResponse>, Status> {
        Err(Status::unimplemented("SMS only"))
    }

    async fn get_settings(
        &self,
        request: Request<centre::GetSettingsRequest>,
    ) -> Result<Response<centre::GetSettingsResponse>, Status> {
        let scope = request.into_inner().scope;
        let settings = lock(&self.0.settings);
        let settings = settings.iter().filter(|((kept, _), _)| *kept == scope);
        let settings = settings.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        Ok(Response::new(centre::GetSettingsResponse { settings }))
    }

    async fn put_setting(
        &self,
        request: Request<centre::PutSettingRequest>,
    ) -> Result<Response<centre::PutSettingResponse>, Status> {
        let centre::PutSettingRequest { scope, key, value } = request.into_inner();
        lock(&self.0.settings).insert((scope, key), value);
        Ok(Response::new(centre::PutSettingResponse {}))
    }
}
