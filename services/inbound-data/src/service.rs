//! The gRPC face: streams of messages to the workers and results back; delivery outcomes; IP links.

use std::sync::Arc;

use domain::{
    delivery::{Action, QueueEntry, State},
    identity::{Msisdn, Timestamp},
    numbers::normalise,
    phonebook::AccountState,
};
use link::{
    ip::{Direction, NONCE_OCTETS, decode_frame},
    reason::Reason,
};
use proto::inbound::{
    IngestBatch, IngestResults, OpenIpLinkRequest, OpenIpLinkResponse, ReportDeliveryRequest, ReportDeliveryResponse,
    inbound_data_server::InboundData, report_delivery_request::State as Reported,
};
use store::StoreError;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    after::After,
    batch::Processor,
    item::{Item, Received},
    lively::Lively,
    pace::Pace,
    receipts::Settled,
};

/// Counters that one IP link gets for its way down (D-114).
pub const DOWNLINK_COUNTERS: u32 = 1000;
/// How often a delivery report is tried again whose action changed between reading and writing.
const CONFLICTS_MAX: usize = 8;
/// Result batches that wait for an edge to read them.
const RESULTS_MAX: usize = 1024;
/// Messages of one batch (the contract's limit).
const BATCH_MAX: usize = 64;

/// The workers, each with its share of the subscribers.
#[derive(Clone)]
pub struct Shards(pub Arc<[mpsc::Sender<Item>]>);

impl Shards {
    /// One subscriber always meets the same worker. Waits while that one has enough to do; false when it is gone.
    pub async fn send(&self, item: Item) -> bool {
        let number = item.msisdn().map_or(0, |msisdn| msisdn.to_i64().unsigned_abs());
        // Neighbouring numbers are spread by a multiplicative hash.
        let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let shard = usize::try_from(hash).unwrap_or_default() % self.0.len().max(1);
        match self.0.get(shard) {
            Some(shard) => shard.send(item).await.is_ok(),
            None => false,
        }
    }
}

pub struct Service {
    pub processor: Arc<Processor>,
    pub shards: Shards,
    pub after: After,
    pub pace: Arc<Pace>,
}

#[tonic::async_trait]
impl InboundData for Service {
    type IngestStream = Lively;

    async fn ingest(&self, request: Request<Streaming<IngestBatch>>) -> Result<Response<Self::IngestStream>, Status> {
        let (answers, results) = mpsc::channel(RESULTS_MAX);
        tokio::spawn(receive(request.into_inner(), self.shards.clone(), Arc::new(answers)));
        Ok(Response::new(Lively::new(results, self.pace.clone())))
    }

    async fn report_delivery(
        &self,
        request: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        let report = request.into_inner();
        let matched = self.delivery(&report).await.map_err(status)?;
        Ok(Response::new(ReportDeliveryResponse { matched }))
    }

    async fn open_ip_link(&self, request: Request<OpenIpLinkRequest>) -> Result<Response<OpenIpLinkResponse>, Status> {
        let opened = self.open(request.into_inner()).await.map_err(status)?;
        let metrics = &self.processor.metrics;
        if opened.accepted { &metrics.links_opened } else { &metrics.links_refused }.increment(1);
        Ok(Response::new(opened))
    }
}

/// Until the edge ends its stream. The answers end when the last message of it is answered.
async fn receive(
    mut batches: Streaming<IngestBatch>,
    shards: Shards,
    answers: Arc<mpsc::Sender<Result<IngestResults, Status>>>,
) {
    loop {
        let batch = match batches.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "an edge's stream ended");
                return;
            }
        };
        if batch.messages.len() > BATCH_MAX {
            let status =
                Status::invalid_argument(format!("batch of {} messages, at most {BATCH_MAX}", batch.messages.len()));
            if answers.send(Err(status)).await.is_err() {
                tracing::debug!("an edge left before it was told what is wrong");
            }
            return;
        }
        for message in batch.messages {
            let originator = message.originator.as_ref();
            let msisdn = originator.and_then(|from| normalise(from.ton, &from.digits, &message.country_code));
            let received = Received { message, msisdn, answers: answers.clone() };
            if !shards.send(Item::Message(Box::new(received))).await {
                return;
            }
        }
    }
}

