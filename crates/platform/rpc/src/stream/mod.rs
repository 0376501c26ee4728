//! Messages in batches over bidirectional streams: one stream per edge and replica instead of a call per message (1 us
//! against 32). [`BatchClient`] is the edge's side, [`serve_batches`] the server's; [`BatchStream`] is what they must know of an RPC.
//! Batches are natural: all that is queued, at most [`BATCH_MAX`], never a timer.

mod client;
mod lane;
mod outgoing;
mod server;
mod slots;

use proto::{
    inbound::{InboundMessage, IngestBatch, IngestResult, IngestResults, inbound_data_client::InboundDataClient},
    outbound::{
        Launch as LaunchMessage, LaunchBatch, LaunchResult, LaunchResults,
        outbound_channel_client::OutboundChannelClient,
    },
};
use tonic::{Response, Status, Streaming, transport::Channel};

pub use client::{BatchClient, BatchClientConfig, Full, Unanswered};
pub use outgoing::Outgoing;
pub use server::{Answer, Job, Results, serve_batches};

/// Messages in one batch, at most (as the contracts say).
pub const BATCH_MAX: usize = 64;

/// A bidirectional RPC whose messages travel in batches and are answered in any order, each by its id.
pub trait BatchStream: Send + Sync + 'static {
    /// What serves it, in the words of an operator.
    const SERVICE: &'static str;
    type Message: Clone + Send + 'static;
    type Outcome: Send + 'static;
    type Batch: Send + 'static;
    type Results: Send + 'static;

    fn set_message_id(message: &mut Self::Message, id: u64);
    fn message_id(message: &Self::Message) -> u64;
    fn set_outcome_id(outcome: &mut Self::Outcome, id: u64);
    fn outcome_id(outcome: &Self::Outcome) -> u64;
    fn batch(messages: Vec<Self::Message>) -> Self::Batch;
    fn messages(batch: Self::Batch) -> Vec<Self::Message>;
    fn results(outcomes: Vec<Self::Outcome>) -> Self::Results;
    fn outcomes(results: Self::Results) -> Vec<Self::Outcome>;
    /// Opens the stream; `batches` ends when the client wants no more.
    fn open(
        channel: Channel,
        batches: Outgoing<Self>,
    ) -> impl Future<Output = Result<Response<Streaming<Self::Results>>, Status>> + Send
    where
        Self: Sized;
}

/// `inbound.v1.InboundData.Ingest`: edges to inbound data processors.
pub struct Ingest;

impl BatchStream for Ingest {
    const SERVICE: &'static str = "inbound-data";
    type Message = InboundMessage;
    type Outcome = IngestResult;
    type Batch = IngestBatch;
    type Results = IngestResults;

    fn set_message_id(message: &mut InboundMessage, id: u64) {
        message.id = id;
    }
    fn message_id(message: &InboundMessage) -> u64 {
        message.id
    }
    fn set_outcome_id(outcome: &mut IngestResult, id: u64) {
        outcome.id = id;
    }
    fn outcome_id(outcome: &IngestResult) -> u64 {
        outcome.id
    }
    fn batch(messages: Vec<InboundMessage>) -> IngestBatch {
        IngestBatch { messages }
    }
    fn messages(batch: IngestBatch) -> Vec<InboundMessage> {
        batch.messages
    }
    fn results(results: Vec<IngestResult>) -> IngestResults {
        IngestResults { results }
    }
    fn outcomes(results: IngestResults) -> Vec<IngestResult> {
        results.results
    }
    async fn open(channel: Channel, batches: Outgoing<Self>) -> Result<Response<Streaming<IngestResults>>, Status> {
        InboundDataClient::new(channel).ingest(batches).await
    }
}

/// `outbound.v1.OutboundChannel.Launch`: outbound action processors to channel launchers.
pub struct Launch;

impl BatchStream for Launch {
    const SERVICE: &'static str = "the launcher";
    type Message = LaunchMessage;
    type Outcome = LaunchResult;
    type Batch = LaunchBatch;
    type Results = LaunchResults;

    fn set_message_id(message: &mut LaunchMessage, id: u64) {
        message.id = id;
    }
    fn message_id(message: &LaunchMessage) -> u64 {
        message.id
    }
    fn set_outcome_id(outcome: &mut LaunchResult, id: u64) {
        outcome.id = id;
    }
    fn outcome_id(outcome: &LaunchResult) -> u64 {
        outcome.id
    }
    fn batch(launches: Vec<LaunchMessage>) -> LaunchBatch {
        LaunchBatch { launches }
    }
    fn messages(batch: LaunchBatch) -> Vec<LaunchMessage> {
        batch.launches
    }
    fn results(results: Vec<LaunchResult>) -> LaunchResults {
        LaunchResults { results }
    }
    fn outcomes(results: LaunchResults) -> Vec<LaunchResult> {
        results.results
    }
    async fn open(channel: Channel, batches: Outgoing<Self>) -> Result<Response<Streaming<LaunchResults>>, Status> {
        OutboundChannelClient::new(channel).launch(batches).await
    }
}
