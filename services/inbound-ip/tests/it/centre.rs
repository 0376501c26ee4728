//! What the edge sees of the centre: `InboundData` and `EdgeRegistry` on a loopback port, both under the test's control.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use link::ip::{Direction, decode_frame};
use proto::{
    centre::{self as contract, edge_registry_server::*},
    inbound::{inbound_data_server::*, *},
};
use rpc::stream::{Ingest, Job, Results, serve_batches};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::card::within;

pub fn msisdn(device: i64) -> String {
    format!("44770090000{device}")
}

pub fn key(device: i64) -> Vec<u8> {
    vec![u8::try_from(device).expect("small"); 16]
}

pub struct Centre {
    pub address: SocketAddr,
    pub state: Arc<State>,
    stop: CancellationToken,
}

pub struct State {
    pub inner: Mutex<Inner>,
    /// While true, messages are taken but not answered.
    pub hold: watch::Sender<bool>,
    changed: Notify,
}

#[derive(Default)]
pub struct Inner {
    pub received: Vec<InboundMessage>,
    /// Outcomes of the next messages; STORED when there are none.
    pub script: VecDeque<Outcome>,
    /// Whether a refusal closes the connection.
    pub close_link: bool,
    pub uplink_counter: u32,
    pub downlink_counter: u32,
    pub registrations: Vec<contract::RegisterSessionsRequest>,
    pub superseded: Vec<i64>,
    pub opened: usize,
    /// Delivery reports, and how many of the next match nothing.
    pub reports: Vec<ReportDeliveryRequest>,
    pub unmatched: usize,
}

impl Centre {
    pub async fn start() -> Self {
        let state = Arc::new(State { inner: Mutex::default(), hold: watch::channel(false).0, changed: Notify::new() });
        let service = Service(Arc::clone(&state));
        let mut routes = tonic::service::Routes::new(InboundDataServer::new(service.clone()));
        routes = routes.add_service(EdgeRegistryServer::new(service));
        let stop = CancellationToken::new();
        let listen = "127.0.0.1:0".parse().expect("address");
        let config = rpc::ServerConfig { listen, ..Default::default() };
        let running = rpc::serve(config, routes, stop.clone()).await.expect("served");
        Self { address: running.address, state, stop }
    }

    pub fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.state.inner.lock().expect("state"));
    }

    /// Waits until `condition` finds what it looks for.
    pub async fn until<T>(&self, condition: impl Fn(&Inner) -> Option<T>) -> T {
        within(async {
            loop {
                let changed = self.state.changed.notified();
                if let Some(found) = condition(&self.state.inner.lock().expect("state")) {
                    return found;
                }
                changed.await;
            }
        })
        .await
    }

    /// Waits for this many messages and gives their payloads.
    pub async fn payloads(&self, count: usize) -> Vec<Vec<u8>> {
        let payloads = |inner: &Inner| inner.received.iter().map(|message| message.payload.to_vec()).collect();
        self.until(|inner| (inner.received.len() >= count).then(|| payloads(inner))).await
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Service {
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.0.inner.lock().expect("state"));
        self.0.changed.notify_one();
        result
    }

    async fn answer(&self, message: InboundMessage) -> IngestResult {
        let id = message.id;
        let (outcome, close_link) = self.change(|inner| {
            inner.received.push(message);
            (inner.script.pop_front().unwrap_or(Outcome::Stored), inner.close_link)
        });
        self.0.hold.subscribe().wait_for(|hold| !hold).await.expect("state");
        let close_link = close_link && outcome == Outcome::Refused;
        IngestResult { id, outcome: outcome.into(), close_link, ..IngestResult::default() }
    }
}

#[tonic::async_trait]
impl InboundData for Service {
    type IngestStream = Results<Ingest>;

    async fn ingest(&self, request: Request<Streaming<IngestBatch>>) -> Result<Response<Self::IngestStream>, Status> {
        let service = self.clone();
        let results = serve_batches::<Ingest, _, _>(request.into_inner(), 1000, move |Job { message, answer }| {
            let service = service.clone();
            async move {
                tokio::spawn(async move { answer.send(service.answer(message).await) });
            }
        });
        Ok(Response::new(results))
    }

    async fn report_delivery(
        &self,
        request: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        let matched = self.change(|inner| {
            let matched = inner.unmatched == 0;
            inner.unmatched = inner.unmatched.saturating_sub(1);
            inner.reports.push(request.into_inner());
            matched
        });
        Ok(Response::new(ReportDeliveryResponse { matched }))
    }

    /// Verifies as the real one does, with the keys of this module.
    async fn open_ip_link(&self, request: Request<OpenIpLinkRequest>) -> Result<Response<OpenIpLinkResponse>, Status> {
        let OpenIpLinkRequest { msisdn: number, nonce, frame } = request.into_inner();
        let nonce = nonce.as_ref().try_into().map_err(|_| Status::invalid_argument("nonce"))?;
        let frame = decode_frame(frame).map_err(|malformed| Status::invalid_argument(malformed.to_string()))?;
        let devices: HashMap<String, i64> = [1, 2].map(|device| (msisdn(device), device)).into();
        let device = devices.get(&number).filter(|device| frame.verify(&key(**device), &nonce, Direction::Up));
        let response = self.change(|inner| match device {
            None => OpenIpLinkResponse { reason: 0x0E, ..Default::default() },
            Some(&device_id) => {
                inner.opened += 1;
                OpenIpLinkResponse {
                    accepted: true,
                    reason: 0,
                    key: key(device_id).into(),
                    subscriber_id: device_id,
                    device_id,
                    uplink_counter: inner.uplink_counter,
                    downlink_counter: inner.downlink_counter,
                }
            }
        });
        Ok(Response::new(response))
    }
}

#[tonic::async_trait]
impl EdgeRegistry for Service {
    async fn register_sessions(
        &self,
        request: Request<contract::RegisterSessionsRequest>,
    ) -> Result<Response<contract::RegisterSessionsResponse>, Status> {
        let superseded = self.change(|inner| {
            inner.registrations.push(request.into_inner());
            std::mem::take(&mut inner.superseded)
        });
        Ok(Response::new(contract::RegisterSessionsResponse { superseded }))
    }

    async fn locate_sessions(
        &self,
        _: Request<contract::LocateSessionsRequest>,
    ) -> Result<Response<contract::LocateSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked by the edge"))
    }

    async fn acquire_lease(
        &self,
        _: Request<contract::AcquireLeaseRequest>,
    ) -> Result<Response<contract::AcquireLeaseResponse>, Status> {
        Err(Status::unimplemented("not asked by the edge"))
    }

    async fn release_lease(
        &self,
        _: Request<contract::ReleaseLeaseRequest>,
    ) -> Result<Response<contract::ReleaseLeaseResponse>, Status> {
        Err(Status::unimplemented("not asked by the edge"))
    }

    async fn get_settings(
        &self,
        _: Request<contract::GetSettingsRequest>,
    ) -> Result<Response<contract::GetSettingsResponse>, Status> {
        Ok(Response::new(contract::GetSettingsResponse::default()))
    }

    async fn put_setting(
        &self,
        _: Request<contract::PutSettingRequest>,
    ) -> Result<Response<contract::PutSettingResponse>, Status> {
        Err(Status::unimplemented("not asked by the edge"))
    }
}
