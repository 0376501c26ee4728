//! The frame of the IP link (D-58 as amended by D-114 and D-130).
//!
//! On connection the centre sends a nonce of 16 octets. Then frames go both ways: length 2 (of what follows), version 1,
//! MSISDN length 1, digits (ASCII), counter 4, tag 8, payload 0 to 4096. The tag binds everything but itself, so a
//! frame cannot be changed, reflected, moved to another connection or subscriber, or (with growing counters) repeated.
//! Sans-IO: [`Framer`] cuts, [`decode_frame`] reads, [`Frame::verify`] checks, [`encode_frame`] writes.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The only version.
pub const VERSION: u8 = 0x01;
/// Octets of the nonce that the centre sends on connection.
pub const NONCE_OCTETS: usize = 16;
/// Octets of a tag.
pub const TAG_OCTETS: usize = 8;
/// Octets of a payload at most.
pub const PAYLOAD_OCTETS_MAX: usize = 4096;
/// Octets of the length field, which the length does not count.
pub const LENGTH_OCTETS: usize = 2;
/// The shortest frame after its length: one digit, no payload.
pub const FRAME_OCTETS_MIN: usize = FIXED_OCTETS + 1;
/// The longest frame after its length.
pub const FRAME_OCTETS_MAX: usize = FIXED_OCTETS + MSISDN_DIGITS_MAX + PAYLOAD_OCTETS_MAX;

/// Sent by the centre on connection.
pub type Nonce = [u8; NONCE_OCTETS];

/// Part of the tag's input, so that a frame cannot be sent back to its maker (D-114).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Card to centre.
    Up = 0,
    /// Centre to card.
    Down = 1,
}

/// A frame that was read; nothing in it is to be trusted before [`Self::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// 1 to 15 decimal digits.
    pub msisdn: String,
    pub counter: u32,
    pub tag: [u8; TAG_OCTETS],
    /// Empty: a keep-alive.
    pub payload: Bytes,
}

impl Frame {
    /// Whether the tag is that of this key, nonce and direction; compared in constant time.
    #[must_use]
    pub fn verify(&self, key: &[u8], nonce: &Nonce, direction: Direction) -> bool {
        tag(key, nonce, &self.msisdn, direction, self.counter, &self.payload).ct_eq(&self.tag).into()
    }
}

/// Number and payload are personal data.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload_octets = self.payload.len();
        write!(
            f,
            "Frame {{ msisdn: {} digits, counter: {}, payload: {payload_octets} octets }}",
            self.msisdn.len(),
            self.counter
        )
    }
}

/// Octets that are no frame. The stream cannot be trusted afterwards: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedFrame {
    #[error("frame of {actual} octets, expected {FRAME_OCTETS_MIN} to {FRAME_OCTETS_MAX}")]
    Length { actual: usize },
    #[error("version {actual:02X}, expected {VERSION:02X}")]
    Version { actual: u8 },
    #[error("MSISDN of {actual} digits, expected 1 to {MSISDN_DIGITS_MAX}")]
    MsisdnLength { actual: usize },
    #[error("octet {offset} of the MSISDN is no decimal digit")]
    MsisdnDigit { offset: usize },
    #[error("{actual} octets after the MSISDN, expected at least {COUNTER_AND_TAG_OCTETS}")]
    Truncated { actual: usize },
    #[error("payload of {actual} octets, expected at most {PAYLOAD_OCTETS_MAX}")]
    PayloadTooLong { actual: usize },
}

/// First 8 octets of HMAC-SHA-256(key, nonce ‖ version ‖ MSISDN length and digits ‖ direction ‖ counter ‖ payload).
#[must_use]
pub fn tag(
    key: &[u8],
    nonce: &Nonce,
    msisdn: &str,
    direction: Direction,
    counter: u32,
    payload: &[u8],
) -> [u8; TAG_OCTETS] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(nonce);
    mac.update(&[VERSION, u8::try_from(msisdn.len()).unwrap_or(u8::MAX)]);
    mac.update(msisdn.as_bytes());
    mac.update(&[direction as u8]);
    mac.update(&counter.to_be_bytes());
    mac.update(payload);
    let whole = mac.finalize().into_bytes();
    let mut tag = [0; TAG_OCTETS];
    tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    tag
}

