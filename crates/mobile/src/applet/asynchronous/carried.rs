//! The mode in the applets of the first and third embodiment (G-12): both back up EF_ADN alone, have no configuration
//! message and send through a `Carrier`, so that the machine's acts mean the same in both.

use std::time::Duration;

use link::{asynchronous::Message, reason::Reason};
use uicc::{
    files::{EF_ADN, FileSystem},
    proactive::{ProactiveCommand, TerminalResponse, TimerAction},
};

use super::{Act, AsynchronousBackup, Choice, Place, Settings, backup_timer};
use crate::applet::carrier::{Carrier, Fate};

/// Messages that leave over IP in one go.
pub(in crate::applet) const AT_ONCE_MAX: usize = 8;
/// STATUS commands until a message that the network did not take is tried again (S2-BK-10).
const RETRY_WAIT: u8 = 5;

/// The mode of one card, set at provisioning (AS-DV-02). It is in EEPROM.
#[derive(Clone, Debug)]
pub struct CarriedBackup {
    pub settings: Settings,
    pub backup: AsynchronousBackup,
    /// What the card asks of the phone when no session has another wish.
    usual_interval: Duration,
    /// STATUS commands until a message is tried again.
    pause: u8,
}

/// A message that is to leave now, and the entries in it.
pub(in crate::applet) struct Outgoing {
    pub message: Vec<u8>,
    pub record_numbers: Vec<u8>,
}

impl CarriedBackup {
    #[must_use]
    pub fn new(settings: Settings, usual_interval: Duration) -> Self {
        Self { settings, backup: AsynchronousBackup::new(0), usual_interval, pause: 0 }
    }

    /// After power-on, or on a new card.
    pub(in crate::applet) fn power_on<P>(&mut self, carrier: &mut Carrier<P>) {
        self.pause = 0;
        let acts = self.backup.power_on(&self.settings);
        self.command(acts, carrier);
    }

    /// The user or the interval asks for a backup of these entries. `limit`: octets of a message.
    pub(in crate::applet) fn request<P>(
        &mut self,
        choice: Choice,
        files: &FileSystem,
        record_numbers: Vec<u8>,
        limit: usize,
        carrier: &mut Carrier<P>,
    ) {
        let octets = files.record_octets(EF_ADN).unwrap_or(0);
        let place = |record_number| Place { df: EF_ADN.df, ef: EF_ADN.ef, record_number, octets };
        let changed = record_numbers.into_iter().map(place).collect();
        let acts = self.backup.request(choice, &self.settings, changed, limit);
        self.command(acts, carrier);
    }

    /// The next message, if it is time for one. Ask [`Carrier::is_free`] first, and tell [`Self::sent`] what became of it.
    pub(in crate::applet) fn next<P>(
        &mut self,
        files: &FileSystem,
        limit: usize,
        carrier: &mut Carrier<P>,
    ) -> Option<Outgoing> {
        if self.pause > 0 {
            return None;
        }
        let record = |place: Place| files.record(EF_ADN, place.record_number).ok().map(<[u8]>::to_vec);
        let mut outgoing = None;
        let mut record_numbers = Vec::new();
        let mut others = Vec::new();
        for act in self.backup.next(limit, record) {
            match act {
                Act::Send(message) => outgoing = Some(message),
                Act::Noted(places) => record_numbers.extend(places.iter().map(|place| place.record_number)),
                other => others.push(other),
            }
        }
        self.command(others, carrier);
        outgoing.map(|message| Outgoing { message, record_numbers })
    }

    pub(in crate::applet) fn sent<P>(&mut self, fate: Fate, carrier: &mut Carrier<P>) {
        self.pause = match fate {
            Fate::Sent => 0,
            Fate::Busy => 1,
            Fate::Failed => RETRY_WAIT,
        };
        let acts = self.backup.sent(fate == Fate::Sent);
        self.command(acts, carrier);
    }

    /// STATUS, so long after the one before.
    pub(in crate::applet) fn status(&mut self, interval: Duration) {
        self.pause = self.pause.saturating_sub(1);
        self.backup.status(u32::try_from(interval.as_secs()).unwrap_or(u32::MAX));
    }

    /// TIMER EXPIRATION. True: the time of the next backup has come.
    pub(in crate::applet) fn timer_expired<P>(&mut self, timer_id: u8, carrier: &mut Carrier<P>) -> bool {
        let is_due = self.backup.timer_expired(timer_id);
        if is_due {
            self.command(backup_timer(&self.settings), carrier);
        }
        is_due
    }

    /// 0xA2 or 0xA3.
    ///
    /// # Errors
    /// What is to be told to the centre.
    pub(in crate::applet) fn receive<P>(&mut self, payload: &[u8], carrier: &mut Carrier<P>) -> Result<(), Reason> {
        match Message::decode(payload) {
            Ok(Message::Blocks { .. }) => Err(Reason::Unsupported),
            Ok(message) => {
                let acts = self.backup.receive(&message);
                self.command(acts, carrier);
                Ok(())
            }
            Err(malformed) => Err(malformed.reason()),
        }
    }

    /// The phone's answer to DISPLAY TEXT or TIMER MANAGEMENT; false: it is to something else.
    pub(in crate::applet) fn response<P>(&mut self, response: &TerminalResponse, carrier: &mut Carrier<P>) -> bool {
        let is_to = |command: &ProactiveCommand| command.kind().0 == response.command_type;
        let timer = ProactiveCommand::TimerManagement { timer_id: 0, action: TimerAction::Deactivate };
        let acts = if is_to(&timer) {
            if response.is_success() { Vec::new() } else { self.backup.timer_refused() }
        } else if is_to(&ProactiveCommand::DisplayText { text: String::new() }) {
            self.backup.answered(response, &self.settings).unwrap_or_default()
        } else {
            return false;
        };
        self.command(acts, carrier);
        true
    }

    fn command<P>(&self, acts: Vec<Act>, carrier: &mut Carrier<P>) {
        for act in acts {
            match act {
                Act::Command(command) => carrier.command(command),
                Act::UsualInterval => carrier.command(ProactiveCommand::PollInterval(self.usual_interval)),
                // Only in what `next` gets, which keeps them.
                Act::Send(_) | Act::Noted(_) => {}
            }
        }
    }
}
