//! Every decoder of the project on random octets and on valid ones with faults: it returns, and what it takes of the
//! heap is bounded by what came in. Each crate's own property tests look closer; this one misses no decoder.

use bytes::{Bytes, BytesMut};
use domain::{
    delivery::{ActionId, Content, Progress, QueueEntry, RestoreRecord},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{Bearer, DeviceState, FilePath, LastMessage, Page, apply},
};
use link::{
    ip::{Direction, decode_frame, encode_frame},
    message::Message,
    monitor::{MonitorRow, MonitorTable},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use smpp::{decode::split_header, framer::Framer};
use uicc::{
    apdu,
    applet::Applet,
    card::{Card, Kind, Personalisation},
    files::{EF_ADN, FileSystem, Path},
    phonebook,
    proactive::{self, ProactiveCommand, TerminalResponse},
    profile::Profile,
    vpcd,
};

use crate::heap;

/// Octet strings that each decoder is given.
const ROUNDS: usize = 30_000;
/// Of an input, at most.
const INPUT_OCTETS_MAX: usize = 4096;
/// Heap of one decoding, at most: so many octets for each that came in, and so many besides. A record of three octets is
/// padded to the length of its row, at most 255, and stands in a vector that doubles.
const HEAP_PER_OCTET: usize = 512;
const HEAP_BESIDES: usize = 64 * 1024;

/// True when the octets were understood.
type Decode = Box<dyn Fn(&[u8]) -> bool>;

struct Decoder {
    name: &'static str,
    valid: Vec<Vec<u8>>,
    decode: Decode,
}

fn decoder(name: &'static str, valid: Vec<Vec<u8>>, decode: impl Fn(&[u8]) -> bool + 'static) -> Decoder {
    Decoder { name, valid, decode: Box::new(decode) }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit.to_le_bytes()[0]).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn hex_all(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| hex(text)).collect()
}

/// Rows of usual, greatest and no length.
fn monitor() -> MonitorTable {
    let row = |data_octets| MonitorRow { df: 0x7F10, ef: 0x6F3A, record_count: 250, data_octets, ..Default::default() };
    MonitorTable::new(vec![row(28), row(255), row(0)])
}

const BOB: &str = "424F42FFFFFFFFFFFFFFFFFFFFFF069100113254F6FFFFFFFFFFFFFF";

fn link_decoders() -> Vec<Decoder> {
    let messages = [
        &format!("0A 00 01 {BOB} D0 26"),
        "10 00 01 00 00 02 01",
        &format!("18 00 01 {BOB}"),
        "20 7F10 6F3A 01 00 00 7F10 6F3A 02 02 02",
        &format!("28 7F10 6F3A 05 0000 1C {BOB}"),
        "30 01 01 01 04 01 01 08 09 00 7F10 6F3A 01 FA 00 1C",
        "38 01 00 04 00",
        "40 00 01 FA",
        "48 7F10 6F3A 05 02 04",
    ];
    let frames: Vec<Vec<u8>> = [&b""[..], b"\x0A\x00\x01", &[0xFF; 200]]
        .iter()
        .map(|payload| encode_frame(b"key", &[7; 16], "447700900123", Direction::Up, 9, payload).expect("legal"))
        .collect();
    let monitored = monitor();
    vec![
        decoder("link::Message", hex_all(&messages), move |octets| {
            drop(apply::parse(octets, &monitored));
            Message::decode(octets, &monitored).is_ok()
        }),
        decoder("link::ip", frames, |octets| {
            drop(decode_frame(Bytes::copy_from_slice(octets)));
            let mut framer = link::ip::Framer::new();
            framer.push(octets);
            let mut understood = false;
            while let Ok(Some(frame)) = framer.next_frame() {
                understood |= decode_frame(frame).is_ok();
            }
            understood
        }),
        decoder("link tables", vec![monitor().to_octets().to_vec()], |octets| {
            drop(link::checksum_table::ChecksumTable::from_octets(octets));
            MonitorTable::from_octets(octets).is_some()
        }),
    ]
}

