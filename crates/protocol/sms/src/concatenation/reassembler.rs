//! Joins parts that arrive in any order, twice, or never.

use super::{PartInfo, Reference};
use crate::UserDataHeader;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What the reassembler may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct ReassemblerLimits {
    /// Memory of waiting parts, of all sources together, overhead included. Default 16 MiB.
    pub octets_max: usize,
    /// Messages that wait for parts, of all sources together. Default 65,536.
    pub messages_max: usize,
    /// Messages that wait, of one source; a further one drops the source's oldest. Default 4.
    pub messages_per_source_max: usize,
    /// A message that is not complete this long after its first part is given up. Default 10 minutes.
    pub age_max: Duration,
}

impl Default for ReassemblerLimits {
    fn default() -> Self {
        Self {
            octets_max: 16 << 20,
            messages_max: 65_536,
            messages_per_source_max: 4,
            age_max: Duration::from_secs(600),
        }
    }
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Others are missing.
    Waiting,
    /// The last part: here is the message.
    Complete(Reassembled),
    /// The same part again: it changes nothing.
    Duplicate,
    /// A limit is reached: nothing was kept, the sender has to try again later.
    Full,
}

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// The first part's header without its concatenation element.
    pub header: UserDataHeader,
    /// All parts' octets, in order.
    pub payload: Vec<u8>,
}

/// The outcome, and how many waiting parts were given up for it: they conflicted with this part (another total, or
/// other octets under the same number), so that the reference was in use again; or the source had too many messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insertion {
    pub outcome: Outcome,
    pub discarded_parts: usize,
}

/// Bounded; `K` names the source (subscriber, or link and address).
#[derive(Debug)]
pub struct Reassembler<K> {
    limits: ReassemblerLimits,
    sources: HashMap<K, Vec<Message>>,
    octets: usize,
    messages: usize,
}

#[derive(Debug)]
struct Message {
    reference: Reference,
    total: u8,
    /// When its first part came, or when it became complete.
    since: Duration,
    /// Waiting parts by sequence; empty once complete.
    parts: BTreeMap<u8, Part>,
    /// Hashes of the parts of the last complete message under this reference. A redelivered part of it starts a
    /// set that must never be mixed with the parts of a new message.
    completed: Option<Vec<u64>>,
}

#[derive(Debug)]
struct Part {
    header: UserDataHeader,
    body: Vec<u8>,
    hash: u64,
}

/// What a part costs beside its octets, about.
const PART_OVERHEAD: usize = 96;
const ELEMENT_OVERHEAD: usize = 32;

fn cost(header: &UserDataHeader, body: &[u8]) -> usize {
    PART_OVERHEAD + header.elements().len() * ELEMENT_OVERHEAD + header.encode().len() + body.len()
}

impl Message {
    fn octets(&self) -> usize {
        let completed = self.completed.as_ref().map_or(0, |hashes| hashes.len() * size_of::<u64>());
        completed + self.parts.values().map(|part| cost(&part.header, &part.body)).sum::<usize>()
    }

    /// Whether every waiting part is a repeat of the complete message, and `hash` as part `sequence` is not.
    fn is_echo_broken_by(&self, sequence: u8, hash: u64) -> bool {
        let Some(completed) = &self.completed else { return false };
        let hash_at = |sequence: u8| completed.get(usize::from(sequence).wrapping_sub(1)).copied();
        !self.parts.is_empty()
            && self.parts.iter().all(|(sequence, part)| hash_at(*sequence) == Some(part.hash))
            && hash_at(sequence) != Some(hash)
    }
}

