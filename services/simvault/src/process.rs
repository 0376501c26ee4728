//! What every role does the same way: read its configuration, set up logs and metrics, run until told to stop, drain.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use runtime::{
    config::{Problem, Validate},
    events::{self, Kind},
    telemetry::{self, TelemetryConfig},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{StoreConfig, Stores};
use tokio_util::sync::CancellationToken;

use crate::RoleArguments;

/// Configuration of an edge: it has no store and no queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edge<T> {
    pub telemetry: TelemetryConfig,
    pub service: T,
}

/// Configuration of a service behind the edges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Core<T> {
    pub telemetry: TelemetryConfig,
    pub store: StoreConfig,
    pub queue: QueueConfig,
    pub service: T,
}

/// The outbound-actions queue of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// `redis://HOST:PORT/`. Default `redis://127.0.0.1:6379/`.
    pub url: String,
    pub redis: queue::redis::QueueConfig,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { url: "redis://127.0.0.1:6379/".to_owned(), redis: queue::redis::QueueConfig::default() }
    }
}

/// How long [`open_store`] waits for a database that starts at the same time as we do.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

impl<T: Validate> Validate for Edge<T> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problem::under("telemetry", self.telemetry.problems());
        problems.extend(Problem::under("service", self.service.problems()));
        problems
    }
}

impl<T: Validate> Validate for Core<T> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problem::under("telemetry", self.telemetry.problems());
        problems.extend(Problem::under("store", self.store.problems()));
        problems.extend(Problem::under("service", self.service.problems()));
        problems
    }
}

/// Settings that say how to log.
pub trait HasTelemetry {
    fn telemetry(&self) -> &TelemetryConfig;
}

impl<T> HasTelemetry for Edge<T> {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }
}

impl<T> HasTelemetry for Core<T> {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }
}

/// Runs `role` with its configuration until it ends or the process is told to stop.
pub fn run<C, F>(arguments: &RoleArguments, role: impl FnOnce(C, CancellationToken) -> F) -> anyhow::Result<()>
where
    C: DeserializeOwned + Serialize + Validate + HasTelemetry,
    F: Future<Output = anyhow::Result<()>>,
{
    let config: C = runtime::config::load(arguments.config.as_deref(), "SIMVAULT")?;
    if arguments.print_config {
        println!("{}", runtime::config::print(&config)?);
        return Ok(());
    }
    if arguments.check_config {
        println!("the configuration is in order");
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async move {
        telemetry::init(config.telemetry())?;
        let stop = runtime::stop::on_signal()?;
        if let Some(listen) = config.telemetry().metrics_listen {
            telemetry::serve_metrics(listen, stop.clone()).await.with_context(|| format!("metrics on {listen}"))?;
        }
        role(config, stop).await
    })
}

/// Waits for the task of a running service; it ends after the drain.
pub async fn until_drained(running: rpc::Running) -> anyhow::Result<()> {
    running.task.await.context("the service's task")??;
    events::record(Kind::ShutDown, "drained");
    Ok(())
}

/// Opens the store; a server that does not answer yet is asked again for a minute.
pub async fn open_store(config: &StoreConfig, stop: &CancellationToken) -> anyhow::Result<Stores> {
    let started = std::time::Instant::now();
    loop {
        match store::open(config).await {
            Ok(stores) => return Ok(stores),
            Err(error @ store::StoreError::Unavailable(_)) if started.elapsed() < STORE_PATIENCE => {
                events::record(Kind::CommunicationFailure, format!("store: {error}"));
            }
            Err(error) => return Err(error).context("the store"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => anyhow::bail!("stopped before the store answered"),
        }
    }
}

/// Connects the queue; a Redis that is away is found when it comes back.
pub async fn open_queue(config: &QueueConfig) -> anyhow::Result<Arc<dyn queue::Queue>> {
    let queue = queue::redis::RedisQueue::connect(&config.url, config.redis.clone()).await.context("queue.url")?;
    Ok(queue)
}
