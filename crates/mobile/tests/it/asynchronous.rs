//! The asynchronous mode on the card, command by command (AS-MD, AS-BL, AS-V1 to AS-V3).

use std::time::Duration;

use link::asynchronous::{BlockRange, Message, Variant};
use mobile::applet::{
    BackupApplet, MENU_BACKUP, MENU_BACKUP_ASK, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL,
    asynchronous::{AsynchronousBackup, Phase, Settings, TIMER_BACKUP, TIMER_PAUSE},
    default_monitor_table,
    memory::{Configuration, Eeprom},
};
use sms::Submit;
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_EXT1, FileSystem},
    proactive::{ProactiveCommand, TerminalResponse, TimerAction},
};

use crate::rig::{CENTRE, bob, deliver_from, hex, home, office};

/// What the phone is asked for, in the words of these tests.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// First block, and how many.
    Blocks(u8, u8),
    Text(String),
    Poll(u64),
    Timer(u8, u64),
    NoTimer(u8),
}

/// A card whose phone carries everything out at once.
pub struct Bench {
    pub applet: BackupApplet,
    pub files: FileSystem,
    /// Messages as they left.
    pub sent: Vec<Vec<u8>>,
    /// Those of other kinds.
    pub others: Vec<Vec<u8>>,
    /// General results of the next texts; then 00.
    pub results: Vec<u8>,
    pub network_ok: bool,
    pub timers_ok: bool,
}

impl Bench {
    /// A card with so many entries that were never backed up; BOB, HOME and OFFICE first.
    pub fn with(entries: u8, settings: Settings) -> Self {
        let mut files = FileSystem::new();
        files.add_linear(EF_ADN, 28, 254);
        files.add_linear(EF_EXT1, 13, 10);
        for number in 1..=entries {
            let record = match number {
                1 => bob(),
                2 => home(),
                3 => office(),
                _ => {
                    let mut record = bob();
                    record[0] = number;
                    record
                }
            };
            files.write(EF_ADN, number, 0, &record).unwrap();
        }
        let configuration = Configuration {
            centre_isdn: link::configuration::IsdnAddress::new(0x91, CENTRE),
            asynchronous: settings,
            ..Configuration::default()
        };
        let mut asynchronous = AsynchronousBackup::new(0);
        asynchronous.last_number = 6;
        let monitor = default_monitor_table(&files);
        let applet = BackupApplet::with_eeprom(Eeprom { configuration, monitor, asynchronous, ..Eeprom::default() });
        let mut bench =
            Self { applet, files, sent: vec![], others: vec![], results: vec![], network_ok: true, timers_ok: true };
        bench.run();
        bench
    }

    /// Everything that the card wants now, in order. The menu is not listed.
    pub fn run(&mut self) -> Vec<Asked> {
        let mut asked = vec![];
        while let Some(command) = self.applet.next_command(&mut self.files) {
            let mut result = 0;
            match &command {
                ProactiveCommand::SendShortMessage { tpdu, .. } => {
                    let payload = Submit::decode(tpdu).unwrap().user_data.body().to_vec();
                    assert!(payload.len() <= link::SMS_OCTETS);
                    result = if self.network_ok { 0 } else { 0x35 };
                    if payload[0] == 0xA1 {
                        asked.push(Asked::Blocks(payload[3], payload[4]));
                        self.sent.extend(self.network_ok.then_some(payload));
                    } else {
                        self.others.push(payload);
                    }
                }
                ProactiveCommand::DisplayText { text } => {
                    asked.push(Asked::Text(text.clone()));
                    result = if self.results.is_empty() { 0 } else { self.results.remove(0) };
                }
                ProactiveCommand::PollInterval(interval) => asked.push(Asked::Poll(interval.as_secs())),
                ProactiveCommand::TimerManagement { timer_id, action } => {
                    asked.push(match action {
                        TimerAction::Start(span) => Asked::Timer(*timer_id, span.as_secs()),
                        _ => Asked::NoTimer(*timer_id),
                    });
                    result = if self.timers_ok { 0 } else { 0x30 };
                }
                ProactiveCommand::SetUpMenu { .. } => {}
                other => panic!("{other:?}"),
            }
            let response = TerminalResponse::to(1, &command, result);
            self.applet.terminal_response(&mut self.files, &response);
        }
        asked
    }

