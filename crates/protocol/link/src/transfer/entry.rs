//! An address-book entry as an item: an EF_ADN record with the EF_EXT1 records that it is chained to.
//!
//! Key: DF 7F10, EF 6F3A, record number. Value: length of the EF_ADN record, that record, then the EF_EXT1 records of the
//! chain in order, 13 octets each. So an entry is whole, whatever records are free on the card that it comes to.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, parts::Item};

/// DF_TELECOM and EF_ADN.
const KEY: [u8; 4] = [0x7F, 0x10, 0x6F, 0x3A];
/// Octets of an EF_EXT1 record.
pub const EXT1_OCTETS: usize = 13;
/// EF_EXT1 records of a chain at most.
const CHAIN_MAX: usize = 10;

/// An entry of the address book.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of EF_ADN, from 1.
    pub record_number: u8,
    pub adn: Bytes,
    pub extensions: Vec<Bytes>,
}

/// The content is personal data.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("record_number", &self.record_number).finish_non_exhaustive()
    }
}

impl Entry {
    /// The item; the record at most 255 octets.
    #[must_use]
    pub fn to_item(&self) -> Item {
        let mut key = BytesMut::from(&KEY[..]);
        key.put_u8(self.record_number);
        let octets = u8::try_from(self.adn.len()).unwrap_or(u8::MAX);
        let mut value = BytesMut::new();
        value.put_u8(octets);
        value.extend(self.adn.iter().take(usize::from(octets)));
        self.extensions.iter().for_each(|extension| value.extend_from_slice(extension));
        Item { kind: Kind::Data, key: key.freeze(), value: value.freeze() }
    }

    /// `None`: the item is none, or malformed.
    #[must_use]
    pub fn from_item(item: &Item) -> Option<Self> {
        let &[record_number] = item.key.strip_prefix(&KEY)? else { return None };
        let octets = usize::from(*item.value.first()?);
        let (adn, chain) = (item.value.get(1..=octets)?, item.value.get(1 + octets..)?);
        let is_chain = chain.len() % EXT1_OCTETS == 0 && chain.len() / EXT1_OCTETS <= CHAIN_MAX;
        if record_number == 0 || item.kind != Kind::Data || !is_chain {
            return None;
        }
        let extensions = chain.chunks(EXT1_OCTETS).map(|extension| item.value.slice_ref(extension)).collect();
        Some(Self { record_number, adn: item.value.slice_ref(adn), extensions })
    }

    /// EF_EXT1 record numbers of the chain, as the records themselves name them: one for each of `extensions`.
    pub fn extension_numbers(&self) -> impl Iterator<Item = u8> + '_ {
        let links = std::iter::once(&self.adn).chain(&self.extensions);
        links.filter_map(|record| record.last().copied()).take(self.extensions.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_item_and_back_and_nothing_else_is_one() {
        let entry = Entry {
            record_number: 3,
            adn: Bytes::from_static(b"Anna__________\x07"),
            extensions: vec![Bytes::from_static(b"\x02___________\x09"), Bytes::from_static(b"\x02___________\xFF")],
        };
        let item = entry.to_item();
        assert_eq!(Entry::from_item(&item), Some(entry.clone()));
        assert_eq!(entry.extension_numbers().collect::<Vec<_>>(), [7, 9]);
        let cut = |octets: usize| Item { value: item.value.slice(..octets), ..item.clone() };
        assert!(
            (0..item.value.len())
                .filter(|octets| ![16, 29].contains(octets))
                .all(|at| Entry::from_item(&cut(at)).is_none())
        );
        let other = Item { key: Bytes::from_static(b"\x7F\x10\x6F\x3A\x00"), ..item.clone() };
        assert_eq!(Entry::from_item(&other), None);
        assert_eq!(Entry::from_item(&Item { kind: Kind::Setting, ..item }), None);
    }
}
