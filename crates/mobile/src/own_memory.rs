//! The address book in a device's own memory, backed up in blocks by software of the device (AS-GN-03, AS-GN-04): of a
//! phone beside its card, of a phone without one, of a PDA.
//!
//! [`crate::Station`] holds it and carries its messages. It keeps its content without power, as EEPROM does. Its own clock
//! takes the place of a card's toolkit timers and of STATUS.

use std::{collections::BTreeMap, time::Duration};

use link::{
    asynchronous::{Message, Variant},
    checksum::crc16,
};
use uicc::{
    phonebook::{Contact, NotStorable, encode_adn},
    proactive::{ProactiveCommand, TerminalResponse},
};

use crate::{
    applet::asynchronous::{Act, AsynchronousBackup, Choice, Place, Settings, backup_timer},
    timers::Timers,
};

/// The centre's name of this memory, which is no file of a card (D-81: what blocks of it begin with).
const DF: u16 = 0x0000;
const EF: u16 = 0x0001;
/// Session numbers of what a device itself holds; those below are of its card.
const SESSIONS: u8 = 0x80;
/// How often it looks at the time: what its patience is measured in.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks until a message that the network did not take is tried again.
const RETRY_WAIT: u8 = 5;
/// General results: as the user wished, and a step back (TS 102 223 8.12).
const PERFORMED: u8 = 0x00;
const BACKWARD_MOVE: u8 = 0x11;

/// What the memory is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnMemoryConfig {
    /// Octets for a name: more than a card has.
    pub alpha_octets: u8,
    /// How it is backed up. Changes always wait for the user or for the interval.
    pub backup: Settings,
}

impl Default for OwnMemoryConfig {
    fn default() -> Self {
        Self { alpha_octets: 30, backup: Settings::default() }
    }
}

/// The memory and its backup.
#[derive(Clone, Debug)]
pub(crate) struct OwnMemory {
    config: OwnMemoryConfig,
    records: BTreeMap<u8, Vec<u8>>,
    /// Of what was put into a block last; empty records have none.
    told: BTreeMap<u8, u16>,
    pub backup: AsynchronousBackup,
    timers: Timers,
    next_look: Duration,
    /// Looks until it tries again.
    pause: u8,
    /// Texts for the user.
    texts: Vec<String>,
}

impl OwnMemory {
    /// There is no card whose STATUS could be put off (AS-V3): a timer does the same.
    pub fn new(mut config: OwnMemoryConfig) -> Self {
        if config.backup.variant == Variant::Status {
            config.backup.variant = Variant::MobileTimer;
        }
        let mut memory = Self {
            config,
            records: BTreeMap::new(),
            told: BTreeMap::new(),
            backup: AsynchronousBackup::new(SESSIONS),
            timers: Timers::default(),
            next_look: LOOK_INTERVAL,
            pause: 0,
            texts: Vec::new(),
        };
        memory.power_on(Duration::ZERO);
        memory
    }

