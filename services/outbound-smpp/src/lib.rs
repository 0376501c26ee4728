//! The outbound channel launcher for SMS over SMPP (SC-OC-01, SC-OC-02): transmitter or transceiver binds towards SMSCs.
//!
//! It takes launches from the outbound action processors, makes a `submit_sm` of each and answers with what the SMSC
//! said. Retrying later is its clients' business (D-128), slowing down where the SMSC asks for it is its own. What an
//! SMSC delivers on a transceiver bind goes the way of `inbound-smpp` (`edge::delivered`).
//! Start at [`start`]; then [`launcher::Launcher`].

pub mod assemble;
pub mod config;
pub mod launcher;
pub mod pool;
mod service;
pub mod verdict;

use std::sync::Arc;

use anyhow::Context;
use edge::{
    delivered::{Path, PathParameters, log_link_event},
    link::LinkSettings,
    parameters::Parameters,
    receipts::Receipts,
    slot::{Slot, unbind_after, while_held},
};
use net::smpp::{LinkConfig, LinkEvent, LinkHandle, SmppLink};
use proto::outbound::outbound_channel_server::OutboundChannelServer;
use runtime::{
    clock,
    events::{self, Kind},
};
use smpp::CommandStatus;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::Config;
use launcher::Launcher;
use pool::{Member, Pool, PoolParameters};

/// Name of the service, and of the scope in which its parameters are kept.
pub const NAME: &str = "outbound-smpp";

/// Launches on their way to the one task that sends them; more wait in their streams.
const JOBS_MAX: usize = 4096;

/// Binds the links and serves `outbound.v1.OutboundChannel` and the operating parameters; the address is that of gRPC.
/// Cancelling `stop` drains: no new launches, what was taken is submitted and answered, the links are unbound.
///
/// # Errors
/// An endpoint that is none, link settings that cannot be used, or a port that cannot be bound.
pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<rpc::Running> {
    // Order of the drain: the server first, then the links, then what is behind them.
    let (serving, binding, parts) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let registry = balancer(&config.application_server, &parts)?;
    let inbound_data = balancer(&config.inbound_data, &parts)?;

    let mut parameters = Parameters::new(NAME, registry.clone());
    let pool_parameters = PoolParameters {
        window: parameters.add("window", config.window, config::WINDOW, "messages per link"),
        rate: parameters.add("rate", config.rate, edge::delivered::RATE, "messages a second and link, 0 for no limit"),
        throttle_pause_millis: parameters.add(
            "throttle_pause_millis",
            u64::try_from(config.throttle_pause.as_millis()).unwrap_or(u64::MAX),
            config::THROTTLE_PAUSE,
            "milliseconds",
        ),
    };
    let (path, reporting) = match inbound_data {
        Some(inbound_data) => {
            let path_parameters = PathParameters::add(&mut parameters, config.event_buffer, 1000, 0);
            let (path, reporting) = path(&config, inbound_data, path_parameters, &parts);
            (Some(path), Some(reporting))
        }
        None => (None, None),
    };
    let parameters = Arc::new(parameters);
    parameters.refresh().await;
    tokio::spawn(Arc::clone(&parameters).keep_fresh(parts.clone()));

    let links = TaskTracker::new();
    let mut members = Vec::new();
    for settings in &config.links {
        let (publish, handle) = watch::channel(None);
        members.push(Member::new(&settings.name, settings.smsc(), assemble::Template::new(settings)?, handle));
        let link = Link {
            driver: driver(&config, settings)?,
            slot: registry.clone().and_then(|registry| slot(&config, settings, registry)),
            settings: settings.clone(),
            path: path.clone(),
            publish,
        };
        links.spawn(link.follow(binding.clone()));
    }
    drop(path);
    links.close();

    let (completions, done) = mpsc::unbounded_channel();
    let (jobs, taken) = mpsc::channel(JOBS_MAX);
    let launcher = Launcher::new(Pool::new(members, pool_parameters), config.hold, config.retry_after, completions);
    let launching = tokio::spawn(launcher.run(taken, done));
    let service = OutboundChannelServer::new(service::Service { jobs, unanswered_max: config.unanswered_max })
        .max_decoding_message_size(rpc::MESSAGE_OCTETS_MAX);
    let routes = tonic::service::Routes::new(service).add_service(parameters.service());
    let rpc::Running { address, task: server, readiness } =
        rpc::serve(config.server.clone(), routes, serving.clone()).await?;
    events::record(Kind::StartUp, format!("{NAME}: {} links", config.links.len()));

    let task = tokio::spawn(async move {
        stop.cancelled().await;
        events::record(Kind::ShutDown, format!("{NAME}: draining"));
        serving.cancel();
        server.await??;
        launching.await?;
        binding.cancel();
        links.wait().await;
        if let Some(reporting) = reporting {
            reporting.await?;
        }
        parts.cancel();
        events::record(Kind::ShutDown, format!("{NAME}: stopped"));
        Ok(())
    });
    Ok(rpc::Running { address, task, readiness })
}

