//! The inbound channel processor for SMS over SMPP (SC-IC-01): receiver or transceiver binds towards SMSCs.
//!
//! Each link buffers what the SMSC delivers, parses it, takes the payload out and hands it to an inbound data
//! processor; the SMSC is answered with the result and never before (SC-IC-11). The way itself is in
//! `edge::delivered`, for transceiver binds of `outbound-smpp` have it too. Start at [`start`].

pub mod config;

use std::sync::Arc;

use anyhow::Context;
use edge::{
    delivered::{Path, PathParameters},
    link::LinkSettings,
    parameters::Parameters,
    receipts::Receipts,
    slot::{Slot, unbind_after, while_held},
};
use net::smpp::{LinkConfig, SmppLink};
use runtime::{
    clock,
    events::{self, Kind},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::Config;

/// Name of the service, and of the scope in which its parameters are kept.
pub const NAME: &str = "inbound-smpp";

/// Binds the links and serves gRPC: health, diagnostics and the operating parameters. The address is that of gRPC.
/// Cancelling `stop` drains: nothing more is accepted, what was delivered is answered, the links are unbound.
///
/// # Errors
/// An endpoint that is none, TLS files that cannot be used, or a port that cannot be bound.
pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<rpc::Running> {
    let drivers = drivers(&config)?;
    // What is behind the links lives until these are closed.
    let parts = CancellationToken::new();
    let inbound_data = rpc::Balancer::new(config.inbound_data.clone(), parts.clone())?;
    let has_registry = !config.application_server.endpoints.is_empty();
    let registry =
        has_registry.then(|| rpc::Balancer::new(config.application_server.clone(), parts.clone())).transpose()?;

    let mut parameters = Parameters::new(NAME, registry.clone());
    let path_parameters = PathParameters::add(&mut parameters, config.event_buffer, config.window, config.rate);
    let parameters = Arc::new(parameters);
    parameters.refresh().await;
    tokio::spawn(Arc::clone(&parameters).keep_fresh(parts.clone()));

    let routes = tonic::service::Routes::new(parameters.service());
    let server = rpc::serve(config.server.clone(), routes, parts.clone()).await?;
    let (receipts, reporting) = Receipts::start(inbound_data.clone());
    let path = Path {
        ingest: rpc::stream::BatchClient::new(&inbound_data, config.ingest.clone(), parts.clone()),
        receipts,
        parameters: path_parameters,
        clock: clock::system(),
    };
    let links = TaskTracker::new();
    let owner = config.owner();
    for (settings, driver) in config.links.iter().cloned().zip(drivers) {
        let slot = registry.clone().and_then(|registry| slot(&config, &settings, registry, &owner));
        links.spawn(follow(path.clone(), settings, driver, slot, stop.clone()));
    }
    drop(path);
    links.close();
    events::record(Kind::StartUp, format!("{NAME}: {} links", config.links.len()));

    let rpc::Running { address, task: serving, readiness } = server;
    let ready = readiness.clone();
    let task = tokio::spawn(async move {
        stop.cancelled().await;
        events::record(Kind::ShutDown, format!("{NAME}: draining"));
        ready.set(false);
        links.wait().await;
        reporting.await?;
        parts.cancel();
        serving.await??;
        events::record(Kind::ShutDown, format!("{NAME}: stopped"));
        Ok(())
    });
    Ok(rpc::Running { address, task, readiness })
}

/// One link for the life of the process.
async fn follow(path: Path, settings: LinkSettings, driver: LinkConfig, slot: Option<Slot>, stop: CancellationToken) {
    while_held(slot, &stop, |held| {
        let (path, settings, driver) = (&path, &settings, driver.clone());
        async move {
            match SmppLink::start(driver, held) {
                Ok((handle, events)) => path.run(settings, handle, events).await,
                Err(error) => tracing::error!(link = settings.name, %error, "the link cannot be started"),
            }
        }
    })
    .await;
}

/// Submits nothing, so a window of one is plenty.
const SUBMIT_WINDOW: usize = 1;

fn drivers(config: &Config) -> anyhow::Result<Vec<LinkConfig>> {
    let driver = |link: &LinkSettings| {
        link.driver(SUBMIT_WINDOW, config.drain).with_context(|| format!("link {}: TLS", link.name))
    };
    config.links.iter().map(driver).collect()
}

fn slot(config: &Config, link: &LinkSettings, registry: rpc::Balancer, owner: &str) -> Option<Slot> {
    (!link.slot.is_empty()).then(|| Slot {
        registry,
        name: link.slot.clone(),
        owner: owner.to_owned(),
        ttl: config.slot_ttl,
        unbind: unbind_after(config.drain),
    })
}
