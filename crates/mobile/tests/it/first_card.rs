//! The card and the phone of the first embodiment as wholes: structure, managers, toolkit, polls, service state.

use std::time::Duration;

use link::checksum::crc16;
use mobile::{
    Contact, Input, Output, Profile, Station, StationConfig,
    applet::{
        CardApplet,
        first::{FirstApplet, Settings, Slot, memory::empty_checksum},
        install_message,
        memory::Route,
        third,
    },
};
use proptest::prelude::*;
use sms::{Address, DataCoding, Deliver, ProtocolId, Submit, TimeStamp, UserData, alphabet::gsm7};
use uicc::{
    apdu::{command, split},
    applet::Applet,
    card::Card,
    files::{EF_ADN, EF_ICCID, EF_SMS, FileSystem, MF},
    proactive::{ProactiveCommand, TerminalResponse},
};

use crate::{
    first_centre::{
        Centre, acknowledgement, applet, buffered, card, eeprom, entries, entry, first, flags, restore, slot,
    },
    rig::{CENTRE, Rig, bob, deliver_to_store, hex, home, office},
};

fn route() -> Route {
    let centre_isdn = link::configuration::IsdnAddress::new(0x91, CENTRE);
    Route { bearer: mobile::Bearer::Sms, centre_isdn, centre_ip: None }
}

/// An edit at the keyboard and a short message through all parts of the phone.
///
/// Covers: S1-ST-01
#[test]
fn the_phone_has_its_parts() {
    let settings = Settings { shows_restores: true, ..Settings::default() };
    let mut rig = first(settings, StationConfig { adn_records: 10, ..StationConfig::default() });
    // Keyboard interface, SIM manager, copy in RAM.
    rig.station.write_contact(4, &Contact { name: "HOME".to_owned(), number: "02081999".to_owned() }).unwrap();
    assert_eq!(rig.station.read_record(EF_ADN, 4).unwrap(), home(), "on the SIM");
    assert_eq!(rig.station.copy_of(EF_ADN)[3], home(), "and in the phone");
    // Clock and polls, SMS assembly unit, radio manager.
    let due = rig.station.next_timeout().unwrap();
    assert_eq!(due, Duration::from_secs(5));
    while rig.sent.is_empty() {
        rig.now = rig.station.next_timeout().unwrap();
        rig.station.handle_input(Input::Tick, rig.now);
        while let Some(output) = rig.station.poll_output() {
            let Output::SmsSubmit { reference, tpdu } = output else { panic!("{output:?}") };
            // The nine fields of Table 1.
            let submit = Submit::decode(&tpdu).unwrap();
            assert_eq!((submit.message_reference, submit.destination.digits()), (reference, CENTRE));
            assert!(!submit.reject_duplicates && !submit.reply_path && submit.validity_period.is_some());
            assert_eq!((submit.protocol_id, submit.data_coding.is_binary()), (ProtocolId(0), true));
            rig.sent.push(submit.user_data.body().to_vec());
        }
    }
    assert_eq!(entries(&rig.sent[0]), [(4, home().try_into().unwrap())]);
    let reference = 1;
    rig.input(Input::SmsSubmitResult { reference, ok: true });
    assert_eq!(rig.station.statistics().sms_sent, 1);
    // SMS reception unit, copy of the incoming messages.
    rig.input(Input::SmsDeliver({
        let mut stranger = deliver_to_store(&[0x05]);
        stranger[3] ^= 0x10;
        stranger
    }));
    let stored = rig.station.read_record(EF_SMS, 1).unwrap();
    assert_eq!((stored[0], rig.station.copy_of(EF_SMS)), (0x03, vec![stored]));
    // Display control.
    rig.receive_stored(&restore(&[(1, entry(1, 1))]));
    assert_eq!(rig.displayed, ["Restore successful"]);
}

