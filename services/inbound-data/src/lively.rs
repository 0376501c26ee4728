//! The results of one edge's stream, with signs of life between them.
//!
//! A commit may take long, and so may every other replica's on the same database: that is no reason for an edge to leave
//! this replica and have its messages done twice. A replica whose own worker is stuck gives no sign, and is left.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use proto::inbound::IngestResults;
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_stream::Stream;
use tonic::Status;

use crate::pace::Pace;

/// Between two signs of life; edges leave a replica that is silent for a second.
const BEAT: Duration = Duration::from_millis(250);

/// Results as they come; a batch without results when there were none for a while and the workers get on. Ends with its
/// senders.
pub struct Lively {
    results: mpsc::Receiver<Result<IngestResults, Status>>,
    beat: Interval,
    pace: Arc<Pace>,
}

impl Lively {
    pub fn new(results: mpsc::Receiver<Result<IngestResults, Status>>, pace: Arc<Pace>) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick of an interval comes at once.
        beat.reset();
        Self { results, beat, pace }
    }
}

impl Stream for Lively {
    type Item = Result<IngestResults, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(result) = self.results.poll_recv(context) {
            self.beat.reset();
            return Poll::Ready(result);
        }
        while self.beat.poll_tick(context).is_ready() {
            if !self.pace.is_stuck() {
                return Poll::Ready(Some(Ok(IngestResults::default())));
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};
    use tokio_stream::StreamExt;

    use super::*;
    use crate::pace::Turn;

    /// An edge leaves a replica that says nothing for so long.
    const PATIENCE: Duration = Duration::from_secs(1);

    async fn heard(stream: &mut Lively) -> Option<IngestResults> {
        let next = timeout(PATIENCE, stream.next()).await.ok()?;
        Some(next.expect("the stream is open").expect("no error"))
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_hears_nothing_of_a_replica_whose_worker_is_stuck_until_it_gets_on() {
        let pace = Pace::new(2);
        let (answers, results) = mpsc::channel(1);
        let mut stream = Lively::new(results, pace.clone());
        let turn = Turn { pace, worker: 1 };
        let sign = Some(IngestResults::default());
        // At rest, and at a batch that takes as long as a slow database.
        assert_eq!(heard(&mut stream).await, sign);
        let began = Instant::now();
        turn.begins();
        while heard(&mut stream).await == sign {}
        let silent_since = began.elapsed() - PATIENCE;
        assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&silent_since), "{silent_since:?}");
        // What another worker has done is told all the same.
        let result = proto::inbound::IngestResult { id: 7, ..Default::default() };
        let done = IngestResults { results: vec![result] };
        answers.send(Ok(done.clone())).await.expect("the edge listens");
        assert_eq!(heard(&mut stream).await, Some(done));
        assert_eq!(heard(&mut stream).await, None);
        turn.ends();
        assert_eq!(heard(&mut stream).await, sign);
    }
}