fn sms_decoders() -> Vec<Decoder> {
    let tpdus = [
        "01 00 04 81 7788 00 F6 08 50420100 01020304",
        "51 05 0C 91 947112122721 00 16 A7 09 05 00 03 2A 02 01 010203",
        "44 0C 91 947112122721 7F 16 42111201431040 0B 07 00 03 2A 02 01 70 00 001615",
        "40 07 7F F6 13 027100 000E 0A B00011 0000000000 00 00 016132",
        "01 C3 00 42111201431040",
        "06 05 0C 91 947112122721 42111201431040 42111201931040 00",
    ];
    vec![decoder("sms", hex_all(&tpdus), |octets| {
        drop(sms::UserDataHeader::decode(octets));
        drop(sms::UserDataHeader::cut(octets));
        drop(sms::alphabet::gsm7::decode(&sms::alphabet::gsm7::unpack(octets, 160, 3)));
        let understood = [
            sms::Submit::decode(octets).is_ok(),
            sms::Deliver::decode(octets).is_ok(),
            sms::DeliverReport::decode(octets).is_ok(),
            sms::SubmitReport::decode(octets).is_ok(),
            sms::StatusReport::decode(octets).is_ok(),
        ];
        understood.contains(&true)
    })]
}

fn smpp_decoders() -> Vec<Decoder> {
    let pdus = [
        "0000002F000000020000000000000001534D50503354455354007365637265743038005355424D4954310050010100",
        "0000001A800000020000000000000001736D7363000210000134",
        "000000450000000400000000000000040001013434373730303930303132330000013230303100007F000030303030303130303030303030303052000100F600040001FEFF",
        "0000003E000000050000000000000005000101343437373030393030313233000001323030310040080000000000F60007050003010201AA020400020007",
    ];
    let receipt = b"id:A1 sub:001 dlvrd:001 submit date:2411211034 done date:2411211035 stat:DELIVRD err:000 text:x";
    vec![
        decoder("smpp", hex_all(&pdus), |octets| {
            let mut framer = Framer::new(64 * 1024);
            let (mut rest, mut understood) = (octets, false);
            while let Ok(Some(frame)) = framer.next_frame(&mut rest) {
                if let Some((header, body)) = split_header(&frame)
                    && let Ok(pdu) = smpp::decode(&header, body)
                {
                    let mut again = BytesMut::new();
                    smpp::encode(&pdu, header.command_status, 1, &mut again).expect("what was read can be written");
                    understood = true;
                }
            }
            understood
        }),
        decoder("smpp texts", vec![receipt.to_vec(), b"241121103400004+".to_vec()], |octets| {
            smpp::Receipt::parse(octets).is_some() | smpp::time::parse(octets).is_some()
        }),
    ]
}

