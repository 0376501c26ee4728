//! Client role: keeps one link to an SMSC bound: connects (several addresses, TCP or TLS), binds, and does so again
//! with growing, jittered pauses when the link ends.

use std::{io, sync::Arc, sync::atomic::Ordering, time::Duration};

use rustls::pki_types::ServerName;
use smpp::{
    AlertNotification, Bind, BindKind, CloseReason, CommandStatus, DeliverSm, Role, SessionConfig, SubmitSm, Text,
    TextTooLong,
};
use tokio::{net::TcpStream, sync::mpsc, time::Instant};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, ConnectionEvent, Settings},
    exchange::{AnswerToken, CompletionSender, Gate, Mailbox, Outcome, SubmitError, TrySubmitError},
};

/// TLS towards the SMSC.
#[derive(Debug, Clone)]
pub struct Tls {
    pub config: Arc<rustls::ClientConfig>,
    /// The name that the SMSC's certificate must carry.
    pub server_name: String,
}

/// One link. Durations and limits have the defaults named; [`LinkConfig::new`] sets them.
#[derive(Clone)]
pub struct LinkConfig {
    /// Name in logs and metrics.
    pub name: String,
    /// `host:port`, tried in turn.
    pub addresses: Vec<String>,
    pub tls: Option<Tls>,
    pub kind: BindKind,
    /// At most 15 octets.
    pub system_id: String,
    /// At most 8 octets.
    pub password: String,
    /// At most 12 octets.
    pub system_type: String,
    pub addr_ton: u8,
    pub addr_npi: u8,
    /// At most 40 octets; empty = what the SMSC has configured.
    pub address_range: String,
    /// Window, timers, `interface_version` of the session.
    pub session: SessionConfig,
    /// Messages that may wait for the window; then `submit` waits. Default 1000.
    pub queue_max: usize,
    /// Events that may wait for the owner; then the socket is not read. Default 1000.
    pub event_queue_max: usize,
    /// Submits a second; default no limit.
    pub rate_max_per_second: Option<u32>,
    /// Pause after `ESME_RTHROTTLED` or `ESME_RMSGQFUL`. Default 250 ms.
    pub throttle_pause: Duration,
    /// For connecting and for the TLS handshake, each. Default 5 s.
    pub connect_timeout: Duration,
    /// First and longest pause between attempts; between them it doubles, with jitter of a half. Default 500 ms, 30 s.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// First pause after the SMSC refused the account: SMSCs lock accounts that try too often. Doubled up to 5 min, or
    /// `backoff_max` if that is longer. Default 10 s.
    pub backoff_refused: Duration,
    /// For emptying the window before the unbind when stopping. Default 10 s.
    pub drain_timeout: Duration,
}

impl LinkConfig {
    /// A link with the default limits and timers.
    #[must_use]
    pub fn new(name: &str, addresses: Vec<String>, kind: BindKind, system_id: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses,
            tls: None,
            kind,
            system_id: system_id.to_owned(),
            password: password.to_owned(),
            system_type: String::new(),
            addr_ton: 0,
            addr_npi: 0,
            address_range: String::new(),
            session: SessionConfig::default(),
            queue_max: 1000,
            event_queue_max: 1000,
            rate_max_per_second: None,
            throttle_pause: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            backoff_refused: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// The bind PDU.
    ///
    /// # Errors
    /// [`TextTooLong`] when a text does not fit its field; check it before starting.
    pub fn bind(&self) -> Result<Bind, TextTooLong> {
        Ok(Bind {
            system_id: Text::new(&self.system_id)?,
            password: Text::new(&self.password)?,
            system_type: Text::new(&self.system_type)?,
            interface_version: self.session.interface_version,
            addr_ton: self.addr_ton,
            addr_npi: self.addr_npi,
            address_range: Text::new(&self.address_range)?,
        })
    }
}

impl std::fmt::Debug for LinkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkConfig")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("kind", &self.kind)
            .field("system_id", &self.system_id)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Why the link is down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownReason {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the TLS handshake with {address} failed: {source}")]
    Tls { address: String, source: io::Error },
    /// Wrong system_id or password among others.
    #[error("{address} refused the bind with {status}")]
    BindRefused { address: String, status: CommandStatus },
    #[error("the session ended: {0}")]
    Closed(CloseReason),
}

impl DownReason {
    /// The SMSC does not accept system_id, password or another bind of the account: trying again soon does not help.
    #[must_use]
    pub const fn is_account_refused(&self) -> bool {
        use CommandStatus as S;
        matches!(self, Self::BindRefused { status: S::ESME_RINVPASWD | S::ESME_RINVSYSID | S::ESME_RBINDFAIL, .. })
    }

