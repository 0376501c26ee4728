//! The asynchronous mode with its phone, in virtual time: when messages leave, and how long the phone is busy.

use std::time::Duration;

use link::asynchronous::Variant;
use mobile::{
    Input, Output, Profile, Station, StationConfig,
    applet::{MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL},
};
use sms::Submit;
use uicc::files::EF_ADN;

use crate::{
    asynchronous_centre::Centre,
    rig::{CENTRE, bob, deliver_from, deliver_to_store, hex},
};

/// What the network takes for one short message.
pub const SMS: Duration = Duration::from_secs(4);
/// The centre's countdown.
const DELAY: Duration = Duration::from_secs(120);

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A phone, the network and the centre, each at its time.
pub struct Scene {
    pub station: Station,
    pub now: Duration,
    pub centre: Centre,
    /// When each message of blocks left, with its first block.
    pub sent: Vec<(Duration, u8)>,
    /// Messages of the card's own profile.
    pub others: Vec<Vec<u8>>,
    /// The centre's messages go into EF_SMS.
    is_stored: bool,
    answer: Option<(Duration, u8)>,
    countdown: Option<Duration>,
    arriving: Vec<Vec<u8>>,
}

impl Scene {
    /// Ten entries, and CID 0x0D with this mode and delay.
    fn new(mode: u8, delay_seconds: u8) -> Self {
        let mut scene = Self::of(StationConfig::default());
        scene.deliver(&[0x30, 0x0D, mode, 3, 0, delay_seconds]);
        scene.run(seconds(60));
        scene.fill();
        scene
    }

    /// A phone with this card, which holds nothing yet.
    pub fn of(config: StationConfig) -> Self {
        let is_stored = config.profile != Profile::Second;
        Self {
            station: Station::new(config),
            now: Duration::ZERO,
            centre: Centre::default(),
            sent: vec![],
            others: vec![],
            is_stored,
            answer: None,
            countdown: None,
            arriving: vec![],
        }
    }

    /// Ten entries.
    pub fn fill(&mut self) {
        for number in 1..=10 {
            let mut record = bob();
            record[0] = b'A' + number;
            assert!(self.station.update_record(EF_ADN, number, &record));
        }
    }

    pub fn menu(&mut self, item: u8) {
        self.input(Input::MenuSelection(item));
    }

    pub fn deliver(&mut self, payload: &[u8]) {
        let tpdu = if self.is_stored { deliver_to_store(payload) } else { deliver_from(CENTRE, payload) };
        self.input(Input::SmsDeliver(tpdu));
    }

    pub fn input(&mut self, input: Input) {
        if input == Input::PowerOff {
            // The network's answer reaches nobody.
            self.answer = None;
        }
        self.station.handle_input(input, self.now);
        while let Some(output) = self.station.poll_output() {
            let Output::SmsSubmit { reference, tpdu } = output else { continue };
            let before = self.answer.replace((self.now + SMS, reference));
            assert_eq!(before, None, "one message at a time");
            let payload = Submit::decode(&tpdu).unwrap().user_data.body().to_vec();
            if payload[0] == 0xA1 {
                self.sent.push((self.now, payload[3]));
                self.arriving.push(payload);
            } else {
                self.others.push(payload);
            }
        }
    }

    /// Until `end`, everything at its time.
    pub fn run(&mut self, end: Duration) {
        loop {
            let timeout = self.station.next_timeout();
            let answer = self.answer.map(|(at, _)| at);
            let Some(next) = [timeout, answer, self.countdown].into_iter().flatten().min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if answer == Some(next) {
                let (_, reference) = self.answer.take().unwrap();
                self.input(Input::SmsSubmitResult { reference, ok: true });
                let answers = self.centre.take(&mut self.arriving, false);
                // The countdown starts when the blocks are stored.
                self.countdown = Some(self.now + DELAY);
                answers.iter().for_each(|payload| self.deliver(payload));
            } else if self.countdown == Some(next) {
                self.countdown = None;
                let asked = self.centre.take(&mut self.arriving, true);
                asked.iter().for_each(|payload| self.deliver(payload));
            } else {
                self.input(Input::Tick);
            }
        }
    }

    pub fn pauses(&self) -> Vec<u64> {
        self.sent.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs()).collect()
    }

    pub fn blocks(&self) -> Vec<u8> {
        self.sent.iter().map(|(_, first)| *first).collect()
    }
}

