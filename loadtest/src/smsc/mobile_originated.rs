//! Towards the centre: store and forward of phones' messages and of delivery receipts over the receiver binds.

use std::time::{Duration, Instant};

use net::smpp::{Completion, SubmitError, TrySubmitError};
use rand::RngExt;
use smpp::{Address, DeliverSm, ESM_CLASS_UDHI, ShortMessage, StatusClass, Text};

use super::{
    Carried, Delivered, Delivery, Direction, MoReply, MobileOriginated, Outcome,
    engine::{Engine, now},
    timers::{Job, Slot},
};

/// A message that the centre has not accepted yet.
pub(super) struct Outbound {
    pub message: DeliverSm,
    pub reply: MoReply,
    /// Receipts go to the ESME that submitted; phones' messages to any.
    pub system_id: Option<Text<15>>,
    pub attempts: u32,
    pub taken_at: Instant,
    pub expires_at: Instant,
    pub entry: usize,
}

impl Outbound {
    const fn is_receipt(&self) -> bool {
        self.system_id.is_some()
    }
}

impl MoReply {
    fn end(self, delivery: Delivery, attempts: u32, after: Duration) {
        // A caller that no longer listens has given up on the message.
        match self {
            Self::Oneshot(sender) => drop(sender.send(Delivered { token: 0, delivery, attempts, after })),
            Self::Queue(token, sender) => drop(sender.send(Delivered { token, delivery, attempts, after })),
            Self::Nobody => {}
        }
    }
}

impl Engine {
    /// A phone's message reaches the SMSC, or not.
    pub fn offer(&mut self, message: MobileOriginated, reply: MoReply) {
        self.show(|| Carried::FromPhone(message.clone()));
        let now = now();
        let fate = self.faults_of(&message.msisdn).mobile_originated.fate(&mut self.rng);
        if self.outbound.len() >= self.config.store_max {
            return reply.end(Delivery::NotTaken, 0, Duration::ZERO);
        }
        self.ledger.count(|counters| {
            counters.mo_offered += 1;
            counters.mo_lost += u64::from(fate.lost);
        });
        if fate.lost {
            let entry = self.ledger.open(Direction::MobileOriginated, message.msisdn, now);
            self.ledger.end(entry, Outcome::Lost, 0, now);
            return reply.end(Delivery::Lost, 0, Duration::ZERO);
        }
        let message = deliver_sm(message);
        if fate.duplicated {
            self.ledger.count(|counters| counters.mo_offered += 1);
            self.store(message.clone(), MoReply::Nobody, None, fate.delay);
        }
        self.store(message, reply, None, fate.delay);
    }

    /// Keeps a message for the centre and makes its first attempt after `delay`.
    pub fn store(&mut self, message: DeliverSm, reply: MoReply, system_id: Option<Text<15>>, delay: Duration) {
        let now = now();
        let direction = if system_id.is_some() { Direction::Receipt } else { Direction::MobileOriginated };
        let entry = self.ledger.open(direction, message.source_addr.addr, now);
        let expires_at = now + self.config.validity;
        let slot =
            self.outbound.insert(Outbound { message, reply, system_id, attempts: 0, taken_at: now, expires_at, entry });
        if !delay.is_zero() {
            self.timers.set(now + delay, Job::Deliver(slot));
        } else if self.waiting.is_empty() {
            self.deliver(slot);
        } else {
            self.waiting.push_back(slot);
        }
    }

    /// One attempt on the next bind that has room; without one the message waits its turn.
    pub fn deliver(&mut self, slot: Slot) {
        if !self.attempt(slot) {
            self.waiting.push_back(slot);
        }
    }

