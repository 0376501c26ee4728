//! Spreads calls over the healthy replicas of a service, in the client (SC-AR-07): one channel per replica, because one
//! HTTP/2 channel to a shared address sends everything to one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    endpoints::{self, EndpointsConfig, EndpointsError, Target},
    replica::Replica,
};

/// Replicas of one name, at most; more are left out.
const REPLICAS_MAX: usize = 256;
/// Names are not resolved more often than this, whatever fails.
const RESOLVE_PAUSE: Duration = Duration::from_millis(500);

/// Replicas that an endpoint set has now, and those of them that are healthy, by `endpoints` as they are configured.
const REPLICAS: &str = "simvault_rpc_replicas";
const REPLICAS_HEALTHY: &str = "simvault_rpc_replicas_healthy";

/// Clones share the replicas.
#[derive(Clone, Debug)]
pub struct Balancer {
    replicas: watch::Receiver<Arc<[Arc<Replica>]>>,
    next: Arc<AtomicUsize>,
}

impl Balancer {
    /// Follows the endpoints until `stop`. Needs a tokio runtime; connects in the background.
    ///
    /// # Errors
    /// An endpoint that is none, or a TLS file that cannot be used.
    pub fn new(config: EndpointsConfig, stop: CancellationToken) -> Result<Self, EndpointsError> {
        let targets = config
            .endpoints
            .iter()
            .map(|text| Target::parse(text).ok_or_else(|| EndpointsError::Form { found: text.clone() }));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let (publish, replicas) = watch::channel(Arc::from([]));
        let mut directory = Directory {
            config,
            sources: targets.into_iter().map(|target| (target, BTreeMap::new())).collect(),
            publish,
            changed: Arc::default(),
            failed: Arc::default(),
            stop,
        };
        // Addresses of the list need no resolving: they are there, and checked, at once.
        for index in 0..directory.sources.len() {
            if let Some((target, _)) = directory.sources.get(index).filter(|(target, _)| !target.is_name) {
                let address = format!("{}:{}", target.host, target.port);
                directory.update(index, BTreeSet::from([address]))?;
            }
        }
        directory.publish();
        tokio::spawn(directory.run());
        Ok(Self { replicas, next: Arc::default() })
    }

    /// The replica that has this key as long as the set stays the same; when a replica leaves, only its keys move.
    pub fn rendezvous(&self, key: u64) -> Option<Channel> {
        self.rendezvous_replica(key).map(|replica| replica.channel())
    }

    /// The replica with the fewest calls of [`Self::call_with_retry`] under way.
    pub fn least_loaded(&self) -> Option<Channel> {
        self.least_loaded_except(None).map(|replica| replica.channel())
    }

    /// Every replica that is healthy now.
    pub fn healthy(&self) -> Vec<Arc<Replica>> {
        self.replicas.borrow().iter().filter(|replica| replica.is_serving()).cloned().collect()
    }

    /// Waits until at least `count` replicas are healthy; the caller sets the deadline.
    pub async fn wait_healthy(&self, count: usize) {
        let mut replicas = self.replicas.clone();
        while self.healthy().len() < count {
            if replicas.changed().await.is_err() {
                // Stopped: nothing becomes healthy any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Changes whenever a replica comes, goes, or changes its health.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<[Arc<Replica>]>> {
        self.replicas.clone()
    }

    pub(crate) fn rendezvous_replica(&self, key: u64) -> Option<Arc<Replica>> {
        let replicas = self.replicas.borrow();
        let serving = replicas.iter().filter(|replica| replica.is_serving());
        serving.max_by_key(|replica| replica.weight(key)).cloned()
    }

    pub(crate) fn least_loaded_except(&self, except: Option<&str>) -> Option<Arc<Replica>> {
        let mut serving = self.healthy();
        if serving.iter().any(|replica| Some(replica.address()) != except) {
            serving.retain(|replica| Some(replica.address()) != except);
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(serving.len())?;
        serving.rotate_left(first);
        serving.into_iter().min_by_key(|replica| replica.in_flight())
    }
}

/// Keeps the set of replicas as the endpoints say.
struct Directory {
    config: EndpointsConfig,
    sources: Vec<(Target, BTreeMap<String, Arc<Replica>>)>,
    publish: watch::Sender<Arc<[Arc<Replica>]>>,
    changed: Arc<Notify>,
    failed: Arc<Notify>,
    stop: CancellationToken,
}

impl Directory {
    async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.run_for_ever() => {}
        }
        self.count(0, 0);
    }

    async fn run_for_ever(&mut self) {
        let has_names = self.sources.iter().any(|(target, _)| target.is_name);
        loop {
            if has_names {
                self.resolve().await;
            }
            let (changed, failed) = (self.changed.clone(), self.failed.clone());
            let resolve_again = async {
                tokio::select! {
                    () = sleep(self.config.resolve_interval) => {}
                    () = failed.notified() => sleep(RESOLVE_PAUSE.min(self.config.resolve_interval)).await,
                }
            };
            tokio::pin!(resolve_again);
            loop {
                self.publish();
                tokio::select! {
                    () = &mut resolve_again, if has_names => break,
                    () = changed.notified() => {}
                }
            }
        }
    }

    async fn resolve(&mut self) {
        for index in 0..self.sources.len() {
            let Some((target, _)) = self.sources.get(index) else { continue };
            let found = if target.is_name { target.resolve().await } else { continue };
            if found.is_empty() {
                continue;
            }
            if let Err(error) = self.update(index, found) {
                tracing::error!(%error, "replica left out");
            }
        }
    }

    /// Adds what is new and removes what is gone.
    fn update(&mut self, index: usize, found: BTreeSet<String>) -> Result<(), EndpointsError> {
        let Some((target, replicas)) = self.sources.get_mut(index) else { return Ok(()) };
        replicas.retain(|address, replica| {
            let stays = found.contains(address);
            if !stays {
                replica.removed.cancel();
            }
            stays
        });
        for address in found.into_iter().take(REPLICAS_MAX) {
            if replicas.contains_key(&address) {
                continue;
            }
            let channel = endpoints::channel(&self.config, target, &address)?;
            let replica = Arc::new(Replica::new(address.clone(), channel, self.stop.child_token()));
            replicas.insert(address, replica.clone());
            let (changed, failed) = (self.changed.clone(), self.failed.clone());
            tokio::spawn(async move { replica.follow(&changed, &failed).await });
        }
        Ok(())
    }

    fn publish(&self) {
        // An address that two entries name is one replica.
        let replicas: BTreeMap<&str, &Arc<Replica>> = self
            .sources
            .iter()
            .flat_map(|(_, replicas)| replicas.values())
            .map(|replica| (replica.address(), replica))
            .collect();
        self.count(replicas.len(), replicas.values().filter(|replica| replica.is_serving()).count());
        self.publish.send_replace(replicas.into_values().cloned().collect());
    }

    /// What an alarm looks at: a set that has replicas, none of them healthy, serves nobody.
    fn count(&self, known: usize, healthy: usize) {
        let endpoints = self.config.endpoints.join(",");
        for (name, replicas) in [(REPLICAS, known), (REPLICAS_HEALTHY, healthy)] {
            metrics::gauge!(name, "endpoints" => endpoints.clone()).set(u32::try_from(replicas).unwrap_or(u32::MAX));
        }
    }
}
