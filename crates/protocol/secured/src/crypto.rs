//! The algorithms: CBC, CBC-MAC with 3DES, CMAC with AES, the two redundancy checks.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit,
    block_padding::NoPadding,
};
use cmac::{Cmac, Mac};
use des::{TdesEde2, TdesEde3};

use crate::{Key, parameters::Check};

/// Octets of a cryptographic checksum.
const CHECKSUM_OCTETS: usize = 8;

/// Octets of a check value; `kid_octet` tells the two redundancy checks apart (x1 CRC-16, x5 CRC-32).
pub fn check_octets(check: Check, kid_octet: u8) -> Option<usize> {
    match check {
        Check::None => Some(0),
        Check::RedundancyCheck => match kid_octet & 0x0F {
            0x1 => Some(2),
            0x5 => Some(4),
            _ => None,
        },
        Check::CryptographicChecksum => Some(CHECKSUM_OCTETS),
    }
}

/// The check value over `covered`.
pub fn check_value(check: Check, kid_octet: u8, kid: &Key, covered: &[u8]) -> Vec<u8> {
    match check {
        Check::None => Vec::new(),
        Check::RedundancyCheck if kid_octet & 0x0F == 0x1 => crc16(covered).to_be_bytes().to_vec(),
        Check::RedundancyCheck => crc32(covered).to_be_bytes().to_vec(),
        Check::CryptographicChecksum => checksum(kid, covered),
    }
}

/// With AES the first 8 octets of a CMAC; with 3DES the last block of a CBC over the zero-padded octets.
fn checksum(key: &Key, covered: &[u8]) -> Vec<u8> {
    let mut checksum = match key {
        Key::Aes128(key) => mac::<Cmac<Aes128>>(key, covered),
        Key::Aes192(key) => mac::<Cmac<Aes192>>(key, covered),
        Key::Aes256(key) => mac::<Cmac<Aes256>>(key, covered),
        Key::TripleDesTwoKeys(_) | Key::TripleDesThreeKeys(_) => {
            let mut padded = covered.to_vec();
            padded.resize(covered.len().next_multiple_of(8), 0);
            encrypt(key, &mut padded);
            padded.split_off(padded.len().saturating_sub(8))
        }
    };
    checksum.truncate(CHECKSUM_OCTETS);
    checksum
}

fn mac<M: Mac + KeyInit>(key: &[u8], covered: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("the key's type has its length");
    mac.update(covered);
    mac.finalize().into_bytes().to_vec()
}

/// CBC with an initial vector of zeros over whole blocks, in place.
pub fn encrypt(key: &Key, blocks: &mut [u8]) {
    match key {
        Key::Aes128(key) => encrypt_with::<Aes128>(key, blocks),
        Key::Aes192(key) => encrypt_with::<Aes192>(key, blocks),
        Key::Aes256(key) => encrypt_with::<Aes256>(key, blocks),
        Key::TripleDesTwoKeys(key) => encrypt_with::<TdesEde2>(key, blocks),
        Key::TripleDesThreeKeys(key) => encrypt_with::<TdesEde3>(key, blocks),
    }
}

/// The reverse of [`encrypt`].
pub fn decrypt(key: &Key, blocks: &mut [u8]) {
    match key {
        Key::Aes128(key) => decrypt_with::<Aes128>(key, blocks),
        Key::Aes192(key) => decrypt_with::<Aes192>(key, blocks),
        Key::Aes256(key) => decrypt_with::<Aes256>(key, blocks),
        Key::TripleDesTwoKeys(key) => decrypt_with::<TdesEde2>(key, blocks),
        Key::TripleDesThreeKeys(key) => decrypt_with::<TdesEde3>(key, blocks),
    }
}

/// Zeros, as many as the longest block has.
const INITIAL_VECTOR: [u8; 16] = [0; 16];

fn encrypt_with<C: BlockCipherEncrypt + KeyInit>(key: &[u8], blocks: &mut [u8]) {
    let vector = INITIAL_VECTOR.get(..C::block_size()).expect("no block is longer");
    let cipher = cbc::Encryptor::<C>::new_from_slices(key, vector).expect("the key's type has its length");
    let octets = blocks.len();
    cipher.encrypt_padded::<NoPadding>(blocks, octets).expect("whole blocks");
}

fn decrypt_with<C: BlockCipherDecrypt + KeyInit>(key: &[u8], blocks: &mut [u8]) {
    let vector = INITIAL_VECTOR.get(..C::block_size()).expect("no block is longer");
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, vector).expect("the key's type has its length");
    cipher.decrypt_padded::<NoPadding>(blocks).expect("whole blocks");
}

/// CRC-16 of TS 102 225 (reflected 8408, start FFFF, complemented).
#[must_use]
pub fn crc16(octets: &[u8]) -> u16 {
    !octets.iter().fold(0xFFFF, |crc, octet| {
        (0..8).fold(crc ^ u16::from(*octet), |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x8408 })
    })
}

/// CRC-32 of TS 102 225, the common one.
#[must_use]
pub fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 })
    })
}
