//! The requests we sent and that are unanswered: a ring indexed by sequence number, so that pairing is one look.

use std::time::Instant;

use crate::CommandId;

/// What waits for a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub sequence_number: u32,
    pub request: PendingRequest,
    pub deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingRequest {
    /// Submit, deliver or data: counted in the window, reported to the owner under its token.
    Message {
        command_id: CommandId,
        token: u64,
    },
    Bind(crate::BindKind),
    EnquireLink,
    Unbind,
}

impl PendingRequest {
    /// The response that answers this request.
    pub fn response(self) -> CommandId {
        match self {
            Self::Message { command_id, .. } => command_id.response(),
            Self::Bind(kind) => kind.command_id().response(),
            Self::EnquireLink => CommandId::ENQUIRE_LINK_RESP,
            Self::Unbind => CommandId::UNBIND_RESP,
        }
    }
}

#[derive(Debug)]
pub(super) struct Window {
    ring: Vec<Option<Pending>>,
    /// Messages among the entries.
    messages: usize,
    max: usize,
    next_sequence_number: u32,
    /// No entry is due before this; a lower bound, set right by a look at every entry when it passes.
    earliest: Option<Instant>,
}

impl Window {
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, super::config::WINDOW_LIMIT);
        // Twice the window and room for bind, enquire_link and unbind: a free place is found in a step or two.
        Self {
            ring: vec![None; (max * 2 + 8).next_power_of_two()],
            messages: 0,
            max,
            next_sequence_number: 1,
            earliest: None,
        }
    }

    /// Messages that may be sent now.
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.messages)
    }

    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Enters a request and gives its sequence number; `None` when the window is full.
    pub fn insert(&mut self, request: PendingRequest, deadline: Instant) -> Option<u32> {
        let is_message = matches!(request, PendingRequest::Message { .. });
        if is_message && self.room() == 0 {
            return None;
        }
        for _ in 0..self.ring.len() {
            let sequence_number = self.next_sequence_number;
            self.next_sequence_number = if sequence_number >= 0x7FFF_FFFF { 1 } else { sequence_number + 1 };
            let slot = self.slot(sequence_number)?;
            if slot.is_none() {
                *slot = Some(Pending { sequence_number, request, deadline });
                self.messages += usize::from(is_message);
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                return Some(sequence_number);
            }
        }
        None
    }

    /// The request a response belongs to, left in its place.
    pub fn get(&mut self, sequence_number: u32) -> Option<PendingRequest> {
        self.slot(sequence_number)?
            .filter(|pending| pending.sequence_number == sequence_number)
            .map(|pending| pending.request)
    }

    /// Takes the request out.
    pub fn remove(&mut self, sequence_number: u32) -> Option<PendingRequest> {
        let request = self.get(sequence_number)?;
        *self.slot(sequence_number)? = None;
        self.messages -= usize::from(matches!(request, PendingRequest::Message { .. }));
        Some(request)
    }

    /// Takes out every request whose deadline has come (all of them with `None`), oldest deadline first.
    pub fn expire(&mut self, now: Option<Instant>) -> Vec<PendingRequest> {
        if let Some(now) = now
            && self.earliest.is_none_or(|earliest| earliest > now)
        {
            return Vec::new();
        }
        let mut expired: Vec<Pending> = Vec::new();
        self.earliest = None;
        for slot in &mut self.ring {
            let Some(pending) = slot else { continue };
            if now.is_none_or(|now| pending.deadline <= now) {
                expired.extend(slot.take());
            } else {
                let deadline = pending.deadline;
                self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
            }
        }
        expired.sort_by_key(|pending| pending.deadline);
        let requests: Vec<PendingRequest> = expired.into_iter().map(|pending| pending.request).collect();
        self.messages -= requests.iter().filter(|request| matches!(request, PendingRequest::Message { .. })).count();
        requests
    }

    /// When [`Self::expire`] should be asked again; may be early, never late.
    pub fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    fn slot(&mut self, sequence_number: u32) -> Option<&mut Option<Pending>> {
        let mask = self.ring.len() - 1;
        self.ring.get_mut(usize::try_from(sequence_number).ok()? & mask)
    }
}
