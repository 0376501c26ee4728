//! From the keyboard to the centre and back, on both bearers and for other files than the phonebook.

use bytes::Bytes;
use mobile::{
    Bearer, Input,
    applet::{
        BackupApplet, MENU_RESTORE, default_monitor_table,
        memory::{Configuration, Event},
    },
};
use uicc::{
    apdu::{command, split},
    applet::Applet,
    card::Card,
    files::{EF_ADN, EF_SMSP, FileSystem, MF, Path},
    proactive::{ProactiveCommand, TerminalResponse},
};

use crate::{
    rig::{CENTRE, Rig, bob, deliver_from, hex, home, message},
    world::{Act, World},
};

const BOTH: [Bearer; 2] = [Bearer::Sms, Bearer::Ip];

/// Covers: G-02
#[test]
fn an_edit_reaches_the_centre_by_itself() {
    for bearer in BOTH {
        let mut world = World::new(bearer, vec![]);
        assert!(world.station.update_record(EF_ADN, 3, &bob()));
        world.come_to_rest(true);
        assert_eq!(world.centre.book.clone().into_iter().collect::<Vec<_>>(), [((0, 3), bob())]);
    }
}

/// Covers: G-03
#[test]
fn another_file_is_backed_up_and_restored_unchanged() {
    let parameters = hex("534D5343 E1 FFFFFFFFFFFFFFFFFFFFFFFF 0891945197109099F9 FF 00");
    assert_eq!(parameters.len(), 28);
    for bearer in BOTH {
        let mut world = World::new(bearer, vec![]);
        world.centre.out.push(hex("30 06 02 7F10 6F42 00 01 0000 1C"));
        world.come_to_rest(false);
        world.centre.monitor = world.station.eeprom().monitor.clone();
        assert!(world.station.update_record(EF_SMSP, 1, &parameters));
        world.come_to_rest(true);
        assert_eq!(world.centre.book.get(&(2, 1)), Some(&parameters));
        world.station.update_record(EF_SMSP, 1, &[0xFF; 28]);
        world.come_to_rest(true);
        world.centre.book.insert((2, 1), parameters.clone());
        world.centre.restore([(2, 1)]);
        world.come_to_rest(false);
        assert_eq!(world.station.read_record(EF_SMSP, 1), Some(parameters.clone()));
    }
}

/// Covers: G-04, G-07
#[test]
fn a_hundred_entries_there_and_back_on_both_bearers() {
    for bearer in BOTH {
        let mut world = World::with_records(bearer, 100);
        (1..=100).for_each(|record| world.edit(record, record));
        world.come_to_rest(true);
        world.assert_equal();
        assert_eq!(world.centre.book.len(), 100);
        assert!(world.centre.backups.len() > 1);
        assert!(bearer == Bearer::Ip || world.centre.backups.iter().all(|each| each.len() <= 140));

        let book = world.centre.book.clone();
        let mut other = World::with_records(bearer, 100);
        other.centre.book = book.clone();
        other.centre.limit = if bearer == Bearer::Sms { link::SMS_OCTETS } else { link::ip::PAYLOAD_OCTETS_MAX };
        other.centre.restore(book.keys().copied());
        other.come_to_rest(false);
        assert_eq!(other.card(), book.into_iter().collect::<Vec<_>>());
        assert!(other.centre.backups.is_empty(), "no echo");
    }
}

/// Covers: S2-RR-01
#[test]
fn the_menu_brings_the_book_back() {
    for bearer in BOTH {
        let mut world = World::new(bearer, vec![]).with_book((1..=5).map(|record| (record, [record; 28])));
        world.station.handle_input(Input::MenuSelection(MENU_RESTORE), world.now());
        world.come_to_rest(false);
        assert_eq!(world.card().len(), 5);
    }
}

/// Covers: S2-ER-01
#[test]
fn errors_reach_the_centre_before_other_tasks() {
    let mut world = World::new(Bearer::Sms, vec![]);
    world.centre.out.push(hex("81 01 01"));
    world.centre.out.push(message(&[&[0x18, 0, 1], &bob(), &[0, 200], &home()]));
    world.come_to_rest(false);
    let told: Vec<_> = world.centre.errors.iter().map(|error| (error.ef, error.record_number, error.reason)).collect();
    assert_eq!(told, [(0, 0, 0x0C), (0x6F3A, 200, 0x04)]);

    // A transmission that failed for good.
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(300);
    assert_eq!(rig.sent.last(), Some(&hex("48 7F10 6F3A 01 0100")));
}

