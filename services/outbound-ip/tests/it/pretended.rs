//! What the launcher sees: the registry of sessions, and replicas of inbound-ip.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proto::{
    centre::{edge_registry_server::*, *},
    session::{PushRequest, PushResponse, ip_session_server::*},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, service::Routes};

pub struct Centre {
    pub address: SocketAddr,
    registry: Arc<Registry>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Registry {
    places: Mutex<HashMap<i64, String>>,
    asked: Mutex<usize>,
    refuses: Mutex<bool>,
}

impl Centre {
    pub async fn start() -> Self {
        let registry = Arc::new(Registry::default());
        let routes = Routes::new(EdgeRegistryServer::from_arc(Arc::clone(&registry)));
        let (address, stop) = serve(routes).await;
        Self { address, registry, _stop: stop }
    }

    pub fn place(&self, device_id: i64, edge: &Edge) {
        self.place_at(device_id, &edge.address.to_string());
    }

    pub fn place_at(&self, device_id: i64, endpoint: &str) {
        self.registry.places.lock().expect("places").insert(device_id, endpoint.to_owned());
    }

    pub fn asked(&self) -> usize {
        *self.registry.asked.lock().expect("count")
    }

    pub fn refuse(&self) {
        *self.registry.refuses.lock().expect("flag") = true;
    }
}

pub struct Edge {
    pub address: SocketAddr,
    sessions: Arc<Sessions>,
    _stop: DropGuard,
}

#[derive(Default)]
struct Sessions {
    open: Mutex<HashSet<i64>>,
    pushed: Mutex<Vec<(i64, Bytes)>>,
    error: Mutex<Option<Status>>,
    silent: Mutex<bool>,
}

impl Edge {
    pub async fn start(devices: impl IntoIterator<Item = i64>) -> Self {
        let sessions = Arc::new(Sessions { open: Mutex::new(devices.into_iter().collect()), ..Sessions::default() });
        let (address, stop) = serve(Routes::new(IpSessionServer::from_arc(Arc::clone(&sessions)))).await;
        Self { address, sessions, _stop: stop }
    }

    pub fn forget(&self, device_id: i64) {
        self.sessions.open.lock().expect("sessions").remove(&device_id);
    }

    pub fn pushed(&self) -> Vec<(i64, Bytes)> {
        self.sessions.pushed.lock().expect("pushed").clone()
    }

    pub fn answer_with(&self, status: Status) {
        *self.sessions.error.lock().expect("error") = Some(status);
    }

    pub fn be_silent(&self) {
        *self.sessions.silent.lock().expect("flag") = true;
    }
}

async fn serve(routes: Routes) -> (SocketAddr, DropGuard) {
    let stop = CancellationToken::new();
    let running = rpc::serve(rpc::ServerConfig::default(), routes, stop.clone()).await.expect("served");
    (running.address, stop.drop_guard())
}

#[tonic::async_trait]
impl IpSession for Sessions {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        if *self.silent.lock().expect("flag") {
            std::future::pending::<()>().await;
        }
        if let Some(status) = self.error.lock().expect("error").clone() {
            return Err(status);
        }
        let PushRequest { device_id, payload, report_delivery, .. } = request.into_inner();
        let delivered = self.open.lock().expect("sessions").contains(&device_id);
        if delivered {
            self.pushed.lock().expect("pushed").push((device_id, payload));
        }
        let delivery_id = if report_delivery { "delivery".to_owned() } else { String::new() };
        Ok(Response::new(PushResponse { delivered, delivery_id }))
    }
}

#[tonic::async_trait]
impl EdgeRegistry for Registry {
    async fn locate_sessions(
        &self,
        request: Request<LocateSessionsRequest>,
    ) -> Result<Response<LocateSessionsResponse>, Status> {
        if *self.refuses.lock().expect("flag") {
            return Err(Status::internal("the store is away"));
        }
        *self.asked.lock().expect("count") += 1;
        let places = self.places.lock().expect("places");
        let devices = request.into_inner().device_ids;
        let endpoints = devices.iter().filter_map(|device| Some((*device, places.get(device)?.clone()))).collect();
        Ok(Response::new(LocateSessionsResponse { endpoints }))
    }

    async fn register_sessions(
        &self,
        _: Request<RegisterSessionsRequest>,
    ) -> Result<Response<RegisterSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked by a launcher"))
    }

    async fn acquire_lease(&self, _: Request<AcquireLeaseRequest>) -> Result<Response<AcquireLeaseResponse>, Status> {
        Err(Status::unimplemented("not asked by a launcher"))
    }

    async fn release_lease(&self, _: Request<ReleaseLeaseRequest>) -> Result<Response<ReleaseLeaseResponse>, Status> {
        Err(Status::unimplemented("not asked by a launcher"))
    }

    async fn get_settings(&self, _: Request<GetSettingsRequest>) -> Result<Response<GetSettingsResponse>, Status> {
        Err(Status::unimplemented("not asked by a launcher"))
    }

    async fn put_setting(&self, _: Request<PutSettingRequest>) -> Result<Response<PutSettingResponse>, Status> {
        Err(Status::unimplemented("not asked by a launcher"))
    }
}
