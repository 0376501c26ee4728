//! Bind slots: an SMSC limits the binds of a system_id, so a slot belongs to the one process that holds its lease
//! (`EdgeRegistry.AcquireLease`). What cannot renew it unbinds before the lease expires.

use std::{future::Future, time::Duration};

use proto::centre::{AcquireLeaseRequest, ReleaseLeaseRequest, edge_registry_client::EdgeRegistryClient};
use runtime::events::{self, Kind};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Request;

/// One slot, and who wants it.
#[derive(Clone)]
pub struct Slot {
    pub registry: rpc::Balancer,
    /// Name of the slot, alike for all that compete for it.
    pub name: String,
    /// This process.
    pub owner: String,
    /// How long a lease lasts; renewed after a tenth of it.
    pub ttl: Duration,
    /// What an orderly unbind may take, [`unbind_after`] a drain: it begins so long before the lease expires.
    pub unbind: Duration,
}

/// What it takes to unbind a link that may drain so long.
#[must_use]
pub fn unbind_after(drain: Duration) -> Duration {
    drain + Duration::from_secs(1)
}

/// The shortest lease that leaves time for one attempt to renew it that goes unanswered, a second one, and the unbind.
#[must_use]
pub fn ttl_min(drain: Duration) -> Duration {
    (unbind_after(drain) * 3).div_f64(2.0)
}

/// Runs `run` while the slot is held, again and again until `stop`; without a slot once. Each run gets a token that
/// is cancelled when it has to unbind; a run that ends releases the slot.
pub async fn while_held<F, R>(slot: Option<Slot>, stop: &CancellationToken, mut run: F)
where
    F: FnMut(CancellationToken) -> R,
    R: Future<Output = ()>,
{
    let Some(slot) = slot else { return run(stop.clone()).await };
    while !stop.is_cancelled() {
        let Asked::Held(expires) = slot.acquire().await else {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(slot.ttl / 3) => continue,
            }
        };
        events::record(Kind::Action, format!("bind slot {} is ours", slot.name));
        let held = stop.child_token();
        tokio::select! {
            () = run(held.clone()) => {}
            () = async {
                slot.keep(expires).await;
                events::record(Kind::CommunicationFailure, format!("bind slot {} is lost, unbinding", slot.name));
                held.cancel();
                // The run ends by itself, now that it is cancelled.
                std::future::pending::<()>().await;
            } => {}
        }
        slot.release().await;
        // Whoever waits for the slot has its turn.
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(slot.ttl / 3) => {}
        }
    }
}

/// What comes of asking for a lease.
enum Asked {
    /// Ours until then by our clock, counted from before the call.
    Held(Instant),
    Anothers,
    Unanswered,
}

impl Slot {
    async fn acquire(&self) -> Asked {
        let asked = Instant::now();
        let Some(channel) = self.registry.least_loaded() else { return Asked::Unanswered };
        let ttl_millis = u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX);
        let lease = AcquireLeaseRequest { name: self.name.clone(), owner: self.owner.clone(), ttl_millis };
        let mut client = EdgeRegistryClient::new(channel);
        match timeout(self.attempt(), client.acquire_lease(Request::new(lease))).await {
            Ok(Ok(reply)) if reply.get_ref().held => Asked::Held(asked + self.ttl),
            Ok(Ok(_)) => Asked::Anothers,
            Ok(Err(error)) => {
                tracing::warn!(slot = self.name, %error, "bind slot: no answer of the application server");
                Asked::Unanswered
            }
            Err(_) => Asked::Unanswered,
        }
    }

    /// What one attempt may take.
    fn attempt(&self) -> Duration {
        self.ttl / 10
    }

    /// Renews until another has it; after no answer again soon, as long as another attempt leaves time for the unbind.
    async fn keep(&self, mut expires: Instant) {
        let (renew_after, retry_after) = (self.ttl / 10, self.ttl / 40);
        let mut pause = renew_after;
        loop {
            sleep(pause).await;
            pause = match self.acquire().await {
                Asked::Held(renewed) => {
                    expires = renewed;
                    renew_after
                }
                Asked::Anothers => return,
                Asked::Unanswered if Instant::now() + retry_after + self.attempt() + self.unbind > expires => return,
                Asked::Unanswered => retry_after,
            };
        }
    }

    async fn release(&self) {
        let Some(channel) = self.registry.least_loaded() else { return };
        let lease = ReleaseLeaseRequest { name: self.name.clone(), owner: self.owner.clone() };
        // A lease that is not released expires.
        drop(timeout(self.ttl / 3, EdgeRegistryClient::new(channel).release_lease(Request::new(lease))).await);
    }
}
