//! The asynchronous backup mode on the device: a backup in blocks, with pauses in which the phone is the user's (AS-MD,
//! AS-V1 to AS-V3, D-81 to D-84).
//!
//! [`AsynchronousBackup`] is a machine that any device can hold, of whatever profile: it is told what happens and says what
//! is to be done ([`Act`]). It never looks into a file; its holder gives the records by a closure. [`Session`] is what
//! survives power-off.

pub(super) mod carried;
mod choice;
mod session;

use std::time::Duration;

use bytes::Bytes;
pub use carried::CarriedBackup;
pub use choice::{Choice, Estimates, Question, Threshold};
use link::asynchronous::{BlockRange, Message, Variant};
pub use session::{Phase, Place, Session};
use uicc::proactive::{ProactiveCommand, TerminalResponse, TimerAction};

use super::{MENU_BACKUP, MENU_BACKUP_ASK, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL};

/// What the user picks in the card's menu (AS-MD-01), beside the item of the restore: item, text, who chooses the mode.
pub(super) const MENU_ITEMS: [(u8, &str, Choice); 4] = [
    (MENU_BACKUP, "Back up", Choice::Automatic),
    (MENU_BACKUP_ASK, "Back up, ask me", Choice::Ask),
    (MENU_BACKUP_NORMAL, "Back up at once", Choice::Normal),
    (MENU_BACKUP_ASYNCHRONOUS, "Back up with pauses", Choice::Asynchronous),
];
/// Toolkit timers of this mode: the pause of variant 2, and the time between two backups.
pub const TIMER_PAUSE: u8 = 1;
pub const TIMER_BACKUP: u8 = 2;
/// A pause that the device makes by itself and that nobody has set (AS-V1-02's example).
const DELAY: u16 = 120;
/// How long the device waits for the centre beyond four pauses before it sends its last blocks again: reminders of the
/// centre (D-84) come first.
const PATIENCE_SECONDS: u32 = 120;
/// Repeats without a sign of the centre; then the session waits for a resume message, a power-on or the user.
const REPEATS_MAX: u8 = 3;
/// Blocks of a session (D-81).
const BLOCKS_MAX: usize = 255;

/// How a device backs up, as CID 0x0D sets it (D-12): mode, blocks per SM, delay.
///
/// Mode: bits 2 and 1 the variant (3: normal, changes are sent as they happen); bits 4 and 3 are 0; bits 8 to 5 hours from
/// one backup to the next, 0: only when the user asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub variant: Variant,
    /// 1 to 255, as far as a message has room (D-82: 3).
    pub blocks_per_message: u8,
    /// Seconds; 0: the centre's in variant 1, otherwise 2 minutes (AS-V2-06).
    pub delay_seconds: u16,
    /// Hours from one backup to the next, at most 15; 0: none (AS-GN-05).
    pub hours: u8,
    pub threshold: Threshold,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            variant: Variant::Normal,
            blocks_per_message: 3,
            delay_seconds: 0,
            hours: 0,
            threshold: Threshold::default(),
        }
    }
}

impl Settings {
    /// The data of CID 0x0D; `None` for a mode with reserved bits or no block per message.
    #[must_use]
    pub fn configured(self, mode: u8, blocks_per_message: u8, delay_seconds: u16) -> Option<Self> {
        let is_valid = mode & 0x0C == 0 && blocks_per_message > 0;
        let variant = Variant::from_flags(mode);
        is_valid.then_some(Self { variant, blocks_per_message, delay_seconds, hours: mode >> 4, ..self })
    }

    /// Whether changes wait for the next backup (AS-DV-02), rather than being sent as they happen.
    #[must_use]
    pub fn defers_changes(&self) -> bool {
        self.variant != Variant::Normal
    }

    /// The variant of an asynchronous backup: the one set, or the preferred one.
    fn asynchronous(&self) -> Variant {
        if self.variant == Variant::Normal { Variant::ServerCountdown } else { self.variant }
    }

    /// Between two messages, as far as the device knows.
    fn delay(&self) -> u16 {
        if self.delay_seconds == 0 { DELAY } else { self.delay_seconds }
    }
}

/// What the device is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Hand this message to the phone, and say by [`AsynchronousBackup::sent`] what became of it.
    Send(Vec<u8>),
    /// Behind the message, if there is one before it.
    Command(ProactiveCommand),
    /// Set the poll interval back to the usual one.
    UsualInterval,
    /// These records are in the message: the device notes their checksums.
    Noted(Vec<Place>),
}

/// The machine; `session` and `last_number` are in EEPROM.
#[derive(Clone, Debug, Default)]
pub struct AsynchronousBackup {
    pub session: Option<Session>,
    pub last_number: u8,
    /// Session numbers begin here, so that two devices of one number have their own (AS-GN-03).
    base: u8,
    /// What the user is being asked.
    question: Option<Question>,
    /// More had changed than a session has blocks: the next follows.
    again: Option<Choice>,
    /// Backups that the centre has ended with success, and the blocks in them.
    pub completed: u64,
    pub blocks_stored: u64,
}

