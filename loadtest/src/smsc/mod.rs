//! An SMSC in memory: SMPP server for the centre on one side, virtual phones on the other.
//!
//! [`Smsc::start`] listens; [`SmscHandle::mobile_originated`] (or the batch form [`SmscHandle::offer`]) sends a phone's
//! message to the centre as `deliver_sm`, stored and forwarded until it is answered; what the centre submits arrives on
//! the receiver of [`MobileTerminated`]. Faults are injected per number ([`Faults`]); every message and its outcome
//! stands in the [`Ledger`]. One task (`engine`) holds all state; nothing is spawned per message.

mod engine;
mod faults;
mod ledger;
mod mobile_originated;
mod mobile_terminated;
mod timers;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use net::smpp::{Authenticate, BindRequest, Server, ServerConfig};
use smpp::{CommandStatus, SessionConfig, SubmitSm, Text};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use faults::{Faults, Leg};
pub use ledger::{Counters, Direction, Entry, Ledger, Outcome};

/// A subscriber number or short code: international digits without `+`.
pub type Number = Text<20>;

/// Settings of the simulator.
#[derive(Clone)]
pub struct SmscConfig {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// `(system_id, password)` of the ESMEs that may bind.
    pub accounts: Vec<(String, String)>,
    /// Window and timers towards each bind. Default window 1000.
    pub session: SessionConfig,
    pub binds_max_per_system_id: usize,
    /// From `submit_sm` until the phone has the message; drawn evenly. Default 0.
    pub network_latency_min: Duration,
    pub network_latency_max: Duration,
    /// First and longest delay before a message of a phone is delivered again. Default 1 s, 60 s; doubles.
    pub redelivery_min: Duration,
    pub redelivery_max: Duration,
    /// How long a message is kept that says nothing itself. Default 24 h.
    pub validity: Duration,
    /// Messages kept in each direction; beyond it `ESME_RMSGQFUL`, or refusal of the phone. Default 1,000,000.
    pub store_max: usize,
    /// Messages that may wait for the fleet. Default 65,536.
    pub fleet_queue_max: usize,
    /// Deliveries a second and bind; default no limit.
    pub rate_max_per_second: Option<u32>,
    pub faults: Faults,
    /// For everything random.
    pub seed: u64,
    /// Keep an entry per message (about 100 octets each); counters are always kept. Default true.
    pub keep_ledger: bool,
    /// Who wants to see the messages themselves. Default nobody.
    pub tap: Option<mpsc::UnboundedSender<Carried>>,
}

impl Default for SmscConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            accounts: vec![("simvault".to_owned(), "simvault".to_owned())],
            session: SessionConfig { window_max: 1000, inbound_window_max: 10_000, ..SessionConfig::default() },
            binds_max_per_system_id: 64,
            network_latency_min: Duration::ZERO,
            network_latency_max: Duration::ZERO,
            redelivery_min: Duration::from_secs(1),
            redelivery_max: Duration::from_secs(60),
            validity: Duration::from_secs(24 * 3600),
            store_max: 1_000_000,
            fleet_queue_max: 65_536,
            rate_max_per_second: None,
            faults: Faults::default(),
            seed: 1,
            keep_ledger: true,
            tap: None,
        }
    }
}

/// A message as it came to the SMSC, before anything happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    FromPhone(MobileOriginated),
    ToPhone(Box<SubmitSm>),
}

/// A message of a phone for the centre, as its SMS-SUBMIT said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileOriginated {
    pub msisdn: Number,
    /// The short code of the centre.
    pub destination: Number,
    /// TP-PID.
    pub protocol_id: u8,
    /// TP-DCS.
    pub data_coding: u8,
    /// TP-UDHI: `payload` starts with a user data header.
    pub user_data_header: bool,
    /// TP-UD octets; 7-bit text unpacked or packed as the caller likes, it is not touched.
    pub payload: Bytes,
    /// TP-MR as `user_message_reference`, if it is to be told.
    pub message_reference: Option<u16>,
}

/// A message of the centre for a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileTerminated {
    pub message_id: u64,
    pub msisdn: Number,
    pub originator: Number,
    pub protocol_id: u8,
    pub data_coding: u8,
    pub user_data_header: bool,
    pub payload: Bytes,
}

/// How the delivery of a phone's message to the centre ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Answered `ESME_ROK`.
    Accepted,
    /// Answered with a permanent error.
    Refused(CommandStatus),
    /// Not accepted within its validity.
    Expired,
    /// Lost by injection; the phone never hears of it.
    Lost,
    /// The store of the SMSC is full, or it is stopping.
    NotTaken,
}

/// The end of one offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub token: u64,
    pub delivery: Delivery,
    /// `deliver_sm` sent for it.
    pub attempts: u32,
    /// From the offer to the answer.
    pub after: Duration,
}

/// Where the ends of offered messages go; exactly one each.
pub type DeliveredSender = mpsc::UnboundedSender<Delivered>;

enum Control {
    Offer { message: MobileOriginated, reply: MoReply },
    Reachable { msisdn: Number, reachable: bool },
    Faults { msisdn: Option<Number>, faults: Box<Faults> },
    CutLinks { unbind: bool },
    Links(oneshot::Sender<usize>),
}

