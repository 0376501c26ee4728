//! `outbound.v1.OutboundChannel`: streams of launches, each answered in any order.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use proto::outbound::{LaunchBatch, LaunchResults, outbound_channel_server::OutboundChannel};
use rpc::stream::{Results, serve_batches};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::launcher::LaunchJob;

/// Hands launches to the one task that sends them.
pub struct Service {
    pub jobs: mpsc::Sender<LaunchJob>,
    /// Launches of one stream that may be unanswered.
    pub unanswered_max: usize,
}

#[tonic::async_trait]
impl OutboundChannel for Service {
    type LaunchStream = Lively;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Lively>, Status> {
        let jobs = self.jobs.clone();
        let results = serve_batches(request.into_inner(), self.unanswered_max, move |job| {
            let jobs = jobs.clone();
            // The task is gone only when the service has stopped; a dropped job is sent elsewhere by its client.
            async move { drop(jobs.send(job).await) }
        });
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Response::new(Lively { results, beat }))
    }
}

/// An SMSC may take seconds for a `submit_sm_resp`, which is no reason to leave this replica: a batch without results
/// now and then shows that it lives.
const BEAT: Duration = Duration::from_millis(250);

/// Results, and signs of life between them.
pub struct Lively {
    results: Results<rpc::stream::Launch>,
    beat: Interval,
}

impl Stream for Lively {
    type Item = Result<LaunchResults, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.results).poll_next(context) {
            Poll::Pending => self.beat.poll_tick(context).map(|_| Some(Ok(LaunchResults::default()))),
            ready => ready,
        }
    }
}
