//! The SMS assembly unit: completes the card's short message, and tells the card what the network said of it.

use std::time::Duration;

use uicc::proactive::ProactiveCommand;

use super::{PERFORMED, Station};
use crate::interface::Output;

/// A short message that the phone has sent.
pub(super) struct Outstanding {
    /// TP-MR.
    pub reference: u8,
    pub whose: Whose,
    /// Without an answer until then it counts as failed.
    pub until: Duration,
}

/// Who had it sent.
pub(super) enum Whose {
    /// The card: the command to answer, and its number.
    Card { command: ProactiveCommand, number: u8 },
    /// Software of the device itself.
    Device,
}

/// What the phone waits for the network's answer (in the order of TS 24.011's TR1M and its repeat).
pub(super) const SUBMIT_WAIT: Duration = Duration::from_secs(60);
const SMS_RP_ERROR: u8 = 0x35;

impl Station {
    /// The phone sets TP-MR (octet 2 of the TPDU).
    pub(super) fn send(&mut self, tpdu: &[u8]) {
        self.reference = self.reference.wrapping_add(1);
        let mut tpdu = tpdu.to_vec();
        if let Some(octet) = tpdu.get_mut(1) {
            *octet = self.reference;
        }
        self.output(Output::SmsSubmit { reference: self.reference, tpdu });
    }

    /// The network's answer; one to another message is ignored.
    pub(super) fn submitted(&mut self, reference: u8, ok: bool) {
        if let Some(submit) = self.submit.take_if(|submit| submit.reference == reference) {
            self.answered(&submit, ok);
        }
    }

    /// Tells whose it was; a card by TERMINAL RESPONSE to SEND SHORT MESSAGE, and then does whatever it wants.
    pub(super) fn answered(&mut self, submit: &Outstanding, ok: bool) {
        self.busy.ends(self.now);
        if ok {
            self.statistics.sms_sent += 1;
        } else {
            self.statistics.sms_failed += 1;
        }
        match &submit.whose {
            Whose::Device => self.own_sent(ok),
            Whose::Card { command, number } => {
                let result = if ok { PERFORMED } else { SMS_RP_ERROR };
                let waiting = self.respond(*number, command, result, None);
                self.fetch_all(waiting);
            }
        }
    }
}
