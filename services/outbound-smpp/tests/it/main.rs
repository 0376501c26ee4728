//! The service between a launch client and SMSC doubles, on real ports.

mod launching;
mod operation;
mod refusals;

use std::time::Duration;

use edge::{
    link::{Bind, LinkSettings},
    testing::{Smsc, link},
};
use outbound_smpp::Config;
use proto::outbound::{Launch, LaunchResult, launch_result::Outcome};
use rpc::stream::{BatchClient, BatchClientConfig};
use tokio_util::sync::CancellationToken;

/// A service, and a client of it as an outbound action processor has one.
struct Bench {
    running: rpc::Running,
    client: BatchClient<rpc::stream::Launch>,
    stop: CancellationToken,
    client_stop: CancellationToken,
}

impl Bench {
    async fn start(links: Vec<LinkSettings>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { links, ..Config::default() };
        change(&mut config);
        let (stop, client_stop) = (CancellationToken::new(), CancellationToken::new());
        let running = outbound_smpp::start(config, stop.clone()).await.expect("started");
        let endpoints = rpc::EndpointsConfig::new([running.address.to_string()]);
        let balancer = rpc::Balancer::new(endpoints, client_stop.clone()).expect("an address");
        let config = BatchClientConfig { deadline: Duration::from_secs(20), ..BatchClientConfig::default() };
        let client = BatchClient::new(&balancer, config, client_stop.clone());
        balancer.wait_healthy(1).await;
        Self { running, client, stop, client_stop }
    }

    /// With one transmitter link, bound.
    async fn with_smsc(change: impl FnOnce(&mut Config)) -> (Self, Smsc) {
        let smsc = Smsc::start().await;
        let bench = Self::start(vec![link("a", smsc.address, Bind::Transmitter)], change).await;
        smsc.wait_bound(1).await;
        (bench, smsc)
    }

    async fn launch(&self, launch: Launch) -> Outcome {
        launch_with(self.client.clone(), launch).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.task.await.expect("no panic").expect("drained");
        self.client_stop.cancel();
    }
}

async fn launch_with(client: BatchClient<rpc::stream::Launch>, launch: Launch) -> Outcome {
    let key = rpc::key(&launch.msisdn);
    let LaunchResult { outcome, .. } = client.call(key, launch).await.expect("answered");
    outcome.expect("one of four")
}

/// A message to a card.
fn launch(number: u32) -> Launch {
    Launch {
        msisdn: format!("4917{number:08}"),
        payload: number.to_be_bytes().to_vec().into(),
        protocol_id: 0x7F,
        data_coding: 0xF6,
        validity_seconds: 300,
        ..Launch::default()
    }
}

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted(_))
}
