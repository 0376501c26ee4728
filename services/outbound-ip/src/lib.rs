//! The outbound channel launcher for IP: finds the replica of `inbound-ip` that holds a card's connection in the registry
//! of sessions and pushes the payload there. Without a session the answer is *not reachable*, and the outbound action
//! processor falls back to SMS after a while (D-69). It holds no state but two caches. Start at [`start`].

pub mod config;
mod launch;
mod locate;

pub use config::Config;
use proto::outbound::outbound_channel_server::OutboundChannelServer;
use runtime::events::{self, Kind};
use tokio_util::sync::CancellationToken;

/// Serves `outbound.v1.OutboundChannel`. The address is that of gRPC.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<rpc::Running> {
    let application_server = rpc::Balancer::new(config.application_server.clone(), stop.clone())?;
    let launcher = launch::Launcher::new(&config, application_server, stop.clone());
    let server = OutboundChannelServer::new(launcher).max_decoding_message_size(rpc::MESSAGE_OCTETS_MAX);
    let routes = tonic::service::Routes::new(server);
    let running = rpc::serve(config.server, routes, stop).await?;
    events::record(Kind::StartUp, format!("IP launcher on {}", running.address));
    Ok(running)
}