    /// Another server of the SMSC would say the same.
    const fn is_refused_everywhere(&self) -> bool {
        self.is_account_refused() && !matches!(self, Self::BindRefused { status: CommandStatus::ESME_RBINDFAIL, .. })
    }
}

/// What the link tells its owner. The receiver ends when the link was stopped and is closed.
#[derive(Debug)]
pub enum LinkEvent {
    Bound {
        kind: BindKind,
        smsc_system_id: Text<15>,
        interface_version: u8,
    },
    /// A `deliver_sm` (or a `data_sm`, its body in `message_payload`): answer with [`LinkHandle::respond_deliver`].
    Deliver {
        token: AnswerToken,
        message: DeliverSm,
    },
    /// A phone can be reached again.
    Alert(AlertNotification),
    /// Not bound any more, or an attempt failed; the next one follows after `retry_in`.
    Down {
        reason: DownReason,
        retry_in: Duration,
    },
}

/// Sends through a link; cheap to clone.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    gate: Gate,
}

impl LinkHandle {
    /// Sends a message and waits for its answer. Thousands may wait at once; they share the window of the link.
    ///
    /// # Errors
    /// [`SubmitError`] says whether the message may have been accepted all the same.
    pub async fn submit(&self, message: SubmitSm) -> Outcome {
        self.gate.send(message).await
    }

    /// Queues a message, waiting for room; the outcome arrives at `completions` under `token`, exactly once.
    ///
    /// # Errors
    /// [`SubmitError::NotBound`]: not taken, and no completion follows.
    pub async fn submit_with(
        &self,
        message: SubmitSm,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), SubmitError> {
        self.gate.send_with(message, token, completions).await
    }

    /// As [`Self::submit_with`] without waiting.
    ///
    /// # Errors
    /// [`TrySubmitError`] gives the message back; no completion follows.
    pub fn try_submit_with(
        &self,
        message: SubmitSm,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), TrySubmitError> {
        self.gate.try_send_with(message, token, completions)
    }

    /// Answers a message of the SMSC.
    pub fn respond_deliver(&self, token: AnswerToken, status: CommandStatus) {
        self.gate.answer(token, status, Text::EMPTY);
    }

    /// True while submits are possible (bound as transmitter or transceiver, not stopping).
    #[must_use]
    pub fn can_submit(&self) -> bool {
        self.gate.is_bound()
    }

    /// Messages sent and unanswered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.gate.shared.outstanding.load(Ordering::Relaxed)
    }
}

/// Longest pause after a refused account, unless `backoff_max` is longer.
const BACKOFF_REFUSED_MAX: Duration = Duration::from_secs(300);
/// A link that was bound so long starts its back-off anew.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Starts links.
#[derive(Debug)]
pub struct SmppLink;

impl SmppLink {
    /// Starts the task of one link. Cancelling `stop` drains it: no new submits, window emptied, unbind, close; then
    /// the event receiver ends.
    ///
    /// # Errors
    /// [`TextTooLong`] when a text of the bind does not fit its field.
    pub fn start(
        config: LinkConfig,
        stop: CancellationToken,
    ) -> Result<(LinkHandle, mpsc::Receiver<LinkEvent>), TextTooLong> {
        let bind = config.bind()?;
        let (gate, mailbox) = Gate::new(config.queue_max);
        let (events, receiver) = mpsc::channel(config.event_queue_max.max(1));
        tokio::spawn(Keeper { config, bind, mailbox, events, stop }.run());
        Ok((LinkHandle { gate }, receiver))
    }
}

struct Keeper {
    config: LinkConfig,
    bind: Bind,
    mailbox: Mailbox,
    events: mpsc::Sender<LinkEvent>,
    stop: CancellationToken,
}

impl Keeper {
    async fn run(mut self) {
        let settings = Settings {
            role: Role::Esme,
            session: self.config.session.clone(),
            rate_max_per_second: self.config.rate_max_per_second,
            throttle_pause: self.config.throttle_pause,
            drain_timeout: self.config.drain_timeout,
        };
        let (mut failures, mut refusals) = (0, 0);
        let mut attempt = 0;
        while !self.stop.is_cancelled() {
            let addresses = self.config.addresses.len().max(1);
            let address = self.config.addresses.get(attempt % addresses).cloned().unwrap_or_default();
            attempt += 1;
            let began = Instant::now();
            let (reason, was_bound) = self.connection(&settings, address).await;
            if self.stop.is_cancelled() {
                break;
            }
            // An SMSC that binds and hangs up at once is no better than one that refuses.
            failures = if was_bound && began.elapsed() >= STABLE_AFTER { 0 } else { failures + 1 };
            refusals = match &reason {
                refused if refused.is_account_refused() => refusals + 1,
                DownReason::Connect { .. } | DownReason::Tls { .. } => refusals,
                _ => 0,
            };
            // The next address at once; a pause only after every one was tried.
            let others = !was_bound && !attempt.is_multiple_of(addresses);
            let retry_in = match &reason {
                refused if refused.is_refused_everywhere() => self.pause_of_refused(refusals),
                _ if others => Duration::ZERO,
                refused if refused.is_account_refused() => self.pause_of_refused(refusals),
                _ => self.pause(failures),
            };
            metrics::counter!("simvault_smpp_link_down_total", "link" => self.config.name.clone()).increment(1);
            // The owner is told, and logs it.
            tracing::debug!(link = self.config.name, %reason, ?retry_in, "SMPP link is down");
            let (stop, events) = (self.stop.clone(), self.events.clone());
            let wait = async move {
                // An owner that dropped the receiver only wants to send.
                drop(events.send(LinkEvent::Down { reason, retry_in }).await);
                tokio::time::sleep(retry_in).await;
            };
            refuse_during(&mut self.mailbox, &stop, wait).await;
        }
    }

