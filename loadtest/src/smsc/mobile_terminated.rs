//! Towards the phones: the answer to `submit_sm`, network latency, absent phones, validity, delivery receipts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use net::smpp::{AnswerToken, PeerHandle};
use rand::RngExt;
use smpp::{
    CommandStatus, ESM_CLASS_DELIVERY_RECEIPT, REGISTERED_DELIVERY_FAILURE, REGISTERED_DELIVERY_FINAL, Receipt,
    ShortMessage, SubmitSm, Text,
    receipt::Stat,
    time::{self, SmppTime},
};
use tokio::sync::mpsc::error::TrySendError;

use super::{
    Carried, Direction, MoReply, MobileTerminated, Number, Outcome,
    engine::{Engine, now},
    timers::{Job, Slot},
};

/// Until the fleet has room again.
const FLEET_PAUSE: Duration = Duration::from_millis(5);

/// A message that its phone does not have yet.
pub(super) struct Inbound {
    id: u64,
    message: SubmitSm,
    system_id: Text<15>,
    attempts: u32,
    submitted: i64,
    expires_at: Instant,
    lost: bool,
    duplicated: bool,
    entry: usize,
}

impl Engine {
    /// A `submit_sm` of the centre: refused by injection, or stored and then answered.
    pub fn submit(&mut self, peer: &PeerHandle, token: AnswerToken, message: SubmitSm) {
        self.show(|| Carried::ToPhone(Box::new(message.clone())));
        let msisdn = message.destination_addr.addr;
        let faults = self.faults_of(&msisdn);
        let mut status = faults.submit_status(&mut self.rng);
        if status.is_ok() && self.inbound.len() >= self.config.store_max {
            status = CommandStatus::ESME_RMSGQFUL;
        }
        let Some(validity) = self.validity(&message) else {
            return self.refuse(peer, token, CommandStatus::ESME_RINVEXPIRY);
        };
        if !status.is_ok() {
            return self.refuse(peer, token, status);
        }
        let id = self.next_message_id;
        self.next_message_id += 1;
        self.ledger.count(|counters| counters.mt_accepted += 1);
        peer.respond_submit(token, CommandStatus::ESME_ROK, message_id(id));
        let fate = faults.mobile_terminated.fate(&mut self.rng);
        let now = now();
        let inbound = Inbound {
            id,
            message,
            system_id: *peer.system_id(),
            attempts: 0,
            submitted: unix_seconds(),
            expires_at: now + validity,
            lost: fate.lost,
            duplicated: fate.duplicated,
            entry: self.ledger.open(Direction::MobileTerminated, msisdn, now),
        };
        let slot = self.inbound.insert(inbound);
        let delay = fate.delay + self.network_latency();
        if delay.is_zero() {
            self.reach(slot, now);
        } else {
            self.timers.set(now + delay, Job::Reach(slot));
        }
    }

    /// One attempt to hand a message to its phone.
    pub fn reach(&mut self, slot: Slot, now: Instant) {
        let Some(inbound) = self.inbound.get_mut(slot) else { return };
        if now >= inbound.expires_at {
            return self.end_inbound(slot, Outcome::Expired, now);
        }
        inbound.attempts += 1;
        let msisdn = inbound.message.destination_addr.addr;
        if let Some(waiting) = self.absent.get_mut(&msisdn) {
            if !waiting.contains(&slot) {
                waiting.push(slot);
            }
            self.timers.set(inbound.expires_at, Job::Reach(slot));
            return;
        }
        if inbound.lost {
            return self.end_inbound(slot, Outcome::Lost, now);
        }
        match self.fleet.try_send(mobile_terminated(inbound, msisdn)) {
            Ok(()) if inbound.duplicated => {
                // The second copy comes as a message of its own attempt.
                inbound.duplicated = false;
                self.ledger.count(|counters| counters.mt_delivered += 1);
                self.reach(slot, now);
            }
            Ok(()) => self.end_inbound(slot, Outcome::Delivered, now),
            Err(TrySendError::Full(_)) => self.timers.set(now + FLEET_PAUSE, Job::Reach(slot)),
            // Without a fleet nobody has a phone.
            Err(TrySendError::Closed(_)) => self.end_inbound(slot, Outcome::Expired, now),
        }
    }

