//! Vectors (sim-and-sms.md 5.4), properties, and the reassembler's corners.

use super::*;
use crate::alphabet::gsm7;
use crate::concatenation::{Reference, split};
use crate::user_data_header::element_id;
use proptest::prelude::*;
use std::time::Duration;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// Every example of section 5.4, by TPDU.
const VECTORS: &[(&str, &str)] = &[
    ("submit", "01 00 04 81 7788 00 F6 08 50420100 01020304"),
    ("submit", "51 05 0C 91 947112122721 00 16 A7 09 05 00 03 2A 02 01 010203"),
    ("submit", "51 05 0C 91 947112122721 00 F6 A7 0A 06 08 04 1F2A 02 01 010203"),
    ("deliver", "04 04 81 7788 7F F6 22705200000000 04 10203040"),
    ("deliver", "44 0C 91 947112122721 7F 16 42111201431040 0B 07 00 03 2A 02 01 70 00 001615"),
    ("deliver report", "40 07 7F F6 13 027100 000E 0A B00011 0000000000 00 00 016132"),
    ("deliver report", "00 00"),
    ("deliver report", "40 D5 07 7F F6 10 027100 000B 0A 504201 0102030405 00 02"),
    ("deliver report", "00 D4 00"),
    ("submit report", "01 00 42111201431040"),
    ("submit report", "01 C3 00 42111201431040"),
    ("status report", "06 05 0C 91 947112122721 42111201431040 42111201931040 00"),
];

fn recode(kind: &str, octets: &[u8]) -> Result<Vec<u8>, Malformed> {
    match kind {
        "submit" => Submit::decode(octets).map(|tpdu| tpdu.encode()),
        "deliver" => Deliver::decode(octets).map(|tpdu| tpdu.encode()),
        "deliver report" => DeliverReport::decode(octets).map(|tpdu| tpdu.encode()),
        "submit report" => SubmitReport::decode(octets).map(|tpdu| tpdu.encode()),
        _ => StatusReport::decode(octets).map(|tpdu| tpdu.encode()),
    }
}

const KINDS: [&str; 5] = ["submit", "deliver", "deliver report", "submit report", "status report"];

#[test]
fn examples_decode_and_encode_to_the_same_octets() {
    for (kind, text) in VECTORS {
        let octets = hex(text);
        assert_eq!(recode(kind, &octets).as_ref(), Ok(&octets), "{kind} {text}");
    }
}

#[test]
fn every_cut_of_an_example_is_refused_or_shorter_but_never_a_panic() {
    for (kind, text) in VECTORS {
        let octets = hex(text);
        for end in 0..octets.len() {
            if let Ok(again) = recode(kind, &octets[..end]) {
                assert!(again.len() <= end + 1, "{kind} {text} cut at {end}");
            }
        }
    }
}

/// Covers: S1-MS-05
#[test]
fn the_nine_fields_of_table_1_round_trip() {
    let centre = Address::international("491711234567").unwrap();
    let periods = [
        None,
        Some(ValidityPeriod::Relative(0xA7)),
        Some(ValidityPeriod::Enhanced([0x01, 0x17, 0, 0, 0, 0, 0])),
        Some(ValidityPeriod::Absolute(TimeStamp::from_unix_seconds(1_732_181_641, 4))),
    ];
    for (index, validity_period) in periods.into_iter().cycle().take(16).enumerate() {
        let submit = Submit {
            reject_duplicates: index & 4 != 0,
            reply_path: index & 8 != 0,
            status_report_request: index % 3 == 0,
            message_reference: u8::try_from(index * 17).unwrap(),
            destination: centre.clone(),
            protocol_id: ProtocolId(0x08),
            data_coding: MT_DATA_CODING,
            validity_period,
            user_data: UserData::from_octets(&[7; 139][..index * 8]).unwrap(),
        };
        let octets = submit.encode();
        assert_eq!(octets[0] & 3, 1, "TP-MTI");
        assert_eq!(octets[0] & 4 != 0, submit.reject_duplicates, "TP-RD");
        assert_eq!(octets[0] & 0x18 != 0, validity_period.is_some(), "TP-VPF");
        assert_eq!(octets[0] & 0x80 != 0, submit.reply_path, "TP-RP");
        assert_eq!(octets[1], submit.message_reference, "TP-MR");
        assert_eq!(octets[2..10], hex("0C 91 947111325476"), "TP-DA");
        assert_eq!(octets[10..12], [0x08, 0xF6], "TP-PID, TP-DCS");
        let length_at = octets.len() - index * 8 - 1;
        assert_eq!(usize::from(octets[length_at]), index * 8, "TP-UDL");
        assert_eq!(Submit::decode(&octets), Ok(submit));
    }
}

