//! Long messages (TS 23.040 9.2.3.24): which of a batch's messages are whole, which are parts that wait, and which make a
//! long message complete. Parts are committed before they are answered.
//!
//! The network delivers a part again when our answer got lost, also after its message was complete: what a complete message
//! was made of is remembered as long as parts wait, so that such a part makes no other message with the same reference
//! complete.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use domain::identity::{Msisdn, Timestamp};
use secured::bearer;
use sms::{PartInfo, UserDataHeader, concatenation::Reference};
use store::{Part, PartsHeld, PartsKey};

use crate::envelope::Envelope;

/// What a message is by its user data header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// A secured packet (TS 31.115).
    Secured(Envelope),
    Part {
        key: PartsKey,
        sequence: u8,
        others: Bytes,
    },
    /// The header's octets are no header.
    Malformed,
}

/// Reads the header; empty for nearly every message.
pub fn shape(msisdn: Msisdn, user_data_header: &Bytes) -> Shape {
    if user_data_header.is_empty() {
        return Shape::Whole;
    }
    let Ok(header) = UserDataHeader::decode(user_data_header) else { return Shape::Malformed };
    match header.concatenation() {
        Some(PartInfo { reference, total, sequence }) if total > 1 => {
            let (reference, is_wide) = match reference {
                Reference::Eight(reference) => (reference.into(), false),
                Reference::Sixteen(reference) => (reference, true),
            };
            let others = header.without_concatenation().encode().into();
            Shape::Part { key: PartsKey { msisdn, reference, is_wide, total }, sequence, others }
        }
        _ => match header.elements().iter().map(|element| element.id).find_map(envelope) {
            Some(envelope) => Shape::Secured(envelope),
            None => Shape::Whole,
        },
    }
}

/// By the identifier of an information element.
fn envelope(iei: u8) -> Option<Envelope> {
    match iei {
        bearer::IEI_COMMAND => Some(Envelope::Command),
        bearer::IEI_RESPONSE => Some(Envelope::Response),
        _ => None,
    }
}

/// The parts of a batch, with those that the store has.
#[derive(Default)]
pub struct Assembly {
    messages: HashMap<PartsKey, Message>,
    complete: Vec<(PartsKey, Message)>,
    held: HashMap<Msisdn, PartsHeld>,
    parts_max: usize,
}

/// One long message so far.
#[derive(Default)]
struct Message {
    parts: BTreeMap<u8, Held>,
    /// What is remembered of the message before it with this key.
    over: Option<Over>,
}

struct Held {
    part: Part,
    is_stored: bool,
}

/// A message that is over.
struct Over {
    /// Parts that came before do not belong to the next one.
    at: Timestamp,
    /// Hashes of its parts, 8 octets each; empty: nothing that comes can be a repeat of it.
    hashes: Bytes,
    is_stored: bool,
}

/// What a part does.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    Whole(Assembled),
    Waits,
    /// Its number has as many parts waiting as it may have: it is not taken.
    Full,
}

/// A long message with all its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Names it in [`Assembly::into_writes`].
    pub completion: usize,
    pub octets: Bytes,
    pub envelope: Envelope,
}

impl Assembly {
    /// `stored`: what the store holds of these messages. Parts older than `oldest` belong to an earlier message with the
    /// same reference. `held`: how much it holds of these numbers, of which at most `parts_max` parts may wait.
    pub fn new(stored: Vec<Part>, oldest: Timestamp, held: HashMap<Msisdn, PartsHeld>, parts_max: usize) -> Self {
        let mut assembly = Self { held, parts_max, ..Self::default() };
        for part in stored.into_iter().filter(|part| part.arrived >= oldest) {
            let message = assembly.messages.entry(part.key.clone()).or_default();
            if part.sequence == 0 {
                message.over = Some(Over { at: part.arrived, hashes: part.payload, is_stored: true });
            } else {
                message.parts.insert(part.sequence, Held { is_stored: true, part });
            }
        }
        for message in assembly.messages.values_mut() {
            if let Some(over) = &message.over {
                message.parts.retain(|_, held| held.part.arrived >= over.at);
            }
        }
        assembly
    }

