//! Limits, lengths and refusals of the messages, clause by clause.

use bytes::Bytes;
use link::{
    addressable::OffsetTooLarge,
    backup,
    message::{AckRecord, AddressedRecord, FileResult, MalformedMessage, Message, PartialChecksum, RefusedTail},
    monitor::MonitorTable,
    reason::Reason,
    record::{NotAdded, Record},
    restore,
};

use crate::{hex, monitor, monitor_of, record};

fn refusal(octets: &[u8]) -> MalformedMessage {
    Message::decode(octets, &monitor()).expect_err("refused")
}

/// Covers: S2-MF-04, S2-MF-07
#[test]
fn the_checksum_takes_the_room_that_one_record_leaves() {
    let database_checksum = 0xABCD;
    for (data_octets, pid, checksum) in [
        (135, 0x0A, PartialChecksum::Full(0xABCD)),
        (136, 0x09, PartialChecksum::LowOctet(0xCD)),
        (137, 0x08, PartialChecksum::Absent),
    ] {
        let sent = record(0, 7, vec![0x41; usize::from(data_octets)]);
        let mut builder = backup::Builder::new(link::SMS_OCTETS);
        builder.push(&sent).expect("fits");
        let octets = builder.finish(database_checksum);
        assert_eq!((octets[0], octets.len()), (pid, 140));
        let expected = Message::Backup { records: vec![sent], checksum, refused: None };
        assert_eq!(Message::decode(&octets, &monitor_of(data_octets)), Ok(expected));
        assert!(checksum.compare(database_checksum).unwrap_or(true));
        assert_ne!(checksum.compare(0xAB00), Some(true));
    }
}

/// Covers: S2-MF-07
#[test]
fn on_ip_the_checksum_is_always_whole() {
    let mut builder = backup::Builder::on_ip();
    let added = (1..=u8::MAX).filter(|number| builder.push(&record(0, *number, vec![0x41; 28])).is_ok()).count();
    // 1 + 136 * 30 + 2 = 4083; one more record would leave less than the checksum needs.
    assert_eq!(added, 136);
    let octets = builder.finish(0x1234);
    assert_eq!((octets[0], octets.len()), (0x0A, 4083));
    assert!(octets.ends_with(&[0x12, 0x34]));
}

/// Covers: S2-MF-08
#[test]
fn checksum_lengths_three_to_seven_are_unsupported() {
    for octets in 3..=7 {
        let mut wire = vec![0x08 | octets, 0, 1];
        wire.extend([0x41; 40]);
        let refused = refusal(&wire);
        assert!(
            matches!(refused, MalformedMessage::UnsupportedChecksumLength { octets: found, .. } if found == octets)
        );
        assert_eq!(refused.reason(), Reason::Unsupported);
    }
}

#[test]
fn only_a_backup_carries_a_checksum() {
    for first in [0x11, 0x1A, 0x21, 0x2A, 0x31, 0x3A, 0x41, 0x4A] {
        assert_eq!(refusal(&[first, 0, 1, 0, 0, 0, 0, 0]).reason(), Reason::Unsupported, "{first:02X}");
    }
    assert_eq!(refusal(&[0x50, 0]).reason(), Reason::Unsupported);
    assert_eq!(refusal(&[0x58, 0]).reason(), Reason::Unsupported);
    assert_eq!(refusal(&[0x81, 1, 1]), MalformedMessage::NotSecondEmbodiment { first: 0x81 });
    assert_eq!(refusal(&[]), MalformedMessage::Empty);
}

