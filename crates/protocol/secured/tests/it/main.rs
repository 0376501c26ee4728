//! Packets against vectors that others made (pySim, and responses of real cards), and against forgery, damage and replay.

mod counters;
mod forgery;
mod keys;
mod vectors;

use secured::{Key, KeySet};

/// Hexadecimal text to octets; blanks are left out.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn key<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("a key of this length")
}

/// 3DES with two keys, index 3.
pub fn triple_des() -> KeySet {
    KeySet {
        index: 3,
        kic: Key::TripleDesTwoKeys(key("300102030405060708090A0B0C0D0E0F")),
        kid: Key::TripleDesTwoKeys(key("301102030405060708090A0B0C0D0E0F")),
    }
}

/// AES-128, index 2.
pub fn aes() -> KeySet {
    KeySet {
        index: 2,
        kic: Key::Aes128(key("200102030405060708090A0B0C0D0E0F")),
        kid: Key::Aes128(key("201102030405060708090A0B0C0D0E0F")),
    }
}
