//! The restore manager of the first embodiment (Fig. 15).

use mobile::{Bearer, Input, StationConfig, applet::first::Settings};
use uicc::files::{EF_ADN, EF_SMS};

use crate::{
    first_centre::{Centre, EMPTY, acknowledgement, buffered, card, eeprom, entry, first, flags, restore},
    rig::{Rig, bob, hex, home, message, office},
};

/// Vector 3.
fn vector() -> Vec<u8> {
    message(&[&[2, 1], &bob(), &[2], &home(), &[3], &office(), &[0], &[0xFF; 28], &[0x76, 0x39]])
}

fn records(rig: &mut Rig, numbers: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|number| rig.station.read_record(EF_ADN, number).unwrap()).collect()
}

/// Covers: S1-RS-01
#[test]
fn a_damaged_restore_changes_nothing_and_is_told() {
    for at in [1, 5, 116, 118] {
        let mut rig = card(100);
        let mut damaged = vector();
        damaged[at] ^= 1;
        rig.receive_stored(&damaged);
        assert!(rig.station.contacts().is_empty());
        assert_eq!(rig.sent, [hex("07 02 08")], "checksum mismatch (D-11)");
        rig.polls(150);
        assert_eq!(rig.sent.len(), 1);
        assert_eq!(rig.station.read_record(EF_SMS, 1).unwrap()[0], 0x00, "its slot is free all the same");
    }
    let mut rig = card(100);
    rig.receive_stored(&vector()[..118]);
    assert_eq!(rig.sent, [hex("07 02 0B")], "neither 117 nor 119 octets");
    assert!(rig.station.contacts().is_empty());
}

/// Covers: S1-RS-02, S1-ST-08
#[test]
fn the_restore_manager_writes_entries_checksums_and_flags() {
    let mut rig = card(100);
    // What the user has changed and the centre has not stored: the restore wins.
    rig.edit(1, &office());
    rig.polls(1);
    assert_eq!((flags(&rig), buffered(&rig)), (vec![1], vec![1]));
    rig.receive_stored(&vector());
    assert_eq!(records(&mut rig, 1..=3), [bob(), home(), office()]);
    assert!(records(&mut rig, 4..=100).iter().all(|record| *record == EMPTY));
    let checksums: Vec<u16> = eeprom(&rig).backup_file.iter().map(|record| record.checksum).take(3).collect();
    assert_eq!(checksums, [0xD1D2, 0xE4BA, 0xD7C7]);
    assert_eq!((flags(&rig), buffered(&rig)), (vec![], vec![]));
    rig.polls(150);
    assert!(rig.sent.is_empty(), "no echo and no acknowledgement (D-111)");
    assert_eq!(rig.station.statistics().records_restored, 3);
}

/// Covers: S1-RS-03
#[test]
fn a_restored_book_is_not_backed_up_again() {
    for bearer in [Bearer::Sms, Bearer::Ip] {
        let mut rig = first(Settings::default(), StationConfig { bearer, ..StationConfig::default() });
        for four in (1..=100).collect::<Vec<u8>>().chunks(4) {
            let entries: Vec<_> = four.iter().map(|number| (*number, entry(*number, 1))).collect();
            match bearer {
                Bearer::Sms => rig.receive_stored(&restore(&entries)),
                Bearer::Ip => rig.input(Input::IpPayload(restore(&entries).into())),
            }
        }
        assert_eq!(rig.station.contacts().len(), 100);
        rig.polls(130);
        assert!(rig.sent.is_empty() && rig.sent_on_ip.is_empty() && !rig.station.pending());
        // The scan still works.
        let mut centre = Centre::default();
        rig.edit(50, &bob());
        centre.polls(&mut rig, 130);
        assert_eq!(centre.messages, [[50]]);
    }
}

/// Covers: S1-RS-04
#[test]
fn the_phone_has_what_the_card_has() {
    let mut rig = card(10);
    rig.edit(5, &bob());
    rig.receive_stored(&vector());
    let card = records(&mut rig, 1..=5);
    assert_eq!(rig.station.copy_of(EF_ADN), card);
    let slot = rig.station.read_record(EF_SMS, 1).unwrap();
    assert_eq!((slot[0], rig.station.copy_of(EF_SMS)), (0x00, vec![slot]));
    // Emptied by a restore.
    rig.receive_stored(&restore(&[(5, EMPTY), (2, EMPTY)]));
    let card = records(&mut rig, 1..=5);
    assert_eq!(rig.station.copy_of(EF_ADN), card);
    rig.power_cycle();
    let card = records(&mut rig, 1..=3);
    assert_eq!(rig.station.copy_of(EF_ADN), card);
}

/// Covers: S1-RS-06
#[test]
fn a_restore_may_be_shown() {
    for shows_restores in [true, false] {
        let mut rig = first(Settings { shows_restores, ..Settings::default() }, StationConfig::default());
        rig.receive_stored(&acknowledgement(&[]));
        assert!(rig.displayed.is_empty());
        rig.receive_stored(&vector());
        let shown: &[&str] = if shows_restores { &["Restore successful"] } else { &[] };
        assert_eq!(rig.displayed, shown);
    }
}

/// The entries of other places are written.
#[test]
fn an_entry_without_a_place_is_told() {
    let mut rig = card(10);
    rig.receive_stored(&restore(&[(3, entry(3, 1)), (11, entry(11, 1))]));
    assert_eq!(rig.sent, [hex("07 02 02")], "record out of range");
    assert_eq!(rig.station.contacts().len(), 1);
}

/// Both lengths are taken (D-24).
#[test]
fn a_restore_without_a_checksum_is_taken() {
    let mut rig = card(10);
    rig.receive_stored(&vector()[..117]);
    assert_eq!(records(&mut rig, 1..=3), [bob(), home(), office()]);
}