/// One link for the life of the process.
struct Link {
    settings: LinkSettings,
    driver: LinkConfig,
    slot: Option<Slot>,
    /// Where delivered messages go; `None`: nowhere.
    path: Option<Path>,
    /// Tells the launcher of the link's handle.
    publish: watch::Sender<Option<LinkHandle>>,
}

impl Link {
    async fn follow(self, stop: CancellationToken) {
        let link = &self;
        while_held(self.slot.clone(), &stop, |held| async move {
            match SmppLink::start(link.driver.clone(), held) {
                Ok((handle, events)) => {
                    link.publish.send_replace(Some(handle.clone()));
                    match &link.path {
                        Some(path) => path.run(&link.settings, handle, events).await,
                        None => refuse_deliveries(&link.settings.name, handle, events).await,
                    }
                    link.publish.send_replace(None);
                }
                Err(error) => tracing::error!(link = link.settings.name, %error, "the link cannot be started"),
            }
        })
        .await;
    }
}

/// No inbound data processor is configured: the SMSC brings what it has to a receiver bind.
async fn refuse_deliveries(link: &str, handle: LinkHandle, mut events: mpsc::Receiver<LinkEvent>) {
    let mut told = false;
    while let Some(event) = events.recv().await {
        match event {
            LinkEvent::Deliver { token, .. } => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(link, "the SMSC delivers here, but no inbound data processor is configured");
                }
                handle.respond_deliver(token, CommandStatus::ESME_RX_T_APPN);
            }
            other => log_link_event(link, &other),
        }
    }
}

fn balancer(endpoints: &rpc::EndpointsConfig, stop: &CancellationToken) -> anyhow::Result<Option<rpc::Balancer>> {
    let is_set = !endpoints.endpoints.is_empty();
    Ok(is_set.then(|| rpc::Balancer::new(endpoints.clone(), stop.clone())).transpose()?)
}

fn path(
    config: &Config,
    inbound_data: rpc::Balancer,
    parameters: PathParameters,
    stop: &CancellationToken,
) -> (Path, JoinHandle<()>) {
    let ingest = rpc::stream::BatchClient::new(&inbound_data, config.ingest.clone(), stop.clone());
    let (receipts, reporting) = Receipts::start(inbound_data);
    (Path { ingest, receipts, parameters, clock: clock::system() }, reporting)
}

fn driver(config: &Config, link: &LinkSettings) -> anyhow::Result<LinkConfig> {
    let window_max = usize::try_from(*config::WINDOW.end()).unwrap_or(usize::MAX);
    link.driver(window_max, config.drain).with_context(|| format!("link {}: TLS", link.name))
}

fn slot(config: &Config, link: &LinkSettings, registry: rpc::Balancer) -> Option<Slot> {
    (!link.slot.is_empty()).then(|| Slot {
        registry,
        name: link.slot.clone(),
        owner: config.owner(),
        ttl: config.slot_ttl,
        unbind: unbind_after(config.drain),
    })
}