#[test]
fn fields_of_the_examples_have_their_values() {
    let submit = Submit::decode(&hex(VECTORS[1].1)).unwrap();
    assert_eq!(submit.destination, Address::international("491721217212").unwrap());
    assert_eq!(submit.validity_period.unwrap().relative_duration(), Some(Duration::from_secs(86_400)));
    assert_eq!(submit.data_coding.class(), Some(MessageClass::Sim));
    let part = PartInfo { reference: Reference::Eight(0x2A), total: 2, sequence: 1 };
    assert_eq!(submit.user_data.header().unwrap().concatenation(), Some(part));
    assert_eq!(submit.user_data.body(), [1, 2, 3]);

    let deliver = Deliver::decode(&hex(VECTORS[4].1)).unwrap();
    // 2024-11-21 10:34:01 at zone +1 h.
    assert_eq!(deliver.time_stamp.to_unix_seconds(), Some(1_732_181_641));
    assert!(deliver.user_data.header().unwrap().find(element_id::COMMAND_PACKET).is_some());
    assert!(deliver.protocol_id.is_sim_data_download());

    let report = DeliverReport::decode(&hex(VECTORS[7].1)).unwrap();
    assert_eq!(report.failure_cause, Some(failure_cause::SIM_DATA_DOWNLOAD_ERROR));
    let status = StatusReport::decode(&hex(VECTORS[11].1)).unwrap();
    assert!(status.is_delivered() && !status.is_still_trying());
    assert_eq!(status.discharge_time.to_unix_seconds(), Some(1_732_181_641 + 5 * 60));
}

#[test]
fn data_codings_have_their_class_and_alphabet() {
    use Alphabet::{Gsm7, Octets, Ucs2};
    use MessageClass::{Display, Phone, Sim};
    let table = [
        (0x00, None, Gsm7),
        (0x04, None, Octets),
        (0x08, None, Ucs2),
        (0x10, Some(Display), Gsm7),
        (0x12, Some(Sim), Gsm7),
        (0x15, Some(Phone), Octets),
        (0x16, Some(Sim), Octets),
        (0xF0, Some(Display), Gsm7),
        (0xF2, Some(Sim), Gsm7),
        (0xF5, Some(Phone), Octets),
        (0xF6, Some(Sim), Octets),
        (0xE0, None, Ucs2),
        (0xC8, None, Gsm7),
    ];
    for (octet, class, alphabet) in table {
        assert_eq!((DataCoding(octet).class(), DataCoding(octet).alphabet()), (class, alphabet), "{octet:02X}");
    }
    assert_eq!(ProtocolId(0x43).meaning(), ProtocolIdMeaning::Replace(3));
}

#[test]
fn the_alphabet_packs_as_the_standard_says() {
    // TS 23.038's usual example.
    assert_eq!(gsm7::pack(&gsm7::encode("hellohello").unwrap(), 0), hex("E8329BFD4697D9EC37"));
    assert_eq!(gsm7::encode("a€[").unwrap(), [0x61, 0x1B, 0x65, 0x1B, 0x3C]);
    assert_eq!(gsm7::decode(&[0x1B, 0x41, 0x1B, 0x3E, 0x1B]), "A] ");
    let refused = Malformed::NotInAlphabet { index: 2, character: 'ł' };
    assert_eq!(gsm7::encode("ałł").map_err(|_| ()), Err(()));
    assert_eq!(gsm7::encode("aał"), Err(refused));
    for septet in (0..128u8).filter(|septet| *septet != gsm7::ESCAPE) {
        let text = gsm7::decode(&[septet]);
        assert_eq!(gsm7::encode(&text).unwrap(), [septet]);
    }
}

