//! Both directions, octet for octet.

use secured::{
    KeySet, Spi,
    command::{self, Command},
    crc16, crc32,
    parameters::{Check, CounterMode, ProofOfReceipt},
    response::{self, Response, Status},
};

use crate::{aes, hex, triple_des};

#[test]
fn commands_are_those_of_pysim() {
    let data = "00A40004023F00";
    for (keys, spi, tar, counter, packet) in [
        (
            triple_des(),
            [0x16, 0x19],
            [0x50, 0x42, 0x01],
            0x01_0203_0410,
            "0020 15 1619 35 35 504201 A884F797307EDFC6D69DA230A92508D3D1DA0FA0159E30B3",
        ),
        (
            aes(),
            [0x16, 0x19],
            [0xB0, 0x00, 0x10],
            0x33,
            "0028 15 1619 22 22 B00010 51FB23C9A8D13C215B5BE1DC9FC1861D2B618BE70803DEAAE55686618772DC73",
        ),
        (
            aes(),
            [0x12, 0x09],
            [0xB0, 0x00, 0x10],
            0x01_0203_0447,
            "001D 15 1209 22 22 B00010 0102030447 00 EF25B37258496F8F 00A40004023F00",
        ),
    ] {
        let spi = Spi::from_octets(spi).expect("supported");
        let command = Command { spi, tar, counter, data: hex(data) };
        assert_eq!(command::seal(&command, &keys), Ok(hex(packet)));
        assert_eq!(command::open(&hex(packet), &keys), Ok(command));
    }
    // Without any security KIc and KID say nothing: ours name the AES keys, the vector the others.
    let plain = "0015 0D 0002 22 22 504201 0000000000 00 00A40004023F00";
    let spi = Spi::from_octets([0x00, 0x02]).expect("supported");
    let command = Command { spi, tar: [0x50, 0x42, 0x01], counter: 0, data: hex(data) };
    assert_eq!(command::seal(&Command { counter: 99, ..command.clone() }, &aes()), Ok(hex(plain)));
    assert_eq!(command::open(&hex(plain), &triple_des()), Ok(command));
}

#[test]
fn responses_are_those_of_real_cards() {
    let wanted = |proof_check, is_proof_ciphered| Spi { proof_check, is_proof_ciphered, ..Spi::INTEGRITY };
    let checked = Check::CryptographicChecksum;
    let cases: [(KeySet, Spi, &str); 4] = [
        (aes(), wanted(Check::None, false), "000E 0A B00011 0000000000 00 00 016132"),
        (triple_des(), wanted(checked, false), "0016 12 B00011 0000000000 00 00 B5BCD6353A421FAE 016132"),
        (triple_des(), wanted(checked, true), "001C 12 B00011 8BB989492C632529326A2F4681FEB37C825BC9021C9F6D0B"),
        (
            aes(),
            wanted(checked, true),
            "0024 12 B00011 EBC6B497E2CAD7AEDF36ACE0E3A29B38853F0FE9CCDE81913BE5702B73ABCE1F",
        ),
    ];
    for (keys, spi, packet) in cases {
        let response = Response { tar: [0xB0, 0x00, 0x11], counter: 0, status: Status::Ok, data: hex("016132") };
        assert_eq!(response::open(&hex(packet), spi, &keys), Ok(response.clone()), "{packet}");
        assert_eq!(response::seal(&response, spi, &keys), Ok(hex(packet)));
    }
}

#[test]
fn security_parameters_are_those_of_the_examples() {
    let spi = Spi {
        check: Check::CryptographicChecksum,
        is_ciphered: true,
        counter: CounterMode::Higher,
        proof: ProofOfReceipt::Always,
        proof_check: Check::CryptographicChecksum,
        is_proof_ciphered: true,
        is_proof_submitted: false,
    };
    assert_eq!(spi.to_octets(), [0x16, 0x19]);
    assert_eq!(Spi { is_proof_submitted: true, ..spi }.to_octets(), [0x16, 0x39]);
    assert_eq!(
        Spi { is_ciphered: false, is_proof_ciphered: false, proof_check: Check::CryptographicChecksum, ..spi }
            .to_octets(),
        [0x12, 0x09]
    );
    assert_eq!(Spi::default().to_octets(), [0, 0]);
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let Ok(read) = Spi::from_octets([first, second]) else { continue };
            assert_eq!(read.to_octets(), [first, second]);
        }
    }
    assert!(Spi::CIPHER.suffices(Spi::INTEGRITY) && !Spi::INTEGRITY.suffices(Spi::CIPHER));
    assert!(!Spi { counter: CounterMode::Unchecked, ..Spi::INTEGRITY }.suffices(Spi::INTEGRITY));
}

#[test]
fn redundancy_checks_have_the_published_values() {
    assert_eq!(crc16(&[1, 2, 3, 4, 5]), 0x22EC);
    assert_eq!(crc32(&[1, 2, 3, 4, 5]), 0x470B_99F4);
}

/// The usable octets of D-120, in the 137 of a short message behind its user data header.
#[test]
fn a_short_message_carries_what_the_table_says() {
    for (spi, keys, octets) in [
        (Spi::default(), aes(), 121),
        (Spi::INTEGRITY, aes(), 113),
        (Spi::CIPHER, triple_des(), 106),
        (Spi::CIPHER, aes(), 98),
    ] {
        assert_eq!(command::data_octets(spi, &keys, 137), octets);
        for more in 0..2 {
            let command = Command { spi, tar: [1, 2, 3], counter: 7, data: vec![0xA5; octets + more] };
            let packet = command::seal(&command, &keys).expect("sealed");
            assert_eq!(packet.len() <= 137, more == 0, "{octets} + {more}");
        }
    }
}
