//! First and third embodiment, asynchronous mode and transfer: vectors 2 to 4 and 16 to 21 of section 15, octet for octet,
//! both ways; and what each refuses.

use bytes::Bytes;
use link::{
    asynchronous::{self, BlockRange, Variant},
    checksum::crc16,
    first::{self, Entry, EntryResult},
    reason::Reason,
    record::NotAdded,
    third::{self, Direction, Request, Set},
    transfer::{self, ItemPart, Kind, Wish},
};
use proptest::prelude::*;

use crate::{
    hex,
    vectors::{BOB, HOME, OFFICE, vector},
};

fn entry(record_number: u8, text: &str) -> Entry {
    Entry { record_number, data: hex(text).try_into().expect("28 octets") }
}

/// Covers: S1-MS-01, S1-MS-02
#[test]
fn vector_2_backup_of_the_first_embodiment() {
    let one = vector("01 01 {BOB} 00 {E} 00 {E} 00 {E}");
    let three = vector("01 01 {BOB} 02 {HOME} 03 {OFFICE} 00 {E}");
    let entries = vec![entry(1, BOB), entry(2, HOME), entry(3, OFFICE)];
    for (octets, entries, crc) in [(one, entries[..1].to_vec(), 0x688A), (three, entries, 0xC1BE)] {
        let message = first::Message::Backup { entries: entries.clone(), is_checked: false };
        assert_eq!((octets.len(), crc16(&octets)), (117, crc));
        assert_eq!(first::Message::decode(&octets), Ok(message.clone()));
        assert_eq!(message.encode(), octets);
        let places = [octets[1], octets[30], octets[59], octets[88]];
        let numbers: Vec<u8> = entries.iter().map(|entry| entry.record_number).chain([0; 4]).take(4).collect();
        assert_eq!(places.to_vec(), numbers);
        // The option e1_crc: two octets more (D-24).
        let checked = first::Message::Backup { entries, is_checked: true };
        assert_eq!(checked.encode(), [&octets[..], &crc.to_be_bytes()].concat());
        assert_eq!(first::Message::decode(&checked.encode()), Ok(checked));
    }
}

/// Covers: S1-MS-03
#[test]
fn vector_3_restore_of_the_first_embodiment_and_every_octet_of_it_damaged() {
    let octets = vector("02 01 {BOB} 02 {HOME} 03 {OFFICE} 00 {E} 76 39");
    let message = first::Message::Restore { entries: vec![entry(1, BOB), entry(2, HOME), entry(3, OFFICE)] };
    assert_eq!(octets.len(), 119);
    assert_eq!(first::Message::decode(&octets), Ok(message.clone()));
    assert_eq!(message.encode(), octets);
    for at in 1..octets.len() {
        let mut damaged = octets.clone();
        damaged[at] ^= 0x10;
        let refused = first::Message::decode(&damaged).expect_err("damaged");
        assert_eq!(refused.reason(), Reason::ChecksumMismatch, "octet {at}: {refused}");
    }
}

/// Covers: S1-MS-04
#[test]
fn vector_4_acknowledgement_of_the_first_embodiment() {
    let octets = hex("03 01 00 02 00 03 02 00 00");
    let result = |record_number, result| EntryResult { record_number, result };
    let message = first::Message::Acknowledgement { results: vec![result(1, 0), result(2, 0), result(3, 2)] };
    assert_eq!(first::Message::decode(&octets), Ok(message.clone()));
    assert_eq!((message.encode().len(), message.encode()), (9, octets));
}

#[test]
fn the_short_messages_of_the_first_embodiment() {
    let messages = [
        (hex("04"), first::Message::ServiceOn),
        (hex("05"), first::Message::ServiceOff),
        (hex("06"), first::Message::Resynchronise),
        (hex("07 02 08"), first::Message::Error { refused: 2, reason: 8 }),
    ];
    for (octets, message) in messages {
        assert_eq!(first::Message::decode(&octets), Ok(message.clone()));
        assert_eq!(message.encode(), octets);
    }
    for (octets, reason) in [
        (vec![], Reason::Malformed),
        (vec![0x01; 116], Reason::Malformed),
        (vec![0x01; 118], Reason::Malformed),
        (vec![0x02; 120], Reason::Malformed),
        (vec![0x03; 8], Reason::Malformed),
        (vec![0x04, 0], Reason::Malformed),
        (vec![0x07], Reason::Malformed),
        (vec![0x08], Reason::Unsupported),
    ] {
        assert_eq!(first::Message::decode(&octets).expect_err("no message").reason(), reason, "{octets:02X?}");
    }
}

