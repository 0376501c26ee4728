//! What every role does the same way: read its configuration, set up logs and metrics, run until told to stop, drain.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use runtime::{
    config::{Problem, Validate},
    events::{self, Kind},
    telemetry::{self, TelemetryConfig},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{StoreConfig, Stores};
use tokio_util::sync::CancellationToken;

/// Command line of a role.
#[derive(clap::Args)]
pub struct RoleArguments {
    /// Configuration file (TOML); settings are overridden by SIMVAULT__SECTION__KEY
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Reads the configuration, says what is wrong with it, and ends
    #[arg(long)]
    check_config: bool,
    /// Prints every setting that is in force, secrets hidden, and ends
    #[arg(long)]
    print_config: bool,
}

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
    #[serde(serialize_with = "runtime::config::hide_password")]
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

impl<T: Validate + Calls> Validate for Edge<T> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problem::under("telemetry", self.telemetry.problems());
        problems.extend(Problem::under("service", self.service.problems()));
        let unnamed = self.service.calls().into_iter().filter(|(_, called)| called.endpoints.is_empty());
        problems.extend(
            unnamed.map(|(key, _)| Problem::new(format!("service.{key}.endpoints"), "none", "at least one host:port")),
        );
        problems
    }
}

impl<T: Validate> Validate for Core<T> {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problem::under("telemetry", self.telemetry.problems());
        problems.extend(Problem::under("store", self.store.problems()));
        problems.extend(Problem::under("queue", self.queue.problems()));
        problems.extend(Problem::under("service", self.service.problems()));
        problems
    }
}

impl Validate for QueueConfig {
    fn problems(&self) -> Vec<Problem> {
        let is_redis = self.url.starts_with("redis://") || self.url.starts_with("rediss://");
        // The text itself may hold a password: it is not repeated.
        let url = (!is_redis).then(|| Problem::new("url", "another form", "redis://HOST:PORT/ or rediss://HOST:PORT/"));
        url.into_iter().chain(Problem::under("redis", self.redis.problems())).collect()
    }
}

/// Services that an edge is nothing without; in one process they are filled in, alone they have to be named.
pub trait Calls {
    /// Key and endpoints.
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)>;
}

impl Calls for inbound_smpp::Config {
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
        vec![("inbound_data", &self.inbound_data)]
    }
}

impl Calls for inbound_ip::Config {
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
        vec![("inbound_data", &self.inbound_data), ("application_server", &self.application_server)]
    }
}

impl Calls for outbound_smpp::Config {
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
        Vec::new()
    }
}

impl Calls for outbound_ip::Config {
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
        vec![("application_server", &self.application_server)]
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
