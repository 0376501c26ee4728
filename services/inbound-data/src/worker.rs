//! A worker: takes all that is queued, never waits on a timer, commits once, answers after the commit.
//!
//! A conflict is read and done again; a store that does not answer makes the senders wait; a batch that the store refuses
//! is halved until the one message that it cannot take stands alone, which is set aside.

use std::{sync::Arc, time::Duration};

use domain::phonebook::apply::Countdown;
use link::reason::Reason;
use proto::inbound::Outcome;
use runtime::{
    Traces,
    events::{self, Kind},
    mask::Number,
};
use store::StoreError;
use tokio::sync::mpsc;

use crate::{
    after::After,
    batch::{Attempt, Memory, Processor},
    envelope::Observed,
    item::{Answer, Item, Outbox, Received},
    pace::Turn,
    plant,
};

/// How often a batch that meets newer versions is done over before its senders are asked to wait.
const CONFLICTS_MAX: u32 = 10;

pub struct Worker {
    pub processor: Arc<Processor>,
    pub after: After,
    pub batch_max: usize,
    pub retry_after: Duration,
    pub turn: Turn,
}

impl Worker {
    /// Until every sender is gone and everything received is done.
    pub async fn run(self, mut waiting: mpsc::Receiver<Item>) {
        let mut batch = Vec::with_capacity(self.batch_max);
        while waiting.recv_many(&mut batch, self.batch_max).await > 0 {
            let taken = batch.len();
            // Their edge sends them again: done here too, a slow store would have ever more to do.
            batch.retain(|item| !item.is_abandoned());
            let abandoned = u64::try_from(taken - batch.len()).unwrap_or(u64::MAX);
            self.processor.metrics.abandoned.increment(abandoned);
            if batch.is_empty() {
                continue;
            }
            self.processor.metrics.batch_messages.record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            self.turn.begins();
            self.process(std::mem::take(&mut batch)).await;
            self.turn.ends();
        }
    }

    /// Everything in the batch is answered when this returns.
    async fn process(&self, items: Vec<Item>) {
        let mut memory = Memory::default();
        // In order: what is pushed last is done first.
        let mut todo = vec![items];
        while let Some(items) = todo.pop() {
            match self.store_all(items, &mut memory).await {
                Stored::Done { over } => {
                    if !over.is_empty() {
                        todo.push(over);
                    }
                }
                Stored::Unavailable { items } => {
                    // What is left would fare no better.
                    todo.push(items);
                    for items in todo.drain(..).rev() {
                        self.answer_all(&items, Answer::retry(self.retry_after));
                    }
                }
                Stored::Refused { mut items, error } => match items.len() {
                    0 => {}
                    1 => self.set_aside(&items, &error).await,
                    count => {
                        let second = items.split_off(count / 2);
                        todo.push(second);
                        todo.push(items);
                    }
                },
            }
        }
    }

    async fn store_all(&self, items: Vec<Item>, memory: &mut Memory) -> Stored {
        for _ in 0..CONFLICTS_MAX {
            match self.store_once(&items, memory).await {
                Ok(attempt) => {
                    memory.claims.extend(attempt.told.iter().map(|msisdn| (*msisdn, false)));
                    return Stored::Done { over: self.done(items, attempt) };
                }
                Err(StoreError::Conflict(_)) => {
                    self.processor.metrics.conflicts.increment(1);
                    tokio::task::yield_now().await;
                }
                Err(StoreError::Unavailable(cause)) => {
                    events::record(Kind::CommunicationFailure, format!("store: {cause}"));
                    return Stored::Unavailable { items };
                }
                Err(error) => return Stored::Refused { items, error },
            }
        }
        Stored::Unavailable { items }
    }

