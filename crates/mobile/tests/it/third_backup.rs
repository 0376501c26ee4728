//! The monitor file of the third embodiment (Fig. 33) and what a backup and its confirmation do to it.

use link::third::{Direction, Message, Request, Set, check_data, messages};
use mobile::{
    Bearer, Input, Profile, StationConfig,
    applet::third::{Settings, Trigger, memory::Eeprom},
};
use uicc::files::EF_ADN;

use crate::rig::{Rig, bob, hex, home, office};

pub const CONFIRMATION: [u8; 4] = [0x85, 0x01, 0x01, 0x00];
pub const POLL: [u8; 3] = [0x83, 0x01, 0x03];
pub const RESYNCHRONISE: [u8; 3] = [0x83, 0x01, 0x02];

pub fn third(trigger: Trigger, config: StationConfig) -> Rig {
    let settings = Settings { trigger, ..Settings::default() };
    Rig::with(StationConfig { profile: Profile::Third(settings), ..config })
}

/// Sends at once after each edit.
pub fn card(adn_records: u8) -> Rig {
    third(Trigger::Changes(1), StationConfig { adn_records, ..StationConfig::default() })
}

pub fn eeprom(rig: &Rig) -> &Eeprom {
    rig.station.third().unwrap().eeprom()
}

pub fn changes(rig: &Rig) -> Vec<u8> {
    eeprom(rig).flagged(|flags| flags.changes)
}

pub fn current(rig: &Rig) -> Vec<u8> {
    eeprom(rig).flagged(|flags| flags.current)
}

pub fn sets(payload: &[u8]) -> Vec<Set> {
    match Message::decode(payload).unwrap() {
        Message::Change { sets } | Message::ChangeComplete { sets, .. } => sets,
        other => panic!("{other:?}"),
    }
}

pub fn numbers(payload: &[u8]) -> Vec<u8> {
    sets(payload).iter().map(|set| set.record_number).collect()
}

/// Check data over the card's whole file.
pub fn file_check_data(rig: &mut Rig) -> u16 {
    let records = (1..=u8::MAX).map_while(|number| Some((number, rig.station.read_record(EF_ADN, number)?)));
    let sets: Vec<Set> = records.map(|(number, octets)| Set::of_record(number, &octets).unwrap()).collect();
    check_data(&sets)
}

/// An entry with a name of so many letters.
pub fn named(letters: usize, version: u8) -> Vec<u8> {
    let mut entry = bob();
    entry[..14].fill(0xFF);
    entry[..letters].fill(b'a' + version);
    entry
}

/// Covers: S3-MB-01, S3-MB-03
#[test]
fn each_edit_prompts_the_backup_unit() {
    let mut rig = third(Trigger::CentrePolls, StationConfig::default());
    for (edits, number) in (1..).zip([1, 100, 7, 8, 9]) {
        assert!(!changes(&rig).contains(&number));
        rig.edit(number, &bob());
        assert!(changes(&rig).contains(&number), "in the exchange of the update");
        assert_eq!(changes(&rig).len(), edits);
    }
    rig.polls(3);
    assert_eq!((changes(&rig), current(&rig)), (vec![1, 7, 8, 9, 100], vec![]));
    // Another file is none of its business.
    assert!(rig.station.update_record(uicc::files::EF_EXT1, 3, &[0x02; 13]));
    assert_eq!(changes(&rig).len(), 5);
}

/// Covers: S3-MB-02
#[test]
fn with_the_service_disabled_nothing_is_sent() {
    for trigger in [Trigger::default(), Trigger::Changes(1), Trigger::CentrePolls] {
        let mut rig = third(trigger, StationConfig { service_on: false, ..StationConfig::default() });
        let file = &eeprom(&rig).monitor_file;
        assert_eq!((file.is_enabled, file.records.len()), (false, 100));
        (1..=20).for_each(|number| rig.edit(number, &bob()));
        rig.polls(50);
        assert!(rig.sent.is_empty());
        assert_eq!((changes(&rig).len(), current(&rig).len()), (20, 0));
        for request in [POLL, RESYNCHRONISE] {
            rig.receive_stored(&request);
            assert_eq!(rig.sent.pop().unwrap(), hex("84 01 0A"), "service off (D-11)");
        }
    }
}

