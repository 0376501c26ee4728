//! What every role does the same way: read its configuration, set up logs and metrics, run until told to stop, drain.

use std::{future::Future, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use runtime::{
    config::{Problem, Validate, without_password, without_secret},
    events::{self, Kind},
    telemetry::{self, TelemetryConfig},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::StoreConfig;
use tokio_util::sync::CancellationToken;

use crate::{metrics, roles};

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

impl<T: Validate + Service> Validate for Edge<T> {
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
        let url = (!is_redis)
            .then(|| Problem::new("url", without_secret(&self.url), "redis://HOST:PORT/ or rediss://HOST:PORT/"));
        url.into_iter().chain(Problem::under("redis", self.redis.problems())).collect()
    }
}

/// What a process knows of the service that it runs.
pub trait Service {
    /// Where it serves gRPC; `None`: it does not.
    fn grpc(&self) -> Option<SocketAddr>;

    /// Key and endpoints of services that it is nothing without; in one process they are filled in, alone they have to be
    /// named.
    fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
        Vec::new()
    }
}

/// Services, and which others each calls in any case.
macro_rules! services {
    ($($service:ident($($called:ident),*);)*) => {
        $(impl Service for $service::Config {
            fn grpc(&self) -> Option<SocketAddr> {
                Some(self.server.listen)
            }

            fn calls(&self) -> Vec<(&'static str, &rpc::EndpointsConfig)> {
                vec![$((stringify!($called), &self.$called)),*]
            }
        })*
    };
}

services! {
    inbound_smpp(inbound_data);
    inbound_ip(inbound_data, application_server);
    inbound_data();
    outbound_action();
    outbound_smpp();
    outbound_ip(application_server);
    application_server();
}

/// What every process reads from its own settings.
pub trait ProcessConfig {
    fn telemetry(&self) -> &TelemetryConfig;

    /// Store, queue and gRPC address, for the line of the start.
    fn surroundings(&self) -> Surroundings;
}

/// What a process works with, without passwords; empty: it has none.
#[derive(Default)]
pub struct Surroundings {
    pub store: String,
    pub queue: String,
    pub grpc: String,
}

impl<T: Service> ProcessConfig for Edge<T> {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { grpc: shown(&self.service), ..Surroundings::default() }
    }
}

impl<T: Service> ProcessConfig for Core<T> {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn surroundings(&self) -> Surroundings {
        let (store, queue) = (without_password(&self.store.url), without_password(&self.queue.url));
        Surroundings { store, queue, grpc: shown(&self.service) }
    }
}

fn shown(service: &impl Service) -> String {
    service.grpc().map_or_else(String::new, |address| address.to_string())
}

/// What the names of the environment's overrides begin with.
pub const PREFIX: &str = "SIMVAULT";

/// Whether a role may run on defaults alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// It has a place in a network, which only a file tells.
    Needed,
    Optional,
}

/// Runs the role `name` with its configuration until it ends or the process is told to stop.
pub fn run<C, F>(
    name: &'static str,
    file: File,
    arguments: &RoleArguments,
    role: impl FnOnce(C, CancellationToken) -> F,
) -> anyhow::Result<()>
where
    C: DeserializeOwned + Serialize + Validate + ProcessConfig,
    F: Future<Output = anyhow::Result<()>>,
{
    let path = arguments.config.as_deref();
    anyhow::ensure!(
        file == File::Optional || path.is_some() || arguments.print_config || arguments.check_config,
        "{name} needs --config FILE; deploy/local/{name}.toml is a sample"
    );
    let config: C = runtime::config::load(path, PREFIX).map_err(|error| {
        // Of a file for another role everything is a mistake, which helps nobody.
        let others = path.filter(|_| error.names_unknown_key()).map_or_else(Vec::new, roles::that_read);
        match (path, others.as_slice()) {
            (Some(path), [other]) => {
                anyhow::anyhow!("{}: this looks like a file for {other}, not for {name}", path.display())
            }
            _ => error.into(),
        }
    })?;
    let path = path.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    if arguments.print_config {
        println!("{}", runtime::config::print(&config)?);
        return Ok(());
    }
    if arguments.check_config {
        println!("{path}: the configuration of {name} is in order");
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async move {
        telemetry::init(config.telemetry(), name)?;
        metrics::describe(name);
        let Surroundings { store, queue, grpc } = config.surroundings();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), config = path, store, queue, grpc, "{name} starts");
        let stop = runtime::stop::on_signal()?;
        if let Some(listen) = config.telemetry().metrics_listen {
            telemetry::serve_metrics(listen, stop.clone()).await.with_context(|| format!("metrics on {listen}"))?;
        }
        role(config, stop).await
    })
}

/// An error with its causes, each told once: some errors say their cause themselves.
pub fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.contains(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

/// Waits for the task of a running service; it ends after the drain.
pub async fn until_drained(running: rpc::Running) -> anyhow::Result<()> {
    let readiness = running.readiness.clone();
    telemetry::ready_when(move || readiness.is_ready());
    running.task.await.context("the service's task")??;
    events::record(Kind::ShutDown, "drained");
    Ok(())
}
