//! How many messages a second one edge and one replica pass to each other, both in this process on loopback:
//! `cargo run --release -p rpc --example stream_rate -- [messages] [under way]`.

use std::time::{Duration, Instant};

use anyhow::Context;
use proto::inbound::{
    InboundMessage, IngestBatch, IngestResult, OpenIpLinkRequest, OpenIpLinkResponse, Outcome, ReportDeliveryRequest,
    ReportDeliveryResponse,
    inbound_data_server::{InboundData, InboundDataServer},
};
use rpc::{
    Balancer, EndpointsConfig, ServerConfig,
    stream::{BatchClient, BatchClientConfig, Ingest, Results, serve_batches},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// Answers at once.
struct Echo;

#[tonic::async_trait]
impl InboundData for Echo {
    type IngestStream = Results<Ingest>;

    async fn ingest(&self, request: Request<Streaming<IngestBatch>>) -> Result<Response<Self::IngestStream>, Status> {
        Ok(Response::new(serve_batches::<Ingest, _, _>(request.into_inner(), 100_000, |job| {
            job.answer.send(IngestResult { outcome: Outcome::Stored.into(), ..IngestResult::default() });
            std::future::ready(())
        })))
    }

    async fn report_delivery(
        &self,
        _: Request<ReportDeliveryRequest>,
    ) -> Result<Response<ReportDeliveryResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }

    async fn open_ip_link(&self, _: Request<OpenIpLinkRequest>) -> Result<Response<OpenIpLinkResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let messages = arguments.next().transpose()?.unwrap_or(1_000_000);
    let under_way = usize::try_from(arguments.next().transpose()?.unwrap_or(1000))?;
    let stop = CancellationToken::new();
    let server = rpc::serve(ServerConfig::default(), Routes::new(InboundDataServer::new(Echo)), stop.clone()).await?;
    let balancer = Balancer::new(EndpointsConfig::new([server.address.to_string()]), stop.clone())?;
    balancer.wait_healthy(1).await;
    let config = BatchClientConfig { capacity: under_way, ..BatchClientConfig::default() };
    let client = BatchClient::<Ingest>::new(&balancer, config, stop.clone());
    let (results, mut received) = mpsc::channel(under_way);
    let message = InboundMessage {
        link: "smsc-a".to_owned(),
        payload: vec![7; 140].into(),
        trace_id: vec![1; 16].into(),
        ..InboundMessage::default()
    };
    let begun = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    while answered < messages {
        while sent < messages && client.submit(sent, message.clone(), sent, &results).is_ok() {
            sent = sent.saturating_add(1);
        }
        let (_, result) = received.recv().await.context("the client ended")?;
        result?;
        answered = answered.saturating_add(1);
        while let Ok((_, result)) = received.try_recv() {
            result?;
            answered = answered.saturating_add(1);
        }
    }
    let taken = begun.elapsed().max(Duration::from_micros(1));
    println!(
        "{messages} messages, {under_way} under way: {:.0} a second, there and back",
        messages as f64 / taken.as_secs_f64()
    );
    stop.cancel();
    server.task.await?
}
