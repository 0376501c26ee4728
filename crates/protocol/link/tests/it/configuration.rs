//! One test row per CID (D-12), and what is refused.

use link::{
    checksum_table::ChecksumRow,
    configuration::{Bearer, InvalidItem, IsdnAddress, Item, data_octets},
    message::{MalformedMessage, Message},
    reason::Reason,
};

use crate::{ADN_ROW, hex, monitor};

fn items() -> Vec<(&'static str, Item)> {
    vec![
        ("01 00", Item::ServiceState { on: false }),
        ("01 01", Item::ServiceState { on: true }),
        (
            "02 07 91 44 77 09 00 10 F2 FF FF FF FF",
            Item::CentreIsdn(IsdnAddress::new(0x91, "44779000012").expect("digits")),
        ),
        (
            "03 04 C0 00 02 07 00 00 00 00 00 00 00 00 00 00 00 00 1F 90",
            Item::CentreIp("192.0.2.7:8080".parse().expect("address")),
        ),
        (
            "03 06 20 01 0D B8 00 00 00 00 00 00 00 00 00 00 00 01 1F 90",
            Item::CentreIp("[2001:db8::1]:8080".parse().expect("address")),
        ),
        ("04 00", Item::Bearer(Bearer::Sms)),
        ("04 01", Item::Bearer(Bearer::Ip)),
        ("05 03", Item::MonitorTableSize(3)),
        ("06 02 7F 10 6F 3A 00 64 00 00 1C", Item::MonitorRow { index: 2, row: ADN_ROW }),
        ("07 01 2C", Item::ChecksumTableSize(300)),
        ("08 00 01 D1 D2", Item::ChecksumRow(ChecksumRow { monitor_index: 0, record_number: 1, checksum: 0xD1D2 })),
        ("09 FF", Item::ClearChecksums { index: None }),
        ("09 02", Item::ClearChecksums { index: Some(2) }),
        ("0A FF", Item::Resynchronise { index: None }),
        ("0A 00", Item::Resynchronise { index: Some(0) }),
        ("0B 05 01", Item::PollIntervals { normal_seconds: 5, fast_seconds: 1 }),
        ("0C 05", Item::RetryPreset(5)),
        ("0D 01 03 00 78", Item::Asynchronous { mode: 1, blocks_per_message: 3, delay: 120 }),
        ("0E 00", Item::Compact { on: false }),
        ("0E 01", Item::Compact { on: true }),
    ]
}

/// Covers: S2-MF-14, S2-MF-15
#[test]
fn every_cid_is_read_and_written_octet_for_octet() {
    for (text, item) in items() {
        let mut wire = vec![0x30];
        wire.extend(hex(text));
        let message = Message::Configuration { items: vec![item.encode()], unparsed: None };
        assert_eq!(message.encode(), wire, "{text}");
        assert_eq!(Message::decode(&wire, &monitor()), Ok(message), "{text}");
        assert_eq!(item.encode().item(), Ok(item.clone()), "{text}");
        assert_eq!(data_octets(item.cid()), Some(wire.len() - 2), "{text}");
        assert!((2..=21).contains(&item.encode().encoded_octets()), "{text}");
    }
    let covered: Vec<u8> = items().iter().map(|(_, item)| item.cid()).collect();
    assert!((0..=u8::MAX).filter(|cid| data_octets(*cid).is_some()).all(|cid| covered.contains(&cid)));
}

#[test]
fn a_whole_message_of_all_items_is_read_back() {
    let items: Vec<_> = items().iter().map(|(_, item)| item.encode()).collect();
    let message = Message::Configuration { items, unparsed: None };
    assert_eq!(Message::decode(&message.encode(), &monitor()), Ok(message));
}

#[test]
fn an_unknown_or_cut_off_cid_ends_the_parsing_and_what_preceded_stands() {
    for (text, cid) in [("30 01 01 7E 00 04 01", 0x7E), ("30 01 01 06 00 7F", 0x06), ("30 01 01 00", 0x00)] {
        let expected =
            Message::Configuration { items: vec![Item::ServiceState { on: true }.encode()], unparsed: Some(cid) };
        assert_eq!(Message::decode(&hex(text), &monitor()), Ok(expected), "{text}");
    }
    assert_eq!(Message::decode(&[0x30], &monitor()), Err(MalformedMessage::NoRecords));
}

#[test]
fn a_refused_value_says_which_octet_and_why() {
    for (cid, data, reason) in [
        (0x01, "02", Reason::Unsupported),
        (0x04, "02", Reason::Unsupported),
        (0x04, "03", Reason::Unsupported),
        (0x03, "05 C0 00 02 07 00 00 00 00 00 00 00 00 00 00 00 00 1F 90", Reason::Unsupported),
        (0x02, "01 91 FF FF FF FF FF FF FF FF FF FF", Reason::Unsupported),
        (0x02, "0C 91 44 44 44 44 44 44 44 44 44 44", Reason::Unsupported),
        (0x02, "04 91 F4 44 44 FF FF FF FF FF FF FF", Reason::Unsupported),
        (0x0B, "05 00", Reason::Unsupported),
        (0x05, "", Reason::BadDataLengthOrOffset),
        (0x77, "00", Reason::Unsupported),
    ] {
        let refused = Item::decode(cid, &hex(data)).expect_err(data);
        assert_eq!(refused.reason(), reason, "{refused}");
    }
    let shown = InvalidItem::Value { cid: 4, offset: 0, actual: 2, expected: "0 (SMS) or 1 (IP)" }.to_string();
    assert_eq!(shown, "CID 04: octet 0 is 02, expected 0 (SMS) or 1 (IP)");
}
