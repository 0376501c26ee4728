//! Section 15 of the requirements, vectors 1 and 5 to 15, octet for octet, both ways.

use bytes::Bytes;
use link::{
    backup, checksum,
    checksum_table::ChecksumTable,
    configuration::{Bearer, Item},
    message::{AckRecord, AddressedRecord, FileResult, Message, PartialChecksum, RequestedRange},
    monitor::{MonitorRow, MonitorTable},
    pid::MessageType,
    reason::Reason,
    restore,
};

use crate::{ADN_ROW, hex, monitor, record};

pub const BOB: &str = "42 4F 42 FF FF FF FF FF FF FF FF FF FF FF 06 91 00 11 32 54 F6 FF FF FF FF FF FF FF";
pub const HOME: &str = "48 4F 4D 45 FF FF FF FF FF FF FF FF FF FF 05 81 20 80 91 99 FF FF FF FF FF FF FF FF";
pub const OFFICE: &str = "4F 46 46 49 43 45 FF FF FF FF FF FF FF FF 05 81 20 70 02 30 FF FF FF FF FF FF FF FF";

/// Octets of a vector, with {BOB}, {HOME}, {OFFICE} and {E} put in.
pub fn vector(text: &str) -> Vec<u8> {
    let empty = "FF".repeat(28);
    hex(&text.replace("{BOB}", BOB).replace("{HOME}", HOME).replace("{OFFICE}", OFFICE).replace("{E}", &empty))
}

fn table(entries: &[(u8, &str)]) -> ChecksumTable {
    let mut table = ChecksumTable::default();
    for (record_number, entry) in entries {
        table.apply_record(0, *record_number, &vector(entry));
    }
    table
}

/// Every message of section 15 that belongs to the second embodiment, with its clause.
fn messages() -> Vec<(&'static str, &'static str, Message)> {
    let entry = |number, text| record(0, number, vector(text));
    let backup =
        |records, checksum| Message::Backup { records, checksum: PartialChecksum::Full(checksum), refused: None };
    let result = |record_number, result, reason: Reason| FileResult {
        df: 0x7F10,
        ef: 0x6F3A,
        record_number,
        result,
        reason: reason.code(),
    };
    let ack = |record_number, result| AckRecord { monitor_index: 0, record_number, result };
    let items =
        [Item::ServiceState { on: true }, Item::Bearer(Bearer::Ip), Item::MonitorRow { index: 0, row: ADN_ROW }];
    let addressed =
        AddressedRecord { df: 0x7F10, ef: 0x6F3A, record_number: 5, data_offset: 0, data: vector("{BOB}").into() };
    vec![
        ("7a", "0A 00 01 {BOB} D0 26", backup(vec![entry(1, "{BOB}")], 0xD026)),
        (
            "7b",
            "0A 00 01 {BOB} 00 02 {HOME} 00 03 {OFFICE} CE 5B",
            backup(vec![entry(1, "{BOB}"), entry(2, "{HOME}"), entry(3, "{OFFICE}")], 0xCE5B),
        ),
        ("7c", "0A 00 02 {E} 74 98", backup(vec![entry(2, "{E}")], 0x7498)),
        ("8", "10 00 01 00 00 02 01", Message::BackupAcknowledgement { records: vec![ack(1, 0), ack(2, 1)] }),
        (
            "9",
            "18 00 01 {BOB} 00 02 {HOME}",
            Message::Restore { records: vec![entry(1, "{BOB}"), entry(2, "{HOME}")], refused: None },
        ),
        (
            "10",
            "20 7F 10 6F 3A 01 00 00 7F 10 6F 3A 02 02 04",
            Message::RestoreAcknowledgement {
                records: vec![result(1, 0, Reason::None), result(2, 2, Reason::NotInMonitorTable)],
            },
        ),
        (
            "11",
            "30 01 01 04 01 06 00 7F 10 6F 3A 00 64 00 00 1C",
            Message::Configuration { items: items.iter().map(Item::encode).collect(), unparsed: None },
        ),
        ("12", "38 01 00 04 00 06 00", Message::ConfigurationAcknowledgement { records: vec![(1, 0), (4, 0), (6, 0)] }),
        ("13", "28 7F 10 6F 3A 05 00 00 1C {BOB}", Message::AddressableRestore { records: vec![addressed] }),
        ("14a", "40", Message::RestoreRequest { ranges: vec![] }),
        (
            "14b",
            "40 00 01 0A",
            Message::RestoreRequest { ranges: vec![RequestedRange { monitor_index: 0, first_record: 1, count: 10 }] },
        ),
        ("15", "48 7F 10 6F 3A 05 02 04", Message::Error { records: vec![result(5, 2, Reason::NotInMonitorTable)] }),
        (
            "D-115",
            "48 0000 0000 00 02 09",
            Message::Error { records: vec![FileResult::without_file(2, Reason::UnknownSubscriber)] },
        ),
    ]
}

/// Covers: S2-MF-02, S2-MF-03, S2-MF-04, S2-MF-09, S2-MF-11, S2-MF-13, S2-MF-14, S2-MF-16
#[test]
fn every_message_vector_is_read_and_written_octet_for_octet() {
    let octet_counts = [33, 93, 33, 7, 61, 15, 16, 7, 37, 1, 4, 8, 8];
    for ((name, text, message), octets) in messages().into_iter().zip(octet_counts) {
        let wire = vector(text);
        assert_eq!(wire.len(), octets, "vector {name}");
        assert_eq!(Message::decode(&wire, &monitor()).as_ref(), Ok(&message), "vector {name}");
        assert_eq!(message.encode(), wire, "vector {name}");
    }
}

