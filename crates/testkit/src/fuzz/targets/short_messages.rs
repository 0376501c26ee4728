//! SMS TPDUs, user data and its parts; SMPP frames, PDUs, sessions and texts.

use std::time::Duration;

use bytes::BytesMut;
use smpp::{Input, Output, Role, Session, SessionConfig, decode::split_header, framer::Framer};
use sms::{
    Deliver, DeliverReport, Outcome, Reassembler, ReassemblerLimits, StatusReport, Submit, SubmitReport,
    UserDataHeader, alphabet::gsm7,
};

use super::{Reading, Target, Verdict, again, any, hex_all, seen};

pub(super) fn all() -> Vec<Target> {
    vec![tpdus(), headers(), parts(), pdus(), sessions(), texts()]
}

const TPDUS: [&str; 6] = [
    "01 00 04 81 7788 00 F6 08 50420100 01020304",
    "51 05 0C 91 947112122721 00 16 A7 09 05 00 03 2A 02 01 010203",
    "44 0C 91 947112122721 7F 16 42111201431040 0B 07 00 03 2A 02 01 70 00 001615",
    "40 07 7F F6 13 027100 000E 0A B00011 0000000000 00 00 016132",
    "01 C3 00 42111201431040",
    "06 05 0C 91 947112122721 42111201431040 42111201931040 00",
];

fn tpdus() -> Target {
    Target::new("sms-tpdu", hex_all(&TPDUS), |octets| {
        seen(Deliver::decode_padded(octets));
        any([
            again(octets, Submit::decode, Submit::encode),
            again(octets, Deliver::decode, Deliver::encode),
            again(octets, DeliverReport::decode, DeliverReport::encode),
            again(octets, SubmitReport::decode, SubmitReport::encode),
            again(octets, StatusReport::decode, StatusReport::encode),
        ])
    })
}

fn headers() -> Target {
    let seeds = hex_all(&["00 03 2A 02 01 70 00", "00 03 2A 02 01", "70 00", "08 04 01 02 03 01"]);
    Target::new("sms-user-data", seeds, |octets| {
        seen(UserDataHeader::cut(octets));
        let septets = gsm7::unpack(octets, octets.len().min(160), octets.first().map_or(0, |first| first % 7));
        let text = gsm7::decode(&septets);
        if let Ok(coded) = gsm7::encode(&text)
            && gsm7::decode(&coded) != text
        {
            return Err("a text of the GSM alphabet is another one when it is read again".to_owned());
        }
        again(octets, UserDataHeader::decode, UserDataHeader::encode)
    })
}

/// The input as deliveries one after another, each with its length: no more is held than may be.
fn parts() -> Target {
    let deliver = |body: &str| super::hex(&format!("44 0C 91 947112122721 00 F6 42111201431040 {body}"));
    let texts = ["09 05 00 03 2A 02 01 010203", "09 05 00 03 2A 02 02 040506", "0A 06 08 04 012C 03 01 010203"];
    let with_length = |tpdu: Vec<u8>| [vec![u8::try_from(tpdu.len()).unwrap_or(u8::MAX)], tpdu].concat();
    let all: Vec<Vec<u8>> = texts.iter().map(|text| with_length(deliver(text))).collect();
    let seeds = vec![all.concat(), all[0].clone(), all[1].clone()];
    Target::new("sms-parts", seeds, |octets| {
        let limits =
            ReassemblerLimits { octets_max: 4096, messages_max: 4, messages_per_source_max: 2, ..Default::default() };
        let mut reassembler = Reassembler::new(limits);
        let (mut rest, mut now, mut understood) = (octets, Duration::ZERO, false);
        while let Some((&length, tail)) = rest.split_first() {
            let (tpdu, tail) = tail.split_at(tail.len().min(usize::from(length)));
            rest = tail;
            now += Duration::from_secs(u64::from(length));
            let Ok(deliver) = Deliver::decode(tpdu) else { continue };
            understood = true;
            let Some(header) = deliver.user_data.header() else { continue };
            let Some(part) = header.concatenation() else { continue };
            let source = deliver.originator.digits().to_owned();
            let insertion = reassembler.insert(source, part, header, deliver.user_data.body(), now);
            if let Outcome::Complete(message) = insertion.outcome
                && message.payload.len() > octets.len()
            {
                return Err("a message has more octets than all its parts".to_owned());
            }
            if reassembler.octets() > 4096 {
                return Err(format!("{} octets are held", reassembler.octets()));
            }
        }
        reassembler.expire(now + Duration::from_secs(3600));
        if reassembler.octets() > 0 {
            return Err("parts outlive their time".to_owned());
        }
        Ok(Reading::of(understood))
    })
}

