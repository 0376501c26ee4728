//! The one task that holds all state: takes everything that is ready, in batches, and acts on it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use net::smpp::{Completion, CompletionSender, PeerHandle, Server, ServerEvent};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Carried, Control, Faults, Ledger, MobileTerminated, Number, SmscConfig,
    mobile_originated::Outbound,
    mobile_terminated::Inbound,
    timers::{Job, Slab, Slot, Timers},
};

/// Taken from each channel in one turn.
const TURN_MAX: usize = 1024;

pub(super) struct Engine {
    pub config: SmscConfig,
    pub ledger: Arc<Ledger>,
    pub fleet: mpsc::Sender<MobileTerminated>,
    pub rng: StdRng,
    pub timers: Timers,
    pub peers: Vec<PeerHandle>,
    pub next_peer: usize,
    pub faults: HashMap<Number, Faults>,
    /// Towards the centre: phones' messages and receipts.
    pub outbound: Slab<Outbound>,
    /// Those that no bind had room for.
    pub waiting: VecDeque<Slot>,
    /// Towards the phones.
    pub inbound: Slab<Inbound>,
    /// Phones that are off, and what waits for them.
    pub absent: HashMap<Number, Vec<Slot>>,
    pub next_message_id: u64,
    pub completions: CompletionSender,
    completions_end: Option<mpsc::UnboundedReceiver<Completion>>,
}

/// The clock; follows a paused tokio clock in tests.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Engine {
    pub fn new(config: SmscConfig, ledger: Arc<Ledger>, fleet: mpsc::Sender<MobileTerminated>) -> Self {
        let (completions, completions_end) = mpsc::unbounded_channel();
        Self {
            rng: StdRng::seed_from_u64(config.seed),
            config,
            ledger,
            fleet,
            timers: Timers::default(),
            peers: Vec::new(),
            next_peer: 0,
            faults: HashMap::new(),
            outbound: Slab::default(),
            waiting: VecDeque::new(),
            inbound: Slab::default(),
            absent: HashMap::new(),
            next_message_id: 1,
            completions,
            completions_end: Some(completions_end),
        }
    }

    pub async fn run(
        mut self,
        server: Server,
        mut events: mpsc::Receiver<ServerEvent>,
        mut control: mpsc::Receiver<Control>,
        stop: CancellationToken,
    ) {
        let Some(mut completions) = self.completions_end.take() else { return };
        let (mut event_batch, mut control_batch, mut completion_batch) = (Vec::new(), Vec::new(), Vec::new());
        // False once every handle is dropped; the SMPP side goes on until the stop.
        let mut controlled = true;
        loop {
            let timer = self.timers.next();
            let sleep = async {
                match timer {
                    Some(at) => tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = events.recv_many(&mut event_batch, TURN_MAX) => {}
                _ = completions.recv_many(&mut completion_batch, TURN_MAX) => {}
                count = control.recv_many(&mut control_batch, TURN_MAX), if controlled => controlled = count > 0,
                () = sleep => {}
                () = stop.cancelled() => break,
            }
            for completion in completion_batch.drain(..) {
                self.complete(&completion);
            }
            for event in event_batch.drain(..) {
                self.handle_event(event);
            }
            for control in control_batch.drain(..) {
                self.handle_control(control);
            }
            let now = now();
            while let Some(job) = self.timers.pop_due(now) {
                match job {
                    Job::Deliver(slot) => self.deliver(slot),
                    Job::Reach(slot) => self.reach(slot, now),
                }
            }
            self.deliver_waiting();
        }
        // The server drains its links; what they still say is nobody's any more.
        drop(events);
        server.closed().await;
        self.end_all();
    }

    /// Shows a message to whoever wants to see it.
    pub fn show(&self, carried: impl FnOnce() -> Carried) {
        if let Some(tap) = &self.config.tap {
            // Whoever looks no longer has seen enough.
            tap.send(carried()).unwrap_or_default();
        }
    }

    /// The faults that a number suffers.
    pub fn faults_of(&self, msisdn: &Number) -> Faults {
        if self.faults.is_empty() {
            return self.config.faults;
        }
        self.faults.get(msisdn).copied().unwrap_or(self.config.faults)
    }

    fn handle_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Bound(peer) => self.peers.push(peer),
            ServerEvent::Submit { peer, token, message } => self.submit(&peer, token, message),
            ServerEvent::Unbound { id, .. } => self.peers.retain(|peer| peer.id() != id),
        }
    }

    fn handle_control(&mut self, control: Control) {
        match control {
            Control::Offer { message, reply } => self.offer(message, reply),
            Control::Reachable { msisdn, reachable: false } => {
                self.absent.entry(msisdn).or_default();
            }
            Control::Reachable { msisdn, reachable: true } => {
                let now = now();
                for slot in self.absent.remove(&msisdn).unwrap_or_default() {
                    self.reach(slot, now);
                }
            }
            Control::Faults { msisdn: Some(msisdn), faults } => {
                self.faults.insert(msisdn, *faults);
            }
            Control::Faults { msisdn: None, faults } => self.config.faults = *faults,
            Control::CutLinks { unbind } => {
                for peer in &self.peers {
                    if unbind { peer.unbind() } else { peer.cut() }
                }
            }
            // Who asked and went away does not want to know.
            Control::Links(sender) => drop(sender.send(self.peers.len())),
        }
    }
}
