//! What a card and its phone read: APDUs, toolkit objects, phonebook records, the frames of a reader; and whole stations.

use std::time::Duration;

use bytes::Bytes;
use mobile::{Input, Station, StationConfig, applet::Profile};
use uicc::{
    apdu,
    applet::Applet,
    card::{Card, Kind, Personalisation},
    files::{EF_ADN, EF_EXT1, FileSystem, Path},
    phonebook,
    proactive::{ProactiveCommand, TerminalResponse, envelope},
    profile,
    tlv::Objects,
    vpcd,
};

use super::{BOB, Reading, Target, Verdict, any, hex, hex_all, seen, settles};

pub(super) fn all() -> Vec<Target> {
    vec![objects(), commands(), usim_commands(), phonebooks(), readers(), stations()]
}

const OBJECTS: [&str; 9] = [
    "D0 1E 81 03 01 13 00 82 02 81 83 85 00 8B 11 01 00 04 81 7788 00 F6 08 50420100 01020304",
    "81 03 01 03 00 82 02 82 81 83 01 00 84 02 01 05",
    "D1 1D 82 02 83 81 86 02 91 44 8B 13 04 04 81 7788 7F F6 22705200000000 04 10203040",
    "D3 07 82 02 01 81 90 01 05",
    "D7 0C 82 02 82 81 A4 01 01 A5 03 00 00 10",
    "D0 27 81 03 01 40 01 82 02 81 82 35 01 03 39 02 05 78 47 09 08 696E7465726E6574 3C 03 02 1F90 3E 05 21 7F000001",
    "D0 10 81 03 01 43 01 82 02 81 21 B6 05 48656C6C6F",
    "81 03 01 42 00 82 02 82 81 83 01 00 B6 02 4F4B B7 01 00",
    "D6 0E 99 01 09 82 02 82 81 B8 02 81 00 B7 01 10",
];

fn objects() -> Target {
    Target::new("toolkit-objects", hex_all(&OBJECTS), |octets| {
        if let Ok(objects) = Objects::of(octets) {
            let all: usize = (0..=u8::MAX).map(|tag| objects.all(tag).map(<[u8]>::len).sum::<usize>()).sum();
            // A tag is found with and without the bit that asks for comprehension.
            if all > 2 * octets.len() {
                return Err(format!("{all} octets of values"));
            }
        }
        any([
            // Durations are written in seconds or minutes.
            settles(octets, ProactiveCommand::decode, |(number, command)| command.encode(*number)),
            settles(octets, TerminalResponse::decode, TerminalResponse::encode),
            Ok(Reading::of(envelope::decode(octets).is_ok())),
        ])
    })
}

/// APDUs one after another, each with its length before it: one of them, and all.
fn sequences(texts: &[&str]) -> Vec<Vec<u8>> {
    let with_length = |apdu: &Vec<u8>| [vec![u8::try_from(apdu.len()).unwrap_or(u8::MAX)], apdu.clone()].concat();
    let apdus: Vec<Vec<u8>> = hex_all(texts).iter().map(with_length).collect();
    apdus.iter().take(1).cloned().chain([apdus.concat()]).collect()
}

fn commands() -> Target {
    let seeds = sequences(&[
        "A02000010831323334FFFFFFFF",
        "A0A40000023F00",
        "A0A40000027F10",
        "A0A40000026F3A",
        "A0B201041C",
        &format!("A0DC01041C{BOB}"),
        "A0F2000016",
        "A0C2000009D30782020181900105",
    ]);
    Target::new("apdu", seeds, |octets| {
        let mut files = FileSystem::new();
        files.add_linear(EF_ADN, 28, 10);
        files.add_linear(EF_EXT1, 13, 3);
        let mut card = Card::new(files, *b"1234\xFF\xFF\xFF\xFF", NoApplet);
        let reading = transmit_all(&mut card, octets)?;
        let records = [(EF_ADN, 28), (EF_EXT1, 13)];
        match records.iter().find(|(path, octets)| card.files().record(*path, 1).map(<[u8]>::len) != Ok(*octets)) {
            Some((path, _)) => Err(format!("file {path:?} has another shape")),
            None => Ok(reading),
        }
    })
}

fn usim_commands() -> Target {
    let seeds = sequences(&[
        "002000010831323334FFFFFFFF",
        "00A4040410A0000000871002FFFFFFFF8907090000",
        "00A40804067F105F3A4F30",
        "00A40004023F00",
        "00A40804047F105F3A",
        "00B201141C",
        &format!("00DC01141C{BOB}"),
        "00A2011402424F",
        "80F2000C",
    ]);
    Target::new("apdu-usim", seeds, |octets| {
        let with = Personalisation { kind: Kind::Uicc, is_chv1_enabled: true, ..Personalisation::default() };
        let profile = profile::Profile { adn_records: 2, ext1_records: 2, ..profile::Profile::default() };
        let mut card = Card::personalised(profile.files(Kind::Uicc), &with, NoApplet);
        transmit_all(&mut card, octets)
    })
}

fn transmit_all(card: &mut Card<NoApplet>, octets: &[u8]) -> Verdict {
    let (mut rest, mut understood) = (octets, false);
    while let Some((&length, tail)) = rest.split_first() {
        let (command, tail) = tail.split_at(tail.len().min(usize::from(length)));
        rest = tail;
        let response = card.transmit(command);
        let (data, word) = apdu::split(&response).ok_or("an answer without a status word")?;
        if data.len() > 256 {
            return Err(format!("{} octets of answer", data.len()));
        }
        understood |= [0x90, 0x91, 0x9F, 0x61, 0x62].contains(&word.0.to_be_bytes()[0]);
    }
    Ok(Reading::of(understood))
}

