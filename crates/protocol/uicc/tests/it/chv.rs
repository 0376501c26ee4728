//! CHV1 and CHV2 in both classes: verified, changed, switched off and on, blocked and unblocked.

use uicc::{
    apdu::command,
    card::{Card, Kind, Personalisation},
    profile::Profile,
};

use super::{
    card::{Witness, word},
    hex,
};

const CODE: &str = "31323334FFFFFFFF";
const OTHER: &str = "39393939FFFFFFFF";
const KEY: &str = "3132333435363738";

fn card(kind: Kind) -> Card<Witness> {
    let with = Personalisation { kind, ..Personalisation::default() };
    Card::personalised(Profile::default().files(kind), &with, Witness::default())
}

fn say(card: &mut Card<Witness>, command: &str) -> u16 {
    word(card, &hex(command))
}

#[test]
fn a_code_is_changed_and_asked_for_or_not() {
    let mut card = card(Kind::Sim);
    assert_eq!(say(&mut card, &format!("A024000110 {OTHER}{CODE}")), 0x9804);
    assert_eq!(say(&mut card, &format!("A024000110 {CODE}{OTHER}")), 0x9000);
    assert_eq!(say(&mut card, &format!("A020000108 {CODE}")), 0x9804);
    assert_eq!(say(&mut card, &format!("A020000108 {OTHER}")), 0x9000);
    assert_eq!(say(&mut card, &format!("A028000108 {OTHER}")), 0x9808, "it is enabled");
    assert_eq!(say(&mut card, &format!("A026000108 {OTHER}")), 0x9000);
    card.reset();
    for file in [0x7F10, 0x6F3A] {
        card.transmit(&command::select(file));
    }
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9000, "nobody is asked");
    assert_eq!(say(&mut card, &format!("A020000108 {OTHER}")), 0x9808, "it is disabled");
    assert_eq!(say(&mut card, &format!("A028000108 {OTHER}")), 0x9000);
    card.reset();
    for file in [0x7F10, 0x6F3A] {
        card.transmit(&command::select(file));
    }
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9804);
    for wrong in ["A020000308 3132333435363738", "A026000208 3536373800000000"] {
        assert_eq!(say(&mut card, wrong), 0x9802, "{wrong}");
    }
    assert_eq!(say(&mut card, "A020000104 31323334"), 0x6708);
    assert_eq!(say(&mut card, "A02C000010 31"), 0x6700 | 1);
}

#[test]
fn a_blocked_code_needs_its_unblock_key() {
    for (kind, class, which, unblock) in [(Kind::Sim, "A0", "01", "00"), (Kind::Uicc, "00", "01", "01")] {
        let mut card = card(kind);
        for _ in 0..3 {
            say(&mut card, &format!("{class}2000{which}08 {OTHER}"));
        }
        let blocked = if kind == Kind::Sim { 0x9840 } else { 0x6983 };
        assert_eq!(say(&mut card, &format!("{class}2000{which}08 {CODE}")), blocked);
        let refused = say(&mut card, &format!("{class}2C00{unblock}10 {OTHER}{OTHER}"));
        assert_eq!(refused, if kind == Kind::Sim { 0x9804 } else { 0x63C9 });
        assert_eq!(say(&mut card, &format!("{class}2C00{unblock}10 {KEY}{OTHER}")), 0x9000);
        assert_eq!(say(&mut card, &format!("{class}2000{which}08 {OTHER}")), 0x9000);
    }
}

#[test]
fn a_uicc_tells_how_many_tries_are_left() {
    let mut card = card(Kind::Uicc);
    assert_eq!(say(&mut card, "00200001"), 0x63C3);
    assert_eq!(say(&mut card, &format!("0020000108 {OTHER}")), 0x63C2);
    assert_eq!(say(&mut card, "0020000100"), 0x63C2);
    assert_eq!(say(&mut card, "002C000100"), 0x63CA);
    assert_eq!(say(&mut card, &format!("0020000108 {CODE}")), 0x9000);
    assert_eq!(say(&mut card, "0020008108 35363738FFFFFFFF"), 0x9000);
    assert_eq!(say(&mut card, "0020000A08 35363738FFFFFFFF"), 0x6A88);
}

#[test]
fn chv2_closes_and_opens_the_phonebook() {
    let mut card = card(Kind::Sim);
    say(&mut card, &format!("A020000108 {CODE}"));
    for file in [0x7F10, 0x6F3A] {
        card.transmit(&command::select(file));
    }
    assert_eq!(say(&mut card, "A004000000"), 0x9804);
    assert_eq!(say(&mut card, "A020000208 35363738FFFFFFFF"), 0x9000);
    assert_eq!(say(&mut card, "A044000000"), 0x9810, "it is open");
    assert_eq!(say(&mut card, "A004000000"), 0x9000);
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9810);
    card.transmit(&command::select(0x6F3A));
    assert_eq!(card.transmit(&command::get_response(15))[11], 0, "not valid");
    assert_eq!(say(&mut card, "A044000000"), 0x9000);
    assert_eq!(word(&mut card, &command::read_record(1, 28)), 0x9000);
}
