//! Writes what became of launches, many at a time, and then takes their entries out of the queue: never before, so that
//! a crash repeats and does not forget.

use std::{sync::Arc, time::Duration};

use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, Timestamp},
    phonebook::Bearer,
};
use queue::Queue;
use store::{OutboundStore, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::taken::Taken;

/// One thing to write, with the queue entry that it finishes.
pub enum Finished {
    /// A backup acknowledgement left: done.
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
    clock: crate::Clock,
    stop: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while collect(&mut finished, &mut batch).await {
        let work = Work::sort(std::mem::take(&mut batch));
        while let Err(error) = work.write(store.as_ref(), Timestamp(clock())).await {
            tracing::warn!(%error, "finished actions are not written yet");
            if stop.is_cancelled() || !matches!(error, StoreError::Unavailable(_)) {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        for (channel, entries) in &work.entries {
            let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
            while let Err(error) = queue.acknowledge(*channel, &ids).await {
                tracing::warn!(%error, "finished entries are not out of the queue yet");
                if stop.is_cancelled() {
                    break;
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Fills `batch`; false when there will never be more.
async fn collect(finished: &mut mpsc::Receiver<Finished>, batch: &mut Vec<Finished>) -> bool {
    if finished.recv_many(batch, BATCH_MAX).await == 0 {
        return false;
    }
    let deadline = tokio::time::Instant::now() + HOLD;
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        match tokio::time::timeout_at(deadline, finished.recv_many(batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    true
}

/// A batch by what is to be done.
#[derive(Default)]
struct Work {
    acknowledged: Vec<(DeviceKey, ActionId)>,
    rows: Vec<(Action, State, Timestamp)>,
    entries: Vec<(Bearer, Vec<Taken>)>,
}

impl Work {
    fn sort(batch: Vec<Finished>) -> Self {
        let mut work = Self::default();
        for finished in batch {
            let entry = match finished {
                Finished::Acknowledged { device, id, entry } => {
                    work.acknowledged.push((device, id));
                    Some(entry)
                }
                Finished::Row { action, read: (state, due), entry } => {
                    work.rows.push((*action, state, due));
                    entry
                }
                Finished::Nothing { entry } => Some(entry),
            };
            let Some(entry) = entry else { continue };
            match work.entries.iter_mut().find(|(channel, _)| *channel == entry.channel) {
                Some((_, entries)) => entries.push(entry),
                None => work.entries.push((entry.channel, vec![entry])),
            }
        }
        work
    }

    /// Both statements are idempotent: a repeat after half of it changes nothing.
    async fn write(&self, store: &dyn OutboundStore, now: Timestamp) -> Result<(), StoreError> {
        if !self.acknowledged.is_empty() {
            store.finish(&self.acknowledged, now).await?;
        }
        if !self.rows.is_empty() {
            store.replace_actions(&self.rows).await?;
        }
        Ok(())
    }
}
