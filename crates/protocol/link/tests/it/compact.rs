//! Compact record coding: vectors that fix the format, round trips of any records, and octets that are none.

use link::{
    compact::{Builder, FORMAT, RECORDS_MAX},
    message::{MalformedMessage, Message, PartialChecksum, RefusedTail},
    monitor::{MonitorRow, MonitorTable},
    reason::Reason,
    record::Record,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    ADN_ROW,
    builders::{CompactBackup, CompactRestore, check_round_trip},
    hex, monitor, monitor_of, record,
};

/// What the message says, and its octets.
type Vector = (&'static str, Vec<Record>, &'static str);

const EMPTY: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";

/// Made by a program of another language from `docs/protocols/compact.md` alone.
fn vectors() -> Vec<Vector> {
    VECTORS.iter().map(|(name, records, octets)| (*name, records.iter().map(parse).collect(), *octets)).collect()
}

fn parse(&(monitor_index, record_number, data): &(u8, u8, &str)) -> Record {
    record(monitor_index, record_number, hex(data))
}

type Text = (&'static str, &'static [(u8, u8, &'static str)], &'static str);

const VECTORS: &[Text] = &[
    ("one entry", &[(0, 1, "424F42FFFFFFFFFFFFFFFFFFFFFF069100113254F6FFFFFFFFFFFFFF")], "58 40 00C33BA6BA24011EDC8F"),
    (
        "two entries, the second of a number that was learned",
        &[
            (0, 1, "416E6E6120536D697468FFFFFFFF0891530378214365F7FFFFFFFFFF"),
            (0, 2, "4F274E65696C203234FFFFFFFFFF0891530378896745F3FFFFFFFFFF"),
        ],
        "58 40 0011A0C75755BD1AB08AE3DB90EEBF67C1BBDF9270057F6E8E3F",
    ),
    (
        "an empty record, one that is far off, an extension",
        &[
            (0, 5, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"),
            (0, 200, "4D554DFFFFFFFFFFFFFFFFFFFFFF038111F2FFFFFFFFFFFFFFFFFF01"),
            (1, 1, "02050921436587F7FFFFFFFFFF"),
        ],
        "58 40 04D7B21FF0163ACEFA8C70F8080E10040A124286CB0FEF",
    ),
    (
        "United Kingdom",
        &[
            (0, 1, "416C6963652042726F776EFFFFFF07817007900021F3FFFFFFFFFFFF"),
            (0, 2, "626F62FFFFFFFFFFFFFFFFFFFFFF0791447700094065FFFFFFFFFFFF"),
            (0, 3, "486F6D65FFFFFFFFFFFFFFFFFFFF07811036920600F1FFFFFFFFFFFF"),
            (0, 5, "54617869FFFFFFFFFFFFFFFFFFFF07812070490600F0FFFFFFFFFFFF"),
        ],
        "58 41 00150CA4E3C7515E7083DE11DD35579C2390BCD6569E3C000780707F1AE09EE6001F",
    ),
    (
        "Cyrillic, Greek, Polish, Turkish",
        &[
            (0, 1, "810B0898B2B0BD209FB5C2C0BEB207919761214365F7FFFFFFFFFFFF"),
            (0, 2, "81040786BDBDB1FFFFFFFFFFFFFF06819617325476FFFFFFFFFFFFFF"),
            (0, 3, "810602C1756B61737AFFFFFFFFFF07918405214365F7FFFFFFFFFFFF"),
            (0, 4, "820800E74179F865204B6F80FFFF07815023214365F7FFFFFFFFFFFF"),
            (0, 5, "8105089EBBCCB3B0FFFFFFFFFFFF07819861214365F7FFFFFFFFFFFF"),
        ],
        "58 49 00C64212F03E9E3CDA0509D51BE320F3D215D555C8F6E43E32043FF660C53E8B7940C5661E3401CE0BCFE25DF40175586A6A2B30F190852E79C71427546F",
    ),
    (
        "Chinese",
        &[
            (0, 1, "80738B4F1FFFFFFFFFFFFFFFFFFF07813108108300F0FFFFFFFFFFFF"),
            (0, 2, "809F980041674EFFFFFFFFFFFFFF0891683109109300F0FFFFFFFFFF"),
        ],
        "58 59 00C630049E3FCBE01B90054FCC6F9401F30C06F081",
    ),
    (
        "no name, no number, signs, a name that fills its field",
        &[
            (0, 1, "FFFFFFFFFFFFFFFFFFFFFFFFFFFF04811A00FBFFFFFFFFFFFFFFFFFF"),
            (0, 2, "4E6F626F6479FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"),
            (0, 3, "4D6178696D696C69616E2058797A0581214365F7FFFFFFFFFFFFFFFF"),
        ],
        "58 40 007FFFD4B42016D6E97A7A7F81FC715C03FF9F1EFA9C7B721F",
    ),
    (
        "two scripts in turn, then a third",
        &[
            (0, 9, "81040249DFB16BFFFFFFFFFFFFFF07815023214365F7FFFFFFFFFFFF"),
            (0, 10, "8105015365E7696CFFFFFFFFFFFF07815023214365F8FFFFFFFFFFFF"),
            (0, 11, "81040249DFB16BFFFFFFFFFFFFFF07815023214365F9FFFFFFFFFFFF"),
            (0, 12, "8105015365E7696CFFFFFFFFFFFF07815023214365F0FFFFFFFFFFFF"),
            (0, 13, "820400E04179F865FFFFFFFFFFFF07815023214365F1FFFFFFFFFFFF"),
            (0, 14, "8105015365E7696CFFFFFFFFFFFF07815023214365F2FFFFFFFFFFFF"),
        ],
        "58 48 08B1FEDDA1413AA37C7263FB9ECF8504EA8E31CC7FB768504EA8E71C98FEE7B3E1413AA30C680380179F7C3D1413AA31C7263FB9ECF8504EA8CB",
    ),
    (
        "octets in no known order",
        &[
            (0, 1, "8101FFFFFFFFFFFFFFFFFFFFFFFFFF81FFFFFFFFFFFFFFFFFFFFFFFF"),
            (0, 2, "526177FFFFFFFFFFFFFFFFFFFFFF0C91FFFFFFFFFFFFFFFFFFFFFFFF"),
            (0, 3, "00FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00"),
        ],
        "58 40 00C67FFBFFFEFF81FFFFFFFFFFFFFFFFFFFF40EF7F83247FFFFFFFFFFFFFFFFFFFF63801FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE01",
    ),
];

/// Rows of known numbers.
const ROWS: u8 = 39;

/// Row 0 of 28 octets as in section 15, row 1 of EF_EXT1.
fn two_rows() -> MonitorTable {
    MonitorTable::new(vec![ADN_ROW, MonitorRow { ef: 0x6F4A, data_octets: 13, ..ADN_ROW }])
}

/// Covers: S1-BK-04
#[test]
fn every_vector_is_read_and_written_octet_for_octet() {
    for (name, records, octets) in vectors() {
        let mut builder = Builder::restore(link::SMS_OCTETS);
        for record in &records {
            builder.push(record).expect("fits");
        }
        let wire = hex(octets);
        assert_eq!(builder.finish_restore(), wire, "{name}");
        let read = Message::decode(&wire, &two_rows());
        assert_eq!(read, Ok(Message::Restore { records, refused: None }), "{name}");
    }
}

/// Covers: S1-BK-04
#[test]
fn an_entry_of_mostly_ff_shrinks_and_the_centre_reads_the_same() {
    let mut builder = Builder::backup(link::SMS_OCTETS);
    let sent: Vec<Record> = (1..=40).map(|number| record(0, number, hex(EMPTY))).collect();
    sent.iter().for_each(|record| builder.push(record).expect("fits"));
    let octets = builder.finish_backup(0xABCD);
    assert_eq!((octets[0], octets[1]), (0x52, FORMAT), "no numbers, so the row without any");
    assert_eq!(octets.len(), 30, "plain: 1203");
    let expected = Message::Backup { records: sent, checksum: PartialChecksum::Full(0xABCD), refused: None };
    assert_eq!(Message::decode(&octets, &monitor()), Ok(expected));
}

/// D-08: the plain types stay the baseline, the shorter message is chosen.
#[test]
fn what_does_not_shrink_is_sent_plain() {
    let data: Vec<u8> = (0..28_u8).map(|at| at.wrapping_mul(97) ^ 0xA5).collect();
    let mut builder = Builder::backup(link::SMS_OCTETS);
    builder.push(&record(0, 9, data.clone())).expect("fits");
    let octets = builder.finish_backup(0x0102);
    assert_eq!(octets, [vec![0x0A, 0, 9], data, vec![1, 2]].concat());
}

/// The checksum takes what the records leave, as in type 1.
///
/// Covers: S2-MF-07
#[test]
fn the_checksum_takes_the_room_that_is_left() {
    // The first record number takes 8 bits, record, position and kind 5, the count 8: with the filling 3 octets.
    let long = |used: usize| record(0, 1, [vec![0x91; used], vec![0xFF; 200 - used]].concat());
    let row = monitor_of(200);
    for (used, octets) in [(132, 2), (133, 2), (134, 1)] {
        let mut builder = Builder::backup(link::SMS_OCTETS);
        builder.push(&long(used)).expect("fits");
        let wire = builder.finish_backup(0xABCD);
        assert_eq!(wire[0], 0x50 + octets, "{used}");
        let Ok(Message::Backup { records, checksum, refused: None }) = Message::decode(&wire, &row) else {
            panic!("a backup");
        };
        assert_eq!((records, checksum.octets()), (vec![long(used)], octets));
    }
}

#[test]
fn other_formats_and_rows_are_refused_with_their_reasons() {
    let refused = |octets: &[u8]| Message::decode(octets, &monitor()).expect_err("refused");
    // Another version, or a row of numbers that there is none of.
    for format in (0..FORMAT).chain(FORMAT + ROWS..=u8::MAX) {
        for pid in [0x50, 0x58] {
            let malformed = refused(&[pid, format, 0, 0, 0]);
            assert_eq!(malformed, MalformedMessage::UnsupportedFormat { format });
            assert_eq!(malformed.reason(), Reason::Unsupported);
        }
    }
    for octets in ["50", "58", "50 40", "58 40", "58 40 00", "58 40 05 C0", "58 40 FF 00", "52 40 AB", "52 40 00 AB CD"]
    {
        assert_eq!(refused(&hex(octets)).reason(), Reason::Malformed, "{octets}");
    }
    for octets in ["53 40 00 00", "59 40 00 00", "5A 40 00"] {
        assert_eq!(refused(&hex(octets)).reason(), Reason::Unsupported, "{octets}");
    }
}

/// D-17: what came before an index without a row stands.
#[test]
fn an_unknown_index_ends_the_reading() {
    let mut builder = Builder::restore(link::SMS_OCTETS);
    let records = [record(0, 1, hex(EMPTY)), record(1, 7, vec![0xFF; 13]), record(0, 2, hex(EMPTY))];
    records.iter().for_each(|record| builder.push(record).expect("fits"));
    let read = Message::decode(&builder.finish_restore(), &monitor());
    let refused = Some(RefusedTail { monitor_index: 1, record_number: 7 });
    assert_eq!(read, Ok(Message::Restore { records: records[..1].to_vec(), refused }));
}

#[test]
fn few_octets_cannot_ask_for_many_records() {
    let mut builder = Builder::restore(link::ip::PAYLOAD_OCTETS_MAX);
    for round in 0..2_u8 {
        for number in 0..=u8::MAX {
            let taken = builder.push(&record(round, number, vec![0xFF; 255]));
            assert_eq!(taken.is_ok(), builder.count() <= RECORDS_MAX && (round, number) < (0, u8::MAX));
        }
    }
    assert_eq!(builder.count(), RECORDS_MAX);
    // From the first record on, over and over the next record, empty.
    let bits: Vec<u8> = "00000000".bytes().chain("11010".bytes().cycle().take(5 * 300)).map(|bit| bit - b'0').collect();
    let stream = bits.chunks(8).map(|octet| octet.iter().fold(0, |octet, bit| octet << 1 | bit));
    let endless: Vec<u8> = [0x58, FORMAT].into_iter().chain(stream).collect();
    let malformed = Message::decode(&endless, &monitor()).expect_err("refused");
    assert!(matches!(malformed, MalformedMessage::CompactStream { record: 255, .. }), "{malformed:?}");
}

/// Cut anywhere, a message is malformed or has fewer records; none of them is another.
#[test]
fn a_truncated_stream_gives_no_wrong_record() {
    for (name, records, octets) in vectors() {
        let wire = hex(octets);
        for end in 0..wire.len() {
            match Message::decode(&wire[..end], &two_rows()) {
                Ok(Message::Restore { records: read, .. }) => {
                    assert!(read.len() < records.len() && records.starts_with(&read), "{name} cut at {end}");
                }
                Ok(other) => panic!("{name}: {other:?}"),
                Err(malformed) => assert!(!malformed.to_string().is_empty()),
            }
        }
    }
}

/// Names and numbers as cards have them, and as they do not.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let gsm = vec(prop_oneof![4 => 0x61..=0x7A_u8, 1 => 0x41..=0x5A_u8, 1 => 0x00..=0x7F_u8], 0..=14);
    let ucs2 =
        vec(prop_oneof![0x20..0x80_u16, 0xE0..0x180_u16, 0x386..0x460_u16, 0x4E00..0x9FA0_u16, any::<u16>()], 0..=6)
            .prop_map(|units| [vec![0x80], units.into_iter().flat_map(u16::to_be_bytes).collect()].concat());
    let based = (prop_oneof![0x80..0x83_u8], 0..12_u8, any::<u8>(), vec(any::<u8>(), 0..=12))
        .prop_map(|(first, count, base, octets)| [vec![first, count, base], octets].concat());
    let name = prop_oneof![3 => gsm, 1 => ucs2, 1 => based, 1 => vec(any::<u8>(), 0..=14)];
    let usual = (any::<bool>(), vec(0..10_u8, 1..=20)).prop_map(|(plus, digits)| {
        let octets = digits.chunks(2).map(|pair| pair.get(1).unwrap_or(&0xF) << 4 | pair[0]);
        let bcd: Vec<u8> = octets.collect();
        [vec![u8::try_from(bcd.len() + 1).expect("small"), if plus { 0x91 } else { 0x81 }], bcd].concat()
    });
    let number = prop_oneof![4 => usual, 1 => vec(any::<u8>(), 0..=12)];
    let ending = prop_oneof![3 => Just([0xFF, 0xFF]), 1 => any::<[u8; 2]>()];
    (name, number, ending).prop_map(|(mut name, mut number, ending)| {
        name.resize(14, 0xFF);
        number.resize(12, 0xFF);
        [name, number, ending.to_vec()].concat()
    })
}

/// Rows of these lengths with records of them; entries of the phonebook, and any octets.
fn table_and_records() -> impl Strategy<Value = (MonitorTable, Vec<Record>)> {
    vec(prop_oneof![2 => Just(28_u8), 1 => Just(13), 1 => any::<u8>()], 1..4).prop_flat_map(|lengths| {
        let rows =
            lengths.iter().map(|&data_octets| MonitorRow { data_octets, record_count: 255, ..Default::default() });
        let table = MonitorTable::new(rows.collect());
        let steps = prop_oneof![3 => Just(1_u8), 1 => 0..20_u8, 1 => any::<u8>()];
        let any_data = prop_oneof![vec(any::<u8>(), 0..=255), Just(Vec::new())];
        let draft = (0..lengths.len(), steps, prop_oneof![4 => entry(), 1 => any_data]);
        (Just(table), vec(draft, 1..30)).prop_map(move |(table, drafts)| {
            let mut number = 0_u8;
            let records = drafts.into_iter().map(|(row, step, mut data)| {
                number = number.wrapping_add(step);
                data.resize(usize::from(lengths[row]), 0xFF);
                record(u8::try_from(row).expect("small"), number, data)
            });
            (table, records.collect())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Covers: S1-BK-04
    #[test]
    fn any_records_are_read_as_they_were_written((table, records) in table_and_records(), limit in 0..300_usize) {
        let (backup, restore) = (CompactBackup(Builder::backup(limit)), CompactRestore(Builder::restore(limit)));
        check_round_trip(backup, restore, limit, (&table, &records), 0xBEEF)?;
    }

    #[test]
    fn any_octets_are_survived(pid in 0x50..0x60_u8, body in vec(any::<u8>(), 0..400), length: u8) {
        let octets: Vec<u8> = [pid, FORMAT].into_iter().chain(body).collect();
        if let Ok(Message::Backup { records, .. } | Message::Restore { records, .. }) = Message::decode(&octets, &monitor_of(length)) {
            prop_assert!(records.len() <= RECORDS_MAX);
        }
    }

    #[test]
    fn any_fault_in_a_message_is_survived(
        (table, records) in table_and_records(), flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..5),
    ) {
        let mut builder = Builder::restore(link::SMS_OCTETS);
        let _taken = records.iter().take_while(|record| builder.push(record).is_ok()).count();
        let mut octets = builder.finish_restore();
        prop_assume!(octets.len() > 2);
        for (at, bit) in flips {
            let at = at.index(octets.len() - 2) + 2;
            octets[at] ^= 1 << bit;
        }
        drop(Message::decode(&octets, &table));
    }
}