/// Covers: S1-ST-02
#[test]
fn text_is_displayed_and_service_messages_go_to_the_card() {
    let text = Deliver {
        more_messages: false,
        loop_prevention: false,
        reply_path: false,
        status_report_indication: false,
        originator: Address::international("447700900123").unwrap(),
        protocol_id: ProtocolId(0),
        data_coding: DataCoding(0xF1),
        time_stamp: TimeStamp([0x62, 0x11, 0x12, 0x31, 0x82, 0x62, 0]),
        user_data: UserData::new(None, gsm7::encode("See you at 8").unwrap(), sms::Alphabet::Gsm7).unwrap(),
    };
    let mut rig = card(10);
    rig.input(Input::SmsDeliver(text.encode()));
    assert_eq!(rig.displayed, ["See you at 8"], "class 1");
    assert_eq!(rig.station.statistics().sms_stored, 0);
    assert_eq!(slot(&rig), Slot::Nothing);
    rig.receive_stored(&restore(&[(1, entry(1, 1))]));
    assert_eq!((rig.station.statistics().sms_stored, slot(&rig)), (1, Slot::Message), "class 2");
    assert_eq!(rig.station.contacts().len(), 1);
    assert_eq!(rig.displayed.len(), 1);
    // Other codings and no class: shown too.
    for (data_coding, body) in [(0x00, gsm7::encode("Hi").unwrap()), (0x08, vec![0x00, b'H', 0x00, b'i'])] {
        let alphabet = DataCoding(data_coding).alphabet();
        let user_data = UserData::new(None, body, alphabet).unwrap();
        let deliver = Deliver { data_coding: DataCoding(data_coding), user_data, ..text.clone() };
        rig.input(Input::SmsDeliver(deliver.encode()));
        assert_eq!(rig.displayed.pop().unwrap(), "Hi");
    }
}

/// Somebody else's message stays in EF_SMS, and changes nothing.
#[test]
fn a_stranger_is_not_heard() {
    let mut rig = card(10);
    rig.edit(1, &bob());
    let mut tpdu = deliver_to_store(&[0x05]);
    tpdu[3] ^= 0x10;
    rig.input(Input::SmsDeliver(tpdu));
    assert!(eeprom(&rig).service_on);
    assert_eq!(rig.station.read_record(EF_SMS, 1).unwrap()[0], 0x03);
}

/// Covers: S1-ST-03
#[test]
fn without_the_pin_there_is_no_entry_and_no_backup() {
    let mut rig = card(10);
    rig.edit(1, &bob());
    rig.input(Input::PowerOff);
    rig.input(Input::EnterChv1(*b"9999\xFF\xFF\xFF\xFF"));
    rig.input(Input::PowerOn);
    assert_eq!(rig.station.read_record(EF_ADN, 1), None);
    assert!(!rig.station.update_record(EF_ADN, 1, &home()));
    assert_eq!(rig.station.next_timeout(), None, "no polls");
    rig.now += Duration::from_secs(3600);
    rig.input(Input::Tick);
    rig.receive_stored(&restore(&[(2, entry(2, 1))]));
    assert!(rig.sent.is_empty() && rig.station.copy_of(EF_ADN).is_empty());
    rig.input(Input::PowerOff);
    rig.input(Input::EnterChv1(*b"1234\xFF\xFF\xFF\xFF"));
    rig.input(Input::PowerOn);
    assert_eq!(rig.station.read_record(EF_ADN, 1).unwrap(), bob());
    let mut centre = Centre::default();
    centre.polls(&mut rig, 40);
    assert_eq!(centre.book.len(), 1);

    // Files through the file manager; the SMSTPDU buffer and EF_SMS are in the same EEPROM.
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 10);
    files.add_linear(EF_SMS, 176, 20);
    files.add_transparent(EF_ICCID, vec![0x98; 10]);
    files.set_record(EF_ADN, 1, &bob()).unwrap();
    let chv1 = *b"1234\xFF\xFF\xFF\xFF";
    let applet = FirstApplet::new(Settings::default(), true, route(), &files);
    let mut card = Card::new(files, chv1, applet);
    let mut send = |apdu: Vec<u8>| {
        let response = card.transmit(&apdu);
        let (data, word) = split(&response).unwrap();
        (data.to_vec(), word)
    };
    for file in [MF, EF_ICCID.ef] {
        assert!(send(command::select(file)).1.is_success());
    }
    assert_eq!(send(command::read_binary(0, 10)).0, [0x98; 10]);
    for file in [MF, EF_ADN.df, EF_ADN.ef] {
        assert!(send(command::select(file)).1.is_success());
    }
    assert_eq!(send(command::verify_chv1(b"9999\xFF\xFF\xFF\xFF")).1.0, 0x9804);
    assert_eq!(send(command::read_record(1, 28)).1.0, 0x9804);
    assert!(send(command::verify_chv1(&chv1)).1.is_success());
    assert_eq!(send(command::read_record(1, 28)).0, bob());
}

