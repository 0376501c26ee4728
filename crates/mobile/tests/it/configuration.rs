//! Configuration messages and what they change.

use std::time::Duration;

use mobile::{Bearer, Input, StationConfig};

use crate::rig::{CENTRE, Rig, bob, hex, home, message};

/// Covers: S2-CG-06
#[test]
fn vector_11_is_answered_by_vector_12_on_the_old_channel() {
    let mut rig = Rig::with(StationConfig { service_on: false, ..StationConfig::default() });
    rig.receive(&hex("30 0101 0401 0600 7F106F3A 0064 0000 1C"));
    assert_eq!(rig.station.bearer(), Bearer::Sms);
    assert!(!rig.station.eeprom().restore_flag());
    rig.polls(2);
    assert_eq!(rig.station.bearer(), Bearer::Ip);
    rig.polls(3);
    assert_eq!(rig.sent, [hex("38 0100 0400 0600")]);
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!(rig.sent_on_ip.len(), 1);
}

/// Covers: S2-CG-03, S2-CG-04
#[test]
fn five_items_take_five_status_events_then_comes_the_acknowledgement() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0B0901 0C06 0D00000000 0400 0701F4"));
    for done in 1..=4 {
        rig.poll();
        assert_eq!(rig.station.eeprom().job.as_ref().unwrap().pointer, done);
    }
    assert!(!rig.station.eeprom().acknowledgement_flag());
    rig.poll();
    assert!(rig.station.eeprom().acknowledgement_flag() && rig.station.eeprom().job.is_none());
    assert!(rig.sent.is_empty());
    rig.poll();
    assert_eq!(rig.sent, [hex("38 0B00 0C00 0D02 0400 0700")]);
    assert!(!rig.station.eeprom().acknowledgement_flag());
}

/// Covers: S2-CG-05
#[test]
fn a_bad_item_fails_alone_an_unknown_one_with_the_rest() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0409 0B0702 EE01 0C03"));
    rig.polls(6);
    assert_eq!(rig.sent, [hex("38 0402 0B00 EE02")]);
    assert_eq!(rig.station.eeprom().configuration.normal_seconds, 7);
    assert_eq!(rig.station.eeprom().configuration.retry_preset, 5);
    rig.poll();
    assert_eq!(rig.poll(), Duration::from_secs(7));
}

/// Covers: S2-CF-02, S2-BK-14
#[test]
fn off_is_silent_and_on_backs_up_everything() {
    let mut rig = Rig::with(StationConfig { service_on: false, ..StationConfig::default() });
    for number in 1..=30 {
        rig.edit(number, &home());
    }
    rig.polls(50);
    assert!(rig.sent.is_empty());
    rig.receive(&hex("30 01 01"));
    let mut stored = 0;
    for _ in 0..200 {
        rig.poll();
        for sent in std::mem::take(&mut rig.sent).iter().filter(|sent| sent[0] == 0x0A) {
            let keys: Vec<u8> = sent[1..sent.len() - 2].chunks(30).flat_map(|each| [each[0], each[1], 0]).collect();
            stored += keys.len() / 3;
            rig.receive(&message(&[&[0x10], &keys]));
        }
    }
    assert_eq!(stored, 30);
    assert!(!rig.station.pending());
}

/// Covers: S2-CF-01
#[test]
fn each_item_of_the_configuration_table_is_set() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0100 03 04 7F000001 000000000000000000000000 1F90 0401"));
    rig.polls(5);
    let configuration = &rig.station.eeprom().configuration;
    assert!(!configuration.service_on);
    assert_eq!(configuration.centre_ip, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(configuration.bearer, Bearer::Ip);
    rig.receive(&hex("30 02 07 91 44 77 00 99 99 99 FF FF FF FF"));
    rig.polls(5);
    let isdn = rig.station.eeprom().configuration.centre_isdn.clone().unwrap();
    assert_eq!(isdn.digits(), "447700999999");
}