/// Covers: S2-MF-05
#[test]
fn records_of_different_rows_have_the_length_of_their_row() {
    let records = vec![record(1, 9, vec![1, 2, 3]), record(0, 1, vec![0x42; 28]), record(1, 10, vec![4, 5, 6])];
    let mut builder = backup::Builder::new(link::SMS_OCTETS);
    records.iter().for_each(|each| builder.push(each).expect("fits"));
    assert_eq!(builder.count(), 3);
    let octets = builder.finish(0xD026);
    let expected = Message::Backup { records, checksum: PartialChecksum::Full(0xD026), refused: None };
    assert_eq!(Message::decode(&octets, &monitor_of(28)), Ok(expected));

    // Two records lost two octets each: all that follows moves up, and one octet is left that starts no record.
    let truncated = Message::decode(&hex("08 | 01 09 01 | 01 09 01 | 01 09 01 02 03"), &monitor_of(28));
    let expected = MalformedMessage::Truncated { record: 2, expected: 2, actual: 1 };
    assert_eq!(truncated, Err(expected));
    assert_eq!(expected.reason(), Reason::Malformed);
}

#[test]
fn a_short_last_record_is_padded_and_an_unknown_index_refuses_the_rest() {
    let padded = Message::decode(&[0x08, 0, 5, 0x41], &monitor()).expect("legal");
    let mut data = vec![0xFF; 28];
    data[0] = 0x41;
    let expected = vec![record(0, 5, data)];
    assert_eq!(padded, Message::Backup { records: expected, checksum: PartialChecksum::Absent, refused: None });

    let mut octets = vec![0x0A, 0, 1];
    octets.extend([0x41; 28]);
    octets.extend(hex("09 02 41 41 41 00 03 41 D0 26"));
    let refused = Some(RefusedTail { monitor_index: 9, record_number: 2 });
    let records = vec![record(0, 1, vec![0x41; 28])];
    let checksum = PartialChecksum::Full(0xD026);
    let expected = Message::Backup { records: records.clone(), checksum, refused };
    assert_eq!(Message::decode(&octets, &monitor()), Ok(expected));
    octets[0] = 0x18;
    let restored = Message::decode(&octets, &monitor());
    assert_eq!(restored, Ok(Message::Restore { records, refused }));

    let nothing_known = Message::decode(&[0x08, 0, 1, 0x41], &MonitorTable::default());
    let refused = Some(RefusedTail { monitor_index: 0, record_number: 1 });
    assert_eq!(nothing_known, Ok(Message::Backup { records: vec![], checksum: PartialChecksum::Absent, refused }));
    assert_eq!(refusal(&[0x08]), MalformedMessage::NoRecords);
    assert_eq!(refusal(&[0x0A, 0xD0]), MalformedMessage::ChecksumTruncated { expected: 2, actual: 1 });
}

#[test]
fn only_a_lone_record_loses_trailing_ff_octets_and_only_as_many_as_needed() {
    let mut data = vec![0x41; 130];
    data.resize(200, 0xFF);
    let long = record(0, 1, data.clone());
    let mut builder = backup::Builder::new(link::SMS_OCTETS);
    builder.push(&long).expect("70 octets are FF");
    assert_eq!(builder.push(&record(0, 2, vec![])), Err(NotAdded::Full));
    let octets = builder.finish(0xD026);
    assert_eq!((octets[0], octets.len()), (0x08, 140));
    let expected = Message::Backup { records: vec![long.clone()], checksum: PartialChecksum::Absent, refused: None };
    assert_eq!(Message::decode(&octets, &monitor_of(200)), Ok(expected));

    let mut second = backup::Builder::new(link::SMS_OCTETS);
    second.push(&record(0, 2, vec![0x41; 3])).expect("fits");
    assert_eq!(second.push(&long), Err(NotAdded::Full), "not trimmed beside another record (D-124)");
    data[180] = 0x41;
    let too_long = backup::Builder::new(link::SMS_OCTETS).push(&record(0, 1, data));
    assert_eq!(too_long, Err(NotAdded::TooLong { needed: 203, limit: 140 }));
}

