//! The stream to one replica: its queue, what is unanswered, and the task that opens it, reads results, rotates it, and
//! leaves a replica that stays silent. A rotated stream waits for its last results while the next one already sends.

use std::{
    collections::VecDeque,
    error::Error,
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
use tonic::{Status, Streaming};

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
    /// The stream that sends.
    current: Sent<S>,
    /// The stream before, while it waits for its last results; there is never a third.
    draining: Option<Sent<S>>,
    waker: Option<Waker>,
    epoch: u64,
    /// When a result came, or when the first unanswered message was sent; over both streams, for it is the replica's.
    progress: Instant,
    failures: u32,
}

/// What one stream has sent.
struct Sent<S: BatchStream> {
    epoch: u64,
    /// It sends nothing more and waits for its last results.
    is_closing: bool,
    unanswered: Slots<Entry<S>>,
}

/// Why reading a stream ended.
enum End {
    /// Everything was answered.
    Complete,
    /// It is old: the next one sends, and it waits for its last results.
    Rotated,
    /// The connection broke, or the server ended the stream early.
    Broken(String),
    /// Unanswered messages, and silence.
    Silent,
    /// It waited for its last results as long as it may.
    Late,
}

impl<S: BatchStream> Lane<S> {
    pub(super) fn new(replica: Arc<Replica>, window: usize) -> Self {
        let now = Instant::now();
        let state = State {
            queue: VecDeque::new(),
            current: Sent::closed(),
            draining: None,
            waker: None,
            epoch: 0,
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
        let waker = if state.unanswered() < self.window { state.waker.take() } else { None };
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
        if state.current.epoch != epoch || state.current.is_closing {
            return Poll::Ready(None);
        }
        let credit = self.window.saturating_sub(state.unanswered()).min(BATCH_MAX);
        let count = credit.min(state.queue.len());
        if count == 0 {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.unanswered() == 0 {
            state.progress = Instant::now();
        }
        let State { queue, current, .. } = &mut *state;
        let mut messages = Vec::with_capacity(count);
        for mut entry in queue.drain(..count) {
            current.unanswered.insert_with(|id| {
                S::set_message_id(&mut entry.message, id);
                messages.push(entry.message.clone());
                entry
            });
        }
        drop(state);
        self.sent.increment(u64::try_from(count).unwrap_or(u64::MAX));
        Poll::Ready(Some(S::batch(messages)))
    }

    /// Takes the entries that the results of stream `epoch` answer.
    fn answered(&self, epoch: u64, results: S::Results) -> Vec<(Entry<S>, S::Outcome)> {
        let outcomes = S::outcomes(results);
        let mut answered = Vec::with_capacity(outcomes.len());
        let mut state = self.lock();
        if let Some(sent) = state.sent(epoch) {
            for outcome in outcomes {
                if let Some(entry) = sent.unanswered.remove(S::outcome_id(&outcome)) {
                    answered.push((entry, outcome));
                }
            }
        }
        // A batch without results is a sign of life of a server that waits itself (`outbound-smpp` for a slow SMSC).
        state.progress = Instant::now();
        if !answered.is_empty() {
            state.failures = 0;
        }
        state.send_on();
        drop(state);
        self.taken(answered.len());
        answered
    }

    /// So many messages are no longer this replica's.
    fn taken(&self, count: usize) {
        self.outstanding.decrement(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Takes what nobody waits for any more: past its deadline, or its caller left.
    fn overdue(&self, epoch: u64, now: Instant) -> Vec<Entry<S>> {
        let mut state = self.lock();
        let is_over = |entry: &Entry<S>| entry.deadline <= now || entry.reply.is_cancelled();
        let mut overdue = state.sent(epoch).map_or_else(Vec::new, |sent| sent.unanswered.take_if(is_over));
        if state.queue.iter().any(is_over) {
            let (over, kept) = std::mem::take(&mut state.queue).into_iter().partition::<VecDeque<_>, _>(is_over);
            state.queue = kept;
            overdue.extend(over);
        }
        if !overdue.is_empty() {
            state.send_on();
        }
        drop(state);
        self.taken(overdue.len());
        overdue
    }

    fn is_silent(&self, progress: Duration) -> bool {
        let state = self.lock();
        state.unanswered() > 0 && state.progress.elapsed() > progress
    }

    /// Begins the next stream; returns its number.
    fn begin(&self) -> u64 {
        let mut state = self.lock();
        state.epoch = state.epoch.wrapping_add(1);
        // Retired between the look and here: nothing is sent.
        state.current = Sent { epoch: state.epoch, is_closing: self.is_retired(), unanswered: Slots::new() };
        state.epoch
    }

    /// What becomes of a stream that is old: the one that sends is rotated unless its predecessor still waits.
    fn grown_old(&self, epoch: u64) -> Option<End> {
        let mut state = self.lock();
        if state.current.epoch != epoch {
            return Some(End::Late);
        }
        if state.draining.is_some() || state.current.is_closing {
            return None;
        }
        state.close();
        state.draining = Some(std::mem::replace(&mut state.current, Sent::closed()));
        Some(End::Rotated)
    }

    /// The stream sends nothing more, and nothing that it sent is waited for.
    fn is_done(&self, epoch: u64) -> bool {
        self.lock().sent(epoch).is_none_or(|sent| sent.is_closing && sent.unanswered.len() == 0)
    }

    /// Takes what the stream has sent and, of the one that sends, what is queued; the stream sends nothing more.
    fn abandon(&self, epoch: u64) -> Left<S> {
        let mut state = self.lock();
        let mut left = Left { sent: Vec::new(), queued: Vec::new() };
        if state.current.epoch == epoch {
            state.close();
            left.queued.extend(std::mem::take(&mut state.queue));
            left.sent = std::mem::replace(&mut state.current, Sent::closed()).unanswered.take_if(|_| true);
        } else if let Some(mut sent) = state.draining.take_if(|sent| sent.epoch == epoch) {
            left.sent = sent.unanswered.take_if(|_| true);
            state.send_on();
        }
        drop(state);
        self.taken(left.sent.len().saturating_add(left.queued.len()));
        left
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
            let epoch = self.begin();
            let end = self.stream(epoch, &shared).await;
            let pause = match &end {
                End::Complete | End::Rotated | End::Late => continue,
                End::Broken(_) => self.pass_over(BROKEN_PAUSE),
                End::Silent => self.pass_over(shared.config.progress),
            };
            self.leave(epoch, &end, &shared).await;
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
            }
        }
        // The stream that still drains ends by itself.
        self.route_unsent(&shared).await;
    }

    /// What was not sent yet goes elsewhere at once.
    async fn route_unsent(&self, shared: &Arc<Shared<S>>) {
        let unsent = std::mem::take(&mut self.lock().queue);
        self.taken(unsent.len());
        shared.route_again(unsent.into()).await;
    }

    /// What the stream left goes elsewhere in its old order; what it sent, only if it may be sent twice.
    async fn leave(&self, epoch: u64, end: &End, shared: &Arc<Shared<S>>) {
        let Left { sent, queued: mut again } = self.abandon(epoch);
        let unknown = if shared.config.once {
            sent
        } else {
            again.extend(sent);
            Vec::new()
        };
        again.sort_by_key(|entry| entry.sequence);
        self.report(end, again.len(), unknown.len());
        for entry in unknown {
            shared.settle(entry, Err(Unanswered::Unknown)).await;
        }
        shared.route_again(again).await;
    }

    fn report(&self, end: &End, resent: usize, unknown: usize) {
        let what = match end {
            End::Complete | End::Rotated => return,
            End::Broken(cause) => format!("broke ({cause})"),
            End::Silent => "is silent".to_owned(),
            End::Late => "was old and is left".to_owned(),
        };
        let count = |messages| u64::try_from(messages).unwrap_or(u64::MAX);
        counter!("simvault_stream_failures_total").increment(1);
        counter!("simvault_stream_resent_total").increment(count(resent));
        counter!("simvault_stream_unknown_total").increment(count(unknown));
        let unknown = if unknown == 0 { String::new() } else { format!(", {unknown} with an unknown outcome") };
        let address = self.replica.address();
        let text = format!("stream to {} at {address} {what}; {resent} messages sent again{unknown}", S::SERVICE);
        events::record(Kind::CommunicationFailure, text);
    }

    /// One stream, from open to end, or until the next one takes over; then a task of its own reads its last results.
    async fn stream(self: &Arc<Self>, epoch: u64, shared: &Arc<Shared<S>>) -> End {
        let config = &shared.config;
        let outgoing = Outgoing { lane: self.clone(), epoch };
        let mut results = match timeout(config.progress, S::open(self.replica.channel(), outgoing)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return End::Broken(format!("not opened: {}", cause(&status))),
            Err(_) => return End::Silent,
        };
        let end = self.read(epoch, &mut results, jittered(config.rotate_after), shared).await;
        if matches!(end, End::Rotated) {
            tokio::spawn(self.clone().drain(epoch, results, shared.clone()));
        }
        end
    }

    /// Reads the last results of a rotated stream, for as long as its successor may send.
    async fn drain(self: Arc<Self>, epoch: u64, mut results: Streaming<S::Results>, shared: Arc<Shared<S>>) {
        let span = shared.config.rotate_after.max(shared.config.progress);
        let end = self.read(epoch, &mut results, span, &shared).await;
        self.leave(epoch, &end, &shared).await;
    }

    /// Reads results until the stream ends, or is this old and something becomes of it.
    async fn read(
        &self,
        epoch: u64,
        results: &mut Streaming<S::Results>,
        old_after: Duration,
        shared: &Arc<Shared<S>>,
    ) -> End {
        let begun = Instant::now();
        let mut tick = interval(shared.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_current = self.lock().current.epoch == epoch;
        loop {
            tokio::select! {
                message = results.message() => match message {
                    Ok(Some(results)) => {
                        for (entry, outcome) in self.answered(epoch, results) {
                            shared.settle(entry, Ok(outcome)).await;
                        }
                    }
                    Ok(None) => return self.ended(epoch, begun.elapsed()),
                    Err(status) => return self.broken(epoch, &status),
                },
                _ = tick.tick() => {
                    for entry in self.overdue(epoch, Instant::now()) {
                        shared.settle(entry, Err(Unanswered::Deadline)).await;
                    }
                    if self.is_done(epoch) {
                        return End::Complete;
                    }
                    if self.is_silent(shared.config.progress) {
                        return End::Silent;
                    }
                    if begun.elapsed() > old_after && let Some(end) = self.grown_old(epoch) {
                        return end;
                    }
                }
                // Retired.
                () = self.wake.notified(), if is_current => self.route_unsent(shared).await,
            }
        }
    }

    /// The server ended the stream.
    fn ended(&self, epoch: u64, age: Duration) -> End {
        let mut state = self.lock();
        let Some(sent) = state.sent(epoch) else { return End::Complete };
        let unanswered = sent.unanswered.len();
        // An old stream may be ended by a server that recycles; a young one would be opened in a circle.
        if unanswered == 0 && (sent.is_closing || age > BROKEN_PAUSE) {
            sent.is_closing = true;
            return End::Complete;
        }
        End::Broken(format!("ended by the server with {unanswered} unanswered"))
    }

    /// The stream broke, which is nothing to one that had all it waited for.
    fn broken(&self, epoch: u64, status: &Status) -> End {
        if self.is_done(epoch) { End::Complete } else { End::Broken(cause(status)) }
    }
}

/// What a stream left behind.
struct Left<S: BatchStream> {
    sent: Vec<Entry<S>>,
    queued: Vec<Entry<S>>,
}

/// Why a stream broke, in words; what the HTTP/2 library says of a lost connection tells an operator nothing.
fn cause(status: &Status) -> String {
    if status.source().is_some() {
        tracing::debug!(code = %status.code(), "connection lost: {}", status.message());
        return "connection lost".to_owned();
    }
    format!("{}: {}", status.code(), status.message())
}

impl<S: BatchStream> Sent<S> {
    /// No stream: numbers begin at 1.
    fn closed() -> Self {
        Self { epoch: 0, is_closing: true, unanswered: Slots::new() }
    }
}

impl<S: BatchStream> State<S> {
    fn sent(&mut self, epoch: u64) -> Option<&mut Sent<S>> {
        if self.current.epoch == epoch {
            return Some(&mut self.current);
        }
        self.draining.as_mut().filter(|sent| sent.epoch == epoch)
    }

    /// Messages unanswered on both streams: the window is the replica's.
    fn unanswered(&self) -> usize {
        let draining = self.draining.as_ref().map_or(0, |sent| sent.unanswered.len());
        self.current.unanswered.len().saturating_add(draining)
    }

    /// There may be credit for what is queued.
    fn send_on(&mut self) {
        if !self.queue.is_empty()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// The stream that sends ends its side.
    fn close(&mut self) {
        self.current.is_closing = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
