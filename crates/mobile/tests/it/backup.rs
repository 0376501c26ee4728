//! From the edit to the acknowledgement.

use std::time::Duration;

use mobile::{Bearer, Contact, Input, StationConfig};
use uicc::files::{EF_ADN, EF_EXT1, EF_SMSP};

use crate::rig::{Rig, bob, home, message, office};

fn acknowledge(rig: &mut Rig, records: &[[u8; 3]]) {
    let records = records.concat();
    rig.receive(&message(&[&[0x10], &records]));
}

/// Covers: S2-BK-07, S2-BK-09, S2-PR-02
#[test]
fn one_edit_is_vector_7_on_the_fifth_status_event() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    assert_eq!(rig.station.eeprom().checksums.get(0, 1), Some(0xD1D2), "the row appears");
    rig.polls(4);
    assert!(rig.sent.is_empty());
    rig.poll();
    assert_eq!(rig.now, Duration::from_secs(25));
    assert_eq!(rig.sent, [message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]])]);
}

/// Covers: S2-BF-03, S2-BK-12
#[test]
fn three_edits_are_one_message() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.edit(2, &home());
    rig.edit(3, &office());
    rig.polls(3);
    let expected = message(&[&[0x0A, 0, 1], &bob(), &[0, 2], &home(), &[0, 3], &office(), &[0xCE, 0x5B]]);
    assert_eq!(rig.sent, [expected]);
}

/// The checksum is of the whole table as it is at sending, not of the message.
///
/// Covers: S2-BK-12
#[test]
fn the_checksum_covers_what_the_message_does_not_hold() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    acknowledge(&mut rig, &[[0, 1, 0]]);
    rig.polls(10);
    rig.sent.clear();
    rig.edit(2, &home());
    rig.polls(1);
    rig.edit(3, &office());
    rig.polls(5);
    assert_eq!(rig.sent, [message(&[&[0x0A, 0, 2], &home(), &[0, 3], &office(), &[0xCE, 0x5B]])]);
}

/// Covers: S2-AK-05
#[test]
fn success_ends_the_wait() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    assert!(rig.station.pending());
    acknowledge(&mut rig, &[[0, 1, 0]]);
    assert!(rig.station.eeprom().in_flight.is_empty());
    assert!(!rig.station.pending());
    assert_eq!(rig.station.statistics().records_backed_up, 1);
    rig.polls(300);
    assert_eq!(rig.sent.len(), 1);
}

/// Covers: S2-BK-15
#[test]
fn without_acknowledgement_three_repeats_follow() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    // Not before 60 status events (D-36), and with the fast polls behind them.
    rig.polls(59);
    assert_eq!(rig.sent.len(), 1);
    rig.polls(7);
    assert_eq!(rig.sent.len(), 2);
    rig.polls(600);
    assert_eq!(rig.sent.len(), 5);
    assert!(rig.sent[..4].iter().all(|each| *each == rig.sent[0]));
    assert_eq!(rig.sent[4], [0x48, 0x7F, 0x10, 0x6F, 0x3A, 1, 1, 0], "the failed transmission is told (S2-ER-01)");
    assert!(!rig.station.pending());
    assert_eq!(rig.station.statistics().records_given_up, 1);
}

/// Covers: S2-AK-04
#[test]
fn refused_records_are_sent_again() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    for _ in 0..2 {
        let before = rig.sent.len();
        acknowledge(&mut rig, &[[0, 1, 1]]);
        rig.polls(130);
        assert!(rig.sent.len() > before);
    }
    acknowledge(&mut rig, &[[0, 1, 0]]);
    assert!(!rig.station.pending());
    rig.sent.clear();
    rig.edit(2, &home());
    rig.polls(6);
    for expected in [2, 3] {
        acknowledge(&mut rig, &[[0, 2, 2]]);
        rig.polls(6);
        assert_eq!(rig.sent.len(), expected);
    }
    acknowledge(&mut rig, &[[0, 2, 2]]);
    rig.polls(200);
    assert_eq!(rig.sent.len(), 4);
    assert_eq!(rig.sent[3], [0x48, 0x7F, 0x10, 0x6F, 0x3A, 2, 2, 0], "an error, no fourth try (D-37)");
}