/// Covers: S2-MF-12
#[test]
fn a_hundred_records_take_twenty_five_short_messages_or_one_frame() {
    let records: Vec<_> = (1..=100).map(|number| record(0, number, vec![0x41; 28])).collect();
    let counts = |limit| {
        let mut counts = Vec::new();
        let mut builder = restore::Builder::new(limit);
        for each in &records {
            if builder.push(each).is_err() {
                counts.push(builder.count());
                assert!(builder.finish().len() <= limit);
                builder = restore::Builder::new(limit);
                builder.push(each).expect("fits alone");
            }
        }
        counts.push(builder.count());
        counts
    };
    assert_eq!(counts(link::SMS_OCTETS), [4; 25]);
    assert_eq!(counts(link::ip::PAYLOAD_OCTETS_MAX), [100]);
    let inside_a_secured_packet = counts(98);
    assert_eq!((inside_a_secured_packet.len(), inside_a_secured_packet[0]), (34, 3));
}

#[test]
fn every_result_of_a_backup_acknowledgement_is_carried() {
    let records: Vec<AckRecord> =
        (0..=2).map(|result| AckRecord { monitor_index: 0, record_number: result + 1, result }).collect();
    let message = Message::BackupAcknowledgement { records };
    assert_eq!(message.encode(), hex("10 00 01 00 00 02 01 00 03 02"));
    assert_eq!(Message::decode(&message.encode(), &monitor()), Ok(message));
    assert_eq!(AckRecord::per_message(link::SMS_OCTETS), 46);
    assert_eq!(FileResult::per_message(link::SMS_OCTETS), 19);
}

#[test]
fn cut_off_records_of_fixed_length_are_malformed() {
    for (octets, record, expected, actual) in [
        ("10 00 01", 0, 3, 2),
        ("20 7F 10 6F 3A 01 00 00 7F", 1, 7, 1),
        ("38 01 00 04", 1, 2, 1),
        ("40 00", 0, 3, 1),
        ("48 00 00", 0, 7, 2),
        ("28 7F 10 6F 3A 05 00 00", 0, 8, 7),
        ("28 7F 10 6F 3A 05 00 00 02 41", 0, 10, 9),
    ] {
        assert_eq!(refusal(&hex(octets)), MalformedMessage::Truncated { record, expected, actual }, "{octets}");
    }
    for octets in [[0x10], [0x18], [0x20], [0x28], [0x30], [0x38], [0x48]] {
        assert_eq!(refusal(&octets), MalformedMessage::NoRecords);
    }
}

#[test]
fn an_addressed_record_is_cut_into_pieces_that_fit() {
    let data: Bytes = (0..=u8::MAX).cycle().take(700).collect();
    let whole = AddressedRecord { df: 0x3F00, ef: 0x2F05, record_number: 0, data_offset: 10, data: data.clone() };
    let pieces = whole.split(link::SMS_OCTETS).expect("small offsets");
    assert_eq!(pieces.iter().map(|piece| piece.data.len()).collect::<Vec<_>>(), [131, 131, 131, 131, 131, 45]);
    assert_eq!(pieces[1].data_offset, 141);
    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.to_vec()).collect();
    assert_eq!(joined, data);
    for piece in pieces {
        assert!(Message::AddressableRestore { records: vec![piece] }.encode().len() <= 140);
    }
    let on_the_wire = Message::AddressableRestore { records: vec![whole] }.encode();
    let Ok(Message::AddressableRestore { records }) = Message::decode(&on_the_wire, &monitor()) else {
        panic!("no addressable restore");
    };
    assert_eq!(records.iter().map(|each| each.data.len()).collect::<Vec<_>>(), [255, 255, 190]);
}