/// The example of Fig. 33.
///
/// Covers: S3-MB-05, S3-MB-06
#[test]
fn a_backup_copies_the_flags_and_sends_all_that_is_current() {
    let mut rig = card(10);
    rig.edit(2, &home());
    assert_eq!((changes(&rig), current(&rig)), (vec![], vec![2]));
    rig.sent.clear();
    rig.edit(1, &bob());
    assert_eq!((changes(&rig), current(&rig)), (vec![], vec![1, 2]));
    let expected = [Set::of_record(1, &bob()).unwrap(), Set::of_record(2, &home()).unwrap()];
    let message = Message::ChangeComplete { check_data: check_data(&expected), sets: expected.to_vec() };
    assert_eq!(rig.sent, [message.encode()]);
}

/// Covers: S3-MB-04, S3-MB-07
#[test]
fn current_is_from_building_to_confirmation() {
    for (network_ok, bearer) in [(true, Bearer::Sms), (false, Bearer::Sms), (true, Bearer::Ip)] {
        let mut rig = third(Trigger::Changes(2), StationConfig { bearer, ..StationConfig::default() });
        rig.network_ok = network_ok;
        rig.edit(1, &bob());
        assert_eq!((changes(&rig), current(&rig)), (vec![1], vec![]));
        rig.edit(2, &home());
        assert_eq!(current(&rig), [1, 2], "built");
        rig.polls(5);
        assert_eq!(current(&rig), [1, 2], "in the buffer, or sent");
        rig.network_ok = true;
        rig.polls(20);
        assert_eq!(rig.sent.len() + rig.sent_on_ip.len(), 1, "tried again until the network takes it");
        assert_eq!(current(&rig), [1, 2]);
        assert!(rig.station.pending());
        rig.input(match bearer {
            Bearer::Sms => Input::SmsDeliver(crate::rig::deliver_to_store(&CONFIRMATION)),
            Bearer::Ip => Input::IpPayload(CONFIRMATION.to_vec().into()),
        });
        assert_eq!((changes(&rig), current(&rig)), (vec![], vec![]));
        assert!(!rig.station.pending());
        assert_eq!(rig.station.statistics().records_backed_up, 2);
    }
}

/// Covers: S3-MB-08
#[test]
fn what_was_not_confirmed_goes_with_the_next_backup() {
    for answer in [None, Some(hex("85 01 01 01")), Some(hex("85 01 01 02")), Some(hex("84 01 08"))] {
        let mut rig = card(10);
        rig.edit(2, &home());
        assert_eq!(numbers(&rig.sent[0]), [2]);
        if let Some(answer) = &answer {
            rig.receive_stored(answer);
        }
        rig.polls(200);
        assert_eq!((rig.sent.len(), current(&rig)), (1, vec![2]), "not by itself: {answer:02X?}");
        rig.edit(1, &bob());
        assert_eq!(numbers(&rig.sent[1]), [1, 2]);
        rig.receive_stored(&CONFIRMATION);
        assert_eq!(current(&rig), []);
    }
}

/// Covers: S3-MB-09
#[test]
fn a_confirmation_does_not_hide_a_later_edit() {
    let mut rig = third(Trigger::Changes(2), StationConfig::default());
    rig.edit(1, &bob());
    rig.edit(2, &home());
    rig.edit(2, &office());
    assert_eq!((changes(&rig), current(&rig)), (vec![2], vec![1, 2]), "both flags");
    rig.receive_stored(&CONFIRMATION);
    assert_eq!((changes(&rig), current(&rig)), (vec![2], vec![]));
    rig.edit(3, &bob());
    assert_eq!(sets(&rig.sent[1])[0], Set::of_record(2, &office()).unwrap());

    // The later backup is lost; the confirmation of the earlier one comes after it was sent.
    let mut rig = card(10);
    rig.edit(2, &home());
    rig.edit(2, &office());
    assert_eq!(rig.sent.len(), 2);
    rig.receive_stored(&CONFIRMATION);
    assert_eq!(current(&rig), [2], "it may be that of the earlier one");
    rig.edit(1, &bob());
    assert_eq!(numbers(&rig.sent[2]), [1, 2]);
}

