//! Keeps the registry of sessions at the application server up to date: changes at once, everything now and then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::centre::{RegisterSessionsRequest, edge_registry_client::EdgeRegistryClient};
use runtime::events::{self, Kind};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    pieces,
    sessions::{Changes, Sessions},
};

/// What it takes to report.
pub struct Reporter {
    pub sessions: Arc<Sessions>,
    pub application_server: rpc::Balancer,
    /// Where outbound-ip reaches this replica.
    pub endpoint: String,
    /// Number of the next connection: those from here on are newer than any report.
    pub next_connection: Arc<AtomicU64>,
    pub snapshot_every: Duration,
}

impl Reporter {
    /// Reports until `stop`, then says that nothing is open any more.
    pub async fn run(self, stop: CancellationToken) {
        let mut snapshot = tokio::time::interval(self.snapshot_every);
        snapshot.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let all = tokio::select! {
                biased;
                _ = snapshot.tick() => true,
                () = self.sessions.changed() => false,
                () = stop.cancelled() => break,
            };
            if self.report(all).await.is_err() {
                // What was taken out of the changes is in the next snapshot again.
                snapshot.reset_at(Instant::now() + RETRY);
            }
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = stop.cancelled() => break,
            }
        }
        let last = self.send(RegisterSessionsRequest { snapshot: true, ..self.request() }).await;
        if last.is_err() {
            debug!("the registry keeps this replica's sessions until others take their place");
        }
    }

    async fn report(&self, all: bool) -> Result<(), ()> {
        let horizon = self.next_connection.load(Ordering::Relaxed);
        let requests = if all {
            pieces::of_snapshot(self.sessions.snapshot(), DEVICES_MAX)
        } else {
            let Changes { opened, closed } = self.sessions.take_changes();
            pieces::of_changes(opened.into_iter().collect(), closed.into_iter().collect(), DEVICES_MAX)
        };
        for request in requests {
            let endpoint = self.endpoint.clone();
            for device_id in self.send(RegisterSessionsRequest { endpoint, ..request }).await? {
                self.sessions.supersede(device_id, horizon);
            }
        }
        Ok(())
    }

    /// The devices whose session is newer elsewhere.
    async fn send(&self, request: RegisterSessionsRequest) -> Result<Vec<i64>, ()> {
        let register = |channel| {
            let request = request.clone();
            async move { EdgeRegistryClient::new(channel).register_sessions(request).await }
        };
        match self.application_server.call_with_retry(DEADLINE, register).await {
            Ok(response) => Ok(response.superseded),
            Err(status) => {
                let text = format!("IP sessions are not registered: {:?} {}", status.code(), status.message());
                events::record(Kind::CommunicationFailure, text);
                Err(())
            }
        }
    }

    fn request(&self) -> RegisterSessionsRequest {
        RegisterSessionsRequest { endpoint: self.endpoint.clone(), ..RegisterSessionsRequest::default() }
    }
}

/// Devices of one call, as the registry takes them.
const DEVICES_MAX: usize = 100_000;
const DEADLINE: Duration = Duration::from_secs(5);
/// After a failure everything is reported again.
const RETRY: Duration = Duration::from_secs(1);
/// Changes within this time after a report go into the next one: a storm of reconnections costs few calls.
const GATHER: Duration = Duration::from_millis(20);