/// Covers: S2-CF-03
#[test]
fn the_next_message_follows_channel_and_addresses() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!((rig.sent.len(), rig.station.centre_ip()), (1, None));
    rig.receive(&hex("30 02 07 91 44 77 00 99 99 99 FF FF FF FF 03 04 7F000001 000000000000000000000000 1F90"));
    rig.polls(2);
    assert_eq!(rig.station.centre_ip(), None, "the acknowledgement still goes where the message came from");
    rig.polls(1);
    assert_eq!(rig.sent.last(), Some(&hex("38 0200 0300")));
    rig.centre = "447700999999".to_owned();
    rig.edit(2, &home());
    rig.polls(5);
    assert_eq!(rig.sent.len(), 3, "to the new number, which the rig checks");
    rig.receive(&hex("30 04 01"));
    rig.polls(4);
    rig.edit(3, &bob());
    rig.polls(5);
    assert_eq!((rig.sent.len(), rig.sent_on_ip.len()), (4, 1));
    assert_eq!(rig.station.centre_ip(), Some("127.0.0.1:8080".parse().unwrap()));
}

/// Covers: S2-AK-01
#[test]
fn the_transport_is_stripped_and_processing_starts() {
    let restore = message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home()]);
    let tpdu = deliver_from(CENTRE, &restore);
    assert!(tpdu.len() > restore.len() + 15);
    for input in [Input::SmsDeliver(tpdu), Input::IpPayload(Bytes::from(restore.clone()))] {
        let mut rig = Rig::new();
        rig.input(input.clone());
        assert!(rig.station.eeprom().job.is_some(), "taken from the inbound buffer at once");
        rig.input(input);
        assert!(rig.station.eeprom().inbound.is_empty(), "the first was done within these two status events");
        rig.input(Input::IpPayload(Bytes::from(restore.clone())));
        assert_eq!(rig.station.eeprom().inbound, [Bytes::from(restore.clone())], "waits, without its transport");
        rig.polls(20);
        assert_eq!(rig.station.contacts().len(), 2);
    }
}

/// The compact types are off by default and not coded (D-08): for this card they are other types.
///
/// Covers: S2-AK-02
#[test]
fn the_type_decides() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.receive(&[0x10, 0, 1, 0]);
    assert!(!rig.station.pending(), "backup acknowledgement");
    rig.sent.clear();
    let done: [(Vec<u8>, &str); 9] = [
        (message(&[&[0x18, 0, 2], &home()]), "20 7F106F3A 02 0000"),
        (message(&[&hex("28 7F10 6F3A 03 0000 1C"), &home()]), "20 7F106F3A 03 0000"),
        (hex("30 0C06"), "38 0C00"),
        (message(&[&[0x0A, 0, 1], &bob(), &[0, 0]]), "48 0000 0000 00 020C"),
        (hex("20 7F106F3A 02 0000"), "48 0000 0000 00 020C"),
        (hex("38 0C00"), "48 0000 0000 00 020C"),
        (hex("40"), "48 0000 0000 00 020C"),
        (hex("58 00"), "48 0000 0000 00 020C"),
        (hex("81 01 01"), "48 0000 0000 00 020C"),
    ];
    for (received, answer) in done {
        rig.receive(&received);
        rig.polls(12);
        assert_eq!(rig.sent, [hex(answer)], "{received:02X?}");
        rig.sent.clear();
    }
    rig.receive(&hex("48 0000 0000 00 02 09"));
    rig.polls(50);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.station.statistics().errors_received, 1);
}

/// An applet whose card can be listened to.
struct Traced {
    applet: BackupApplet,
    trace: Vec<String>,
}

impl Applet for Traced {
    fn file_updated(&mut self, files: &mut FileSystem, path: Path, record_number: u8) {
        let first = files.record(path, record_number).unwrap()[0];
        self.trace.push(format!("updated {:04X} {record_number}, it begins with {first:02X}", path.ef));
        self.applet.file_updated(files, path, record_number);
        self.trace.push(format!("events {:?}", self.applet.eeprom().events));
    }
    fn status(&mut self, files: &mut FileSystem) {
        self.applet.status(files);
    }
    fn sms_pp_download(&mut self, files: &mut FileSystem, tpdu: &[u8]) {
        self.applet.sms_pp_download(files, tpdu);
    }
    fn timer_expired(&mut self, files: &mut FileSystem, timer_id: u8) {
        self.applet.timer_expired(files, timer_id);
    }
    fn menu_selected(&mut self, files: &mut FileSystem, item_id: u8) {
        self.applet.menu_selected(files, item_id);
    }
    fn next_command(&mut self, files: &mut FileSystem) -> Option<ProactiveCommand> {
        self.applet.next_command(files)
    }
    fn terminal_response(&mut self, files: &mut FileSystem, response: &TerminalResponse) {
        self.applet.terminal_response(files, response);
    }
    fn ip_received(&mut self, files: &mut FileSystem, payload: &[u8]) {
        self.applet.ip_received(files, payload);
    }
    fn next_ip_payload(&mut self) -> Option<Bytes> {
        self.applet.next_ip_payload()
    }
    fn reset(&mut self, files: &mut FileSystem) {
        self.applet.reset(files);
    }
}

