//! Puts (back) into the queue what is due and not queued (SC-OD-03): what a crash or an empty Redis lost, what was
//! postponed, and what the card has not answered.
//!
//! It must not flood a long but healthy queue. An action older than the oldest entry of its channel cannot be in the
//! queue; when the stream is empty nothing is. What it queued within the last lease it does not queue again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{
    delivery::{ActionId, QueueEntry},
    identity::{Timestamp, made_at},
    phonebook::Bearer,
};

use crate::{metrics as names, processor::Processor};

/// Looks when it is told to.
pub struct Janitor {
    processor: Arc<Processor>,
    queued: HashMap<ActionId, Timestamp>,
}

/// The fault that the fault tests plant, to see that they would notice it.
const PLANTED: bool = match option_env!("SIMVAULT_PLANT") {
    Some(plant) => matches!(plant.as_bytes(), b"no-janitor"),
    None => false,
};

impl Janitor {
    pub fn new(processor: Arc<Processor>) -> Self {
        Self { processor, queued: HashMap::new() }
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
        self.queued.retain(|_, at| now.since(*at) < lease);
        let bounds =
            [(Bearer::Sms, self.bound(Bearer::Sms, now).await?), (Bearer::Ip, self.bound(Bearer::Ip, now).await?)];
        let latest = bounds.iter().map(|(_, bound)| *bound).max().unwrap_or(now);
        // What is due now is due: the store takes the bound as exclusive.
        let due_before = now.plus(Duration::from_micros(1));
        let due = self.processor.store.due(due_before, latest, self.processor.config.janitor_actions_max).await?;
        let mut total = 0;
        for (channel, bound) in bounds {
            let missing: Vec<_> = due
                .iter()
                .filter(|action| action.channel == channel && made_at(action.id.0) < bound)
                .filter(|action| !self.queued.contains_key(&action.id))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let bodies: Vec<_> = missing.iter().map(|action| entry(action).to_octets()).collect();
            self.processor.queue.push(channel, &bodies).await?;
            self.queued.extend(missing.iter().map(|action| (action.id, now)));
            total += missing.len();
            metrics::counter!(names::JANITOR, "channel" => names::channel(channel)).increment(missing.len() as u64);
            tracing::info!(
                channel = names::channel(channel),
                actions = missing.len(),
                "due actions were not queued; they are now"
            );
        }
        Ok(total)
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

fn entry(action: &store::QueuedAction) -> QueueEntry {
    QueueEntry {
        device: action.device,
        action: action.id,
        msisdn: action.msisdn,
        channel: action.channel,
        acknowledgement: action.acknowledgement.clone(),
        traces: action.traces.clone(),
    }
}
