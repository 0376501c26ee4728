//! Keys out of a master key, and wrapped keys, against published vectors and against another implementation.

use secured::{Algorithm, CardKeys, Key, bearer, master::MasterKey};

use crate::{aes, hex, triple_des};

fn master(text: &str) -> MasterKey {
    MasterKey::from_hex(text).expect("64 digits")
}

const OF_THE_RFC: &str = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

/// RFC 3394 4.3, 4.5 and 4.6.
#[test]
fn wrapped_keys_are_those_of_the_rfc() {
    let key = master(OF_THE_RFC);
    for (plain, wrapped) in [
        ("00112233445566778899AABBCCDDEEFF", "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"),
        (
            "00112233445566778899AABBCCDDEEFF0001020304050607",
            "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1",
        ),
        (
            "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
    ] {
        assert_eq!(key.wrap(&hex(plain)), Some(hex(wrapped)));
        assert_eq!(key.unwrap(&hex(wrapped)).map(|plain| plain.to_vec()), Some(hex(plain)));
        for bit in 0..wrapped.len() * 4 {
            let mut damaged = hex(wrapped);
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(key.unwrap(&damaged).is_none(), "bit {bit}");
        }
    }
    for octets in [0, 8, 15, 17, 136] {
        assert!(key.wrap(&vec![0; octets]).is_none(), "{octets} octets");
        assert!(key.unwrap(&vec![0; octets]).is_none(), "{octets} octets");
    }
}

/// `openssl kdf -mac CMAC -cipher AES-256-CBC -mode counter KBKDF` with this key, salt (the label) and info (the context).
#[test]
fn derived_keys_are_those_of_openssl() {
    let key = master(OF_THE_RFC);
    let derived = key.derive(b"simvault card keys", b"8949000000000000001\x01\x10\x01", 64);
    assert_eq!(derived.to_vec(), hex(DERIVED));
    let keys = key.card_keys("8949000000000000001", 1, Algorithm::Aes128).expect("keys");
    let part = |at: usize| Key::new(Algorithm::Aes128, &hex(DERIVED)[16 * at..16 * (at + 1)]).expect("a key");
    assert_eq!((keys.down.index, keys.down.kic, keys.down.kid), (1, part(0), part(1)));
    assert_eq!((keys.up.index, keys.up.kic, keys.up.kid), (1, part(2), part(3)));
}

const DERIVED: &str = "0AC62F76B62403D793398B782FE79FD3A1ED12DA1893871AAB90CF8EA41468153B8EB18769AB21EACF81C3C931A3C22E47FD7F0EA04DEE7E3710FBF045C05FDF";

#[test]
fn no_two_cards_versions_algorithms_or_directions_share_a_key() {
    let key = master(OF_THE_RFC);
    let mut seen: Vec<CardKeys> = Vec::new();
    for iccid in ["8949000000000000001", "8949000000000000002"] {
        for version in 1..=15 {
            for algorithm in Algorithm::ALL {
                let keys = key.card_keys(iccid, version, algorithm).expect("keys");
                assert!(keys.up.kic != keys.down.kic && keys.up.kid != keys.down.kid && keys.up.kic != keys.up.kid);
                assert!(!seen.contains(&keys));
                seen.push(keys);
            }
        }
    }
}

#[test]
fn kept_keys_are_those_of_one_card_version_and_algorithm() {
    let key = master(OF_THE_RFC);
    let plain: Vec<u8> = (0..64).collect();
    let kept = key.wrap_for("8949000000000000001", 2, Algorithm::Aes128, &plain).expect("wrapped");
    assert!(!kept.windows(8).any(|octets| plain.windows(8).any(|other| octets == other)));
    let keys = key.unwrap_for("8949000000000000001", 2, Algorithm::Aes128, &kept).expect("its own");
    assert_eq!(Some(keys), CardKeys::from_octets(2, Algorithm::Aes128, &plain));
    assert!(key.unwrap_for("8949000000000000002", 2, Algorithm::Aes128, &kept).is_none());
    assert!(key.unwrap_for("8949000000000000001", 3, Algorithm::Aes128, &kept).is_none());
    assert!(key.unwrap_for("8949000000000000001", 2, Algorithm::TripleDesTwoKeys, &kept).is_none());
    let other = master(&OF_THE_RFC.replace("1F", "2F"));
    assert!(other.unwrap_for("8949000000000000001", 2, Algorithm::Aes128, &kept).is_none());
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?} {:?} {:?}", master(OF_THE_RFC), aes(), triple_des());
    for secret in ["000102", "200102", "0, 1, 2", "32, 1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    for text in ["", "00", "zz", &OF_THE_RFC[1..], &format!("{OF_THE_RFC}00"), &OF_THE_RFC.replace('F', "G")] {
        assert!(MasterKey::from_hex(text).is_none(), "{text}");
    }
}

/// D-120: two concatenated messages take up to 242 octets, whatever the setting.
#[test]
fn a_packet_is_cut_after_it_is_made() {
    use secured::{Spi, command, command::Command};
    for (spi, single) in [(Spi::INTEGRITY, 113), (Spi::CIPHER, 98)] {
        let capacity = bearer::Capacity::of_short_messages(spi, &aes());
        assert_eq!(capacity, bearer::Capacity { single, most: 242 });
        for (octets, parts) in [(single, Some(1)), (single + 1, Some(2)), (242, Some(2)), (243, None)] {
            let command = Command { spi, tar: [1, 2, 3], counter: 9, data: vec![7; octets] };
            let packet = command::seal(&command, &aes()).expect("sealed");
            let cut = bearer::short_messages(bearer::IEI_COMMAND, &packet, 0x5A);
            assert_eq!(cut.as_ref().map(Vec::len), parts, "{octets}");
            let Some(cut) = cut else { continue };
            assert!(cut.iter().all(|part| 1 + part.user_data_header.len() + part.body.len() <= 140));
            assert_eq!(cut.iter().flat_map(|part| part.body.clone()).collect::<Vec<_>>(), packet);
            if let [first, second] = cut.as_slice() {
                assert_eq!(first.user_data_header, [0x00, 0x03, 0x5A, 0x02, 0x01, 0x70, 0x00]);
                assert_eq!(second.user_data_header, [0x00, 0x03, 0x5A, 0x02, 0x02]);
            } else {
                assert_eq!(cut[0].user_data_header, [0x70, 0x00]);
            }
        }
    }
}