    pub fn menu(&mut self, item: u8) -> Vec<Asked> {
        self.applet.menu_selected(&mut self.files, item);
        self.run()
    }

    pub fn status(&mut self) -> Vec<Asked> {
        self.applet.status(&mut self.files);
        self.run()
    }

    pub fn statuses(&mut self, count: usize) -> Vec<Asked> {
        (0..count).flat_map(|_| self.status()).collect()
    }

    pub fn timer(&mut self, timer_id: u8) -> Vec<Asked> {
        self.applet.timer_expired(&mut self.files, timer_id);
        self.run()
    }

    pub fn receive(&mut self, payload: &[u8]) -> Vec<Asked> {
        self.applet.sms_pp_download(&mut self.files, &deliver_from(CENTRE, payload));
        self.run()
    }

    pub fn resume(&mut self, ranges: &[(u8, u8)]) -> Vec<Asked> {
        let session = self.session();
        let missing = ranges.iter().map(|&(first, last)| BlockRange { first, last }).collect();
        let message = Message::Resume { session: session.number, total: session.total(), missing };
        self.receive(&message.encode())
    }

    pub fn end(&mut self) -> Vec<Asked> {
        let session = self.session();
        let message = Message::Final { session: session.number, total: session.total(), result: 0 };
        self.receive(&message.encode())
    }

    pub fn power_cycle(&mut self) -> Vec<Asked> {
        // A phone that is switched off has not answered.
        self.applet.reset(&mut self.files);
        self.run()
    }

    pub fn edit(&mut self, record: u8, octets: &[u8]) -> Vec<Asked> {
        self.files.write(EF_ADN, record, 0, octets).unwrap();
        self.applet.file_updated(&mut self.files, EF_ADN, record);
        self.run()
    }

    pub fn session(&self) -> mobile::applet::asynchronous::Session {
        self.applet.eeprom().asynchronous.session.clone().expect("a session")
    }

    pub fn is_over(&self) -> bool {
        self.applet.eeprom().asynchronous.session.is_none() && !self.applet.pending()
    }
}

pub fn settings(variant: Variant, delay_seconds: u16) -> Settings {
    Settings { variant, delay_seconds, ..Settings::default() }
}

fn complete() -> Asked {
    Asked::Text("Backup complete".to_owned())
}

/// Covers: AS-BL-01, AS-BL-02, AS-BL-03, AS-V1-01
#[test]
fn ten_entries_leave_in_four_messages_each_when_the_centre_asks() {
    let mut bench = Bench::with(10, settings(Variant::ServerCountdown, 0));
    assert_eq!(bench.menu(MENU_BACKUP_ASYNCHRONOUS), []);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3)]);
    let vector = [hex("A1 07 0A 01 03 00 00 00 1D 01"), bob(), hex("1D 02"), home(), hex("1D 03"), office()];
    assert_eq!(bench.sent[0], vector.concat());
    assert_eq!(bench.statuses(24), [], "two minutes: the phone is the user's");
    assert_eq!(bench.resume(&[(4, 10)]), [Asked::Blocks(4, 3)]);
    assert_eq!(bench.statuses(24), []);
    assert_eq!(bench.resume(&[(7, 10)]), [Asked::Blocks(7, 3)]);
    assert_eq!(bench.resume(&[(10, 10)]), [Asked::Blocks(10, 1)]);
    assert_eq!(bench.statuses(24), []);
    assert_eq!(bench.end(), [complete()]);
    assert!(bench.is_over());
    assert_eq!(bench.sent.len(), 4);
}

#[test]
fn what_the_centre_names_is_sent_and_nothing_else() {
    let mut bench = Bench::with(10, settings(Variant::ServerCountdown, 0));
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    bench.status();
    assert_eq!(bench.resume(&[(4, 6), (9, 9)]), [Asked::Blocks(4, 3)]);
    assert_eq!(bench.resume(&[(9, 9)]), [Asked::Blocks(9, 1)]);
    // Another session's, another total's, a message that is none.
    for strange in ["A2 06 0A 01 01 0A", "A2 07 0B 01 01 0A", "A3 06 0A 00", "A3 07 0B 00"] {
        assert_eq!(bench.receive(&hex(strange)), []);
    }
    assert_eq!(bench.session().phase, Phase::Pausing);
    assert_eq!(bench.others, [] as [Vec<u8>; 0]);
    bench.receive(&hex("A2 07"));
    assert_eq!(bench.others, [hex("48 00 00 00 00 00 02 0B")]);
}

