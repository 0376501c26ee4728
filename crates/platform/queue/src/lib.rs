//! The outbound-actions queue: at least once, per channel, never the truth (the store is). Two implementations, Redis
//! streams and in-process, and one contract suite run against both.

pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;
use domain::phonebook::Bearer;

/// An entry carries the octets that its producer put in; the queue does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names the delivery, for [`Queue::acknowledge`].
    pub id: String,
    pub body: bytes::Bytes,
    /// 1 on the first delivery.
    pub deliveries: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("queue unavailable: {0}")]
    Unavailable(String),
    /// The store has the truth: the janitor queues again what found no room.
    #[error("queue full: {waiting} entries, accepted: at most {entries_max}")]
    Full { waiting: u64, entries_max: u64 },
    #[error("queue address: {0}; expected redis[s]://[[user]:password@]host[:port][/database]")]
    Address(String),
    #[error("queue: the authority's certificate in {}: {cause}", .file.display())]
    Authority { file: std::path::PathBuf, cause: String },
}

pub type Result<T> = std::result::Result<T, QueueError>;

/// Says by its body whether an entry is meant.
pub type IsMeant<'a> = dyn Fn(&bytes::Bytes) -> bool + Sync + 'a;

/// One stream of entries per channel.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds entries at the end, pipelined.
    async fn push(&self, channel: Bearer, bodies: &[bytes::Bytes]) -> Result<()>;
    /// Up to `max` new entries for this consumer; waits up to `wait` for the first.
    async fn pop(&self, channel: Bearer, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>>;
    /// Entries that some consumer took more than `idle` ago and never acknowledged: they are this consumer's now.
    async fn reclaim(&self, channel: Bearer, consumer: &str, idle: Duration, max: usize) -> Result<Vec<Entry>>;
    /// Finished: the entries are gone.
    async fn acknowledge(&self, channel: Bearer, ids: &[String]) -> Result<()>;
    /// An entry that was delivered too often goes to the dead-letter list (PF-05).
    async fn bury(&self, channel: Bearer, entry: &Entry, cause: &str) -> Result<()>;
    /// Takes out every entry whose body is meant, delivered or not, dead letters too; how many. It reads the whole channel:
    /// for what an operator does, not for what a message does.
    async fn remove(&self, channel: Bearer, is_meant: &IsMeant<'_>) -> Result<u64>;
    async fn depth(&self, channel: Bearer) -> Result<Depth>;
    async fn ping(&self) -> Result<()>;
}

/// How full a channel's stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Never delivered yet.
    pub waiting: u64,
    /// Delivered, not acknowledged.
    pub pending: u64,
    pub dead: u64,
    /// When the oldest entry that is still there was added, UTC microseconds; `None`: the stream is empty. What was
    /// made earlier than this cannot be in the queue: the janitor's test.
    pub oldest_micros: Option<i64>,
}