#[test]
fn an_alphanumeric_originator_round_trips() {
    for name in ["Design@Home", "a", "Centre1", "Centre12", "{€}"] {
        let deliver = Deliver {
            more_messages: true,
            loop_prevention: false,
            reply_path: false,
            status_report_indication: false,
            originator: Address::new(type_of_number::ALPHANUMERIC, 0, name).unwrap(),
            protocol_id: PID_SHORT_MESSAGE,
            data_coding: DataCoding(0),
            time_stamp: TimeStamp::default(),
            user_data: UserData::new(None, gsm7::encode("text").unwrap(), Alphabet::Gsm7).unwrap(),
        };
        assert_eq!(Deliver::decode(&deliver.encode()), Ok(deliver), "{name}");
    }
    assert!(Address::new(5, 0, "twelve chars").is_err());
    assert!(!format!("{:?}", Address::international("4917211").unwrap()).contains("17211"));
}

#[test]
fn text_behind_a_header_starts_on_a_septet() {
    let part = PartInfo { reference: Reference::Eight(1), total: 2, sequence: 2 };
    let header = UserDataHeader::from_elements(vec![part.to_element()]).unwrap();
    let text = gsm7::encode("after the header").unwrap();
    let user_data = UserData::new(Some(header), text, Alphabet::Gsm7).unwrap();
    let submit = Submit {
        reject_duplicates: true,
        reply_path: false,
        status_report_request: false,
        message_reference: 1,
        destination: Address::new(0, 1, "7788").unwrap(),
        protocol_id: PID_SHORT_MESSAGE,
        data_coding: DataCoding(0x12),
        validity_period: None,
        user_data,
    };
    let octets = submit.encode();
    // 6 octets of header are 7 septets, then 16.
    assert_eq!(octets[8], 23);
    assert_eq!(Submit::decode(&octets), Ok(submit));
}

#[test]
fn validity_periods_follow_the_table() {
    let table = [
        (0, 300),
        (143, 43_200),
        (144, 45_000),
        (167, 86_400),
        (168, 172_800),
        (196, 2_592_000),
        (197, 3_024_000),
        (255, 38_102_400),
    ];
    for (value, seconds) in table {
        let period = ValidityPeriod::Relative(value);
        assert_eq!(period.relative_duration(), Some(Duration::from_secs(seconds)));
        assert_eq!(ValidityPeriod::relative_at_least(Duration::from_secs(seconds)), period);
    }
    assert_eq!(ValidityPeriod::relative_at_least(Duration::from_secs(301)), ValidityPeriod::Relative(1));
}

#[test]
fn capacities_are_those_of_the_standard() {
    let sizes = |length: usize, header: &UserDataHeader, reference| -> Vec<usize> {
        split(&vec![0; length], header, reference).unwrap().into_iter().map(|(_, body)| body.len()).collect()
    };
    let none = UserDataHeader::default();
    assert_eq!(sizes(140, &none, Reference::Eight(1)), [140]);
    assert_eq!(sizes(141, &none, Reference::Eight(1)), [134, 7]);
    assert_eq!(sizes(141, &none, Reference::Sixteen(1)), [133, 8]);
    assert_eq!(sizes(137, &UserDataHeader::command_packet(), Reference::Eight(1)), [137]);
    assert_eq!(sizes(300, &UserDataHeader::command_packet(), Reference::Eight(1)), [132, 134, 34]);
    assert!(split(&vec![0; 134 * 255 + 1], &none, Reference::Eight(1)).is_err());
}

fn parts_of(payload: &[u8], reference: u8) -> Vec<(UserDataHeader, Vec<u8>)> {
    split(payload, &UserDataHeader::default(), Reference::Eight(reference)).unwrap()
}

fn insert(reassembler: &mut Reassembler<u32>, part: &(UserDataHeader, Vec<u8>), seconds: u64) -> Insertion {
    let info = part.0.concatenation().unwrap();
    reassembler.insert(1, info, &part.0, &part.1, Duration::from_secs(seconds))
}