    /// Records in use, coded as in EF_ADN with a longer name.
    pub fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.records.iter().map(|(number, octets)| (*number, octets.as_slice()))
    }

    /// Writes an entry, or with `None` deletes it.
    pub fn write(&mut self, record_number: u8, contact: Option<&Contact>) -> Result<(), NotStorable> {
        match contact {
            Some(contact) => {
                let coded = encode_adn(contact, self.config.alpha_octets.into(), &[])?;
                self.records.insert(record_number, coded.adn);
            }
            None => drop(self.records.remove(&record_number)),
        }
        Ok(())
    }

    /// The user or the interval asks for a backup. `agrees`: what the user says when asked.
    pub fn request(&mut self, choice: Choice, limit: usize, now: Duration, mut agrees: impl FnMut() -> bool) {
        let acts = self.backup.request(choice, &self.config.backup, self.changed(), limit);
        self.act(acts, now);
        while self.backup.asks() {
            let result = if agrees() { PERFORMED } else { BACKWARD_MOVE };
            let question = ProactiveCommand::DisplayText { text: String::new() };
            let response = TerminalResponse::to(0, &question, result);
            let acts = self.backup.answered(&response, &self.config.backup).unwrap_or_default();
            self.act(acts, now);
        }
    }

    /// Records that are not as they were told to the centre, deleted ones too.
    fn changed(&self) -> Vec<Place> {
        let octets = self.octets();
        let is_changed =
            |number: &u8| self.records.get(number).map(|record| crc16(record)) != self.told.get(number).copied();
        let place = |record_number| Place { df: DF, ef: EF, record_number, octets };
        (1..=u8::MAX).filter(is_changed).map(place).collect()
    }

    /// Of a record: the name, and the 14 octets behind it (D-25).
    fn octets(&self) -> u8 {
        self.config.alpha_octets.saturating_add(14)
    }

    /// The next message, if it is time for one; tell [`Self::sent`] what became of it.
    pub fn next(&mut self, limit: usize, now: Duration) -> Option<Vec<u8>> {
        if let Some(choice) = self.backup.take_again() {
            self.request(choice, limit, now, || true);
        }
        if self.pause > 0 {
            return None;
        }
        let records = &self.records;
        let acts = self.backup.next(limit, |place| records.get(&place.record_number).cloned());
        self.act(acts, now)
    }

    pub fn sent(&mut self, ok: bool, now: Duration) {
        self.pause = if ok { 0 } else { RETRY_WAIT };
        let acts = self.backup.sent(ok);
        self.act(acts, now);
    }

    /// Whether application data of the centre is for this memory, and not for the card: 0xA2 and 0xA3 of its sessions.
    pub fn receive(&mut self, payload: &[u8], now: Duration) -> bool {
        let Ok(message) = Message::decode(payload) else { return false };
        let (Message::Resume { session, .. } | Message::Final { session, .. }) = message else { return false };
        let is_own = session >= SESSIONS;
        if is_own {
            let acts = self.backup.receive(&message);
            self.act(acts, now);
        }
        is_own
    }

    /// Time has come to [`Self::next_timeout`].
    pub fn tick(&mut self, limit: usize, now: Duration) {
        while let Some((timer_id, _)) = self.timers.expired(now) {
            if self.backup.timer_expired(timer_id) {
                self.act(backup_timer(&self.config.backup), now);
                self.request(Choice::Automatic, limit, now, || true);
            }
        }
        if now >= self.next_look {
            self.next_look = now + LOOK_INTERVAL;
            self.pause = self.pause.saturating_sub(1);
            self.backup.status(u32::try_from(LOOK_INTERVAL.as_secs()).unwrap_or(u32::MAX));
        }
    }

    /// `None`: nothing is under way.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.next().into_iter().chain(self.backup.is_open().then_some(self.next_look)).min()
    }

    /// The timers of a device that was off are gone (D-82).
    pub fn power_on(&mut self, now: Duration) {
        self.timers = Timers::default();
        self.pause = 0;
        let acts = self.backup.power_on(&self.config.backup);
        self.act(acts, now);
    }

    pub fn take_texts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.texts)
    }

    /// Carries out what the machine wants; a message is returned.
    fn act(&mut self, acts: Vec<Act>, now: Duration) -> Option<Vec<u8>> {
        let mut message = None;
        for act in acts {
            match act {
                Act::Send(octets) => message = Some(octets),
                Act::Noted(places) => places.into_iter().for_each(|place| self.noted(place.record_number)),
                Act::Command(ProactiveCommand::DisplayText { text }) => self.texts.push(text),
                Act::Command(ProactiveCommand::TimerManagement { timer_id, action }) => {
                    self.timers.manage(timer_id, action, now);
                }
                Act::Command(_) | Act::UsualInterval => {}
            }
        }
        message
    }

    /// The record is as it is sent.
    fn noted(&mut self, record_number: u8) {
        match self.records.get(&record_number) {
            Some(record) => self.told.insert(record_number, crc16(record)),
            None => self.told.remove(&record_number),
        };
    }
}
