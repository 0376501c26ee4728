//! Logs (JSON lines on standard error, filtered by `RUST_LOG` or the configuration) and metrics (Prometheus text on
//! `/metrics`). Start with [`init`] and [`serve_metrics`].

use std::{io, net::SocketAddr, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Problem, Validate};

/// How a process logs and where its metrics are read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Filter directives, such as `info,rpc=debug`; `RUST_LOG` wins. Default `info`.
    pub filter: String,
    /// JSON lines; `false`: text for people. Default `true`.
    pub json: bool,
    /// Where `/metrics` is served; `None`: nowhere (the default).
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: true, metrics_listen: None }
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

/// Sets up logs and metrics, once per process, before anything else.
///
/// # Errors
/// A filter that is none, or a second call.
pub fn init(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.filter.clone());
    let filter = EnvFilter::try_new(&filter).map_err(|_| TelemetryError::Filter { filter })?;
    let subscriber = fmt().with_env_filter(filter).with_writer(io::stderr);
    let set = if config.json { subscriber.json().flatten_event(true).try_init() } else { subscriber.try_init() };
    set.map_err(|_| TelemetryError::AlreadySet)?;
    init_metrics()
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

/// Connections that read metrics at the same time, at most.
const READERS_MAX: usize = 8;
/// A reader has this long for its whole request and answer.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a request, at most.
const REQUEST_MAX: usize = 8192;
/// How often old samples are folded, so that memory stays bounded when nobody reads.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves `GET /metrics` until `stop`; returns the bound address (port 0 is allowed).
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_metrics(listen: SocketAddr, stop: CancellationToken) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(listener) => {}
            () = upkeep() => {}
        }
    });
    Ok((address, task))
}

async fn upkeep() {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        if let Some(handle) = METRICS.get() {
            handle.run_upkeep();
        }
    }
}

async fn accept(listener: TcpListener) {
    let readers = std::sync::Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok(permit) = readers.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // A reader that leaves early, or is too slow, asks again.
                    drop(timeout(READER_TIMEOUT, answer(stream)).await);
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: let others finish first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= REQUEST_MAX || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let is_metrics = request.starts_with(b"GET /metrics ") || request.starts_with(b"GET /metrics?");
    let (status, body) = if is_metrics { ("200 OK", render()) } else { ("404 Not Found", String::new()) };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        text
    }

    #[tokio::test]
    async fn metrics_and_event_counts_are_served() {
        init_metrics().expect("the first recorder");
        init_metrics().expect("a second call does nothing");
        events::record(events::Kind::CommunicationFailure, "link a: refused");
        let stop = CancellationToken::new();
        let (address, task) = serve_metrics(([127, 0, 0, 1], 0).into(), stop.clone()).await.expect("bound");
        let text = get(address, "/metrics").await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        // Other tests of this process count as well.
        assert!(text.contains("simvault_events_total{kind=\"communication_failure\"} "), "{text}");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));
        stop.cancel();
        task.await.expect("ended");
    }

    #[test]
    fn a_wrong_filter_is_a_problem() {
        let config = TelemetryConfig { filter: "a=b=c".to_owned(), ..TelemetryConfig::default() };
        assert_eq!(config.problems().len(), 1);
        assert!(TelemetryConfig::default().problems().is_empty());
    }
}