fn success<A: Applet>(card: &mut Card<A>, apdu: &[u8]) {
    let response = card.transmit(apdu);
    assert!(split(&response).unwrap().1.is_success(), "{apdu:02X?}: {response:02X?}");
}

const CHV1: [u8; 8] = *b"1234\xFF\xFF\xFF\xFF";

/// Covers: S2-BK-01, S2-BK-02
#[test]
fn the_event_is_raised_in_the_exchange_of_the_update() {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 10);
    let applet = BackupApplet::new(Configuration::default(), default_monitor_table(&files));
    let mut card = Card::new(files, CHV1, Traced { applet, trace: vec![] });
    success(&mut card, &command::verify_chv1(&CHV1));
    for file in [MF, EF_ADN.df, EF_ADN.ef] {
        success(&mut card, &command::select(file));
    }
    // Four records fill the message, so that the fifth is still to be seen in the event buffer.
    for number in 1..=5 {
        card.applet.trace.clear();
        success(&mut card, &command::update_record(number, &bob()));
        let events = &card.applet.applet.eeprom().events;
        let raised = card.applet.trace.first();
        assert_eq!(raised, Some(&format!("updated 6F3A {number}, it begins with 42")), "file first, then the event");
        assert!(number == 5 || card.applet.applet.eeprom().outbound.iter().any(|key| key.record_number == number));
        assert_eq!(card.applet.trace[1], format!("events {events:?}"));
    }
    let eeprom = card.applet.applet.eeprom();
    let [Event::Record { key, .. }] = eeprom.events.iter().copied().collect::<Vec<_>>()[..] else {
        panic!("{:?}", eeprom.events)
    };
    let row = eeprom.monitor.row(key.monitor_index).unwrap();
    assert_eq!((row.df, row.ef, key.record_number), (EF_ADN.df, EF_ADN.ef, 5));
}

/// Covers: S2-CF-05
#[test]
fn a_row_may_name_a_file_below_the_mf() {
    let path = Path { df: MF, ef: 0x2F10 };
    let mut files = FileSystem::new();
    files.add_linear(path, 6, 3);
    let configuration = Configuration { bearer: Bearer::Ip, ..Configuration::default() };
    let applet = BackupApplet::new(configuration, link::monitor::MonitorTable::default());
    let mut card = Card::new(files, CHV1, applet);
    success(&mut card, &command::verify_chv1(&CHV1));
    card.ip_received(&hex("30 06 00 3F00 2F10 00 03 0000 06"));
    (0..4).for_each(|_| success(&mut card, &command::status(22)));
    assert_eq!(card.next_ip_payload().as_deref(), Some(&hex("38 0600")[..]));
    for file in [MF, path.ef] {
        success(&mut card, &command::select(file));
    }
    success(&mut card, &command::update_record(2, b"backup"));
    (0..5).for_each(|_| success(&mut card, &command::status(22)));
    let backup = card.next_ip_payload().unwrap();
    assert_eq!(backup[..9], message(&[&[0x0A, 0, 2], b"backup"]));
    card.ip_received(&[0x10, 0, 2, 0]);
    card.ip_received(&message(&[&[0x18, 0, 3], b"return"]));
    assert_eq!(card.files().record(path, 3), Ok(&b"return"[..]));
    (0..9).for_each(|_| success(&mut card, &command::status(22)));
    assert_eq!(card.next_ip_payload().as_deref(), Some(&hex("20 3F002F10 03 0000")[..]));
    assert!(card.next_ip_payload().is_none());
}

#[test]
fn service_off_and_on_again_leaves_both_equal() {
    let mut world = World::new(Bearer::Ip, vec![]);
    world.edit(1, 1);
    world.edit(2, 2);
    world.come_to_rest(true);
    world.act(&Act::Service(0));
    world.act(&Act::Polls(5));
    world.edit(1, 0);
    world.edit(3, 3);
    world.come_to_rest(true);
    world.assert_equal();
}