const PDUS: [&str; 4] = [
    "0000002F000000020000000000000001534D50503354455354007365637265743038005355424D4954310050010100",
    "0000001A800000020000000000000001736D7363000210000134",
    "000000450000000400000000000000040001013434373730303930303132330000013230303100007F000030303030303130303030303030303052000100F600040001FEFF",
    "0000003E000000050000000000000005000101343437373030393030313233000001323030310040080000000000F60007050003010201AA020400020007",
];

fn pdus() -> Target {
    Target::new("smpp-pdu", hex_all(&PDUS), |octets| {
        let mut framer = Framer::new(64 * 1024);
        let (mut rest, mut reading) = (octets, Reading::Refused);
        while let Ok(Some(frame)) = framer.next_frame(&mut rest) {
            let Some((header, body)) = split_header(&frame) else { continue };
            let Ok(pdu) = smpp::decode(&header, body) else { continue };
            let mut written = BytesMut::new();
            smpp::encode(&pdu, header.command_status, header.sequence_number, &mut written)
                .map_err(|fault| format!("what was read cannot be written: {fault:?}"))?;
            let (header, body) = split_header(&written).ok_or("a PDU without a header was written")?;
            super::same(&pdu, &smpp::decode(&header, body))?;
            reading = Reading::Understood;
        }
        if framer.buffered_octets() > 64 * 1024 {
            return Err(format!("the framer holds {} octets", framer.buffered_octets()));
        }
        Ok(reading)
    })
}

/// The input as a stream to a session of either role, in pieces; each octet of answer has an octet of question.
fn sessions() -> Target {
    let seeds = hex_all(&[PDUS[0], PDUS[2], &PDUS.concat()]);
    let origin = origin();
    Target::new("smpp-session", seeds, move |octets| {
        any([Role::Esme, Role::Smsc].map(|role| session(role, octets, origin)))
    })
}

fn session(role: Role, octets: &[u8], origin: std::time::Instant) -> Verdict {
    let mut now = origin;
    let config = SessionConfig { command_length_max: 2048, inbound_window_max: 8, ..SessionConfig::default() };
    let mut session = Session::new(role, config, now);
    let (mut answered, mut understood) = (0, false);
    for piece in octets.chunks(50) {
        session.handle_input(Input::Bytes(piece), now).map_err(|fault| format!("{role:?}: {fault:?}"))?;
        now += Duration::from_secs(1);
        session.handle_input(Input::Tick, now).map_err(|fault| format!("{role:?}: {fault:?}"))?;
        while let Some(output) = session.poll_output() {
            match output {
                Output::Transmit(octets) => {
                    understood = true;
                    answered += octets.len();
                }
                Output::Event(_) => understood = true,
                Output::Close(_) => {}
            }
        }
    }
    // An answer to each header of 16 octets, none much longer; and what a session says of its own.
    let most = 256 + 40 * (octets.len() / 16 + 1);
    if answered > most {
        return Err(format!("{answered} octets of answer to {} octets", octets.len()));
    }
    Ok(Reading::of(understood))
}

fn origin() -> std::time::Instant {
    std::time::Instant::now()
}

fn texts() -> Target {
    let receipt = b"id:A1 sub:001 dlvrd:001 submit date:2411211034 done date:2411211035 stat:DELIVRD err:000 text:x";
    let seeds = vec![receipt.to_vec(), b"241121103400004+".to_vec(), b"000007000000000R".to_vec()];
    Target::new("smpp-texts", seeds, |octets| {
        let receipt = smpp::Receipt::parse(octets);
        if let Some(receipt) = &receipt
            && smpp::Receipt::parse(receipt.format().as_bytes()).is_none()
        {
            return Err("a receipt is none when it is written again".to_owned());
        }
        seen(std::str::from_utf8(octets).map(smpp::time::parse_receipt_date));
        Ok(Reading::of(receipt.is_some() || smpp::time::parse(octets).is_some()))
    })
}