fn uicc_decoders() -> Vec<Decoder> {
    let objects = hex_all(&[
        "D0 1E 81 03 01 13 00 82 02 81 83 85 00 8B 11 01 00 04 81 7788 00 F6 08 50420100 01020304",
        "81 03 01 03 00 82 02 82 81 83 01 00 84 02 01 05",
        "D1 1D 82 02 83 81 86 02 91 44 8B 13 04 04 81 7788 7F F6 22705200000000 04 10203040",
        "D3 07 82 02 01 81 90 01 05",
        "D7 0C 82 02 82 81 A4 01 01 A5 03 00 00 10",
        "D0 27 81 03 01 40 01 82 02 81 82 35 01 03 39 02 05 78 47 09 08 696E7465726E6574 3C 03 02 1F90 3E 05 21 7F000001",
        "D0 10 81 03 01 43 01 82 02 81 21 B6 05 48656C6C6F",
        "81 03 01 42 00 82 02 82 81 83 01 00 B6 02 4F4B B7 01 00",
        "D6 0E 99 01 09 82 02 82 81 B8 02 81 00 B7 01 10",
    ]);
    let commands = hex_all(&[
        "A0A40000023F00",
        "A0A40000027F10",
        "A0A40000026F3A",
        "A02000010831323334FFFFFFFF",
        "A0B201041C",
        &format!("A0DC01041C{BOB}"),
        "A0F2000016",
        "A0C20000 09 D3 07 82 02 01 81 90 01 05",
    ]);
    let commands_of_usim = hex_all(&[
        "00A4040410A0000000871002FFFFFFFF8907090000",
        "00A40804067F105F3A4F30",
        "00A40004023F00",
        "00B201141C",
        &format!("00DC01141C{BOB}"),
        "00A2011402424F",
        "80F2000C",
        "0020000108 31323334FFFFFFFF",
    ]);
    vec![
        decoder("uicc commands of a usim", commands_of_usim, |octets| {
            let with = Personalisation { kind: Kind::Uicc, is_chv1_enabled: true, ..Personalisation::default() };
            let files = Profile { adn_records: 2, ext1_records: 2, ..Profile::default() }.files(Kind::Uicc);
            let mut card = Card::personalised(files, &with, NoApplet);
            for command in ["0020000108 31323334FFFFFFFF", &format!("A0DC01041C{BOB}"), "00A40804047F105F3A"] {
                card.transmit(&hex(command));
            }
            let response = card.transmit(octets);
            let (_, word) = apdu::split(&response).expect("a status word");
            [0x90, 0x91, 0x9F, 0x61, 0x62].contains(&word.0.to_be_bytes()[0])
        }),
        decoder("vpcd", hex_all(&["0001 04", "0005 A0F2000016 0001 02"]), |octets| {
            let mut framer = vpcd::Framer::default();
            framer.push(octets);
            std::iter::from_fn(|| framer.next_request()).any(|request| request != vpcd::Request::Unknown)
        }),
        decoder("uicc objects", objects, |octets| {
            ProactiveCommand::decode(octets).is_ok()
                | TerminalResponse::decode(octets).is_ok()
                | proactive::envelope::decode(octets).is_ok()
        }),
        decoder("uicc commands", commands, |octets| {
            // A card on which the file of the phonebook is selected and open.
            let mut files = FileSystem::new();
            files.add_linear(EF_ADN, 28, 2);
            let mut card = Card::new(files, *b"1234\xFF\xFF\xFF\xFF", NoApplet);
            for command in ["A02000010831323334FFFFFFFF", "A0A40000027F10", "A0A40000026F3A"] {
                card.transmit(&hex(command));
            }
            let response = card.transmit(octets);
            let (_, word) = apdu::split(&response).expect("a status word");
            // Done, or done and more waits; an applet that is none has nothing for some.
            [0x90, 0x91, 0x9F].contains(&word.0.to_be_bytes()[0])
        }),
        decoder("uicc phonebook", hex_all(&[BOB, "80 0041 0042 FFFF 06 91 00113254F6 FFFFFFFFFF FFFF"]), |octets| {
            drop(phonebook::decode_alpha(octets));
            phonebook::decode_adn(octets, |_| Some(octets.to_vec())).is_some()
        }),
    ]
}

/// A card without any.
struct NoApplet;

impl Applet for NoApplet {
    fn file_updated(&mut self, _: &mut FileSystem, _: Path, _: u8) {}
    fn status(&mut self, _: &mut FileSystem) {}
    fn sms_pp_download(&mut self, _: &mut FileSystem, _: &[u8]) {}
    fn timer_expired(&mut self, _: &mut FileSystem, _: u8) {}
    fn menu_selected(&mut self, _: &mut FileSystem, _: u8) {}
    fn next_command(&mut self, _: &mut FileSystem) -> Option<ProactiveCommand> {
        None
    }
    fn terminal_response(&mut self, _: &mut FileSystem, _: &TerminalResponse) {}
    fn ip_received(&mut self, _: &mut FileSystem, _: &[u8]) {}
    fn next_ip_payload(&mut self) -> Option<Bytes> {
        None
    }
    fn reset(&mut self, _: &mut FileSystem) {}
}

fn stored_value_decoders() -> Vec<Decoder> {
    let data = || Bytes::from(hex(BOB));
    let file = FilePath { df: 0x7F10, ef: 0x6F3A };
    let entry = QueueEntry {
        device: DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) },
        action: ActionId(3),
        msisdn: Msisdn::parse("447700900123").expect("a number"),
        channel: Bearer::Sms,
        acknowledgement: Some(Bytes::from_static(&[0, 1, 0])),
        is_secured: true,
        traces: vec![Bytes::from_static(&[7; 16]); 2],
    };
    let record = RestoreRecord {
        monitor_index: 0,
        file,
        record_number: 1,
        data_offset: 0,
        data: data(),
        progress: Progress::Failed(4),
    };
    let contents = [
        Content::BackupAcknowledgement { records: Bytes::from_static(&[0, 1, 0]) },
        Content::Restore { records: vec![record.clone(); 3] },
        Content::AddressableRestore { records: vec![record] },
    ];
    let mut page = Page { slot_octets: 28, ..Page::default() };
    page.slots[0] = Some(data());
    page.slots[15] = Some(data());
    let state = DeviceState {
        monitor: monitor(),
        last_message: Some(LastMessage { hash: 1, at: Timestamp(2), answer: data() }),
        resynchronised: vec![Timestamp(3)],
        settings: [(4, Bytes::from_static(&[1]))].into(),
        ..DeviceState::default()
    };
    vec![
        decoder("queue entry", vec![entry.to_octets().to_vec()], |octets| {
            QueueEntry::from_octets(octets.to_vec()).is_ok()
        }),
        decoder("action content", contents.iter().map(Content::to_octets).collect(), |octets| {
            Content::from_octets(octets.to_vec()).is_ok()
        }),
        decoder("book page", vec![page.to_octets()], |octets| Page::from_octets(octets.to_vec()).is_ok()),
        decoder("device state", vec![state.to_octets()], |octets| {
            DeviceState::from_octets(octets.to_vec(), 1, 1).is_ok()
        }),
    ]
}

