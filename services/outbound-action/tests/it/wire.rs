//! The service as it is deployed: gRPC to a launcher on a real port, health on its own.

use std::sync::Arc;

use domain::{delivery::State, phonebook::Bearer};
use proto::outbound::{
    Accepted, Launch, LaunchBatch, LaunchResult, launch_result,
    outbound_channel_server::{OutboundChannel, OutboundChannelServer},
};
use queue::{Queue, memory::MemoryQueue};
use rpc::stream::{Results, serve_batches};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::centre::{Centre, acknowledgement, config, next};

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
    centre.until(&action, |row| row.state == State::Done).await;
    centre.until_queue_is_empty().await;
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