/// A whole frame with its length octets.
///
/// # Errors
/// [`MalformedFrame`] when the number is not 1 to 15 digits or the payload is too long.
pub fn encode_frame(
    key: &[u8],
    nonce: &Nonce,
    msisdn: &str,
    direction: Direction,
    counter: u32,
    payload: &[u8],
) -> Result<Vec<u8>, MalformedFrame> {
    let msisdn_octets = checked_msisdn(msisdn.as_bytes())?;
    if payload.len() > PAYLOAD_OCTETS_MAX {
        return Err(MalformedFrame::PayloadTooLong { actual: payload.len() });
    }
    let too_long = MalformedFrame::Length { actual: FIXED_OCTETS + msisdn.len() + payload.len() };
    let length = u16::try_from(FIXED_OCTETS + msisdn.len() + payload.len()).map_err(|_| too_long)?;
    let mut octets = Vec::with_capacity(LENGTH_OCTETS + usize::from(length));
    octets.extend(length.to_be_bytes());
    octets.extend([VERSION, msisdn_octets]);
    octets.extend_from_slice(msisdn.as_bytes());
    octets.extend(counter.to_be_bytes());
    octets.extend(tag(key, nonce, msisdn, direction, counter, payload));
    octets.extend_from_slice(payload);
    Ok(octets)
}

/// Reads a frame without its length octets, as [`Framer::next_frame`] gives it.
///
/// # Errors
/// [`MalformedFrame`] says what and where.
pub fn decode_frame(mut octets: Bytes) -> Result<Frame, MalformedFrame> {
    check_length(octets.len())?;
    let version = octets.get_u8();
    if version != VERSION {
        return Err(MalformedFrame::Version { actual: version });
    }
    let digits = usize::from(octets.get_u8());
    if digits > MSISDN_DIGITS_MAX {
        return Err(MalformedFrame::MsisdnLength { actual: digits });
    }
    let after_number = octets.len().saturating_sub(digits);
    if after_number < COUNTER_AND_TAG_OCTETS {
        return Err(MalformedFrame::Truncated { actual: after_number });
    }
    let msisdn = octets.split_to(digits);
    checked_msisdn(&msisdn)?;
    let msisdn = msisdn.iter().copied().map(char::from).collect();
    let counter = octets.get_u32();
    let mut tag = [0; TAG_OCTETS];
    octets.copy_to_slice(&mut tag);
    if octets.len() > PAYLOAD_OCTETS_MAX {
        return Err(MalformedFrame::PayloadTooLong { actual: octets.len() });
    }
    Ok(Frame { msisdn, counter, tag, payload: octets })
}

/// Cuts a byte stream into frames. A length out of range is an error as soon as its two octets are there, and for good.
///
/// Drain [`Self::next_frame`] after each [`Self::push`]: then it never holds more than one unfinished frame.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    broken: Option<MalformedFrame>,
}

impl Framer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the stream. After an error nothing more is kept.
    pub fn push(&mut self, octets: &[u8]) {
        if self.broken.is_none() {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// The next frame without its length octets; `None` until it is complete.
    ///
    /// # Errors
    /// [`MalformedFrame::Length`], now and ever after: the stream has lost its frames.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, MalformedFrame> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let &[high, low, ..] = self.buffer.as_ref() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if let Err(broken) = check_length(length) {
            self.buffer = BytesMut::new();
            self.broken = Some(broken);
            return Err(broken);
        }
        if self.buffer.len() < LENGTH_OCTETS + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_OCTETS);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Octets that wait for the rest of their frame.
    #[must_use]
    pub fn buffered_octets(&self) -> usize {
        self.buffer.len()
    }
}

/// The receiving side of one direction's counter: every accepted frame has a higher one than all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveCounter {
    /// Highest accepted; 0 before the first.
    pub highest: u32,
}

impl ReceiveCounter {
    /// Accepts a counter above the highest, once. Check the tag first: anyone can write a high counter.
    #[must_use]
    pub fn accept(&mut self, counter: u32) -> bool {
        let newer = counter > self.highest;
        if newer {
            self.highest = counter;
        }
        newer
    }
}

fn check_length(length: usize) -> Result<(), MalformedFrame> {
    if (FRAME_OCTETS_MIN..=FRAME_OCTETS_MAX).contains(&length) {
        Ok(())
    } else {
        Err(MalformedFrame::Length { actual: length })
    }
}

/// Number of digits, when they are 1 to 15 and decimal.
fn checked_msisdn(digits: &[u8]) -> Result<u8, MalformedFrame> {
    if !(1..=MSISDN_DIGITS_MAX).contains(&digits.len()) {
        return Err(MalformedFrame::MsisdnLength { actual: digits.len() });
    }
    match digits.iter().position(|digit| !digit.is_ascii_digit()) {
        Some(offset) => Err(MalformedFrame::MsisdnDigit { offset }),
        None => Ok(u8::try_from(digits.len()).expect("at most 15")),
    }
}

/// Digits of an E.164 number at most.
const MSISDN_DIGITS_MAX: usize = 15;
const COUNTER_AND_TAG_OCTETS: usize = 4 + TAG_OCTETS;
/// Version, MSISDN length, counter and tag.
const FIXED_OCTETS: usize = 2 + COUNTER_AND_TAG_OCTETS;
