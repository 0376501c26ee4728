//! Each role: its configuration in, the service started with what it needs, the drain awaited.

use std::path::Path;

use runtime::config::Validate;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    backends::{self, open_queue, open_store},
    centre::CentreConfig,
    process::{Core, Edge, PREFIX, Service, until_drained},
};

pub async fn inbound_smpp(config: Edge<inbound_smpp::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    until_drained(inbound_smpp::start(config.service, stop).await?).await
}

pub async fn inbound_ip(config: Edge<inbound_ip::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    until_drained(inbound_ip::start(config.service, stop).await?).await
}

pub async fn outbound_smpp(config: Edge<outbound_smpp::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    until_drained(outbound_smpp::start(config.service, stop).await?).await
}

pub async fn outbound_ip(config: Edge<outbound_ip::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    until_drained(outbound_ip::start(config.service, stop).await?).await
}

pub async fn inbound_data(config: Core<inbound_data::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    let stores = open_store(&config.store, &stop).await?;
    let queue = open_queue(&config.queue).await?;
    let clock = runtime::clock::system();
    until_drained(inbound_data::start(config.service, stores.inbound, queue, clock, stop).await?).await
}

pub async fn outbound_action(config: Core<outbound_action::Config>, stop: CancellationToken) -> anyhow::Result<()> {
    let stores = open_store(&config.store, &stop).await?;
    let queue = open_queue(&config.queue).await?;
    let clock = runtime::clock::system();
    until_drained(outbound_action::start(config.service, stores.outbound, queue, clock, stop).await?).await
}

pub async fn application_server(
    config: Core<application_server::Config>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let stores = open_store(&config.store, &stop).await?;
    let queue = open_queue(&config.queue).await?;
    let clock = runtime::clock::system();
    until_drained(application_server::start(config.service, stores.application, queue, clock, stop).await?).await
}

/// Roles that find no mistake in this file.
pub fn that_read(path: &Path) -> Vec<&'static str> {
    fn reads<C: DeserializeOwned + Validate>(path: &Path) -> bool {
        runtime::config::load::<C>(Some(path), PREFIX).is_ok()
    }
    type Reads = fn(&Path) -> bool;
    let roles: [(&str, Reads); 8] = [
        ("inbound-smpp", reads::<Edge<inbound_smpp::Config>>),
        ("inbound-ip", reads::<Edge<inbound_ip::Config>>),
        ("inbound-data", reads::<Core<inbound_data::Config>>),
        ("outbound-action", reads::<Core<outbound_action::Config>>),
        ("outbound-smpp", reads::<Edge<outbound_smpp::Config>>),
        ("outbound-ip", reads::<Edge<outbound_ip::Config>>),
        ("application-server", reads::<Core<application_server::Config>>),
        ("all", reads::<CentreConfig>),
    ];
    roles.into_iter().filter(|(_, reads)| reads(path)).map(|(name, _)| name).collect()
}

/// Nothing but telemetry and store: what a migration needs.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoService {}

impl runtime::config::Validate for NoService {
    fn problems(&self) -> Vec<runtime::config::Problem> {
        Vec::new()
    }
}

impl Service for NoService {
    fn grpc(&self) -> Option<std::net::SocketAddr> {
        None
    }
}

pub async fn migrate(config: Core<NoService>, stop: CancellationToken) -> anyhow::Result<()> {
    if config.store.sqlite_path().is_some() {
        open_store(&config.store, &stop).await?;
        println!("the embedded store is migrated");
        return Ok(());
    }
    let version = backends::patiently(&config.store, &stop, store::migrate::postgres).await?;
    println!("the schema is at version {version}");
    Ok(())
}