    /// Adds a part.
    pub fn add(&mut self, part: Part) -> Added {
        let key = part.key.clone();
        let (sequence, held) = (part.sequence, self.held.entry(key.msisdn).or_default());
        let message = self.messages.entry(key.clone()).or_default();
        message.begin_anew_unless_repeated(&part);
        let is_new = message.parts.insert(sequence, Held { part, is_stored: false }).is_none();
        if message.parts.len() < usize::from(key.total) {
            if is_new && held.waiting >= self.parts_max {
                message.parts.remove(&sequence);
                return Added::Full;
            }
            held.waiting += usize::from(is_new);
            return Added::Waits;
        }
        held.waiting = held.waiting.saturating_sub(message.parts.len() - usize::from(is_new));
        let Some(message) = self.messages.remove(&key) else { return Added::Waits };
        let mut octets = BytesMut::new();
        for held in message.parts.values() {
            octets.extend_from_slice(&held.part.payload);
        }
        let header = message.parts.values().next().map(|held| held.part.user_data_header.clone()).unwrap_or_default();
        let envelope = match shape(key.msisdn, &header) {
            Shape::Secured(envelope) => envelope,
            Shape::Whole | Shape::Part { .. } | Shape::Malformed => Envelope::Plain,
        };
        self.complete.push((key, message));
        Added::Whole(Assembled { completion: self.complete.len() - 1, octets: octets.freeze(), envelope })
    }

    /// Parts to write, and messages whose parts go: those that were `done`. The parts of a complete message that is not
    /// done yet are kept like those of an incomplete one.
    pub fn into_writes(mut self, done: impl Fn(usize) -> bool) -> (Vec<Part>, Vec<PartsKey>) {
        let (mut finished, mut new) = (Vec::new(), Vec::new());
        let mut waiting: Vec<(PartsKey, Message)> = self.messages.into_iter().collect();
        for (completion, (key, message)) in self.complete.into_iter().enumerate() {
            if !done(completion) {
                waiting.push((key, message));
                continue;
            }
            let held = self.held.entry(key.msisdn).or_default();
            if message.over.is_some() || held.remembered < REMEMBERED_MAX {
                held.remembered += usize::from(message.over.is_none());
                let at = message.parts.values().map(|held| held.part.arrived).max().unwrap_or(Timestamp(0));
                new.push(Over { at, hashes: message.hashes(), is_stored: false }.into_part(key.clone()));
            }
            finished.push(key);
        }
        for (key, message) in waiting {
            new.extend(message.over.filter(|over| !over.is_stored).map(|over| over.into_part(key)));
            new.extend(message.parts.into_values().filter(|held| !held.is_stored).map(|held| held.part));
        }
        (new, finished)
    }
}

impl Message {
    /// A part that is not one of the message that is over belongs to another one, which has none of what came before. Its
    /// repeats are collected as they were: all of them together are a repeat of the message, which is answered again.
    fn begin_anew_unless_repeated(&mut self, part: &Part) {
        let Some(over) = self.over.as_mut().filter(|over| !over.hashes.is_empty()) else { return };
        let at = usize::from(part.sequence.saturating_sub(1)) * HASH_OCTETS;
        if over.hashes.get(at..at + HASH_OCTETS) != Some(hash(&part.payload).as_slice()) {
            *over = Over { at: part.arrived, hashes: Bytes::new(), is_stored: false };
            self.parts.clear();
        }
    }

    fn hashes(&self) -> Bytes {
        self.parts.values().flat_map(|held| hash(&held.part.payload)).collect()
    }
}

impl Over {
    fn into_part(self, key: PartsKey) -> Part {
        Part { key, sequence: 0, user_data_header: Bytes::new(), payload: self.hashes, arrived: self.at }
    }
}

/// Messages of one number that are over and remembered.
const REMEMBERED_MAX: usize = 256;
const HASH_OCTETS: usize = 8;