impl<K: Hash + Eq + Clone> Reassembler<K> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: ReassemblerLimits) -> Self {
        Self { limits, sources: HashMap::new(), octets: 0, messages: 0 }
    }

    /// Memory of the waiting parts in octets, about.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Takes one part. `header` is the part's whole header, `body` what follows it. With a total of 1 it is complete.
    pub fn insert(
        &mut self,
        source: K,
        part: PartInfo,
        header: &UserDataHeader,
        body: &[u8],
        now: Duration,
    ) -> Insertion {
        if part.sequence == 0 || part.sequence > part.total {
            return Insertion { outcome: Outcome::Full, discarded_parts: 0 };
        }
        let header = header.without_concatenation();
        if part.total == 1 {
            let message = Reassembled { header, payload: body.to_vec() };
            return Insertion { outcome: Outcome::Complete(message), discarded_parts: 0 };
        }
        let mut discarded_parts = 0;
        let hash = hash_of(&header, body);
        let needed = cost(&header, body);
        if let Some(message) = self.find(&source, part.reference) {
            let held = message.parts.get(&part.sequence);
            if message.total == part.total && held.is_some_and(|held| held.hash == hash && held.body == body) {
                return Insertion { outcome: Outcome::Duplicate, discarded_parts: 0 };
            }
            let conflict = message.total != part.total
                || held.is_some()
                || message.since.saturating_add(self.limits.age_max) <= now
                || message.is_echo_broken_by(part.sequence, hash);
            if conflict {
                discarded_parts += self.discard(&source, part.reference);
            }
        }
        if self.octets.saturating_add(needed) > self.limits.octets_max {
            discarded_parts += self.expire(now);
            if self.octets.saturating_add(needed) > self.limits.octets_max {
                return Insertion { outcome: Outcome::Full, discarded_parts };
            }
        }
        if self.find(&source, part.reference).is_none() {
            match self.make_room(&source, now) {
                Some(discarded) => discarded_parts += discarded,
                None => return Insertion { outcome: Outcome::Full, discarded_parts },
            }
            let message = Message {
                reference: part.reference,
                total: part.total,
                since: now,
                parts: BTreeMap::new(),
                completed: None,
            };
            self.sources.entry(source.clone()).or_default().push(message);
            self.messages += 1;
        }
        let outcome = self.store(&source, part, Part { header, body: body.to_vec(), hash }, now);
        Insertion { outcome, discarded_parts }
    }

    /// Gives up what is too old; returns how many waiting parts that were.
    pub fn expire(&mut self, now: Duration) -> usize {
        let (mut parts, mut octets, mut messages) = (0, 0, 0);
        let age_max = self.limits.age_max;
        self.sources.retain(|_, held| {
            held.retain(|message| {
                let keep = message.since.saturating_add(age_max) > now;
                if !keep {
                    parts += message.parts.len();
                    octets += message.octets();
                    messages += 1;
                }
                keep
            });
            !held.is_empty()
        });
        self.octets -= octets;
        self.messages -= messages;
        parts
    }

    fn find(&self, source: &K, reference: Reference) -> Option<&Message> {
        self.sources.get(source)?.iter().find(|message| message.reference == reference)
    }

    /// Forgets one message; returns its waiting parts.
    fn discard(&mut self, source: &K, reference: Reference) -> usize {
        let Some(held) = self.sources.get_mut(source) else { return 0 };
        let Some(index) = held.iter().position(|message| message.reference == reference) else { return 0 };
        let message = held.remove(index);
        self.octets -= message.octets();
        self.messages -= 1;
        if held.is_empty() {
            self.sources.remove(source);
        }
        message.parts.len()
    }

    /// Room for one more message of `source`: how many parts were given up, or `None` when there is none.
    fn make_room(&mut self, source: &K, now: Duration) -> Option<usize> {
        let mut discarded = 0;
        let held = self.sources.get(source).map_or(&[][..], Vec::as_slice);
        if held.len() >= self.limits.messages_per_source_max.max(1) {
            let oldest = held.iter().min_by_key(|message| (!message.parts.is_empty(), message.since))?.reference;
            discarded += self.discard(source, oldest);
        }
        if self.messages >= self.limits.messages_max {
            discarded += self.expire(now);
        }
        (self.messages < self.limits.messages_max).then_some(discarded)
    }

    /// Keeps the part of a message that exists.
    fn store(&mut self, source: &K, part: PartInfo, content: Part, now: Duration) -> Outcome {
        let found = self
            .sources
            .get_mut(source)
            .and_then(|held| held.iter_mut().find(|message| message.reference == part.reference));
        let Some(message) = found else { return Outcome::Full };
        if message.parts.is_empty() {
            message.since = now;
        }
        self.octets -= message.octets();
        message.parts.insert(part.sequence, content);
        if message.parts.len() < usize::from(message.total) {
            self.octets += message.octets();
            return Outcome::Waiting;
        }
        let parts = std::mem::take(&mut message.parts);
        message.completed = Some(parts.values().map(|part| part.hash).collect());
        message.since = now;
        self.octets += message.octets();
        let header = parts.values().next().map(|part| part.header.clone()).unwrap_or_default();
        let payload = parts.into_values().flat_map(|part| part.body).collect();
        Outcome::Complete(Reassembled { header, payload })
    }
}

fn hash_of(header: &UserDataHeader, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    header.encode().hash(&mut hasher);
    body.hash(&mut hasher);
    hasher.finish()
}
