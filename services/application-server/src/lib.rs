//! The application server: accounts, books with their history, restore, configuration, queues and notices for operators,
//! and what the edges need kept (leases, session registry, settings).
//!
//! One file per gRPC service of `centre.v1`: [`accounts`], [`phonebooks`], [`commands`], [`security`], [`transfers`],
//! [`queues`], [`edge_registry`].
//! [`app`] holds what they share. An operator's change, its audit row and its actions are one transaction; the queue
//! hears of actions after it (the store is the truth, the janitor of `outbound-action` queues what was missed).
//! [`housekeeping`] removes what was kept for long enough.

pub mod accounts;
pub mod app;
mod audit;
pub mod commands;
pub mod config;
mod configuration;
pub mod edge_registry;
pub mod errors;
pub mod housekeeping;
mod passwords;
pub mod phonebooks;
pub mod queues;
pub mod security;
mod sessions;
pub mod transfers;
mod translate;
mod users;

use std::sync::Arc;

use proto::centre;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use app::App;
pub use config::Config;
pub use runtime::Clock;

/// Serves `centre.v1` until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(
    config: Config,
    store: Arc<dyn store::ApplicationStore>,
    queue: Arc<dyn queue::Queue>,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<rpc::Running> {
    for (name, key) in [("master_key", &config.master_key), ("transport_key", &config.transport_key)] {
        domain::security::Keyring::from_setting(key.expose())
            .map_err(|expected| anyhow::anyhow!("{name}: expected {expected}"))?;
    }
    let server = config.server.clone();
    let app = Arc::new(App::new(config, store, queue, clock));
    let rounds = tokio::spawn(housekeeping::run(app.clone(), stop.clone()));
    let served = rpc::serve(server, routes(app), stop).await;
    if served.is_err() {
        rounds.abort();
    }
    Ok(served?)
}

/// The gRPC services over one [`App`].
#[must_use]
pub fn routes(app: Arc<App>) -> Routes {
    let mut routes = Routes::builder();
    routes
        .add_service(centre::accounts_server::AccountsServer::new(accounts::Service(app.clone())))
        .add_service(centre::phonebooks_server::PhonebooksServer::new(phonebooks::Service(app.clone())))
        .add_service(centre::commands_server::CommandsServer::new(commands::Service(app.clone())))
        .add_service(centre::security_server::SecurityServer::new(security::Service(app.clone())))
        .add_service(centre::transfers_server::TransfersServer::new(transfers::Service(app.clone())))
        .add_service(centre::queues_server::QueuesServer::new(queues::Service(app.clone())))
        .add_service(centre::edge_registry_server::EdgeRegistryServer::new(edge_registry::Service(app)));
    routes.routes()
}