fn waiting() -> Insertion {
    Insertion { outcome: Outcome::Waiting, discarded_parts: 0 }
}

fn complete(payload: &[u8]) -> Outcome {
    Outcome::Complete(Reassembled { header: UserDataHeader::default(), payload: payload.to_vec() })
}

use crate::concatenation::Reassembled;

#[test]
fn parts_join_out_of_order_and_repeated() {
    let payload: Vec<u8> = (0..=255).cycle().take(400).collect();
    let parts = parts_of(&payload, 9);
    let mut reassembler = Reassembler::new(ReassemblerLimits::default());
    assert_eq!(insert(&mut reassembler, &parts[2], 0), waiting());
    assert_eq!(insert(&mut reassembler, &parts[0], 0), waiting());
    assert_eq!(insert(&mut reassembler, &parts[0], 1).outcome, Outcome::Duplicate);
    assert_eq!(insert(&mut reassembler, &parts[1], 2).outcome, complete(&payload));
    // The whole message again, as a card repeats it: whole again.
    assert_eq!(insert(&mut reassembler, &parts[1], 3), waiting());
    assert_eq!(insert(&mut reassembler, &parts[0], 3), waiting());
    assert_eq!(insert(&mut reassembler, &parts[2], 3).outcome, complete(&payload));
    reassembler.expire(Duration::from_secs(700));
    assert_eq!(reassembler.octets(), 0);
}

#[test]
fn a_conflicting_part_starts_its_message_anew() {
    let (old, new) = (parts_of(&[1; 200], 9), parts_of(&[2; 200], 9));
    let mut reassembler = Reassembler::new(ReassemblerLimits::default());
    assert_eq!(insert(&mut reassembler, &old[0], 0), waiting());
    let conflict = insert(&mut reassembler, &new[0], 1);
    assert_eq!(conflict, Insertion { outcome: Outcome::Waiting, discarded_parts: 1 });
    assert_eq!(insert(&mut reassembler, &new[1], 1).outcome, complete(&[2; 200]));
    // Another total under the same reference.
    let longer = parts_of(&[3; 300], 9);
    assert_eq!(insert(&mut reassembler, &new[0], 2), waiting());
    assert_eq!(insert(&mut reassembler, &longer[0], 2).discarded_parts, 1);
}

#[test]
fn a_redelivered_part_never_mixes_with_a_new_message() {
    let (old, new) = (parts_of(&[1; 200], 9), parts_of(&[2; 200], 9));
    let mut reassembler = Reassembler::new(ReassemblerLimits::default());
    insert(&mut reassembler, &old[0], 0);
    assert_eq!(insert(&mut reassembler, &old[1], 0).outcome, complete(&[1; 200]));
    // The centre never saw the answer: part 2 again. Then the reference is used for another message.
    assert_eq!(insert(&mut reassembler, &old[1], 1), waiting());
    assert_eq!(insert(&mut reassembler, &new[0], 2), Insertion { outcome: Outcome::Waiting, discarded_parts: 1 });
    assert_eq!(insert(&mut reassembler, &new[1], 2).outcome, complete(&[2; 200]));
}

#[test]
fn parts_that_never_complete_are_bounded_and_expire() {
    let limits =
        ReassemblerLimits { octets_max: 1000, messages_max: 3, messages_per_source_max: 2, ..Default::default() };
    let mut reassembler = Reassembler::new(limits);
    let at = Duration::from_secs;
    for reference in 0..20 {
        let part = &parts_of(&[reference; 200], reference)[0];
        insert(&mut reassembler, part, u64::from(reference));
        assert!(reassembler.octets() <= 1000);
    }
    let (header, body) = &parts_of(&[7; 200], 7)[0];
    let info = header.concatenation().unwrap();
    assert_eq!(reassembler.insert(2, info, header, body, at(20)), waiting());
    assert_eq!(reassembler.insert(3, info, header, body, at(20)).outcome, Outcome::Full);
    // Ten minutes later the old ones have gone.
    assert_eq!(reassembler.insert(3, info, header, body, at(619)).outcome, Outcome::Waiting);
    assert_eq!(reassembler.expire(at(5000)), 2);
    assert_eq!(reassembler.octets(), 0);
    // An old part does not meet a new one.
    reassembler.insert(2, info, header, body, at(5000));
    let (header, body) = &parts_of(&[7; 200], 7)[1];
    let late = reassembler.insert(2, header.concatenation().unwrap(), header, body, at(5601));
    assert_eq!(late, Insertion { outcome: Outcome::Waiting, discarded_parts: 1 });
}

