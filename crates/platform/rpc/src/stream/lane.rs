//! The stream to one replica: its queue, what is unanswered, and the task that opens it, reads results, rotates it, and
//! leaves a replica that stays silent.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use metrics::{Counter, Gauge, counter, gauge};
use runtime::events::{self, Kind};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tonic::Streaming;

use super::{
    BATCH_MAX, BatchStream,
    client::{Entry, Shared, Unanswered},
    outgoing::Outgoing,
    slots::Slots,
};
use crate::{jittered, replica::Replica};

/// After a broken stream its replica is passed over for this long, doubled each time, ...
const BROKEN_PAUSE: Duration = Duration::from_millis(50);
/// ... but never longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The way to one replica.
pub(super) struct Lane<S: BatchStream> {
    pub(super) replica: Arc<Replica>,
    window: usize,
    state: Mutex<State<S>>,
    /// Tells the task that the lane was retired.
    wake: Notify,
    is_retired: AtomicBool,
    /// Milliseconds after `born` until which others are preferred.
    passed_over_until: AtomicU64,
    born: Instant,
    /// Messages written to this replica's streams, repeats included.
    sent: Counter,
    /// Messages that are this replica's to answer: queued for it or sent to it.
    outstanding: Gauge,
}

struct State<S: BatchStream> {
    queue: VecDeque<Entry<S>>,
    unanswered: Slots<Entry<S>>,
    waker: Option<Waker>,
    epoch: u64,
    /// The stream sends nothing more and waits for its last results.
    is_closing: bool,
    /// When a result came, or when the first unanswered message was sent.
    progress: Instant,
    failures: u32,
}

/// Why a stream ended.
enum End {
    /// Everything was answered.
    Complete,
    /// The connection broke, or the server ended the stream early.
    Broken(String),
    /// Unanswered messages, and silence.
    Silent,
}

