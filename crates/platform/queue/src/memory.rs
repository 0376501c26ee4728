//! The queue of the single process: the same promises as Redis but for restarts, after which the store fills it again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::phonebook::Bearer;
use runtime::clock::{self, Clock};
use tokio::{sync::Notify, time::timeout};

use crate::{Depth, Entry, IsMeant, Queue, QueueError, Result};

/// Entries of one channel, waiting and pending, at most.
const ENTRIES_MAX: usize = 1_000_000;
/// Entries of one dead-letter list; the oldest give way.
const DEAD_MAX: usize = 10_000;

/// Bounded, in order of arrival.
pub struct MemoryQueue {
    channels: [Channel; 2],
    clock: Clock,
    entries_max: usize,
}

#[derive(Default)]
struct Channel {
    entries: Mutex<Entries>,
    arrived: Notify,
}

#[derive(Default)]
struct Entries {
    last_id: u64,
    waiting: VecDeque<(u64, Waiting)>,
    pending: BTreeMap<u64, Pending>,
    dead: VecDeque<(Bytes, String)>,
}

struct Waiting {
    added_micros: i64,
    body: Bytes,
}

struct Pending {
    added_micros: i64,
    body: Bytes,
    taken_micros: i64,
    deliveries: u32,
}

impl Pending {
    fn entry(&self, id: u64) -> Entry {
        Entry { id: id.to_string(), body: self.body.clone(), deliveries: self.deliveries }
    }
}

impl MemoryQueue {
    pub fn new() -> Arc<Self> {
        Self::with(ENTRIES_MAX, clock::system())
    }

    /// With a limit of entries per channel and a clock of its own.
    pub fn with(entries_max: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self { channels: Default::default(), clock, entries_max })
    }

    fn channel(&self, channel: Bearer) -> &Channel {
        let [sms, ip] = &self.channels;
        match channel {
            Bearer::Sms => sms,
            Bearer::Ip => ip,
        }
    }

    fn entries(&self, channel: Bearer) -> MutexGuard<'_, Entries> {
        self.channel(channel).entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, channel: Bearer, max: usize) -> Vec<Entry> {
        let now = (self.clock)();
        let mut entries = self.entries(channel);
        let Entries { waiting, pending, .. } = &mut *entries;
        let count = max.min(waiting.len());
        let taken = waiting.drain(..count).map(|(id, Waiting { added_micros, body })| {
            let one = Pending { added_micros, body, taken_micros: now, deliveries: 1 };
            let entry = one.entry(id);
            pending.insert(id, one);
            entry
        });
        taken.collect()
    }

    /// The dead letters with their causes, oldest first: for tests and the operator.
    pub fn dead(&self, channel: Bearer) -> Vec<(Bytes, String)> {
        self.entries(channel).dead.iter().cloned().collect()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, channel: Bearer, bodies: &[Bytes]) -> Result<()> {
        let now = (self.clock)();
        {
            let mut entries = self.entries(channel);
            let waiting = entries.waiting.len().saturating_add(entries.pending.len());
            if waiting.saturating_add(bodies.len()) > self.entries_max {
                return Err(QueueError::Full { waiting: wide(waiting), entries_max: wide(self.entries_max) });
            }
            for body in bodies {
                entries.last_id = entries.last_id.saturating_add(1);
                let id = entries.last_id;
                entries.waiting.push_back((id, Waiting { added_micros: now, body: body.clone() }));
            }
        }
        self.channel(channel).arrived.notify_waiters();
        Ok(())
    }

    async fn pop(&self, channel: Bearer, _: &str, max: usize, wait: Duration) -> Result<Vec<Entry>> {
        let arrival = async {
            loop {
                let arrived = self.channel(channel).arrived.notified();
                tokio::pin!(arrived);
                // Registered before the look, so that no arrival falls between.
                arrived.as_mut().enable();
                let taken = self.take(channel, max);
                if !taken.is_empty() || max == 0 {
                    return taken;
                }
                arrived.await;
            }
        };
        Ok(timeout(wait, arrival).await.unwrap_or_default())
    }

    async fn reclaim(&self, channel: Bearer, _: &str, idle: Duration, max: usize) -> Result<Vec<Entry>> {
        let now = (self.clock)();
        let idle = i64::try_from(idle.as_micros()).unwrap_or(i64::MAX);
        let mut entries = self.entries(channel);
        let due = entries.pending.iter_mut().filter(|(_, one)| now.saturating_sub(one.taken_micros) >= idle);
        let reclaimed = due.take(max).map(|(id, one)| {
            one.taken_micros = now;
            one.deliveries = one.deliveries.saturating_add(1);
            one.entry(*id)
        });
        Ok(reclaimed.collect())
    }

    async fn acknowledge(&self, channel: Bearer, ids: &[String]) -> Result<()> {
        let mut entries = self.entries(channel);
        for id in ids.iter().filter_map(|id| id.parse::<u64>().ok()) {
            entries.pending.remove(&id);
        }
        Ok(())
    }

    async fn bury(&self, channel: Bearer, entry: &Entry, cause: &str) -> Result<()> {
        let mut entries = self.entries(channel);
        if let Ok(id) = entry.id.parse::<u64>() {
            entries.pending.remove(&id);
        }
        if entries.dead.len() >= DEAD_MAX {
            entries.dead.pop_front();
        }
        entries.dead.push_back((entry.body.clone(), cause.to_owned()));
        Ok(())
    }

    async fn remove(&self, channel: Bearer, is_meant: &IsMeant<'_>) -> Result<u64> {
        let mut entries = self.entries(channel);
        let Entries { waiting, pending, dead, .. } = &mut *entries;
        let before = waiting.len() + pending.len() + dead.len();
        waiting.retain(|(_, one)| !is_meant(&one.body));
        pending.retain(|_, one| !is_meant(&one.body));
        dead.retain(|(body, _)| !is_meant(body));
        Ok(wide(before - waiting.len() - pending.len() - dead.len()))
    }

    async fn depth(&self, channel: Bearer) -> Result<Depth> {
        let entries = self.entries(channel);
        let waiting = entries.waiting.front().map(|(_, one)| one.added_micros);
        let pending = entries.pending.values().next().map(|one| one.added_micros);
        Ok(Depth {
            waiting: wide(entries.waiting.len()),
            pending: wide(entries.pending.len()),
            dead: wide(entries.dead.len()),
            oldest_micros: waiting.into_iter().chain(pending).min(),
        })
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
