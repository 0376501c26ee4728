//! Asynchronous backups as the centre follows them: which blocks of a session it has, and when it asks for the next (D-81
//! to D-84, AS-SV-03).
//!
//! A [`Session`] is a part of its device's state, so that a block, what it changes in the book and the countdown that it
//! starts are one commit. The countdown itself is the due time of an outbound action of type 6.

mod spacing;

use bytes::{BufMut, Bytes};
use link::asynchronous::{self, BlockRange, Message, Variant};
pub use spacing::Spacing;

use crate::{
    identity::Timestamp,
    octets::{CorruptValue, Reader},
};

/// Sessions of a device that are kept; the oldest goes first.
pub const SESSIONS_MAX: usize = 4;
/// Session numbers from here on are of data in the phone itself; those below are of the card's files (AS-GN-03).
pub const PHONE_SESSIONS: u8 = 0x80;

/// Where a session is. Whether it is suspended is told by its action, which then waits for the card (D-84).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Blocks are missing.
    Receiving,
    /// All blocks are stored.
    Complete,
    /// The device has begun another backup before this one was complete.
    Replaced,
}

/// One backup of a device in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Chosen by the device, new per backup (D-82).
    pub number: u8,
    pub variant: Variant,
    /// Blocks 1 to `total`.
    pub total: u8,
    /// As the device last said it, seconds; 0: what the centre has set (AS-V1-06).
    pub delay_seconds: u16,
    pub state: State,
    /// A block could not be stored: the final acknowledgement says so.
    pub has_failed: bool,
    pub started: Timestamp,
    /// When the last block came.
    pub updated: Timestamp,
    /// When the next message is due: the centre's resume message, or the device's blocks; `None` once it is over.
    pub next: Option<Timestamp>,
    received: [u8; 32],
}

impl Session {
    #[must_use]
    pub fn new(number: u8, total: u8, now: Timestamp) -> Self {
        Self {
            number,
            variant: Variant::Normal,
            total,
            delay_seconds: 0,
            state: State::Receiving,
            has_failed: false,
            started: now,
            updated: now,
            next: None,
            received: [0; 32],
        }
    }

    /// Whether the block is stored. Blocks are numbered from 1.
    #[must_use]
    pub fn has(&self, block: u8) -> bool {
        self.received.get(usize::from(block / 8)).is_some_and(|bits| bits & (1 << (block % 8)) != 0)
    }

    /// The block is stored; a second time changes nothing (AS-BL-05).
    pub fn receive(&mut self, block: u8) {
        if let Some(bits) = self.received.get_mut(usize::from(block / 8)) {
            *bits |= 1 << (block % 8);
        }
    }

    /// How many blocks are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        (1..=self.total).filter(|block| self.has(*block)).count()
    }

    /// What is not stored, as ranges (AS-V1-03).
    #[must_use]
    pub fn missing(&self) -> Vec<BlockRange> {
        asynchronous::missing(self.total, |block| self.has(block))
    }

    /// Whether the centre asks for what is missing: in variant 1 always, otherwise only when the last block has come and an
    /// earlier one has not (AS-V2-04: no message before the last block).
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        self.variant == Variant::ServerCountdown || self.has(self.total)
    }

    /// Whether both are of the card, or both of the phone: a new session ends the open ones of its side.
    #[must_use]
    pub fn is_beside(&self, other: u8) -> bool {
        (self.number >= PHONE_SESSIONS) == (other >= PHONE_SESSIONS)
    }

    /// Names the missing blocks, as many ranges as fit a message of `limit` octets; the card sends the first of them and is
    /// asked again (AS-V1-03).
    #[must_use]
    pub fn resume(&self) -> Bytes {
        Message::Resume { session: self.number, total: self.total, missing: self.missing() }.encode().into()
    }

    /// Ends the backup with a result of D-10 (AS-V1-05).
    #[must_use]
    pub fn ended(&self) -> Bytes {
        use link::reason::{PERMANENT_FAILURE, SUCCESS};
        let result = if self.has_failed { PERMANENT_FAILURE } else { SUCCESS };
        Message::Final { session: self.number, total: self.total, result }.encode().into()
    }

    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend([self.number, self.variant.to_flags(), self.total]);
        out.put_u16(self.delay_seconds);
        out.extend([self.state.code(), u8::from(self.has_failed)]);
        for at in [self.started, self.updated, self.next.unwrap_or(Timestamp(i64::MIN))] {
            out.put_i64(at.0);
        }
        out.extend_from_slice(&self.received);
    }

    /// Sessions one behind the other, without a format octet.
    pub(crate) fn all_from(octets: Bytes) -> Result<Vec<Self>, CorruptValue> {
        let mut reader = Reader::plain("asynchronous sessions", octets);
        let mut sessions = Vec::new();
        while !reader.is_empty() {
            sessions.push(Self::read(&mut reader)?);
        }
        Ok(sessions)
    }

    fn read(reader: &mut Reader) -> Result<Self, CorruptValue> {
        let (number, flags, total) = (reader.u8()?, reader.u8()?, reader.u8()?);
        let delay_seconds = reader.u16()?;
        let state = State::from_code(reader.u8()?).ok_or(reader.corrupt("unknown state of a session"))?;
        let has_failed = reader.u8()? != 0;
        let (started, updated, next) = (Timestamp(reader.i64()?), Timestamp(reader.i64()?), Timestamp(reader.i64()?));
        let mut received = [0; 32];
        received.copy_from_slice(&reader.take(32)?);
        Ok(Self {
            number,
            variant: Variant::from_flags(flags),
            total,
            delay_seconds,
            state,
            has_failed,
            started,
            updated,
            next: Some(next).filter(|next| next.0 != i64::MIN),
            received,
        })
    }
}

