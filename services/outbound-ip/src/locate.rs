//! Where the session of a card is: asked from the registry, remembered for a short time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use proto::centre::{LocateSessionsRequest, edge_registry_client::EdgeRegistryClient};
use tokio::time::Instant;
use tonic::Status;

/// The registry of sessions behind a cache.
pub struct Locator {
    application_server: rpc::Balancer,
    cache: Mutex<HashMap<i64, Place>>,
    /// How long a place is believed.
    ttl: Duration,
    places_max: usize,
}

#[derive(Clone)]
struct Place {
    endpoint: String,
    until: Instant,
}

impl Locator {
    pub fn new(application_server: rpc::Balancer, ttl: Duration, places_max: usize) -> Self {
        Self { application_server, cache: Mutex::default(), ttl, places_max }
    }

    /// Finds many at once, so that a batch of launches costs one call. Devices without a session are left out.
    ///
    /// # Errors
    /// When something was not in the cache and the registry does not answer.
    pub async fn locate(&self, devices: &[i64]) -> Result<HashMap<i64, String>, Status> {
        let mut found = self.remembered(devices);
        let device_ids: Vec<i64> = devices.iter().copied().filter(|device| !found.contains_key(device)).collect();
        if device_ids.is_empty() {
            return Ok(found);
        }
        let request = LocateSessionsRequest { device_ids };
        let locate = |channel| {
            let request = request.clone();
            async move { EdgeRegistryClient::new(channel).locate_sessions(request).await }
        };
        let endpoints = self.application_server.call_with_retry(DEADLINE, locate).await?.endpoints;
        self.remember(&endpoints);
        found.extend(endpoints);
        Ok(found)
    }

    /// The place was wrong: ask again next time.
    pub fn forget(&self, device_id: i64) {
        self.cache().remove(&device_id);
    }

    fn remembered(&self, devices: &[i64]) -> HashMap<i64, String> {
        let now = Instant::now();
        let cache = self.cache();
        let fresh = |device: &i64| cache.get(device).filter(|place| place.until > now);
        devices.iter().filter_map(|device| Some((*device, fresh(device)?.endpoint.clone()))).collect()
    }

    fn remember(&self, endpoints: &HashMap<i64, String>) {
        let now = Instant::now();
        let mut cache = self.cache();
        if cache.len() + endpoints.len() > self.places_max {
            cache.retain(|_, place| place.until > now);
        }
        for (device_id, endpoint) in endpoints {
            if cache.len() >= self.places_max {
                break;
            }
            cache.insert(*device_id, Place { endpoint: endpoint.clone(), until: now + self.ttl });
        }
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn cache(&self) -> MutexGuard<'_, HashMap<i64, Place>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DEADLINE: Duration = Duration::from_millis(900);