#[test]
fn an_addressed_record_beyond_the_last_offset_is_an_error() {
    let record = |data_offset, octets: usize| AddressedRecord {
        df: 0x3F00,
        ef: 0x2F05,
        record_number: 0,
        data_offset,
        data: vec![0x41; octets].into(),
    };
    let offset_of_second = |data_offset| {
        let pieces = record(data_offset, 132).split(link::SMS_OCTETS)?;
        Ok(pieces.last().map(|piece| piece.data_offset))
    };
    assert_eq!(offset_of_second(65_535 - 131), Ok(Some(65_535)));
    assert_eq!(offset_of_second(65_535 - 130), Err(OffsetTooLarge { offset: 65_536 }));
    assert_eq!(record(65_535, 0).split(link::SMS_OCTETS), Ok(vec![record(65_535, 0)]));
    let on_the_wire = Message::AddressableRestore { records: vec![record(65_535, 300)] }.encode();
    assert_eq!(on_the_wire.len(), 1 + AddressedRecord::HEADER_OCTETS + 255, "nothing at a wrong offset");
}

/// The backup messages that these records fill, one after the other.
fn backups(records: &[Record], new: impl Fn() -> backup::Builder) -> Vec<Vec<u8>> {
    let mut messages = vec![];
    let mut builder = new();
    for each in records {
        if builder.push(each) == Err(NotAdded::Full) {
            messages.push(std::mem::replace(&mut builder, new()).finish(0xCE5B));
            builder.push(each).expect("fits alone");
        }
    }
    messages.push(builder.finish(0xCE5B));
    messages
}

/// Covers: S2-MF-17
#[test]
fn the_bearers_differ_in_checksum_length_and_record_count_only() {
    for (count, data_octets, in_short_messages, checksum_octets) in [
        (1, 135, vec![1], 2),
        (1, 136, vec![1], 1),
        (1, 137, vec![1], 0),
        (4, 28, vec![4], 2),
        (10, 28, vec![4, 4, 2], 2),
    ] {
        let records: Vec<_> = (1..=count).map(|number| record(0, number, vec![number; data_octets])).collect();
        let short_messages = backups(&records, || backup::Builder::new(link::SMS_OCTETS));
        let [on_ip] = &backups(&records, backup::Builder::on_ip)[..] else { panic!("more than one message") };
        // Each message without its checksum and the length of that in the PID.
        let common =
            |message: &[u8]| (message[0] & !7, message[1..message.len() - usize::from(message[0] & 7)].to_vec());
        let (types, bodies): (Vec<u8>, Vec<Vec<u8>>) = short_messages.iter().map(|message| common(message)).unzip();
        assert_eq!(bodies.iter().map(|body| body.len() / (2 + data_octets)).collect::<Vec<_>>(), in_short_messages);
        assert!(types.iter().all(|each| *each == common(on_ip).0));
        assert_eq!(bodies.concat(), common(on_ip).1, "{count} records of {data_octets}");
        assert!(short_messages.iter().all(|message| message[0] & 7 == checksum_octets));
        assert_eq!(on_ip[0] & 7, 2);
        if short_messages.len() == 1 && checksum_octets == 2 {
            assert_eq!(short_messages[0], *on_ip);
        }
    }
}

/// Covers: S2-MF-17
#[test]
fn a_restore_is_the_same_on_both_bearers_but_for_the_number_of_records() {
    let records: Vec<_> = (1..=6).map(|number| record(0, number, vec![number; 28])).collect();
    let built = |limit, records: &[Record]| {
        let mut builder = restore::Builder::new(limit);
        let added = records.iter().take_while(|each| builder.push(each).is_ok()).count();
        (added, builder.finish())
    };
    let (all, on_ip) = built(link::ip::PAYLOAD_OCTETS_MAX, &records);
    let (first, first_message) = built(link::SMS_OCTETS, &records);
    let (rest, second_message) = built(link::SMS_OCTETS, &records[first..]);
    assert_eq!((all, first, rest), (6, 4, 2));
    assert_eq!((first_message[0], second_message[0]), (on_ip[0], on_ip[0]));
    assert_eq!([&first_message[1..], &second_message[1..]].concat(), on_ip[1..]);
}

#[test]
fn personal_data_is_not_shown() {
    let shown = format!("{:?}", Message::decode(&hex("08 00 01 42 4F 42"), &monitor()));
    assert!(shown.contains("data_octets: 28") && !shown.contains("BOB"), "{shown}");
}
