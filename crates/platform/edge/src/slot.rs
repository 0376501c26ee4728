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
    /// How long a lease lasts; renewed after a sixth of it.
    pub ttl: Duration,
    /// What an orderly unbind may take, [`unbind_after`] a drain: it begins so long before the lease expires.
    pub unbind: Duration,
}

/// What it takes to unbind a link that may drain so long.
#[must_use]
pub fn unbind_after(drain: Duration) -> Duration {
    drain + Duration::from_secs(1)
}

/// The shortest lease that leaves time for one attempt to renew it, a second one that goes unanswered, and the unbind.
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
        let Some(expires) = slot.acquire().await else {
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

impl Slot {
    /// When the lease expires by our clock, counted from before the call; `None`: another holds it, or no answer.
    async fn acquire(&self) -> Option<Instant> {
        let asked = Instant::now();
        let channel = self.registry.least_loaded()?;
        let ttl_millis = u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX);
        let lease = AcquireLeaseRequest { name: self.name.clone(), owner: self.owner.clone(), ttl_millis };
        let mut client = EdgeRegistryClient::new(channel);
        match timeout(self.ttl / 6, client.acquire_lease(Request::new(lease))).await {
            Ok(Ok(reply)) => reply.into_inner().held.then_some(asked + self.ttl),
            Ok(Err(error)) => {
                tracing::warn!(slot = self.name, %error, "bind slot: no answer of the application server");
                None
            }
            Err(_) => None,
        }
    }

    /// Renews until that fails and the lease is about to expire.
    async fn keep(&self, mut expires: Instant) {
        loop {
            sleep(self.ttl / 6).await;
            match self.acquire().await {
                Some(renewed) => expires = renewed,
                None if Instant::now() + self.unbind + self.ttl / 3 >= expires => return,
                None => {}
            }
        }
    }

    async fn release(&self) {
        let Some(channel) = self.registry.least_loaded() else { return };
        let lease = ReleaseLeaseRequest { name: self.name.clone(), owner: self.owner.clone() };
        // A lease that is not released expires.
        drop(timeout(self.ttl / 3, EdgeRegistryClient::new(channel).release_lease(Request::new(lease))).await);
    }
}
