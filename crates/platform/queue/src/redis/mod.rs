//! The queue in Redis streams: a stream and a consumer group per channel. Redis may be flushed, restarted or replaced at any
//! time: groups are made again on demand, connections are opened again, and the store fills in what was lost.

mod absence;
mod link;
mod reply;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::phonebook::Bearer;
use redis::{FromRedisValue, Pipeline, cmd, pipe};
use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};

use self::link::Link;
use crate::{Depth, Entry, IsMeant, Queue, QueueError, Result};

/// How Redis is used. The address is given apart, for it holds the password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// First part of every key. Default `simvault`.
    pub prefix: String,
    /// Consumer group of the outbound action processors. Default `outbound-action`.
    pub group: String,
    /// With `rediss://`: PEM file of the authority that the server's certificate is checked against. Empty, the default:
    /// the authorities that the machine trusts.
    pub tls_ca: PathBuf,
    /// 10 ms to 60 s, default 1 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// For every command, beyond the time that a blocking one waits by intent. The client library's own 500 ms fire under
    /// load. 100 ms to 60 s, default 5 s.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    /// Entries of one channel; a push beyond is refused. 1 to 100000000, default 2000000.
    pub entries_max: u64,
    /// Entries of one dead-letter list, roughly; the oldest give way. 1 to 10000000, default 10000.
    pub dead_max: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            prefix: "simvault".to_owned(),
            group: "outbound-action".to_owned(),
            tls_ca: PathBuf::new(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(5),
            entries_max: 2_000_000,
            dead_max: 10_000,
        }
    }
}