/// Covers: S2-AK-06
#[test]
fn an_old_acknowledgement_does_not_clear_a_newer_change() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.edit(1, &home());
    acknowledge(&mut rig, &[[0, 1, 0]]);
    rig.polls(6);
    assert_eq!(rig.sent.len(), 2);
    assert!(rig.station.pending());
    acknowledge(&mut rig, &[[0, 1, 0]]);
    assert!(!rig.station.pending());

    rig.edit(1, &bob());
    rig.polls(5);
    rig.edit(1, &office());
    rig.polls(5);
    acknowledge(&mut rig, &[[0, 1, 0]]);
    assert!(rig.station.pending(), "that was the version before");
    acknowledge(&mut rig, &[[0, 1, 0]]);
    assert!(!rig.station.pending());
}

/// Covers: S2-AK-06
#[test]
fn a_late_acknowledgement_does_not_swallow_a_change_that_met_a_repeat() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    // Each edit is a status event: record 1 is due for its repeat while the events of the others stand before it.
    for round in 0..4_u8 {
        for number in 2..=17 {
            let mut entry = bob();
            entry[0] = b'A' + number;
            entry[1] = b'a' + round;
            rig.edit(number, &entry);
        }
    }
    rig.edit(1, &home());
    acknowledge(&mut rig, &[[0, 1, 0]]);
    rig.polls(60);
    let newest = [&[0x00, 0x01][..], &home()].concat();
    let told = rig.sent.iter().any(|message| message.windows(newest.len()).any(|octets| octets == newest));
    assert!(told, "the change of record 1 was never sent");
}

/// Covers: S2-BK-08
#[test]
fn what_does_not_fit_goes_with_the_next_message() {
    let mut rig = Rig::new();
    for number in 1..=6 {
        let mut entry = bob();
        entry[0] = b'A' + number;
        rig.edit(number, &entry);
    }
    rig.polls(12);
    let lengths: Vec<usize> = rig.sent.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1 + 4 * 30 + 2, 1 + 2 * 30 + 2]);
}

/// Covers: S2-BK-10
#[test]
fn a_failed_send_is_tried_again_after_another_interval() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!(rig.station.statistics().sms_failed, 1);
    rig.network_ok = true;
    rig.polls(4);
    assert!(rig.sent.is_empty());
    rig.poll();
    assert_eq!(rig.sent, [message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]])]);
}

/// Covers: S2-BK-06
#[test]
fn the_same_content_again_is_no_change() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    acknowledge(&mut rig, &[[0, 1, 0]]);
    rig.edit(1, &bob());
    rig.polls(100);
    assert_eq!(rig.sent.len(), 1);
}

/// Covers: S2-BK-16
#[test]
fn two_edits_of_one_entry_are_one_record_with_the_newest_content() {
    let mut rig = Rig::new();
    rig.edit(1, &home());
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!(rig.sent, [message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]])]);
}

#[test]
fn a_deleted_entry_is_vector_7_deleted() {
    let mut rig = Rig::new();
    for (number, entry) in [(1, bob()), (2, home()), (3, office())] {
        rig.edit(number, &entry);
    }
    rig.polls(3);
    acknowledge(&mut rig, &[[0, 1, 0], [0, 2, 0], [0, 3, 0]]);
    assert!(rig.station.delete_contact(2));
    rig.collect();
    rig.polls(5);
    assert_eq!(rig.sent[1], message(&[&[0x0A, 0, 2], &[0xFF; 28], &[0x74, 0x98]]));
}

/// Covers: S2-BF-04
#[test]
fn a_power_cycle_between_edit_and_send_loses_nothing() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(2);
    rig.power_cycle();
    rig.polls(5);
    assert_eq!(rig.sent, [message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]])]);
    rig.power_cycle();
    rig.polls(70);
    assert_eq!(rig.sent.len(), 2, "still awaited after power-off");
}

