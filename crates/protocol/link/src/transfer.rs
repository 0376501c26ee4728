//! Messages of a transfer between two devices by way of the centre (D-07, D-91). The device initiates, the centre leads.

pub mod entry;
pub mod parts;

use bytes::{Buf, BufMut, Bytes};

use crate::reason::Reason;

/// Message IDs (D-07).
pub mod id {
    pub const INITIATION: u8 = 0xC1;
    pub const SESSION_OPEN: u8 = 0xC2;
    pub const ITEM_REQUEST: u8 = 0xC3;
    pub const ITEM: u8 = 0xC4;
    pub const ITEM_RESULT: u8 = 0xC5;
    pub const SESSION_END: u8 = 0xC6;
}

/// Octets of an item message beside its key and value.
pub const ITEM_HEADER_OCTETS: usize = 11;

/// What a device wants (flags of the initiation). Bits 5 to 8 are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// From the centre to the device; otherwise to be stored.
    pub fetch: bool,
    pub data: bool,
    pub settings: bool,
    /// The source is deleted once the target has confirmed.
    pub moves: bool,
}

impl Wish {
    fn from_flags(flags: u8) -> Self {
        let bit = |number: u8| flags & (1 << (number - 1)) != 0;
        Self { fetch: bit(1), data: bit(2), settings: bit(3), moves: bit(4) }
    }

    fn to_flags(self) -> u8 {
        u8::from(self.fetch) | u8::from(self.data) << 1 | u8::from(self.settings) << 2 | u8::from(self.moves) << 3
    }
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Data,
    Setting,
}

impl Kind {
    /// The octet of D-91.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Setting => 2,
        }
    }

    /// `None` for an octet that [`Self::code`] does not give.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Data, Self::Setting].into_iter().find(|kind| kind.code() == code)
    }
}

/// A part of an item.
#[derive(Clone, PartialEq, Eq)]
pub struct ItemPart {
    pub kind: Kind,
    /// At most 255 octets.
    pub key: Bytes,
    /// From 1 to `parts`.
    pub part: u8,
    pub parts: u8,
    pub value: Bytes,
}

/// The content is personal data: only its shape is shown.
impl std::fmt::Debug for ItemPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ItemPart")
            .field("kind", &self.kind)
            .field("part", &self.part)
            .field("parts", &self.parts)
            .field("value_octets", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// Any message of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the device. `transaction` names it again in a repeat; `name` is the collection's.
    Initiation {
        transaction: u16,
        wish: Wish,
        name: String,
    },
    /// From the centre, which leads from here on.
    SessionOpen {
        transaction: u16,
        session: u32,
        items: u16,
    },
    ItemRequest {
        session: u32,
        item: u16,
    },
    Item {
        session: u32,
        item: u16,
        part: ItemPart,
    },
    /// D-10, D-11.
    ItemResult {
        session: u32,
        item: u16,
        result: u8,
        reason: u8,
    },
    SessionEnd {
        session: u32,
        result: u8,
    },
}

/// Octets that are no message of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("ID {id:02X} is none of a transfer (C1 to C6)")]
    UnknownId { id: u8 },
    #[error("message {id:02X} has {actual} octets, expected {expected}")]
    Length { id: u8, expected: usize, actual: usize },
    #[error("the message is empty, expected at least its ID")]
    Empty,
    #[error("the collection's name is no UTF-8")]
    Name,
    #[error("item kind {kind:02X}, expected 01 (data) or 02 (setting)")]
    UnknownKind { kind: u8 },
    #[error("part {part} of {parts}, expected 1 to the number of parts")]
    Part { part: u8, parts: u8 },
}