    /// Works off what waits, as far as the binds have room.
    pub fn deliver_waiting(&mut self) {
        while let Some(slot) = self.waiting.front().copied() {
            if !self.attempt(slot) {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// False when no bind has room.
    fn attempt(&mut self, slot: Slot) -> bool {
        let Some(outbound) = self.outbound.get_mut(slot) else { return true };
        if now() >= outbound.expires_at {
            self.end(slot, Delivery::Expired);
            return true;
        }
        let mut message = outbound.message.clone();
        let count = self.peers.len();
        // Twice round a receipt's ESME: first its own binds, then any.
        for step in 0..count * 2 {
            let index = (self.next_peer + step) % count;
            let Some(peer) = self.peers.get(index) else { continue };
            let wanted = step >= count || outbound.system_id.is_none_or(|system_id| system_id == *peer.system_id());
            if !wanted {
                continue;
            }
            message = match peer.try_deliver_with(message, slot.token(), &self.completions) {
                Ok(()) => {
                    outbound.attempts += 1;
                    self.next_peer = index + 1;
                    if outbound.attempts > 1 && !outbound.is_receipt() {
                        self.ledger.count(|counters| counters.mo_redelivered += 1);
                    }
                    return true;
                }
                Err(TrySubmitError::Full(message) | TrySubmitError::NotBound(message)) => *message,
            };
            if step + 1 >= count && outbound.system_id.is_none() {
                break;
            }
        }
        false
    }

    /// The answer of the centre, or the lack of one.
    pub fn complete(&mut self, completion: &Completion) {
        let slot = Slot::from_token(completion.token);
        match &completion.outcome {
            Ok(_) => self.end(slot, Delivery::Accepted),
            Err(SubmitError::Refused(status)) => {
                self.ledger.count(|counters| counters.mo_nacked += 1);
                if status.class() == StatusClass::Permanent {
                    self.end(slot, Delivery::Refused(*status));
                } else {
                    self.retry(slot);
                }
            }
            Err(_) => self.retry(slot),
        }
    }

    /// Again later, each time later than the last, with a tenth of jitter.
    fn retry(&mut self, slot: Slot) {
        let now = now();
        let Some(outbound) = self.outbound.get_mut(slot) else { return };
        let doublings = outbound.attempts.saturating_sub(1).min(16);
        let delay = self.config.redelivery_min.saturating_mul(1 << doublings).min(self.config.redelivery_max);
        let at = now + delay.mul_f64(self.rng.random_range(0.9..=1.0));
        if at >= outbound.expires_at {
            self.end(slot, Delivery::Expired);
        } else {
            self.timers.set(at, Job::Deliver(slot));
        }
    }

    fn end(&mut self, slot: Slot, delivery: Delivery) {
        let Some(outbound) = self.outbound.remove(slot) else { return };
        let now = now();
        let (outcome, is_receipt) = (outcome(delivery), outbound.is_receipt());
        self.ledger.end(outbound.entry, outcome, outbound.attempts, now);
        self.ledger.count(|counters| match outcome {
            Outcome::Delivered if is_receipt => counters.receipts_acked += 1,
            _ if is_receipt => {}
            Outcome::Delivered => counters.mo_acked += 1,
            Outcome::Refused => counters.mo_refused += 1,
            Outcome::Expired => counters.mo_expired += 1,
            Outcome::Lost => counters.mo_lost += 1,
            Outcome::Stored => {}
        });
        outbound.reply.end(delivery, outbound.attempts, now.saturating_duration_since(outbound.taken_at));
    }

    /// At the stop: nobody waits for an end that cannot come.
    pub fn end_all(&mut self) {
        for outbound in self.outbound.drain() {
            outbound.reply.end(Delivery::NotTaken, outbound.attempts, Duration::ZERO);
        }
    }
}

const fn outcome(delivery: Delivery) -> Outcome {
    match delivery {
        Delivery::Accepted => Outcome::Delivered,
        Delivery::Refused(_) => Outcome::Refused,
        Delivery::Expired => Outcome::Expired,
        Delivery::Lost => Outcome::Lost,
        Delivery::NotTaken => Outcome::Stored,
    }
}

/// The `deliver_sm` that carries an SMS-SUBMIT unaltered.
fn deliver_sm(message: MobileOriginated) -> DeliverSm {
    let mut deliver = ShortMessage {
        source_addr: Address { ton: 1, npi: 1, addr: message.msisdn },
        destination_addr: Address { ton: 0, npi: 1, addr: message.destination },
        esm_class: if message.user_data_header { ESM_CLASS_UDHI } else { 0 },
        protocol_id: message.protocol_id,
        data_coding: message.data_coding,
        ..ShortMessage::default()
    };
    if let Some(reference) = message.message_reference {
        deliver.tlvs.set_user_message_reference(reference);
    }
    deliver.set_payload(message.payload);
    deliver
}
