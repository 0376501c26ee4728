//! What is to happen later, by time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Work for later; the numbers are indices of stored messages with the generation that they were set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Try to deliver a message to the centre.
    Deliver(Slot),
    /// Try to hand a message to its phone.
    Reach(Slot),
}

/// Names a stored message; a slot that was used again has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub index: u32,
    pub generation: u32,
}

impl Slot {
    /// As a token of the SMPP driver.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the token")]
    pub fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Job)>>,
}

impl Timers {
    pub fn set(&mut self, at: Instant, job: Job) {
        self.heap.push(Reverse((at, job)));
    }

    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Job> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, job))| job)
    }
}

/// Messages by slot; at most `u32::MAX`.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn insert(&mut self, value: T) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("the store is limited far below 2^32")
        });
        let place = &mut self.places[index as usize];
        place.0 = place.0.wrapping_add(1);
        place.1 = Some(value);
        Slot { index, generation: place.0 }
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let place = self.places.get_mut(slot.index as usize)?;
        if place.0 == slot.generation { place.1.as_mut() } else { None }
    }

    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let place = self.places.get_mut(slot.index as usize)?;
        if place.0 != slot.generation {
            return None;
        }
        let value = place.1.take()?;
        self.free.push(slot.index);
        Some(value)
    }

    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        std::mem::take(&mut self.places).into_iter().filter_map(|(_, value)| value)
    }
}
