//! Messages of the asynchronous mode: blocks, resume, final acknowledgement (D-06, D-81, D-82). Every profile has them.

use bytes::Bytes;

use crate::reason::Reason;

/// Message IDs (D-06).
pub mod id {
    pub const BLOCKS: u8 = 0xA1;
    pub const RESUME: u8 = 0xA2;
    pub const FINAL: u8 = 0xA3;
}

/// Octets of a blocks message before its first block.
pub const BLOCKS_HEADER_OCTETS: usize = 8;

/// Who counts the delay between two messages down (flags, bits 2 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// The centre, which then sends a resume message.
    ServerCountdown,
    /// The phone, by TIMER MANAGEMENT.
    MobileTimer,
    /// The phone, by the interval of its STATUS commands.
    Status,
    /// Nobody: one message after another.
    Normal,
}

impl Variant {
    /// Bits 2 and 1 of the flags; the others say nothing.
    #[must_use]
    pub fn from_flags(flags: u8) -> Self {
        match flags & 0x03 {
            0 => Self::ServerCountdown,
            1 => Self::MobileTimer,
            2 => Self::Status,
            _ => Self::Normal,
        }
    }

    #[must_use]
    pub fn to_flags(self) -> u8 {
        match self {
            Self::ServerCountdown => 0,
            Self::MobileTimer => 1,
            Self::Status => 2,
            Self::Normal => 3,
        }
    }
}

/// Blocks `first..=last` of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRange {
    pub first: u8,
    pub last: u8,
}

/// Any message of the asynchronous mode.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// From the card: blocks that follow one another, the first of them number `first`, of `total`.
    Blocks {
        session: u8,
        total: u8,
        first: u8,
        variant: Variant,
        /// Seconds until the next message; 0: what the centre has set.
        delay_seconds: u16,
        /// For EF_ADN: record number, then the record. At most 255 octets each.
        blocks: Vec<Bytes>,
    },
    /// From the centre: blocks that are missing.
    Resume { session: u8, total: u8, missing: Vec<BlockRange> },
    /// From the centre: the backup is over.
    Final { session: u8, total: u8, result: u8 },
}

/// Blocks are personal data: only their number is shown.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blocks { session, total, first, variant, delay_seconds, blocks } => f
                .debug_struct("Blocks")
                .field("session", session)
                .field("total", total)
                .field("first", first)
                .field("count", &blocks.len())
                .field("variant", variant)
                .field("delay_seconds", delay_seconds)
                .finish(),
            Self::Resume { session, total, missing } => f
                .debug_struct("Resume")
                .field("session", session)
                .field("total", total)
                .field("missing", missing)
                .finish(),
            Self::Final { session, total, result } => {
                f.debug_struct("Final").field("session", session).field("total", total).field("result", result).finish()
            }
        }
    }
}

/// Octets that are no message of the asynchronous mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("ID {id:02X} is none of the asynchronous mode (A1 to A3)")]
    UnknownId { id: u8 },
    #[error("message of {actual} octets, expected {expected}")]
    Length { expected: usize, actual: usize },
    #[error("{octets} octets behind the last block, expected none")]
    Surplus { octets: usize },
    #[error("blocks {first} to {last} of {total}: expected numbers from 1 to the total")]
    BlockNumber { first: u8, last: u16, total: u8 },
}

impl Malformed {
    /// What an error message says of it (D-11).
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownId { .. } => Reason::Unsupported,
            Self::Length { .. } | Self::Surplus { .. } | Self::BlockNumber { .. } => Reason::Malformed,
        }
    }
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let length = |expected| Malformed::Length { expected, actual: octets.len() };
        match *octets {
            [id::BLOCKS, session, total, first, count, flags, high, low, ref blocks @ ..] => {
                let last = u16::from(first) + u16::from(count) - u16::from(count > 0);
                if first == 0 || count == 0 || last > u16::from(total) {
                    return Err(Malformed::BlockNumber { first, last, total });
                }
                let (blocks, surplus) =
                    decode_blocks(blocks, count).map_err(|missing| length(octets.len() + missing))?;
                if surplus > 0 {
                    return Err(Malformed::Surplus { octets: surplus });
                }
                let delay_seconds = u16::from_be_bytes([high, low]);
                let variant = Variant::from_flags(flags);
                Ok(Self::Blocks { session, total, first, variant, delay_seconds, blocks })
            }
            [id::BLOCKS, ..] => Err(length(BLOCKS_HEADER_OCTETS)),
            [id::RESUME, session, total, count, ref ranges @ ..] => {
                let (ranges, rest) = ranges.as_chunks::<2>();
                if ranges.len() != usize::from(count) || !rest.is_empty() {
                    return Err(length(4 + 2 * usize::from(count)));
                }
                let wrong = ranges.iter().find(|[first, last]| *first == 0 || first > last || *last > total);
                if let Some(&[first, last]) = wrong {
                    return Err(Malformed::BlockNumber { first, last: u16::from(last), total });
                }
                let missing = ranges.iter().map(|&[first, last]| BlockRange { first, last }).collect();
                Ok(Self::Resume { session, total, missing })
            }
            [id::RESUME, ..] => Err(length(4)),
            [id::FINAL, session, total, result] => Ok(Self::Final { session, total, result }),
            [id::FINAL, ..] => Err(length(4)),
            [id, ..] => Err(Malformed::UnknownId { id }),
            [] => Err(length(1)),
        }
    }

    /// The octets. Of blocks and ranges beyond 255, and of octets of a block beyond 255, nothing is written.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Blocks { session, total, first, variant, delay_seconds, blocks } => {
                let [high, low] = delay_seconds.to_be_bytes();
                let mut octets =
                    vec![id::BLOCKS, *session, *total, *first, count(blocks), variant.to_flags(), high, low];
                for block in blocks.iter().take(usize::from(u8::MAX)) {
                    octets.push(count(block));
                    octets.extend(block.iter().take(usize::from(u8::MAX)));
                }
                octets
            }
            Self::Resume { session, total, missing } => {
                let ranges = missing.iter().take(usize::from(u8::MAX)).flat_map(|range| [range.first, range.last]);
                [id::RESUME, *session, *total, count(missing)].into_iter().chain(ranges).collect()
            }
            Self::Final { session, total, result } => vec![id::FINAL, *session, *total, *result],
        }
    }
}

fn count<T>(items: &[T]) -> u8 {
    u8::try_from(items.len()).unwrap_or(u8::MAX)
}

/// `count` blocks, and how many octets are behind them; the error is how many octets are missing.
fn decode_blocks(mut octets: &[u8], count: u8) -> Result<(Vec<Bytes>, usize), usize> {
    let mut blocks = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (&length, rest) = octets.split_first().ok_or(1_usize)?;
        let length = usize::from(length);
        let (block, rest) = rest.split_at_checked(length).ok_or(length.saturating_sub(rest.len()))?;
        blocks.push(Bytes::copy_from_slice(block));
        octets = rest;
    }
    Ok((blocks, octets.len()))
}

/// The numbers from 1 to `total` that `has` does not hold, as ranges (AS-V1-03).
#[must_use]
pub fn missing(total: u8, has: impl Fn(u8) -> bool) -> Vec<BlockRange> {
    let mut ranges: Vec<BlockRange> = Vec::new();
    for number in (1..=total).filter(|number| !has(*number)) {
        match ranges.last_mut() {
            Some(range) if range.last.checked_add(1) == Some(number) => range.last = number,
            _ => ranges.push(BlockRange { first: number, last: number }),
        }
    }
    ranges
}