/// Vector 1, and the sizes that the source names.
///
/// Covers: S1-ST-04
#[test]
fn entries_are_coded_as_in_figure_4() {
    let contact = |name: &str, number: &str| Contact { name: name.to_owned(), number: number.to_owned() };
    let rows = [
        (contact("BOB", "+001123456"), bob(), 0xD1D2),
        (contact("HOME", "02081999"), home(), 0xE4BA),
        (contact("OFFICE", "02072003"), office(), 0xD7C7),
    ];
    let mut rig = card(200);
    for (number, (contact, octets, checksum)) in (1..).zip(rows.clone()) {
        rig.station.write_contact(number, &contact).unwrap();
        assert_eq!(rig.station.read_record(EF_ADN, number).unwrap(), octets);
        assert_eq!(crc16(&octets), checksum);
    }
    let read: Vec<Contact> = rig.station.contacts().into_iter().map(|(_, contact)| contact).collect();
    assert_eq!(read, rows.map(|(contact, ..)| contact));
    // Entries of 30 octets, and of up to 254.
    for alpha_octets in [16, 240] {
        let mut station = Station::new(StationConfig { alpha_octets, ..StationConfig::default() });
        station.write_contact(30, &contact("HOME", "02081999")).unwrap();
        let octets = station.read_record(EF_ADN, 30).unwrap();
        assert_eq!(octets.len(), usize::from(alpha_octets) + 14);
        assert_eq!(octets[usize::from(alpha_octets)..], home()[14..]);
    }
    // The first embodiment has entries of 28 (D-25).
    let mut rig = first(Settings::default(), StationConfig { alpha_octets: 16, ..StationConfig::default() });
    assert_eq!(rig.station.read_record(EF_ADN, 1).unwrap().len(), 28);
}

/// Covers: S1-ST-05
#[test]
fn the_applet_is_installed_over_the_air() {
    for profile in [Profile::First(Settings::default()), Profile::Second, Profile::Third(third::Settings::default())] {
        let config = StationConfig { profile: profile.clone(), applet_installed: false, ..StationConfig::default() };
        let mut rig = Rig::with(config);
        assert!(matches!(rig.station.applet(), CardApplet::Absent { .. }));
        rig.edit(1, &bob());
        rig.polls(50);
        rig.receive(&restore(&[(2, entry(2, 1))]));
        assert!(rig.sent.is_empty() && rig.station.contacts().len() == 1 && !rig.station.pending());
        // Not the applet that this card holds.
        rig.receive(&install_message(&match profile {
            Profile::Second => Profile::First(Settings::default()),
            _ => Profile::Second,
        }));
        assert!(matches!(rig.station.applet(), CardApplet::Absent { .. }));
        rig.receive(&install_message(&profile));
        assert!(!matches!(rig.station.applet(), CardApplet::Absent { .. }));
        rig.polls(120);
        let told = |rig: &Rig, name: &[u8]| rig.sent.iter().any(|sent| sent.windows(name.len()).any(|at| at == name));
        assert!(told(&rig, b"BOB"), "what was there before, {profile:?}");
        rig.edit(2, &home());
        rig.polls(220);
        assert!(told(&rig, b"HOME"), "{profile:?}");
    }
    // Said again to a card that has one: refused like any other message.
    let mut rig = card(10);
    rig.receive(&install_message(&Profile::First(Settings::default())));
    assert_eq!(rig.sent, [hex("07 80 0C")]);
}

/// All that the applet wants now, each answered.
fn commands(applet: &mut FirstApplet, files: &mut FileSystem) -> Vec<ProactiveCommand> {
    let mut seen = Vec::new();
    while let Some(command) = applet.next_command(files) {
        applet.terminal_response(files, &TerminalResponse::to(1, &command, 0x00));
        seen.push(command);
    }
    seen
}

