//! Logs (JSON lines on standard error, filtered by `RUST_LOG` or the configuration) and metrics. Start with [`init`];
//! what is served to Prometheus and to probes is in `http`, what stands in front of each JSON line in [`origin`].

mod http;
mod origin;

use std::{io, net::SocketAddr, sync::OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt};

pub use self::http::{ready_when, serve_metrics};
use self::origin::Origin;
use crate::config::{Problem, Validate};

/// How a process logs and where its metrics are read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Filter directives, such as `info,rpc=debug`; `RUST_LOG` wins. Default `info`.
    pub filter: String,
    /// JSON lines; `false`: text for people. Default `true`.
    pub json: bool,
    /// Name of this process in its log lines. Default empty: name of the machine and process id.
    pub instance: String,
    /// Where `/metrics`, `/healthz` and `/readyz` are served; `None`: nowhere (the default).
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: true, instance: String::new(), metrics_listen: None }
    }
}

impl Validate for TelemetryConfig {
    fn problems(&self) -> Vec<Problem> {
        let parsed = EnvFilter::try_new(&self.filter);
        parsed
            .err()
            .map(|_| Problem::new("filter", format!("{:?}", self.filter), "directives such as \"info,rpc=debug\""))
            .into_iter()
            .collect()
    }
}

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds of the histograms that count messages.
const MESSAGE_BUCKETS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];
/// Upper bounds of every other histogram, seconds.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log filter {filter:?} is not a list of directives such as \"info,rpc=debug\"")]
    Filter { filter: String },
    #[error("logs or metrics were set up already in this process")]
    AlreadySet,
    #[error("metrics: {0}")]
    Metrics(String),
}

/// Sets up logs and metrics, once per process, before anything else; `role` stands in every JSON line.
///
/// # Errors
/// A filter that is none, or a second call.
pub fn init(config: &TelemetryConfig, role: &str) -> Result<(), TelemetryError> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.filter.clone());
    let filter = EnvFilter::try_new(&filter).map_err(|_| TelemetryError::Filter { filter })?;
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = if config.json {
        let instance = if config.instance.is_empty() { process_name() } else { config.instance.clone() };
        let json = subscriber.json().flatten_event(true);
        json.map_event_format(|format| Origin::new(format, role, &instance)).try_init()
    } else {
        subscriber.try_init()
    };
    set.map_err(|_| TelemetryError::AlreadySet)?;
    init_metrics()
}

/// Name of the machine (of the pod, in Kubernetes) and process id.
fn process_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = machine.trim();
    format!("{}-{}", if machine.is_empty() { "unnamed" } else { machine }, std::process::id())
}

/// The metrics alone, for tools that log in their own way. A second call does nothing.
///
/// # Errors
/// Another recorder is installed.
pub fn init_metrics() -> Result<(), TelemetryError> {
    if METRICS.get().is_some() {
        return Ok(());
    }
    let describe = |error: metrics_exporter_prometheus::BuildError| TelemetryError::Metrics(error.to_string());
    let messages = Matcher::Suffix("_messages".to_owned());
    let builder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(messages, &MESSAGE_BUCKETS))
        .map_err(describe)?;
    let handle = builder.install_recorder().map_err(describe)?;
    // A second caller raced: its install failed above, so this one is the first.
    METRICS.set(handle).map_err(|_| TelemetryError::AlreadySet)
}

/// All metrics as Prometheus text; empty before [`init`].
pub fn render() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds old samples, so that memory stays bounded when nobody reads.
fn upkeep() {
    if let Some(handle) = METRICS.get() {
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_a_problem() {
        let config = TelemetryConfig { filter: "a=b=c".to_owned(), ..TelemetryConfig::default() };
        assert_eq!(config.problems().len(), 1);
        assert!(TelemetryConfig::default().problems().is_empty());
    }
}
