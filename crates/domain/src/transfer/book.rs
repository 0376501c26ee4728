//! The address-book entries of a collection go where backups go: into the book of the device that they came from, with a
//! journal (NK-CV-02; `phonebook::apply` writes them). The collection keeps its own copy, which later edits of the book do
//! not alter.

use bytes::Bytes;
use link::transfer::{entry::Entry, parts::Item};

use crate::phonebook::{EF_ADN, EF_EXT1, FilePath};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_extension_records_and_then_its_own_and_other_items_are_none() {
        let adn = Bytes::from_static(b"Anna__________\x07");
        let extension = Bytes::from_static(b"\x02___________\xFF");
        let entry = Entry { record_number: 17, adn: adn.clone(), extensions: vec![extension.clone()] };
        let ring = Item { key: Bytes::from_static(b"ring/1"), ..entry.to_item() };
        let expected = [
            BookRecord { file: EF_EXT1, record_number: 7, octets: extension },
            BookRecord { file: EF_ADN, record_number: 17, octets: adn },
        ];
        assert_eq!(records(&[ring, entry.to_item()]), expected);
    }
}