/// One of a few ways in which octets go wrong.
fn mutate(rng: &mut StdRng, octets: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=octets.len());
    match rng.random_range(0..7) {
        0 => octets.truncate(at),
        1 => octets.insert(at, rng.random()),
        2 => octets.splice(at..at, other.iter().copied()).for_each(drop),
        3 => octets.truncate(octets.len().saturating_sub(1)),
        // Lengths and counts are what decoders trust too soon.
        4 | 5 => {
            const EDGES: [u8; 7] = [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFE, 0xFF];
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            octets.get_mut(at).into_iter().for_each(|octet| *octet = edge);
        }
        _ => octets.get_mut(at).into_iter().for_each(|octet| *octet ^= 1 << rng.random_range(0..8)),
    }
    octets.truncate(INPUT_OCTETS_MAX);
}

fn random(rng: &mut StdRng) -> Vec<u8> {
    let length = rng.random_range(0..300);
    (0..length).map(|_| rng.random()).collect()
}

/// Covers: PF-19
#[test]
fn no_decoder_panics_or_takes_more_than_its_share_of_memory() {
    let decoders = [link_decoders(), smpp_decoders(), sms_decoders(), uicc_decoders(), stored_value_decoders()];
    for Decoder { name, valid, decode } in decoders.into_iter().flatten() {
        for octets in &valid {
            assert!(decode(octets), "{name} does not understand {octets:02X?}");
        }
        let mut rng = StdRng::seed_from_u64(19);
        let (mut understood, mut refused) = (0, 0);
        for round in 0..ROUNDS {
            let any = |rng: &mut StdRng| valid[rng.random_range(0..valid.len())].clone();
            let mut octets = if round % 8 == 0 { random(&mut rng) } else { any(&mut rng) };
            for _ in 0..rng.random_range(0..6) {
                let other = any(&mut rng);
                mutate(&mut rng, &mut octets, &other);
            }
            let limit = HEAP_BESIDES + HEAP_PER_OCTET * octets.len();
            let mut outcome = None;
            let peak = heap::peak(|| {
                let decode = std::panic::AssertUnwindSafe(|| decode(&octets));
                outcome = std::panic::catch_unwind(decode).ok();
            });
            match outcome {
                Some(true) => understood += 1,
                Some(false) => refused += 1,
                None => panic!("{name} panics on {octets:02X?}"),
            }
            assert!(peak <= limit, "{name} takes {peak} octets of heap, at most {limit}, on {octets:02X?}");
        }
        // The faults are neither so coarse that nothing gets past the first octet, nor so fine that nothing is wrong.
        assert!(
            understood > ROUNDS / 100 && refused > ROUNDS / 100,
            "{name}: {understood} understood, {refused} refused"
        );
    }
}

/// What cards are given by anybody who knows their number: the whole station on faulty deliveries.
#[test]
fn no_delivery_makes_a_station_panic() {
    let deliver = hex("44 0C 91 947112122721 7F 16 42111201431040 0B 07 00 03 2A 02 01 70 00 001615");
    let mut rng = StdRng::seed_from_u64(19);
    let mut station = mobile::Station::new(mobile::StationConfig::default());
    let mut now = std::time::Duration::ZERO;
    for _ in 0..ROUNDS / 10 {
        let mut octets = deliver.clone();
        for _ in 0..rng.random_range(0..6) {
            mutate(&mut rng, &mut octets, &deliver);
        }
        now += std::time::Duration::from_secs(1);
        station.handle_input(mobile::Input::SmsDeliver(octets.clone()), now);
        station.handle_input(mobile::Input::IpPayload(octets.into()), now);
        while station.poll_output().is_some() {}
    }
}
