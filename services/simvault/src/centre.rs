//! Every service in one process, on one store and the in-process queue. They still speak gRPC to each other, over
//! loopback, so that there is one way through the code.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use runtime::{
    config::{Problem, Secret, Validate, without_password},
    telemetry::{self, TelemetryConfig},
};
use serde::{Deserialize, Serialize};
use store::{StoreConfig, Stores};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::open_store,
    process::{ProcessConfig, Surroundings},
};

/// Configuration of `simvault all`. Endpoints of the services to each other are filled in, but for launchers of short
/// messages that are named (another bearer's); where each serves gRPC can be set, and is a free port of loopback otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CentreConfig {
    pub telemetry: TelemetryConfig,
    /// Default: the embedded store in `simvault.db`.
    pub store: StoreConfig,
    /// That of every service that has none of its own: 64 hexadecimal digits (D-125). Default none.
    pub master_key: Secret,
    pub application_server: application_server::Config,
    pub inbound_data: inbound_data::Config,
    pub outbound_action: outbound_action::Config,
    /// Without links, no SMPP edge is started.
    pub inbound_smpp: inbound_smpp::Config,
    /// Without links, no SMPP launcher is started.
    pub outbound_smpp: outbound_smpp::Config,
    pub inbound_ip: inbound_ip::Config,
    pub outbound_ip: outbound_ip::Config,
}

impl Validate for CentreConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Problem::under("telemetry", self.telemetry.problems());
        problems.extend(Problem::under("store", self.store.problems()));
        let key = domain::security::Keyring::from_setting(self.master_key.expose()).err();
        problems.extend(key.map(|expected| Problem::new("master_key", "another text (not shown)", expected)));
        problems.extend(Problem::under("application_server", self.application_server.problems()));
        problems.extend(Problem::under("inbound_data", self.inbound_data.problems()));
        problems.extend(Problem::under("outbound_action", self.outbound_action.problems()));
        if !self.inbound_smpp.links.is_empty() {
            problems.extend(Problem::under("inbound_smpp", self.inbound_smpp.problems()));
        }
        if !self.outbound_smpp.links.is_empty() {
            problems.extend(Problem::under("outbound_smpp", self.outbound_smpp.problems()));
        }
        problems.extend(Problem::under("inbound_ip", self.inbound_ip.problems()));
        problems.extend(Problem::under("outbound_ip", self.outbound_ip.problems()));
        problems
    }
}

impl ProcessConfig for CentreConfig {
    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn surroundings(&self) -> Surroundings {
        let store = without_password(&self.store.url);
        let grpc = self.application_server.server.listen.to_string();
        Surroundings { store, queue: "in memory".to_owned(), grpc }
    }
}

/// A centre that runs.
pub struct Centre {
    /// gRPC of the application server.
    pub application_server: SocketAddr,
    /// Where cards connect by IP.
    pub cards: SocketAddr,
    /// In the order in which they are drained: what takes work in first, what others need last.
    services: Vec<(&'static str, rpc::Running, CancellationToken)>,
}

impl Centre {
    /// Starts every service on `stores`.
    ///
    /// # Errors
    /// When an address cannot be bound or a setting cannot be used; the error names the service.
    pub async fn start(mut config: CentreConfig, stores: Stores) -> anyhow::Result<Self> {
        for own in [
            &mut config.application_server.master_key,
            &mut config.inbound_data.master_key,
            &mut config.outbound_action.master_key,
        ] {
            if own.is_empty() {
                own.clone_from(&config.master_key);
            }
        }
        let queue: Arc<dyn queue::Queue> = queue::memory::MemoryQueue::new();
        let clock = runtime::clock::system();
        let token = CancellationToken::new;
        let at = |address: SocketAddr| rpc::EndpointsConfig::new([address.to_string()]);
        // From the last to drain to the first: each is started when what it calls is there.
        let mut services = Vec::new();

        let stop = token();
        let application = application_server::start(
            config.application_server,
            stores.application,
            Arc::clone(&queue),
            clock.clone(),
            stop.clone(),
        );
        let application = application.await.context("application-server")?;
        let application_server = application.address;
        services.push(("application-server", application, stop));

        if !config.outbound_smpp.links.is_empty() {
            config.outbound_smpp.application_server = at(application_server);
            let stop = token();
            let running = outbound_smpp::start(config.outbound_smpp, stop.clone()).await.context("outbound-smpp")?;
            for launchers in [&mut config.outbound_action.sms, &mut config.inbound_data.error_sms] {
                if launchers.endpoints.is_empty() {
                    *launchers = at(running.address);
                }
            }
            services.push(("outbound-smpp", running, stop));
        }

        config.outbound_ip.application_server = at(application_server);
        let stop = token();
        let running = outbound_ip::start(config.outbound_ip, stop.clone()).await.context("outbound-ip")?;
        config.outbound_action.ip = at(running.address);
        config.inbound_data.error_ip = at(running.address);
        services.push(("outbound-ip", running, stop));

        let stop = token();
        let data =
            inbound_data::start(config.inbound_data, stores.inbound, Arc::clone(&queue), clock.clone(), stop.clone());
        let data = data.await.context("inbound-data")?;
        let inbound_data = at(data.address);
        services.push(("inbound-data", data, stop));

        let stop = token();
        let running = outbound_action::start(config.outbound_action, stores.outbound, queue, clock, stop.clone());
        services.push(("outbound-action", running.await.context("outbound-action")?, stop));

        config.inbound_ip.application_server = at(application_server);
        config.inbound_ip.inbound_data = inbound_data.clone();
        let stop = token();
        let running = inbound_ip::start(config.inbound_ip, stop.clone()).await.context("inbound-ip")?;
        let cards = running.address;
        services.push(("inbound-ip", running, stop));

        if !config.inbound_smpp.links.is_empty() {
            config.inbound_smpp.application_server = at(application_server);
            config.inbound_smpp.inbound_data = inbound_data;
            let stop = token();
            let running = inbound_smpp::start(config.inbound_smpp, stop.clone()).await.context("inbound-smpp")?;
            services.push(("inbound-smpp", running, stop));
        }
        services.reverse();
        Ok(Self { application_server, cards, services })
    }

    /// Stops the edges first, then what is behind them, each after its drain.
    ///
    /// # Errors
    /// The first service that failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        for (name, running, stop) in self.services {
            stop.cancel();
            running.task.await.context(name)?.context(name)?;
        }
        Ok(())
    }
}

/// `simvault all`.
pub async fn run(config: CentreConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let stores = open_store(&config.store, &stop).await?;
    let centre = Centre::start(config, stores).await?;
    let every: Vec<rpc::Readiness> = centre.services.iter().map(|(_, running, _)| running.readiness.clone()).collect();
    telemetry::ready_when(move || every.iter().all(rpc::Readiness::is_ready));
    tracing::info!(application_server = %centre.application_server, cards = %centre.cards, "all services run");
    stop.cancelled().await;
    centre.stop().await
}
