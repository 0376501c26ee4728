//! Operating parameters that an operator changes while the edge runs (SC-IC-06): `diagnostics.v1.EdgeConfiguration`.
//!
//! A change is first kept by `application-server` (`EdgeRegistry.PutSetting`), then takes effect; at start, and every
//! [`REFRESH`], what is kept there is read again, so that a change reaches every replica and survives a restart.
//! Without an application server a change lasts until the process ends.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::{
    centre::{GetSettingsRequest, PutSettingRequest, edge_registry_client::EdgeRegistryClient},
    diagnostics::{
        GetParametersRequest, Parameter as ParameterMessage, Parameters as ParametersMessage, SetParameterRequest,
        edge_configuration_server::{EdgeConfiguration, EdgeConfigurationServer},
    },
};
use runtime::events::{self, Kind};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Between two readings of what is kept.
pub const REFRESH: Duration = Duration::from_secs(10);
/// For one call to the application server.
const DEADLINE: Duration = Duration::from_secs(2);

/// Metadata that names the operator.
const OPERATOR: &str = "simvault-user";
type Operator = tonic::metadata::MetadataValue<tonic::metadata::Ascii>;

/// A number that may change at any time; cheap to clone and to read.
#[derive(Clone, Debug)]
pub struct Setting(Arc<AtomicU64>);

impl Setting {
    /// One that nobody changes, for tests and tools.
    #[must_use]
    pub fn fixed(value: u64) -> Self {
        Self(Arc::new(AtomicU64::new(value)))
    }

    /// The value in effect.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// [`Self::get`] as a count.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(usize::MAX)
    }
}

struct Entry {
    key: &'static str,
    accepted: RangeInclusive<u64>,
    unit: &'static str,
    value: Setting,
}

/// The parameters of one service.
pub struct Parameters {
    entries: Vec<Entry>,
    /// Under which the settings are kept, such as `inbound-smpp`; replicas share it.
    scope: String,
    registry: Option<rpc::Balancer>,
}

impl Parameters {
    /// None yet. `registry`: the application servers, if there are any.
    #[must_use]
    pub fn new(scope: &str, registry: Option<rpc::Balancer>) -> Self {
        Self { entries: Vec::new(), scope: scope.to_owned(), registry }
    }

    /// Adds one; `initial` is the configuration's.
    pub fn add(
        &mut self,
        key: &'static str,
        initial: u64,
        accepted: RangeInclusive<u64>,
        unit: &'static str,
    ) -> Setting {
        let value = Setting::fixed(initial.clamp(*accepted.start(), *accepted.end()));
        self.entries.push(Entry { key, accepted, unit, value: value.clone() });
        value
    }

    /// Reads what is kept until `stop`, again and again.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        if self.registry.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH) => self.refresh().await,
            }
        }
    }

    /// Reads what is kept, once; an edge works without an answer too, which is waited for at most 2 s.
    pub async fn refresh(&self) {
        let Some(registry) = &self.registry else { return };
        let call = |channel| {
            let request = GetSettingsRequest { scope: self.scope.clone() };
            async move { EdgeRegistryClient::new(channel).get_settings(request).await }
        };
        match registry.call_with_retry(DEADLINE, call).await {
            Ok(reply) => {
                for (key, value) in reply.settings {
                    if let Err(problem) = self.apply(&key, &value) {
                        tracing::warn!(key, "a kept parameter is not usable: {}", problem.message());
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the kept parameters could not be read"),
        }
    }

    /// The gRPC service.
    #[must_use]
    pub fn service(self: &Arc<Self>) -> EdgeConfigurationServer<Service> {
        EdgeConfigurationServer::new(Service(Arc::clone(self)))
    }

    fn find(&self, key: &str, value: &str) -> Result<(&Entry, u64), Status> {
        let entry = self.entries.iter().find(|entry| entry.key == key).ok_or_else(|| {
            let known: Vec<&str> = self.entries.iter().map(|entry| entry.key).collect();
            Status::not_found(format!("parameter {key:?} is not known, there are: {}", known.join(", ")))
        })?;
        let number = value.trim().parse().ok().filter(|number| entry.accepted.contains(number)).ok_or_else(|| {
            Status::invalid_argument(format!("{key}: found {value:?}, accepted: {}", accepted(entry)))
        })?;
        Ok((entry, number))
    }

    fn apply(&self, key: &str, value: &str) -> Result<(), Status> {
        let (entry, number) = self.find(key, value)?;
        let before = entry.value.0.swap(number, Ordering::Relaxed);
        if before != number {
            events::record(Kind::Configuration, format!("{}: {key} changed from {before} to {number}", self.scope));
        }
        Ok(())
    }

    async fn set(&self, key: String, value: String, user: Option<&Operator>) -> Result<(), Status> {
        self.find(&key, &value)?;
        if let Some(registry) = &self.registry {
            // What is not kept would not survive a restart: then it is not changed either.
            let call = |channel| {
                let setting = PutSettingRequest { scope: self.scope.clone(), key: key.clone(), value: value.clone() };
                let mut setting = Request::new(setting);
                if let Some(user) = user {
                    setting.metadata_mut().insert(OPERATOR, user.clone());
                }
                async move { EdgeRegistryClient::new(channel).put_setting(setting).await }
            };
            registry.call_with_retry(DEADLINE, call).await?;
        }
        self.apply(&key, &value)
    }

    fn message(&self) -> ParametersMessage {
        let parameters = self.entries.iter().map(|entry| ParameterMessage {
            key: entry.key.to_owned(),
            value: entry.value.get().to_string(),
            accepted: accepted(entry),
        });
        ParametersMessage { parameters: parameters.collect() }
    }
}

fn accepted(entry: &Entry) -> String {
    format!("{} to {} {}", entry.accepted.start(), entry.accepted.end(), entry.unit)
}

/// `diagnostics.v1.EdgeConfiguration`.
pub struct Service(Arc<Parameters>);

#[tonic::async_trait]
impl EdgeConfiguration for Service {
    async fn get_parameters(
        &self,
        _request: Request<GetParametersRequest>,
    ) -> Result<Response<ParametersMessage>, Status> {
        Ok(Response::new(self.0.message()))
    }

    async fn set_parameter(
        &self,
        request: Request<SetParameterRequest>,
    ) -> Result<Response<ParametersMessage>, Status> {
        // Whoever asks is named in the audit log that the application server keeps.
        let user = request.metadata().get(OPERATOR).cloned();
        let SetParameterRequest { key, value } = request.into_inner();
        self.0.set(key, value, user.as_ref()).await?;
        Ok(Response::new(self.0.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_takes_effect_and_a_wrong_one_does_not() {
        let mut parameters = Parameters::new("test", None);
        let window = parameters.add("window", 100, 1..=1000, "messages");
        let parameters = Arc::new(parameters);
        let service = Service(Arc::clone(&parameters));
        let set = |key: &str, value: &str| {
            let request = SetParameterRequest { key: key.to_owned(), value: value.to_owned() };
            service.set_parameter(Request::new(request))
        };
        let answer = set("window", "7").await.expect("accepted").into_inner();
        assert_eq!(window.get(), 7);
        assert_eq!(answer.parameters[0].value, "7");
        assert_eq!(answer.parameters[0].accepted, "1 to 1000 messages");
        for (key, value) in [("window", "0"), ("window", "x"), ("windows", "5")] {
            assert!(set(key, value).await.is_err());
        }
        assert_eq!(window.get(), 7);
    }
}
