//! What a virtual reader (vsmartcard's vpcd) and a virtual card say to each other over TCP: each message, in either direction, is a
//! length of 2 octets, big-endian, and so many octets. One octet from the reader is a control; more are a command APDU.

use bytes::{Buf, Bytes, BytesMut};

/// Where the reader listens.
pub const PORT: u16 = 35963;

/// What the reader wants of the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answered by nothing, as are the two that follow.
    PowerOff,
    PowerOn,
    Reset,
    /// Answered by the ATR, at once and whatever the card is doing: the reader asks whether the card is there.
    AnswerToReset,
    /// Answered by the response APDU.
    Command(Bytes),
    /// No octet, or one that means nothing: passed over.
    Unknown,
}

impl Request {
    fn read(message: Bytes) -> Self {
        match message.as_ref() {
            [] => Self::Unknown,
            [0x00] => Self::PowerOff,
            [0x01] => Self::PowerOn,
            [0x02] => Self::Reset,
            [0x04] => Self::AnswerToReset,
            [_] => Self::Unknown,
            _ => Self::Command(message),
        }
    }
}

/// An answer with its length before it. What is longer than a length says is cut; no response APDU is.
#[must_use]
pub fn frame(answer: &[u8]) -> Vec<u8> {
    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
    let mut octets = length.to_be_bytes().to_vec();
    octets.extend(answer.iter().take(usize::from(length)));
    octets
}

/// Cuts what comes from the reader into requests. Drain [`Self::next_request`] after each [`Self::push`]: then it never holds more
/// than one unfinished message, of 64 KiB at most.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
}

impl Framer {
    /// Takes what was read from the connection.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// `None` until the next request is complete.
    pub fn next_request(&mut self) -> Option<Request> {
        let &[high, low, ..] = self.buffer.as_ref() else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if self.buffer.len() < 2 + length {
            return None;
        }
        self.buffer.advance(2);
        Some(Request::read(self.buffer.split_to(length).freeze()))
    }
}
