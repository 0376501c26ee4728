//! Rows of the monitor table: their edges, and two rows over one file.

use mobile::StationConfig;

use crate::rig::{Rig, bob, hex, home, message};

/// A station whose only row covers records 2 and 3, octets 0 to 27.
fn narrow() -> Rig {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0501 0600 7F106F3A 0102 0000 1C"));
    rig.polls(8);
    rig.sent.clear();
    assert!(!rig.station.pending());
    rig
}

/// Covers: S2-BK-03
#[test]
fn only_edits_inside_the_range_are_queued() {
    let mut rig = narrow();
    for (record_number, monitored) in [(1, false), (2, true), (3, true), (4, false)] {
        rig.edit(record_number, &bob());
        let placed = rig.station.eeprom().outbound.iter().any(|key| key.record_number == record_number);
        assert_eq!(placed, monitored, "record {record_number}");
    }
}

/// Covers: S2-RS-07
#[test]
fn only_restores_inside_the_range_are_written() {
    let mut rig = narrow();
    let records: Vec<u8> = (1..=4).flat_map(|number| [vec![0, number], home()].concat()).collect();
    rig.receive(&message(&[&[0x18], &records]));
    rig.polls(10);
    let written: Vec<u8> = rig.station.contacts().into_iter().map(|(number, _)| number).collect();
    assert_eq!(written, [2, 3]);
    let acknowledgement = hex("20 7F106F3A 010204 7F106F3A 020000 7F106F3A 030000 7F106F3A 040204");
    assert!(rig.sent.contains(&acknowledgement));
}

/// Covers: S2-BK-05
#[test]
fn the_row_with_the_right_index_is_compared() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0600 7F106F3A 0064 0000 0E 0601 7F106F3A 0064 000E 0E"));
    rig.polls(8);
    rig.sent.clear();
    rig.edit(1, &bob());
    rig.polls(5);
    assert_eq!(rig.sent[0].len(), 1 + 2 * 16 + 2);
    rig.receive(&[0x10, 0, 1, 0, 1, 1, 0]);
    let mut number = bob();
    number[17] = 0x22;
    rig.edit(1, &number);
    rig.polls(6);
    assert_eq!(rig.sent[1][..17], message(&[&[0x0A, 1, 1], &number[14..]]));
    assert_eq!(rig.sent[1].len(), 1 + 16 + 2);
}

#[test]
fn an_unknown_index_ends_a_restore_there() {
    let mut rig = Rig::new();
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[9, 2], &home()]));
    rig.polls(6);
    assert_eq!(rig.station.contacts().len(), 1);
    assert!(rig.sent.contains(&hex("20 7F106F3A 010000 00000000 020204")));
}

#[test]
fn a_row_reaches_no_further_than_its_records_and_137_octets() {
    let mut rig = Rig::new();
    // EF_ADN has records of 28 octets, EF_SMS of 176.
    rig.receive(&hex("30 0600 7F106F3A 0064 0001 1C 0600 7F106F3A 0064 0001 1B 0602 7F106F3C 0014 0000 8A"));
    rig.polls(6);
    rig.receive(&hex("30 0602 7F106F3C 0014 0000 89 0603 7F106F3C 0014 0089 28 0603 7F106F3C 0014 0089 27"));
    rig.polls(6);
    assert_eq!(rig.sent, [hex("38 0602 0600 0602"), hex("38 0600 0602 0600")]);
    let rows: Vec<_> = rig.station.eeprom().monitor.rows().map(|(_, row)| (row.data_offset, row.data_octets)).collect();
    assert_eq!(rows, [(1, 27), (0, 13), (0, 137), (137, 39)]);
}

/// Covers: S2-CF-04
#[test]
fn a_new_card_with_long_records_has_rows_of_at_most_137_octets() {
    let rig = Rig::with(StationConfig { alpha_octets: 241, ..StationConfig::default() });
    let monitor = &rig.station.eeprom().monitor;
    let rows: Vec<_> = monitor.rows().map(|(_, row)| (row.ef, row.data_offset, row.data_octets)).collect();
    assert_eq!(rows, [(0x6F3A, 0, 137), (0x6F3A, 137, 118), (0x6F4A, 0, 13)]);
    assert_eq!(monitor.to_octets().len(), 3 * 9);
}