impl Malformed {
    /// What an error message says of it (D-11).
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownId { .. } | Self::UnknownKind { .. } => Reason::Unsupported,
            Self::Empty | Self::Length { .. } | Self::Name | Self::Part { .. } => Reason::Malformed,
        }
    }
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let (&id, mut body) = octets.split_first().ok_or(Malformed::Empty)?;
        let length = |expected| Malformed::Length { id, expected, actual: octets.len() };
        let exactly = |expected: usize| if octets.len() == expected { Ok(()) } else { Err(length(expected)) };
        match id {
            id::INITIATION => {
                if body.len() < 4 {
                    return Err(length(5));
                }
                let (transaction, flags, named) = (body.get_u16(), body.get_u8(), usize::from(body.get_u8()));
                exactly(5 + named)?;
                let name = std::str::from_utf8(body).map_err(|_| Malformed::Name)?.to_owned();
                Ok(Self::Initiation { transaction, wish: Wish::from_flags(flags), name })
            }
            id::SESSION_OPEN => {
                exactly(9)?;
                Ok(Self::SessionOpen { transaction: body.get_u16(), session: body.get_u32(), items: body.get_u16() })
            }
            id::ITEM_REQUEST => {
                exactly(7)?;
                Ok(Self::ItemRequest { session: body.get_u32(), item: body.get_u16() })
            }
            id::ITEM => decode_item(body).map_err(|problem| match problem {
                ItemProblem::Short(expected) => length(1 + expected),
                ItemProblem::Malformed(malformed) => malformed,
            }),
            id::ITEM_RESULT => {
                exactly(9)?;
                let (session, item) = (body.get_u32(), body.get_u16());
                Ok(Self::ItemResult { session, item, result: body.get_u8(), reason: body.get_u8() })
            }
            id::SESSION_END => {
                exactly(6)?;
                Ok(Self::SessionEnd { session: body.get_u32(), result: body.get_u8() })
            }
            _ => Err(Malformed::UnknownId { id }),
        }
    }

    /// The octets. A name or key is cut at 255 octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self {
            Self::Initiation { transaction, wish, name } => {
                octets.put_u8(id::INITIATION);
                octets.put_u16(*transaction);
                octets.put_u8(wish.to_flags());
                let mut end = name.len().min(usize::from(u8::MAX));
                while !name.is_char_boundary(end) {
                    end -= 1;
                }
                put_short(&mut octets, name.as_bytes().get(..end).unwrap_or_default());
            }
            Self::SessionOpen { transaction, session, items } => {
                octets.put_u8(id::SESSION_OPEN);
                octets.put_u16(*transaction);
                octets.put_u32(*session);
                octets.put_u16(*items);
            }
            Self::ItemRequest { session, item } => put_item(&mut octets, id::ITEM_REQUEST, *session, *item),
            Self::Item { session, item, part } => {
                put_item(&mut octets, id::ITEM, *session, *item);
                octets.put_u8(part.kind.code());
                put_short(&mut octets, &part.key);
                octets.extend([part.part, part.parts]);
                octets.extend(&part.value);
            }
            Self::ItemResult { session, item, result, reason } => {
                put_item(&mut octets, id::ITEM_RESULT, *session, *item);
                octets.extend([*result, *reason]);
            }
            Self::SessionEnd { session, result } => {
                octets.put_u8(id::SESSION_END);
                octets.put_u32(*session);
                octets.put_u8(*result);
            }
        }
        octets
    }
}

fn put_item(octets: &mut Vec<u8>, id: u8, session: u32, item: u16) {
    octets.put_u8(id);
    octets.put_u32(session);
    octets.put_u16(item);
}

fn put_short(octets: &mut Vec<u8>, value: &[u8]) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    octets.put_u8(length);
    octets.extend(value.iter().take(usize::from(length)));
}

enum ItemProblem {
    /// So many octets are expected behind the ID.
    Short(usize),
    Malformed(Malformed),
}

/// Session 4, item 2, kind 1, key length 1, key, part 1, parts 1, value.
fn decode_item(mut body: &[u8]) -> Result<Message, ItemProblem> {
    if body.len() < 8 {
        return Err(ItemProblem::Short(10));
    }
    let (session, item, kind) = (body.get_u32(), body.get_u16(), body.get_u8());
    let named = usize::from(body.get_u8());
    let (key, rest) = body.split_at_checked(named).ok_or(ItemProblem::Short(10 + named))?;
    let &[part, parts, ref value @ ..] = rest else { return Err(ItemProblem::Short(10 + named)) };
    let kind = Kind::from_code(kind).ok_or(ItemProblem::Malformed(Malformed::UnknownKind { kind }))?;
    if part == 0 || part > parts {
        return Err(ItemProblem::Malformed(Malformed::Part { part, parts }));
    }
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    Ok(Message::Item { session, item, part: ItemPart { kind, key, part, parts, value } })
}