/// Covers: S3-MF-05, S3-MF-06
#[test]
fn what_fits_is_one_change_complete_over_the_whole_file() {
    let mut rig = card(10);
    for (number, data) in [(1, bob()), (2, home()), (3, office())] {
        rig.edit(number, &data);
        rig.receive_stored(&CONFIRMATION);
    }
    // Vector 17: BOB alone in the file.
    assert_eq!(rig.sent[0], hex("82 01 01 E3 4C 01 01 01 02 03 42 4F 42 03 01 91 04 05 00 11 32 54 F6"));
    rig.sent.clear();
    // One of three records is changed, and changed back: the same message with the check data of all three.
    rig.edit(1, &home());
    rig.receive_stored(&CONFIRMATION);
    rig.edit(1, &bob());
    assert_eq!(rig.sent[1], hex("82 01 01 78 A9 01 01 01 02 03 42 4F 42 03 01 91 04 05 00 11 32 54 F6"));
    rig.receive_stored(&CONFIRMATION);
    rig.sent.clear();
    for number in 1..=3 {
        rig.edit(number, &[0xFF; 28]);
        rig.receive_stored(&CONFIRMATION);
    }
    assert_eq!(rig.sent[2], hex("82 01 01 FF FF 01 01 03 07 00"), "the empty file");
}

/// The card's half of S3-RY-01: all records, the empty ones as deletions, then Change Complete.
#[test]
fn a_resynchronisation_sends_every_record() {
    for bearer in [Bearer::Sms, Bearer::Ip] {
        let config = StationConfig { bearer, adn_records: 60, ..StationConfig::default() };
        let mut rig = third(Trigger::default(), config);
        for number in 1..=30 {
            rig.edit(number, &named(5, number % 20));
        }
        let request = match bearer {
            Bearer::Sms => Input::SmsDeliver(crate::rig::deliver_to_store(&RESYNCHRONISE)),
            Bearer::Ip => Input::IpPayload(RESYNCHRONISE.to_vec().into()),
        };
        rig.polls(60);
        rig.sent.clear();
        rig.sent_on_ip.clear();
        rig.input(request);
        rig.polls(60);
        let payloads = if bearer == Bearer::Sms { &rig.sent } else { &rig.sent_on_ip };
        let told: Vec<Set> = payloads.iter().flat_map(|payload| sets(payload)).collect();
        assert_eq!(told.iter().map(|set| set.record_number).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
        assert_eq!(told.iter().filter(|set| set.is_deleted).count(), 30);
        let last = payloads.iter().position(|payload| payload[0] == 0x82);
        assert_eq!(last, Some(payloads.len() - 1));
        let limit = if bearer == Bearer::Sms { link::SMS_OCTETS } else { link::ip::PAYLOAD_OCTETS_MAX };
        let check = check_data(&told);
        assert_eq!(*payloads, messages(Direction::Backup, &told, check, limit).unwrap());
        assert_eq!(check, file_check_data(&mut rig));
    }
}

#[test]
fn flags_and_what_waits_survive_power_off() {
    let mut rig = card(100);
    rig.network_ok = false;
    (1..=20).for_each(|number| rig.edit(number, &named(10, number)));
    rig.power_cycle();
    assert_eq!(current(&rig).len(), 20);
    rig.network_ok = true;
    rig.polls(40);
    let told: Vec<u8> = rig.sent.iter().flat_map(|payload| numbers(payload)).collect();
    assert_eq!(told, (1..=20).collect::<Vec<_>>());
    rig.receive_stored(&CONFIRMATION);
    assert!(!rig.station.pending());
}

/// A record that no set can say, or no message take, is told and does not keep the others waiting.
#[test]
fn a_record_without_a_set_is_told() {
    let mut rig = third(Trigger::Changes(2), StationConfig { alpha_octets: 200, ..StationConfig::default() });
    let mut long = vec![0xFF; 214];
    long[..150].fill(b'x');
    rig.edit(1, &long);
    let mut short = vec![0xFF; 214];
    short[..3].copy_from_slice(b"BOB");
    rig.edit(2, &short);
    rig.polls(2);
    assert_eq!(rig.sent[0], hex("84 01 03"));
    assert_eq!(numbers(&rig.sent[1]), [2]);
    assert_eq!(current(&rig), [2]);
    assert_eq!(rig.station.statistics().records_given_up, 1);
}

/// Control messages have no other request from the card.
#[test]
fn the_menu_asks_for_a_restore() {
    let mut rig = card(10);
    rig.input(Input::MenuSelection(mobile::applet::MENU_RESTORE));
    rig.polls(1);
    assert_eq!(rig.sent, [Message::Control { request: Request::Restore }.encode()]);
    assert!(!rig.station.pending());
}
