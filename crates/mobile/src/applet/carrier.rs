//! How messages of every embodiment leave the card: one short message at a time, or payloads for the IP link.
//!
//! Holds what is gone after a reset; the applet keeps in EEPROM what must leave, until it is reported as sent.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use link::configuration::Bearer;
use sms::{Address, DataCoding, PID_SHORT_MESSAGE, Submit, UserData, ValidityPeriod};
use uicc::proactive::{ProactiveCommand, TerminalResponse};

use super::memory::Route;

/// IP payloads that wait for the phone.
const IP_OUT_MAX: usize = 8;
/// General results 2x: the phone could not do it now (TS 102 223 8.12).
const TRY_LATER: std::ops::Range<u8> = 0x20..0x30;

/// What became of a message, and what it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report<P> {
    pub purpose: P,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    /// The phone is busy with something else: it is to be tried in the next slot.
    Busy,
    /// The network did not take it, or there is no way to send it.
    Failed,
}

/// The commands for the phone, the message on its way, and the payloads for the IP link. `P`: what a message is for.
#[derive(Clone, Debug)]
pub(super) struct Carrier<P> {
    commands: VecDeque<ProactiveCommand>,
    sending: Sending<P>,
    ip_out: VecDeque<Bytes>,
    message_reference: u8,
}

#[derive(Clone, Debug)]
enum Sending<P> {
    Nothing,
    /// Among the commands.
    Queued(P),
    /// The phone has it and has not reported on it.
    Given(P),
}

impl<P> Carrier<P> {
    pub fn new() -> Self {
        Self { commands: VecDeque::new(), sending: Sending::Nothing, ip_out: VecDeque::new(), message_reference: 0 }
    }

    /// Whether a message may be handed over now.
    pub fn is_free(&self) -> bool {
        matches!(self.sending, Sending::Nothing) && self.ip_out.len() < IP_OUT_MAX
    }

    /// What the short message is for that is on its way to the phone, or that the phone has not reported on.
    pub fn sending(&self) -> Option<&P> {
        match &self.sending {
            Sending::Nothing => None,
            Sending::Queued(purpose) | Sending::Given(purpose) => Some(purpose),
        }
    }

    /// Whether all has left.
    pub fn is_idle(&self) -> bool {
        matches!(self.sending, Sending::Nothing) && self.ip_out.is_empty()
    }

    /// A command for the phone, after those that wait.
    pub fn command(&mut self, command: ProactiveCommand) {
        self.commands.push_back(command);
    }

    /// Hands a message over; not while another is [`Self::sending`]. On IP, and when it cannot be sent at all, the report is
    /// there at once, otherwise it comes by [`Self::terminal_response`].
    pub fn send(&mut self, payload: Vec<u8>, purpose: P, route: &Route) -> Option<Report<P>> {
        if route.bearer == Bearer::Ip {
            if self.ip_out.len() >= IP_OUT_MAX {
                return Some(Report { purpose, fate: Fate::Failed });
            }
            self.ip_out.push_back(payload.into());
            return Some(Report { purpose, fate: Fate::Sent });
        }
        let Some(tpdu) = self.submit(&payload, route) else {
            return Some(Report { purpose, fate: Fate::Failed });
        };
        self.sending = Sending::Queued(purpose);
        self.commands.push_back(ProactiveCommand::SendShortMessage { alpha: None, tpdu });
        None
    }

    /// `None` without an address or above 140 octets.
    fn submit(&mut self, payload: &[u8], route: &Route) -> Option<Vec<u8>> {
        let tpdu = submit(payload, route.destination()?, self.message_reference.wrapping_add(1))?;
        self.message_reference = self.message_reference.wrapping_add(1);
        Some(tpdu)
    }

    pub fn next_command(&mut self) -> Option<ProactiveCommand> {
        let command = self.commands.pop_front()?;
        if let ProactiveCommand::SendShortMessage { .. } = command {
            self.sending = match std::mem::replace(&mut self.sending, Sending::Nothing) {
                Sending::Queued(purpose) => Sending::Given(purpose),
                other => other,
            };
        }
        Some(command)
    }

    /// The phone's answer to the command fetched last; a report when that was a message.
    pub fn terminal_response(&mut self, response: &TerminalResponse) -> Option<Report<P>> {
        match std::mem::replace(&mut self.sending, Sending::Nothing) {
            Sending::Given(purpose) => {
                let fate = match response.general_result {
                    _ if response.is_success() => Fate::Sent,
                    result if TRY_LATER.contains(&result) => Fate::Busy,
                    _ => Fate::Failed,
                };
                Some(Report { purpose, fate })
            }
            other => {
                self.sending = other;
                None
            }
        }
    }

    pub fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.ip_out.pop_front()
    }

    /// Power comes back.
    pub fn reset(&mut self) {
        self.commands.clear();
        self.sending = Sending::Nothing;
        self.ip_out.clear();
    }
}

/// SMS-SUBMIT with the fields of Table 1 (S1-MS-05); `None` above 140 octets.
pub(crate) fn submit(payload: &[u8], destination: Address, message_reference: u8) -> Option<Vec<u8>> {
    let user_data = UserData::from_octets(payload).ok()?;
    let submit = Submit {
        reject_duplicates: false,
        reply_path: false,
        status_report_request: false,
        message_reference,
        destination,
        protocol_id: PID_SHORT_MESSAGE,
        data_coding: DataCoding(0xF5),
        validity_period: Some(ValidityPeriod::relative_at_least(Duration::from_secs(86_400))),
        user_data,
    };
    Some(submit.encode())
}