/// Covers: AS-V2-01, AS-V2-03, AS-V2-06, AS-DV-02
#[test]
fn with_the_phones_timer_four_messages_and_three_timers() {
    let mut bench = Bench::with(10, settings(Variant::MobileTimer, 90));
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    let timer = Asked::Timer(TIMER_PAUSE, 90);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3), timer.clone()]);
    assert_eq!(bench.sent[0][5..8], [1, 0, 90], "the centre is told");
    assert_eq!(bench.statuses(18), [], "STATUS wakes nobody");
    assert_eq!(bench.timer(TIMER_PAUSE), [Asked::Blocks(4, 3), timer.clone()]);
    assert_eq!(bench.timer(TIMER_PAUSE), [Asked::Blocks(7, 3), timer]);
    assert_eq!(bench.timer(TIMER_PAUSE), [Asked::Blocks(10, 1)], "no pause follows the last");
    assert_eq!(bench.end(), [complete()]);
    assert!(bench.is_over());
    // The card decides the delay: it is configured there, in seconds.
    assert_eq!(bench.receive(&hex("30 0D 01 02 00 1E")), [Asked::Poll(1)]);
    bench.statuses(2);
    let configured = bench.applet.eeprom().configuration.asynchronous;
    assert_eq!((configured.variant, configured.blocks_per_message), (Variant::MobileTimer, 2));
    assert_eq!(configured.delay_seconds, 30);
}

/// Covers: AS-V3-01, AS-V3-02
#[test]
fn with_status_the_poll_interval_is_the_pause_and_no_timer_is_used() {
    let mut bench = Bench::with(10, settings(Variant::Status, 200));
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    assert_eq!(bench.status(), [Asked::Poll(200), Asked::Blocks(1, 3)]);
    assert_eq!(bench.status(), [Asked::Poll(200), Asked::Blocks(4, 3)]);
    // Switched off and on: the phone's first STATUS goes on as well.
    assert_eq!(bench.power_cycle(), [Asked::Poll(5)]);
    assert_eq!(bench.status(), [Asked::Poll(200), Asked::Blocks(7, 3)]);
    assert_eq!(bench.status(), [Asked::Poll(5), Asked::Blocks(10, 1)]);
    assert_eq!(bench.status(), []);
    assert_eq!(bench.end(), [Asked::Poll(5), complete()]);
    assert!(bench.is_over());
    // Above 255 s the interval is said in whole minutes (D-82).
    let asked = ProactiveCommand::PollInterval(Duration::from_secs(600)).encode(1);
    assert_eq!(asked[asked.len() - 4..], [0x84, 2, 0, 10]);
    let asked = ProactiveCommand::PollInterval(Duration::from_secs(255)).encode(1);
    assert_eq!(asked[asked.len() - 4..], [0x84, 2, 1, 255]);
}

#[test]
fn a_phone_without_timers_is_woken_by_status() {
    let mut bench = Bench::with(10, settings(Variant::MobileTimer, 90));
    bench.timers_ok = false;
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3), Asked::Timer(TIMER_PAUSE, 90), Asked::Poll(90)]);
    assert_eq!(bench.status(), [Asked::Poll(90), Asked::Blocks(4, 3)]);
}

/// Covers: AS-MD-01
#[test]
fn both_modes_run_from_the_menu() {
    let mut bench = Bench::with(10, Settings::default());
    bench.menu(MENU_BACKUP_NORMAL);
    let all = [Asked::Blocks(1, 3), Asked::Blocks(4, 3), Asked::Blocks(7, 3), Asked::Blocks(10, 1)];
    assert_eq!(bench.status(), all, "one after the other");
    assert!(bench.sent.iter().all(|message| message[5] == 3), "and the centre is told so");
    assert_eq!(bench.end(), [complete()]);
    let mut bench = Bench::with(10, Settings::default());
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3)]);
    assert_eq!(bench.statuses(24), []);
}

