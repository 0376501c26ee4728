//! One way to serve: health, reflection and diagnostics on every port, connections recycled, and a drain that tells the
//! clients before it turns them away. Start with [`serve`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use proto::diagnostics::diagnostics_server::DiagnosticsServer;
use runtime::{
    config::{Problem, Validate, duration},
    events::{self, Kind},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    LIVENESS, READINESS,
    connection::Incoming,
    diagnostics::Process,
    jittered,
    tls::{ServerTls, TlsFileError},
};

/// A gRPC server's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Default `127.0.0.1:0`: loopback, any free port.
    pub listen: SocketAddr,
    /// A connection is told to leave at this age, made up to 20 % shorter or longer per process. 10 s to 1 h, default 7 min.
    #[serde(with = "duration")]
    pub max_connection_age: Duration,
    /// Streams that go on after that are cut after this time; so are those that outlive the drain of the process by
    /// `drain_grace`. 1 s to 10 min, default 30 s: longer than clients take to rotate their streams (20 s).
    #[serde(with = "duration")]
    pub max_connection_age_grace: Duration,
    /// Between "not ready" and turning new calls away, so that clients hear of it first. 0 to 60 s, default 100 ms.
    #[serde(with = "duration")]
    pub drain_delay: Duration,
    /// How long calls and streams in flight may take to finish when the process stops. 0 to 2 min, default 10 s.
    #[serde(with = "duration")]
    pub drain_grace: Duration,
    /// A call that has not begun to answer after this time is given up. 100 ms to 10 min, default 30 s.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// Connections at the same time. 1 to 65536, default 1024.
    pub max_connections: usize,
    /// Calls and streams of one connection at the same time. 1 to 65536, default 1024.
    pub max_concurrent_streams: u32,
    /// `None`: plain text, for one machine or a mesh that encrypts.
    pub tls: Option<ServerTls>,
    /// With TLS on: a second port in plain text with nothing but health, for probes that hold no certificate.
    pub probe_listen: Option<SocketAddr>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            max_connection_age: Duration::from_secs(7 * 60),
            max_connection_age_grace: Duration::from_secs(30),
            drain_delay: Duration::from_millis(100),
            drain_grace: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            max_connections: 1024,
            max_concurrent_streams: 1024,
            tls: None,
            probe_listen: None,
        }
    }
}

