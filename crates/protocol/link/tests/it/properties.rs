//! Any octets are survived; what is written is read back; sizes keep to their limit.

use bytes::Bytes;
use link::{
    backup,
    checksum_table::ChecksumTable,
    configuration::Item,
    ip::{Direction, FRAME_OCTETS_MAX, Framer, decode_frame, encode_frame},
    message::{AckRecord, AddressedRecord, FileResult, Message, Record, RequestedRange},
    monitor::{MonitorRow, MonitorTable},
    restore,
};
use proptest::{collection::vec, prelude::*};

use crate::builders::check_round_trip;

prop_compose! {
    fn monitor_row()(octets in any::<[u8; MonitorRow::OCTETS]>()) -> MonitorRow { MonitorRow::from_octets(octets) }
}

prop_compose! {
    fn monitor_table()(rows in vec(monitor_row(), 0..6)) -> MonitorTable { MonitorTable::new(rows) }
}

prop_compose! {
    fn file_result()(octets in any::<[u8; FileResult::OCTETS]>()) -> FileResult { FileResult::from_octets(octets) }
}

/// A table of rows of these lengths, and records of them; some are mostly FF.
fn table_and_records() -> impl Strategy<Value = (MonitorTable, Vec<Record>)> {
    vec(0..=200u8, 1..4).prop_flat_map(|lengths| {
        let rows =
            lengths.iter().map(|&data_octets| MonitorRow { data_octets, record_count: 255, ..Default::default() });
        let table = MonitorTable::new(rows.collect());
        let record =
            (0..lengths.len(), 1..=u8::MAX, any::<u8>(), 0..=200usize).prop_map(move |(row, number, fill, used)| {
                let data: Vec<u8> =
                    (0..usize::from(lengths[row])).map(|at| if at < used { fill } else { 0xFF }).collect();
                Record { monitor_index: u8::try_from(row).expect("small"), record_number: number, data: data.into() }
            });
        (Just(table), vec(record, 1..20))
    })
}

fn message() -> impl Strategy<Value = Message> {
    let ack = any::<[u8; 3]>().prop_map(|[monitor_index, record_number, result]| AckRecord {
        monitor_index,
        record_number,
        result,
    });
    let range = any::<[u8; 3]>().prop_map(|[monitor_index, first_record, count]| RequestedRange {
        monitor_index,
        first_record,
        count,
    });
    let addressed = (any::<[u16; 3]>(), any::<u8>(), vec(any::<u8>(), 0..=255)).prop_map(
        |([df, ef, data_offset], record_number, data)| AddressedRecord {
            df,
            ef,
            record_number,
            data_offset,
            data: data.into(),
        },
    );
    let item = prop_oneof![
        any::<u8>().prop_map(Item::MonitorTableSize),
        any::<u16>().prop_map(Item::ChecksumTableSize),
        (any::<u8>(), monitor_row()).prop_map(|(index, row)| Item::MonitorRow { index, row }),
    ];
    prop_oneof![
        vec(ack, 1..50).prop_map(|records| Message::BackupAcknowledgement { records }),
        vec(file_result(), 1..20).prop_map(|records| Message::RestoreAcknowledgement { records }),
        vec(file_result(), 1..20).prop_map(|records| Message::Error { records }),
        vec(range, 0..20).prop_map(|ranges| Message::RestoreRequest { ranges }),
        vec(any::<(u8, u8)>(), 1..20).prop_map(|records| Message::ConfigurationAcknowledgement { records }),
        vec(addressed, 1..4).prop_map(|records| Message::AddressableRestore { records }),
        vec(item, 1..9).prop_map(|items| Message::Configuration {
            items: items.iter().map(Item::encode).collect(),
            unparsed: None
        }),
    ]
}

