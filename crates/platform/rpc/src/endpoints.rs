//! Where the replicas of a service are: a list in the configuration, or names that are resolved again and again.

use std::{collections::BTreeSet, time::Duration};

use runtime::config::{Problem, Validate, duration};
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint};

use crate::tls::{ClientTls, TlsFileError};

/// A service's replicas, and how they are reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointsConfig {
    /// `host:port` is one replica; `dns:host:port` is one per address that the name has.
    pub endpoints: Vec<String>,
    /// Default 1 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often names are resolved again; also at once after a failure. Default 5 s.
    #[serde(with = "duration")]
    pub resolve_interval: Duration,
    pub tls: Option<ClientTls>,
}

impl Default for EndpointsConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(5),
            tls: None,
        }
    }
}

impl EndpointsConfig {
    /// With the other settings at their defaults.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { endpoints: endpoints.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl Validate for EndpointsConfig {
    fn problems(&self) -> Vec<Problem> {
        let seconds = Duration::from_secs;
        let endpoints = self.endpoints.iter().filter(|endpoint| Target::parse(endpoint).is_none());
        endpoints
            .map(|endpoint| Problem::new("endpoints", format!("{endpoint:?}"), "\"host:port\" or \"dns:host:port\""))
            .chain(Problem::duration_range(
                "connect_timeout",
                self.connect_timeout,
                Duration::from_millis(10)..=seconds(30),
            ))
            .chain(Problem::duration_range(
                "resolve_interval",
                self.resolve_interval,
                Duration::from_millis(10)..=seconds(600),
            ))
            .collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EndpointsError {
    #[error("endpoint {found:?}: expected \"host:port\" or \"dns:host:port\"")]
    Form { found: String },
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    #[error("endpoint {address}: {source}")]
    Channel { address: String, source: tonic::transport::Error },
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_name: bool,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (is_name, rest) = text.strip_prefix("dns:").map_or((false, text), |rest| (true, rest));
        let (host, port) = rest.rsplit_once(':')?;
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
        Some(Self { host: host.to_owned(), port: port.parse().ok()?, is_name }).filter(|_| is_host)
    }

    /// Addresses of the replicas now. An empty answer means: keep what there was.
    pub(crate) async fn resolve(&self) -> BTreeSet<String> {
        if !self.is_name {
            return BTreeSet::from([format!("{}:{}", self.host, self.port)]);
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((host, self.port)).await {
            Ok(addresses) => addresses.map(|address| address.to_string()).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "name not resolved");
                BTreeSet::new()
            }
        }
    }
}

/// A channel that connects when it is used, and again when it broke.
pub(crate) fn channel(config: &EndpointsConfig, target: &Target, address: &str) -> Result<Channel, EndpointsError> {
    let failed = |source| EndpointsError::Channel { address: address.to_owned(), source };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(failed)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    if let Some(tls) = &config.tls {
        endpoint = endpoint.tls_config(tls.load(&target.host)?).map_err(failed)?;
    }
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        let parsed = Target::parse("dns:inbound-data-headless:7000").expect("a name");
        assert_eq!(parsed, Target { host: "inbound-data-headless".to_owned(), port: 7000, is_name: true });
        assert_eq!(Target::parse("[::1]:80").map(|target| target.host).as_deref(), Some("[::1]"));
        for wrong in ["", "host", ":80", "host:", "host:70000", "http://host:80", "dns:host"] {
            assert_eq!(Target::parse(wrong), None, "{wrong}");
        }
        let config = EndpointsConfig::new(["good:1", "bad"]);
        assert_eq!(config.problems().len(), 1);
    }
}
