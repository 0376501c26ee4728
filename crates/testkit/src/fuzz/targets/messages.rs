//! Messages between card and centre: every profile, the compact coding, the IP frame, the tables.

use bytes::Bytes;
use domain::phonebook::apply;
use link::{
    asynchronous,
    checksum_table::ChecksumTable,
    compact, first,
    ip::{Direction, FRAME_OCTETS_MAX, Framer, decode_frame, encode_frame},
    message::{Message, Record},
    monitor::{MonitorRow, MonitorTable},
    third,
    transfer::{self, entry::Entry, parts::Item},
};

use super::{BOB, Reading, Target, Verdict, again, hex, hex_all, seen};

pub(super) fn all() -> Vec<Target> {
    vec![
        second(),
        packed(),
        packing(),
        first_profile(),
        third_profile(),
        asynchronous_mode(),
        transfers(),
        transfer_entries(),
        frames(),
        tables(),
    ]
}

/// Rows of usual, greatest and no length.
pub(super) fn monitor() -> MonitorTable {
    let row = |data_octets| MonitorRow { df: 0x7F10, ef: 0x6F3A, record_count: 250, data_octets, ..Default::default() };
    MonitorTable::new(vec![row(28), row(255), row(0)])
}

fn second() -> Target {
    let seeds = hex_all(&[
        &format!("0A 00 01 {BOB} D0 26"),
        "10 00 01 00 00 02 01",
        &format!("18 00 01 {BOB}"),
        "20 7F10 6F3A 01 00 00 7F10 6F3A 02 02 02",
        &format!("28 7F10 6F3A 05 0000 1C {BOB}"),
        "30 01 01 01 04 01 01 08 09 00 7F10 6F3A 01 FA 00 1C",
        "38 01 00 04 00",
        "40 00 01 FA",
        "48 7F10 6F3A 05 02 04",
    ]);
    Target::new("second", seeds, second_embodiment)
}

fn second_embodiment(octets: &[u8]) -> Verdict {
    let monitor = monitor();
    seen(apply::parse(octets, &monitor));
    let Ok(message) = Message::decode(octets, &monitor) else { return Ok(Reading::Refused) };
    if let Message::Configuration { items, .. } = &message {
        for item in items {
            if let Ok(value) = item.item() {
                super::same(&value, &value.encode().item())?;
            }
        }
    }
    // What was refused in a message is not written again; a single record may have been padded.
    let is_cut = matches!(
        message,
        Message::Backup { refused: Some(_), .. }
            | Message::Restore { refused: Some(_), .. }
            | Message::Configuration { unparsed: Some(_), .. }
    );
    if is_cut {
        return Ok(Reading::Understood);
    }
    super::same(&message, &Message::decode(&message.encode(), &monitor)).map(|()| Reading::Understood)
}