    async fn connection(&mut self, settings: &Settings, address: String) -> (DownReason, bool) {
        let (config, stop) = (self.config.clone(), self.stop.clone());
        let connect = async {
            let tcp = tokio::time::timeout(config.connect_timeout, TcpStream::connect(&address)).await;
            match tcp.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // Small PDUs leave at once; the loop itself gathers them.
                Ok(tcp) => tcp.set_nodelay(true).map(|()| tcp),
                Err(source) => Err(source),
            }
        };
        let tcp = match refuse_during(&mut self.mailbox, &stop, connect).await {
            Some(Ok(tcp)) => tcp,
            Some(Err(source)) => return (DownReason::Connect { address, source }, false),
            None => return (DownReason::Closed(CloseReason::Unbound), false),
        };
        let Some(tls) = &config.tls else { return self.session(settings, tcp, address).await };
        let handshake = async {
            let name = ServerName::try_from(tls.server_name.clone())
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let connecting = TlsConnector::from(Arc::clone(&tls.config)).connect(name, tcp);
            tokio::time::timeout(config.connect_timeout, connecting)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match refuse_during(&mut self.mailbox, &stop, handshake).await {
            Some(Ok(stream)) => self.session(settings, stream, address).await,
            Some(Err(source)) => (DownReason::Tls { address, source }, false),
            None => (DownReason::Closed(CloseReason::Unbound), false),
        }
    }

    async fn session<S>(&mut self, settings: &Settings, stream: S, address: String) -> (DownReason, bool)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
    {
        let name = self.config.name.clone();
        let gauge = metrics::gauge!("simvault_smpp_link_bound", "link" => name.clone());
        let bound_gauge = gauge.clone();
        let wrap = move |event: ConnectionEvent| {
            Some(match event {
                ConnectionEvent::Bound { kind, peer_system_id, interface_version } => {
                    bound_gauge.set(1.0);
                    tracing::debug!(link = name, ?kind, smsc = %peer_system_id, "SMPP link is bound");
                    LinkEvent::Bound { kind, smsc_system_id: peer_system_id, interface_version }
                }
                ConnectionEvent::Message { token, message } => LinkEvent::Deliver { token, message },
                ConnectionEvent::Alert(alert) => LinkEvent::Alert(alert),
            })
        };
        let mut connection = Connection::new(settings, &mut self.mailbox, &self.events, wrap);
        connection.bind(self.config.kind, self.bind.clone());
        let reason = match connection.run(stream, None, &self.stop).await {
            CloseReason::BindRefused(status) => DownReason::BindRefused { address, status },
            reason => DownReason::Closed(reason),
        };
        gauge.set(0.0);
        let smpp::session::Counters { malformed, unknown_commands, unexpected_responses, .. } = *connection.counters();
        if malformed + unknown_commands + unexpected_responses > 0 {
            let link = &self.config.name;
            tracing::warn!(
                link,
                malformed,
                unknown_commands,
                unexpected_responses,
                "the SMSC sent what we do not understand"
            );
        }
        (reason, connection.was_bound)
    }

    /// Doubles with every failure, then varied between a half and the whole, so that links do not come back together.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.config.backoff_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.config.backoff_max).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Doubles with every refusal; varied upwards, so that it is never shorter than what an operator set.
    fn pause_of_refused(&self, refusals: u32) -> Duration {
        let doubled = self.config.backoff_refused.saturating_mul(1 << refusals.saturating_sub(1).min(16));
        doubled.min(self.config.backoff_max.max(BACKOFF_REFUSED_MAX)).mul_f64(rand::random_range(1.0..=1.25))
    }
}

/// Waits for `wait`, refusing every message and dropping every late answer meanwhile; `None` when stopped.
async fn refuse_during<T>(mailbox: &mut Mailbox, stop: &CancellationToken, wait: impl Future<Output = T>) -> Option<T> {
    let mut wait = std::pin::pin!(wait);
    loop {
        tokio::select! {
            result = &mut wait => return Some(result),
            () = stop.cancelled() => return None,
            // Dropping an outgoing message completes it as not bound.
            Some(outgoing) = mailbox.inbox.recv() => drop(outgoing),
            Some(_) = mailbox.answers.recv() => {}
        }
    }
}