/// Covers: S1-ST-06
#[test]
fn a_backup_needs_two_commands() {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 10);
    files.add_linear(EF_SMS, 176, 20);
    files.set_record(EF_ADN, 1, &bob()).unwrap();
    let settings = Settings { poll_seconds: 2, shows_restores: true, ..Settings::default() };
    let mut applet = FirstApplet::new(settings, true, route(), &files);
    let mut trace = commands(&mut applet, &mut files);
    for _ in 0..40 {
        applet.status(&mut files);
        trace.extend(commands(&mut applet, &mut files));
    }
    let [ProactiveCommand::PollInterval(interval), ProactiveCommand::SendShortMessage { tpdu, .. }] = &trace[..] else {
        panic!("{trace:?}")
    };
    assert_eq!(interval.as_secs(), 2);
    let submit = Submit::decode(tpdu).unwrap();
    assert_eq!((submit.destination.digits(), submit.user_data.body().len()), (CENTRE, 117));
    // REFRESH and DISPLAY TEXT where they are named.
    let mut receive = |payload: &[u8]| {
        let tpdu = deliver_to_store(payload);
        let record = [&[0x03, 0x00], &tpdu[..], &vec![0xFF; 174 - tpdu.len()]].concat();
        files.set_record(EF_SMS, 1, &record).unwrap();
        applet.file_updated(&mut files, EF_SMS, 1);
        commands(&mut applet, &mut files)
    };
    let acknowledged = receive(&acknowledgement(&[(1, 0)]));
    assert!(matches!(&acknowledged[..], [ProactiveCommand::Refresh { files, .. }] if *files == [EF_SMS]));
    let restored = receive(&restore(&[(1, entry(1, 1))]));
    let [ProactiveCommand::Refresh { files, .. }, ProactiveCommand::DisplayText { .. }] = &restored[..] else {
        panic!("{restored:?}")
    };
    assert_eq!(*files, [EF_ADN, EF_SMS]);
}

/// Covers: S1-ST-07
#[test]
fn polls_come_every_five_seconds_or_as_configured() {
    for (poll_seconds, expected) in [(5, 12), (2, 30)] {
        let mut rig = first(Settings { poll_seconds, ..Settings::default() }, StationConfig::default());
        let mut polls = 0;
        while rig.station.next_timeout().unwrap() <= Duration::from_secs(60) {
            rig.poll();
            polls += 1;
            assert_eq!(slot(&rig), Slot::Idle { examined: polls });
        }
        assert_eq!(polls, expected);
    }
}

/// Covers: S1-ST-09
#[test]
fn messages_go_before_polls() {
    // A poll is due and a message is there: what it says holds for the poll.
    let mut rig = card(10);
    rig.edit(1, &bob());
    rig.now = rig.station.next_timeout().unwrap();
    rig.receive_stored(&[0x05]);
    rig.input(Input::Tick);
    assert_eq!((slot(&rig), buffered(&rig)), (Slot::Nothing, vec![]), "off before the scan");

    // Restored before the scan would have found the change.
    let mut rig = card(10);
    rig.edit(1, &bob());
    rig.now = rig.station.next_timeout().unwrap();
    rig.receive_stored(&restore(&[(1, entry(1, 2))]));
    assert_eq!(slot(&rig), Slot::Message);
    rig.input(Input::Tick);
    assert_eq!((slot(&rig), buffered(&rig)), (Slot::Idle { examined: 1 }, vec![]));

    // Acknowledged before the message that is due leaves.
    let mut rig = card(10);
    (1..=4).for_each(|number| rig.edit(number, &entry(number, 1)));
    rig.polls(4);
    rig.now = rig.station.next_timeout().unwrap();
    rig.receive_stored(&restore(&(1..=4).map(|number| (number, entry(number, 2))).collect::<Vec<_>>()));
    rig.input(Input::Tick);
    assert!(rig.sent.is_empty());
}

