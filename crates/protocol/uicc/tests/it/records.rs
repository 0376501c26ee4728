//! Record pointers, SEEK and SEARCH RECORD, and every length that a tool may ask for.

use uicc::{
    apdu::command,
    card::{Card, Kind, Personalisation},
    files::EF_ADN,
    phonebook::Contact,
    profile::Profile,
};

use super::{
    card::{Witness, word},
    hex,
};

/// Five records of a name of one letter: A B A C, and an empty one; EF_ADN is selected.
fn card(kind: Kind) -> Card<Witness> {
    let mut files = Profile { adn_records: 5, ..Profile::default() }.files(kind);
    for (number, name) in [(1, "A"), (2, "B"), (3, "A"), (4, "C")] {
        let contact = Contact { name: name.to_owned(), number: format!("+493{number}") };
        uicc::book::store(&mut files, number, &contact).expect("it fits");
    }
    let with = Personalisation { kind, is_chv1_enabled: false, ..Personalisation::default() };
    let mut card = Card::personalised(files, &with, Witness::default());
    for file in [0x7F10, 0x6F3A] {
        card.transmit(&command::select(file));
    }
    card
}

/// First octet of a record that was read, or the status word.
fn name_or_word(card: &mut Card<Witness>, command: &str) -> Result<u8, u16> {
    let response = card.transmit(&hex(command));
    match response.as_slice() {
        [high, low] => Err(u16::from_be_bytes([*high, *low])),
        [name, ..] => Ok(*name),
        [] => Err(0),
    }
}

#[test]
fn next_previous_and_current() {
    for (kind, class, end) in [(Kind::Sim, "A0", 0x9402), (Kind::Uicc, "00", 0x6A83)] {
        let mut card = card(kind);
        let mut read = |p1: &str, mode: &str| name_or_word(&mut card, &format!("{class}B2{p1}{mode}1C"));
        assert_eq!(read("00", "04"), Err(end), "no record is current");
        assert_eq!(read("00", "02"), Ok(b'A'), "the first");
        assert_eq!(read("00", "02"), Ok(b'B'));
        assert_eq!(read("04", "04"), Ok(b'C'), "absolute leaves the pointer");
        assert_eq!(read("00", "04"), Ok(b'B'));
        assert_eq!(read("00", "03"), Ok(b'A'));
        assert_eq!(read("00", "03"), Err(end));
        card.transmit(&command::select(0x6F3A));
        assert_eq!(name_or_word(&mut card, &format!("{class}B200031C")), Ok(0xFF), "the last");
        assert_eq!(name_or_word(&mut card, &format!("{class}B200021C")), Err(end));
        let record = "5A".repeat(28);
        assert_eq!(word(&mut card, &hex(&format!("{class}DC00031C{record}"))), 0x9000);
        assert_eq!(card.applet.updates, [(EF_ADN, 4)]);
    }
}

#[test]
fn seek_finds_and_points() {
    let mut card = card(Kind::Sim);
    assert_eq!(word(&mut card, &hex("A0A200000141")), 0x9000);
    assert_eq!(name_or_word(&mut card, "A0B200041C"), Ok(b'A'));
    assert_eq!(card.transmit(&hex("A0A200120141")), hex("9F01"), "the next one, and its number");
    assert_eq!(card.transmit(&command::get_response(1)), hex("03 9000"));
    assert_eq!(word(&mut card, &hex("A0A200020141")), 0x9404);
    assert_eq!(card.transmit(&hex("A0A200110142")), hex("9F01"), "from the end");
    assert_eq!(card.transmit(&command::get_response(1)), hex("02 9000"));
    assert_eq!(card.transmit(&hex("A0A200130141")), hex("9F01"));
    assert_eq!(card.transmit(&command::get_response(1)), hex("01 9000"));
    assert_eq!(word(&mut card, &hex("A0A200040141")), 0x6B00);
    assert_eq!(word(&mut card, &hex("A0A2000000")), 0x6710);
}

#[test]
fn search_tells_every_record_that_has_it() {
    let mut card = card(Kind::Uicc);
    let mut found = |command: &str| {
        let waiting = card.transmit(&hex(command));
        match waiting.as_slice() {
            [0x61, octets] => card.transmit(&[0x00, 0xC0, 0, 0, *octets]),
            _ => waiting,
        }
    };
    assert_eq!(found("00A201040141"), hex("01 03 9000"));
    assert_eq!(found("00A202040141"), hex("03 9000"));
    assert_eq!(found("00A203050141"), hex("03 01 9000"));
    assert_eq!(found("00A2010401 FE"), hex("6282"));
    assert_eq!(found("00A206040141"), hex("6A83"), "no record 6");
    assert_eq!(found("00A201060304 0041"), hex("01 03 9000"), "forward, from octet 0");
    assert_eq!(found("00A201060304 0141"), hex("6282"), "from octet 1 on there is no A");
    assert_eq!(found("00A2010603 0C 91 94"), hex("01 02 03 04 9000"), "from the octet 91 on");
    assert_eq!(found("00A20106020400"), hex("6700"));
    assert_eq!(found("00A20107 01 41"), hex("6B00"));
}

#[test]
fn every_case_of_length() {
    let mut sim = card(Kind::Sim);
    assert_eq!(word(&mut sim, &hex("A0B2010400")), 0x671C);
    assert_eq!(word(&mut sim, &hex("A0A40000 02 6F3A 00")), 0x9F0F, "case 4: Le behind the data");
    assert_eq!(word(&mut sim, &hex("A0C0000010")), 0x670F);
    assert_eq!(word(&mut sim, &hex("A0C000000F")), 0x9000, "what was asked for with a wrong length waits on");
    assert_eq!(word(&mut sim, &hex("A0A40000 05 6F3A")), 0x6702);
    let mut uicc = card(Kind::Uicc);
    assert_eq!(word(&mut uicc, &hex("00B2010400")), 0x6C1C);
    assert_eq!(word(&mut uicc, &hex("00B20104")), 0x6C1C);
    assert_eq!(word(&mut uicc, &hex("00DC01040101")), 0x6700);
    assert_eq!(word(&mut uicc, &hex("00C0000001")), 0x6700, "nothing waits");
    assert_eq!(word(&mut uicc, &hex("00")), 0x6700);
}