    async fn store_once(&self, items: &[Item], memory: &mut Memory) -> Result<Attempt, StoreError> {
        let mut attempt = self.processor.attempt(items, memory).await?;
        if plant::ACKNOWLEDGES_BEFORE_COMMIT {
            self.answer_each(items, &attempt.answers);
        }
        let commit = std::mem::take(&mut attempt.commit);
        let moved = if tracing::enabled!(tracing::Level::DEBUG) { commit.moved_actions.clone() } else { Vec::new() };
        self.processor.commit(commit).await?;
        for (action, ..) in moved {
            tracing::debug!(traces = %Traces(&action.traces), msisdn = %action.msisdn, action = action.id.0,
                state = ?action.state, "the card's answer moved an action");
        }
        Ok(attempt)
    }

    /// After the commit: results, then everything whose loss only delays. Gives the items that are to be done over.
    fn done(&self, items: Vec<Item>, attempt: Attempt) -> Vec<Item> {
        if !plant::ACKNOWLEDGES_BEFORE_COMMIT {
            self.answer_each(&items, &attempt.answers);
        }
        let metrics = &self.processor.metrics;
        metrics.resynchronisations.increment(attempt.resynchronisations);
        metrics.mismatches.increment(attempt.mismatches);
        attempt.notices.iter().for_each(|kind| metrics.notice(kind));
        attempt.observed.iter().for_each(Observed::tell);
        for countdown in attempt.countdowns {
            let Countdown { msisdn, session, received, total, next } = countdown;
            tracing::info!(%msisdn, session, received, total, next_micros = next.0, "an asynchronous backup pauses");
        }
        self.after.follow(attempt.to_queue, attempt.replies, attempt.awake);
        let answers = attempt.answers.into_iter();
        items.into_iter().zip(answers).filter(|(_, answer)| answer.is_none()).map(|(item, _)| item).collect()
    }

    fn answer_each(&self, items: &[Item], answers: &[Option<Answer>]) {
        let mut outbox = Outbox::default();
        for (item, answer) in items.iter().zip(answers) {
            if let (Item::Message(received), Some(answer)) = (item, answer) {
                self.processor.metrics.outcome(answer.outcome).increment(1);
                if answer.outcome == Outcome::Refused {
                    alert(received, *answer);
                }
                tracing::debug!(traces = %Traces(&[&received.message.trace_id]), outcome = ?answer.outcome, "committed");
                outbox.push(received, *answer);
            }
        }
        outbox.send();
    }

    fn answer_all(&self, items: &[Item], answer: Answer) {
        self.answer_each(items, &vec![Some(answer); items.len()]);
    }

    /// One message that no commit takes: recorded as refused, so that the network does not send it again and it spoils
    /// nothing else; the card has it still.
    async fn set_aside(&self, items: &[Item], error: &StoreError) {
        let Some(item) = items.first() else { return };
        self.processor.metrics.dead_letters.increment(1);
        events::record(Kind::Refusal, format!("a message cannot be stored: {error}"));
        let answer = match self.processor.set_aside(item, error).await {
            Ok(to_queue) => {
                self.after.follow(to_queue, Vec::new(), Vec::new());
                Answer::refused(Reason::StorageUnavailable)
            }
            Err(_) => Answer::retry(self.retry_after),
        };
        self.answer_all(items, answer);
    }
}

/// SC-ER-01: the operator sees it in the system log and in the counters by kind.
fn alert(received: &Received, answer: Answer) {
    let from = received.message.originator.as_ref().map_or("", |originator| originator.digits.as_str());
    let (octets, reason) = (received.message.payload.len(), answer.reason);
    let name = Reason::from_code(reason).map_or("unknown", Reason::name);
    metrics::counter!("simvault_inbound_refused_total", "reason" => name).increment(1);
    events::record(Kind::Refusal, format!("{octets} octets of {} refused, reason {reason:02X}", Number(from)));
}

/// How an attempt at some items ended.
enum Stored {
    /// Answered, but for those that are to be read again.
    Done { over: Vec<Item> },
    /// Nothing was committed; later.
    Unavailable { items: Vec<Item> },
    /// Nothing was committed; never in this company.
    Refused { items: Vec<Item>, error: StoreError },
}
