//! The edge's side: every message goes to a healthy replica, is answered exactly once or given up at its deadline, and is
//! sent again elsewhere, or reported unknown, when its replica dies or falls silent. Start with [`BatchClient::call`] and [`BatchClient::submit`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{BatchStream, lane::Lane};
use crate::balancer::Balancer;

/// Limits and deadlines of a [`BatchClient`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchClientConfig {
    /// Messages unanswered on one stream: the credit. 1 to 100000, default 1000.
    pub window: usize,
    /// A stream with unanswered messages that gets nothing for this long is left. 50 ms to 60 s, default 1 s.
    #[serde(with = "duration")]
    pub progress: Duration,
    /// A message that is not answered after this time is given up. 50 ms to 10 min, default 5 s.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// Messages under way in the client, all streams and queues together. 1 to 1000000, default 10000.
    pub capacity: usize,
    /// A stream is opened anew after this time, made up to 20 % shorter or longer: less than the server's grace for old
    /// connections. The old one gets its last results meanwhile, at most for as long (and for `progress`). 50 ms to 1 h, default 20 s.
    #[serde(with = "duration")]
    pub rotate_after: Duration,
    /// A message that its replica may have got is not sent to another one: it ends [`Unanswered::Unknown`]. Not an operator's
    /// choice: the program knows whether its messages may arrive twice. Default false.
    #[serde(skip)]
    pub once: bool,
}

impl Default for BatchClientConfig {
    fn default() -> Self {
        Self {
            window: 1000,
            progress: Duration::from_secs(1),
            deadline: Duration::from_secs(5),
            capacity: 10_000,
            rotate_after: Duration::from_secs(20),
            once: false,
        }
    }
}

impl Validate for BatchClientConfig {
    fn problems(&self) -> Vec<Problem> {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        [
            Problem::range("window", self.window, 1..=100_000),
            Problem::duration_range("progress", self.progress, millis(50)..=seconds(60)),
            Problem::duration_range("deadline", self.deadline, millis(50)..=seconds(600)),
            Problem::range("capacity", self.capacity, 1..=1_000_000),
            Problem::duration_range("rotate_after", self.rotate_after, millis(50)..=seconds(3600)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Why a message has no result. It may have taken effect all the same: send it again with the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("no replica answered before the deadline")]
    Deadline,
    #[error("the client was stopped")]
    Stopped,
    /// Only with [`BatchClientConfig::once`].
    #[error("its replica was lost before it answered")]
    Unknown,
}

/// The client's capacity is used up; the message comes back.
#[derive(Debug, thiserror::Error)]
#[error("too many messages are under way")]
pub struct Full<M>(pub M);

/// Where a result goes.
pub(super) enum Reply<O> {
    One(oneshot::Sender<Result<O, Unanswered>>),
    Many(u64, mpsc::Sender<(u64, Result<O, Unanswered>)>),
}

impl<O> Reply<O> {
    pub(super) fn is_cancelled(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Many(_, sender) => sender.is_closed(),
        }
    }
}

/// A message under way.
pub(super) struct Entry<S: BatchStream> {
    key: u64,
    pub(super) sequence: u64,
    pub(super) deadline: Instant,
    pub(super) message: S::Message,
    pub(super) reply: Reply<S::Outcome>,
}

/// Clones share the streams.
pub struct BatchClient<S: BatchStream> {
    shared: Arc<Shared<S>>,
}

impl<S: BatchStream> Clone for BatchClient<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

pub(super) struct Shared<S: BatchStream> {
    pub(super) config: BatchClientConfig,
    lanes: RwLock<Arc<[Arc<Lane<S>>]>>,
    parked: Mutex<Parked<S>>,
    free: Semaphore,
    sequence: AtomicU64,
    stop: CancellationToken,
}

/// Messages that find no healthy replica wait here.
struct Parked<S: BatchStream> {
    entries: VecDeque<Entry<S>>,
    is_closed: bool,
}

impl<S: BatchStream> BatchClient<S> {
    /// Follows the balancer's replicas until `stop`; then what is unanswered gets one more `progress` and is given up.
    pub fn new(balancer: &Balancer, config: BatchClientConfig, stop: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            lanes: RwLock::new(Arc::from([])),
            parked: Mutex::new(Parked { entries: VecDeque::new(), is_closed: false }),
            free: Semaphore::new(config.capacity.min(Semaphore::MAX_PERMITS)),
            sequence: AtomicU64::new(0),
            stop,
            config,
        });
        tokio::spawn(shared.clone().supervise(balancer.clone()));
        Self { shared }
    }

    /// Sends a message to the replica that has `key` and waits for its result. Dropping the future cancels: what was not
    /// sent yet is not sent. Waits while the client is full.
    ///
    /// # Errors
    /// The deadline passed, or the client was stopped.
    pub async fn call(&self, key: u64, message: S::Message) -> Result<S::Outcome, Unanswered> {
        let deadline = self.shared.deadline();
        match timeout_at(deadline, self.shared.free.acquire()).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) => return Err(Unanswered::Stopped),
            Err(_) => return Err(Unanswered::Deadline),
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.send(key, deadline, message, Reply::One(sender));
        receiver.await.unwrap_or(Err(Unanswered::Stopped))
    }

    /// Sends a message without a future of its own; its result goes to `results` with `token`. Make that channel at least
    /// as large as what you have under way: while it is full, the replica's other results wait.
    ///
    /// # Errors
    /// The client is full or stopped: the message comes back at once, and no result follows.
    pub fn submit(
        &self,
        key: u64,
        message: S::Message,
        token: u64,
        results: &mpsc::Sender<(u64, Result<S::Outcome, Unanswered>)>,
    ) -> Result<(), Full<S::Message>> {
        match self.shared.free.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(Full(message)),
        }
        self.shared.send(key, self.shared.deadline(), message, Reply::Many(token, results.clone()));
        Ok(())
    }

    /// Messages that may be sent now before the client is full.
    pub fn free(&self) -> usize {
        self.shared.free.available_permits()
    }

    /// Addresses of the replicas that messages go to now.
    pub fn replicas(&self) -> Vec<String> {
        self.shared.lanes().iter().map(|lane| lane.replica.address().to_owned()).collect()
    }
}

