//! What the steps share, and the small steps that several of them take.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, QueueEntry, RetryLadder, State},
    identity::{DeviceKey, Timestamp},
    phonebook::DeviceView,
    security::Keyring,
};
use queue::Queue;
use store::{Damaged, Notice, OutboundStore, StoreError};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Clock, Config,
    budget::{Budget, Verdict},
    finisher::Finished,
    launcher::Launchers,
    metrics as names,
    reach::Reach,
    securing::Turns,
    taken::Taken,
};

/// Store, queue, launchers and clock, with the counters of this process.
pub struct Processor {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn OutboundStore>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) launchers: Launchers,
    pub(crate) ladder: RetryLadder,
    pub(crate) reach: Reach,
    pub(crate) keyring: Keyring,
    pub(crate) turns: Turns,
    pub(crate) stop: CancellationToken,
    /// Launches under way; the drain waits for them.
    pub(crate) tasks: TaskTracker,
    budget: Budget,
    clock: Clock,
    finished: mpsc::Sender<Finished>,
}

/// Finished launches waiting to be written.
const FINISHED_MAX: usize = 8192;
/// Between attempts to read when the store does not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

impl Processor {
    /// The processor and what its finisher reads.
    pub(crate) fn new(
        config: Config,
        store: Arc<dyn OutboundStore>,
        queue: Arc<dyn Queue>,
        launchers: Launchers,
        clock: Clock,
        stop: CancellationToken,
    ) -> (Arc<Self>, mpsc::Receiver<Finished>) {
        let (finished, receiver) = mpsc::channel(FINISHED_MAX);
        let ladder = RetryLadder {
            first: config.retry_first,
            cap: config.retry_cap,
            attempts_max: config.attempts_max,
            ..RetryLadder::default()
        };
        let reach = Reach::new(config.ip_fallback);
        let budget = Budget::new(config.sms_budget_per_day, config.sms_slowed);
        // Checked where the service starts.
        let keyring = Keyring::from_setting(config.master_key.expose()).unwrap_or_default();
        let processor = Self {
            config,
            store,
            queue,
            launchers,
            ladder,
            reach,
            keyring,
            turns: Turns::default(),
            stop,
            tasks: TaskTracker::new(),
            budget,
            clock,
            finished,
        };
        (Arc::new(processor), receiver)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp((self.clock)())
    }

    /// Hands over what is to be written; waits while the store is behind.
    pub(crate) async fn finish(&self, finished: Finished) {
        if self.finished.send(finished).await.is_err() {
            tracing::debug!("the finisher is gone; the entry stays in the queue");
        }
    }

    pub(crate) async fn drop_entry(&self, entry: Taken) {
        self.finish(Finished::Nothing { entry }).await;
    }

    /// A row as it is to be, and its entry out of the queue.
    pub(crate) async fn write_row(&self, action: Action, read: (State, Timestamp), entry: Option<Taken>) {
        let kind = match action.state {
            State::Queued => "postponed",
            State::Sent => "sent",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Done | State::Cancelled => "done",
        };
        metrics::counter!(names::ACTIONS, "state" => kind).increment(1);
        self.finish(Finished::Row { action: Box::new(action), read, entry }).await;
    }

