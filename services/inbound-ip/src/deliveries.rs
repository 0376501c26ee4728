//! Tells an inbound data processor that a payload reached its card's connection, where the card itself does not answer
//! (D-111): what a delivery receipt is to a short message. A report that is lost costs a repetition of the payload.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::counter;
use proto::inbound::{ReportDeliveryRequest, inbound_data_client::InboundDataClient, report_delivery_request::State};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// Reports under way; clones share them.
#[derive(Clone)]
pub struct Deliveries {
    inbound_data: rpc::Balancer,
    places: Arc<Semaphore>,
    link: Arc<OnceLock<String>>,
    stop: CancellationToken,
}

impl Deliveries {
    /// With `stop`, what is not reported yet stays so.
    pub fn new(inbound_data: rpc::Balancer, stop: CancellationToken) -> Self {
        Self { inbound_data, places: Arc::new(Semaphore::new(REPORTS_MAX)), link: Arc::default(), stop }
    }

    /// The name of the link in reports: where outbound-ip reaches this replica, known once it is listened there.
    pub fn reachable_at(&self, endpoint: String) {
        if self.link.set(endpoint).is_err() {
            tracing::error!("the endpoint of this replica is told twice");
        }
    }

    /// Reports from now on, in the background; the id of the delivery. `None`: too much is to be reported already.
    pub fn report(&self) -> Option<String> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let (Some(place), Some(link)) = (place, self.link.get()) else {
            counter!(telemetry::DELIVERIES, "outcome" => "full").increment(1);
            return None;
        };
        let id = format!("{:032x}", rand::random::<u128>());
        let request = ReportDeliveryRequest {
            link: link.clone(),
            bearer_message_id: id.clone(),
            state: State::Delivered.into(),
            at_micros: runtime::clock::now(),
            ..ReportDeliveryRequest::default()
        };
        let (inbound_data, stop) = (self.inbound_data.clone(), self.stop.clone());
        tokio::spawn(async move {
            let matched = stop.run_until_cancelled(until_matched(&inbound_data, &request)).await;
            let outcome = if matched == Some(true) { "matched" } else { "unmatched" };
            counter!(telemetry::DELIVERIES, "outcome" => outcome).increment(1);
            drop(place);
        });
        Some(id)
    }
}

/// The report overtakes the commit that makes it known (D-122), so it is repeated for a while.
async fn until_matched(inbound_data: &rpc::Balancer, request: &ReportDeliveryRequest) -> bool {
    let until = Instant::now() + HOLD_MAX;
    let mut pause = PAUSE_MIN;
    while Instant::now() < until {
        tokio::time::sleep(pause).await;
        let report = |channel| {
            let request = request.clone();
            async move { InboundDataClient::new(channel).report_delivery(request).await }
        };
        if inbound_data.call_with_retry(DEADLINE, report).await.is_ok_and(|answer| answer.matched) {
            return true;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    false
}

const REPORTS_MAX: usize = 10_000;
const DEADLINE: Duration = Duration::from_secs(5);
/// What the launch's row usually needs to be written.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// D-122.
const HOLD_MAX: Duration = Duration::from_secs(30);