fn set(record_number: u8, text: &str) -> Set {
    Set::of_record(record_number, &hex(text)).expect("an entry")
}

/// Covers: S3-MF-02, S3-MF-03
#[test]
fn vector_16_sets_and_change() {
    let sets = [
        (set(1, BOB), BOB, "01 01 01 02 03 42 4F 42 03 01 91 04 05 00 11 32 54 F6"),
        (set(2, HOME), HOME, "01 01 02 02 04 48 4F 4D 45 03 01 81 04 04 20 80 91 99"),
        (set(3, OFFICE), OFFICE, "01 01 03 02 06 4F 46 46 49 43 45 03 01 81 04 04 20 70 02 30"),
    ];
    for (set, record, octets) in &sets {
        let mut encoded = Vec::new();
        set.append_to(&mut encoded);
        assert_eq!(encoded, hex(octets));
        assert_eq!(set.to_record(28), Some(hex(record)));
    }
    let octets = hex(&format!("81 01 01 {}", sets[1].2));
    let change = third::Message::Change { sets: vec![sets[1].0.clone()] };
    assert_eq!((octets.len(), third::Message::decode(&octets)), (21, Ok(change.clone())));
    assert_eq!(change.encode(), octets);
    // An unknown tag is skipped by its length, wherever it stands in a set.
    let unknown = hex("81 01 01 01 01 02 7F 02 AA BB 02 04 48 4F 4D 45 03 01 81 04 04 20 80 91 99 7E 00");
    assert_eq!(third::Message::decode(&unknown), Ok(change));
}

/// Covers: S3-MF-04, S3-MF-06, S3-MF-10
#[test]
fn vector_17_change_complete_control_and_confirmation() {
    let file = [set(1, BOB), set(2, HOME), set(3, OFFICE)];
    let set_bob = "01 01 01 02 03 42 4F 42 03 01 91 04 05 00 11 32 54 F6";
    for (check_data, text, file) in [(0xE34C, "E3 4C", &file[..1]), (0x78A9, "78 A9", &file[..])] {
        let octets = hex(&format!("82 01 01 {text} {set_bob}"));
        assert_eq!(third::check_data(file), check_data, "over the whole file, whatever is sent");
        let complete = third::Message::ChangeComplete { check_data, sets: vec![file[0].clone()] };
        assert_eq!((octets.len(), third::Message::decode(&octets)), (23, Ok(complete.clone())));
        assert_eq!(complete.encode(), octets);
    }
    assert_eq!(third::check_data(&[]), 0xFFFF);
    let deleted = Set { record_number: 2, is_deleted: true, ..Set::default() };
    assert_eq!(third::check_data([&file[0], &deleted]), 0xE34C, "an empty record is not in the file");
    let short = [
        ("83 01 02", third::Message::Control { request: Request::Resynchronise }),
        ("85 01 01 00", third::Message::Confirmation { result: 0 }),
        ("84 01 0C", third::Message::Error { reason: 0x0C }),
    ];
    for (octets, message) in short {
        assert_eq!(third::Message::decode(&hex(octets)), Ok(message.clone()));
        assert_eq!(message.encode(), hex(octets));
    }
}

#[test]
fn an_unknown_version_or_data_type_is_unsupported() {
    for octets in ["82 02 01 FF FF", "81 01 02", "85 02 01 00", "83 00 01", "80 01 01", "88 01 01"] {
        let refused = third::Message::decode(&hex(octets)).expect_err(octets);
        assert_eq!(refused.reason(), Reason::Unsupported, "{octets}: {refused}");
    }
    for octets in [
        "",
        "81",
        "81 01",
        "82 01 01 FF",
        "83 01 01 00",
        "85 01 01",
        "81 01 01 02 01 41",
        "81 01 01 01 01",
        "81 01 01 01 02 05 05",
        "81 01 01 01 01 01 04 0B 00 00 00 00 00 00 00 00 00 00 00",
    ] {
        let refused = third::Message::decode(&hex(octets)).expect_err(octets);
        assert_eq!(refused.reason(), Reason::Malformed, "{octets}: {refused}");
    }
}