    /// Repeats a read while the store is away; `None`: the process stops, or the store refuses.
    pub(crate) async fn reading<T, F>(&self, mut read: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match read().await {
                Ok(value) => return Some(value),
                Err(error) => {
                    tracing::warn!(%error, "actions are not read yet");
                    if self.stop.is_cancelled() || !matches!(error, StoreError::Unavailable(_)) {
                        return None;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Reads actions; those whose rows are damaged are failed and reported, and cost the others nothing.
    pub(crate) async fn load(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Vec<(Action, DeviceView)>, StoreError> {
        let loaded = self.store.actions(ids).await?;
        self.fail_damaged(&loaded.damaged).await?;
        Ok(loaded.actions)
    }

    /// Fails actions whose rows are damaged, tells people, and gives the next of their devices its turn. What only this
    /// replica cannot read stays as it is, for the janitor to bring again: in a rolling update, a newer one can.
    pub(crate) async fn fail_damaged(&self, damaged: &[Damaged]) -> Result<(), StoreError> {
        let (lost, left): (Vec<Damaged>, Vec<Damaged>) = damaged.iter().cloned().partition(|one| one.is_lost);
        if let Some(Damaged { device, id, why, .. }) = left.first() {
            metrics::counter!(names::LEFT).increment(left.len() as u64);
            let (actions, subscriber) = (left.len(), device.subscriber.0);
            tracing::warn!(
                actions,
                subscriber,
                action = id.0,
                why,
                "actions are left: they or their cards do not decode"
            );
        }
        if lost.is_empty() {
            return Ok(());
        }
        for one in &lost {
            tracing::error!(
                subscriber = one.device.subscriber.0,
                action = one.id.0,
                why = one.why,
                "the row of an action does not decode; the action fails"
            );
        }
        let failed = self.store.fail_damaged(&lost, self.now()).await?;
        metrics::counter!(names::DAMAGED).increment(failed);
        for one in &lost {
            self.queue_head(one.device).await?;
        }
        Ok(())
    }

    /// Queues the oldest open ordered action of a device: its turn has come (SC-OD-10). One whose row does not decode is
    /// the janitor's.
    pub(crate) async fn queue_head(&self, device: DeviceKey) -> Result<(), StoreError> {
        let heads = self.store.heads(&[device]).await?;
        for (action, _) in self.store.actions(&heads).await?.actions {
            self.queue_action(&action).await;
        }
        Ok(())
    }

    /// The row of a dead-lettered entry fails too, or the janitor would bring it back; an operator may retry it.
    pub(crate) async fn give_up(&self, entry: &QueueEntry, cause: &str) {
        let ids = [key(entry)];
        let Some(rows) = self.reading(|| self.load(&ids)).await else { return };
        for (mut action, _) in rows.into_iter().filter(|(action, _)| action.state.is_open()) {
            let (state, due) = (action.state, action.due);
            self.ladder.refused(&mut action, cause);
            self.report(&action).await;
            // Written before the next one's turn is looked for, or this one would still be it.
            let moves = [(action, state, due)];
            if self.reading(|| self.store.replace_actions(&moves)).await.is_none() {
                return;
            }
        }
        if let Err(error) = self.queue_head(entry.device).await {
            tracing::warn!(%error, "the next action of a device was not queued; the janitor will");
        }
    }

    /// The janitor finds what the queue does not take.
    pub(crate) async fn queue_action(&self, action: &Action) {
        let body: Bytes = QueueEntry::of(action).to_octets();
        if let Err(error) = self.queue.push(action.channel, &[body]).await {
            tracing::warn!(%error, "an action was not queued; the janitor will");
        }
    }

    /// Tells customer service of an action that failed for good (SC-OC-04).
    pub(crate) async fn report(&self, action: &Action) {
        let text = format!("action {}: {}", action.id.0, action.cause);
        self.notice(action.msisdn, "action_failed", text).await;
    }

    async fn notice(&self, msisdn: domain::identity::Msisdn, kind: &str, text: String) {
        let notice = Notice { at: self.now(), msisdn: Some(msisdn), kind: kind.to_owned(), text };
        if let Err(error) = self.store.add_notices(&[notice]).await {
            tracing::error!(%error, "a notice for customer service was not stored");
        }
    }

    /// D-121: `Some(when)` holds a short message back.
    pub(crate) async fn over_budget(&self, device: DeviceKey, msisdn: domain::identity::Msisdn) -> Option<Timestamp> {
        let when = match self.budget.take(device, self.now()) {
            Verdict::Go => return None,
            Verdict::Later(when) => when,
            Verdict::Report(when) => {
                let per_day = self.config.sms_budget_per_day;
                tracing::warn!(%msisdn, per_day, "a card is over its budget of short messages; it is slowed");
                let text = format!("more than {per_day} short messages today; slowed, nothing is lost");
                self.notice(msisdn, "over_budget", text).await;
                when
            }
        };
        metrics::counter!(names::OVER_BUDGET).increment(1);
        Some(when)
    }
}

/// Ids as the store is asked for them.
pub(crate) fn key(entry: &QueueEntry) -> (DeviceKey, ActionId) {
    (entry.device, entry.action)
}