fn phonebooks() -> Target {
    let seeds = hex_all(&[
        BOB,
        "80 0041 0042 FFFFFFFFFFFFFFFFFF 06 91 00113254F6 FFFFFFFFFF FF FF",
        "81 06 08 98B2B0BD2032 FFFFFFFFFF 0B 91 44029764000021436587 FF 01",
        "82 04 0530 5395A6A6 FFFFFFFFFFFF 04 81 1A00FB FFFFFFFFFFFFFF FF FF",
    ]);
    Target::new("phonebook-record", seeds, |octets| {
        seen(phonebook::decode_alpha(octets));
        let extension = |_| Some(hex("02 05 0921436587F7 FFFFFFFF FF"));
        seen(phonebook::chain(octets, |_| Some(octets.to_vec())));
        seen(phonebook::decode_adn(octets, |_| Some(octets.to_vec())));
        let Some(contact) = phonebook::decode_adn(octets, extension) else { return Ok(Reading::Refused) };
        // An expansion digit (nibble E) has no character of its own. What no rule of ours would write need not be written;
        // what is written reads the same.
        if contact.number.contains('?') {
            return Ok(Reading::Understood);
        }
        let alpha_octets = octets.len().saturating_sub(phonebook::ADN_FIXED_OCTETS);
        let free: Vec<u8> = (1..=20).collect();
        let Ok(records) = phonebook::encode_adn(&contact, alpha_octets, &free) else {
            return Ok(Reading::Understood);
        };
        let stored = |number: u8| records.extensions.get(usize::from(number).checked_sub(1)?).cloned();
        match phonebook::decode_adn(&records.adn, stored) {
            Some(read) if read == contact => Ok(Reading::Understood),
            None if contact == phonebook::Contact::default() => Ok(Reading::Understood),
            other => Err(format!("written and read again it is {other:?}, it was {contact:?}")),
        }
    })
}

fn readers() -> Target {
    let seeds = hex_all(&["0001 01 0001 04 0007 A0A40000027F10 0001 02", "0000", "0001 00"]);
    Target::new("vpcd", seeds, |octets| {
        let mut framer = vpcd::Framer::default();
        let mut commands = 0;
        let mut understood = false;
        for piece in octets.chunks(11) {
            framer.push(piece);
            while let Some(request) = framer.next_request() {
                understood = true;
                if let vpcd::Request::Command(command) = request {
                    commands += command.len();
                }
            }
        }
        if commands > octets.len() {
            return Err(format!("{commands} octets of commands"));
        }
        Ok(Reading::of(understood))
    })
}

/// The input as messages of the centre, each with its length, to a whole station of each profile, on SMS and on IP.
fn stations() -> Target {
    let texts = [
        &format!("18 00 01 {BOB}"),
        "10 00 01 00 00 02 01",
        &format!("28 7F10 6F3A 05 0000 1C {BOB}"),
        "30 01 01 01 06 00 7F10 6F3A 00 FA 0000 1C 0A FF",
        "48 7F10 6F3A 05 02 04",
        "A2 07 0A 01 04 0A",
        "A3 07 0A 00",
        "83 01 03",
        "85 01 00",
        "03 01",
    ];
    let payloads = hex_all(&texts);
    let with_length = |octets: &Vec<u8>| [vec![u8::try_from(octets.len()).unwrap_or(u8::MAX)], octets.clone()].concat();
    let mut seeds: Vec<Vec<u8>> = payloads.iter().take(3).map(with_length).collect();
    seeds.push(payloads.iter().flat_map(with_length).collect());
    let mut target = Target::new("station", seeds, |octets| {
        let profiles = [
            Profile::Second,
            Profile::First(mobile::applet::first::Settings::default()),
            Profile::Third(mobile::applet::third::Settings::default()),
        ];
        any(profiles.map(|profile| station(profile, octets)))
    });
    target.heap_octets = 1 << 20;
    target
}

fn station(profile: Profile, octets: &[u8]) -> Verdict {
    let mut station = Station::new(StationConfig { profile, immediate_result: true, ..StationConfig::default() });
    let header = hex("04 0C 91 447700900000 7F F6 42111201431040");
    let (mut rest, mut now) = (octets, Duration::ZERO);
    let mut sent = 0;
    while let Some((&length, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(length)));
        rest = tail;
        let mut tpdu = header.clone();
        tpdu.push(u8::try_from(payload.len()).unwrap_or(u8::MAX));
        tpdu.extend(payload);
        let bearer = if length.is_multiple_of(2) {
            Input::SmsDeliver(tpdu)
        } else {
            Input::IpPayload(Bytes::copy_from_slice(payload))
        };
        for input in [bearer, Input::Tick] {
            now += Duration::from_secs(5);
            station.handle_input(input, now);
            sent += std::iter::from_fn(|| station.poll_output()).count();
        }
    }
    // At most a few outputs for each input, whatever came.
    let most = 64 * (octets.len() + 1);
    if sent > most { Err(format!("{sent} outputs")) } else { Ok(Reading::of(sent > 0)) }
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