/// Covers: AS-MD-03
#[test]
fn above_the_threshold_the_card_chooses_the_asynchronous_mode() {
    for (entries, flags) in [(51, 3), (52, 0)] {
        let mut bench = Bench::with(entries, settings(Variant::ServerCountdown, 0));
        bench.menu(MENU_BACKUP);
        bench.status();
        assert_eq!(bench.sent[0][5], flags, "{entries} entries");
    }
}

/// Covers: AS-MD-05, AS-MD-06
#[test]
fn the_user_is_asked_with_both_estimates_and_may_refuse_both() {
    let text = |mode: &str| Asked::Text(format!("Backup of 10: normal 11.8 s, asynchronous 371.8 s. {mode} now?"));
    let (agrees, goes_back) = (0x00, 0x11);
    let mut bench = Bench::with(10, settings(Variant::ServerCountdown, 0));
    bench.results = vec![goes_back, goes_back];
    assert_eq!(bench.menu(MENU_BACKUP_ASK), [text("Normal"), text("Asynchronous")]);
    assert_eq!(bench.statuses(50), [], "no backup now");
    assert!(bench.is_over());
    bench.results = vec![goes_back, agrees];
    let asked = bench.menu(MENU_BACKUP_ASK);
    assert_eq!(asked, [text("Normal"), text("Asynchronous"), Asked::Blocks(1, 3)]);
    assert_eq!(bench.sent[0][5], 0);
    let mut bench = Bench::with(10, settings(Variant::ServerCountdown, 0));
    bench.results = vec![agrees];
    let asked = bench.menu(MENU_BACKUP_ASK);
    assert_eq!((asked.len(), &asked[0], bench.sent[0][5]), (5, &text("Normal"), 3));
}

/// Covers: AS-GN-06
#[test]
fn a_second_backup_sends_only_what_changed() {
    let mut bench = Bench::with(10, settings(Variant::ServerCountdown, 0));
    bench.menu(MENU_BACKUP_NORMAL);
    bench.status();
    bench.end();
    let before = bench.sent.len();
    let mut changed = office();
    changed[0] = b'X';
    assert_eq!(bench.edit(5, &changed), []);
    assert_eq!(bench.statuses(20), [], "it waits for the next backup");
    bench.menu(MENU_BACKUP);
    assert_eq!(bench.status(), [Asked::Blocks(1, 1)]);
    assert_eq!(bench.sent[before], [hex("A1 08 01 01 01 03 00 00 1D 05"), changed].concat());
    bench.end();
    assert_eq!(bench.menu(MENU_BACKUP), []);
    assert_eq!(bench.menu(MENU_BACKUP_NORMAL), [Asked::Text("Nothing to back up".to_owned())]);
    // A deletion is a change too.
    bench.edit(5, &[0xFF; 28]);
    bench.menu(MENU_BACKUP);
    assert_eq!(bench.status(), [Asked::Blocks(1, 1)]);
    assert_eq!(bench.sent.last().map(|message| message[9..].to_vec()), Some([vec![5], vec![0xFF; 28]].concat()));
}

/// Covers: AS-GN-05
#[test]
fn backups_begin_at_regular_intervals() {
    let mut bench = Bench::with(4, settings(Variant::ServerCountdown, 0));
    // Every 6 hours, by CID 0D.
    let asked = bench.receive(&hex("30 0D 60 03 00 00"));
    assert_eq!(asked, [Asked::Poll(1)]);
    assert!(bench.statuses(2).contains(&Asked::Timer(TIMER_BACKUP, 6 * 3600)));
    bench.statuses(10);
    let all = [Asked::Timer(TIMER_BACKUP, 6 * 3600), Asked::Blocks(1, 3), Asked::Blocks(4, 1)];
    assert_eq!(bench.timer(TIMER_BACKUP), all, "few entries: normal mode");
    bench.end();
    assert_eq!(bench.timer(TIMER_BACKUP), [Asked::Timer(TIMER_BACKUP, 6 * 3600)], "nothing changed");
    assert!(bench.power_cycle().contains(&Asked::Timer(TIMER_BACKUP, 6 * 3600)), "set again after a reset");
    bench.receive(&hex("30 0D 00 03 00 00"));
    assert!(bench.statuses(2).contains(&Asked::NoTimer(TIMER_BACKUP)));
}

