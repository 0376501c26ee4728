//! One channel's path: pop from the queue, tell acknowledgements from ordered actions, hold and launch.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{delivery::QueueEntry, phonebook::Bearer};
use queue::{Entry, QueueError};
use tokio::sync::mpsc;

use crate::{
    holder::{Held, Holder},
    metrics as names,
    processor::Processor,
    taken::{Taken, Window},
};

/// Entries taken from the queue at once.
const POP_MAX: usize = 128;
/// How long one pop waits for the first entry; a stop is noticed after it.
const POP_WAIT: Duration = Duration::from_millis(500);
/// A pause after fewer: entries come in ones, and a pop of some costs hardly more than a pop of one.
const POP_PAUSE: Duration = Duration::from_millis(5);
/// How much longer than the hold an acknowledgement may wait, so that those that are due soon leave with it.
const TOGETHER: Duration = Duration::from_millis(20);
/// How long the store may take to say that it is there, before entries of others are taken over.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// After the queue did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Runs until told to stop; then what is held is launched and the tasks are left to the drain.
pub async fn run(processor: Arc<Processor>, channel: Bearer) {
    let (acknowledgements, receiver) = mpsc::channel(processor.config.in_flight_max.max(1));
    processor.tasks.spawn(hold(processor.clone(), channel, receiver));
    let window = Window::new(channel, processor.config.in_flight_max);
    let lease = processor.config.lease;
    let mut reclaimed = Instant::now();
    while !processor.stop.is_cancelled() {
        let room = window.room(POP_MAX).await;
        let mut taken = processor.queue.pop(channel, &processor.config.consumer, room, POP_WAIT).await;
        // Reclaiming waits for room like everything else, and looks only now and then.
        if taken.is_ok() && reclaimed.elapsed() >= lease / 3 {
            reclaimed = Instant::now();
            taken = reclaim(&processor, channel, lease, taken).await;
        }
        match taken {
            Ok(entries) => {
                let popped = entries.len();
                sort(&processor, channel, &window, entries, &acknowledgements).await;
                if (1..room).contains(&popped) {
                    tokio::time::sleep(POP_PAUSE).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, channel = names::channel(channel), "the queue does not answer");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                    () = processor.stop.cancelled() => {}
                }
            }
        }
    }
}

/// Adds what another consumer left behind (PF-05). Not while the store is away: entries that only wait for it would go
/// back and forth between the replicas, and each time would count as a delivery without anything having been decided.
async fn reclaim(
    processor: &Processor,
    channel: Bearer,
    lease: Duration,
    taken: Result<Vec<Entry>, QueueError>,
) -> Result<Vec<Entry>, QueueError> {
    let mut taken = taken?;
    match tokio::time::timeout(STORE_WAIT, processor.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "unfinished entries are not taken over while the store is away");
            return Ok(taken);
        }
        Err(_) => {
            tracing::warn!("unfinished entries are not taken over while the store does not answer");
            return Ok(taken);
        }
    }
    let left = processor.queue.reclaim(channel, &processor.config.consumer, lease, POP_MAX).await?;
    if !left.is_empty() {
        tracing::info!(channel = names::channel(channel), entries = left.len(), "unfinished entries are taken over");
        metrics::counter!(names::RECLAIMED, "channel" => names::channel(channel)).increment(left.len() as u64);
        taken.extend(left);
    }
    Ok(taken)
}

async fn sort(
    processor: &Arc<Processor>,
    channel: Bearer,
    window: &Window,
    entries: Vec<Entry>,
    acknowledgements: &mpsc::Sender<(QueueEntry, Taken)>,
) {
    let mut ordered = Vec::new();
    for entry in entries {
        // In work here already: however often it is delivered meanwhile.
        let Some(taken) = window.take(&entry).await else { continue };
        let decoded = match QueueEntry::from_octets(entry.body.clone()) {
            Ok(decoded) => decoded,
            // A newer replica's, while an update is under way: the row is the truth, and the janitor queues it again.
            Err(error) if error.is_newer => {
                metrics::counter!(names::LEFT).increment(1);
                processor.drop_entry(taken).await;
                continue;
            }
            Err(error) => {
                bury(processor, channel, &entry, &error.to_string()).await;
                continue;
            }
        };
        if entry.deliveries > processor.config.deliveries_max {
            let cause = format!("given up after {} deliveries", entry.deliveries);
            processor.give_up(&decoded, &cause).await;
            bury(processor, channel, &entry, &cause).await;
        } else if decoded.acknowledgement.is_none() {
            ordered.push((decoded, taken));
        } else if acknowledgements.send((decoded, taken)).await.is_err() {
            tracing::debug!("the holder is gone; the entry stays in the queue");
        }
    }
    if !ordered.is_empty() {
        processor.tasks.spawn(processor.clone().process_ordered(ordered));
    }
}

/// An entry that never succeeds must not come back for ever.
async fn bury(processor: &Processor, channel: Bearer, entry: &Entry, cause: &str) {
    tracing::error!(
        channel = names::channel(channel),
        entry = entry.id,
        cause,
        "an entry goes to the dead-letter list"
    );
    metrics::counter!(names::BURIED, "channel" => names::channel(channel)).increment(1);
    if let Err(error) = processor.queue.bury(channel, entry, cause).await {
        tracing::warn!(%error, "the entry is not buried yet; it comes again");
    }
}

/// Combines acknowledgements per device and launches them when they are full or due.
async fn hold(processor: Arc<Processor>, channel: Bearer, mut receiver: mpsc::Receiver<(QueueEntry, Taken)>) {
    let mut holder = Holder::new(channel, processor.config.hold);
    let launch = |ready: Vec<Held<Taken>>| {
        for held in ready {
            processor.tasks.spawn(processor.clone().launch_acknowledgements(channel, held));
        }
    };
    loop {
        let timeout = holder.next_timeout();
        tokio::select! {
            received = receiver.recv() => match received {
                Some((entry, taken)) => launch(holder.add(entry, taken, Instant::now())),
                None => break,
            },
            () = wait_until(timeout.map(|timeout| timeout + TOGETHER)) => launch(holder.due(Instant::now())),
        }
    }
    launch(holder.drain());
}

async fn wait_until(timeout: Option<Instant>) {
    match timeout {
        Some(timeout) => tokio::time::sleep_until(timeout.into()).await,
        None => std::future::pending().await,
    }
}
