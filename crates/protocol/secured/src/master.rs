//! A card's keys out of a master key, and keys wrapped to be kept or carried (D-125).
//!
//! Derived: NIST SP 800-108r1 4.1, counter mode, with AES-256-CMAC; the context is the card's ICCID with version and
//! algorithm, so that no two cards, versions or purposes share a key. Wrapped: AES key wrap, RFC 3394, under a key that is
//! derived for this card, so that one card's wrapped keys are not another's.

use aes::{
    Aes256, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use cmac::{Cmac, Mac};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Algorithm, CardKeys};

/// Of an operator's or a card maker's: 32 octets that are in no database.
#[derive(Clone, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// Never shows the key.
impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

/// Labels of what is derived (SP 800-108r1: a different purpose, a different key).
const LABEL_CARD: &[u8] = b"simvault card keys";
const LABEL_WRAP: &[u8] = b"simvault key wrap";
/// Octets of a CMAC.
const BLOCK: usize = 16;
/// RFC 3394 2.2.3.1.
const INTEGRITY_CHECK: [u8; 8] = [0xA6; 8];
/// Octets that one wrapping takes at most: four keys of AES-256.
const WRAPPED_MAX: usize = 128;

impl MasterKey {
    #[must_use]
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// 64 hexadecimal digits; anything else is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok())).collect();
        let digits = Zeroizing::new(digits?);
        let mut key = Self([0; 32]);
        if digits.len() != 2 * key.0.len() {
            return None;
        }
        for (octet, pair) in key.0.iter_mut().zip(digits.as_chunks::<2>().0) {
            *octet = pair[0] << 4 | pair[1];
        }
        Some(key)
    }

    /// SP 800-108r1 4.1: blocks of CMAC(key, i ‖ label ‖ 00 ‖ context ‖ L), i and L (bits wanted) of 32 bits.
    #[must_use]
    pub fn derive(&self, label: &[u8], context: &[u8], octets: usize) -> Zeroizing<Vec<u8>> {
        let bits = u32::try_from(octets.saturating_mul(8)).unwrap_or(u32::MAX);
        let mut derived = Zeroizing::new(Vec::with_capacity(octets.next_multiple_of(BLOCK)));
        for block in (1_u32..).take(octets.div_ceil(BLOCK)) {
            let mut mac = <Cmac<Aes256> as KeyInit>::new(&self.0.into());
            for part in [&block.to_be_bytes()[..], label, &[0], context, &bits.to_be_bytes()] {
                mac.update(part);
            }
            derived.extend_from_slice(&mac.finalize().into_bytes());
        }
        derived.truncate(octets);
        derived
    }

    /// The keys of the card with this ICCID under this version.
    #[must_use]
    pub fn card_keys(&self, iccid: &str, version: u8, algorithm: Algorithm) -> Option<CardKeys> {
        let context = context(iccid, version, algorithm);
        let octets = self.derive(LABEL_CARD, &context, CardKeys::COUNT * algorithm.key_octets());
        CardKeys::from_octets(version, algorithm, &octets)
    }

    /// Wraps a card's keys to be kept; `None` when there is nothing to wrap (see [`Self::wrap`]).
    #[must_use]
    pub fn wrap_for(&self, iccid: &str, version: u8, algorithm: Algorithm, keys: &[u8]) -> Option<Vec<u8>> {
        self.card_wrapper(iccid, version, algorithm).wrap(keys)
    }

    /// The reverse of [`Self::wrap_for`]: of this card and no other.
    #[must_use]
    pub fn unwrap_for(&self, iccid: &str, version: u8, algorithm: Algorithm, wrapped: &[u8]) -> Option<CardKeys> {
        let octets = self.card_wrapper(iccid, version, algorithm).unwrap(wrapped)?;
        CardKeys::from_octets(version, algorithm, &octets)
    }

    fn card_wrapper(&self, iccid: &str, version: u8, algorithm: Algorithm) -> Self {
        let derived = self.derive(LABEL_WRAP, &context(iccid, version, algorithm), 32);
        let mut key = Self([0; 32]);
        key.0.copy_from_slice(&derived);
        key
    }

    /// AES key wrap (RFC 3394 2.2.1): 8 octets longer than `plain`, which is 16 to 128 octets and a multiple of 8.
    #[must_use]
    pub fn wrap(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (halves, rest) = plain.as_chunks::<8>();
        if halves.len() < 2 || plain.len() > WRAPPED_MAX || !rest.is_empty() {
            return None;
        }
        let cipher = Aes256::new(&self.0.into());
        let mut registers = Zeroizing::new(halves.to_vec());
        let mut check = INTEGRITY_CHECK;
        let mut step = 0_u64;
        for _ in 0..6 {
            for register in registers.iter_mut() {
                step += 1;
                let mut block = joined(check, *register);
                cipher.encrypt_block(&mut block);
                (check, *register) = parted(&block);
                check = (u64::from_be_bytes(check) ^ step).to_be_bytes();
            }
        }
        Some([&check[..], registers.as_flattened()].concat())
    }

    /// The reverse of [`Self::wrap`]; `None`: wrapped with another key, or damaged.
    #[must_use]
    pub fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (halves, rest) = wrapped.as_chunks::<8>();
        let (&check, registers) = halves.split_first()?;
        if registers.len() < 2 || wrapped.len() > WRAPPED_MAX + 8 || !rest.is_empty() {
            return None;
        }
        let cipher = Aes256::new(&self.0.into());
        let mut registers = Zeroizing::new(registers.to_vec());
        let mut check = check;
        let mut step = 6 * u64::try_from(registers.len()).ok()?;
        for _ in 0..6 {
            for register in registers.iter_mut().rev() {
                let mut block = joined((u64::from_be_bytes(check) ^ step).to_be_bytes(), *register);
                cipher.decrypt_block(&mut block);
                (check, *register) = parted(&block);
                step -= 1;
            }
        }
        let is_whole = bool::from(check.ct_eq(&INTEGRITY_CHECK));
        is_whole.then(|| Zeroizing::new(registers.as_flattened().to_vec()))
    }
}

impl Zeroize for MasterKey {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// ICCID digits, version, octets of a key and whether it is AES.
fn context(iccid: &str, version: u8, algorithm: Algorithm) -> Vec<u8> {
    let is_aes = matches!(algorithm, Algorithm::Aes128 | Algorithm::Aes192 | Algorithm::Aes256);
    let mut context = iccid.as_bytes().to_vec();
    context.extend([version, u8::try_from(algorithm.key_octets()).unwrap_or(u8::MAX), u8::from(is_aes)]);
    context
}

fn joined(check: [u8; 8], register: [u8; 8]) -> Block {
    let mut block = Block::default();
    block[..8].copy_from_slice(&check);
    block[8..].copy_from_slice(&register);
    block
}

fn parted(block: &Block) -> ([u8; 8], [u8; 8]) {
    let (mut check, mut register) = ([0; 8], [0; 8]);
    check.copy_from_slice(&block[..8]);
    register.copy_from_slice(&block[8..]);
    (check, register)
}
