//! The UICC and its USIM: selection, templates, the phonebook and its counters.

use uicc::{
    book,
    card::{Card, Kind, Personalisation},
    files::{EF_ADN, EF_CC, EF_EXT1, EF_PBC, EF_PUID, EF_UID},
    phonebook::Contact,
    profile::{ATR_UICC, Profile, USIM_AID},
};

use super::{
    card::{Witness, word},
    hex,
};

fn card() -> Card<Witness> {
    let with = Personalisation { kind: Kind::Uicc, is_chv1_enabled: false, ..Personalisation::default() };
    Card::personalised(
        Profile { msisdn: "447700900123".to_owned(), ..Profile::default() }.files(Kind::Uicc),
        &with,
        Witness::default(),
    )
}

/// SELECT and GET RESPONSE; without a template the status word.
fn select(card: &mut Card<Witness>, p1: &str, data: &[u8]) -> Vec<u8> {
    let mut command = hex(&format!("00A4{p1}04"));
    command.push(u8::try_from(data.len()).expect("short"));
    command.extend(data);
    let waiting = card.transmit(&command);
    match waiting.as_slice() {
        [0x61, octets] => card.transmit(&[0x00, 0xC0, 0, 0, *octets]),
        _ => waiting,
    }
}

#[test]
fn the_published_exchange() {
    let mut card = card();
    assert_eq!(word(&mut card, &hex("00A40004027F10")) >> 8, 0x61);
    assert_eq!(card.transmit(&hex("00A40004026F3A")), hex("611B"));
    let template = hex("6219 8205422100 1CFA 83026F3A 8A0105 8B036F0601 80021B58 8800 9000");
    assert_eq!(card.transmit(&hex("00C000001B")), template);
    let record = hex("416C696365FFFFFFFFFFFFFFFFFF0791947112122721FFFFFFFFFFFF");
    assert_eq!(word(&mut card, &[hex("00DC09041C"), record.clone()].concat()), 0x9000);
    assert_eq!(card.transmit(&hex("00B209041C")), [record, hex("9000")].concat());
    assert_eq!(card.applet.updates, [(EF_ADN, 9)]);
}

#[test]
fn a_classic_sim_does_not_know_the_class() {
    let mut sim =
        Card::personalised(Profile::default().files(Kind::Sim), &Personalisation::default(), Witness::default());
    assert_eq!(word(&mut sim, &hex("00A40004023F00")), 0x6E00);
    let mut uicc = card();
    assert_eq!(word(&mut uicc, &hex("A0A40000023F00")), 0x9F16, "a phone of the second generation is served");
    for (command, expected) in [
        ("80A40004023F00", 0x6E00),
        ("00F2000000", 0x6E00),
        ("01A40004023F00", 0x6881),
        ("0070000001", 0x6881),
        ("00FE000000", 0x6D00),
        ("80AA000003A90100", 0x9000),
        ("C8A40004023F00", 0x6881),
        ("10A40004023F00", 0x6E00),
    ] {
        assert_eq!(word(&mut uicc, &hex(command)), expected, "{command}");
    }
}

#[test]
fn applications_are_found_by_name_and_files_by_path() {
    let mut card = card();
    assert_eq!(select(&mut card, "00", &hex("7FFF")), hex("6A82"), "no application is active");
    select(&mut card, "00", &hex("3F00"));
    select(&mut card, "00", &hex("2F00"));
    let entry = card.transmit(&hex("00B2010420"));
    assert_eq!(entry[..4], hex("61 18 4F 10"));
    assert_eq!(entry[4..20], USIM_AID);
    let selected = select(&mut card, "04", &entry[4..20]);
    assert_eq!(selected[2..10], hex("8202 7821 8302 7FFF"));
    assert!(selected.windows(18).any(|part| part == [&hex("8410")[..], &USIM_AID].concat()));
    assert_eq!(select(&mut card, "04", &hex("A000000087")).len(), selected.len(), "the first octets will do");
    assert_eq!(select(&mut card, "04", &hex("A000000088")), hex("6A82"));
    assert_eq!(select(&mut card, "00", &hex("6F07"))[..2], hex("6217"));
    assert_eq!(card.transmit(&hex("00B0000009"))[..3], hex("080910"));
    assert_eq!(card.transmit(&hex("00B0870009"))[..3], hex("080910"), "by its short identifier");
    assert_eq!(word(&mut card, &hex("00B0000000")), 0x6C09);
    assert_eq!(word(&mut card, &hex("00B0000A01")), 0x6B00);
    for (p1, path, expected) in [
        ("08", "7F105F3A4F30", 0x62),
        ("09", "4F3A", 0x62),
        ("08", "7FFF6F38", 0x62),
        ("08", "2FE2", 0x62),
        ("08", "7F106F3A4F30", 0x6A),
        ("08", "5F3A", 0x6A),
    ] {
        assert_eq!(select(&mut card, p1, &hex(path))[0], expected, "{path}");
    }
    select(&mut card, "08", &hex("7F105F3A"));
    assert_eq!(select(&mut card, "00", &hex("7F20")), hex("6A82"), "neither child nor sibling");
    assert_eq!(select(&mut card, "00", &hex("7F10"))[0], 0x62, "the parent");
    assert_eq!(select(&mut card, "02", &hex("3F00")), hex("6B00"));
    assert_eq!(word(&mut card, &hex("00A4000C023F00")), 0x9000, "no data wanted");
    assert_eq!(word(&mut card, &hex("80F2000000")) >> 8, 0x6C);
    assert_eq!(card.transmit(&hex("80F2000112"))[..2], hex("8410"));
    assert_eq!(word(&mut card, &hex("80F2000C")), 0x9000);
    assert_eq!(card.applet.polls, 2);
}

