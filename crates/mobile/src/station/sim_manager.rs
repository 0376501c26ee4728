//! The SIM manager: everything that the phone's other parts want of the card goes through here, as APDUs.
//!
//! And what the card wants of the phone comes through here: commands announced by 91xx are fetched, carried out, answered.

use std::time::Duration;

use uicc::{
    apdu::{StatusWord, command, split},
    files::{MF, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

use super::{
    PERFORMED, Station,
    assembly::{Outstanding, SUBMIT_WAIT, Whose},
};
use crate::{channel, interface::Output};

/// Commands in one go: an applet that never ends must not stop the phone.
const FETCHES_MAX: usize = 32;
/// The user went one step back.
const BACKWARD_MOVE: u8 = 0x11;
/// The device cannot do it now.
const UNABLE_NOW: u8 = 0x20;
/// No such timer, or it does not run.
const TIMER_CONTRADICTED: u8 = 0x24;
const NOT_CAPABLE: u8 = 0x30;

impl Station {
    /// READ RECORD by the phone's SIM manager.
    pub fn read_record(&mut self, path: Path, record_number: u8) -> Option<Vec<u8>> {
        let octets = self.card.files().record_octets(path)?;
        let (data, word) = self.on_file(path, &command::read_record(record_number, octets))?;
        word.is_success().then_some(data)
    }

    /// UPDATE RECORD by the phone's SIM manager; false when off or refused. `octets`: the whole record, at most 255.
    pub fn update_record(&mut self, path: Path, record_number: u8, octets: &[u8]) -> bool {
        if octets.is_empty() || octets.len() > usize::from(u8::MAX) {
            return false;
        }
        let done = self.on_file(path, &command::update_record(record_number, octets));
        let is_done = done.is_some_and(|(_, word)| word.is_success());
        if is_done {
            self.read_copy_of_record(path, record_number);
        }
        self.collect_ip();
        is_done
    }

    pub(super) fn on_file(&mut self, path: Path, apdu: &[u8]) -> Option<(Vec<u8>, StatusWord)> {
        self.select(path).then(|| self.exchange(apdu))
    }

    /// False: switched off, or no such file.
    pub(crate) fn select(&mut self, path: Path) -> bool {
        let files = [MF, path.df, path.ef];
        self.is_on && files.into_iter().all(|file| self.exchange(&command::select(file)).1.is_success())
    }

    /// One command to the card, if there is one, and whatever it then wants of the phone (91xx).
    pub(crate) fn exchange(&mut self, apdu: &[u8]) -> (Vec<u8>, StatusWord) {
        if !self.config.has_card {
            return (Vec::new(), StatusWord::TECHNICAL_PROBLEM);
        }
        let response = self.card.transmit(apdu);
        let Some((data, word)) = split(&response) else { return (Vec::new(), StatusWord::TECHNICAL_PROBLEM) };
        let data = data.to_vec();
        self.fetch_all(word.waiting_command_octets());
        (data, word)
    }

    /// IP data reaches the card without an APDU; a harmless command lets the card announce what it wants.
    pub(super) fn look_for_command(&mut self) {
        if self.card.has_command() && !self.is_setting_up_call {
            self.exchange(&command::terminal_profile(&[0xFF; 5]));
        }
    }

    pub(crate) fn fetch_all(&mut self, mut waiting: Option<usize>) {
        for _ in 0..FETCHES_MAX {
            if self.is_setting_up_call {
                break;
            }
            let Some(octets) = waiting else { break };
            waiting = self.fetch(octets);
        }
    }

    /// Fetches a command and carries it out; the length of the next one.
    pub(super) fn fetch(&mut self, octets: usize) -> Option<usize> {
        let response = self.card.transmit(&command::fetch(u8::try_from(octets).unwrap_or(0)));
        let (data, _) = split(&response)?;
        let Ok((number, command)) = ProactiveCommand::decode(data) else {
            return self.answer(&TerminalResponse::to_unknown(data)?);
        };
        let mut result = PERFORMED;
        let mut duration = None;
        match &command {
            // The device is busy with a message of its own.
            ProactiveCommand::SendShortMessage { .. } if self.submit.is_some() => result = UNABLE_NOW,
            ProactiveCommand::SendShortMessage { tpdu, .. } => {
                self.send(tpdu);
                self.busy.begins(self.now);
                if !self.config.immediate_result {
                    let (reference, until) = (self.reference, self.now + SUBMIT_WAIT);
                    self.submit = Some(Outstanding { reference, whose: Whose::Card { command, number }, until });
                    return None;
                }
                self.busy.ends(self.now);
                self.statistics.sms_sent += 1;
            }
            ProactiveCommand::PollInterval(wanted) => {
                self.interval = (*wanted).max(self.config.poll_minimum);
                duration = Some(self.interval);
            }
            ProactiveCommand::Refresh { files, .. } => {
                files.iter().for_each(|path| self.read_copy(*path));
                self.statistics.refreshes += 1;
            }
            ProactiveCommand::DisplayText { text } => {
                self.output(Output::Display(text.clone()));
                if self.answers.pop_front() == Some(false) {
                    result = BACKWARD_MOVE;
                }
            }
            ProactiveCommand::TimerManagement { timer_id, action } => {
                if !self.timers.manage(*timer_id, *action, self.now) {
                    result = TIMER_CONTRADICTED;
                }
            }
            ProactiveCommand::SetUpMenu { .. } | ProactiveCommand::MoreTime => {}
            _ if self.config.bip.is_some() && channel::is_about(&command) => {
                return self.on_channel(number, command, self.now);
            }
            _ => result = NOT_CAPABLE,
        }
        self.respond(number, &command, result, duration)
    }

    pub(super) fn respond(
        &mut self,
        number: u8,
        command: &ProactiveCommand,
        result: u8,
        duration: Option<Duration>,
    ) -> Option<usize> {
        let mut response = TerminalResponse::to(number, command, result);
        response.duration = duration;
        self.answer(&response)
    }

    /// TERMINAL RESPONSE; the length of the next command.
    pub(crate) fn answer(&mut self, response: &TerminalResponse) -> Option<usize> {
        let answer = self.card.transmit(&command::terminal_response(&response.encode()));
        let (_, word) = split(&answer)?;
        word.waiting_command_octets()
    }
}