/// Covers: S1-ST-10, S1-ST-08
#[test]
fn the_incoming_message_manager_dispatches() {
    let mut rig = card(10);
    rig.edit(1, &bob());
    rig.polls(1);
    let before = eeprom(&rig).clone();
    let refused = [
        (hex("10 00 01 00"), "07 10 0C"),
        (hex("81 01 01"), "07 81 0C"),
        (hex("00"), "07 00 0C"),
        (hex("FF"), "07 FF 0C"),
        (crate::rig::message(&[&[1, 1], &bob(), &[0; 87]]), "07 01 0C"),
        (hex("03 01 00"), "07 03 0B"),
        (hex("04 00"), "07 04 0B"),
    ];
    for (payload, answer) in refused {
        rig.sent.clear();
        rig.receive_stored(&payload);
        assert_eq!(rig.sent, [hex(answer)], "{payload:02X?}");
        let after = eeprom(&rig);
        assert_eq!(
            (&after.backup_file, &after.buffer, after.next, after.service_on),
            (&before.backup_file, &before.buffer, before.next, before.service_on)
        );
    }
    rig.sent.clear();
    // An error is counted and never answered.
    for payload in [hex("07 01 0B"), hex("07")] {
        rig.receive_stored(&payload);
    }
    assert_eq!((rig.sent.len(), rig.station.statistics().errors_received), (0, 2));
    // Each to its manager.
    rig.receive_stored(&[0x05]);
    assert!(!eeprom(&rig).service_on);
    rig.receive_stored(&[0x04]);
    assert!(eeprom(&rig).service_on);
    rig.receive_stored(&restore(&[(5, entry(5, 1))]));
    assert_eq!(rig.station.contacts().len(), 2);
    rig.receive_stored(&[0x06]);
    assert_eq!(flags(&rig), [1, 5]);
    rig.polls(60);
    rig.receive_stored(&acknowledgement(&[(1, 0), (5, 0)]));
    assert_eq!(flags(&rig), []);
}

/// Covers: S1-ST-11, S1-ST-08
#[test]
fn the_scheduler_gives_a_slot_to_one() {
    let mut rig = card(20);
    (1..=20).for_each(|number| rig.edit(number, &entry(number, 1)));
    let mut trace = vec![];
    for _ in 0..80 {
        let (next, sent, waiting) = (eeprom(&rig).next, rig.sent.len(), buffered(&rig).len());
        rig.poll();
        let has_examined = eeprom(&rig).next != next;
        let has_sent = rig.sent.len() > sent;
        assert!(!(has_examined && has_sent), "never both");
        match slot(&rig) {
            Slot::Backup => assert!(has_sent && waiting > 0),
            Slot::Idle { examined } => assert!(has_examined && examined == next),
            other => panic!("{other:?}"),
        }
        trace.push(if has_sent { 'B' } else { 'i' });
    }
    assert!(trace.iter().collect::<String>().starts_with("iiiiBiiiiBiiiiBiiiiBiiiiBi"), "{trace:?}");
}

/// Covers: S1-ST-12, S1-ST-08
#[test]
fn the_service_state_manager_switches_off_and_on() {
    let mut rig = card(10);
    let mut centre = Centre::default();
    rig.edit(1, &bob());
    rig.polls(3);
    rig.receive_stored(&[0x05]);
    rig.edit(2, &home());
    rig.polls(200);
    assert!(rig.sent.is_empty());
    assert_eq!(slot(&rig), Slot::Nothing, "no scan");
    assert!(!rig.station.pending());
    // A restore works all the same.
    rig.receive_stored(&restore(&[(3, entry(3, 1))]));
    assert_eq!(rig.station.contacts().len(), 3);
    rig.power_cycle();
    rig.polls(50);
    assert!(rig.sent.is_empty(), "it stays off");
    rig.receive_stored(&[0x04]);
    assert!(rig.station.pending());
    centre.polls(&mut rig, 50);
    assert_eq!(centre.book.keys().copied().collect::<Vec<_>>(), [1, 2]);
}

/// Covers: S1-ST-13
#[test]
fn the_backup_file_has_a_checksum_and_a_flag_per_entry() {
    let mut rig = card(100);
    assert_eq!(eeprom(&rig).backup_file.len(), 100);
    assert!(eeprom(&rig).backup_file.iter().all(|record| record.checksum == empty_checksum() && !record.is_changed));
    assert_eq!(empty_checksum(), 0xF322);
    let mut centre = Centre::default();
    for (number, data) in [(1, bob()), (2, home()), (3, office())] {
        rig.edit(number, &data);
    }
    rig.polls(3);
    assert_eq!(flags(&rig), [1, 2, 3]);
    centre.polls(&mut rig, 40);
    for number in 1..=100 {
        let record = rig.station.read_record(EF_ADN, number).unwrap();
        let known = eeprom(&rig).backup_record(number).unwrap();
        assert_eq!((known.checksum, known.is_changed), (crc16(&record), false));
    }
}