/// Covers: AS-V2-02
#[test]
fn the_phones_timer_wakes_the_card_at_its_time() {
    let mut scene = Scene::new(1, 90);
    scene.menu(MENU_BACKUP_ASYNCHRONOUS);
    scene.run(seconds(900));
    assert_eq!(scene.blocks(), [1, 4, 7, 10]);
    assert_eq!(scene.pauses(), [90 + 4; 3], "from when the message had left");
    assert_eq!(scene.centre.ends, 1);
    assert_eq!(scene.station.statistics().backups_completed, 1);
}

/// Covers: AS-V3-03, AS-V3-04
#[test]
fn the_poll_interval_is_the_pause_and_a_switch_on_goes_on_at_once() {
    let mut scene = Scene::new(2, 90);
    scene.menu(MENU_BACKUP_ASYNCHRONOUS);
    scene.run(seconds(900));
    assert_eq!(scene.blocks(), [1, 4, 7, 10]);
    assert_eq!(scene.pauses(), [90; 3]);
    assert_eq!((scene.centre.ends, scene.station.pending()), (1, false));

    let mut scene = Scene::new(2, 90);
    scene.menu(MENU_BACKUP_ASYNCHRONOUS);
    scene.run(seconds(80));
    scene.input(Input::PowerOff);
    scene.input(Input::PowerOn);
    scene.run(seconds(900));
    assert_eq!(scene.blocks(), [1, 4, 7, 10]);
    assert_eq!(scene.sent[1].0, seconds(85), "5 s after the switch-on");
    assert_eq!(scene.pauses()[1..], [90, 90]);
    assert_eq!(scene.centre.ends, 1);
}

/// Covers: AS-GN-01, AS-DV-01
#[test]
fn between_two_messages_the_card_is_silent_and_the_phone_is_the_users() {
    for (mode, variant) in [(0, Variant::ServerCountdown), (1, Variant::MobileTimer), (2, Variant::Status)] {
        let mut scene = Scene::new(mode, 90);
        scene.menu(MENU_BACKUP_ASYNCHRONOUS);
        let mut used = 0;
        while scene.now < seconds(900) {
            let before = scene.sent.len();
            scene.run(scene.now + seconds(7));
            if scene.answer.is_some() || scene.sent.len() != before {
                continue;
            }
            // The user looks at an entry and changes another one.
            let record = scene.station.read_record(EF_ADN, 1).expect("at once");
            assert!(scene.station.update_record(EF_ADN, 50, &record));
            assert_eq!(scene.station.poll_output(), None, "{variant:?}: nothing leaves for it");
            used += 1;
        }
        assert_eq!((scene.blocks(), scene.centre.ends), (vec![1, 4, 7, 10], 1), "{variant:?}");
        assert!(used > 40, "{used} times");
    }
}

/// Covers: AS-GN-02
#[test]
fn the_phone_is_busy_for_one_message_at_most() {
    let blocked = |item, mode| {
        let mut scene = Scene::new(mode, 90);
        let before = scene.station.statistics().longest_blocked;
        assert_eq!(before, SMS, "the acknowledgement of the configuration");
        scene.menu(item);
        scene.run(seconds(900));
        assert_eq!(scene.blocks(), [1, 4, 7, 10]);
        scene.station.statistics().longest_blocked
    };
    for mode in 0..3 {
        assert_eq!(blocked(MENU_BACKUP_ASYNCHRONOUS, mode), SMS, "mode {mode}");
    }
    assert_eq!(blocked(MENU_BACKUP_NORMAL, 0), 4 * SMS, "one after the other");
}

/// A card without the mode is as it was: changes leave as they happen.
#[test]
fn changes_that_waited_leave_when_the_card_goes_back_to_normal() {
    let mut scene = Scene::new(0, 0);
    assert!(!scene.station.pending());
    scene.run(seconds(300));
    assert_eq!(scene.station.statistics().records_backed_up, 0);
    scene.deliver(&hex("30 0D 03 03 00 00"));
    scene.run(seconds(400));
    assert!(scene.station.pending(), "sent the usual way, and not acknowledged here");
    assert_eq!(scene.station.eeprom().checksums.len(), 10);
}