impl<S: BatchStream> Lane<S> {
    pub(super) fn new(replica: Arc<Replica>, window: usize) -> Self {
        let now = Instant::now();
        let state = State {
            queue: VecDeque::new(),
            unanswered: Slots::new(),
            waker: None,
            epoch: 0,
            is_closing: false,
            progress: now,
            failures: 0,
        };
        let label = replica.address().to_owned();
        Self {
            sent: counter!("simvault_stream_messages_total", "replica" => label.clone()),
            outstanding: gauge!("simvault_stream_outstanding", "replica" => label),
            replica,
            window,
            state: Mutex::new(state),
            wake: Notify::new(),
            is_retired: AtomicBool::new(false),
            passed_over_until: AtomicU64::new(0),
            born: now,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long others are to be preferred, milliseconds; 0: not at all.
    pub(super) fn passed_over(&self) -> u64 {
        let until = self.passed_over_until.load(Ordering::Relaxed);
        if until == 0 { 0 } else { until.saturating_sub(self.age_millis()) }
    }

    fn age_millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The lane was retired: the message comes back.
    pub(super) fn push(&self, entry: Entry<S>) -> Result<(), Entry<S>> {
        let mut state = self.lock();
        if self.is_retired.load(Ordering::Relaxed) {
            return Err(entry);
        }
        state.queue.push_back(entry);
        self.outstanding.increment(1);
        let waker = if state.unanswered.len() < self.window { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Messages that were on another lane go before those that came after them.
    pub(super) fn restore_order(&self) {
        self.lock().queue.make_contiguous().sort_by_key(|entry| entry.sequence);
    }

    /// Nothing new is sent; what is unanswered may still be answered.
    pub(super) fn retire(&self) {
        let mut state = self.lock();
        self.is_retired.store(true, Ordering::Relaxed);
        state.close();
        drop(state);
        self.wake.notify_one();
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// The next batch of stream `epoch`: all that is queued, within credit.
    pub(super) fn poll_batch(&self, epoch: u64, context: &mut Context<'_>) -> Poll<Option<S::Batch>> {
        let mut state = self.lock();
        if state.epoch != epoch || state.is_closing {
            return Poll::Ready(None);
        }
        let credit = self.window.saturating_sub(state.unanswered.len()).min(BATCH_MAX);
        let count = credit.min(state.queue.len());
        if count == 0 {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.unanswered.len() == 0 {
            state.progress = Instant::now();
        }
        let State { queue, unanswered, .. } = &mut *state;
        let mut messages = Vec::with_capacity(count);
        for mut entry in queue.drain(..count) {
            unanswered.insert_with(|id| {
                S::set_message_id(&mut entry.message, id);
                messages.push(entry.message.clone());
                entry
            });
        }
        drop(state);
        self.sent.increment(u64::try_from(count).unwrap_or(u64::MAX));
        Poll::Ready(Some(S::batch(messages)))
    }

    /// Takes the entries that the results answer.
    fn answered(&self, results: S::Results) -> Vec<(Entry<S>, S::Outcome)> {
        let outcomes = S::outcomes(results);
        let mut answered = Vec::with_capacity(outcomes.len());
        let mut state = self.lock();
        for outcome in outcomes {
            if let Some(entry) = state.unanswered.remove(S::outcome_id(&outcome)) {
                answered.push((entry, outcome));
            }
        }
        // A batch without results is a sign of life of a server that waits itself (`outbound-smpp` for a slow SMSC).
        state.progress = Instant::now();
        if !answered.is_empty() {
            state.failures = 0;
        }
        let waker = if state.queue.is_empty() { None } else { state.waker.take() };
        drop(state);
        self.taken(answered.len());
        if let Some(waker) = waker {
            waker.wake();
        }
        answered
    }

    /// So many messages are no longer this replica's.
    fn taken(&self, count: usize) {
        self.outstanding.decrement(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Takes what nobody waits for any more: past its deadline, or its caller left.
    fn overdue(&self, now: Instant) -> Vec<Entry<S>> {
        let mut state = self.lock();
        let is_over = |entry: &Entry<S>| entry.deadline <= now || entry.reply.is_cancelled();
        let mut overdue = state.unanswered.take_if(is_over);
        if state.queue.iter().any(is_over) {
            let (over, kept) = std::mem::take(&mut state.queue).into_iter().partition::<VecDeque<_>, _>(is_over);
            state.queue = kept;
            overdue.extend(over);
        }
        drop(state);
        self.taken(overdue.len());
        overdue
    }

    fn is_silent(&self, progress: Duration) -> bool {
        let state = self.lock();
        state.unanswered.len() > 0 && state.progress.elapsed() > progress
    }

    /// The next stream's number; the one before sends nothing more.
    fn next_epoch(&self) -> u64 {
        let mut state = self.lock();
        state.close();
        state.epoch = state.epoch.wrapping_add(1);
        state.is_closing = false;
        state.epoch
    }

    fn close(&self) {
        self.lock().close();
    }

    /// Takes all messages, in the order they came; the present stream sends nothing more.
    fn abandon(&self) -> Vec<Entry<S>> {
        let mut state = self.lock();
        state.close();
        state.epoch = state.epoch.wrapping_add(1);
        let mut entries = state.unanswered.take_if(|_| true);
        entries.extend(std::mem::take(&mut state.queue));
        drop(state);
        self.taken(entries.len());
        entries.sort_by_key(|entry| entry.sequence);
        entries
    }

    /// Others are preferred for a while, longer with each failure in a row.
    fn pass_over(&self, first: Duration) -> Duration {
        let mut state = self.lock();
        let pause = first.saturating_mul(1_u32.checked_shl(state.failures).unwrap_or(u32::MAX)).min(PAUSE_MAX);
        state.failures = state.failures.saturating_add(1).min(16);
        drop(state);
        let until = self.age_millis().saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.passed_over_until.store(until, Ordering::Relaxed);
        pause
    }

    /// Runs until the lane is retired and its messages are answered or elsewhere.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared<S>>) {
        while !self.is_retired() {
            let end = self.stream(&shared).await;
            let pause = match &end {
                End::Complete => continue,
                End::Broken(_) => self.pass_over(BROKEN_PAUSE),
                End::Silent => self.pass_over(shared.config.progress),
            };
            let entries = self.abandon();
            self.report(&end, entries.len());
            shared.route_again(entries).await;
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
            }
        }
        shared.route_again(self.abandon()).await;
    }

    fn report(&self, end: &End, resent: usize) {
        let text = match end {
            End::Complete => return,
            End::Broken(cause) => cause.as_str(),
            End::Silent => "silent",
        };
        counter!("simvault_stream_failures_total").increment(1);
        counter!("simvault_stream_resent_total").increment(u64::try_from(resent).unwrap_or(u64::MAX));
        let text = format!("stream to {}: {text}; {resent} messages sent again", self.replica.address());
        events::record(Kind::CommunicationFailure, text);
    }

    /// One stream, from open to end.
    async fn stream(self: &Arc<Self>, shared: &Arc<Shared<S>>) -> End {
        let outgoing = Outgoing { lane: self.clone(), epoch: self.next_epoch() };
        // Retired between the look and the epoch: close again.
        if self.is_retired() {
            self.close();
        }
        let opened = match timeout(shared.config.progress, S::open(self.replica.channel(), outgoing)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return End::Broken(format!("not opened: {}", status.message())),
            Err(_) => return End::Silent,
        };
        self.read(opened, shared).await
    }

    async fn read(&self, mut stream: Streaming<S::Results>, shared: &Arc<Shared<S>>) -> End {
        let config = &shared.config;
        let opened = Instant::now();
        let rotate_after = jittered(config.rotate_after);
        let mut tick = interval(shared.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(results)) => {
                        for (entry, outcome) in self.answered(results) {
                            shared.settle(entry, Ok(outcome)).await;
                        }
                    }
                    Ok(None) => return self.ended(opened.elapsed()),
                    Err(status) => return End::Broken(format!("{}: {}", status.code(), status.message())),
                },
                _ = tick.tick() => {
                    for entry in self.overdue(Instant::now()) {
                        shared.settle(entry, Err(Unanswered::Deadline)).await;
                    }
                    if self.is_silent(config.progress) {
                        return End::Silent;
                    }
                    if opened.elapsed() > rotate_after {
                        self.close();
                    }
                }
                () = self.wake.notified() => {
                    // Retired: what was not sent yet goes elsewhere at once.
                    let unsent = std::mem::take(&mut self.lock().queue);
                    self.taken(unsent.len());
                    shared.route_again(unsent.into()).await;
                }
            }
        }
    }

    /// The server ended the stream.
    fn ended(&self, age: Duration) -> End {
        let state = self.lock();
        match (state.unanswered.len(), state.is_closing) {
            (0, true) => End::Complete,
            // An old stream may be ended by a server that recycles; a young one would be opened in a circle.
            (0, false) if age > BROKEN_PAUSE => End::Complete,
            (unanswered, _) => End::Broken(format!("ended by the server with {unanswered} unanswered")),
        }
    }
}

impl<S: BatchStream> State<S> {
    fn close(&mut self) {
        self.is_closing = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
