//! Long messages (TS 23.040 9.2.3.24): which of a batch's messages are whole, which are parts that wait, and which make a
//! long message complete. Parts are committed before they are answered.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use domain::identity::{Msisdn, Timestamp};
use sms::{PartInfo, UserDataHeader, concatenation::Reference};
use store::{Part, PartsKey};

/// What a message is by its user data header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// A secured packet (TS 31.115); none of these can be opened.
    Secured,
    Part {
        key: PartsKey,
        sequence: u8,
        others: Bytes,
    },
    /// The header's octets are no header.
    Malformed,
}

/// Identifiers of command and response packets (TS 31.115).
const SECURED: [u8; 2] = [0x70, 0x71];

/// Reads the header; empty for nearly every message.
pub fn shape(msisdn: Msisdn, user_data_header: &Bytes) -> Shape {
    if user_data_header.is_empty() {
        return Shape::Whole;
    }
    let Ok(header) = UserDataHeader::decode(user_data_header) else { return Shape::Malformed };
    match header.concatenation() {
        Some(PartInfo { reference, total, sequence }) if total > 1 => {
            let reference = match reference {
                Reference::Eight(reference) => reference.into(),
                Reference::Sixteen(reference) => reference,
            };
            let others = header.without_concatenation().encode().into();
            Shape::Part { key: PartsKey { msisdn, reference, total }, sequence, others }
        }
        _ if header.elements().iter().any(|element| SECURED.contains(&element.id)) => Shape::Secured,
        _ => Shape::Whole,
    }
}

/// The parts of a batch, with those that the store has.
#[derive(Default)]
pub struct Assembly {
    messages: HashMap<PartsKey, BTreeMap<u8, Held>>,
    complete: Vec<(PartsKey, BTreeMap<u8, Held>)>,
}

struct Held {
    part: Part,
    is_stored: bool,
}

/// A long message with all its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Names it in [`Assembly::into_writes`].
    pub completion: usize,
    pub octets: Bytes,
    pub is_secured: bool,
}

impl Assembly {
    /// `stored`: what the store holds of these messages. Parts older than `oldest` belong to an earlier message with the
    /// same reference.
    pub fn new(stored: Vec<Part>, oldest: Timestamp) -> Self {
        let mut assembly = Self::default();
        for part in stored.into_iter().filter(|part| part.arrived >= oldest) {
            let held = Held { is_stored: true, part };
            assembly.messages.entry(held.part.key.clone()).or_default().insert(held.part.sequence, held);
        }
        assembly
    }

    /// Adds a part; the whole message when it was the last one missing.
    pub fn add(&mut self, part: Part) -> Option<Assembled> {
        let key = part.key.clone();
        let parts = self.messages.entry(key.clone()).or_default();
        parts.insert(part.sequence, Held { part, is_stored: false });
        if parts.len() < usize::from(key.total) {
            return None;
        }
        let parts = self.messages.remove(&key)?;
        let mut octets = BytesMut::new();
        for held in parts.values() {
            octets.extend_from_slice(&held.part.payload);
        }
        let header = parts.values().next().map(|held| held.part.user_data_header.clone()).unwrap_or_default();
        let is_secured = shape(key.msisdn, &header) == Shape::Secured;
        self.complete.push((key, parts));
        Some(Assembled { completion: self.complete.len() - 1, octets: octets.freeze(), is_secured })
    }

    /// Parts to write, and messages whose parts go: those that were `done`. The parts of a complete message that is not
    /// done yet are kept like those of an incomplete one.
    pub fn into_writes(self, done: impl Fn(usize) -> bool) -> (Vec<Part>, Vec<PartsKey>) {
        let mut finished = Vec::new();
        let mut waiting: Vec<Held> = self.messages.into_values().flat_map(BTreeMap::into_values).collect();
        for (completion, (key, parts)) in self.complete.into_iter().enumerate() {
            if done(completion) {
                finished.push(key);
            } else {
                waiting.extend(parts.into_values());
            }
        }
        let new = waiting.into_iter().filter(|held| !held.is_stored).map(|held| held.part).collect();
        (new, finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sequence: u8, arrived: i64) -> Part {
        let key = PartsKey { msisdn: Msisdn::parse("447700900001").unwrap(), reference: 7, total: 3 };
        let payload = Bytes::from(vec![sequence; 2]);
        Part { key, sequence, user_data_header: Bytes::new(), payload, arrived: Timestamp(arrived) }
    }

    #[test]
    fn the_last_missing_part_completes_in_any_order_and_repeats_do_no_harm() {
        let mut assembly = Assembly::new(vec![part(3, 10)], Timestamp(5));
        assert_eq!(assembly.add(part(1, 11)), None);
        assert_eq!(assembly.add(part(1, 11)), None);
        let whole = assembly.add(part(2, 12)).unwrap();
        assert_eq!(whole.octets.as_ref(), [1, 1, 2, 2, 3, 3]);
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new.len(), finished.len()), (0, 1));
    }

    #[test]
    fn a_complete_message_that_is_not_done_keeps_its_parts() {
        let mut assembly = Assembly::new(vec![part(3, 10)], Timestamp(5));
        assembly.add(part(1, 11));
        assert_eq!(assembly.add(part(2, 12)).map(|whole| whole.completion), Some(0));
        let (new, finished) = assembly.into_writes(|_| false);
        assert_eq!((new.len(), finished.len()), (2, 0));
    }

    #[test]
    fn old_parts_do_not_complete_a_new_message() {
        let mut assembly = Assembly::new(vec![part(3, 1), part(2, 1)], Timestamp(5));
        assert_eq!(assembly.add(part(1, 11)), None);
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new.len(), finished.len()), (1, 0));
    }

    #[test]
    fn headers_are_told_apart() {
        let msisdn = Msisdn::parse("447700900001").unwrap();
        let check = |octets: &'static [u8]| shape(msisdn, &Bytes::from_static(octets));
        assert_eq!(check(&[]), Shape::Whole);
        assert_eq!(check(&[0x70, 0]), Shape::Secured);
        assert_eq!(check(&[0x00, 3, 9]), Shape::Malformed);
        assert_eq!(check(&[0x00, 3, 9, 1, 1]), Shape::Whole);
        let Shape::Part { key, sequence, others } = check(&[0x00, 3, 9, 2, 1, 0x70, 0]) else { panic!("a part") };
        assert_eq!((key.reference, key.total, sequence, others.as_ref()), (9, 2, 1, [0x70, 0].as_slice()));
    }
}