#[test]
fn the_phonebook_is_described_by_ef_pbr() {
    let mut card = card();
    select(&mut card, "08", &hex("7F105F3A4F30"));
    let description = card.transmit(&hex("00B2010440"));
    let expected = hex("A81E C0034F3A02 C5034F0904 C3034F1908 C4034F1109 C9034F210A CA034F500B AA05 C2034F4A06 FF");
    assert_eq!(description[..expected.len()], expected);
    let record = hex("416C696365FFFFFFFFFFFFFFFFFF0791947112122721FFFFFFFFFFFF");
    assert_eq!(
        word(&mut card, &[hex("00DC03141C"), record.clone()].concat()),
        0x9000,
        "EF_ADN by its short identifier"
    );
    assert_eq!(card.files().record(EF_ADN, 3).expect("there"), record, "it is that of DF TELECOM");
    assert_eq!(card.applet.updates, [(EF_ADN, 3)]);
    assert_eq!(card.files().record(EF_PBC, 3).expect("there"), [0, 0], "a USIM's phone keeps the counters itself");
    for file in ["A0A40000027F10", "A0A40000026F3A"] {
        card.transmit(&hex(file));
    }
    assert_eq!(word(&mut card, &[hex("A0DC03041C"), record].concat()), 0x9000);
    assert_eq!(card.files().record(EF_PBC, 3).expect("there"), [1, 0], "a plain SIM's phone does not");
    for (file, octets) in [("4F11", 0x0F), ("4F19", 14), ("4F50", 40), ("4F21", 2)] {
        select(&mut card, "08", &[hex("7F105F3A"), hex(file)].concat());
        assert_eq!(word(&mut card, &[0x00, 0xB2, 250, 0x04, octets]), 0x9000, "{file}");
    }
}

#[test]
fn a_loaded_book_has_its_counters() {
    let mut card = card();
    let long = "+44207946000012345678901234567";
    for (number, name, digits) in [(1, "Alice", "+491721217212"), (7, "Conn", long), (7, "Conn", long), (9, "", "112")]
    {
        let contact = Contact { name: name.to_owned(), number: digits.to_owned() };
        book::store(card.files_mut(), number, &contact).expect("it fits");
    }
    let names: Vec<_> =
        book::contacts(card.files()).into_iter().map(|(number, contact)| (number, contact.number)).collect();
    assert_eq!(names, [(1, "+491721217212".to_owned()), (7, long.to_owned()), (9, "112".to_owned())]);
    assert_eq!(card.files().record(EF_EXT1, 2).expect("there"), [0xFF; 13], "the second writing used the same record");
    assert_eq!(card.files().binary(EF_CC), Ok(&[0, 4][..]));
    assert_eq!(card.files().binary(EF_PUID), Ok(&[0, 3][..]));
    let identifiers = [1, 7, 9, 10].map(|number| card.files().record(EF_UID, number).expect("there")[1]);
    assert_eq!(identifiers, [1, 2, 3, 0]);
}

#[test]
fn the_access_rules_are_the_conditions() {
    let mut card = card();
    let rule = |card: &mut Card<Witness>, path: &str| {
        let template = select(card, "08", &hex(path));
        let at = template.windows(2).position(|part| part == [0x8B, 0x03]).expect("security attributes");
        template[at + 2..at + 5].to_vec()
    };
    for (path, expected) in
        [("2FE2", "2F0602"), ("2F05", "2F0605"), ("7F106F3A", "6F0601"), ("7F206F07", "6F0604"), ("7F206FAE", "6F0603")]
    {
        assert_eq!(rule(&mut card, path), hex(expected), "{path}");
    }
    select(&mut card, "08", &hex("7F106F06"));
    assert_eq!(card.transmit(&hex("00B2020418"))[..10], hex("8001019000 8001029700"));
}

#[test]
fn the_answer_to_reset_checks() {
    assert_eq!(ATR_UICC[1..].iter().fold(0, |sum, octet| sum ^ octet), 0, "TCK");
    assert_eq!(ATR_UICC[1] & 0x0F, 15, "historical octets");
}
