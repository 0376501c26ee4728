//! The outbound action processor: takes actions from the queue, builds messages, has them launched, and writes what
//! became of them (Fig. 25).
//!
//! Start at [`worker`], the path of an entry: acknowledgements go through [`holder`] and `acknowledgements`, everything
//! that waits for the card's answer through [`decision`] and `ordered`; `securing` makes packets for devices that want them. [`finisher`] writes many outcomes at a time;
//! [`janitor`] queues what the queue has lost. The store is the truth; the queue may be wiped at any time.

mod acknowledgements;
pub mod budget;
pub mod config;
pub mod decision;
mod finisher;
pub mod holder;
pub mod janitor;
pub mod launcher;
mod metrics;
mod ordered;
pub mod processor;
pub mod reach;
mod securing;
mod taken;
mod worker;

use std::{sync::Arc, time::Duration};

use domain::{phonebook::Bearer, security::Keyring};
use queue::Queue;
use store::OutboundStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{janitor::Janitor, launcher::Launchers, processor::Processor};
pub use runtime::Clock;

/// How long launches under way may take once the process is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// Runs the workers, the finisher and the janitor until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be bound or a setting is out of range.
pub async fn start(
    config: Config,
    store: Arc<dyn OutboundStore>,
    queue: Arc<dyn Queue>,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<rpc::Running> {
    Keyring::from_setting(config.master_key.expose())
        .map_err(|expected| anyhow::anyhow!("master_key: expected {expected}"))?;
    // The launchers' streams outlive the stop: what is under way is still answered.
    let streams = CancellationToken::new();
    // A short message that an SMSC may have is not submitted again before its time (D-117); a card takes the same payload
    // twice over IP without harm.
    let once = rpc::stream::BatchClientConfig { once: true, ..config.streams.clone() };
    let launchers = Launchers {
        sms: launcher::stack(&config.sms, &once, &streams)?,
        ip: launcher::stack(&config.ip, &config.streams, &streams)?,
        patience: config.patience,
        stop: stop.clone(),
    };
    let running = rpc::serve(config.server.clone(), tonic::service::Routes::default(), stop.clone()).await?;
    let parts = run(config, store, queue, launchers, clock, stop);
    let rpc::Running { address, task: server, readiness } = running;
    let task = tokio::spawn(async move {
        drop(parts.processor);
        parts.task.await?;
        streams.cancel();
        server.await?
    });
    Ok(rpc::Running { address, task, readiness })
}

/// What [`run`] started.
pub struct Parts {
    /// For a [`Janitor`] whose rounds a test makes itself.
    pub processor: Arc<Processor>,
    /// Ends after the drain, once nobody else holds the processor.
    pub task: JoinHandle<()>,
}

/// Everything but the gRPC face, with launchers of the caller's choice.
pub fn run(
    config: Config,
    store: Arc<dyn OutboundStore>,
    queue: Arc<dyn Queue>,
    launchers: Launchers,
    clock: Clock,
    stop: CancellationToken,
) -> Parts {
    let interval = config.janitor_interval;
    let (processor, finished) = Processor::new(config, store.clone(), queue.clone(), launchers, clock, stop.clone());
    let finisher = tokio::spawn(finisher::run(finished, store, queue, stop.clone()));
    let workers = [Bearer::Sms, Bearer::Ip].map(|channel| tokio::spawn(worker::run(processor.clone(), channel)));
    let janitor = tokio::spawn(look_after(Janitor::new(processor.clone()), interval, stop));
    let task = tokio::spawn(drain(processor.clone(), workers, janitor, finisher));
    Parts { processor, task }
}

async fn look_after(mut janitor: Janitor, interval: Duration, stop: CancellationToken) {
    loop {
        // Jitter keeps the janitors of several replicas apart.
        let pause = interval.mul_f64(rand::random_range(0.8..1.2));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = janitor.tick().await {
            tracing::warn!(%error, "the janitor could not look");
        }
    }
}

/// Workers stop taking, launches under way end, outcomes are written; in this order.
async fn drain(
    processor: Arc<Processor>,
    workers: [JoinHandle<()>; 2],
    janitor: JoinHandle<()>,
    finisher: JoinHandle<()>,
) {
    for task in workers.into_iter().chain([janitor]) {
        if let Err(error) = task.await {
            tracing::error!(%error, "a worker ended with a panic");
        }
    }
    processor.tasks.close();
    if tokio::time::timeout(DRAIN_MAX, processor.tasks.wait()).await.is_err() {
        tracing::warn!(launches = processor.tasks.len(), "launches are left to the queue, which delivers them again");
    }
    drop(processor);
    if let Err(error) = finisher.await {
        tracing::error!(%error, "the finisher ended with a panic");
    }
}