/// The event manager and the idle processor by themselves; the other managers have their tests beside their rows.
///
/// Covers: S1-ST-08
#[test]
fn the_event_manager_knows_messages_and_polls() {
    let mut rig = card(3);
    assert_eq!(slot(&rig), Slot::Nothing);
    rig.poll();
    assert_eq!(slot(&rig), Slot::Idle { examined: 1 });
    rig.edit(2, &bob());
    assert_eq!(slot(&rig), Slot::Idle { examined: 1 }, "an edit is no event here");
    rig.receive_stored(&acknowledgement(&[]));
    assert_eq!(slot(&rig), Slot::Message);
    rig.receive(&acknowledgement(&[]));
    assert_eq!(slot(&rig), Slot::Message, "data download too");
    assert_eq!(eeprom(&rig).next, 2, "no entry was examined in these slots");
    rig.poll();
    assert_eq!((slot(&rig), buffered(&rig)), (Slot::Idle { examined: 2 }, vec![2]));
}

#[derive(Clone, Debug)]
enum Act {
    Edit(u8, u8),
    Polls(u8),
    PowerCycle,
    Coverage(bool),
    /// The next so many messages of the card are lost.
    Lose(usize),
    Restore(u8, u8),
    Octets(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..6u8, 0..4u8).prop_map(|(number, version)| Act::Edit(number, version)),
        4 => (1..40u8).prop_map(Act::Polls),
        1 => Just(Act::PowerCycle),
        1 => any::<bool>().prop_map(Act::Coverage),
        1 => (1..3usize).prop_map(Act::Lose),
        1 => (1..6u8, 1..4u8).prop_map(|(number, version)| Act::Restore(number, version)),
        1 => prop::collection::vec(any::<u8>(), 0..130)
            .prop_filter("no restore, acknowledgement or off", |octets| !matches!(octets.first(), Some(2 | 3 | 5)))
            .prop_map(Act::Octets),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is lost and whenever the power goes: in the end the centre has what the card has.
    #[test]
    fn nothing_is_lost_for_good(acts in prop::collection::vec(act(), 1..40)) {
        let mut rig = card(6);
        let mut centre = Centre::default();
        let mut to_lose = 0;
        for act in acts {
            match act {
                Act::Edit(number, 0) => rig.edit(number, &[0xFF; 28]),
                Act::Edit(number, version) => rig.edit(number, &entry(number, version)),
                Act::Polls(count) => for _ in 0..count {
                    rig.poll();
                    rig.sent.retain(|payload| payload[0] == 1);
                    let lost = to_lose.min(rig.sent.len());
                    rig.sent.drain(..lost);
                    to_lose -= lost;
                    centre.take(&mut rig);
                },
                Act::PowerCycle => rig.power_cycle(),
                Act::Coverage(is_there) => rig.network_ok = is_there,
                Act::Lose(count) => to_lose = count,
                Act::Restore(number, version) => {
                    // As the centre does it: the book first (D-111).
                    centre.book.insert(number, entry(number, version));
                    rig.receive_stored(&restore(&[(number, entry(number, version))]));
                }
                Act::Octets(octets) => rig.receive_stored(&octets),
            }
            prop_assert!(buffered(&rig).len() <= 4 && applet(&rig).eeprom().errors.len() <= 4);
        }
        rig.network_ok = true;
        for _ in 0..600 {
            rig.poll();
            rig.sent.retain(|payload| payload[0] == 1);
            centre.take(&mut rig);
        }
        prop_assert!(!rig.station.pending());
        let card: Vec<u8> = rig.station.contacts().into_iter().map(|(number, _)| number).collect();
        prop_assert_eq!(centre.book.keys().copied().collect::<Vec<_>>(), card);
        for (number, data) in &centre.book {
            prop_assert_eq!(rig.station.read_record(EF_ADN, *number).unwrap(), data.to_vec());
        }
    }
}
