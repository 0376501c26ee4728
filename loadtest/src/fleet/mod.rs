//! Virtual mobile stations on real bearers: each phone is a task that gives its station the time and carries what it
//! says to the SMSC simulator or over an IP link of its own.
//!
//! Start at [`Fleet::add`]. The stations' clock may run faster than ours ([`FleetConfig::speed`]).

mod channel;
mod ip;
mod phone;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mobile::Station;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::ip::IpLink;
pub use self::phone::Phone;
use crate::{
    ip_phone::LinkAddress,
    smsc::{Delivered, MobileTerminated, Number, SmscHandle},
};

/// Where the fleet lives.
#[derive(Clone)]
pub struct FleetConfig {
    /// Seconds of the stations' clock in one of ours, at least 1.
    pub speed: u32,
    /// What the network takes for a short message, on the stations' clock: so long is the phone busy with it.
    pub sms_takes: Duration,
    /// The centre's number, digits: where phones send to and what they accept messages from.
    pub centre_number: String,
    pub smsc: SmscHandle,
    /// Where phones connect by IP, each with one of these by its number, unless their card has another address (CID 0x03);
    /// TLS is as here in any case.
    pub cards: Vec<LinkAddress>,
}

/// A number with its card's key for the IP link.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// E.164 digits.
    pub msisdn: String,
    pub ip_key: Vec<u8>,
}

/// All phones.
pub struct Fleet {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every phone's task needs.
pub(crate) struct Shared {
    config: FleetConfig,
    clock: Clock,
    phones: Mutex<HashMap<Number, Arc<Phone>>>,
    delivered: mpsc::UnboundedSender<Delivered>,
    latencies: Mutex<Vec<Duration>>,
}

/// The stations' clock.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    speed: u32,
}

impl Clock {
    fn now(self) -> Duration {
        self.started.elapsed() * self.speed
    }

    /// When it shows `at`.
    fn instant(self, at: Duration) -> Instant {
        self.started + at / self.speed.max(1)
    }
}

impl Fleet {
    /// `terminated`: what the SMSC simulator has for phones.
    #[must_use]
    pub fn new(config: FleetConfig, terminated: mpsc::Receiver<MobileTerminated>) -> Self {
        let (delivered, ends) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            clock: Clock { started: Instant::now(), speed: config.speed },
            config,
            phones: Mutex::default(),
            delivered,
            latencies: Mutex::default(),
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(route(Arc::clone(&shared), terminated, ends, stop.clone()));
        Self { shared, tasks, stop }
    }

    /// Switches a phone on with this card. A phone that had the number before is gone: its card was lost.
    pub fn add(&self, subscription: Subscription, station: Station) -> Arc<Phone> {
        let number = Number::new(subscription.msisdn.as_bytes()).unwrap_or_default();
        let phone = Arc::new(Phone::new(subscription, station, self.shared.clock, self.stop.child_token()));
        let mut phones = self.shared.phones.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lost) = phones.insert(number, Arc::clone(&phone)) {
            lost.lose();
        }
        self.tasks.spawn(phone::drive(Arc::clone(&phone), number, Arc::clone(&self.shared)));
        phone
    }

    /// From a phone's offer to the SMSC until the centre's answer, for every message so far.
    #[must_use]
    pub fn latencies(&self) -> Vec<Duration> {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Switches all phones off.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Hands messages to their phones and keeps the times of those that went the other way.
async fn route(
    shared: Arc<Shared>,
    mut terminated: mpsc::Receiver<MobileTerminated>,
    mut ends: mpsc::UnboundedReceiver<Delivered>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            Some(message) = terminated.recv() => {
                let phone = shared.phones.lock().unwrap_or_else(PoisonError::into_inner).get(&message.msisdn).cloned();
                if let Some(phone) = phone {
                    phone.deliver(&message);
                }
            }
            Some(end) = ends.recv() => {
                shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(end.after);
            }
            () = stop.cancelled() => return,
        }
    }
}
