//! The talk of applet and phone: FETCH, TERMINAL RESPONSE, ENVELOPE (TS 51.014, TS 102 223). Nothing is announced before the
//! phone has shown by TERMINAL PROFILE that it understands it (TS 102 223 clause 5.2): a PC/SC tool never does.

use super::{Answered, Card, done, exactly};
use crate::{
    apdu::{Command, Refusal, instruction as ins},
    applet::Applet,
    proactive::{Envelope, ProactiveCommand, TerminalResponse, envelope},
};

/// Commands in one go: an applet that never ends must not stop the card.
const COMMANDS_MAX: usize = 32;
/// General results (TS 51.014 12.12).
const PERFORMED: u8 = 0x00;
const NOT_CAPABLE: u8 = 0x30;

/// Volatile.
#[derive(Default)]
pub(super) struct Toolkit {
    is_phone_there: bool,
    /// Encoded proactive command that the phone has been told of.
    command: Option<Vec<u8>>,
    number: u8,
    /// Fetched; its terminal response is awaited.
    is_fetched: bool,
}

impl<A: Applet> Card<A> {
    /// Whether a proactive command waits for FETCH; the phone learns of it by 91xx.
    pub fn has_command(&mut self) -> bool {
        self.announced().is_some()
    }

    /// A status event for the applet where the reader is no phone: no poll comes, and nobody fetches. The applet's commands
    /// are answered: those that need nothing but the card's patience as performed, all others as beyond capability. The last
    /// poll interval that it asked for is returned.
    pub fn run_applet(&mut self) -> Option<std::time::Duration> {
        if self.toolkit.is_phone_there {
            return None;
        }
        self.applet.status(&mut self.files);
        let mut interval = None;
        for number in 1..=COMMANDS_MAX {
            let Some(command) = self.applet.next_command(&mut self.files) else { break };
            let result = match &command {
                ProactiveCommand::PollInterval(wanted) => {
                    interval = Some(*wanted);
                    PERFORMED
                }
                ProactiveCommand::MoreTime | ProactiveCommand::SetUpMenu { .. } | ProactiveCommand::Refresh { .. } => {
                    PERFORMED
                }
                _ => NOT_CAPABLE,
            };
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            let mut response = TerminalResponse::to(number, &command, result);
            response.duration = interval;
            self.applet.terminal_response(&mut self.files, &response);
        }
        interval
    }

    pub(super) fn toolkit_command(&mut self, command: &Command) -> Answered {
        match command.instruction {
            ins::TERMINAL_PROFILE => {
                self.toolkit.is_phone_there = true;
                done()
            }
            ins::FETCH => self.fetch(command),
            ins::TERMINAL_RESPONSE => self.terminal_response(command.data),
            ins::ENVELOPE => self.envelope(command.data),
            _ => Err(Refusal::Instruction),
        }
    }

    /// Length of the proactive command that waits; asks the applet for one when none does.
    pub(super) fn announced(&mut self) -> Option<usize> {
        let toolkit = &mut self.toolkit;
        if toolkit.is_fetched || !toolkit.is_phone_there {
            return None;
        }
        if toolkit.command.is_none() {
            let command = self.applet.next_command(&mut self.files)?;
            toolkit.number = toolkit.number % 0xFE + 1;
            toolkit.command = Some(command.encode(toolkit.number));
        }
        toolkit.command.as_ref().map(Vec::len)
    }

    fn fetch(&mut self, command: &Command) -> Answered {
        let waiting = self.toolkit.command.clone().ok_or(Refusal::Technical)?;
        let fetched = exactly(waiting, command)?;
        self.toolkit.is_fetched = true;
        Ok(fetched)
    }

    fn terminal_response(&mut self, data: &[u8]) -> Answered {
        let response = TerminalResponse::decode(data).map_err(|_| Refusal::Technical)?;
        if !self.toolkit.is_fetched || response.number != self.toolkit.number {
            return Err(Refusal::Technical);
        }
        self.toolkit.command = None;
        self.toolkit.is_fetched = false;
        self.applet.terminal_response(&mut self.files, &response);
        done()
    }

    fn envelope(&mut self, data: &[u8]) -> Answered {
        match envelope::decode(data).map_err(|_| Refusal::Technical)? {
            Envelope::SmsPpDownload { tpdu } => self.applet.sms_pp_download(&mut self.files, &tpdu),
            Envelope::TimerExpiration { timer_id } => self.applet.timer_expired(&mut self.files, timer_id),
            Envelope::MenuSelection { item } => self.applet.menu_selected(&mut self.files, item),
            Envelope::Event(event) => self.applet.event(&mut self.files, event),
        }
        done()
    }
}