/// 64-bit FNV-1a.
fn hash(octets: &[u8]) -> [u8; HASH_OCTETS] {
    let step = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3);
    octets.iter().fold(0xCBF2_9CE4_8422_2325_u64, step).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sequence: u8, arrived: i64, octets: &[u8]) -> Part {
        let msisdn = Msisdn::parse("447700900001").unwrap();
        let key = PartsKey { msisdn, reference: 7, is_wide: false, total: 3 };
        let payload = Bytes::copy_from_slice(octets);
        Part { key, sequence, user_data_header: Bytes::new(), payload, arrived: Timestamp(arrived) }
    }

    fn part(sequence: u8, arrived: i64) -> Part {
        of(sequence, arrived, &[sequence; 2])
    }

    fn assembly(stored: Vec<Part>) -> Assembly {
        Assembly::new(stored, Timestamp(5), HashMap::new(), 100)
    }

    fn whole(added: Added) -> Assembled {
        match added {
            Added::Whole(assembled) => assembled,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_missing_part_completes_in_any_order_and_repeats_do_no_harm() {
        let mut assembly = assembly(vec![part(3, 10)]);
        assert_eq!(assembly.add(part(1, 11)), Added::Waits);
        assert_eq!(assembly.add(part(1, 11)), Added::Waits);
        assert_eq!(whole(assembly.add(part(2, 12))).octets.as_ref(), [1, 1, 2, 2, 3, 3]);
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new.len(), finished.len()), (1, 1));
        assert_eq!((new[0].sequence, new[0].arrived), (0, Timestamp(12)), "what is remembered");
    }

    #[test]
    fn a_complete_message_that_is_not_done_keeps_its_parts() {
        let mut assembly = assembly(vec![part(3, 10)]);
        assembly.add(part(1, 11));
        assert_eq!(whole(assembly.add(part(2, 12))).completion, 0);
        let (new, finished) = assembly.into_writes(|_| false);
        assert_eq!((new.len(), finished.len()), (2, 0));
        assert!(new.iter().all(|part| part.sequence > 0));
    }

    #[test]
    fn old_parts_do_not_complete_a_new_message() {
        let mut assembly = assembly(vec![part(3, 1), part(2, 1)]);
        assert_eq!(assembly.add(part(1, 11)), Added::Waits);
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new.len(), finished.len()), (1, 0));
    }

    /// What the store holds after a message was complete, and `then` came.
    fn after_completion(then: Vec<Part>) -> Vec<Part> {
        let mut first = assembly(vec![part(1, 10), part(2, 10)]);
        whole(first.add(part(3, 11)));
        let (mut stored, _) = first.into_writes(|_| true);
        for part in then {
            let mut next = assembly(stored.clone());
            assert_eq!(next.add(part), Added::Waits);
            for new in next.into_writes(|_| true).0 {
                stored.retain(|held| held.sequence != new.sequence);
                stored.push(new);
            }
        }
        stored
    }

    #[test]
    fn a_part_that_comes_again_after_its_message_completes_no_other_one() {
        let stored = after_completion(vec![part(2, 12), of(1, 20, b"new 1")]);
        let mut next = assembly(stored);
        assert_eq!(next.add(of(3, 21, b"new 3")), Added::Waits, "the old second part is none of this message's");
        assert_eq!(whole(next.add(of(2, 22, b"new 2"))).octets.as_ref(), b"new 1new 2new 3");
    }

    #[test]
    fn a_message_that_comes_again_is_whole_again() {
        let mut next = assembly(after_completion(vec![part(3, 12), part(1, 12)]));
        assert_eq!(whole(next.add(part(2, 13))).octets.as_ref(), [1, 1, 2, 2, 3, 3]);
        let (new, finished) = next.into_writes(|_| true);
        assert_eq!((new.len(), finished.len()), (1, 1));
    }

    #[test]
    fn a_number_has_no_more_parts_waiting_than_it_may() {
        let msisdn = part(1, 10).key.msisdn;
        let held = HashMap::from([(msisdn, PartsHeld { waiting: 99, remembered: REMEMBERED_MAX })]);
        let mut assembly = Assembly::new(vec![part(1, 10)], Timestamp(5), held, 100);
        let other = |sequence| Part { key: PartsKey { is_wide: true, ..part(1, 0).key }, ..part(sequence, 11) };
        assert_eq!(assembly.add(other(1)), Added::Waits);
        assert_eq!(assembly.add(other(2)), Added::Full);
        assert_eq!(assembly.add(other(1)), Added::Waits, "a repeat takes no room");
        assert_eq!(assembly.add(part(2, 11)), Added::Full);
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new, finished.len()), (vec![other(1)], 0));
    }

    #[test]
    fn what_is_remembered_of_a_number_is_limited_and_a_last_part_always_has_room() {
        let held = HashMap::from([(part(1, 10).key.msisdn, PartsHeld { waiting: 100, remembered: REMEMBERED_MAX })]);
        let mut assembly = Assembly::new(vec![part(1, 10), part(2, 10)], Timestamp(5), held, 100);
        whole(assembly.add(part(3, 11)));
        let (new, finished) = assembly.into_writes(|_| true);
        assert_eq!((new, finished.len()), (vec![], 1));
    }

    #[test]
    fn headers_are_told_apart() {
        let msisdn = Msisdn::parse("447700900001").unwrap();
        let check = |octets: &'static [u8]| shape(msisdn, &Bytes::from_static(octets));
        assert_eq!(check(&[]), Shape::Whole);
        assert_eq!(check(&[0x70, 0]), Shape::Secured(Envelope::Command));
        assert_eq!(check(&[0x71, 0]), Shape::Secured(Envelope::Response));
        assert_eq!(check(&[0x00, 3, 9]), Shape::Malformed);
        assert_eq!(check(&[0x00, 3, 9, 1, 1]), Shape::Whole);
        let Shape::Part { key, sequence, others } = check(&[0x00, 3, 9, 2, 1, 0x70, 0]) else { panic!("a part") };
        assert_eq!((key.reference, key.total, sequence, others.as_ref()), (9, 2, 1, [0x70, 0].as_slice()));
        let Shape::Part { key: wide, .. } = check(&[0x08, 4, 0, 9, 2, 1]) else { panic!("a part") };
        assert_eq!((wide.reference, wide.is_wide, key.is_wide), (9, true, false));
    }
}
