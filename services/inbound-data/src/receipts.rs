//! Delivery receipts of cards that do not answer themselves (D-111): the records that arrived are done and in the book in
//! one commit. Of an SMS the SMSC says so, of IP the edge that wrote the frame.

use std::collections::{HashMap, HashSet};

use domain::{
    delivery::{Action, Content, QueueEntry, State},
    identity::Timestamp,
    phonebook::{
        Card, Pages,
        apply::{self, Context, Effects},
    },
};
use store::{InboundCommit, Notice, StoreError};

use crate::batch::{Processor, mismatch_due};

/// What a receipt came to.
pub enum Settled {
    /// Committed; this is to be queued.
    Done(Vec<QueueEntry>),
    /// The card or the action changed meanwhile: to be read again.
    Changed,
}

impl Processor {
    /// `None`: the receipt is only noted, for the card's own answer counts.
    pub async fn settle_by_receipt(&self, action: &Action, at: Timestamp) -> Result<Option<Settled>, StoreError> {
        let is_silent = matches!(action.content, Content::Restore { .. } | Content::Control { .. });
        if action.state != State::Sent || !is_silent {
            return Ok(None);
        }
        // A card that was replaced, or whose number moved, has no say in what is the number's now.
        let view = self.store.devices(&[action.msisdn]).await?.pop().flatten();
        let is_settled = |profile| apply::is_settled_by_receipt(profile, action);
        let view = view.filter(|view| view.device.key == action.device && is_settled(view.device.profile));
        let Some(view) = view else { return Ok(None) };
        let mut card = Card::new(view);
        card.set_actions(self.store.open_actions(&[action.device]).await?);
        let is_as_read = |open: &&Action| (open.id, open.state, open.due) == (action.id, action.state, action.due);
        if card.open.iter().find(is_as_read).is_none() {
            return Ok(Some(Settled::Changed));
        }
        let (commit, to_queue) = self.by_receipt(card, action, at).await?;
        match self.commit(commit).await {
            Ok(()) => Ok(Some(Settled::Done(to_queue))),
            Err(StoreError::Conflict(_)) => Ok(Some(Settled::Changed)),
            Err(error) => Err(error),
        }
    }

    /// What is to be committed, and queued then.
    async fn by_receipt(
        &self,
        mut card: Card,
        action: &Action,
        at: Timestamp,
    ) -> Result<(InboundCommit, Vec<QueueEntry>), StoreError> {
        let read: HashMap<_, _> = card.open.iter().map(|open| (open.id, (open.state, open.due))).collect();
        let mut keys = Vec::new();
        apply::receipt_pages(&card, &mut keys);
        let keys: Vec<_> = keys.into_iter().collect::<HashSet<_>>().into_iter().collect();
        let stored = if keys.is_empty() { HashMap::new() } else { self.store.pages(&keys).await? };
        let (mut pages, mut effects) = (Pages::new(stored), Effects::default());
        let now = self.now();
        let context = Context { now, ids: &self.ids, policy: &self.policy };
        apply::delivered(&mut card, &mut pages, action.id, at, context, &mut effects);
        let moved = card.take_moved().into_iter();
        let moved = moved.filter_map(|action| read.get(&action.id).map(|(state, due)| (action, *state, *due)));
        let Effects { changes, new_actions, notes, to_queue, .. } = effects;
        notes.iter().for_each(|note| self.metrics.notice(note.kind));
        let notice = |note: apply::Note| Notice {
            at: now,
            msisdn: Some(note.msisdn),
            kind: note.kind.to_owned(),
            text: note.text,
        };
        let commit = InboundCommit {
            moved_actions: moved.collect(),
            mismatch_due: mismatch_due(&card, &self.policy).into_iter().collect(),
            states: vec![(card.view.device.key, card.view.state)],
            pages: pages.into_changed(),
            changes,
            new_actions,
            notices: notes.into_iter().map(notice).collect(),
            ..InboundCommit::default()
        };
        Ok((commit, to_queue))
    }
}