impl State {
    fn code(self) -> u8 {
        match self {
            Self::Receiving => 0,
            Self::Complete => 1,
            Self::Replaced => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Receiving, Self::Complete, Self::Replaced].into_iter().find(|state| state.code() == code)
    }
}

/// The resume or final message of an action, cut to the ranges that a message of `limit` octets takes: the card sends some
/// of the first range and is asked again.
#[must_use]
pub fn fitted(message: &[u8], limit: usize) -> Vec<u8> {
    match Message::decode(message) {
        Ok(Message::Resume { session, total, mut missing }) => {
            missing.truncate(limit.saturating_sub(4) / 2);
            Message::Resume { session, total, missing }.encode()
        }
        _ => message.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    /// Covers: AS-V1-03
    #[test]
    fn the_missing_blocks_are_those_of_the_vectors() {
        let mut session = Session::new(7, 10, NOW);
        let mut after = |blocks: std::ops::RangeInclusive<u8>| {
            blocks.for_each(|block| session.receive(block));
            session.resume()
        };
        assert_eq!(*after(1..=3), [0xA2, 7, 0x0A, 1, 4, 10]);
        assert_eq!(*after(4..=6), [0xA2, 7, 0x0A, 1, 7, 10]);
        assert_eq!(*after(7..=9), [0xA2, 7, 0x0A, 1, 10, 10]);
        assert_eq!(*after(10..=10), [0xA2, 7, 0x0A, 0]);
        assert_eq!(*session.ended(), [0xA3, 7, 0x0A, 0]);
        let mut session = Session::new(7, 10, NOW);
        [1, 2, 3, 7, 8, 10].into_iter().for_each(|block| session.receive(block));
        assert_eq!(*session.resume(), [0xA2, 7, 0x0A, 2, 4, 6, 9, 9]);
    }

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let mut session = Session::new(200, 255, NOW);
        session.variant = Variant::Status;
        session.next = Some(Timestamp(NOW.0 + 1));
        [1, 8, 254, 255].into_iter().for_each(|block| session.receive(block));
        let mut octets = vec![1];
        session.append_to(&mut octets);
        let mut reader = Reader::open("session", octets.into(), 1).unwrap();
        assert_eq!(Session::read(&mut reader), Ok(session.clone()));
        assert!(reader.is_empty());
        assert_eq!(session.count(), 4);
    }

    #[test]
    fn more_ranges_than_a_message_takes_are_left_for_the_next() {
        let mut session = Session::new(1, 255, NOW);
        (1..=255).filter(|block| block % 2 == 0).for_each(|block| session.receive(block));
        let whole = session.resume();
        assert_eq!(whole.len(), 4 + 2 * 128);
        let cut = fitted(&whole, 140);
        assert_eq!((cut.len(), cut[3]), (140, 68));
        assert_eq!(cut[4..8], [1, 1, 3, 3]);
        assert_eq!(fitted(&session.ended(), 140), *session.ended());
    }
}
