//! The address-book entries of a collection go where backups go: into the book of the device that they came from, with a
//! journal (NK-CV-02). The collection keeps its own copy, which later edits of the book do not alter.

use bytes::Bytes;
use link::transfer::{entry::Entry, parts::Item};

use crate::{
    identity::DeviceKey,
    phonebook::{EF_ADN, EF_EXT1, FilePath, PageKey, Pages, RecordChange, page},
};

/// A record of a card, as an entry of a collection holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookRecord {
    pub file: FilePath,
    pub record_number: u8,
    pub octets: Bytes,
}

/// The records of all entries among the items; the EF_EXT1 records of an entry before its EF_ADN record.
#[must_use]
pub fn records<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<BookRecord> {
    let mut records = Vec::new();
    for entry in items.into_iter().filter_map(Entry::from_item) {
        let numbers: Vec<u8> = entry.extension_numbers().collect();
        for (record_number, octets) in numbers.into_iter().zip(&entry.extensions) {
            records.push(BookRecord { file: EF_EXT1, record_number, octets: octets.clone() });
        }
        records.push(BookRecord { file: EF_ADN, record_number: entry.record_number, octets: entry.adn });
    }
    records
}

/// Writes the records into the device's pages; gives what changed, for the journal. A record whose length is not that of
/// the file's records in the book is left out: it would be no entry there.
pub fn write(pages: &mut Pages, device: DeviceKey, records: Vec<BookRecord>) -> Vec<RecordChange> {
    let mut changes = Vec::new();
    for BookRecord { file, record_number, octets } in records {
        let (Some((key, slot)), Ok(slot_octets)) =
            (PageKey::of(device, file, record_number), u8::try_from(octets.len()))
        else {
            continue;
        };
        if pages.get(&key).is_some_and(|page| page.slot_octets != slot_octets && page.slot_octets != 0) {
            continue;
        }
        let Some(place) = pages.open(key, slot_octets).slots.get_mut(slot) else { continue };
        let new = (!page::is_empty(&octets)).then_some(octets);
        if *place != new {
            let old = std::mem::replace(place, new.clone());
            pages.changed(&key);
            changes.push(RecordChange { file, record_number, old, new });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{DeviceId, SubscriberId};

    #[test]
    fn entries_are_written_once_with_their_extensions_and_foreign_lengths_are_left_out() {
        let device = DeviceKey { subscriber: SubscriberId(1), device: DeviceId(2) };
        let adn = Bytes::from_static(b"Anna__________\x07");
        let extension = Bytes::from_static(b"\x02___________\xFF");
        let entry = Entry { record_number: 17, adn: adn.clone(), extensions: vec![extension.clone()] };
        let ring = Item { key: Bytes::from_static(b"ring/1"), ..entry.to_item() };
        let items = [ring, entry.to_item()];
        let mut pages = Pages::default();
        let change = |file, record_number, new| RecordChange { file, record_number, old: None, new: Some(new) };
        let expected = [change(EF_EXT1, 7, extension), change(EF_ADN, 17, adn)];
        assert_eq!(write(&mut pages, device, records(&items)), expected);
        assert_eq!(write(&mut pages, device, records(&items)), []);
        let longer = Entry { adn: Bytes::from_static(b"Anna___________\xFF"), extensions: Vec::new(), ..entry };
        assert_eq!(write(&mut pages, device, records(&[longer.to_item()])), []);
        assert_eq!(pages.into_changed().len(), 2);
    }
}
