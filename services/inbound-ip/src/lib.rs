//! The inbound channel processor for IP (SC-IC-01): TCP and TLS connections of cards and phones.
//!
//! It knows the frame of the link (`link::ip`), takes the payload out and hands it with the originator's number to an
//! inbound data processor; and it writes what `outbound-ip` pushes. It has no database and no keys: the key of a
//! connection is lent by the inbound data processor that verified its first frame (D-114).
//! Start at [`start`]; a connection's life is in [`connection`].

pub mod config;
pub mod connection;
mod deliveries;
mod forward;
mod pieces;
mod push;
mod reporter;
mod sessions;
mod telemetry;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use proto::session::ip_session_server::IpSessionServer;
use runtime::events::{self, Kind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

pub use config::{Config, Tls};
use sessions::Sessions;

/// What every connection shares.
pub struct Edge {
    config: Config,
    sessions: Arc<Sessions>,
    inbound_data: rpc::Balancer,
    ingest: rpc::stream::BatchClient<rpc::stream::Ingest>,
    next_connection: Arc<AtomicU64>,
    /// No more connections and no more reading.
    stop: CancellationToken,
    /// No more attempts to hand over what was received.
    drained: CancellationToken,
}

/// Listens for cards and serves `session.v1.IpSession`. The address is that of the card link.
///
/// # Errors
/// When an address cannot be bound or the TLS material cannot be read.
pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<rpc::Running> {
    let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr()?;
    let sessions = Arc::new(Sessions::default());
    // The parts behind the connections live until these are drained.
    let parts_stop = CancellationToken::new();

    let inbound_data = rpc::Balancer::new(config.inbound_data.clone(), parts_stop.clone())?;
    let deliveries = deliveries::Deliveries::new(inbound_data.clone(), parts_stop.clone());
    let push = push::Push { sessions: Arc::clone(&sessions), deliveries: deliveries.clone(), deadline: config.write };
    let routes =
        tonic::service::Routes::new(IpSessionServer::new(push).max_decoding_message_size(rpc::MESSAGE_OCTETS_MAX));
    let grpc = rpc::serve(config.server.clone(), routes, parts_stop.clone()).await?;
    deliveries.reachable_at(advertised(&config, grpc.address));
    let application_server = rpc::Balancer::new(config.application_server.clone(), parts_stop.clone())?;
    let edge = Arc::new(Edge {
        ingest: rpc::stream::BatchClient::new(&inbound_data, config.ingest.clone(), parts_stop.clone()),
        inbound_data,
        sessions: Arc::clone(&sessions),
        next_connection: Arc::new(AtomicU64::new(1)),
        stop: stop.clone(),
        drained: CancellationToken::new(),
        config,
    });
    let reporter = reporter::Reporter {
        sessions,
        application_server,
        endpoint: advertised(&edge.config, grpc.address),
        next_connection: Arc::clone(&edge.next_connection),
        snapshot_every: edge.config.snapshot.max(Duration::from_secs(1)),
    };
    let reporting = tokio::spawn(reporter.run(stop));
    let tls = if acceptor.is_some() { "TLS" } else { "TCP" };
    events::record(Kind::StartUp, format!("IP links are accepted on {address}, {tls}"));
    let readiness = grpc.readiness.clone();
    let task = tokio::spawn(async move {
        accept(&edge, &listener, acceptor).await;
        reporting.await?;
        parts_stop.cancel();
        grpc.task.await??;
        events::record(Kind::ShutDown, "IP edge stopped");
        Ok(())
    });
    Ok(rpc::Running { address, task, readiness })
}

/// Accepts until the stop, then waits for the connections to hand over what they received.
async fn accept(edge: &Arc<Edge>, listener: &TcpListener, acceptor: Option<TlsAcceptor>) {
    let places = Arc::new(Semaphore::new(edge.config.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = edge.stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that ended before it was accepted.
                warn!("accepting a connection failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics::counter!(telemetry::CLOSED, "reason" => "too_many").increment(1);
            warn!(%peer, "too many connections: closed at once");
            continue;
        };
        let (edge, acceptor) = (Arc::clone(edge), acceptor.clone());
        connections.spawn(async move {
            serve(&edge, stream, peer, acceptor).await;
            drop(place);
        });
    }
    connections.close();
    let within = edge.config.drain;
    if timeout(within, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "not all was handed over in time");
        edge.drained.cancel();
        connections.wait().await;
    }
}

async fn serve(edge: &Arc<Edge>, stream: TcpStream, peer: SocketAddr, acceptor: Option<TlsAcceptor>) {
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%peer, "TCP_NODELAY is not set: {error}");
    }
    let Some(acceptor) = acceptor else { return connection::serve(edge, stream, peer).await };
    let opening = edge.config.opening;
    let handshake = tokio::select! {
        handshake = timeout(opening, acceptor.accept(stream)) => handshake,
        () = edge.stop.cancelled() => return,
    };
    match handshake {
        Ok(Ok(stream)) => connection::serve(edge, stream, peer).await,
        Ok(Err(error)) => handshake_failed(peer, &error),
        Err(_) => handshake_failed(peer, &"took too long"),
    }
}

/// The first is told; then they are counted, for a probe that asks every second tells nothing new.
fn handshake_failed(peer: SocketAddr, why: &dyn std::fmt::Display) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    metrics::counter!(telemetry::CLOSED, "reason" => "tls").increment(1);
    if TOLD.swap(true, Ordering::Relaxed) {
        debug!(%peer, "TLS handshake failed: {why}");
    } else {
        let metric = telemetry::CLOSED;
        warn!(%peer, "TLS handshake failed: {why}; others are counted in {metric}{{reason=\"tls\"}}, and logged at debug");
    }
}

/// Where outbound-ip reaches this replica.
fn advertised(config: &Config, grpc: SocketAddr) -> String {
    if config.advertise.is_empty() { grpc.to_string() } else { config.advertise.clone() }
}

/// After a failed accept, so that a lack of descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
