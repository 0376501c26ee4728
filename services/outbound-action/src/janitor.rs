//! Puts (back) into the queue what is due and not queued (SC-OD-03): what a crash or an empty Redis lost, what was
//! postponed, and what the card has not answered.
//!
//! It must not flood a long but healthy queue. An action older than the oldest entry of its channel cannot be in the
//! queue; when the stream is empty nothing is. What it queued within the last lease it does not queue again. An ordered
//! action whose turn has not come is not asked for: the end of the one before it queues it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{
    delivery::{ActionId, QueueEntry},
    identity::Timestamp,
    phonebook::Bearer,
};
use store::{DuePosition, DueQuery, QueuedAction};

use crate::{metrics as names, processor::Processor};

/// Looks when it is told to.
pub struct Janitor {
    processor: Arc<Processor>,
    /// What it queued, due when and when.
    queued: HashMap<ActionId, (Timestamp, Timestamp)>,
    /// Where the next round goes on, for SMS and for IP; `None`: from the oldest on.
    places: [Option<DuePosition>; 2],
}

/// Pages of one channel's round. Many actions may wait for their turn, or be in a long queue: a round looks at so many
/// pages of rows at most, and the next goes on behind them, so that they delay what is behind and never hide it.
const PAGES_MAX: usize = 50;

/// The fault that the fault tests plant, to see that they would notice it.
const PLANTED: bool = match option_env!("SIMVAULT_PLANT") {
    Some(plant) => matches!(plant.as_bytes(), b"no-janitor"),
    None => false,
};

impl Janitor {
    pub fn new(processor: Arc<Processor>) -> Self {
        Self { processor, queued: HashMap::new(), places: [None; 2] }
    }

    /// One round; how many it queued.
    ///
    /// # Errors
    /// When the store or the queue does not answer: the next round does it.
    pub async fn tick(&mut self) -> anyhow::Result<usize> {
        if PLANTED {
            return Ok(0);
        }
        let now = self.processor.now();
        let lease = self.processor.config.lease;
        self.queued.retain(|_, (_, at)| now.since(*at) < lease);
        let mut total = 0;
        let mut failed = None;
        for (at, channel) in [Bearer::Sms, Bearer::Ip].into_iter().enumerate() {
            // One channel's trouble is not the other's.
            match self.look(at, channel, now).await {
                Ok(queued) => total += queued,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => Ok(total),
            Some(error) => {
                metrics::counter!(names::JANITOR_FAILED).increment(1);
                Err(error)
            }
        }
    }

    /// One channel's part of a round: pages on from where the last round ended, until enough is queued, the round's
    /// pages are used up, or the end is reached; then the next round begins anew.
    async fn look(&mut self, at: usize, channel: Bearer, now: Timestamp) -> anyhow::Result<usize> {
        let processor = self.processor.clone();
        let created_before = self.bound(channel, now).await?;
        // What is due now is due: the store takes the bound as exclusive.
        let due_before = now.plus(Duration::from_micros(1));
        let mut total = 0_u32;
        for _ in 0..PAGES_MAX {
            let rows_max = processor.config.janitor_actions_max.saturating_sub(total);
            if rows_max == 0 {
                break;
            }
            let after = self.places.get(at).copied().flatten();
            let query = DueQuery { channel, due_before, created_before, after, rows_max };
            let page = processor.store.due(&query).await?;
            processor.fail_damaged(&page.damaged).await?;
            total = total.saturating_add(self.push(channel, &page.actions, now).await?);
            if let Some(place) = self.places.get_mut(at) {
                *place = page.next;
            }
            if page.next.is_none() {
                break;
            }
        }
        if total > 0 {
            let channel = names::channel(channel);
            tracing::info!(channel, actions = total, "due actions were not queued; they are now");
        }
        Ok(total as usize)
    }

    /// Queues those that it has not queued within the last lease; how many.
    async fn push(&mut self, channel: Bearer, due: &[QueuedAction], now: Timestamp) -> anyhow::Result<u32> {
        // One that was launched meanwhile and is due once more is queued once more.
        let is_queued = |action: &QueuedAction| self.queued.get(&action.id).is_some_and(|(due, _)| *due == action.due);
        let missing: Vec<_> = due.iter().filter(|action| !is_queued(action)).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let bodies: Vec<_> = missing.iter().map(|action| entry(action).to_octets()).collect();
        self.processor.queue.push(channel, &bodies).await?;
        self.queued.extend(missing.iter().map(|action| (action.id, (action.due, now))));
        metrics::counter!(names::JANITOR, "channel" => names::channel(channel)).increment(missing.len() as u64);
        Ok(u32::try_from(missing.len()).unwrap_or(u32::MAX))
    }

    /// Actions made before this cannot be in the channel's stream.
    async fn bound(&self, channel: Bearer, now: Timestamp) -> anyhow::Result<Timestamp> {
        let depth = self.processor.queue.depth(channel).await?;
        let label = names::channel(channel);
        metrics::gauge!(names::QUEUE_WAITING, "channel" => label).set(depth.waiting as f64);
        metrics::gauge!(names::QUEUE_PENDING, "channel" => label).set(depth.pending as f64);
        let oldest = depth.oldest_micros.map_or(now, |micros| Timestamp(micros.min(now.0)));
        metrics::gauge!(names::QUEUE_OLDEST_SECONDS, "channel" => label).set(now.since(oldest).as_secs_f64());
        let settle = i64::try_from(self.processor.config.settle.as_micros()).unwrap_or(i64::MAX);
        Ok(Timestamp(oldest.0.saturating_sub(settle)))
    }
}

fn entry(action: &QueuedAction) -> QueueEntry {
    QueueEntry {
        device: action.device,
        action: action.id,
        msisdn: action.msisdn,
        channel: action.channel,
        acknowledgement: action.acknowledgement.clone(),
        is_secured: action.is_secured,
        traces: action.traces.clone(),
    }
}
