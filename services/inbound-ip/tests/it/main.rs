//! The IP edge as a black box: real sockets on one side, a pretended inbound data processor and registry on the other.

mod card;
mod centre;
mod frames;
mod hand_over;
mod lifetime;
mod sessions;

use inbound_ip::Config;
use tokio_util::sync::CancellationToken;

use card::Card;
use centre::Centre;

/// A centre, an edge in front of it, and what ends them.
pub struct Set {
    pub centre: Centre,
    pub edge: std::net::SocketAddr,
    pub stop: CancellationToken,
    pub task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Set {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings changed by `change`.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let centre = Centre::start().await;
        let local = "127.0.0.1:0".parse().expect("address");
        let endpoints = rpc::EndpointsConfig::new([centre.address.to_string()]);
        let mut config = Config {
            listen: local,
            // A test that holds an answer back wants no repeat from the stream.
            ingest: rpc::stream::BatchClientConfig {
                progress: std::time::Duration::from_secs(30),
                deadline: std::time::Duration::from_secs(30),
                ..Default::default()
            },
            inbound_data: endpoints.clone(),
            application_server: endpoints,
            retry_pause: std::time::Duration::from_millis(1),
            ..Config::default()
        };
        change(&mut config);
        let stop = CancellationToken::new();
        let rpc::Running { address, task, .. } = inbound_ip::start(config, stop.clone()).await.expect("started");
        Self { centre, edge: address, stop, task }
    }

    /// A card of device 1 or 2, connected, with its nonce.
    pub async fn card(&self, device: i64) -> Card {
        Card::connect(self.edge, centre::msisdn(device), centre::key(device)).await
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