impl AsynchronousBackup {
    /// `base`: 0 for a card, 0x80 for what the phone itself holds.
    #[must_use]
    pub fn new(base: u8) -> Self {
        Self { base, ..Self::default() }
    }

    /// Whether a message is to leave, or an answer of the centre is awaited.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the user is being asked.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.question.is_some()
    }

    /// The user or the interval asks for a backup. What an unfinished one has not brought to its end is in the new one too.
    pub fn request(&mut self, choice: Choice, settings: &Settings, changed: Vec<Place>, limit: usize) -> Vec<Act> {
        let unfinished = self.session.as_ref().map(|session| session.places.clone()).unwrap_or_default();
        let mut places: Vec<Place> = changed;
        places.extend(unfinished);
        places.sort_unstable();
        places.dedup();
        let is_small = |place: &Place| usize::from(place.octets) + session::BLOCK_OCTETS_MAX <= limit;
        places.retain(is_small);
        let is_cut = places.len() > BLOCKS_MAX;
        places.truncate(BLOCKS_MAX);
        if places.is_empty() {
            return match choice {
                Choice::Automatic => Vec::new(),
                _ => vec![Act::Command(ProactiveCommand::DisplayText { text: "Nothing to back up".to_owned() })],
            };
        }
        let estimates = Estimates::of(places.len(), settings.blocks_per_message, settings.delay());
        match choice {
            Choice::Ask => {
                let (question, command) = Question::first(estimates, places, is_cut);
                self.question = Some(question);
                vec![Act::Command(command)]
            }
            Choice::Normal => self.begin(Variant::Normal, settings, places, is_cut),
            Choice::Asynchronous => self.begin(settings.asynchronous(), settings, places, is_cut),
            Choice::Automatic if settings.threshold.is_exceeded(places.len()) => {
                self.begin(settings.asynchronous(), settings, places, is_cut)
            }
            Choice::Automatic => self.begin(Variant::Normal, settings, places, is_cut),
        }
    }

    fn begin(&mut self, variant: Variant, settings: &Settings, places: Vec<Place>, is_cut: bool) -> Vec<Act> {
        self.last_number = self.base | (self.last_number.wrapping_add(1) & 0x7F);
        let was_status = self.session.as_ref().is_some_and(|session| session.variant == Variant::Status);
        let mut session = Session::new(self.last_number, variant, settings, places);
        session.is_cut = is_cut;
        self.session = Some(session);
        if was_status { vec![Act::UsualInterval] } else { Vec::new() }
    }

    /// The phone's answer to DISPLAY TEXT: the user agrees, or goes back (AS-MD-05). `None`: nobody was asked.
    pub fn answered(&mut self, response: &TerminalResponse, settings: &Settings) -> Option<Vec<Act>> {
        let question = self.question.take()?;
        let is_agreed = response.general_result < choice::SESSION_ENDED_BY_USER;
        let variant = if question.is_about_normal { Variant::Normal } else { settings.asynchronous() };
        Some(if is_agreed {
            self.begin(variant, settings, question.places, question.is_cut)
        } else if let Some((next, command)) = question.next() {
            self.question = Some(next);
            vec![Act::Command(command)]
        } else {
            Vec::new()
        })
    }

    /// Power-on: the timers of the phone are gone (D-82), an unreported message may or may not have left, and a session
    /// that had given up tries again (AS-GN-07).
    pub fn power_on(&mut self, settings: &Settings) -> Vec<Act> {
        self.question = None;
        let mut acts = backup_timer(settings);
        let Some(session) = &mut self.session else { return acts };
        session.repeats = 0;
        if matches!(session.phase, Phase::Sending { .. }) {
            session.phase = Phase::Ready;
        }
        if session.phase == Phase::Pausing && session.variant == Variant::MobileTimer && session.has_more() {
            acts.push(start_timer(TIMER_PAUSE, session.delay().into()));
        }
        acts
    }

    /// A STATUS command of the phone, `seconds` after the one before: the wake-up of variant 3 (AS-V3-01), and what the
    /// device measures its patience with.
    pub fn status(&mut self, seconds: u32) {
        let Some(session) = &mut self.session else { return };
        if session.phase != Phase::Pausing {
            return;
        }
        if session.variant == Variant::Status && session.has_more() {
            session.phase = Phase::Ready;
            return;
        }
        session.waited = session.waited.saturating_add(seconds);
        let patience = 4 * u32::from(session.delay()) + PATIENCE_SECONDS;
        if session.waited >= patience && session.repeats < REPEATS_MAX {
            session.repeat_last();
        }
    }

    /// Timer expiration (AS-V2-02). True: the time of the next backup has come, and its timer is to be set again.
    #[must_use]
    pub fn timer_expired(&mut self, timer_id: u8) -> bool {
        if let Some(session) = &mut self.session
            && timer_id == TIMER_PAUSE
            && session.phase == Phase::Pausing
            && session.has_more()
        {
            session.phase = Phase::Ready;
        }
        timer_id == TIMER_BACKUP
    }

    /// The phone cannot keep time: its STATUS commands take the timer's place.
    pub fn timer_refused(&mut self) -> Vec<Act> {
        let Some(session) = self.session.as_mut().filter(|it| it.variant == Variant::MobileTimer) else {
            return Vec::new();
        };
        session.variant = Variant::Status;
        vec![poll_interval(session.delay())]
    }

    /// What the last session had no blocks for, to be backed up now.
    pub fn take_again(&mut self) -> Option<Choice> {
        self.again.take()
    }

    /// The next message, when it is time for one and the phone takes one (AS-BL-03). `limit`: octets of a message.
    pub fn next(&mut self, limit: usize, record: impl Fn(Place) -> Option<Vec<u8>>) -> Vec<Act> {
        let Some(session) = &mut self.session else { return Vec::new() };
        if session.phase != Phase::Ready {
            return Vec::new();
        }
        let Some((message, places)) = session.message(limit, record) else {
            // Nothing of it is left to be sent: the end is awaited.
            session.phase = Phase::Pausing;
            return Vec::new();
        };
        let mut acts = vec![Act::Noted(places)];
        // Before the message, so that the interval counts from the STATUS that this answers (AS-V3-02).
        if session.variant == Variant::Status {
            acts.push(if session.has_more_after_sending() {
                poll_interval(session.delay())
            } else {
                Act::UsualInterval
            });
        }
        acts.push(Act::Send(message));
        acts
    }

    /// The phone's report on the message. One that has not left is tried again.
    pub fn sent(&mut self, ok: bool) -> Vec<Act> {
        let Some(session) = &mut self.session else { return Vec::new() };
        if !session.reported(ok) || !ok || !session.has_more() {
            return Vec::new();
        }
        match session.variant {
            Variant::Normal => {
                session.phase = Phase::Ready;
                Vec::new()
            }
            Variant::MobileTimer => vec![start_timer(TIMER_PAUSE, session.delay().into())],
            Variant::ServerCountdown | Variant::Status => Vec::new(),
        }
    }

    /// A message of the centre: 0xA2 or 0xA3. One of another session is late and says nothing.
    pub fn receive(&mut self, message: &Message) -> Vec<Act> {
        match message {
            Message::Resume { session, total, missing } => self.resume(*session, *total, missing),
            Message::Final { session, total, result } => self.end(*session, *total, *result),
            Message::Blocks { .. } => Vec::new(),
        }
    }

    fn resume(&mut self, number: u8, total: u8, missing: &[BlockRange]) -> Vec<Act> {
        let Some(session) = self.session.as_mut().filter(|it| it.is(number, total)) else { return Vec::new() };
        session.only(missing);
        session.waited = 0;
        session.repeats = 0;
        if session.phase == Phase::Pausing {
            session.phase = Phase::Ready;
        }
        Vec::new()
    }

    fn end(&mut self, number: u8, total: u8, result: u8) -> Vec<Act> {
        let Some(session) = self.session.take_if(|it| it.is(number, total)) else { return Vec::new() };
        let mut acts = Vec::new();
        if session.variant == Variant::Status {
            acts.push(Act::UsualInterval);
        }
        let text = if result == link::reason::SUCCESS {
            self.completed += 1;
            self.blocks_stored += u64::from(session.total());
            if session.is_cut {
                let is_normal = session.variant == Variant::Normal;
                self.again = Some(if is_normal { Choice::Normal } else { Choice::Asynchronous });
            }
            "Backup complete"
        } else {
            "Backup incomplete"
        };
        acts.push(Act::Command(ProactiveCommand::DisplayText { text: text.to_owned() }));
        acts
    }
}

