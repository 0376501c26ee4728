//! Server role: accepts ESMEs over TCP or TLS, lets the owner decide about binds, and runs one task per connection.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use smpp::{Bind, BindKind, CloseReason, CommandStatus, DeliverSm, Role, SessionConfig, SubmitSm, Text};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{Connection, ConnectionEvent, Settings},
    exchange::{AnswerToken, CompletionSender, Gate, Outcome, SubmitError, TrySubmitError},
};

/// A listener and its limits.
#[derive(Clone)]
pub struct ServerConfig {
    /// Port 0 takes a free one; see [`Server::address`].
    pub address: SocketAddr,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Our name in bind responses.
    pub system_id: Text<15>,
    pub session: SessionConfig,
    /// Connections at once; more wait in the backlog of the listener. Default 256.
    pub connections_max: usize,
    /// Binds at once of one system_id; more get `ESME_RBINDFAIL`. Default 16.
    pub binds_max_per_system_id: usize,
    /// Messages that may wait for the window of one connection. Default 1000.
    pub queue_max: usize,
    /// Events of all connections that may wait for the owner; then sockets are not read. Default 4096.
    pub event_queue_max: usize,
    /// Deliveries a second and connection; default no limit.
    pub rate_max_per_second: Option<u32>,
    /// Pause of deliveries after `ESME_RTHROTTLED` or `ESME_RMSGQFUL`. Default 250 ms.
    pub throttle_pause: Duration,
    /// For the TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// For emptying windows before the unbind when stopping. Default 10 s.
    pub drain_timeout: Duration,
}

impl ServerConfig {
    /// A listener with the default limits.
    #[must_use]
    pub fn new(address: SocketAddr, system_id: Text<15>) -> Self {
        Self {
            address,
            tls: None,
            system_id,
            session: SessionConfig::default(),
            connections_max: 256,
            binds_max_per_system_id: 16,
            queue_max: 1000,
            event_queue_max: 4096,
            rate_max_per_second: None,
            throttle_pause: Duration::from_millis(250),
            handshake_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// An ESME that wants to bind.
#[derive(Debug)]
pub struct BindRequest<'a> {
    pub peer_address: SocketAddr,
    pub kind: BindKind,
    pub bind: &'a Bind,
}

/// Decides about a bind: `ESME_ROK`, `ESME_RINVSYSID`, `ESME_RINVPASWD`, `ESME_RBINDFAIL`. Called on the connection's task.
pub type Authenticate = Arc<dyn Fn(&BindRequest<'_>) -> CommandStatus + Send + Sync>;

/// What the server tells its owner. The receiver ends when the server was stopped and every connection is closed.
#[derive(Debug)]
pub enum ServerEvent {
    Bound(PeerHandle),
    /// A `submit_sm` (or `data_sm`) of the ESME: answer with [`PeerHandle::respond_submit`].
    Submit {
        peer: PeerHandle,
        token: AnswerToken,
        message: SubmitSm,
    },
    /// The ESME with this id is gone.
    Unbound {
        id: u64,
        reason: CloseReason,
    },
}

/// One bound ESME; cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerHandle {
    gate: Gate,
    about: Arc<About>,
}

#[derive(Debug)]
struct About {
    id: u64,
    kind: BindKind,
    system_id: Text<15>,
    address: SocketAddr,
    close: CancellationToken,
    cut: CancellationToken,
}

impl PeerHandle {
    /// Number of the connection, unique in the server's life.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.about.id
    }
    #[must_use]
    pub fn kind(&self) -> BindKind {
        self.about.kind
    }
    #[must_use]
    pub fn system_id(&self) -> &Text<15> {
        &self.about.system_id
    }
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.about.address
    }

    /// Delivers a message and waits for its answer.
    ///
    /// # Errors
    /// [`SubmitError`] says whether the ESME may have taken it all the same.
    pub async fn deliver(&self, message: DeliverSm) -> Outcome {
        self.gate.send(message).await
    }

    /// Queues a message, waiting for room; the outcome arrives at `completions` under `token`, exactly once.
    ///
    /// # Errors
    /// [`SubmitError::NotBound`]: not taken, and no completion follows.
    pub async fn deliver_with(
        &self,
        message: DeliverSm,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), SubmitError> {
        self.gate.send_with(message, token, completions).await
    }

    /// As [`Self::deliver_with`] without waiting.
    ///
    /// # Errors
    /// [`TrySubmitError`] gives the message back; no completion follows.
    pub fn try_deliver_with(
        &self,
        message: DeliverSm,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), TrySubmitError> {
        self.gate.try_send_with(message, token, completions)
    }

    /// Answers a message of the ESME; `message_id` is left empty when `status` is an error.
    pub fn respond_submit(&self, token: AnswerToken, status: CommandStatus, message_id: Text<64>) {
        self.gate.answer(token, status, message_id);
    }

    /// True while deliveries are possible (bound as receiver or transceiver, not stopping).
    #[must_use]
    pub fn can_deliver(&self) -> bool {
        self.gate.is_bound()
    }

    /// Messages sent and unanswered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.gate.shared.outstanding.load(Ordering::Relaxed)
    }

    /// Drains and unbinds this ESME alone.
    pub fn unbind(&self) {
        self.about.close.cancel();
    }

    /// Closes the socket without unbind, as a broken network does (simulators).
    pub fn cut(&self) {
        self.about.cut.cancel();
    }
}

