use proptest::prelude::*;
use uicc::phonebook::{Contact, NotStorable, chain, decode_adn, decode_alpha, encode_adn, encode_alpha};

use super::hex;

#[test]
fn alpha_identifiers_in_every_coding() {
    let cases = [
        ("Alice", "41 6C 69 63 65 FF FF FF FF FF FF FF FF FF"),
        ("Böb & Çé@£", "42 7C 62 20 26 20 09 05 00 01 FF FF FF FF"),
        ("Ωmega{1}", "15 6D 65 67 61 1B 28 31 1B 29 FF FF FF FF"),
        ("Иван 2", "81 06 08 98 B2 B0 BD 20 32 FF FF FF FF FF"),
        ("S\u{995}\u{9A6}\u{9A6}", "81 04 13 53 95 A6 A6 FF FF FF FF FF FF FF"),
        ("中文名", "80 4E 2D 65 87 54 0D FF FF FF FF FF FF FF"),
        ("Łódź", "80 01 41 00 F3 00 64 01 7A FF FF FF FF FF"),
    ];
    for (text, octets) in cases {
        assert_eq!(encode_alpha(text, 14).as_deref(), Some(hex(octets).as_slice()), "{text}");
        assert_eq!(decode_alpha(&hex(octets)), text);
    }
    let base_82 = hex("82 04 05 30 53 95 A6 A6 FF FF FF FF FF FF");
    assert_eq!(decode_alpha(&base_82), "S\u{545}\u{556}\u{556}");
    assert_eq!(encode_alpha("fifteen letters", 14), None);
}

#[test]
fn whole_records_both_ways() {
    let cases = [
        ("Alice", "+491721217212", "416C696365FFFFFFFFFFFFFFFFFF 07 91 947112122721FFFFFFFF FF FF"),
        ("Böb & Çé@£", "0301234567", "427C6220262009050001FFFFFFFF 06 81 3010325476FFFFFFFFFF FF FF"),
        ("Ωmega{1}", "*100#", "156D6567611B28311B29FFFFFFFF 04 81 1A00FBFFFFFFFFFFFFFF FF FF"),
        ("Voice p", "0800123p45w6", "566F6963652070FFFFFFFFFFFFFF 07 81 800021C3546DFFFFFFFF FF FF"),
        ("", "112", "FFFFFFFFFFFFFFFFFFFFFFFFFFFF 03 81 11F2FFFFFFFFFFFFFFFF FF FF"),
    ];
    for (name, number, octets) in cases {
        let contact = Contact { name: name.to_owned(), number: number.to_owned() };
        assert_eq!(encode_adn(&contact, 14, &[]).expect("it fits").adn, hex(octets), "{name}");
        assert_eq!(decode_adn(&hex(octets), |_| None), Some(contact));
    }
    assert_eq!(decode_adn(&[0xFF; 28], |_| None), None);
}

#[test]
fn a_long_number_continues_in_ef_ext1() {
    let contact = Contact { name: "Conn".to_owned(), number: "+44207946000012345678901234567".to_owned() };
    let records = encode_adn(&contact, 14, &[1]).expect("one record is enough");
    assert_eq!(
        records.adn,
        hex("436F6E66FFFFFFFFFFFFFFFFFFFF 0B 91 44029764000021436587 FF 01")
            .iter()
            .copied()
            .enumerate()
            .map(|(at, octet)| if at == 3 { 0x6E } else { octet })
            .collect::<Vec<_>>()
    );
    assert_eq!(records.extensions, [hex("02 05 09 21 43 65 F7 FF FF FF FF FF FF")]);
    let ext1 = |number: u8| (number == 1).then(|| records.extensions[0].clone());
    assert_eq!(decode_adn(&records.adn, ext1), Some(contact.clone()));
    assert_eq!(chain(&records.adn, ext1), [1]);
    assert_eq!(encode_adn(&contact, 14, &[]), Err(NotStorable::NoExtension { digits: 29, needed: 1, given: 0 }));
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let adn = hex("416C696365FFFFFFFFFFFFFFFFFF 0B 91 44029764000021436587 FF 01");
    let looped = |_| Some(hex("02 01 21 FF FF FF FF FF FF FF FF FF 01"));
    assert_eq!(chain(&adn, looped), [1]);
    assert!(decode_adn(&adn, looped).is_some());
}

proptest! {
    #[test]
    fn any_octets_decode_without_harm(record in proptest::collection::vec(any::<u8>(), 0..60), ext in proptest::collection::vec(any::<u8>(), 0..15)) {
        decode_adn(&record, |_| Some(ext.clone()));
        let _text = decode_alpha(&record);
    }

    #[test]
    fn what_fits_comes_back(name in "\\PC{0,14}", number in "[+]?[0-9*#]{0,60}") {
        let contact = Contact { name, number };
        if let Ok(records) = encode_adn(&contact, 20, &[1, 2, 3]) {
            let ext1 = |n: u8| records.extensions.get(usize::from(n) - 1).cloned();
            let back = decode_adn(&records.adn, ext1).unwrap_or_default();
            if contact.number != "+" {
                prop_assert_eq!(back, contact);
            }
        }
    }
}