#[test]
fn every_type_that_a_message_is_read_as_has_a_vector() {
    let with_vector: Vec<MessageType> = messages().iter().map(|(_, _, message)| message.message_type()).collect();
    for message_type in MessageType::ALL {
        let compact = matches!(message_type, MessageType::CompactBackup | MessageType::CompactRestore);
        assert_eq!(with_vector.contains(&message_type), !compact, "{message_type:?}");
    }
}

/// Covers: S2-CF-04, S2-CF-05
#[test]
fn vector_5_the_monitor_row() {
    assert_eq!(ADN_ROW.to_octets().to_vec(), hex("7F 10 6F 3A 00 64 00 00 1C"));
    for rows in 0..4 {
        let table = MonitorTable::new(vec![ADN_ROW; rows]);
        assert_eq!(table.to_octets().len(), 9 * rows);
        assert_eq!(MonitorTable::from_octets(&table.to_octets()), Some(table));
    }
    // Every octet of Table 5 by itself, written and read.
    let row = MonitorRow {
        df: 0x7F10,
        ef: 0x6F3A,
        record_offset: 2,
        record_count: 5,
        data_offset: 0x0103,
        data_octets: 0x1C,
    };
    let octets = [0x7F, 0x10, 0x6F, 0x3A, 2, 5, 1, 3, 0x1C];
    assert_eq!((row.to_octets(), MonitorRow::from_octets(octets)), (octets, row));
    let master_file = MonitorRow { df: 0x3F00, ef: 0x2FE2, record_count: 1, ..ADN_ROW };
    assert_eq!(MonitorRow::from_octets(master_file.to_octets()), master_file);
    let table = MonitorTable::new(vec![ADN_ROW, master_file]);
    assert_eq!(table.covering(0x3F00, 0x2FE2, 1).map(|(index, _)| index).collect::<Vec<_>>(), [1]);
}

/// Covers: S2-CF-06
#[test]
fn vectors_1_and_6_the_checksums() {
    let checksums: Vec<u16> = [BOB, HOME, OFFICE].iter().map(|entry| checksum::crc16(&hex(entry))).collect();
    assert_eq!(checksums, [0xD1D2, 0xE4BA, 0xD7C7]);
    let all = table(&[(1, BOB), (2, HOME), (3, OFFICE)]);
    assert_eq!(all.to_octets(), hex("00 01 D1 D2 | 00 02 E4 BA | 00 03 D7 C7"));
    assert_eq!(all.to_octets().len(), 4 * all.len());
    // The index of the row in front, and the latest content's checksum behind.
    let mut of_row_2 = ChecksumTable::default();
    for entry in [HOME, BOB] {
        of_row_2.apply_record(2, 1, &hex(entry));
    }
    assert_eq!(of_row_2.to_octets(), hex("02 01 D1 D2"));
    assert_eq!(ChecksumTable::from_octets(&all.to_octets()), Some(all.clone()));
    assert_eq!(table(&[(1, BOB)]).database_checksum(), 0xD026);
    assert_eq!(table(&[(1, BOB), (2, HOME)]).database_checksum(), 0x8B64);
    assert_eq!(all.database_checksum(), 0xCE5B);
    assert_eq!(table(&[]).database_checksum(), 0xFFFF);
    assert_eq!(table(&[(1, BOB), (2, HOME), (3, OFFICE), (2, "{E}")]).database_checksum(), 0x7498);
}

/// Covers: S2-MF-06
#[test]
fn vectors_7_and_9_come_out_of_the_builders() {
    let mut known = ChecksumTable::default();
    let mut built = |entries: &[(u8, &str)]| {
        let mut builder = backup::Builder::new(link::SMS_OCTETS);
        for (number, entry) in entries {
            let data: Bytes = vector(entry).into();
            known.apply_record(0, *number, &data);
            builder.push(&record(0, *number, data)).expect("fits");
        }
        builder.finish(known.database_checksum())
    };
    assert_eq!(built(&[(1, BOB)]), vector("0A 00 01 {BOB} D0 26"));
    let all = built(&[(1, BOB), (2, HOME), (3, OFFICE)]);
    assert_eq!(all, vector("0A 00 01 {BOB} 00 02 {HOME} 00 03 {OFFICE} CE 5B"));
    assert_eq!(built(&[(2, "{E}")]), vector("0A 00 02 {E} 74 98"));
    // A row that no record of the message touches changes the checksum all the same.
    assert_ne!(built(&[(2, "{E}"), (3, HOME)]), built(&[(2, "{E}"), (3, OFFICE)]));
    let records_only = |octets: &[u8]| octets[..octets.len() - 2].to_vec();
    let before = built(&[(1, BOB)]);
    drop(built(&[(3, HOME)]));
    let after = built(&[(1, BOB)]);
    assert_eq!(records_only(&before), records_only(&after));
    assert_ne!(before, after);

    let mut builder = restore::Builder::new(link::SMS_OCTETS);
    for (number, entry) in [(1, BOB), (2, HOME)] {
        builder.push(&record(0, number, hex(entry))).expect("fits");
    }
    assert_eq!(builder.finish(), vector("18 00 01 {BOB} 00 02 {HOME}"));
}
