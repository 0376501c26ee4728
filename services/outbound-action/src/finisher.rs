//! Writes what became of launches, many at a time, and then takes their entries out of the queue: never before, so that
//! a crash repeats and does not forget.

use std::{sync::Arc, time::Duration};

use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, Timestamp},
    phonebook::Bearer,
};
use queue::Queue;
use runtime::gather;
use store::{OutboundStore, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{metrics as names, taken::Taken};

/// One thing to write, with the queue entry that it finishes.
pub enum Finished {
    /// A backup acknowledgement left: its row goes.
    Acknowledged { device: DeviceKey, id: ActionId, entry: Taken },
    /// An action's row as it is to be, guarded by the state and due time that it was read with.
    Row { action: Box<Action>, read: (State, Timestamp), entry: Option<Taken> },
    /// Nothing to write.
    Nothing { entry: Taken },
}

/// Rows of one statement.
const BATCH_MAX: usize = 256;
/// How long the first of a batch waits for others.
const HOLD: Duration = Duration::from_millis(10);
/// Between attempts when the store or the queue does not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Runs until every sender is gone. With `stop` cancelled, what cannot be written is left to the queue.
pub async fn run(
    mut finished: mpsc::Receiver<Finished>,
    store: Arc<dyn OutboundStore>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
) {
    let finisher = Finisher { store, queue, stop };
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while gather(&mut finished, &mut batch, BATCH_MAX, HOLD).await {
        let work = Work::sort(&batch);
        match finisher.write(&work).await {
            Ok(()) => finisher.acknowledge(&work).await,
            // One of them may be to blame for all: each for itself, so that only that one comes again.
            Err(StoreError::Refused(_) | StoreError::Corrupt(_) | StoreError::NotFound(_)) if batch.len() > 1 => {
                for one in &batch {
                    let work = Work::sort(std::slice::from_ref(one));
                    match finisher.write(&work).await {
                        Ok(()) => finisher.acknowledge(&work).await,
                        Err(error) => left(&error, 1),
                    }
                }
            }
            Err(error) => left(&error, batch.len()),
        }
        batch.clear();
    }
}

/// What is not written is not taken out of the queue, which delivers it again.
fn left(error: &StoreError, outcomes: usize) {
    metrics::counter!(names::UNWRITTEN).increment(outcomes as u64);
    tracing::error!(%error, outcomes, "outcomes are not written; their entries stay in the queue");
}

struct Finisher {
    store: Arc<dyn OutboundStore>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
}

impl Finisher {
    /// Repeats while the store is away, or another writer was in the way.
    async fn write(&self, work: &Work) -> Result<(), StoreError> {
        loop {
            let Err(error) = work.write(self.store.as_ref()).await else { return Ok(()) };
            tracing::warn!(%error, "finished actions are not written yet");
            let may_pass = matches!(error, StoreError::Unavailable(_) | StoreError::Conflict(_));
            if self.stop.is_cancelled() || !may_pass {
                return Err(error);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn acknowledge(&self, work: &Work) {
        for (channel, ids) in &work.entries {
            while let Err(error) = self.queue.acknowledge(*channel, ids).await {
                tracing::warn!(%error, "finished entries are not out of the queue yet");
                if self.stop.is_cancelled() {
                    break;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// A batch by what is to be done.
#[derive(Default)]
struct Work {
    acknowledged: Vec<(DeviceKey, ActionId)>,
    rows: Vec<(Action, State, Timestamp)>,
    entries: Vec<(Bearer, Vec<String>)>,
}

impl Work {
    fn sort(batch: &[Finished]) -> Self {
        let mut work = Self::default();
        for finished in batch {
            let entry = match finished {
                Finished::Acknowledged { device, id, entry } => {
                    work.acknowledged.push((*device, *id));
                    Some(entry)
                }
                Finished::Row { action, read: (state, due), entry } => {
                    work.rows.push((action.as_ref().clone(), *state, *due));
                    entry.as_ref()
                }
                Finished::Nothing { entry } => Some(entry),
            };
            let Some(Taken { channel, id, .. }) = entry else { continue };
            match work.entries.iter_mut().find(|(of, _)| of == channel) {
                Some((_, ids)) => ids.push(id.clone()),
                None => work.entries.push((*channel, vec![id.clone()])),
            }
        }
        work
    }

    /// Both statements are idempotent: a repeat after half of it changes nothing.
    async fn write(&self, store: &dyn OutboundStore) -> Result<(), StoreError> {
        if !self.acknowledged.is_empty() {
            store.finish(&self.acknowledged).await?;
        }
        if !self.rows.is_empty() {
            store.replace_actions(&self.rows).await?;
        }
        Ok(())
    }
}