proptest! {
    #[test]
    fn any_octets_never_panic_and_what_is_read_is_written_again(octets in prop::collection::vec(any::<u8>(), 0..200), mti in 0u8..3) {
        let mut octets = octets;
        if let Some(first) = octets.first_mut() {
            *first = (*first & !3) | mti;
        }
        for kind in KINDS {
            if let Ok(once) = recode(kind, &octets) {
                prop_assert_eq!(recode(kind, &once), Ok(once.clone()), "{}", kind);
            }
        }
        drop(UserDataHeader::decode(&octets));
        drop(UserDataHeader::cut(&octets));
        drop(gsm7::decode(&gsm7::unpack(&octets, 160, 3)));
    }

    #[test]
    fn mutated_examples_never_panic(index in 0..VECTORS.len(), place in 0usize..40, value in any::<u8>()) {
        let (kind, text) = VECTORS[index];
        let mut octets = hex(text);
        let length = octets.len();
        octets[place % length] = value;
        drop(recode(kind, &octets));
    }

    #[test]
    fn time_stamps_round_trip(seconds in 631_152_000i64..3_755_000_000, zone in -79i8..=79) {
        prop_assert_eq!(TimeStamp::from_unix_seconds(seconds, zone).to_unix_seconds(), Some(seconds));
    }

    #[test]
    fn packing_round_trips(septets in prop::collection::vec(0u8..128, 0..160), fill in 0u8..7) {
        prop_assert_eq!(gsm7::unpack(&gsm7::pack(&septets, fill), septets.len(), fill), septets);
    }

    #[test]
    fn split_then_join_is_identity(payload in prop::collection::vec(any::<u8>(), 0..3000), seed in any::<u64>(), wide: bool) {
        let reference = if wide { Reference::Sixteen(0x1234) } else { Reference::Eight(0x12) };
        let mut parts = split(&payload, &UserDataHeader::command_packet(), reference).unwrap();
        prop_assert!(parts.iter().all(|(header, body)| 1 + header.encode().len() + body.len() <= 140));
        if parts.len() == 1 {
            prop_assert_eq!(&parts[0].1, &payload);
            return Ok(());
        }
        let turn = usize::try_from(seed % 64).unwrap() % parts.len();
        parts.rotate_left(turn);
        let mut reassembler = Reassembler::new(ReassemblerLimits::default());
        let mut joined = None;
        for (header, body) in &parts {
            let info = header.concatenation().unwrap();
            if let Outcome::Complete(message) = reassembler.insert((), info, header, body, Duration::ZERO).outcome {
                joined = Some(message);
            }
        }
        let joined = joined.unwrap();
        prop_assert_eq!(joined.payload, payload);
        prop_assert_eq!(joined.header, UserDataHeader::command_packet());
    }

    #[test]
    fn random_parts_stay_within_the_limit(parts in prop::collection::vec((0u8..4, 0u8..3, 1u8..5, 1u8..5, 0usize..140), 0..300)) {
        let limits = ReassemblerLimits { octets_max: 2000, messages_max: 8, ..Default::default() };
        let mut reassembler = Reassembler::new(limits);
        for (index, (source, reference, total, sequence, length)) in parts.into_iter().enumerate() {
            let info = PartInfo { reference: Reference::Eight(reference), total, sequence };
            let body = vec![sequence; length];
            let now = Duration::from_secs(u64::try_from(index).unwrap() * 5);
            reassembler.insert(source, info, &UserDataHeader::default(), &body, now);
            prop_assert!(reassembler.octets() <= 2000 + 8 * 40);
        }
        reassembler.expire(Duration::from_secs(100_000));
        prop_assert_eq!(reassembler.octets(), 0);
    }
}
