//! Joins parts that arrive in any order, twice, or never.

use super::{PartInfo, Reference};
use crate::UserDataHeader;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What the reassembler may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct ReassemblerLimits {
    /// Octets of waiting parts, of all sources together. Default 16 MiB.
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
    /// Waiting parts by `sequence - 1`; empty once complete.
    parts: Vec<Option<(UserDataHeader, Vec<u8>)>>,
    /// Hashes of the parts of the last complete message under this reference. A redelivered part of it starts a
    /// set that must never be mixed with the parts of a new message.
    completed: Option<Vec<u64>>,
}

impl Message {
    fn waiting(&self) -> usize {
        self.parts.iter().flatten().count()
    }

    fn octets(&self) -> usize {
        self.parts.iter().flatten().map(|(_, body)| body.len()).sum()
    }

    /// Whether every waiting part is a repeat of the complete message, and `hash` at `place` is not.
    fn is_echo_broken_by(&self, place: usize, hash: u64) -> bool {
        let Some(completed) = &self.completed else { return false };
        let repeats = |(index, part): (usize, &Option<(UserDataHeader, Vec<u8>)>)| {
            part.as_ref().is_none_or(|(header, body)| completed.get(index) == Some(&hash_of(header, body)))
        };
        self.waiting() > 0
            && self.parts.iter().enumerate().all(repeats)
            && completed.get(place) != Some(&hash)
    }
}

impl<K: Hash + Eq + Clone> Reassembler<K> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: ReassemblerLimits) -> Self {
        Self { limits, sources: HashMap::new(), octets: 0, messages: 0 }
    }

    /// Octets of the waiting parts.
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
        let place = usize::from(part.sequence) - 1;
        let header = header.without_concatenation();
        if part.total == 1 {
            let message = Reassembled { header, payload: body.to_vec() };
            return Insertion { outcome: Outcome::Complete(message), discarded_parts: 0 };
        }
        let mut discarded_parts = 0;
        let hash = hash_of(&header, body);
        if let Some(message) = self.find(&source, part.reference) {
            match message.parts.get(place).and_then(Option::as_ref) {
                Some((_, held)) if message.total == part.total && held == body => {
                    return Insertion { outcome: Outcome::Duplicate, discarded_parts: 0 };
                }
                taken => {
                    let conflict = message.total != part.total
                        || taken.is_some()
                        || message.since + self.limits.age_max <= now
                        || message.is_echo_broken_by(place, hash);
                    if conflict {
                        discarded_parts += self.discard(&source, part.reference);
                    }
                }
            }
        }
        if self.octets.saturating_add(body.len()) > self.limits.octets_max {
            discarded_parts += self.expire(now);
            if self.octets.saturating_add(body.len()) > self.limits.octets_max {
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
                parts: Vec::new(),
                completed: None,
            };
            self.sources.entry(source.clone()).or_default().push(message);
            self.messages += 1;
        }
        let outcome = self.store(&source, part, header, body, now);
        Insertion { outcome, discarded_parts }
    }

    /// Gives up what is too old; returns how many waiting parts that were.
    pub fn expire(&mut self, now: Duration) -> usize {
        let (mut parts, mut octets, mut messages) = (0, 0, 0);
        let age_max = self.limits.age_max;
        self.sources.retain(|_, held| {
            held.retain(|message| {
                let keep = message.since + age_max > now;
                if !keep {
                    parts += message.waiting();
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
        message.waiting()
    }

    /// Room for one more message of `source`: how many parts were given up, or `None` when there is none.
    fn make_room(&mut self, source: &K, now: Duration) -> Option<usize> {
        let mut discarded = 0;
        let held = self.sources.get(source).map_or(&[][..], Vec::as_slice);
        if held.len() >= self.limits.messages_per_source_max.max(1) {
            let oldest = held.iter().min_by_key(|message| (message.waiting() > 0, message.since))?.reference;
            discarded += self.discard(source, oldest);
        }
        if self.messages >= self.limits.messages_max {
            discarded += self.expire(now);
        }
        (self.messages < self.limits.messages_max).then_some(discarded)
    }

    fn store(&mut self, source: &K, part: PartInfo, header: UserDataHeader, body: &[u8], now: Duration) -> Outcome {
        let found = self.sources.get_mut(source).and_then(|held| {
            held.iter_mut().find(|message| message.reference == part.reference)
        });
        let Some(message) = found else { return Outcome::Full };
        if message.parts.is_empty() {
            message.parts = (0..part.total).map(|_| None).collect();
            message.since = now;
        }
        let Some(slot) = message.parts.get_mut(usize::from(part.sequence) - 1) else { return Outcome::Full };
        *slot = Some((header, body.to_vec()));
        self.octets += body.len();
        if message.waiting() < message.parts.len() {
            return Outcome::Waiting;
        }
        self.octets -= message.octets();
        let parts: Vec<_> = std::mem::take(&mut message.parts).into_iter().flatten().collect();
        message.completed = Some(parts.iter().map(|(header, body)| hash_of(header, body)).collect());
        message.since = now;
        let header = parts.first().map(|(header, _)| header.clone()).unwrap_or_default();
        let payload = parts.into_iter().flat_map(|(_, body)| body).collect();
        Outcome::Complete(Reassembled { header, payload })
    }
}

fn hash_of(header: &UserDataHeader, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    header.encode().hash(&mut hasher);
    body.hash(&mut hasher);
    hasher.finish()
}