proptest! {
    #[test]
    fn any_octets_are_survived(octets in vec(any::<u8>(), 0..400), table in monitor_table()) {
        if let Ok(message) = Message::decode(&octets, &table) {
            // What was understood means the same when it is written and read again, unless its tail was refused.
            let refused = matches!(
                message,
                Message::Backup { refused: Some(_), .. } | Message::Restore { refused: Some(_), .. }
                    | Message::Configuration { unparsed: Some(_), .. }
            );
            if !refused {
                prop_assert_eq!(Message::decode(&message.encode(), &table), Ok(message.clone()));
            }
            if let Message::Configuration { items, .. } = message {
                for item in items {
                    drop(item.item());
                }
            }
        }
    }

    #[test]
    fn any_octets_after_each_pid_are_survived(pid in 0x08..0x60u8, body in vec(0..12u8, 0..120), table in monitor_table()) {
        let octets: Vec<u8> = std::iter::once(pid).chain(body).collect();
        drop(Message::decode(&octets, &table));
    }

    #[test]
    fn messages_are_read_as_they_were_written(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode(), &MonitorTable::default()), Ok(message));
    }

    #[test]
    fn any_configuration_value_is_survived_and_read_back(cid: u8, data in vec(any::<u8>(), 0..24)) {
        if let Ok(item) = Item::decode(cid, &data) {
            prop_assert_eq!(item.encode().item(), Ok(item));
        }
    }

    /// Covers: S2-MF-07, S2-MF-12
    #[test]
    fn built_messages_keep_to_the_limit_and_lose_nothing(
        (table, records) in table_and_records(), limit in 0..300usize, database_checksum: u16,
    ) {
        let (backup, restore) = (backup::Builder::new(limit), restore::Builder::new(limit));
        check_round_trip(backup, restore, limit, (&table, &records), database_checksum)?;
    }

    /// Covers: S2-CF-07
    #[test]
    fn card_and_centre_have_equal_checksum_tables(
        (table, records) in table_and_records(), limit in 203..300usize,
    ) {
        let (mut card, mut centre) = (ChecksumTable::default(), ChecksumTable::default());
        let mut pending = records.as_slice();
        while !pending.is_empty() {
            let mut builder = backup::Builder::new(limit);
            let count = pending.iter().take_while(|record| builder.push(record).is_ok()).count();
            let (sent, rest) = pending.split_at(count);
            pending = rest;
            for record in sent {
                card.apply_record(record.monitor_index, record.record_number, &record.data);
            }
            let octets = builder.finish(card.database_checksum());
            let Ok(Message::Backup { records, checksum, refused: None }) = Message::decode(&octets, &table) else {
                return Err(TestCaseError::fail("not read back"));
            };
            for record in records {
                centre.apply_record(record.monitor_index, record.record_number, &record.data);
            }
            prop_assert!(checksum.compare(centre.database_checksum()).unwrap_or(true));
        }
        // Whatever the order in which the rows came to be, the tables are equal: one row per record that is not empty.
        prop_assert_eq!(&card, &centre);
        let mut again = ChecksumTable::default();
        for row in card.rows().collect::<Vec<_>>().into_iter().rev() {
            again.set(row.monitor_index, row.record_number, row.checksum);
        }
        prop_assert_eq!(card.to_octets(), again.to_octets());
    }

    #[test]
    fn any_stream_is_survived_by_the_framer(pieces in vec(vec(any::<u8>(), 0..40), 0..40)) {
        let mut framer = Framer::new();
        for piece in pieces {
            framer.push(&piece);
            while let Ok(Some(octets)) = framer.next_frame() {
                prop_assert!(octets.len() <= FRAME_OCTETS_MAX);
                drop(decode_frame(octets));
            }
            prop_assert!(framer.buffered_octets() <= FRAME_OCTETS_MAX + 2);
        }
    }

    #[test]
    fn any_octets_of_a_frame_are_survived(octets in vec(any::<u8>(), 0..80)) {
        drop(decode_frame(Bytes::from(octets)));
    }

    #[test]
    fn frames_are_read_as_they_were_written(
        key in vec(any::<u8>(), 0..80), nonce: [u8; 16], msisdn in "[0-9]{1,15}", counter: u32,
        payload in vec(any::<u8>(), 0..300),
    ) {
        let octets = encode_frame(&key, &nonce, &msisdn, Direction::Down, counter, &payload).expect("legal");
        let mut framer = Framer::new();
        framer.push(&octets);
        let frame = decode_frame(framer.next_frame().expect("legal").expect("whole")).expect("legal");
        prop_assert!(frame.verify(&key, &nonce, Direction::Down));
        prop_assert!(!frame.verify(&key, &nonce, Direction::Up));
        prop_assert_eq!((frame.msisdn, frame.counter, frame.payload.to_vec()), (msisdn, counter, payload));
    }
}