impl Validate for ServerConfig {
    fn problems(&self) -> Vec<Problem> {
        let seconds = Duration::from_secs;
        [
            Problem::duration_range("max_connection_age", self.max_connection_age, seconds(10)..=seconds(3600)),
            Problem::duration_range(
                "max_connection_age_grace",
                self.max_connection_age_grace,
                seconds(1)..=seconds(600),
            ),
            Problem::duration_range("drain_delay", self.drain_delay, Duration::ZERO..=seconds(60)),
            Problem::duration_range("drain_grace", self.drain_grace, Duration::ZERO..=seconds(120)),
            Problem::duration_range("deadline", self.deadline, Duration::from_millis(100)..=seconds(600)),
            Problem::range("max_connections", self.max_connections, 1..=65_536),
            Problem::range("max_concurrent_streams", self.max_concurrent_streams, 1..=65_536),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A server that runs. Dropping it changes nothing; cancelling the token that it was started with drains it.
#[derive(Debug)]
pub struct Running {
    /// The bound address, its port chosen if 0 was asked for.
    pub address: SocketAddr,
    /// Ends when the drain has ended.
    pub task: JoinHandle<anyhow::Result<()>>,
    pub readiness: Readiness,
}

/// Whether new work is welcome: what the health service `readiness` answers, and what balancers follow.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Readiness {
    pub fn new(is_ready: bool) -> Self {
        Self(Arc::new(watch::Sender::new(is_ready)))
    }

    pub fn set(&self, is_ready: bool) {
        self.0.send_if_modified(|present| std::mem::replace(present, is_ready) != is_ready);
    }

    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {listen}: {source}")]
    Bind { listen: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    #[error("TLS: {0}")]
    Tls(tonic::transport::Error),
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves `routes` with health, reflection and diagnostics until `stop`, ready at once.
///
/// # Errors
/// The port cannot be bound, or a TLS file cannot be used.
pub async fn serve(config: ServerConfig, routes: Routes, stop: CancellationToken) -> Result<Running, ServeError> {
    serve_when_ready(config, routes, Readiness::new(true), stop).await
}

/// [`serve`], ready when the owner of `readiness` says so.
///
/// # Errors
/// The port cannot be bound, or a TLS file cannot be used.
pub async fn serve_when_ready(
    config: ServerConfig,
    routes: Routes,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<Running, ServeError> {
    let health = HealthReporter::new();
    health.set_service_status(LIVENESS, ServingStatus::Serving).await;
    health.set_service_status(READINESS, status(readiness.is_ready())).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes = routes
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
        .add_service(reflection)
        .add_service(DiagnosticsServer::new(Process));

    let cut = CancellationToken::new();
    let (address, incoming) = bind(&config, config.listen, &cut)?;
    let goaway = CancellationToken::new();
    let server = Drain {
        config: config.clone(),
        health: health.clone(),
        readiness: readiness.clone(),
        goaway: goaway.clone(),
        cut,
        stop,
    };
    if let Some(listen) = config.probe_listen {
        let plain = ServerConfig { tls: None, ..config };
        let (_, incoming) = bind(&plain, listen, &server.cut)?;
        let health = Routes::new(HealthServer::new(HealthService::from_health_reporter(health)));
        let mut builder = builder(&plain)?;
        tokio::spawn(builder.add_routes(health).serve_with_incoming_shutdown(incoming, goaway.cancelled_owned()));
    }
    let router = builder(&server.config)?.add_routes(routes);
    events::record(Kind::StartUp, format!("serving gRPC on {address}"));
    let task = tokio::spawn(server.run(address, router, incoming));
    Ok(Running { address, task, readiness })
}

fn bind(
    config: &ServerConfig,
    listen: SocketAddr,
    cut: &CancellationToken,
) -> Result<(SocketAddr, Incoming), ServeError> {
    let failed = |source| ServeError::Bind { listen, source };
    // The builder's own tcp_nodelay does not reach a listener that is handed in: each burst would wait 40 ms.
    let inner = TcpIncoming::bind(listen).map_err(failed)?.with_nodelay(Some(true));
    let address = inner.local_addr().map_err(failed)?;
    let age_max = config.max_connection_age.mul_f64(1.2).saturating_add(config.max_connection_age_grace);
    let free = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    Ok((address, Incoming { inner, age_max, cut: cut.clone(), free }))
}

fn builder(config: &ServerConfig) -> Result<Server, ServeError> {
    let builder = Server::builder()
        .timeout(config.deadline)
        .max_connection_age(jittered(config.max_connection_age))
        .max_concurrent_streams(config.max_concurrent_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)));
    match &config.tls {
        Some(tls) => builder.tls_config(tls.load()?).map_err(ServeError::Tls),
        None => Ok(builder),
    }
}

fn status(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Serves, and stops in the order of `deploy.md` section 6: not ready, a moment for clients to hear it, GOAWAY, a bounded
/// wait for what is in flight, the cut.
struct Drain {
    config: ServerConfig,
    health: HealthReporter,
    readiness: Readiness,
    goaway: CancellationToken,
    cut: CancellationToken,
    stop: CancellationToken,
}

impl Drain {
    async fn run(
        mut self,
        address: SocketAddr,
        router: tonic::transport::server::Router,
        incoming: Incoming,
    ) -> anyhow::Result<()> {
        let serving = router.serve_with_incoming_shutdown(incoming, self.goaway.clone().cancelled_owned());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return Ok(ended?),
            () = follow(&self.readiness, &self.health, &self.stop) => {}
        }
        events::record(Kind::ShutDown, format!("gRPC on {address}: draining"));
        self.readiness.set(false);
        self.health.set_service_status(READINESS, ServingStatus::NotServing).await;
        tokio::select! {
            ended = &mut serving => return Ok(ended?),
            () = sleep(self.config.drain_delay) => {}
        }
        // Watches end with their service, else each of them would hold its connection through the whole grace.
        for service in [READINESS, LIVENESS, ""] {
            self.health.clear_service_status(service).await;
        }
        self.goaway.cancel();
        let Ok(ended) = timeout(self.config.drain_grace, &mut serving).await else {
            tracing::warn!(%address, "calls outlived the grace and are cut");
            self.cut.cancel();
            // Cut connections end at their next read.
            return Ok(timeout(Duration::from_secs(1), serving).await.unwrap_or(Ok(()))?);
        };
        Ok(ended?)
    }
}

/// Hands the readiness on to the health service until `stop`.
async fn follow(readiness: &Readiness, health: &HealthReporter, stop: &CancellationToken) {
    let mut changes = readiness.0.subscribe();
    loop {
        let is_ready = *changes.borrow_and_update();
        health.set_service_status(READINESS, status(is_ready)).await;
        tokio::select! {
            () = stop.cancelled() => return,
            // The sender lives as long as `readiness`.
            changed = changes.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}
