//! The server's side of a batch stream: hands messages to a handler, sends results as they come, in natural batches.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::{BATCH_MAX, BatchStream};

/// A message, and the way to answer it.
pub struct Job<S: BatchStream> {
    pub message: S::Message,
    pub answer: Answer<S>,
}

/// The way to answer one message, in any order, from any task. Dropped unused it tells nothing: the client sends the message
/// again elsewhere.
pub struct Answer<S: BatchStream> {
    id: u64,
    outbox: Arc<Outbox<S>>,
}

impl<S: BatchStream> Answer<S> {
    /// Sets the outcome's id and sends it with the next batch.
    pub fn send(self, mut outcome: S::Outcome) {
        S::set_outcome_id(&mut outcome, self.id);
        self.outbox.lock().outcomes.push(outcome);
        // Dropping it wakes the stream.
    }
}

impl<S: BatchStream> Drop for Answer<S> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.outbox.lock();
            state.unanswered = state.unanswered.saturating_sub(1);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        self.outbox.room.notify_one();
    }
}

struct Outbox<S: BatchStream> {
    state: Mutex<State<S>>,
    /// An answer was given: there may be room for another message.
    room: Notify,
    /// The client is gone.
    is_gone: AtomicBool,
}

struct State<S: BatchStream> {
    outcomes: Vec<S::Outcome>,
    unanswered: usize,
    /// The client sends nothing more.
    has_ended: bool,
    waker: Option<Waker>,
}

impl<S: BatchStream> Outbox<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The results of one stream; ends when the client has ended its side and everything is answered.
pub struct Results<S: BatchStream> {
    outbox: Arc<Outbox<S>>,
}

impl<S: BatchStream> Stream for Results<S> {
    type Item = Result<S::Results, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.outbox.lock();
        if state.outcomes.is_empty() {
            if state.has_ended && state.unanswered == 0 {
                return Poll::Ready(None);
            }
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = state.outcomes.len().min(BATCH_MAX.saturating_mul(4));
        let rest = state.outcomes.split_off(count);
        let outcomes = std::mem::replace(&mut state.outcomes, rest);
        Poll::Ready(Some(Ok(S::results(outcomes))))
    }
}

impl<S: BatchStream> Drop for Results<S> {
    fn drop(&mut self) {
        self.outbox.is_gone.store(true, Ordering::Relaxed);
        self.outbox.room.notify_one();
    }
}

/// Serves one stream: `handler` gets each message, one after the other; while it waits, or while `limit` messages are
/// unanswered, nothing more is read, which the client feels as back-pressure. Return the results as the RPC's response.
pub fn serve_batches<S, F, H>(inbound: Streaming<S::Batch>, limit: usize, handler: F) -> Results<S>
where
    S: BatchStream,
    F: FnMut(Job<S>) -> H + Send + 'static,
    H: Future<Output = ()> + Send + 'static,
{
    let state = State { outcomes: Vec::new(), unanswered: 0, has_ended: false, waker: None };
    let outbox = Arc::new(Outbox { state: Mutex::new(state), room: Notify::new(), is_gone: AtomicBool::new(false) });
    tokio::spawn(read(inbound, limit.max(1), handler, outbox.clone()));
    Results { outbox }
}

async fn read<S, F, H>(mut inbound: Streaming<S::Batch>, limit: usize, mut handler: F, outbox: Arc<Outbox<S>>)
where
    S: BatchStream,
    F: FnMut(Job<S>) -> H + Send + 'static,
    H: Future<Output = ()> + Send + 'static,
{
    // A broken stream ends as an ended one: what was read is still handled.
    while let Ok(Some(batch)) = inbound.message().await {
        for message in S::messages(batch) {
            while outbox.lock().unanswered >= limit && !outbox.is_gone.load(Ordering::Relaxed) {
                outbox.room.notified().await;
            }
            if outbox.is_gone.load(Ordering::Relaxed) {
                return;
            }
            outbox.lock().unanswered += 1;
            let answer = Answer { id: S::message_id(&message), outbox: outbox.clone() };
            handler(Job { message, answer }).await;
        }
    }
    let waker = {
        let mut state = outbox.lock();
        state.has_ended = true;
        state.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}
