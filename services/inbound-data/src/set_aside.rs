//! A message that no commit takes although the store takes others: what is written of it instead, and what its card is
//! told. A backup is acknowledged as a temporary failure (D-10, SC-ID-18), so the card keeps the records and sends them
//! again, ever more seldom (D-36); by then an operator has seen the alarm. Success is never said of it.

use domain::{
    delivery::QueueEntry,
    phonebook::{
        Card,
        apply::{self, Context, Effects, Incoming},
    },
};
use store::{DeadLetter, InboundCommit, Notice, StoreError};

use crate::{
    batch::{Processor, billing, incoming},
    item::{Item, Received},
    reassembly::{Shape, shape},
};

impl Processor {
    /// Commits the notice, the billing event and the card's answer; gives what is to be queued.
    pub async fn set_aside(&self, item: &Item, error: &StoreError) -> Result<Vec<QueueEntry>, StoreError> {
        let Item::Message(received) = item else { return Ok(Vec::new()) };
        let answer = self.temporary_failure(received).await;
        let commit = InboundCommit { new_actions: answer.new_actions, ..self.dead_letter(received, error) };
        match self.commit(commit).await {
            Ok(()) => Ok(answer.to_queue),
            Err(unavailable @ StoreError::Unavailable(_)) => Err(unavailable),
            // Actions may be what the store does not take.
            Err(_) => self.commit(self.dead_letter(received, error)).await.map(|()| Vec::new()),
        }
    }

    /// That the message was there, and why it is not stored. Its octets are kept apart from the notice, which is shown and
    /// logged.
    fn dead_letter(&self, received: &Received, error: &StoreError) -> InboundCommit {
        let now = self.now();
        let notice = Notice {
            at: now,
            msisdn: received.msisdn,
            kind: "dead-letter".to_owned(),
            text: format!("a message of {} octets cannot be stored: {error}", received.message.payload.len()),
        };
        let billing = billing(received, None, false, now);
        let letter = DeadLetter {
            at: now,
            msisdn: received.msisdn,
            channel: billing.channel.clone(),
            cause: error.to_string(),
            user_data_header: received.message.user_data_header.clone(),
            payload: received.message.payload.clone(),
        };
        let (billing, notices, dead_letters) = (vec![billing], vec![notice], vec![letter]);
        InboundCommit { billing, notices, dead_letters, ..InboundCommit::default() }
    }

    /// Nothing for what is no whole message of a known card: it is repeated without being asked for.
    async fn temporary_failure(&self, received: &Received) -> Effects {
        let mut effects = Effects::default();
        let message = &received.message;
        let is_whole = |msisdn| shape(msisdn, &message.user_data_header) == Shape::Whole;
        let Some(msisdn) = received.msisdn.filter(|msisdn| is_whole(*msisdn)) else { return effects };
        let Some(view) = self.store.devices(&[msisdn]).await.ok().and_then(|mut views| views.pop()).flatten() else {
            return effects;
        };
        if view.state.required_security().is_some() {
            return effects;
        }
        let card = Card::new(view);
        let incoming: Incoming = incoming(message, message.payload.clone());
        let parsed = apply::parse(&incoming.octets, &card.view.state.monitor);
        let context = Context { now: self.now(), ids: &self.ids, policy: &self.policy };
        apply::refuse_for_now(&incoming, &parsed, &card, context, &mut effects);
        effects
    }
}
