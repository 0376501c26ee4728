//! The inbound data processor (Fig. 24): what cards send becomes records, journal, checksums and actions.
//!
//! Path of a message: [`service`] takes it from an edge's stream and gives it to the worker of its subscriber; [`worker`]
//! takes all that waits; [`batch`] reads, lets `domain` decide, and commits once; results go back, and [`after`] hands on
//! what follows. [`sweep`] is what happens without a message.

pub mod after;
pub mod batch;
pub mod config;
mod envelope;
pub mod item;
mod lively;
mod metrics;
mod pace;
pub mod plant;
mod reassembly;
mod receipts;
pub mod replies;
pub mod service;
mod set_aside;
pub mod spacing;
pub mod sweep;
mod transfers;
pub mod worker;

use std::{sync::Arc, time::Duration};

use domain::{identity::IdGenerator, security::Keyring};
use proto::inbound::inbound_data_server::InboundDataServer;
use queue::Queue;
use runtime::Clock;
use store::InboundStore;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{
    after::After,
    batch::Processor,
    metrics::Metrics,
    pace::{Pace, Turn},
    replies::Launchers,
    service::{Service, Shards},
    worker::Worker,
};

/// How long what was received may take once the process stops.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// Serves until `stop`, then finishes what it has received.
///
/// # Errors
/// When the address cannot be bound or an endpoint is none.
pub async fn start(
    config: Config,
    store: Arc<dyn InboundStore>,
    queue: Arc<dyn Queue>,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<rpc::Running> {
    let launchers_stop = CancellationToken::new();
    let launchers = Launchers {
        sms: balancer(&config.error_sms, &launchers_stop)?,
        ip: balancer(&config.error_ip, &launchers_stop)?,
    };
    let keyring = Keyring::from_setting(config.master_key.expose());
    let keyring = keyring.map_err(|expected| anyhow::anyhow!("master_key: expected {expected}"))?;
    let processor = Arc::new(Processor {
        store,
        ids: IdGenerator::new(config.node),
        policy: config.policy(),
        clock,
        metrics: Metrics::register(),
        parts_age_max: config.parts_age_max,
        parts_max: config.parts_max,
        keyring,
        retry_after: config.retry_after,
    });
    let (after, mut tasks) = After::start(processor.clone(), queue, launchers, config.resume_waiting);
    let pace = Pace::new(config.workers.max(1));
    let (shards, workers) = start_workers(&config, &processor, &after, &pace);
    let readiness = rpc::Readiness::new(false);
    readiness.set(processor.store.ping().await.is_ok());
    let service = Service { processor: processor.clone(), shards: shards.clone(), after, pace: pace.clone() };
    let server = InboundDataServer::new(service).max_decoding_message_size(rpc::MESSAGE_OCTETS_MAX);
    let routes = tonic::service::Routes::new(server);
    let running = rpc::serve_when_ready(config.server.clone(), routes, readiness.clone(), stop.clone()).await?;
    let idle = [
        tokio::spawn(sweep::watch(processor.clone(), pace, readiness.clone(), stop.clone())),
        tokio::spawn(sweep::run(processor, shards, config, stop)),
    ];
    let (address, server) = (running.address, running.task);
    tasks.splice(0..0, idle.into_iter().chain(workers));
    let task = tokio::spawn(async move {
        let served = server.await;
        // The service is gone, with it the senders to the workers; they finish, and then the tasks behind them.
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task ended with a panic");
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("stopped before everything received was done; it is unanswered and comes again");
        }
        launchers_stop.cancel();
        served?
    });
    Ok(rpc::Running { address, task, readiness })
}

fn balancer(endpoints: &rpc::EndpointsConfig, stop: &CancellationToken) -> anyhow::Result<Option<rpc::Balancer>> {
    if endpoints.endpoints.is_empty() {
        return Ok(None);
    }
    Ok(Some(rpc::Balancer::new(endpoints.clone(), stop.clone())?))
}

fn start_workers(
    config: &Config,
    processor: &Arc<Processor>,
    after: &After,
    pace: &Arc<Pace>,
) -> (Shards, Vec<JoinHandle<()>>) {
    let worker = |worker| {
        let (sender, waiting) = mpsc::channel(config.waiting_max.max(1));
        let worker = Worker {
            processor: processor.clone(),
            after: after.clone(),
            batch_max: config.batch_max.max(1),
            retry_after: config.retry_after,
            turn: Turn { pace: pace.clone(), worker },
        };
        (sender, tokio::spawn(worker.run(waiting)))
    };
    let (senders, tasks): (Vec<_>, Vec<_>) = (0..config.workers.max(1)).map(worker).unzip();
    (Shards(senders.into()), tasks)
}