enum MoReply {
    Oneshot(oneshot::Sender<Delivered>),
    Queue(u64, DeliveredSender),
    /// A duplicate made by injection.
    Nobody,
}

/// Starts simulators.
#[derive(Debug)]
pub struct Smsc;

impl Smsc {
    /// Listens and runs until `stop`; the receiver gives what phones are to get.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(
        config: SmscConfig,
        stop: CancellationToken,
    ) -> io::Result<(SmscHandle, mpsc::Receiver<MobileTerminated>)> {
        let accounts = Arc::new(RwLock::new(config.accounts.iter().cloned().collect()));
        let server_config = ServerConfig {
            tls: config.tls.clone(),
            session: config.session.clone(),
            binds_max_per_system_id: config.binds_max_per_system_id,
            queue_max: config.session.window_max,
            event_queue_max: 65_536,
            rate_max_per_second: config.rate_max_per_second,
            drain_timeout: Duration::from_millis(500),
            ..ServerConfig::new(config.address, Text::new("smsc-simulator").unwrap_or_default())
        };
        let (server, events) = Server::start(server_config, authenticate(Arc::clone(&accounts)), stop.clone()).await?;
        let ledger = Arc::new(Ledger::new(config.keep_ledger));
        let (control, control_end) = mpsc::channel(65_536);
        let (fleet, fleet_end) = mpsc::channel(config.fleet_queue_max.max(1));
        let handle = SmscHandle { control, ledger: Arc::clone(&ledger), address: server.address(), accounts };
        tokio::spawn(engine::Engine::new(config, ledger, fleet).run(server, events, control_end, stop));
        Ok((handle, fleet_end))
    }
}

fn authenticate(accounts: Accounts) -> Authenticate {
    Arc::new(move |request: &BindRequest<'_>| {
        let (system_id, password) = (request.bind.system_id.as_str(), request.bind.password.as_str());
        let accounts = accounts.read().unwrap_or_else(PoisonError::into_inner);
        match system_id.and_then(|system_id| accounts.get(system_id)) {
            None => CommandStatus::ESME_RINVSYSID,
            Some(expected) if password != Some(expected) => CommandStatus::ESME_RINVPASWD,
            Some(_) => CommandStatus::ESME_ROK,
        }
    })
}

type Accounts = Arc<RwLock<HashMap<String, String>>>;

/// The phones' and the test's side of a running simulator; cheap to clone. After the stop every call does nothing.
#[derive(Debug, Clone)]
pub struct SmscHandle {
    control: mpsc::Sender<Control>,
    ledger: Arc<Ledger>,
    address: SocketAddr,
    accounts: Accounts,
}

impl SmscHandle {
    /// Where ESMEs connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a phone's message to the centre and waits for the end of it, redeliveries included.
    pub async fn mobile_originated(&self, message: MobileOriginated) -> Delivered {
        let (sender, end) = oneshot::channel();
        let not_taken = Delivered { token: 0, delivery: Delivery::NotTaken, attempts: 0, after: Duration::ZERO };
        if self.control.send(Control::Offer { message, reply: MoReply::Oneshot(sender) }).await.is_err() {
            return not_taken;
        }
        end.await.unwrap_or(not_taken)
    }

    /// As [`Self::mobile_originated`] without waiting for the end: it arrives at `ends` under `token`.
    pub async fn offer(&self, message: MobileOriginated, token: u64, ends: &DeliveredSender) {
        let reply = MoReply::Queue(token, ends.clone());
        if self.control.send(Control::Offer { message, reply }).await.is_err() {
            let end = Delivered { token, delivery: Delivery::NotTaken, attempts: 0, after: Duration::ZERO };
            // A caller that no longer listens has given up on the message.
            ends.send(end).unwrap_or_default();
        }
    }

    /// Switches a phone off (messages for it wait) or on (they are delivered at once).
    pub async fn set_reachable(&self, msisdn: Number, reachable: bool) {
        self.control(Control::Reachable { msisdn, reachable }).await;
    }

    /// Sets the faults of one number, or with `None` those of every number without its own.
    pub async fn set_faults(&self, msisdn: Option<Number>, faults: Faults) {
        self.control(Control::Faults { msisdn, faults: Box::new(faults) }).await;
    }

    /// Cuts every link without a word (`unbind` false) or unbinds them in order.
    pub async fn cut_links(&self, unbind: bool) {
        self.control(Control::CutLinks { unbind }).await;
    }

    /// Adds an account or changes its password; links that are bound stay.
    pub fn set_account(&self, system_id: &str, password: &str) {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.insert(system_id.to_owned(), password.to_owned());
    }

    /// Bound ESMEs.
    pub async fn links(&self) -> usize {
        let (sender, count) = oneshot::channel();
        self.control(Control::Links(sender)).await;
        count.await.unwrap_or_default()
    }

    /// Every message and its outcome.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The sums of the ledger.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.ledger.counters()
    }

    async fn control(&self, control: Control) {
        // After the stop there is nothing left to control.
        drop(self.control.send(control).await);
    }
}
