//! An item in parts that fit a message, and parts put together again, in any order and with repeats.

use bytes::Bytes;

use super::{ITEM_HEADER_OCTETS, ItemPart, Kind, Message};

/// Octets of an item's value at most (D-93).
pub const ITEM_OCTETS_MAX: usize = 64 * 1024;
/// Octets of a message over SMS.
pub const SMS_ROOM_OCTETS: usize = crate::SMS_OCTETS;
/// Octets of a message over IP: a little under the payload of one frame.
pub const IP_ROOM_OCTETS: usize = 4000;

/// A ring tone, an address-book entry, a setting.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    /// At most 255 octets.
    pub key: Bytes,
    /// At most [`ITEM_OCTETS_MAX`] octets.
    pub value: Bytes,
}

/// The content is personal data: only its shape is shown.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Item");
        shown.field("kind", &self.kind).field("value_octets", &self.value.len()).finish_non_exhaustive()
    }
}

/// More than 255 parts: over SMS such an item waits for IP (D-130).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item of {octets} octets takes more than 255 parts of at most {room_octets} octets")]
pub struct TooManyParts {
    pub octets: usize,
    pub room_octets: usize,
}

impl Item {
    /// Octets that count against the quotas (D-93).
    #[must_use]
    pub fn octets(&self) -> usize {
        self.key.len() + self.value.len()
    }

    /// The messages that carry the item, each of at most `room_octets`. An empty value is one empty part.
    ///
    /// # Errors
    /// [`TooManyParts`].
    pub fn messages(&self, session: u32, item: u16, room_octets: usize) -> Result<Vec<Message>, TooManyParts> {
        let too_many = TooManyParts { octets: self.octets(), room_octets };
        let room = room_octets.checked_sub(ITEM_HEADER_OCTETS + self.key.len()).filter(|room| *room > 0);
        let room = room.ok_or(too_many)?;
        let parts = u8::try_from(self.value.len().div_ceil(room).max(1)).map_err(|_| too_many)?;
        let message = |part: u8| {
            let start = (usize::from(part) - 1) * room;
            let value = self.value.slice(start..self.value.len().min(start + room));
            Message::Item {
                session,
                item,
                part: ItemPart { kind: self.kind, key: self.key.clone(), part, parts, value },
            }
        };
        Ok((1..=parts).map(message).collect())
    }
}

/// The value is longer than [`ITEM_OCTETS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item of more than {ITEM_OCTETS_MAX} octets")]
pub struct ItemTooLarge;

/// The parts of one item that have come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly(Vec<ItemPart>);

impl Assembly {
    /// Takes a part; gives the item with its last one, and is empty again. Parts of another item than those before, or
    /// cut otherwise, replace them: the sender has begun anew.
    ///
    /// # Errors
    /// [`ItemTooLarge`]; the assembly is empty then.
    pub fn add(&mut self, part: ItemPart) -> Result<Option<Item>, ItemTooLarge> {
        let same = |held: &ItemPart| (held.kind, &held.key, held.parts) == (part.kind, &part.key, part.parts);
        if !self.0.first().is_none_or(same) {
            self.0.clear();
        }
        let parts = usize::from(part.parts);
        match self.0.binary_search_by_key(&part.part, |held| held.part) {
            Ok(_) => {}
            Err(at) => self.0.insert(at, part),
        }
        let octets: usize = self.0.iter().map(|held| held.value.len()).sum();
        if octets > ITEM_OCTETS_MAX {
            self.0.clear();
            return Err(ItemTooLarge);
        }
        if self.0.len() < parts {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.0);
        let value = whole.iter().flat_map(|held| held.value.iter().copied()).collect();
        Ok(whole.into_iter().next().map(|first| Item { kind: first.kind, key: first.key, value }))
    }

    /// What is held, by part number.
    pub fn parts(&self) -> impl Iterator<Item = &ItemPart> {
        self.0.iter()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(messages: Vec<Message>) -> Vec<ItemPart> {
        let part = |message| if let Message::Item { part, .. } = message { Some(part) } else { None };
        messages.into_iter().filter_map(part).collect()
    }

    #[test]
    fn parts_in_any_order_and_twice_are_the_item_again() {
        for octets in [0, 1, 100, 125, 126, 10_000, 30_000] {
            let value: Bytes = (0..octets).map(|at: u32| at.to_le_bytes()[0]).collect();
            let item = Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value };
            let messages = item.messages(7, 1, SMS_ROOM_OCTETS).expect("it fits");
            assert!(messages.iter().all(|message| message.encode().len() <= SMS_ROOM_OCTETS));
            let mut sent = parts(messages);
            sent.reverse();
            let last = sent.pop().expect("one part at least");
            let mut assembly = Assembly::default();
            for part in sent.iter().chain(&sent) {
                assert_eq!(assembly.add(part.clone()), Ok(None));
            }
            assert_eq!(assembly.add(last), Ok(Some(item)));
            assert_eq!(assembly, Assembly::default());
        }
    }

    #[test]
    fn over_sms_more_than_255_parts_are_refused_and_over_ip_64_kib_fit() {
        let item = |octets| Item { kind: Kind::Data, key: Bytes::from_static(b"ring"), value: vec![7; octets].into() };
        assert_eq!(item(255 * 125).messages(1, 1, SMS_ROOM_OCTETS).map(|parts| parts.len()), Ok(255));
        assert!(item(255 * 125 + 1).messages(1, 1, SMS_ROOM_OCTETS).is_err());
        assert!(item(ITEM_OCTETS_MAX).messages(1, 1, IP_ROOM_OCTETS).is_ok());
        let long_key = Item { kind: Kind::Data, key: vec![7; 255].into(), value: Bytes::new() };
        assert!(long_key.messages(1, 1, SMS_ROOM_OCTETS).is_err());
    }

    #[test]
    fn an_item_beyond_the_quota_is_refused() {
        let large = Item { kind: Kind::Data, key: Bytes::new(), value: vec![7; ITEM_OCTETS_MAX + 1].into() };
        let mut assembly = Assembly::default();
        let sent = parts(large.messages(1, 1, IP_ROOM_OCTETS).expect("few parts"));
        let refused = sent.into_iter().map(|part| assembly.add(part)).collect::<Result<Vec<_>, _>>();
        assert_eq!(refused, Err(ItemTooLarge));
    }
}
