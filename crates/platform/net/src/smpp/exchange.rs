//! Messages on their way to a connection, their outcomes, and the answers to the peer's messages.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use smpp::{CommandStatus, EncodeError, RequestToken, ShortMessage, Text, Unanswered};
use tokio::sync::{mpsc, oneshot};

/// The peer accepted the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitOutcome {
    /// The SMSC's id; empty for `deliver_sm`.
    pub message_id: Text<64>,
}

/// The message was not accepted, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The peer answered with this status; `status.class()` says whether to try again.
    #[error("refused with {0}")]
    Refused(CommandStatus),
    /// The link is not bound in that direction, or is stopping: certainly not sent.
    #[error("the link is not bound")]
    NotBound,
    /// Sent, and the outcome is unknown: the peer may have accepted it.
    #[error("sent without an answer: {0}")]
    Unanswered(#[from] Unanswered),
    /// The message has no wire form; certainly not sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// The result of one message.
pub type Outcome = Result<SubmitOutcome, SubmitError>;

/// [`LinkHandle::try_submit_with`](super::LinkHandle::try_submit_with) did not take the message and gives it back.
#[derive(Debug, thiserror::Error)]
pub enum TrySubmitError {
    #[error("the queue of the link is full")]
    Full(Box<ShortMessage>),
    #[error("the link is not bound")]
    NotBound(Box<ShortMessage>),
}

/// The result of one message sent with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub token: u64,
    pub outcome: Outcome,
}

/// Where completions go; unbounded, for there is exactly one per message taken, and those are bounded.
pub type CompletionSender = mpsc::UnboundedSender<Completion>;

/// Names a message of the peer that awaits its answer; an answer after the connection ended is dropped.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "the peer waits for the answer, and its window is held until it comes"]
pub struct AnswerToken {
    pub(super) epoch: u64,
    pub(super) request: RequestToken,
}

/// A message on its way to the connection.
pub(super) struct Outgoing {
    pub message: ShortMessage,
    pub reply: Reply,
}

/// Where the outcome of a message goes. Dropping it unanswered tells the owner the truth all the same.
pub(super) struct Reply {
    target: Option<Target>,
    sent: bool,
}

enum Target {
    Oneshot(oneshot::Sender<Outcome>),
    Completion(u64, CompletionSender),
}

impl Reply {
    pub fn mark_sent(&mut self) {
        self.sent = true;
    }

    pub fn complete(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        // An owner that no longer listens has given up on the outcome.
        match self.target.take() {
            Some(Target::Oneshot(sender)) => drop(sender.send(outcome)),
            Some(Target::Completion(token, sender)) => drop(sender.send(Completion { token, outcome })),
            None => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let error = if self.sent { SubmitError::Unanswered(Unanswered::ConnectionLost) } else { SubmitError::NotBound };
        self.finish(Err(error));
    }
}

/// The answer to a message of the peer.
pub(super) struct Answer {
    pub token: AnswerToken,
    pub status: CommandStatus,
    pub message_id: Text<64>,
}

/// What handles and connection task share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Messages may be sent.
    pub bound: AtomicBool,
    /// Sent and unanswered.
    pub outstanding: AtomicUsize,
    /// Counts the connections; tokens of earlier ones are void.
    pub epoch: AtomicU64,
}

/// The sending side of both handles.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub inbox: mpsc::Sender<Outgoing>,
    pub answers: mpsc::UnboundedSender<Answer>,
    pub shared: Arc<Shared>,
}

/// The connection's side of a [`Gate`].
pub(super) struct Mailbox {
    pub inbox: mpsc::Receiver<Outgoing>,
    pub answers: mpsc::UnboundedReceiver<Answer>,
    pub shared: Arc<Shared>,
}

impl Gate {
    pub fn new(queue_max: usize) -> (Self, Mailbox) {
        let (inbox, inbox_end) = mpsc::channel(queue_max.max(1));
        // Bounded by the inbound window: one answer per token, and tokens are neither made nor copied outside.
        let (answers, answers_end) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let mailbox = Mailbox { inbox: inbox_end, answers: answers_end, shared: Arc::clone(&shared) };
        (Self { inbox, answers, shared }, mailbox)
    }

    pub fn is_bound(&self) -> bool {
        self.shared.bound.load(Ordering::Acquire)
    }

    pub async fn send(&self, message: ShortMessage) -> Outcome {
        let (sender, outcome) = oneshot::channel();
        self.enqueue(message, Target::Oneshot(sender)).await?;
        outcome.await.unwrap_or(Err(SubmitError::Unanswered(Unanswered::ConnectionLost)))
    }

    pub async fn send_with(
        &self,
        message: ShortMessage,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), SubmitError> {
        self.enqueue(message, Target::Completion(token, completions.clone())).await
    }

    pub fn try_send_with(
        &self,
        message: ShortMessage,
        token: u64,
        completions: &CompletionSender,
    ) -> Result<(), TrySubmitError> {
        if !self.is_bound() {
            return Err(TrySubmitError::NotBound(Box::new(message)));
        }
        match self.inbox.try_reserve() {
            Ok(permit) => {
                let target = Target::Completion(token, completions.clone());
                permit.send(Outgoing { message, reply: Reply { target: Some(target), sent: false } });
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(TrySubmitError::Full(Box::new(message))),
            Err(mpsc::error::TrySendError::Closed(())) => Err(TrySubmitError::NotBound(Box::new(message))),
        }
    }

    pub fn answer(&self, token: AnswerToken, status: CommandStatus, message_id: Text<64>) {
        // A connection that is gone needs no answer: the peer sends the message again.
        drop(self.answers.send(Answer { token, status, message_id }));
    }

    async fn enqueue(&self, message: ShortMessage, target: Target) -> Result<(), SubmitError> {
        if !self.is_bound() {
            return Err(SubmitError::NotBound);
        }
        let permit = self.inbox.reserve().await.map_err(|_| SubmitError::NotBound)?;
        permit.send(Outgoing { message, reply: Reply { target: Some(target), sent: false } });
        Ok(())
    }
}
