//! The service between an SMSC double and an inbound data double, on real ports.

mod operation;
mod receipts;
mod way;

use std::time::Duration;

use edge::{
    link::{Bind, LinkSettings},
    testing::{FakeInboundData, Smsc, link},
};
use inbound_smpp::Config;
use tokio_util::sync::CancellationToken;

/// A service with one receiver link between two doubles.
struct Bench {
    smsc: Smsc,
    data: FakeInboundData,
    running: rpc::Running,
    stop: CancellationToken,
}

fn config(links: Vec<LinkSettings>, data: &FakeInboundData) -> Config {
    Config {
        inbound_data: data.endpoints(),
        ingest: rpc::stream::BatchClientConfig { deadline: Duration::from_secs(2), ..Default::default() },
        links,
        ..Config::default()
    }
}

impl Bench {
    async fn start(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (smsc, data) = (Smsc::start().await, FakeInboundData::start().await);
        let mut config = config(vec![link(name, smsc.address, Bind::Receiver)], &data);
        change(&mut config);
        let stop = CancellationToken::new();
        let running = inbound_smpp::start(config, stop.clone()).await.expect("started");
        smsc.wait_bound(1).await;
        Self { smsc, data, running, stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.task.await.expect("no panic").expect("drained");
    }
}
