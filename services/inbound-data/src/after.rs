//! What follows a commit and is never waited for: queue entries, error messages, resuming what waits for a card. All of it
//! is bounded; what is dropped is healed by the janitor, by the card's next message, or is an error told twice.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{delivery::QueueEntry, identity::DeviceKey, phonebook::Bearer};
use queue::Queue;
use runtime::gather;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    batch::Processor,
    replies::{self, ErrorMessage, Launchers},
};

/// Entries that wait for the queue.
const ENTRIES_MAX: usize = 16_384;
/// Cards to look at for waiting actions.
const AWAKE_MAX: usize = 16_384;
/// Entries of one push, cards of one look.
const AT_ONCE: usize = 256;
/// How long the first of them waits for others.
const HOLD: Duration = Duration::from_millis(5);

/// Hands on; clones share the tasks.
#[derive(Clone)]
pub struct After {
    processor: Arc<Processor>,
    entries: mpsc::Sender<QueueEntry>,
    replies: mpsc::Sender<ErrorMessage>,
    awake: Option<mpsc::Sender<DeviceKey>>,
}

impl After {
    /// Starts the tasks; they end when every clone is gone and what was handed on is done.
    pub fn start(
        processor: Arc<Processor>,
        queue: Arc<dyn Queue>,
        launchers: Launchers,
        resume_waiting: bool,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let (entries, to_push) = mpsc::channel(ENTRIES_MAX);
        let (replies, to_send) = mpsc::channel(replies::WAITING_MAX);
        let mut tasks = vec![
            tokio::spawn(push(processor.clone(), queue, to_push)),
            tokio::spawn(replies::run(launchers, processor.clone(), to_send)),
        ];
        let awake = resume_waiting.then(|| {
            let (awake, to_look) = mpsc::channel(AWAKE_MAX);
            // A weak handle would do: the resumer pushes too, and must not keep the pusher alive for ever.
            tasks.push(tokio::spawn(resume(processor.clone(), entries.clone(), to_look)));
            awake
        });
        (Self { processor, entries, replies, awake }, tasks)
    }

    pub fn follow(&self, to_queue: Vec<QueueEntry>, replies: Vec<ErrorMessage>, awake: Vec<DeviceKey>) {
        for entry in to_queue {
            if self.entries.try_send(entry).is_err() {
                self.processor.metrics.entries_dropped.increment(1);
            }
        }
        for reply in replies {
            if self.replies.try_send(reply).is_err() {
                self.processor.metrics.replies_dropped.increment(1);
            }
        }
        if let Some(looks) = &self.awake {
            for device in awake {
                // Full: the card's next message asks again.
                if looks.try_send(device).is_err() {
                    break;
                }
            }
        }
    }
}

async fn push(processor: Arc<Processor>, queue: Arc<dyn Queue>, mut entries: mpsc::Receiver<QueueEntry>) {
    let mut taken = Vec::with_capacity(AT_ONCE);
    while gather(&mut entries, &mut taken, AT_ONCE, HOLD).await {
        for channel in [Bearer::Sms, Bearer::Ip] {
            let bodies: Vec<Bytes> =
                taken.iter().filter(|entry| entry.channel == channel).map(QueueEntry::to_octets).collect();
            if bodies.is_empty() {
                continue;
            }
            if let Err(error) = queue.push(channel, &bodies).await {
                processor.metrics.entries_dropped.increment(u64::try_from(bodies.len()).unwrap_or(u64::MAX));
                tracing::warn!(%error, entries = bodies.len(), "the queue did not take entries; the janitor queues them");
            }
        }
        taken.clear();
    }
}

/// D-128: the card, which is served, sent something, so what waits for it starts over.
async fn resume(processor: Arc<Processor>, entries: mpsc::Sender<QueueEntry>, mut awake: mpsc::Receiver<DeviceKey>) {
    let mut devices = Vec::with_capacity(AT_ONCE);
    while gather(&mut awake, &mut devices, AT_ONCE, HOLD).await {
        devices.sort_unstable();
        devices.dedup();
        let open = match processor.store.open_actions(&devices).await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "cannot look for actions that wait for a card");
                Vec::new()
            }
        };
        devices.clear();
        for mut action in open {
            let (state, due) = (action.state, action.due);
            if !processor.policy.ladder.resume(&mut action, processor.now()) {
                continue;
            }
            match processor.store.replace_action(&action, state, due).await {
                Ok(true) => {
                    processor.metrics.resumed.increment(1);
                    if entries.try_send(QueueEntry::of(&action)).is_err() {
                        processor.metrics.entries_dropped.increment(1);
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "cannot resume an action that waits for a card"),
            }
        }
    }
}
