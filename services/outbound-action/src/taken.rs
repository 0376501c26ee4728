//! Queue entries that this process has taken and not finished: counted against the window, and not taken over from
//! itself when they take long.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use domain::phonebook::Bearer;
use queue::Entry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The window of one channel.
pub struct Window {
    channel: Bearer,
    permits: Arc<Semaphore>,
    ids: Arc<Mutex<HashSet<String>>>,
}

/// One entry in work. Dropped without having been acknowledged, it stays in the queue and is taken again later.
pub struct Taken {
    pub channel: Bearer,
    pub id: String,
    ids: Arc<Mutex<HashSet<String>>>,
    _permit: OwnedSemaphorePermit,
}

impl Window {
    pub fn new(channel: Bearer, in_flight_max: usize) -> Self {
        Self { channel, permits: Arc::new(Semaphore::new(in_flight_max.max(1))), ids: Arc::default() }
    }

    /// Waits for room; then how many entries may be taken now, at most `max`.
    pub async fn room(&self, max: usize) -> usize {
        // The permit is given back at once: only the owner of the window takes entries, so the room stays.
        drop(self.permits.acquire().await);
        self.permits.available_permits().clamp(1, max)
    }

    /// `None`: this entry is in work already.
    pub async fn take(&self, entry: &Entry) -> Option<Taken> {
        if !lock(&self.ids).insert(entry.id.clone()) {
            return None;
        }
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        Some(Taken { channel: self.channel, id: entry.id.clone(), ids: self.ids.clone(), _permit: permit })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.ids).remove(&self.id);
    }
}

fn lock(ids: &Mutex<HashSet<String>>) -> std::sync::MutexGuard<'_, HashSet<String>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}
