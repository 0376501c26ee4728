//! Damage, forgery and nonsense: refused, whatever it is, without a panic.

use proptest::prelude::*;
use secured::{
    Fault, KeySet, Spi,
    command::{self, Command},
    parameters::{Check, CounterMode, ProofOfReceipt},
    response::{self, Response, Status},
};

use crate::{aes, hex, triple_des};

fn command(spi: Spi) -> Command {
    Command { spi, tar: [0xB0, 0x01, 0x20], counter: 77, data: hex("0A0001424F42") }
}

#[test]
fn every_bit_of_a_checked_packet_counts() {
    for keys in [aes(), triple_des()] {
        for spi in [Spi::INTEGRITY, Spi::CIPHER] {
            let packet = command::seal(&command(spi), &keys).expect("sealed");
            for bit in 0..packet.len() * 8 {
                let mut forged = packet.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let opened = command::open(&forged, &keys);
                // Taking the check away makes a packet that says of itself that it has none: the owner's least security
                // refuses it, see `suffices`.
                let is_weaker = opened.as_ref().is_ok_and(|command| !command.spi.suffices(Spi::INTEGRITY));
                assert!(opened.is_err() || is_weaker, "bit {bit} of {packet:02X?}");
            }
        }
    }
}

#[test]
fn the_keys_of_others_do_not_open() {
    let packet = command::seal(&command(Spi::CIPHER), &aes()).expect("sealed");
    assert_eq!(command::open(&packet, &triple_des()), Err(Fault::OtherKeys { kic: 0x22, kid: 0x22 }));
    let mut kid_only = aes();
    kid_only.kid = secured::Key::Aes128([9; 16]);
    assert_eq!(command::open(&packet, &kid_only), Err(Fault::CheckFailed));
    let other_index = KeySet { index: 4, ..aes() };
    assert_eq!(command::open(&packet, &other_index), Err(Fault::OtherKeys { kic: 0x22, kid: 0x22 }));
}

#[test]
fn lengths_that_lie_are_named() {
    let packet = command::seal(&command(Spi::INTEGRITY), &aes()).expect("sealed");
    let mut lying = packet.clone();
    lying[1] += 1;
    assert!(matches!(command::open(&lying, &aes()), Err(Fault::Length { field: "CPL", .. })));
    let mut lying = packet.clone();
    lying[2] -= 8;
    assert!(matches!(command::open(&lying, &aes()), Err(Fault::Length { field: "CHL", .. })));
    assert!(matches!(command::open(&packet[..9], &aes()), Err(Fault::Short { .. })));
    // A digital signature, and reserved bits.
    for (first, second) in [(0x03, 0), (0x20, 0), (0, 0x03), (0, 0x0C), (0, 0x40)] {
        assert!(matches!(Spi::from_octets([first, second]), Err(Fault::Unsupported { .. })));
    }
}

#[test]
fn keys_are_never_shown() {
    let shown = format!("{:?} {:?}", aes(), command(Spi::CIPHER));
    assert!(shown.contains("AES-128") && !shown.contains("32, 1, 2") && !shown.contains("66, 79, 66"), "{shown}");
}

fn any_spi() -> impl Strategy<Value = Spi> {
    (any::<[u8; 2]>()).prop_filter_map("supported", |octets| Spi::from_octets(octets).ok())
}

fn any_keys() -> impl Strategy<Value = KeySet> {
    let key = prop_oneof![
        any::<[u8; 16]>().prop_map(secured::Key::Aes128),
        any::<[u8; 24]>().prop_map(secured::Key::Aes192),
        any::<[u8; 32]>().prop_map(secured::Key::Aes256),
        any::<[u8; 16]>().prop_map(secured::Key::TripleDesTwoKeys),
        any::<[u8; 24]>().prop_map(secured::Key::TripleDesThreeKeys),
    ];
    (1_u8..=15, key.clone(), key).prop_map(|(index, kic, kid)| KeySet { index, kic, kid })
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(
        spi in any_spi(), keys in any_keys(), tar: [u8; 3], counter in 0_u64..1 << 40,
        data in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let counter = if spi.counter == CounterMode::None { 0 } else { counter };
        let command = Command { spi, tar, counter, data: data.clone() };
        let packet = command::seal(&command, &keys).expect("sealed");
        prop_assert_eq!(command::open(&packet, &keys), Ok(command));
        let response = Response { tar, counter, status: Status::CounterLow, data };
        let packet = response::seal(&response, spi, &keys).expect("sealed");
        prop_assert_eq!(response::open(&packet, spi, &keys), Ok(response));
    }

    #[test]
    fn no_octets_make_it_panic(
        mut octets in proptest::collection::vec(any::<u8>(), 0..80), honest: bool, keys in any_keys(), spi in any_spi(),
    ) {
        // A true length lets more of them past the first look.
        if honest && octets.len() >= 2 {
            let length = u16::try_from(octets.len() - 2).expect("short");
            octets[..2].copy_from_slice(&length.to_be_bytes());
        }
        if let Ok(command) = command::open(&octets, &keys) {
            prop_assert_ne!(command.spi.check, Check::CryptographicChecksum, "forged");
        }
        drop(response::open(&octets, Spi { proof: ProofOfReceipt::Always, ..spi }, &keys));
    }
}
