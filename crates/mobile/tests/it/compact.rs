//! Compact coding at the card (D-08): off by default, on by CID 0E, type 10 where it is shorter, type 11 always understood.

use link::{
    checksum_table::ChecksumTable,
    compact::{Builder, is_format},
    message::Message,
    monitor::{MonitorRow, MonitorTable},
    record::Record,
};
use uicc::files::EF_ADN;

use crate::rig::{Rig, bob, hex, home, office};

fn monitor() -> MonitorTable {
    MonitorTable::new(vec![MonitorRow {
        df: 0x7F10,
        ef: 0x6F3A,
        record_count: 100,
        data_octets: 28,
        ..Default::default()
    }])
}

/// A rig whose card has accepted CID 0E, and waits for more records than a plain message takes (CID 0C).
fn compact_rig() -> Rig {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0E01 0C0E"));
    rig.polls(12);
    assert_eq!(rig.sent, [hex("38 0E00 0C00")]);
    rig.sent.clear();
    rig
}

/// What a backup says, whichever form it has.
fn backed_up(message: &[u8]) -> (Vec<Record>, Option<bool>) {
    let Ok(Message::Backup { records, checksum, refused: None }) = Message::decode(message, &monitor()) else {
        panic!("a backup: {message:02X?}");
    };
    let mut table = ChecksumTable::default();
    for record in &records {
        table.apply_record(record.monitor_index, record.record_number, &record.data);
    }
    (records, checksum.compare(table.database_checksum()))
}

/// Covers: S1-BK-04
#[test]
fn more_records_fit_one_message_and_each_is_acknowledged() {
    let mut rig = compact_rig();
    let entries = [bob(), home(), office(), bob(), home(), office(), bob(), home()];
    for (number, entry) in (1..).zip(&entries) {
        rig.edit(number, entry);
    }
    rig.polls(20);
    let [message] = rig.sent.as_slice() else { panic!("one message, got {}", rig.sent.len()) };
    assert!(message[0] == 0x52 && is_format(message[1]), "the whole checksum had room");
    let (records, checksum) = backed_up(message);
    assert_eq!(records.iter().map(|record| record.data.to_vec()).collect::<Vec<_>>(), entries);
    assert_eq!(checksum, Some(true));
    let acknowledgement: Vec<u8> = [0x10].into_iter().chain((1..=8).flat_map(|number| [0, number, 0])).collect();
    rig.receive(&acknowledgement);
    rig.polls(2);
    assert!(!rig.station.pending());
}

#[test]
fn off_by_default_and_off_again() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(10);
    assert_eq!(rig.sent.iter().map(|message| message[0]).collect::<Vec<_>>(), [0x0A]);
    let mut rig = compact_rig();
    rig.receive(&hex("30 0E00"));
    rig.polls(12);
    rig.sent.clear();
    rig.edit(1, &bob());
    rig.polls(20);
    assert_eq!(rig.sent.iter().map(|message| message[0]).collect::<Vec<_>>(), [0x0A]);
}

/// D-08: the card chooses the shorter.
#[test]
fn a_record_that_does_not_shrink_goes_plain() {
    let mut rig = compact_rig();
    let noise: Vec<u8> = (0..28_u8).map(|at| at.wrapping_mul(97) ^ 0xA5).collect();
    rig.edit(1, &noise);
    rig.polls(20);
    let [message] = rig.sent.as_slice() else { panic!("one message, got {}", rig.sent.len()) };
    assert_eq!((message[0], backed_up(message).0[0].data.to_vec()), (0x0A, noise));
}

/// Covers: S2-AK-02
#[test]
fn a_compact_restore_is_written_and_acknowledged_like_a_plain_one() {
    let mut builder = Builder::restore(link::SMS_OCTETS);
    for (record_number, data) in (1..).zip([bob(), home(), office()]) {
        builder.push(&Record { monitor_index: 0, record_number, data: data.into() }).expect("fits");
    }
    let restore = builder.finish_restore();
    assert!(restore[0] == 0x58 && is_format(restore[1]));
    let mut rig = Rig::new();
    rig.receive(&restore);
    rig.polls(12);
    assert_eq!(rig.sent, [hex("20 7F106F3A 01 0000 7F106F3A 02 0000 7F106F3A 03 0000")]);
    assert_eq!(rig.station.read_record(EF_ADN, 3), Some(office()));
    assert!(!rig.station.pending());
}