    fn end_inbound(&mut self, slot: Slot, outcome: Outcome, now: Instant) {
        let Some(inbound) = self.inbound.remove(slot) else { return };
        if outcome == Outcome::Expired
            && let Some(waiting) = self.absent.get_mut(&inbound.message.destination_addr.addr)
        {
            waiting.retain(|other| *other != slot);
        }
        self.ledger.end(inbound.entry, outcome, inbound.attempts, now);
        self.ledger.count(|counters| match outcome {
            Outcome::Delivered => counters.mt_delivered += 1,
            Outcome::Lost => counters.mt_lost += 1,
            _ => counters.mt_expired += 1,
        });
        // What is lost by injection is lost without anybody's knowledge: the receipt says delivered.
        let delivered = outcome != Outcome::Expired;
        let wanted = match inbound.message.registered_delivery & 0x03 {
            REGISTERED_DELIVERY_FINAL => true,
            REGISTERED_DELIVERY_FAILURE => !delivered,
            _ => false,
        };
        if wanted {
            self.ledger.count(|counters| counters.receipts_offered += 1);
            let system_id = inbound.system_id;
            self.store(receipt(inbound, delivered), MoReply::Nobody, Some(system_id), Duration::ZERO);
        }
    }

    fn refuse(&mut self, peer: &PeerHandle, token: AnswerToken, status: CommandStatus) {
        self.ledger.count(|counters| counters.mt_refused += 1);
        peer.respond_submit(token, status, Text::EMPTY);
    }

    /// How long a message is kept; `None` when its validity_period cannot be read.
    fn validity(&self, message: &SubmitSm) -> Option<Duration> {
        if message.validity_period.is_empty() {
            return Some(self.config.validity);
        }
        match time::parse(message.validity_period.as_bytes())? {
            SmppTime::Relative(period) => Some(period),
            SmppTime::Absolute(at) => {
                Some(Duration::from_secs(u64::try_from(at.saturating_sub(unix_seconds())).unwrap_or_default()))
            }
        }
    }

    fn network_latency(&mut self) -> Duration {
        let (min, max) = (self.config.network_latency_min, self.config.network_latency_max);
        if max <= min { min } else { min + (max - min).mul_f64(self.rng.random()) }
    }
}

fn mobile_terminated(inbound: &Inbound, msisdn: Number) -> MobileTerminated {
    let message = &inbound.message;
    MobileTerminated {
        message_id: inbound.id,
        msisdn,
        originator: message.source_addr.addr,
        protocol_id: message.protocol_id,
        data_coding: message.data_coding,
        user_data_header: message.has_user_data_header(),
        payload: message.payload().clone(),
    }
}

fn receipt(inbound: Inbound, delivered: bool) -> ShortMessage {
    let stat = if delivered { Stat::Delivered } else { Stat::Expired };
    let id = message_id(inbound.id);
    let text = Receipt {
        id: id.to_string(),
        sub: 1,
        dlvrd: u16::from(delivered),
        submit_date: Some(inbound.submitted),
        done_date: Some(unix_seconds()),
        stat,
        err: "000".to_owned(),
        text: String::new(),
    };
    let mut message = ShortMessage {
        source_addr: inbound.message.destination_addr,
        destination_addr: inbound.message.source_addr,
        esm_class: ESM_CLASS_DELIVERY_RECEIPT,
        ..ShortMessage::default()
    };
    message.set_payload(Bytes::from(text.format()));
    message.tlvs.set_receipted_message_id(id.as_bytes());
    message.tlvs.set_message_state(stat.message_state());
    message
}

fn message_id(id: u64) -> Text<64> {
    Text::new(format!("{id:010X}")).unwrap_or_default()
}

fn unix_seconds() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