impl<S: BatchStream> Shared<S> {
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.config.deadline).unwrap_or(now)
    }

    /// How often deadlines are looked at.
    pub(super) fn tick(&self) -> Duration {
        (self.config.progress / 10).clamp(Duration::from_millis(5), Duration::from_millis(100))
    }

    fn lanes(&self) -> Arc<[Arc<Lane<S>>]> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, key: u64, deadline: Instant, message: S::Message, reply: Reply<S::Outcome>) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        if let Err(entry) = self.route(Entry { key, sequence, deadline, message, reply }) {
            self.refuse(entry);
        }
    }

    /// Without waiting: a sender whose channel is full meets its own deadline.
    fn refuse(&self, entry: Entry<S>) {
        self.free.add_permits(1);
        match entry.reply {
            Reply::One(sender) => drop(sender.send(Err(Unanswered::Stopped))),
            Reply::Many(token, sender) => drop(sender.try_send((token, Err(Unanswered::Stopped)))),
        }
    }

    /// Queues the message on the lane that has its key, or parks it.
    ///
    /// # Errors
    /// The client was stopped.
    fn route(&self, mut entry: Entry<S>) -> Result<(), Entry<S>> {
        loop {
            let Some(lane) = self.choose(entry.key) else {
                let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
                if parked.is_closed {
                    return Err(entry);
                }
                parked.entries.push_back(entry);
                return Ok(());
            };
            match lane.push(entry) {
                Ok(()) => return Ok(()),
                // It was retired this moment, and is no longer among the lanes.
                Err(back) => entry = back,
            }
        }
    }

    /// The healthy lane with the highest weight; when all have failed lately, the one whose pause ends first.
    fn choose(&self, key: u64) -> Option<Arc<Lane<S>>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let best = lanes.iter().max_by_key(|lane| {
            let passed_over = lane.passed_over();
            (std::cmp::Reverse(passed_over), lane.replica.weight(key))
        });
        best.cloned()
    }

    /// Finds another lane for messages whose lane failed, in their old order.
    pub(super) async fn route_again(&self, entries: Vec<Entry<S>>) {
        if entries.is_empty() {
            return;
        }
        let now = Instant::now();
        for entry in entries {
            if self.stop.is_cancelled() {
                self.settle(entry, Err(Unanswered::Stopped)).await;
            } else if entry.deadline <= now {
                self.settle(entry, Err(Unanswered::Deadline)).await;
            } else if let Err(entry) = self.route(entry) {
                self.settle(entry, Err(Unanswered::Stopped)).await;
            }
        }
        for lane in self.lanes().iter() {
            lane.restore_order();
        }
    }

    /// The message is done: its result goes to whoever waits.
    pub(super) async fn settle(&self, entry: Entry<S>, result: Result<S::Outcome, Unanswered>) {
        self.free.add_permits(1);
        match entry.reply {
            // A caller that left wants no result.
            Reply::One(sender) => drop(sender.send(result)),
            Reply::Many(token, sender) => {
                if let Err(mpsc::error::TrySendError::Full(result)) = sender.try_send((token, result))
                    && !matches!(timeout(self.config.progress, sender.send(result)).await, Ok(Ok(())))
                {
                    metrics::counter!("simvault_stream_results_dropped_total").increment(1);
                }
            }
        }
    }

    /// Keeps one lane per healthy replica.
    async fn supervise(self: Arc<Self>, balancer: Balancer) {
        let mut changes = balancer.changes();
        let mut tick = interval(self.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_followed = true;
        loop {
            self.follow(&balancer);
            self.unpark().await;
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = changes.changed(), if is_followed => is_followed = changed.is_ok(),
                _ = tick.tick() => {}
            }
        }
        self.replace_lanes(Arc::from([]));
        let entries = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            parked.is_closed = true;
            std::mem::take(&mut parked.entries)
        };
        for entry in entries {
            self.settle(entry, Err(Unanswered::Stopped)).await;
        }
        self.free.close();
    }

    fn follow(self: &Arc<Self>, balancer: &Balancer) {
        let healthy = balancer.healthy();
        let lanes = self.lanes();
        let stays = |lane: &&Arc<Lane<S>>| healthy.iter().any(|replica| Arc::ptr_eq(replica, &lane.replica));
        let is_known = |replica: &&Arc<crate::Replica>| lanes.iter().any(|lane| Arc::ptr_eq(replica, &lane.replica));
        let kept: Vec<_> = lanes.iter().filter(stays).cloned().collect();
        let added = healthy.iter().filter(|replica| !is_known(replica));
        let added: Vec<_> = added.map(|replica| Arc::new(Lane::new(replica.clone(), self.config.window))).collect();
        if kept.len() == lanes.len() && added.is_empty() {
            return;
        }
        for lane in &added {
            tokio::spawn(lane.clone().run(self.clone()));
        }
        self.replace_lanes(kept.into_iter().chain(added).collect());
    }

    /// New messages see the new set before the old lanes are closed.
    fn replace_lanes(&self, lanes: Arc<[Arc<Lane<S>>]>) {
        let old = std::mem::replace(&mut *self.lanes.write().unwrap_or_else(PoisonError::into_inner), lanes.clone());
        for lane in old.iter().filter(|lane| !lanes.iter().any(|kept| Arc::ptr_eq(kept, lane))) {
            lane.retire();
        }
    }

    /// Parked messages go out when there is a lane, or are given up at their deadline.
    async fn unpark(&self) {
        let has_lanes = !self.lanes().is_empty();
        let now = Instant::now();
        let is_due = |entry: &Entry<S>| has_lanes || entry.deadline <= now || entry.reply.is_cancelled();
        let due = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            if !parked.entries.iter().any(is_due) {
                return;
            }
            let (due, kept) = std::mem::take(&mut parked.entries).into_iter().partition::<VecDeque<_>, _>(is_due);
            parked.entries = kept;
            due
        };
        let (over, live): (Vec<_>, Vec<_>) =
            due.into_iter().partition(|entry| entry.deadline <= now || entry.reply.is_cancelled());
        for entry in over {
            self.settle(entry, Err(Unanswered::Deadline)).await;
        }
        self.route_again(live).await;
    }
}