/// Covers: S2-CG-07, S2-BK-04
#[test]
fn a_rewritten_row_is_backed_up_anew_and_a_removed_one_no_more() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.receive(&[0x10, 0, 1, 0]);
    rig.sent.clear();
    rig.receive(&hex("30 06 00 7F10 6F3A 00 64 0000 0E"));
    rig.polls(12);
    let backup = rig.sent.iter().find(|sent| sent[0] == 0x0A).unwrap();
    assert_eq!(backup[..17], message(&[&[0x0A, 0, 1], &bob()[..14]]));
    rig.receive(&[0x10, 0, 1, 0]);
    rig.sent.clear();
    let mut outside = bob();
    outside[20] = 0x99;
    rig.edit(1, &outside);
    rig.polls(20);
    assert!(rig.sent.is_empty(), "octet 20 is not monitored");
    rig.receive(&hex("30 05 00"));
    rig.polls(8);
    rig.sent.clear();
    rig.edit(2, &bob());
    rig.polls(20);
    assert!(rig.sent.is_empty());
    assert!(rig.station.eeprom().checksums.is_empty());
}

#[test]
fn clear_and_resynchronise_send_everything_again() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.edit(2, &home());
    rig.polls(5);
    rig.receive(&[0x10, 0, 1, 0, 0, 2, 0]);
    rig.sent.clear();
    rig.receive(&hex("30 09FF 0AFF"));
    rig.polls(20);
    let expected = message(&[&[0x0A, 0, 1], &bob(), &[0, 2], &home(), &[0x8B, 0x64]]);
    assert!(rig.sent.contains(&expected));
    assert!(rig.sent.contains(&hex("38 0900 0A00")));
}

#[test]
fn a_checksum_row_beyond_the_table_or_outside_the_monitored_records_is_refused() {
    let mut rig = Rig::with(StationConfig { service_on: false, ..StationConfig::default() });
    rig.receive(&hex("30 070002 08 0001 1111 08 0002 2222 08 0003 3333 08 0001 4444"));
    rig.polls(8);
    rig.receive(&hex("30 070005 08 0901 1111 08 0065 2222 08 0003 3333"));
    rig.polls(8);
    assert_eq!(rig.sent, [hex("38 0700 0800 0800 0802 0800"), hex("38 0700 0802 0802 0800")]);
    assert_eq!(rig.station.eeprom().checksums.to_octets(), hex("00014444 00022222 00033333"));
}

#[test]
fn a_centre_address_that_no_message_can_have_is_refused() {
    let mut rig = Rig::new();
    // Text (TON 5): twelve characters are too long for an address, and none is a number.
    rig.receive(&hex("30 02 07 D1 44 77 00 99 99 99 FF FF FF FF 02 03 D1 44 77 FF FF FF FF FF FF FF FF 0C06"));
    rig.polls(6);
    assert_eq!(rig.sent, [hex("38 0202 0202 0C00")]);
    let isdn = rig.station.eeprom().configuration.centre_isdn.clone().unwrap();
    assert_eq!((isdn.ton_npi, isdn.digits()), (0x91, CENTRE.to_owned()));
    rig.receive(&hex("30 0C07"));
    rig.polls(4);
    assert_eq!(rig.sent[1..], [hex("38 0C00")]);
}

/// A card without a centre that hears over IP, its preferred channel SMS.
fn without_centre() -> Rig {
    Rig::with(StationConfig { centre_isdn: String::new(), ..StationConfig::default() })
}

#[test]
fn an_acknowledgement_without_an_address_goes_where_the_configuration_says_now() {
    let mut rig = without_centre();
    rig.input(Input::IpPayload(hex("30 02 07 91 44 77 00 09 00 00 FF FF FF FF").into()));
    rig.polls(3);
    assert_eq!(rig.sent, [hex("38 0200")]);
    assert!(!rig.station.pending());
}

#[test]
fn an_acknowledgement_that_can_go_nowhere_does_not_block_what_follows() {
    let mut rig = without_centre();
    for preset in 6..=16 {
        rig.input(Input::IpPayload(vec![0x30, 0x0C, preset].into()));
        rig.polls(3);
        assert_eq!(rig.station.eeprom().configuration.retry_preset, preset);
    }
    assert!(rig.sent.is_empty() && !rig.station.pending());
    assert_eq!(rig.poll(), Duration::from_secs(5), "the normal interval");
}