impl Validate for QueueConfig {
    fn problems(&self) -> Vec<Problem> {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        let is_name = |text: &str| !text.is_empty() && !text.contains(['{', '}', ' ']);
        let name = |key: &str, text: &str| {
            (!is_name(text)).then(|| Problem::new(key, format!("{text:?}"), "a name without braces and spaces"))
        };
        [
            name("prefix", &self.prefix),
            name("group", &self.group),
            Problem::duration_range("connect_timeout", self.connect_timeout, millis(10)..=seconds(60)),
            Problem::duration_range("response_timeout", self.response_timeout, millis(100)..=seconds(60)),
            Problem::range("entries_max", self.entries_max, 1..=100_000_000),
            Problem::range("dead_max", self.dead_max, 1..=10_000_000),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Bodies in one round trip of [`Queue::push`].
const PUSH_MAX: usize = 256;
/// Entries that [`Queue::remove`] reads at once.
const PAGE_MAX: usize = 1000;
/// Rounds of one reclaim: each looks at ten times the entries that it may take.
const RECLAIM_ROUNDS: usize = 50;

/// Clones are not needed: share the `Arc`.
pub struct RedisQueue {
    config: QueueConfig,
    /// Carries everything but blocking reads, which would hold the others up.
    link: Link,
    readers: Readers,
    /// Entries of each channel, as the last push saw them.
    lengths: [AtomicU64; 2],
    /// Where the next reclaim goes on.
    cursors: Mutex<HashMap<&'static str, String>>,
}

impl RedisQueue {
    /// Checks the address; Redis itself may come later.
    ///
    /// # Errors
    /// The address is none, or the authority's file cannot be used.
    pub async fn connect(url: &str, config: QueueConfig) -> Result<Arc<Self>> {
        let link = Link::new(url, &config.tls_ca, config.connect_timeout, config.response_timeout)?;
        let readers = Readers { idle: Mutex::default() };
        let queue = Self { link, readers, config, lengths: Default::default(), cursors: Mutex::default() };
        if queue.ping().await.is_err() {
            // The link has said why.
            tracing::debug!("starting without the queue");
        }
        Ok(Arc::new(queue))
    }

    /// Braces: both keys of a channel live on one node of a Redis Cluster.
    fn key(&self, channel: Bearer, what: &str) -> String {
        format!("{}:{{{}}}:{what}", self.config.prefix, name(channel))
    }

    fn actions(&self, channel: Bearer) -> String {
        self.key(channel, "actions")
    }

    fn dead(&self, channel: Bearer) -> String {
        self.key(channel, "dead")
    }

    async fn run<T: FromRedisValue>(&self, link: &Link, pipeline: &Pipeline) -> Result<T> {
        link.run(pipeline, Duration::ZERO).await.map_err(|error| unavailable(&error))
    }

    /// Runs commands that need the group, and makes the group where it is missing: at first, and after a flush.
    async fn with_group<T: FromRedisValue>(
        &self,
        link: &Link,
        channel: Bearer,
        pipeline: &Pipeline,
        wait: Duration,
    ) -> Result<T> {
        match link.run(pipeline, wait).await {
            Err(error) if reply::is_group_missing(&error) => {}
            other => return other.map_err(|error| unavailable(&error)),
        }
        let mut create = pipe();
        create.cmd("XGROUP").arg("CREATE").arg(self.actions(channel)).arg(&self.config.group).arg(0).arg("MKSTREAM");
        match link.run::<()>(&create, Duration::ZERO).await {
            // Another consumer was quicker.
            Err(error) if reply::is_group_there(&error) => {}
            Err(error) => return Err(unavailable(&error)),
            Ok(()) => tracing::info!(channel = name(channel), "consumer group made"),
        }
        link.run(pipeline, wait).await.map_err(|error| unavailable(&error))
    }

    fn length(&self, channel: Bearer) -> &AtomicU64 {
        let [sms, ip] = &self.lengths;
        match channel {
            Bearer::Sms => sms,
            Bearer::Ip => ip,
        }
    }

    /// Refuses at the limit; asks again how many there are before it does.
    async fn check_room(&self, channel: Bearer) -> Result<()> {
        let entries_max = self.config.entries_max;
        if self.length(channel).load(Ordering::Relaxed) < entries_max {
            return Ok(());
        }
        let mut length = pipe();
        length.cmd("XLEN").arg(self.actions(channel));
        let (waiting,): (u64,) = self.run(&self.link, &length).await?;
        self.length(channel).store(waiting, Ordering::Relaxed);
        if waiting < entries_max { Ok(()) } else { Err(QueueError::Full { waiting, entries_max }) }
    }

    fn cursor(&self, channel: Bearer) -> String {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.get(name(channel)).cloned().unwrap_or_else(|| FIRST.to_owned())
    }

    fn set_cursor(&self, channel: Bearer, cursor: String) {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner).insert(name(channel), cursor);
    }

    /// Adds how often each entry was delivered; an entry that Redis does not know any more is left out.
    async fn counted(&self, channel: Bearer, mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
        if entries.is_empty() {
            return Ok(entries);
        }
        let mut pending = pipe();
        for entry in &entries {
            pending
                .cmd("XPENDING")
                .arg(self.actions(channel))
                .arg(&self.config.group)
                .arg(&entry.id)
                .arg(&entry.id)
                .arg(1);
        }
        let counts: Vec<Vec<(String, String, u64, u64)>> = self.run(&self.link, &pending).await?;
        let counts: HashMap<String, u64> = counts.into_iter().flatten().map(|(id, _, _, count)| (id, count)).collect();
        entries.retain_mut(|entry| {
            let count = counts.get(&entry.id);
            entry.deliveries = count.map_or(0, |count| u32::try_from(*count).unwrap_or(u32::MAX));
            count.is_some()
        });
        Ok(entries)
    }
}

/// Before every entry.
const FIRST: &str = "0-0";

fn name(channel: Bearer) -> &'static str {
    match channel {
        Bearer::Sms => "sms",
        Bearer::Ip => "ip",
    }
}

fn unavailable(error: &redis::RedisError) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

/// Connections of blocking reads that no read uses now.
struct Readers {
    idle: Mutex<Vec<Link>>,
}

/// Idle connections kept, at most.
const READERS_MAX: usize = 16;

impl Readers {
    fn take(&self, like: &Link) -> Link {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(|| like.another())
    }

