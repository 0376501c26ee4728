//! Store and queue of a process: an embedded store is private to its user; a server that is away is waited for, which is
//! told when it begins and then now and then.

use std::{
    fs::OpenOptions,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use runtime::{
    config::without_password,
    events::{self, Kind},
};
use store::{StoreConfig, StoreError, Stores};
use tokio_util::sync::CancellationToken;

use crate::process::QueueConfig;

/// How long a database that starts at the same time as we do is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// First and longest pause between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often a wait is told of.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Opens the store; a server that does not answer yet is asked again for a minute.
///
/// # Errors
/// The store's, with its address; the process is told to stop.
pub async fn open_store(config: &StoreConfig, stop: &CancellationToken) -> anyhow::Result<Stores> {
    make_private(config)?;
    patiently(config, stop, store::open).await
}

/// Makes the file of an embedded store, which holds phonebooks, for its user alone; SQLite gives the files beside it the
/// same mode. One that is there is left as it is, with a warning when others may read it.
///
/// # Errors
/// The file can neither be opened nor made.
pub fn make_private(config: &StoreConfig) -> anyhow::Result<()> {
    let Some(path) = config.sqlite_path() else { return Ok(()) };
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.with_context(|| format!("the store {}", path.display()))?;
    let mode = file.metadata().map_or(0, |file| file.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        tracing::warn!(store = %path.display(), "others may read the phonebooks (mode {mode:o}): chmod 600 is advised");
    }
    Ok(())
}

/// Repeats what the store's server does not answer.
///
/// # Errors
/// The last one, with the store's address; the process is told to stop.
pub async fn patiently<'a, T, F>(
    config: &'a StoreConfig,
    stop: &CancellationToken,
    attempt: impl Fn(&'a StoreConfig) -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = store::Result<T>>,
{
    let name = format!("store {}", without_password(&config.url));
    let mut away = Away::new(&name, Instant::now());
    loop {
        let error = match attempt(config).await {
            Ok(opened) => {
                if away.told.is_some() {
                    events::record(Kind::CommunicationRestored, format!("{name}: there"));
                }
                return Ok(opened);
            }
            Err(StoreError::Unavailable(error)) if away.since.elapsed() < PATIENCE => error,
            Err(error) => return Err(error).context(name),
        };
        if let Some(text) = away.note(error, Instant::now()) {
            events::record(Kind::CommunicationFailure, text);
        }
        tokio::select! {
            () = tokio::time::sleep(away.pause()) => {}
            () = stop.cancelled() => anyhow::bail!("stopped before the {name} answered"),
        }
    }
}

/// A server that does not answer: what is said of it, and when it is asked again.
struct Away<'a> {
    name: &'a str,
    since: Instant,
    /// When something was said, and the cause that was given.
    told: Option<(Instant, String)>,
    next_pause: Duration,
}

impl<'a> Away<'a> {
    const fn new(name: &'a str, since: Instant) -> Self {
        Self { name, since, told: None, next_pause: PAUSES.0 }
    }

    /// The line to log: at once for a new cause, later that it lasts.
    fn note(&mut self, error: String, now: Instant) -> Option<String> {
        let text = match &self.told {
            Some((_, before)) if *before != error => format!("{}: {error}", self.name),
            Some((told, _)) if now.duration_since(*told) < TOLD_EVERY => return None,
            Some(_) => format!("{}: still away, {} s: {error}", self.name, now.duration_since(self.since).as_secs()),
            None => format!("{}: {error}; asked again for {} s", self.name, PATIENCE.as_secs()),
        };
        self.told = Some((now, error));
        Some(text)
    }

    /// Doubled each time.
    fn pause(&mut self) -> Duration {
        let pause = self.next_pause;
        self.next_pause = pause.saturating_mul(2).min(PAUSES.1);
        pause
    }
}

/// Connects the queue; a Redis that is away is found when it comes back.
///
/// # Errors
/// The address is none, or the authority's file cannot be used.
pub async fn open_queue(config: &QueueConfig) -> anyhow::Result<Arc<dyn queue::Queue>> {
    let queue = queue::redis::RedisQueue::connect(&config.url, config.redis.clone()).await.context("queue.url")?;
    Ok(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_away_is_told_of_once_and_then_now_and_then() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut away = Away::new("store postgres://one/db", began);
        let mut note = |seconds, error: &str| away.note(error.to_owned(), at(seconds));
        assert_eq!(note(0, "refused").as_deref(), Some("store postgres://one/db: refused; asked again for 60 s"));
        assert_eq!(note(1, "refused"), None);
        assert_eq!(note(29, "refused"), None);
        assert_eq!(note(30, "refused").as_deref(), Some("store postgres://one/db: still away, 30 s: refused"));
        assert_eq!(note(31, "refused"), None);
        assert_eq!(note(32, "starting up").as_deref(), Some("store postgres://one/db: starting up"));
        let pauses: Vec<u128> = (0..6).map(|_| away.pause().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
    }
}