/// Records as a card may have them, for seeds.
fn entries() -> Vec<Record> {
    let texts = [
        BOB,
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "81060898B2B0BD2032FFFFFFFFFF06916197214365FFFFFFFFFFFFFF",
        "804E2D658754 0DFFFFFFFFFFFFFFFF078131083100801FFFFFFFFFFFFF",
        "820405305395A6A6FFFFFFFFFFFF0481 1A00FBFFFFFFFFFFFFFFFF01",
        "4A6F684E2D4F276E65696C203234 FFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    ];
    let numbered = (1..).zip(texts);
    numbered
        .map(|(record_number, text)| {
            let mut data = hex(text);
            data.resize(28, 0xFF);
            Record { monitor_index: 0, record_number, data: data.into() }
        })
        .collect()
}

fn compacted(records: &[Record], limit: usize, is_backup: bool) -> (Vec<Record>, Vec<u8>) {
    let mut builder = if is_backup { compact::Builder::backup(limit) } else { compact::Builder::restore(limit) };
    let taken: Vec<Record> = records.iter().take_while(|record| builder.push(record).is_ok()).cloned().collect();
    let octets = if is_backup { builder.finish_backup(0x1234) } else { builder.finish_restore() };
    (taken, octets)
}

/// Streams of bits: what is read is written again, compact or plain, and is the same.
fn packed() -> Target {
    let records = entries();
    let whole = compacted(&records, link::SMS_OCTETS, false).1;
    let seeds = vec![whole, compacted(&records, 98, true).1, compacted(&records[..1], 40, false).1];
    Target::new("compact", seeds, |octets| {
        let monitor = monitor();
        // The mutations are about the stream, not about the PID.
        let mut octets = octets.to_vec();
        if let Some(first) = octets.first_mut().filter(|first| **first < 0x50 || **first > 0x58) {
            *first = 0x58;
        }
        let records = match Message::decode(&octets, &monitor) {
            Ok(Message::Backup { records, .. } | Message::Restore { records, .. }) => records,
            _ => return Ok(Reading::Refused),
        };
        if records.len() > compact::RECORDS_MAX {
            return Err(format!("{} records", records.len()));
        }
        repacked(&records, &monitor)
    })
}

/// The input as records: every one comes back.
fn packing() -> Target {
    let seed = |records: &[Record]| {
        let octets =
            records.iter().map(|record| [&[record.monitor_index, record.record_number], &record.data[..]].concat());
        octets.collect::<Vec<_>>().concat()
    };
    let records = entries();
    let seeds = vec![seed(&records), seed(&records[..2]), seed(&records[2..5])];
    let mut target = Target::new("compact-records", seeds, |octets| {
        let records = octets.chunks(30).filter_map(|chunk| {
            let &[index, record_number, ref data @ ..] = chunk else { return None };
            let monitor_index = index % 3;
            let mut data = data.to_vec();
            data.resize(usize::from(monitor().row(monitor_index)?.data_octets), 0xFF);
            Some(Record { monitor_index, record_number, data: data.into() })
        });
        repacked(&records.collect::<Vec<_>>(), &monitor())
    });
    target.heap_octets = 1 << 20;
    target
}

fn repacked(mut records: &[Record], monitor: &MonitorTable) -> Verdict {
    let mut reading = Reading::Refused;
    while !records.is_empty() {
        let (taken, octets) = compacted(records, link::SMS_OCTETS, true);
        if octets.len() > link::SMS_OCTETS {
            return Err(format!("{} octets in one message", octets.len()));
        }
        records = records.get(taken.len().max(1)..).unwrap_or_default();
        if taken.is_empty() {
            // Too long for any message: 255 octets that do not shrink.
            continue;
        }
        match Message::decode(&octets, monitor) {
            Ok(Message::Backup { records: read, refused: None, .. }) if read == taken => reading = Reading::Understood,
            other => return Err(format!("packed and read again: {other:?}, was {taken:?}")),
        }
    }
    Ok(reading)
}

fn first_profile() -> Target {
    let empty = "FF".repeat(28);
    let entries = vec![first::Entry { record_number: 1, data: hex(BOB).try_into().expect("28 octets") }];
    let messages = [
        first::Message::Backup { entries: entries.clone(), is_checked: false },
        first::Message::Backup { entries: entries.clone(), is_checked: true },
        first::Message::Restore { entries },
    ];
    let mut seeds: Vec<Vec<u8>> = messages.iter().map(first::Message::encode).collect();
    seeds.push(hex(&format!("01 01 {BOB} 02 {BOB} 00 {empty} 00 {empty}")));
    Target::new("first", seeds, |octets| again(octets, first::Message::decode, first::Message::encode))
}

fn third_profile() -> Target {
    let set = third::Set::of_record(7, &hex(BOB)).expect("a record");
    let sets = vec![set.clone(), third::Set::of_record(8, &[0xFF; 28]).expect("a record")];
    let mut seeds = third::messages(third::Direction::Backup, &sets, 0xABCD, link::SMS_OCTETS).expect("fits");
    seeds.extend(third::messages(third::Direction::Restore, &[set], 0x1234, link::SMS_OCTETS).expect("fits"));
    Target::new("third", seeds, |octets| {
        let reading = again(octets, third::Message::decode, third::Message::encode)?;
        if let Ok(third::Message::Change { sets } | third::Message::Restore { sets }) = third::Message::decode(octets) {
            for set in &sets {
                seen(set.to_record(28));
            }
            seen(third::check_data(&sets));
        }
        Ok(reading)
    })
}

fn asynchronous_mode() -> Target {
    let seeds = ASYNCHRONOUS.iter().map(|text| hex(text)).collect();
    Target::new("asynchronous", seeds, |octets| {
        again(octets, asynchronous::Message::decode, asynchronous::Message::encode)
    })
}

fn transfers() -> Target {
    let seeds = TRANSFERS.iter().map(|text| hex(text)).collect();
    Target::new("transfer", seeds, |octets| again(octets, transfer::Message::decode, transfer::Message::encode))
}

/// An address-book entry as an item: five octets of key, then the value.
fn transfer_entries() -> Target {
    let seeds = hex_all(&[
        &format!("7F106F3A01 1C {BOB}"),
        &format!("7F106F3A02 1C {BOB} 02 00 31 32 FF FF FF FF FF FF FF FF 02 02 FF FF FF FF FF FF FF FF FF FF FF FF"),
    ]);
    Target::new("transfer-entry", seeds, |octets| {
        let Some((key, value)) = octets.split_at_checked(5) else { return Ok(Reading::Refused) };
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let item = Item { kind: transfer::Kind::Data, key, value };
        let Some(entry) = Entry::from_item(&item) else { return Ok(Reading::Refused) };
        if entry.to_item() == item { Ok(Reading::Understood) } else { Err(format!("{entry:?} is written otherwise")) }
    })
}

fn frames() -> Target {
    let frame = |payload: &[u8]| encode_frame(b"key", &[7; 16], "447700900123", Direction::Up, 9, payload);
    let payloads = [&b""[..], b"\x0A\x00\x01", &[0xFF; 200]];
    let seeds: Vec<Vec<u8>> = payloads.iter().map(|payload| frame(payload).expect("legal")).collect();
    let genuine = seeds.clone();
    Target::new("ip-frame", seeds, move |octets| {
        seen(decode_frame(Bytes::copy_from_slice(octets)));
        let mut framer = Framer::new();
        let mut reading = Reading::Refused;
        for piece in octets.chunks(37) {
            framer.push(piece);
            while let Ok(Some(octets)) = framer.next_frame() {
                let Ok(frame) = decode_frame(octets) else { continue };
                reading = Reading::Understood;
                if !frame.verify(b"key", &[7; 16], Direction::Up) {
                    continue;
                }
                let again = encode_frame(b"key", &[7; 16], &frame.msisdn, Direction::Up, frame.counter, &frame.payload);
                if !again.is_ok_and(|octets| genuine.contains(&octets)) {
                    return Err("a frame that nobody made has the right tag".to_owned());
                }
            }
            if framer.buffered_octets() > FRAME_OCTETS_MAX + 2 {
                return Err(format!("the framer holds {} octets", framer.buffered_octets()));
            }
        }
        Ok(reading)
    })
}

fn tables() -> Target {
    let seeds = vec![monitor().to_octets(), hex("00 01 D1 D2 00 02 E4 BA 00 03 D7 C7")];
    Target::new("tables", seeds, |octets| {
        let table = MonitorTable::from_octets(octets);
        let checksums = ChecksumTable::from_octets(octets);
        let is_understood = table.is_some() || checksums.is_some();
        if let Some(table) = table
            && table.to_octets() != octets
        {
            return Err("the monitor table is written otherwise".to_owned());
        }
        if let Some(checksums) = checksums {
            let again = ChecksumTable::from_octets(&checksums.to_octets());
            if again.as_ref() != Some(&checksums) {
                return Err("the checksum table is another one".to_owned());
            }
        }
        Ok(Reading::of(is_understood))
    })
}

/// Vectors 18 to 20.
const ASYNCHRONOUS: [&str; 5] = [
    "A1 07 0A 01 01 00 00 00 1D 01 424F42FFFFFFFFFFFFFFFFFFFFFF069100113254F6FFFFFFFFFFFFFF",
    "A1 07 0A 01 02 00 00 00 05 01 41424344 03 020102",
    "A2 07 0A 01 04 0A",
    "A2 07 0A 02 04 06 09 09",
    "A3 07 0A 00",
];

/// Vector 21.
const TRANSFERS: [&str; 8] = [
    "C1 00 01 06 04 6D 61 69 6E",
    "C1 00 02 07 04 6D 61 69 6E",
    "C1 00 03 0B 00",
    "C2 00 01 01 02 03 04 00 05",
    "C3 01 02 03 04 00 05",
    "C4 01 02 03 04 00 05 02 04 74 6F 6E 65 02 03 07 08",
    "C5 01 02 03 04 00 05 02 03",
    "C6 01 02 03 04 00",
];
