//! Messages that wait for their results, found by id without searching; an id is never used again, so a late result of a
//! message that was given up meets nothing.

/// Values under ids: the low half is a place, the high half counts its uses.
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts what `make` returns under a new id; at most 2^32 at a time, far above any window.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(u64) -> T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some((uses, slot)) = self.slots.get_mut(place as usize) {
            *uses = uses.wrapping_add(1);
            *slot = Some(make(u64::from(*uses) << 32 | u64::from(place)));
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let place = id & u64::from(u32::MAX);
        let (uses, slot) = self.slots.get_mut(usize::try_from(place).ok()?)?;
        if u64::from(*uses) != id >> 32 {
            return None;
        }
        let value = slot.take()?;
        self.free.push(u32::try_from(place).ok()?);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// Takes out what `is_taken` says.
    pub(super) fn take_if(&mut self, mut is_taken: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (place, (_, slot)) in self.slots.iter_mut().enumerate() {
            if let Some(value) = slot.take_if(|value| is_taken(value)) {
                taken.push(value);
                self.free.extend(u32::try_from(place));
            }
        }
        self.len = self.len.saturating_sub(taken.len());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn an_id_is_never_used_again() {
        let mut slots = Slots::new();
        let mut first = 0;
        slots.insert_with(|id| first = id);
        assert_eq!(slots.remove(first), Some(()));
        assert_eq!(slots.remove(first), None);
        let mut second = 0;
        slots.insert_with(|id| second = id);
        assert_ne!(first, second);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.remove(u64::MAX), None);
        assert_eq!(slots.take_if(|()| true).len(), 1);
        assert_eq!((slots.len(), slots.remove(second)), (0, None));
    }
}