/// Covers: AS-GN-07
#[test]
fn a_power_cycle_at_any_point_loses_nothing() {
    for variant in [Variant::ServerCountdown, Variant::MobileTimer, Variant::Status, Variant::Normal] {
        for cut in 0..12 {
            let mut bench = Bench::with(10, settings(variant, 60));
            let item = if variant == Variant::Normal { MENU_BACKUP_NORMAL } else { MENU_BACKUP_ASYNCHRONOUS };
            bench.menu(item);
            let mut centre = crate::asynchronous_centre::Centre::default();
            for step in 0..40 {
                if step == cut {
                    bench.power_cycle();
                }
                match step % 3 {
                    0 => bench.status(),
                    1 => bench.timer(TIMER_PAUSE),
                    _ => vec![],
                };
                for answer in centre.take(&mut bench.sent, step % 3 == 2) {
                    bench.receive(&answer);
                }
            }
            assert!(bench.is_over(), "{variant:?}, cut at {cut}: {:?}", bench.session());
            assert_eq!((centre.blocks.len(), centre.ends), (10, 1), "{variant:?}, cut at {cut}");
        }
    }
}

#[test]
fn a_message_that_did_not_leave_is_tried_again() {
    let mut bench = Bench::with(4, settings(Variant::MobileTimer, 60));
    bench.network_ok = false;
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3)]);
    assert_eq!(bench.timer(TIMER_PAUSE), []);
    bench.network_ok = true;
    let again = bench.statuses(6);
    assert_eq!(again, [Asked::Blocks(1, 3), Asked::Timer(TIMER_PAUSE, 60)]);
}

#[test]
fn a_silent_centre_gets_the_last_blocks_again_three_times() {
    let mut bench = Bench::with(4, settings(Variant::ServerCountdown, 60));
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    // 4 pauses and 120 s, at 5 s each.
    let asked = bench.statuses(72);
    assert_eq!(asked, [Asked::Blocks(1, 3)]);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3)]);
    assert_eq!(bench.statuses(1000).len(), 2);
    assert_eq!(bench.statuses(1000), [], "then it waits");
    assert_eq!(bench.resume(&[(4, 4)]), [Asked::Blocks(4, 1)], "and is resumed whenever the centre comes");
    bench.end();
    assert!(bench.is_over());
}

#[test]
fn a_new_backup_takes_over_what_the_one_before_did_not_end() {
    let mut bench = Bench::with(4, settings(Variant::ServerCountdown, 60));
    bench.menu(MENU_BACKUP_ASYNCHRONOUS);
    bench.status();
    bench.edit(9, &bob());
    bench.menu(MENU_BACKUP_NORMAL);
    assert_eq!(bench.status(), [Asked::Blocks(1, 3), Asked::Blocks(4, 2)]);
    assert_eq!((bench.session().number, bench.session().total()), (8, 5));
}

#[test]
fn more_records_than_blocks_make_a_second_session() {
    let mut bench = Bench::with(254, settings(Variant::ServerCountdown, 60));
    for number in 1..=4 {
        bench.files.write(EF_EXT1, number, 0, &[0x02; 13]).unwrap();
    }
    bench.menu(MENU_BACKUP_NORMAL);
    let asked = bench.status();
    assert_eq!((bench.session().total(), asked.len()), (255, 85));
    assert_eq!(
        bench.sent.last().map(|message| message[message.len() - 20..message.len() - 13].to_vec()),
        Some(vec![19, 0, 0x7F, 0x10, 0x6F, 0x4A, 1]),
        "the file is said when it is not EF_ADN"
    );
    bench.end();
    bench.status();
    assert_eq!(bench.session().total(), 3);
}

#[test]
fn modes_that_are_none_are_refused() {
    let mut bench = Bench::with(1, Settings::default());
    for refused in ["30 0D 04 03 00 00", "30 0D 08 03 00 00", "30 0D 00 00 00 00"] {
        bench.receive(&hex(refused));
        bench.applet.status(&mut bench.files);
        assert_eq!(bench.applet.eeprom().configuration.asynchronous, Settings::default());
    }
}
