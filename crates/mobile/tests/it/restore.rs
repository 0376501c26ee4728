//! Restores, addressable restores, the restore request, errors.

use std::time::Duration;

use mobile::{Bearer, Input, StationConfig};
use sms::Address;
use uicc::files::{EF_ADN, EF_SMSP};

use crate::rig::{CENTRE, Rig, bob, deliver_as, deliver_from, hex, home, message, office};

/// Covers: S2-RS-08, S2-RS-09
#[test]
fn a_restore_is_written_and_acknowledged_like_vector_10() {
    let mut rig = Rig::with(StationConfig { adn_records: 50, ..StationConfig::default() });
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[0, 60], &home(), &[0, 2], &home()]));
    rig.polls(10);
    assert_eq!(rig.station.read_record(EF_ADN, 1), Some(bob()));
    assert_eq!(rig.station.read_record(EF_ADN, 2), Some(home()));
    let acknowledgement = hex("20 7F106F3A 01 0000 7F106F3A 3C 0204 7F106F3A 02 0000");
    let error = hex("48 7F106F3A 3C 0204");
    assert_eq!(rig.sent.len(), 2);
    assert!(rig.sent.contains(&acknowledgement) && rig.sent.contains(&error));
    assert!(!rig.station.pending());
}

/// Covers: S2-RS-05, S2-RS-11, S2-RS-12, S2-RS-15, S2-BK-13
#[test]
fn one_record_per_status_event_at_the_fast_interval() {
    let mut rig = Rig::new();
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home(), &[0, 3], &office(), &[0, 4], &bob()]));
    assert_eq!(rig.station.contacts().len(), 1, "the message is itself a status event");
    rig.edit(9, &home());
    assert_eq!(rig.station.contacts().len(), 2, "a user's edit comes first");
    for expected in [3, 4, 5] {
        assert!(!rig.station.eeprom().acknowledgement_flag());
        assert_eq!(rig.poll(), Duration::from_secs(1));
        assert_eq!(rig.station.contacts().len(), expected);
    }
    assert!(rig.station.eeprom().acknowledgement_flag() && rig.station.eeprom().job.is_none());
    assert_eq!(rig.station.statistics().refreshes, 1);
    rig.poll();
    assert_eq!(rig.sent.len(), 1);
    assert!(!rig.station.eeprom().acknowledgement_flag());
    rig.poll();
    assert_eq!(rig.poll(), Duration::from_secs(5));
}

/// Covers: S2-RS-10
#[test]
fn a_hundred_restored_entries_echo_nothing() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    let records: Vec<u8> = (1..=100).flat_map(|number| [vec![0, number], bob()].concat()).collect();
    rig.input(Input::IpPayload(message(&[&[0x18], &records]).into()));
    rig.polls(500);
    assert_eq!(rig.station.contacts().len(), 100);
    assert_eq!(rig.sent_on_ip.len(), 1);
    assert_eq!(rig.sent_on_ip[0].len(), 1 + 700);
    assert_eq!(rig.station.statistics().records_restored, 100);
    assert_eq!(rig.station.eeprom().checksums.len(), 100);
}

/// Covers: S2-RS-14
#[test]
fn an_interrupted_restore_goes_on_at_its_pointer() {
    let mut rig = Rig::new();
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home(), &[0, 3], &office(), &[0, 4], &bob()]));
    rig.poll();
    assert_eq!(rig.station.eeprom().job.as_ref().unwrap().pointer, 2);
    rig.power_cycle();
    rig.polls(2);
    assert_eq!(rig.station.contacts().len(), 4);
    rig.polls(20);
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.sent[0].len(), 1 + 4 * 7);
}

/// Covers: S2-RS-01
#[test]
fn two_restores_back_to_back_are_both_applied() {
    let mut rig = Rig::new();
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[0, 2], &bob()]));
    rig.receive(&message(&[&[0x18, 0, 1], &home()]));
    rig.polls(20);
    assert_eq!(rig.station.read_record(EF_ADN, 1), Some(home()));
    assert_eq!(rig.sent, [hex("20 7F106F3A 01 0000 7F106F3A 02 0000"), hex("20 7F106F3A 01 0000")]);
}

/// Covers: S2-AK-07
#[test]
fn strangers_are_not_heard() {
    let mut rig = Rig::new();
    let restore = message(&[&[0x18, 0, 1], &bob()]);
    rig.input(Input::SmsDeliver(deliver_from("447700900001", &restore)));
    rig.polls(20);
    assert!(rig.station.contacts().is_empty() && rig.sent.is_empty());
}

