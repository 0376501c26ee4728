//! One backup under way: which blocks are still to be sent, and what is awaited. It is in EEPROM (AS-GN-07).

use bytes::Bytes;
use link::asynchronous::{BLOCKS_HEADER_OCTETS, BlockRange, Message, Variant};

use super::{DELAY, Settings, block};

/// Octets of a block beside its record, with its length.
pub(super) const BLOCK_OCTETS_MAX: usize = BLOCKS_HEADER_OCTETS + 7;

/// A record and how long it is; the order is the order of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub df: u16,
    pub ef: u16,
    pub record_number: u8,
    pub octets: u8,
}

/// What a session does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next message is to be sent.
    Ready,
    /// The phone has a message with so many blocks from `first` on.
    Sending { first: u8, count: u8 },
    /// The user has the phone: until the delay is over, or the centre says something.
    Pausing,
}

/// A backup in blocks 1 to n, each a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub number: u8,
    pub variant: Variant,
    pub phase: Phase,
    /// Block 1 first.
    pub places: Vec<Place>,
    /// Whether the block is still to be sent.
    to_send: Vec<bool>,
    blocks_per_message: u8,
    /// As it is told to the centre.
    delay_seconds: u16,
    /// The blocks that left last.
    last: Option<(u8, u8)>,
    /// More had changed than there are blocks.
    pub(super) is_cut: bool,
    /// Seconds without a sign of the centre, and messages repeated for want of one.
    pub(super) waited: u32,
    pub(super) repeats: u8,
}

impl Session {
    /// `places`: at most 255.
    pub(super) fn new(number: u8, variant: Variant, settings: &Settings, places: Vec<Place>) -> Self {
        let delay_seconds = match variant {
            Variant::ServerCountdown => settings.delay_seconds,
            Variant::MobileTimer | Variant::Status => settings.delay(),
            Variant::Normal => 0,
        };
        Self {
            number,
            variant,
            phase: Phase::Ready,
            to_send: vec![true; places.len()],
            places,
            blocks_per_message: settings.blocks_per_message.max(1),
            delay_seconds,
            last: None,
            is_cut: false,
            waited: 0,
            repeats: 0,
        }
    }

    /// Blocks.
    #[must_use]
    pub fn total(&self) -> u8 {
        u8::try_from(self.places.len()).unwrap_or(u8::MAX)
    }

    pub(super) fn is(&self, number: u8, total: u8) -> bool {
        (self.number, self.total()) == (number, total)
    }

    pub(super) fn delay(&self) -> u16 {
        if self.delay_seconds == 0 { DELAY } else { self.delay_seconds }
    }

    pub(super) fn has_more(&self) -> bool {
        self.to_send.contains(&true)
    }

    /// Whether blocks are left once the message that is being sent has left.
    pub(super) fn has_more_after_sending(&self) -> bool {
        let Phase::Sending { first, count } = self.phase else { return self.has_more() };
        let sending = usize::from(first)..usize::from(first) + usize::from(count);
        let mut numbers = (1..).zip(&self.to_send);
        numbers.any(|(number, is_to_send)| *is_to_send && !sending.contains(&number))
    }

    /// The next blocks that follow one another, as a message of at most `limit` octets, and their places. `None`: there are
    /// none. A record that is not there any more is sent as an empty one.
    pub(super) fn message(
        &mut self,
        limit: usize,
        record: impl Fn(Place) -> Option<Vec<u8>>,
    ) -> Option<(Vec<u8>, Vec<Place>)> {
        let start = self.to_send.iter().position(|is_to_send| *is_to_send)?;
        let run = self.to_send.iter().skip(start).take_while(|is_to_send| **is_to_send).count();
        let mut octets = BLOCKS_HEADER_OCTETS;
        let mut blocks: Vec<Bytes> = Vec::new();
        let mut places = Vec::new();
        for place in self.places.iter().skip(start).take(run.min(self.blocks_per_message.into())) {
            let data = record(*place).unwrap_or_else(|| vec![0xFF; usize::from(place.octets)]);
            let block = block(*place, &data);
            octets += 1 + block.len();
            if octets > limit && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
            places.push(*place);
        }
        let (first, count) = (u8::try_from(start + 1).ok()?, u8::try_from(blocks.len()).ok()?);
        self.phase = Phase::Sending { first, count };
        let (session, total, variant, delay_seconds) = (self.number, self.total(), self.variant, self.delay_seconds);
        let message = Message::Blocks { session, total, first, variant, delay_seconds, blocks };
        Some((message.encode(), places))
    }

    /// The phone's report on the message; false: none was awaited.
    pub(super) fn reported(&mut self, ok: bool) -> bool {
        let Phase::Sending { first, count } = self.phase else { return false };
        self.phase = if ok { Phase::Pausing } else { Phase::Ready };
        if ok {
            let blocks = self.to_send.iter_mut().skip(usize::from(first).saturating_sub(1)).take(count.into());
            blocks.for_each(|is_to_send| *is_to_send = false);
            self.last = Some((first, count));
            self.waited = 0;
        }
        true
    }

    /// What the centre names as missing is to be sent, and nothing else (AS-V1-03).
    pub(super) fn only(&mut self, missing: &[BlockRange]) {
        for (number, is_to_send) in (1..=u8::MAX).zip(&mut self.to_send) {
            *is_to_send = missing.iter().any(|range| (range.first..=range.last).contains(&number));
        }
    }

    /// The centre is silent: what left last is sent again.
    pub(super) fn repeat_last(&mut self) {
        self.repeats += 1;
        self.waited = 0;
        let Some((first, count)) = self.last else { return };
        let blocks = self.to_send.iter_mut().skip(usize::from(first).saturating_sub(1)).take(count.into());
        blocks.for_each(|is_to_send| *is_to_send = true);
        self.phase = Phase::Ready;
    }
}