/// The timer of the next backup, if there is one (AS-GN-05).
#[must_use]
pub fn backup_timer(settings: &Settings) -> Vec<Act> {
    if settings.hours == 0 {
        return Vec::new();
    }
    vec![start_timer(TIMER_BACKUP, u64::from(settings.hours) * 3600)]
}

fn poll_interval(seconds: u16) -> Act {
    Act::Command(ProactiveCommand::PollInterval(Duration::from_secs(seconds.into())))
}

fn start_timer(timer_id: u8, seconds: u64) -> Act {
    let action = TimerAction::Start(Duration::from_secs(seconds.clamp(1, 24 * 3600)));
    Act::Command(ProactiveCommand::TimerManagement { timer_id, action })
}

/// The block of a record (D-81): of EF_ADN its number and the record, of any other file 00, DF 2, EF 2, number, record.
#[must_use]
pub fn block(place: Place, record: &[u8]) -> Bytes {
    let mut block = if (place.df, place.ef) == (uicc::files::EF_ADN.df, uicc::files::EF_ADN.ef) {
        vec![place.record_number]
    } else {
        let ([df_high, df_low], [ef_high, ef_low]) = (place.df.to_be_bytes(), place.ef.to_be_bytes());
        vec![0, df_high, df_low, ef_high, ef_low, place.record_number]
    };
    block.extend_from_slice(record);
    block.into()
}
