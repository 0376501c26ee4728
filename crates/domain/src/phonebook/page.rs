//! A page of the book as the store keeps it, and the slots in it.
//!
//! Value: format 01, slot_octets 1, occupied slots 2 (bit 0 is slot 0), then each occupied slot's octets. Slots are of
//! one size so that reading a page copies nothing.

use bytes::{BufMut, Bytes};

use super::{FilePath, Page, PageKey, SLOTS};
use crate::{
    identity::DeviceKey,
    octets::{CorruptValue, Reader},
};

const FORMAT: u8 = 0x01;

impl PageKey {
    /// The page that holds a record, and the record's slot in it. `None` for record number 0 (D-18: they start at 1).
    #[must_use]
    pub fn of(device: DeviceKey, file: FilePath, record_number: u8) -> Option<(Self, usize)> {
        let index = record_number.checked_sub(1)?;
        Some((Self { device, file, page: index / SLOTS as u8 }, usize::from(index) % SLOTS))
    }

    /// Number of the record in `slot` of this page.
    #[must_use]
    pub fn record_number(&self, slot: usize) -> u8 {
        u8::try_from(usize::from(self.page) * SLOTS + slot + 1).unwrap_or(u8::MAX)
    }
}

impl Page {
    /// The value that the store keeps: at most 4 + 16 x 255 octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let longest = self.slots.iter().flatten().map(Bytes::len).max().unwrap_or(0);
        let slot_octets = usize::from(self.slot_octets).max(longest).min(255);
        let mut out = Vec::with_capacity(4 + SLOTS * slot_octets);
        out.put_u8(FORMAT);
        out.put_u8(u8::try_from(slot_octets).unwrap_or(u8::MAX));
        out.put_u16(self.slots.iter().enumerate().fold(0, |bits, (at, slot)| bits | u16::from(slot.is_some()) << at));
        for slot in self.slots.iter().flatten() {
            let octets = slot.get(..slot_octets).unwrap_or(slot);
            out.extend_from_slice(octets);
            out.resize(out.len() + slot_octets - octets.len(), 0xFF);
        }
        out
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>) -> Result<Self, CorruptValue> {
        let mut reader = Reader::open("book page", octets.into(), FORMAT)?;
        let slot_octets = reader.u8()?;
        let occupied = reader.u16()?;
        if slot_octets == 0 && occupied != 0 {
            return Err(reader.corrupt("slots without octets"));
        }
        let mut page = Self { slot_octets, slots: Default::default() };
        for (at, slot) in page.slots.iter_mut().enumerate() {
            if occupied >> at & 1 == 1 {
                *slot = Some(reader.take(usize::from(slot_octets))?).filter(|octets| !is_empty(octets));
            }
        }
        reader.finish(page)
    }

    /// Makes room for records of `slot_octets`: shorter ones are filled with FF, longer ones stay as they are, so that a
    /// change of the monitor table loses nothing.
    pub fn grow(&mut self, slot_octets: u8) {
        if slot_octets <= self.slot_octets {
            return;
        }
        self.slot_octets = slot_octets;
        for slot in self.slots.iter_mut().flatten() {
            let mut octets = slot.to_vec();
            octets.resize(usize::from(slot_octets), 0xFF);
            *slot = octets.into();
        }
    }
}

/// D-22: a record whose octets are all FF is empty.
#[must_use]
pub fn is_empty(record: &[u8]) -> bool {
    record.iter().all(|&octet| octet == 0xFF)
}

/// Octets that do not fit the slot that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the octets reach beyond the record's slot")]
pub struct BeyondSlot;

/// `old` with `data` written over it at `data_offset` (D-26: several monitor rows may share a record), `slot_octets`
/// long, rest FF. `None` when the result is empty (D-22).
///
/// # Errors
/// [`BeyondSlot`] when `data` reaches beyond the slot: nothing of it may be stored.
pub fn merge(
    old: Option<&Bytes>,
    slot_octets: u8,
    data_offset: u16,
    data: &Bytes,
) -> Result<Option<Bytes>, BeyondSlot> {
    let size = usize::from(slot_octets).max(old.map_or(0, Bytes::len));
    if data_offset == 0 && data.len() == size {
        return Ok((!is_empty(data)).then(|| data.clone()));
    }
    let mut octets = old.map_or_else(Vec::new, |old| old.to_vec());
    octets.resize(size, 0xFF);
    let start = usize::from(data_offset);
    octets.get_mut(start..start + data.len()).ok_or(BeyondSlot)?.copy_from_slice(data);
    Ok((!is_empty(&octets)).then(|| octets.into()))
}

/// The octets of a record that a monitor row covers, filled with FF; `None` when they are all FF.
#[must_use]
pub fn covered(record: Option<&Bytes>, data_offset: u16, data_octets: u8) -> Option<Bytes> {
    let record = record?;
    let (start, size) = (usize::from(data_offset), usize::from(data_octets));
    if let Some(octets) = record.get(start..start + size) {
        return (!is_empty(octets)).then(|| record.slice(start..start + size));
    }
    let mut octets = record.get(start..).unwrap_or_default().to_vec();
    octets.resize(size, 0xFF);
    (!is_empty(&octets)).then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_beyond_the_slot_are_refused_and_no_deletion() {
        let data = Bytes::from_static(&[1; 4]);
        assert_eq!(merge(None, 4, 0, &data), Ok(Some(data.clone())));
        assert_eq!(merge(None, 4, 1, &data), Err(BeyondSlot));
        assert_eq!(merge(Some(&data), 4, 0, &Bytes::from_static(&[0xFF; 4])), Ok(None));
    }
}
