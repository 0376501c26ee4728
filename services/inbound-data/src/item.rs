//! What waits for a worker: a message of an edge, or a look at a marked device.

use std::sync::Arc;

use domain::identity::Msisdn;
use proto::inbound::{InboundMessage, IngestResult, IngestResults, Outcome};
use tokio::sync::mpsc;
use tonic::Status;

/// The way back to one stream of an edge.
pub type Answers = mpsc::Sender<Result<IngestResults, Status>>;

/// One thing to do for one subscriber.
pub enum Item {
    Message(Box<Received>),
    /// The grace of a checksum mismatch may be over (D-62).
    Check(Msisdn),
}

/// A message as an edge sent it.
pub struct Received {
    pub message: InboundMessage,
    /// `None`: the originator is no E.164 number (D-116).
    pub msisdn: Option<Msisdn>,
    pub answers: Arc<Answers>,
}

impl Item {
    pub fn msisdn(&self) -> Option<Msisdn> {
        match self {
            Self::Message(received) => received.msisdn,
            Self::Check(msisdn) => Some(*msisdn),
        }
    }

    /// The edge has left this stream, and sends what is unanswered on another.
    pub fn is_abandoned(&self) -> bool {
        matches!(self, Self::Message(received) if received.answers.is_closed())
    }
}

/// What a sender is told of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    /// D-11 reason of a refusal.
    pub reason: u8,
    pub retry_after_millis: u32,
    /// The IP connection that it came by belongs to a card that is not the number's any more.
    pub close_link: bool,
}

impl Answer {
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, reason: 0, retry_after_millis: 0, close_link: false }
    }

    pub fn refused(reason: link::reason::Reason) -> Self {
        Self { reason: reason.code(), ..Self::of(Outcome::Refused) }
    }

    pub fn retry(after: std::time::Duration) -> Self {
        let retry_after_millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        Self { retry_after_millis, ..Self::of(Outcome::Retry) }
    }
}

/// Collects results per stream, so that a batch is answered with few messages.
#[derive(Default)]
pub struct Outbox {
    streams: Vec<(Arc<Answers>, Vec<IngestResult>)>,
}

impl Outbox {
    pub fn push(&mut self, received: &Received, answer: Answer) {
        let result = IngestResult {
            id: received.message.id,
            outcome: answer.outcome.into(),
            reason: answer.reason.into(),
            retry_after_millis: answer.retry_after_millis,
            close_link: answer.close_link,
        };
        match self.streams.iter_mut().find(|(stream, _)| Arc::ptr_eq(stream, &received.answers)) {
            Some((_, results)) => results.push(result),
            None => self.streams.push((received.answers.clone(), vec![result])),
        }
    }

    /// Never waits for an edge: one that does not read loses results, and sends those messages again elsewhere.
    pub fn send(self) {
        for (stream, results) in self.streams {
            let count = results.len();
            if let Err(mpsc::error::TrySendError::Full(_)) = stream.try_send(Ok(IngestResults { results })) {
                tracing::warn!(results = count, "an edge does not read its results");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_on_a_stream_that_is_gone_is_abandoned() {
        let (answers, results) = mpsc::channel(1);
        let received = Received { message: InboundMessage::default(), msisdn: None, answers: Arc::new(answers) };
        let item = Item::Message(Box::new(received));
        assert!(!item.is_abandoned());
        drop(results);
        assert!(item.is_abandoned());
    }
}
