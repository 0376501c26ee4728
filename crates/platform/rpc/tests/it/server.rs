//! A server of `InboundData` that counts what it gets, in a runtime of its own so that it can be killed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::inbound::{
    InboundMessage, IngestBatch, IngestResult, OpenIpLinkRequest, OpenIpLinkResponse, Outcome, ReportDeliveryRequest,
    ReportDeliveryResponse,
    inbound_data_server::{InboundData, InboundDataServer},
};
use rpc::{
    Balancer, EndpointsConfig, Running, ServerConfig,
    stream::{BatchClient, BatchClientConfig, Ingest, Job, Results, serve_batches},
};
use tokio::{runtime::Runtime, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

#[derive(Clone, Default)]
pub struct Counting {
    /// How often each message arrived, by the number in its `reference`.
    pub seen: Arc<Mutex<HashMap<u64, u32>>>,
    pub is_silent: Arc<AtomicBool>,
    /// The message with this number is never answered.
    pub held: Arc<AtomicU64>,
    /// What is not answered; dropped it would be sent again.
    kept: Arc<Mutex<Vec<Job<Ingest>>>>,
}

impl Counting {
    pub fn count(&self) -> usize {
        self.seen.lock().expect("lock").len()
    }
}

#[tonic::async_trait]
impl InboundData for Counting {
    type IngestStream = Results<Ingest>;

    async fn ingest(&self, request: Request<Streaming<IngestBatch>>) -> Result<Response<Self::IngestStream>, Status> {
        let counting = self.clone();
        Ok(Response::new(serve_batches::<Ingest, _, _>(request.into_inner(), 1000, move |job| {
            *counting.seen.lock().expect("lock").entry(job.message.reference.unwrap_or_default()).or_default() += 1;
            let is_held = counting.held.load(Ordering::SeqCst) == job.message.reference.unwrap_or_default();
            if counting.is_silent.load(Ordering::SeqCst) || (is_held && job.message.reference != Some(0)) {
                // Kept, not dropped: the server hangs.
                counting.kept.lock().expect("lock").push(job);
            } else {
                let reason = u32::try_from(job.message.reference.unwrap_or_default() & 0xFFFF).expect("16 bits");
                job.answer.send(IngestResult { outcome: Outcome::Stored.into(), reason, ..IngestResult::default() });
            }
            async {}
        })))
    }

    async fn report_delivery(
        &self,
        _: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        self.seen.lock().expect("lock").entry(0).and_modify(|count| *count += 1).or_insert(1);
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ReportDeliveryResponse { matched: true }))
    }

    async fn open_ip_link(&self, _: Request<OpenIpLinkRequest>) -> Result<Response<OpenIpLinkResponse>, Status> {
        Err(Status::unavailable("try elsewhere"))
    }
}

pub struct Server {
    pub counting: Counting,
    pub running: Running,
    pub stop: CancellationToken,
    runtime: Option<Runtime>,
}

impl Server {
    pub fn start(config: ServerConfig) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let counting = Counting::default();
        let stop = CancellationToken::new();
        let routes = Routes::new(InboundDataServer::new(counting.clone()));
        let serving = rpc::serve(config, routes, stop.clone());
        let running = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(serving)).join())
            .expect("no panic")
            .expect("served");
        Self { counting, running, stop, runtime: Some(runtime) }
    }

    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// As kill -STOP: connections stay, and nothing moves. The runtime has one thread; it sleeps.
    pub fn freeze(&self, span: Duration) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move { std::thread::sleep(span) });
        }
    }

    /// As kill -9: connections are gone, nothing is finished.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn balancer(servers: &[Server], stop: &CancellationToken) -> Balancer {
    let endpoints = EndpointsConfig::new(servers.iter().map(|server| server.address().to_string()));
    Balancer::new(endpoints, stop.clone()).expect("endpoints")
}

/// A client of these servers whose replicas are all healthy.
pub async fn client(servers: &[Server], config: BatchClientConfig, stop: &CancellationToken) -> BatchClient<Ingest> {
    let balancer = balancer(servers, stop);
    let client = BatchClient::new(&balancer, config, stop.clone());
    until("all replicas are healthy", || client.replicas().len() == servers.len()).await;
    client
}

pub fn message(number: u64) -> InboundMessage {
    InboundMessage { reference: Some(number), payload: vec![7; 100].into(), ..InboundMessage::default() }
}

/// Calls `messages` at once, `at_once` under way at a time; panics unless each gets its own answer.
pub async fn call_all(client: &BatchClient<Ingest>, numbers: std::ops::Range<u64>, at_once: usize) {
    let numbers = Arc::new(Mutex::new(numbers));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (client, numbers) = (client.clone(), numbers.clone());
        tasks.spawn(async move {
            loop {
                let Some(number) = numbers.lock().expect("lock").next() else { return };
                let result = client.call(rpc::key(&number.to_string()), message(number)).await;
                let result = result.unwrap_or_else(|error| panic!("message {number}: {error}"));
                assert_eq!(u64::from(result.reason), number & 0xFFFF, "another message's answer");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
}

pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
