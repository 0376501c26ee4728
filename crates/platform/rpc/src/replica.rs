//! One replica of a service: its channel, and whether it is healthy now. Healthy is what its `grpc.health.v1` watch says
//! of `readiness`; a probe every half second finds the replica that keeps its connection and says nothing.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use runtime::events::{self, Kind};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{READINESS, jittered, key, mix};

/// Between probes; two that fail in a row make a replica unhealthy: 500 + 600 + 600 ms stays below 2 s.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_millis(600);
/// A watch is opened again after this time, so that it never outlives the server's grace for old connections.
const WATCH_AGE: Duration = Duration::from_secs(20);
const REOPEN_FIRST: Duration = Duration::from_millis(20);
const REOPEN_LAST: Duration = Duration::from_millis(500);

/// One replica of a service.
pub struct Replica {
    address: String,
    seed: u64,
    channel: Channel,
    is_serving: AtomicBool,
    in_flight: AtomicUsize,
    pub(crate) removed: CancellationToken,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("address", &self.address).field("is_serving", &self.is_serving()).finish()
    }
}

impl Replica {
    pub(crate) fn new(address: String, channel: Channel, removed: CancellationToken) -> Self {
        Self {
            seed: key(&address),
            address,
            channel,
            is_serving: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            removed,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn is_serving(&self) -> bool {
        self.is_serving.load(Ordering::Relaxed) && !self.removed.is_cancelled()
    }

    /// Rendezvous hashing: the replica with the highest weight has the key.
    pub(crate) fn weight(&self, key: u64) -> u64 {
        mix(key ^ self.seed)
    }

    /// Unary calls under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    fn set(&self, is_serving: bool, changed: &Notify) {
        if self.is_serving.swap(is_serving, Ordering::Relaxed) != is_serving {
            let kind = if is_serving { Kind::CommunicationRestored } else { Kind::CommunicationFailure };
            events::record(
                kind,
                format!("replica {}: {}", self.address, if is_serving { "healthy" } else { "not healthy" }),
            );
            changed.notify_one();
        }
    }

    /// Follows the replica's health until it is removed. Tells `changed` of every change, `failed` of every failure.
    pub(crate) async fn follow(&self, changed: &Notify, failed: &Notify) {
        let removed = self.removed.clone();
        tokio::select! {
            () = removed.cancelled() => {}
            () = self.follow_for_ever(changed, failed) => {}
        }
    }

    async fn follow_for_ever(&self, changed: &Notify, failed: &Notify) {
        let mut pause = REOPEN_FIRST;
        loop {
            let client = HealthClient::new(self.channel.clone());
            let opened = timeout(PROBE_TIMEOUT.saturating_mul(2), client.clone().watch(request())).await;
            if let Ok(Ok(stream)) = opened {
                pause = REOPEN_FIRST;
                tokio::select! {
                    () = self.listen(stream.into_inner(), changed) => {}
                    () = probe(client) => {}
                    () = sleep(jittered(WATCH_AGE)) => continue,
                }
            }
            self.set(false, changed);
            failed.notify_one();
            sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(REOPEN_LAST);
        }
    }

    /// Ends when the watch does.
    async fn listen(&self, mut stream: Streaming<HealthCheckResponse>, changed: &Notify) {
        while let Ok(Some(response)) = stream.message().await {
            self.set(response.status() == ServingStatus::Serving, changed);
        }
    }
}

fn request() -> HealthCheckRequest {
    HealthCheckRequest { service: READINESS.to_owned() }
}

/// Ends when two probes in a row got no answer.
async fn probe(mut client: HealthClient<Channel>) {
    let mut failures = 0_u32;
    while failures < 2 {
        if failures == 0 {
            sleep(PROBE_INTERVAL).await;
        }
        // Any answer shows life; what it says of readiness comes through the watch.
        match timeout(PROBE_TIMEOUT, client.check(request())).await {
            Ok(_) => failures = 0,
            Err(_) => failures = failures.saturating_add(1),
        }
    }
}

/// Counts a call as long as it lives.
pub(crate) struct InFlight<'a>(&'a Replica);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