/// Covers: S2-AK-07
#[test]
fn the_centre_is_known_by_the_whole_of_its_number() {
    let restore = message(&[&[0x18, 0, 1], &bob()]);
    let is_heard = |centre: &str, ton: u8, npi: u8, digits: &str| {
        let mut rig = Rig::with(StationConfig { centre_isdn: centre.to_owned(), ..StationConfig::default() });
        rig.centre = centre.to_owned();
        rig.input(Input::SmsDeliver(deliver_as(Address::new(ton, npi, digits).unwrap(), &restore)));
        rig.polls(3);
        !rig.station.contacts().is_empty()
    };
    for (ton, npi, digits, expected) in [
        (1, 1, CENTRE, true),
        (1, 0, CENTRE, true),
        (1, 1, "00447700900000", true),
        (0, 1, "00447700900000", true),
        (0, 1, CENTRE, false),
        (2, 1, CENTRE, false),
        (3, 1, CENTRE, false),
        (1, 8, CENTRE, false),
    ] {
        assert_eq!(is_heard(CENTRE, ton, npi, digits), expected, "TON {ton}, NPI {npi}, {digits}");
    }
    assert!(is_heard("44770090000", 1, 1, "44770090000"));
    assert!(!is_heard("44770090000", 5, 0, "44770090000"), "a text of the same characters");
}

/// Covers: S2-AR-01, S2-AR-02, S2-AR-03, S2-RS-09
#[test]
fn an_addressable_restore_writes_any_file() {
    let mut rig = Rig::new();
    let rows = rig.station.eeprom().monitor.clone();
    let data = [0x11; 28];
    rig.receive(&message(&[&hex("28 7F10 6F42 01 0000 1C"), &data]));
    rig.polls(5);
    assert_eq!(rig.station.read_record(EF_SMSP, 1), Some(data.to_vec()));
    assert_eq!(rig.sent, [hex("20 7F106F42 01 0000")]);
    assert_eq!(rig.station.eeprom().monitor, rows);
    rig.sent.clear();
    rig.receive(&hex("30 06 00 7F10 6F3A 00 01 0000 1C"));
    rig.polls(5);
    rig.receive(&message(&[&[0x18, 0, 5], &bob()]));
    rig.polls(5);
    assert!(rig.sent.contains(&hex("20 7F106F3A 05 0204")));
    assert!(rig.station.contacts().is_empty());
    rig.receive(&message(&[&hex("28 7F10 6F3A 05 0000 1C"), &bob()]));
    rig.polls(5);
    assert_eq!(rig.station.read_record(EF_ADN, 5), Some(bob()));
    // From octet 14 on: the number changes, the name before it and what is behind it stay.
    rig.receive(&hex("28 7F10 6F3A 05 000E 07 05 81 20 70 02 30 FF"));
    rig.polls(5);
    let bob_at_the_office = [&bob()[..14], &office()[14..21], &bob()[21..]].concat();
    assert_eq!(rig.station.read_record(EF_ADN, 5), Some(bob_at_the_office));
    assert_eq!(rig.sent.last(), Some(&hex("20 7F106F3A 05 0000")));
    assert!([4, 6].iter().all(|next| rig.station.read_record(EF_ADN, *next) == Some(vec![0xFF; 28])));
    rig.receive(&hex("28 7F10 6F42 01 0003 02 22 22"));
    rig.polls(5);
    let written = [[0x11; 3].as_slice(), &[0x22; 2], &[0x11; 23]].concat();
    assert_eq!(rig.station.read_record(EF_SMSP, 1), Some(written));
    rig.receive(&hex("28 7F10 6FFF 01 0000 01 AA"));
    rig.polls(5);
    assert_eq!(rig.sent.last(), Some(&hex("20 7F106FFF 01 0201")));
}

#[test]
fn the_menu_asks_for_everything() {
    let mut rig = Rig::new();
    rig.input(Input::MenuSelection(mobile::applet::MENU_RESTORE));
    rig.poll();
    assert_eq!(rig.sent, [[0x40]]);
    assert!(!rig.station.pending());
}

#[test]
fn unknown_types_are_answered_errors_never() {
    let mut rig = Rig::new();
    rig.receive(&hex("50 00"));
    rig.polls(2);
    assert_eq!(rig.sent, [hex("48 0000 0000 00 02 0C")]);
    rig.sent.clear();
    for error in ["48 0000 0000 00 02 09", "48 00"] {
        rig.receive(&hex(error));
    }
    rig.polls(20);
    assert!(rig.sent.is_empty());
    assert_eq!(rig.station.statistics().errors_received, 2);
}

#[test]
fn an_overflowing_inbound_buffer_is_answered_busy() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    let long: Vec<u8> = (1..=4).flat_map(|number| [vec![0, number], bob()].concat()).collect();
    for _ in 0..9 {
        rig.receive(&message(&[&[0x18], &long]));
    }
    rig.network_ok = true;
    rig.polls(60);
    assert!(rig.sent.iter().any(|each| each.first() == Some(&0x48) && each.ends_with(&[1, 7])));
    assert!(!rig.station.pending());
}

/// An offset beyond the end is a bad offset, in a transparent file as in a record (D-11).
#[test]
fn an_offset_beyond_a_transparent_file_is_a_bad_offset() {
    let mut rig = Rig::new();
    rig.receive(&hex("28 7F206F07 00 0009 01 AA 7F106F3A 01 001C 01 AA 7F106F3A 65 0000 01 AA 7F106F3A 00 0000 01 AA"));
    rig.polls(8);
    assert!(rig.sent.contains(&hex("20 7F206F07 00 0203 7F106F3A 01 0203 7F106F3A 65 0202 7F106F3A 00 0203")));
}
