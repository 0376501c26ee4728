//! What to do with an ordered action (restore, addressable restore, configuration) whose turn may have come. Pure.

use std::time::Duration;

use domain::{
    delivery::{Action, Content, Progress, RetryLadder, State, build},
    identity::Timestamp,
    phonebook::Bearer,
};

/// What to do.
#[derive(Debug)]
pub enum Decision {
    /// Over, not its turn, or not due: whatever changes that queues it again.
    Drop,
    /// Nothing (more) to launch, or the ladder is exhausted: the row becomes this.
    Settle(Action),
    Launch(Box<Launching>),
}

/// A launch that is decided; the row becomes `marked` before the message leaves.
#[derive(Debug)]
pub struct Launching {
    /// The action as it is should the launcher refuse: nothing in flight.
    pub before: Action,
    pub marked: Action,
    pub payload: Vec<u8>,
    /// Until the next attempt, so that the network never holds the message twice (D-117).
    pub validity: Duration,
}

/// Decides for an action as it was read. `head`: it is the oldest open ordered one of its device (SC-OD-10).
pub fn decide(action: &Action, head: bool, channel: Bearer, ladder: &RetryLadder, now: Timestamp) -> Decision {
    let launchable = matches!(action.state, State::Queued | State::Sent);
    if !launchable || !head || action.due > now || !action.content.is_ordered() {
        return Decision::Drop;
    }
    let mut before = action.clone();
    if action.state == State::Sent {
        ladder.overdue(&mut before, "the card has not answered", now);
        if before.state == State::Waiting {
            return Decision::Settle(before);
        }
    }
    before.content.reopen();
    before.channel = channel;
    let mut marked = before.clone();
    let Some(payload) = build::next_message(&mut marked.content, build::limit(channel)) else {
        marked.state =
            if any(&marked.content, |progress| progress == Progress::Done) { State::Done } else { State::Failed };
        if marked.state == State::Failed {
            marked.cause = "no record of it can be sent: none fits a message and the card's files".to_owned();
        }
        marked.due = now;
        return Decision::Settle(marked);
    };
    // What was refused on the way stays refused, whatever becomes of the launch.
    before.content = marked.content.clone();
    before.content.reopen();
    ladder.launched(&mut marked, None, now);
    let validity = ladder.validity(marked.attempts);
    Decision::Launch(Box::new(Launching { before, marked, payload, validity }))
}

fn any(content: &Content, wanted: impl Fn(Progress) -> bool) -> bool {
    match content {
        Content::BackupAcknowledgement { .. } => false,
        Content::Restore { records } | Content::AddressableRestore { records } => {
            records.iter().any(|record| wanted(record.progress))
        }
        Content::Configuration { items } => items.iter().any(|item| wanted(item.progress)),
    }
}