/// Covers: S3-MF-01
#[test]
fn sets_fill_messages_and_the_last_is_the_complete() {
    let short =
        |number: u8| set(number, "41 FF FF FF FF FF FF FF FF FF FF FF FF FF 02 81 21 FF FF FF FF FF FF FF FF FF FF FF");
    let one = third::messages(Direction::Backup, &[short(1)], 0xABCD, 140).expect("it fits");
    assert_eq!((one.len(), one[0][0]), (1, third::id::CHANGE_COMPLETE));
    let sets: Vec<Set> = (1..=30).map(short).collect();
    for (direction, change, complete) in [
        (Direction::Backup, third::id::CHANGE, third::id::CHANGE_COMPLETE),
        (Direction::Restore, third::id::RESTORE, third::id::RESTORE_COMPLETE),
    ] {
        let messages = third::messages(direction, &sets, 0xABCD, 140).expect("they fit");
        let ids: Vec<u8> = messages.iter().map(|message| message[0]).collect();
        assert_eq!(ids, [change, change, complete]);
        assert!(messages.iter().all(|message| message.len() <= 140));
        let decoded = messages.iter().flat_map(|octets| match third::Message::decode(octets).expect("ours") {
            third::Message::Change { sets } | third::Message::Restore { sets } => sets,
            third::Message::ChangeComplete { sets, check_data }
            | third::Message::RestoreComplete { sets, check_data } => {
                assert_eq!(check_data, 0xABCD);
                sets
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(decoded.collect::<Vec<_>>(), sets);
        assert!(messages[0].len() > 3 + 4 * 12, "more than four entries in a message");
    }
    let long = Set { alpha: Some(vec![0x41; 200].into()), ..short(1) };
    let refused = third::messages(Direction::Backup, &[long], 0, 140).expect_err("no message takes it");
    assert!(matches!(refused, NotAdded::TooLong { limit: 140, .. }), "{refused}");
    assert_eq!(third::messages(Direction::Backup, &[], 0xFFFF, 140).expect("an empty file").len(), 1);
}

/// Covers: AS-BL-01
#[test]
fn vector_18_asynchronous_blocks() {
    let octets = vector("A1 07 0A 01 03 00 00 00 1D 01 {BOB} 1D 02 {HOME} 1D 03 {OFFICE}");
    let block = |number: u8, text: &str| Bytes::from([vec![number], hex(text)].concat());
    let message = asynchronous::Message::Blocks {
        session: 7,
        total: 10,
        first: 1,
        variant: Variant::ServerCountdown,
        delay_seconds: 0,
        blocks: vec![block(1, BOB), block(2, HOME), block(3, OFFICE)],
    };
    assert_eq!((octets.len(), asynchronous::Message::decode(&octets)), (98, Ok(message.clone())));
    assert_eq!(message.encode(), octets);
    for octets in [
        "A1 07 0A 00 01 00 00 00 00",
        "A1 07 0A 0A 02 00 00 00 00 00",
        "A1 07 0A 01 00 00 00 00",
        "A1 07 0A 01 01 00 00",
        "A1 07 0A 01 01 00 00 00 05 01",
        "A1 07 0A 01 01 00 00 00 01 01 01",
        "A1 07 FF FF 02 00 00 00 00 00",
    ] {
        assert_eq!(
            asynchronous::Message::decode(&hex(octets)).expect_err(octets).reason(),
            Reason::Malformed,
            "{octets}"
        );
    }
}

#[test]
fn vectors_19_and_20_resume_and_final() {
    let range = |first, last| BlockRange { first, last };
    let resume = |missing| asynchronous::Message::Resume { session: 7, total: 10, missing };
    for (octets, message) in [
        ("A2 07 0A 01 04 0A", resume(vec![range(4, 10)])),
        ("A2 07 0A 01 07 0A", resume(vec![range(7, 10)])),
        ("A2 07 0A 01 0A 0A", resume(vec![range(10, 10)])),
        ("A2 07 0A 02 04 06 09 09", resume(vec![range(4, 6), range(9, 9)])),
        ("A3 07 0A 00", asynchronous::Message::Final { session: 7, total: 10, result: 0 }),
    ] {
        assert_eq!(asynchronous::Message::decode(&hex(octets)), Ok(message.clone()), "{octets}");
        assert_eq!(message.encode(), hex(octets));
    }
    assert_eq!(asynchronous::missing(10, |number| number <= 3), [range(4, 10)]);
    assert_eq!(asynchronous::missing(10, |number| !matches!(number, 4..=6 | 9)), [range(4, 6), range(9, 9)]);
    assert_eq!(asynchronous::missing(255, |_| false), [range(1, 255)]);
    assert_eq!(asynchronous::missing(0, |_| false), []);
    for octets in
        ["A2 07 0A 01 04", "A2 07 0A 01 06 04", "A2 07 0A 01 04 0B", "A2 07 0A 01 00 01", "A3 07 0A", "A3 07 0A 00 00"]
    {
        assert_eq!(
            asynchronous::Message::decode(&hex(octets)).expect_err(octets).reason(),
            Reason::Malformed,
            "{octets}"
        );
    }
}

/// Covers: NK-IN-03
#[test]
fn vector_21_transfer() {
    let wish = Wish { fetch: false, data: true, settings: true, moves: false };
    let initiation =
        |transaction, wish, name: &str| transfer::Message::Initiation { transaction, wish, name: name.to_owned() };
    let part =
        ItemPart { kind: Kind::Setting, key: Bytes::from_static(b"tone"), part: 2, parts: 3, value: vec![7, 8].into() };
    for (octets, message) in [
        ("C1 00 01 06 04 6D 61 69 6E", initiation(1, wish, "main")),
        ("C1 00 02 07 04 6D 61 69 6E", initiation(2, Wish { fetch: true, ..wish }, "main")),
        ("C1 00 03 0B 00", initiation(3, Wish { fetch: true, data: true, settings: false, moves: true }, "")),
        (
            "C2 00 01 01 02 03 04 00 05",
            transfer::Message::SessionOpen { transaction: 1, session: 0x0102_0304, items: 5 },
        ),
        ("C3 01 02 03 04 00 05", transfer::Message::ItemRequest { session: 0x0102_0304, item: 5 }),
        (
            "C4 01 02 03 04 00 05 02 04 74 6F 6E 65 02 03 07 08",
            transfer::Message::Item { session: 0x0102_0304, item: 5, part },
        ),
        (
            "C5 01 02 03 04 00 05 02 03",
            transfer::Message::ItemResult { session: 0x0102_0304, item: 5, result: 2, reason: 3 },
        ),
        ("C6 01 02 03 04 00", transfer::Message::SessionEnd { session: 0x0102_0304, result: 0 }),
    ] {
        assert_eq!(transfer::Message::decode(&hex(octets)), Ok(message.clone()), "{octets}");
        assert_eq!(message.encode(), hex(octets));
    }
    for octets in [
        "",
        "C1",
        "C1 00 01 06 05 6D 61 69 6E",
        "C1 00 01 06 01 FF",
        "C2 00 01",
        "C3 01 02 03 04 00 05 06",
        "C4 01 02 03 04 00 05",
        "C4 01 02 03 04 00 05 01 02 41",
        "C4 01 02 03 04 00 05 01 00 00 03",
        "C4 01 02 03 04 00 05 01 00 04 03",
        "C5 00",
        "C6 01 02 03 04",
    ] {
        assert_eq!(transfer::Message::decode(&hex(octets)).expect_err(octets).reason(), Reason::Malformed, "{octets}");
    }
    assert_eq!(
        transfer::Message::decode(&hex("C4 01 02 03 04 00 05 03 00 01 01")).map_err(|refused| refused.reason()),
        Err(Reason::Unsupported)
    );
}

proptest! {
    /// Whatever comes, a decoder answers; what it accepts, it writes again so that it reads the same.
    #[test]
    fn no_octets_make_a_decoder_panic_and_what_is_read_can_be_written(
        id in prop_oneof![0x00_u8..=0x08, 0x80_u8..=0x88, 0xA0_u8..=0xA4, 0xC0_u8..=0xC7],
        version in prop_oneof![3 => Just(1_u8), 1 => any::<u8>()],
        body in proptest::collection::vec(any::<u8>(), 0..140),
    ) {
        let octets = [&[id, version, 1][..], &body].concat();
        if let Ok(message) = first::Message::decode(&octets) {
            prop_assert_eq!(first::Message::decode(&message.encode()), Ok(message));
        }
        if let Ok(message) = third::Message::decode(&octets) {
            prop_assert_eq!(third::Message::decode(&message.encode()), Ok(message));
        }
        if let Ok(message) = asynchronous::Message::decode(&octets) {
            prop_assert_eq!(asynchronous::Message::decode(&message.encode()), Ok(message));
        }
        if let Ok(message) = transfer::Message::decode(&octets) {
            prop_assert_eq!(transfer::Message::decode(&message.encode()), Ok(message));
        }
    }

    /// A record whose octets follow TS 51.011 comes back from its set octet for octet.
    #[test]
    fn a_record_survives_its_set(
        alpha in proptest::collection::vec(0_u8..0xFF, 0..14),
        number in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=10)),
        ton_npi in 0_u8..0xFF, capability: u8, extension: u8,
    ) {
        let mut record = vec![0xFF; 28];
        record[..alpha.len()].copy_from_slice(&alpha);
        if let Some(number) = &number {
            record[14] = 1 + u8::try_from(number.len()).unwrap();
            record[15] = ton_npi;
            record[16..16 + number.len()].copy_from_slice(number);
        }
        record[26] = capability;
        record[27] = extension;
        let set = Set::of_record(9, &record).expect("an entry");
        prop_assert_eq!(set.to_record(28), Some(record));
    }
}