#[test]
fn power_lost_while_sending_sends_again() {
    let mut rig = Rig::new();
    assert!(rig.station.update_record(EF_ADN, 1, &bob()));
    for _ in 0..5 {
        rig.now = rig.station.next_timeout().unwrap();
        rig.station.handle_input(Input::Tick, rig.now);
    }
    rig.input(Input::PowerOff);
    assert!(rig.station.next_timeout().is_none());
    assert!(!rig.station.update_record(EF_ADN, 1, &home()));
    rig.input(Input::PowerOn);
    rig.polls(5);
    assert_eq!(rig.sent.len(), 1);
}

/// Covers: S2-BF-02
#[test]
fn ten_edits_in_a_second_are_ten_backups() {
    let mut rig = Rig::new();
    for number in 1..=10 {
        let mut entry = bob();
        entry[0] = b'A' + number;
        rig.edit(number, &entry);
    }
    rig.polls(40);
    let records: usize = rig.sent.iter().map(|each| (each.len() - 3) / 30).sum();
    assert_eq!(records, 10);
}

#[test]
fn more_edits_than_events_are_all_backed_up() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    for number in 1..=60 {
        let mut entry = bob();
        entry[0] = b'A' + number % 20;
        rig.edit(number, &entry);
    }
    assert!(!rig.station.eeprom().scans.is_empty());
    rig.network_ok = true;
    let mut stored = std::collections::BTreeSet::new();
    for _ in 0..400 {
        rig.poll();
        for sent in std::mem::take(&mut rig.sent) {
            let keys: Vec<[u8; 2]> = sent[1..sent.len() - 2].chunks(30).map(|each| [each[0], each[1]]).collect();
            stored.extend(keys.iter().copied());
            let records: Vec<[u8; 3]> = keys.iter().map(|key| [key[0], key[1], 0]).collect();
            acknowledge(&mut rig, &records);
        }
    }
    assert_eq!(stored.len(), 60);
    assert!(!rig.station.pending());
}

/// Covers: S2-OV-02
#[test]
fn an_hour_without_edits_is_silent() {
    let mut rig = Rig::new();
    rig.polls(720);
    assert!(rig.sent.is_empty() && rig.sent_on_ip.is_empty());
    assert!(rig.station.eeprom().checksums.is_empty());
}

/// Covers: S2-BK-11
#[test]
fn the_preferred_channel_carries_the_backup() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!(rig.sent_on_ip, [message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]])]);
    assert!(rig.sent.is_empty());
    rig.input(Input::IpPayload(vec![0x10, 0, 1, 0].into()));
    assert!(!rig.station.pending());
}

/// Covers: S2-AK-03
#[test]
fn a_long_acknowledgement_is_walked_to_its_end() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    for number in 1..=20 {
        rig.edit(number, &bob());
    }
    rig.polls(20);
    let records: Vec<u8> = (1..=20).flat_map(|number| [0, number, 0]).collect();
    rig.input(Input::IpPayload(message(&[&[0x10], &records]).into()));
    assert_eq!(rig.station.statistics().records_backed_up, 20);
    assert!(!rig.station.pending());
}

#[test]
fn unmonitored_files_are_silent() {
    let mut rig = Rig::new();
    assert!(rig.station.update_record(EF_SMSP, 1, &[0xAA; 28]));
    rig.polls(100);
    assert!(rig.sent.is_empty());
}

#[test]
fn a_long_number_takes_and_frees_extension_records() {
    let mut rig = Rig::new();
    let contact = Contact { name: "Long".to_owned(), number: "+123456789012345678901234567890".to_owned() };
    rig.station.write_contact(7, &contact).unwrap();
    assert_eq!(rig.station.contacts(), [(7, contact)]);
    assert_ne!(rig.station.read_record(EF_EXT1, 1).unwrap(), [0xFF; 13]);
    assert!(rig.station.delete_contact(7));
    assert_eq!(rig.station.read_record(EF_EXT1, 1).unwrap(), [0xFF; 13]);
    assert!(rig.station.contacts().is_empty());
}