/// A running listener.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the port and accepts until `stop`; then no more binds, every connection drained, unbound and closed.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(
        config: ServerConfig,
        authenticate: Authenticate,
        stop: CancellationToken,
    ) -> io::Result<(Self, mpsc::Receiver<ServerEvent>)> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let (events, receiver) = mpsc::channel(config.event_queue_max.max(1));
        let front = Arc::new(Front { config, authenticate, events, binds: Mutex::default() });
        let task = tokio::spawn(accept(listener, front, stop));
        Ok((Self { address, task }, receiver))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it was stopped and every connection is closed.
    pub async fn closed(self) {
        // An error is a panic of the accept loop, which has been reported where it happened.
        drop(self.task.await);
    }
}

struct Front {
    config: ServerConfig,
    authenticate: Authenticate,
    events: mpsc::Sender<ServerEvent>,
    /// Binds by system_id.
    binds: Mutex<HashMap<Text<15>, usize>>,
}

impl Front {
    /// Takes one of the places of `system_id`.
    fn take_place(&self, system_id: Text<15>) -> bool {
        let mut binds = self.binds.lock().unwrap_or_else(PoisonError::into_inner);
        let count = binds.entry(system_id).or_default();
        let free = *count < self.config.binds_max_per_system_id;
        *count += usize::from(free);
        free
    }

    fn give_back(&self, system_id: &Text<15>) {
        let mut binds = self.binds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = binds.get_mut(system_id) {
            *count -= 1;
            if *count == 0 {
                binds.remove(system_id);
            }
        }
    }
}

async fn accept(listener: TcpListener, front: Arc<Front>, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    let places = Arc::new(Semaphore::new(front.config.connections_max.max(1)));
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        match accepted {
            (Ok(place), Ok((tcp, peer_address))) => {
                next_id += 1;
                let (front, close, id) = (Arc::clone(&front), stop.child_token(), next_id);
                tracker.spawn(async move {
                    serve(front, tcp, peer_address, id, close).await;
                    drop(place);
                });
            }
            (_, Err(error)) => {
                // Out of file handles, or the peer went at once: neither ends the listener.
                tracing::warn!(%error, "accepting an SMPP connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    tracker.close();
    tracker.wait().await;
}

async fn serve(front: Arc<Front>, tcp: TcpStream, peer_address: SocketAddr, id: u64, close: CancellationToken) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "the connection ended before it began");
        return;
    }
    let Some(tls) = &front.config.tls else { return session(&front, tcp, peer_address, id, close).await };
    let accepting = TlsAcceptor::from(Arc::clone(tls)).accept(tcp);
    match tokio::time::timeout(front.config.handshake_timeout, accepting).await {
        Ok(Ok(stream)) => session(&front, stream, peer_address, id, close).await,
        Ok(Err(error)) => tracing::warn!(%peer_address, %error, "TLS handshake of an ESME failed"),
        Err(_) => tracing::warn!(%peer_address, "TLS handshake of an ESME timed out"),
    }
}

async fn session<S>(front: &Front, stream: S, peer_address: SocketAddr, id: u64, close: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
{
    let settings = Settings {
        role: Role::Smsc,
        session: front.config.session.clone(),
        rate_max_per_second: front.config.rate_max_per_second,
        throttle_pause: front.config.throttle_pause,
        drain_timeout: front.config.drain_timeout,
    };
    let (gate, mut mailbox) = Gate::new(front.config.queue_max);
    let cut = CancellationToken::new();
    let peer: Mutex<Option<PeerHandle>> = Mutex::default();
    let handle = || peer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut decide = |kind: BindKind, bind: &Bind| {
        let mut status = (front.authenticate)(&BindRequest { peer_address, kind, bind });
        if status.is_ok() && !front.take_place(bind.system_id) {
            status = CommandStatus::ESME_RBINDFAIL;
        }
        if status.is_ok() {
            let about = About {
                id,
                kind,
                system_id: bind.system_id,
                address: peer_address,
                close: close.clone(),
                cut: cut.clone(),
            };
            let mut peer = peer.lock().unwrap_or_else(PoisonError::into_inner);
            *peer = Some(PeerHandle { gate: gate.clone(), about: Arc::new(about) });
        }
        tracing::info!(%peer_address, system_id = %bind.system_id, ?kind, %status, "bind of an ESME");
        (status, front.config.system_id)
    };
    let wrap = |event: ConnectionEvent| match (event, handle()) {
        (ConnectionEvent::Bound { .. }, Some(peer)) => Some(ServerEvent::Bound(peer)),
        (ConnectionEvent::Message { token, message }, Some(peer)) => Some(ServerEvent::Submit { peer, token, message }),
        // An SMSC session emits no alerts, and nothing before the bind.
        _ => None,
    };
    let mut connection = Connection::new(&settings, &mut mailbox, &front.events, wrap);
    let reason = tokio::select! {
        reason = connection.run(stream, Some(&mut decide), &close) => Some(reason),
        () = cut.cancelled() => None,
    };
    let reason = reason.unwrap_or_else(|| connection.abandon());
    let smpp::session::Counters { pdus_received, malformed, unknown_commands, throttled, timeouts, .. } =
        *connection.counters();
    tracing::info!(%peer_address, %reason, pdus_received, malformed, unknown_commands, throttled, timeouts, "ESME is gone");
    if let Some(peer) = handle() {
        front.give_back(&peer.about.system_id);
        // An owner that dropped the receiver is not interested.
        drop(front.events.send(ServerEvent::Unbound { id, reason }).await);
    }
}