    /// A read that was dropped half-way does not come here: its connection closes, and with it its wait at the server.
    fn put_back(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_MAX {
            idle.push(link);
        }
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, channel: Bearer, bodies: &[Bytes]) -> Result<()> {
        let key = self.actions(channel);
        for bodies in bodies.chunks(PUSH_MAX) {
            self.check_room(channel).await?;
            let mut push = pipe();
            for body in bodies {
                push.cmd("XADD").arg(&key).arg("*").arg(reply::BODY).arg(&body[..]).ignore();
            }
            push.cmd("XLEN").arg(&key);
            let (length,): (u64,) = self.run(&self.link, &push).await?;
            self.length(channel).store(length, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn pop(&self, channel: Bearer, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.config.group).arg(consumer).arg("COUNT").arg(max);
        let wait_millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // BLOCK 0 would wait for ever.
        if wait_millis > 0 {
            read.arg("BLOCK").arg(wait_millis);
        }
        read.arg("STREAMS").arg(self.actions(channel)).arg(">");
        let mut pipeline = pipe();
        pipeline.add_command(read);
        let reader = self.readers.take(&self.link);
        let popped = self.with_group(&reader, channel, &pipeline, wait).await;
        self.readers.put_back(reader);
        let (popped,): (redis::streams::StreamReadReply,) = popped?;
        Ok(popped.keys.into_iter().flat_map(|key| key.ids).map(|id| reply::entry(id, 1)).collect())
    }

    async fn reclaim(&self, channel: Bearer, consumer: &str, idle: Duration, max: usize) -> Result<Vec<Entry>> {
        let idle_millis = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        for _ in 0..RECLAIM_ROUNDS {
            let room = max.saturating_sub(entries.len());
            if room == 0 {
                break;
            }
            let mut claim = pipe();
            let command = claim.cmd("XAUTOCLAIM").arg(self.actions(channel)).arg(&self.config.group).arg(consumer);
            command.arg(idle_millis).arg(self.cursor(channel)).arg("COUNT").arg(room);
            let (claimed,): (redis::streams::StreamAutoClaimReply,) =
                self.with_group(&self.link, channel, &claim, Duration::ZERO).await?;
            let has_ended = claimed.next_stream_id == FIRST;
            self.set_cursor(channel, claimed.next_stream_id);
            entries.extend(claimed.claimed.into_iter().map(|id| reply::entry(id, 0)));
            if has_ended {
                break;
            }
        }
        self.counted(channel, entries).await
    }

    async fn acknowledge(&self, channel: Bearer, ids: &[String]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let key = self.actions(channel);
        let mut finish = pipe();
        // Together, so that no entry stays that nobody will read again.
        finish.atomic().cmd("XACK").arg(&key).arg(&self.config.group).arg(ids).ignore();
        finish.cmd("XDEL").arg(&key).arg(ids).ignore();
        self.run(&self.link, &finish).await
    }

    async fn bury(&self, channel: Bearer, entry: &Entry, cause: &str) -> Result<()> {
        let key = self.actions(channel);
        let mut bury = pipe();
        let dead =
            bury.atomic().cmd("XADD").arg(self.dead(channel)).arg("MAXLEN").arg("~").arg(self.config.dead_max).arg("*");
        dead.arg(reply::BODY)
            .arg(&entry.body[..])
            .arg("cause")
            .arg(cause)
            .arg("deliveries")
            .arg(entry.deliveries)
            .ignore();
        bury.cmd("XACK").arg(&key).arg(&self.config.group).arg(&entry.id).ignore();
        bury.cmd("XDEL").arg(&key).arg(&entry.id).ignore();
        metrics::counter!("simvault_queue_dead_total", "channel" => name(channel)).increment(1);
        self.run(&self.link, &bury).await
    }

    async fn remove(&self, channel: Bearer, is_meant: &IsMeant<'_>) -> Result<u64> {
        let mut removed = 0;
        for key in [self.actions(channel), self.dead(channel)] {
            // Behind the page before; the first begins at the stream's.
            let mut from = "-".to_owned();
            loop {
                let mut page = pipe();
                page.cmd("XRANGE").arg(&key).arg(&from).arg("+").arg("COUNT").arg(PAGE_MAX);
                let (page,): (redis::streams::StreamRangeReply,) = self.run(&self.link, &page).await?;
                let Some(last) = page.ids.last() else { break };
                from = format!("({}", last.id);
                let entries = page.ids.into_iter().map(|id| reply::entry(id, 0));
                let meant: Vec<String> = entries.filter(|entry| is_meant(&entry.body)).map(|entry| entry.id).collect();
                if meant.is_empty() {
                    continue;
                }
                let mut take = pipe();
                // The dead have no group; there the first does nothing.
                take.cmd("XACK").arg(&key).arg(&self.config.group).arg(&meant).ignore();
                take.cmd("XDEL").arg(&key).arg(&meant);
                let (gone,): (u64,) = self.run(&self.link, &take).await?;
                removed += gone;
            }
        }
        Ok(removed)
    }

    async fn depth(&self, channel: Bearer) -> Result<Depth> {
        let key = self.actions(channel);
        let mut depth = pipe();
        depth.cmd("XLEN").arg(&key);
        depth.cmd("XPENDING").arg(&key).arg(&self.config.group);
        depth.cmd("XRANGE").arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        depth.cmd("XLEN").arg(self.dead(channel));
        let (length, pending, oldest, dead): (
            u64,
            redis::streams::StreamPendingReply,
            redis::streams::StreamRangeReply,
            u64,
        ) = self.with_group(&self.link, channel, &depth, Duration::ZERO).await?;
        let pending = u64::try_from(pending.count()).unwrap_or(u64::MAX);
        let oldest_micros = oldest.ids.first().and_then(|id| reply::added_micros(&id.id));
        Ok(Depth { waiting: length.saturating_sub(pending), pending, dead, oldest_micros })
    }

    async fn ping(&self) -> Result<()> {
        let mut ping = pipe();
        ping.cmd("PING").ignore();
        self.run(&self.link, &ping).await
    }
}
