//! The response packet (TS 102 225 5.2): the proof of receipt.
//!
//! RPL 2, RHL 1, TAR 3, then CNTR 5, PCNTR 1, status 1, check value, data and padding; what follows the TAR is ciphered when
//! the command asked for it. The check covers the user data header of a short message too.

use subtle::ConstantTimeEq;

use crate::{Fault, KeySet, RESPONSE_HEADER, Spi, Tar, command::without_padding, crypto, parameters::Check};

/// RPL, RHL and TAR.
const CLEAR_OCTETS: usize = 6;
/// TAR, CNTR, PCNTR and status: what RHL counts beside the check value.
const HEADER_OCTETS: usize = 10;
/// CNTR, PCNTR and status.
const COUNTER_OCTETS: usize = 7;

/// What became of a command (TS 102 225 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Ok,
    CheckFailed,
    CounterLow,
    CounterHigh,
    CounterBlocked,
    CipheringError,
    UnidentifiedSecurityError,
    InsufficientMemory,
    MoreTime,
    TarUnknown,
    InsufficientSecurityLevel,
    /// 0B, 0C and what is reserved.
    Other(u8),
}

impl Status {
    const NAMED: [(u8, Self); 11] = [
        (0x00, Self::Ok),
        (0x01, Self::CheckFailed),
        (0x02, Self::CounterLow),
        (0x03, Self::CounterHigh),
        (0x04, Self::CounterBlocked),
        (0x05, Self::CipheringError),
        (0x06, Self::UnidentifiedSecurityError),
        (0x07, Self::InsufficientMemory),
        (0x08, Self::MoreTime),
        (0x09, Self::TarUnknown),
        (0x0A, Self::InsufficientSecurityLevel),
    ];

    #[must_use]
    pub fn from_octet(octet: u8) -> Self {
        Self::NAMED.iter().find(|(code, _)| *code == octet).map_or(Self::Other(octet), |(_, status)| *status)
    }

    /// For people and for a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CheckFailed => "check_failed",
            Self::CounterLow => "counter_low",
            Self::CounterHigh => "counter_high",
            Self::CounterBlocked => "counter_blocked",
            Self::CipheringError => "ciphering_error",
            Self::UnidentifiedSecurityError => "security_error",
            Self::InsufficientMemory => "insufficient_memory",
            Self::MoreTime => "more_time",
            Self::TarUnknown => "tar_unknown",
            Self::InsufficientSecurityLevel => "insufficient_security",
            Self::Other(_) => "other",
        }
    }

    #[must_use]
    pub fn to_octet(self) -> u8 {
        match self {
            Self::Other(octet) => octet,
            named => Self::NAMED.iter().find(|(_, status)| *status == named).map_or(0x06, |(code, _)| *code),
        }
    }
}

/// A response, open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub tar: Tar,
    /// That of the command.
    pub counter: u64,
    pub status: Status,
    pub data: Vec<u8>,
}

/// The packet from RPL on; `command` is the SPI of the command that it answers.
///
/// # Errors
/// [`Fault::TooLong`] for data that no packet takes.
pub fn seal(response: &Response, command: Spi, keys: &KeySet) -> Result<Vec<u8>, Fault> {
    let Response { tar, counter, status, data } = response;
    let check = command.proof_check;
    let kid = kid_octet(check, keys);
    let check_octets = crypto::check_octets(check, kid).unwrap_or_default();
    let block = if command.is_proof_ciphered { keys.kic.block_octets() } else { 1 };
    let open = COUNTER_OCTETS + check_octets + data.len();
    let padding = open.next_multiple_of(block) - open;
    let total = CLEAR_OCTETS + open + padding;
    let length = u16::try_from(total - 2).map_err(|_| Fault::TooLong { octets: data.len() })?;

    let mut packet = Vec::with_capacity(total);
    packet.extend(length.to_be_bytes());
    packet.push(u8::try_from(HEADER_OCTETS + check_octets).unwrap_or(u8::MAX));
    packet.extend(tar);
    packet.extend(counter.to_be_bytes().get(3..).unwrap_or_default());
    packet.push(u8::try_from(padding).unwrap_or(u8::MAX));
    packet.push(status.to_octet());
    let header = packet.len();
    packet.extend(data);
    packet.resize(packet.len() + padding, 0);
    let value = crypto::check_value(check, kid, &keys.kid, &[&RESPONSE_HEADER[..], &packet].concat());
    packet.splice(header..header, value);
    if let Some(secret) = packet.get_mut(CLEAR_OCTETS..)
        && command.is_proof_ciphered
    {
        crypto::encrypt(&keys.kic, secret);
    }
    Ok(packet)
}

fn kid_octet(check: Check, keys: &KeySet) -> u8 {
    if check == Check::RedundancyCheck { keys.index << 4 | 0x5 } else { keys.kid_octet() }
}

/// Deciphers and checks the answer to a command with this SPI.
///
/// # Errors
/// A [`Fault`]; nothing of the packet is to be believed. A card that could not use the keys may answer without them: such an
/// answer is refused here, and is a hint at most.
pub fn open(packet: &[u8], command: Spi, keys: &KeySet) -> Result<Response, Fault> {
    let check = command.proof_check;
    let kid = kid_octet(check, keys);
    let check_octets = crypto::check_octets(check, kid).unwrap_or_default();
    let least = CLEAR_OCTETS + COUNTER_OCTETS + check_octets;
    let &[high, low, rhl, tar_1, tar_2, tar_3, ..] = packet else {
        return Err(Fault::Short { expected: least, actual: packet.len() });
    };
    if packet.len() < least {
        return Err(Fault::Short { expected: least, actual: packet.len() });
    }
    for (field, told, actual) in [
        ("RPL", usize::from(u16::from_be_bytes([high, low])), packet.len() - 2),
        ("RHL", usize::from(rhl), HEADER_OCTETS + check_octets),
    ] {
        if told != actual {
            return Err(Fault::Length { field, told, actual });
        }
    }
    let mut open = packet.to_vec();
    let secret = open.get_mut(CLEAR_OCTETS..).unwrap_or_default();
    if command.is_proof_ciphered {
        let block = keys.kic.block_octets();
        if !secret.len().is_multiple_of(block) {
            return Err(Fault::Blocks { octets: secret.len(), block });
        }
        crypto::decrypt(&keys.kic, secret);
    }
    let &[c1, c2, c3, c4, c5, padding, status, ref body @ ..] = &*secret else {
        return Err(Fault::Short { expected: least, actual: packet.len() });
    };
    let Some((told, data)) = body.split_at_checked(check_octets) else {
        return Err(Fault::Short { expected: least, actual: packet.len() });
    };
    let (told, data) = (told.to_vec(), data.to_vec());
    let after = CLEAR_OCTETS + COUNTER_OCTETS;
    open.drain(after..after + check_octets);
    let computed = crypto::check_value(check, kid, &keys.kid, &[&RESPONSE_HEADER[..], &open].concat());
    if !bool::from(computed.ct_eq(&told)) {
        return Err(Fault::CheckFailed);
    }
    let counter = u64::from_be_bytes([0, 0, 0, c1, c2, c3, c4, c5]);
    let block = if command.is_proof_ciphered { keys.kic.block_octets() } else { 1 };
    let data = without_padding(data, padding, block)?;
    Ok(Response { tar: [tar_1, tar_2, tar_3], counter, status: Status::from_octet(status), data })
}