impl Service {
    /// D-122, SC-OC-05. False: no action has this launch (yet). What changed meanwhile is read and done again.
    async fn delivery(&self, report: &ReportDeliveryRequest) -> Result<bool, StoreError> {
        if report.state() == Reported::Reachable {
            return self.alert(report).await;
        }
        let store = &self.processor.store;
        for _ in 0..CONFLICTS_MAX {
            let Some(read) = store.action_by_launch(&report.link, &report.bearer_message_id).await? else {
                return Ok(false);
            };
            let (state, due) = (read.state, read.due);
            if report.state() == Reported::Delivered
                && let Some(settled) = self.processor.settle_by_receipt(&read, Timestamp(report.at_micros)).await?
            {
                match settled {
                    Settled::Done(to_queue) => {
                        self.after.follow(to_queue, Vec::new(), Vec::new());
                        return Ok(true);
                    }
                    Settled::Changed => {
                        self.processor.metrics.conflicts.increment(1);
                        continue;
                    }
                }
            }
            let Some(action) = self.reported(report, read) else { return Ok(true) };
            if store.replace_action(&action, state, due).await? {
                if state != action.state && action.state == State::Queued && action.due <= self.processor.now() {
                    self.after.follow(vec![QueueEntry::of(&action)], Vec::new(), Vec::new());
                }
                return Ok(true);
            }
            self.processor.metrics.conflicts.increment(1);
        }
        Err(StoreError::Conflict("the action of a delivery report changes all the time".to_owned()))
    }

    /// The action as the report makes it; `None`: the report changes nothing.
    fn reported(&self, report: &ReportDeliveryRequest, mut action: Action) -> Option<Action> {
        match report.state() {
            Reported::Delivered => action.receipt = Some(Timestamp(report.at_micros)),
            Reported::Expired | Reported::Failed if action.state == State::Sent => {
                let cause = if report.cause.is_empty() { "not delivered" } else { report.cause.as_str() };
                self.processor.policy.ladder.undelivered(&mut action, cause);
            }
            Reported::Expired | Reported::Failed | Reported::Temporary => return None,
            // An alert is no action's.
            Reported::Reachable | Reported::Unspecified => return None,
        }
        Some(action)
    }

    /// D-128: the phone can be reached again, so what waits for its card starts over. False: nobody's number.
    async fn alert(&self, report: &ReportDeliveryRequest) -> Result<bool, StoreError> {
        let address = report.address.as_ref();
        let number = address.and_then(|from| normalise(from.ton, &from.digits, &report.country_code));
        let Some(msisdn) = number else { return Ok(false) };
        let Some(view) = self.processor.store.devices(&[msisdn]).await?.pop().flatten() else { return Ok(false) };
        if view.subscriber.state == AccountState::Active {
            self.after.follow(Vec::new(), Vec::new(), vec![view.device.key]);
        }
        Ok(true)
    }

    /// D-114: the first frame of a connection proves the key, which the edge then has for this connection.
    async fn open(&self, request: OpenIpLinkRequest) -> Result<OpenIpLinkResponse, StoreError> {
        let refused =
            |reason: Reason| OpenIpLinkResponse { reason: reason.code().into(), ..OpenIpLinkResponse::default() };
        let (Ok(frame), Ok(nonce)) =
            (decode_frame(request.frame), <[u8; NONCE_OCTETS]>::try_from(request.nonce.as_ref()))
        else {
            return Ok(refused(Reason::Malformed));
        };
        let msisdn = Msisdn::parse(&frame.msisdn);
        let Ok(msisdn) =
            msisdn.map_err(drop).and_then(|it| if frame.msisdn == request.msisdn { Ok(it) } else { Err(()) })
        else {
            return Ok(refused(Reason::Malformed));
        };
        let Some(view) = self.processor.store.devices(&[msisdn]).await?.pop().flatten() else {
            return Ok(refused(Reason::UnknownSubscriber));
        };
        let Some(key) = view.device.ip_key.filter(|key| frame.verify(key, &nonce, Direction::Up)) else {
            return Ok(refused(Reason::KeyOrCounterRefused));
        };
        if frame.counter <= view.state.uplink_counter {
            return Ok(refused(Reason::KeyOrCounterRefused));
        }
        // A suspended subscriber's link opens too: the error message of D-115 has no other way to the card.
        let downlink_counter = self.processor.store.reserve_downlink(view.device.key, DOWNLINK_COUNTERS).await?;
        Ok(OpenIpLinkResponse {
            accepted: true,
            reason: 0,
            key,
            subscriber_id: view.device.key.subscriber.0,
            device_id: view.device.key.device.0,
            uplink_counter: view.state.uplink_counter,
            downlink_counter,
        })
    }
}

fn status(error: StoreError) -> Status {
    match error {
        StoreError::Unavailable(cause) => Status::unavailable(cause),
        StoreError::Conflict(cause) => Status::aborted(cause),
        StoreError::NotFound(cause) => Status::not_found(cause),
        StoreError::Refused(cause) => Status::failed_precondition(cause),
        StoreError::Corrupt(cause) => Status::data_loss(cause),
        // A replica of that release can.
        StoreError::Newer(cause) => Status::unavailable(cause),
    }
}
