//! The service as it is deployed: gRPC to a launcher on a real port, health on its own.

use std::{sync::Arc, time::Duration};

use domain::{delivery::State, phonebook::Bearer};
use proto::outbound::{
    Accepted, Launch, LaunchBatch, LaunchResult, Unknown, launch_result,
    outbound_channel_server::{OutboundChannel, OutboundChannelServer},
};
use queue::{Queue, memory::MemoryQueue};
use rpc::stream::{BatchClientConfig, Results, serve_batches};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::centre::{Centre, acknowledgement, config, next, nothing, restore};

/// A launcher that accepts everything.
struct Launcher(mpsc::UnboundedSender<Launch>);

#[tonic::async_trait]
impl OutboundChannel for Launcher {
    type LaunchStream = Results<rpc::stream::Launch>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let seen = self.0.clone();
        let results = serve_batches(request.into_inner(), 100, move |job: rpc::stream::Job<rpc::stream::Launch>| {
            let accepted = Accepted { link: "south".to_owned(), bearer_message_id: "1".to_owned() };
            seen.send(job.message).unwrap();
            job.answer.send(LaunchResult { id: 0, outcome: Some(launch_result::Outcome::Accepted(accepted)) });
            async {}
        });
        Ok(Response::new(results))
    }
}

/// A launcher that does not know the outcome, or falls silent.
struct Unsure(mpsc::UnboundedSender<Launch>);

#[tonic::async_trait]
impl OutboundChannel for Unsure {
    type LaunchStream = Results<rpc::stream::Launch>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let seen = self.0.clone();
        let results = serve_batches(request.into_inner(), 100, move |job: rpc::stream::Job<rpc::stream::Launch>| {
            let is_first = job.message.msisdn.ends_with('2');
            seen.send(job.message).unwrap();
            if is_first {
                let unknown = Unknown { cause: "the link was lost".to_owned() };
                job.answer.send(LaunchResult { id: 0, outcome: Some(launch_result::Outcome::Unknown(unknown)) });
            }
            async {}
        });
        Ok(Response::new(results))
    }
}

/// Covers: SC-OD-01
#[tokio::test]
async fn an_action_of_the_table_reaches_the_launcher_and_the_service_stops_cleanly() {
    let centre = Centre::idle();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let routes = Routes::new(OutboundChannelServer::new(Launcher(sender)));
    let launcher = rpc::serve(rpc::ServerConfig::default(), routes, centre.stop.clone()).await.unwrap();

    let stop = CancellationToken::new();
    let config = outbound_action::Config { sms: rpc::EndpointsConfig::new([launcher.address.to_string()]), ..config() };
    let queue: Arc<dyn Queue> = centre.queue.clone();
    let service = outbound_action::start(config, centre.store.clone(), queue, centre.clock.clock(), stop.clone());
    let service = service.await.unwrap();

    let card = centre.card("441170001", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]]));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    assert_eq!(next(&mut seen).await.payload.as_ref(), [0x10, 0, 1, 0]);
    centre.until_left(&action).await;
    centre.until_queue_is_empty().await;
    stop.cancel();
    tokio::time::timeout(crate::centre::SOON, service.task).await.expect("it stops").unwrap().unwrap();
}

/// Neither when the launcher says that it does not know, nor when it falls silent over it: not before the message's
/// validity ends (D-117).
#[tokio::test]
async fn a_launch_of_unknown_outcome_is_not_launched_again() {
    let centre = Centre::idle();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let launcher_stop = CancellationToken::new();
    let routes = Routes::new(OutboundChannelServer::new(Unsure(sender)));
    let launcher = rpc::serve(rpc::ServerConfig::default(), routes, launcher_stop.clone()).await.unwrap();

    let stop = CancellationToken::new();
    let config = outbound_action::Config {
        sms: rpc::EndpointsConfig::new([launcher.address.to_string()]),
        patience: Duration::from_secs(10),
        streams: BatchClientConfig { progress: Duration::from_millis(200), ..BatchClientConfig::default() },
        ..config()
    };
    let queue: Arc<dyn Queue> = centre.queue.clone();
    let service = outbound_action::start(config, centre.store.clone(), queue, centre.clock.clock(), stop.clone());
    let service = service.await.unwrap();
    for (digits, cause) in
        [("441170002", "the link was lost"), ("441170003", "its replica was lost before it answered")]
    {
        let card = centre.card(digits, Bearer::Sms).await;
        let action = centre.action(card, Bearer::Sms, restore(1));
        centre.commit_and_push(std::slice::from_ref(&action)).await;
        let msisdn = next(&mut seen).await.msisdn;
        assert!(msisdn.ends_with(digits));
        let row = centre.until(&action, |row| row.cause == cause).await;
        assert_eq!(row.state, State::Sent);
    }
    centre.until_queue_is_empty().await;
    nothing(&mut seen);
    stop.cancel();
    tokio::time::timeout(crate::centre::SOON, service.task).await.expect("it stops").unwrap().unwrap();
}

/// Covers: PF-02
#[tokio::test]
async fn the_service_starts_alone() {
    let centre = Centre::idle();
    let stop = CancellationToken::new();
    let queue = MemoryQueue::new();
    let service = outbound_action::start(config(), centre.store.clone(), queue, centre.clock.clock(), stop.clone());
    let service = service.await.unwrap();
    let balancer = rpc::Balancer::new(rpc::EndpointsConfig::new([service.address.to_string()]), stop.clone()).unwrap();
    tokio::time::timeout(crate::centre::SOON, balancer.wait_healthy(1)).await.expect("its health says ready");
    stop.cancel();
    tokio::time::timeout(crate::centre::SOON, service.task).await.expect("it stops").unwrap().unwrap();
}
