//! What a phone has that can be transferred: its card's address book, its own data, its settings.

use std::collections::BTreeMap;

use bytes::Bytes;
use link::{
    reason::Reason,
    transfer::{Kind, Wish, entry::Entry, parts::Item},
};
use uicc::{
    files::{EF_ADN, EF_EXT1},
    phonebook::{chain, decode_adn},
};

use crate::{ContactError, Station};

/// Data of the phone's own memory, and the settings that its model has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// Ring tones and the like, by name.
    pub data: BTreeMap<String, Bytes>,
    /// As many data as there is room for.
    pub data_max: usize,
    /// Every setting that the model knows, with its value.
    pub settings: BTreeMap<String, Bytes>,
    /// The same settings as they were when the phone was new.
    factory: BTreeMap<String, Bytes>,
}

impl Phone {
    /// A new phone: `settings` are those that its model knows, with the values that it comes with.
    #[must_use]
    pub fn new(settings: BTreeMap<String, Bytes>, data_max: usize) -> Self {
        Self { data: BTreeMap::new(), data_max, factory: settings.clone(), settings }
    }

    /// Everything of the kinds asked for: address book, data, settings.
    pub(super) fn collect(&self, station: &mut Station, wish: Wish) -> Vec<Item> {
        let of = |kind| {
            move |(key, value): (&String, &Bytes)| {
                let key = Bytes::copy_from_slice(key.as_bytes());
                Item { kind, key, value: value.clone() }
            }
        };
        let mut items = Vec::new();
        if wish.data {
            items.extend(station.entries().iter().map(Entry::to_item));
            items.extend(self.data.iter().map(of(Kind::Data)));
        }
        if wish.settings {
            items.extend(self.settings.iter().map(of(Kind::Setting)));
        }
        items
    }

    /// Puts a fetched item where it belongs. Doing it twice is as doing it once.
    pub(super) fn apply(&mut self, station: &mut Station, item: &Item) -> Result<(), Reason> {
        if let Some(entry) = Entry::from_item(item) {
            return station.add_entry(&entry);
        }
        let key = std::str::from_utf8(&item.key).map_err(|_| Reason::Unsupported)?;
        match item.kind {
            Kind::Setting => {
                // NK-CV-01: what this model does not have is skipped.
                let setting = self.settings.get_mut(key).ok_or(Reason::Unsupported)?;
                *setting = item.value.clone();
            }
            Kind::Data if self.data.len() < self.data_max || self.data.contains_key(key) => {
                self.data.insert(key.to_owned(), item.value.clone());
            }
            Kind::Data => return Err(Reason::MemoryFault),
        }
        Ok(())
    }

    /// The items were moved away: what has not been changed since goes; settings become what they were when new.
    pub(super) fn delete(&mut self, station: &mut Station, items: &[Item]) {
        let entries = station.entries();
        for item in items {
            if let Some(entry) = Entry::from_item(item) {
                if entries.contains(&entry) {
                    station.delete_contact(entry.record_number);
                }
                continue;
            }
            let Ok(key) = std::str::from_utf8(&item.key) else { continue };
            match item.kind {
                Kind::Data if self.data.get(key) == Some(&item.value) => {
                    self.data.remove(key);
                }
                Kind::Setting if self.settings.get(key) == Some(&item.value) => {
                    if let Some(value) = self.factory.get(key) {
                        self.settings.insert(key.to_owned(), value.clone());
                    }
                }
                Kind::Data | Kind::Setting => {}
            }
        }
    }
}

impl Station {
    /// The entries of EF_ADN with the records that they are chained to.
    fn entries(&mut self) -> Vec<Entry> {
        let extensions = self.all_records(EF_EXT1);
        let ext1 = |number: u8| extensions.get(usize::from(number).checked_sub(1)?).cloned();
        let entry = |(record_number, record): (u8, Vec<u8>)| {
            let chained = chain(&record, ext1).into_iter().filter_map(ext1).map(Bytes::from).collect();
            let is_used = record.iter().any(|octet| *octet != 0xFF);
            is_used.then(|| Entry { record_number, adn: record.into(), extensions: chained })
        };
        (1..=u8::MAX).zip(self.all_records(EF_ADN)).filter_map(entry).collect()
    }

    /// Writes an entry of another card or of this one: where it was, if that record is free, otherwise into the first
    /// that is. Nothing of the card is overwritten, and an entry that is there already is not written twice.
    fn add_entry(&mut self, entry: &Entry) -> Result<(), Reason> {
        let numbers: Vec<u8> = entry.extension_numbers().collect();
        let ext1 = |number: u8| {
            let at = numbers.iter().position(|known| *known == number)?;
            entry.extensions.get(at).map(|record| record.to_vec())
        };
        let contact = decode_adn(&entry.adn, ext1).ok_or(Reason::Malformed)?;
        let held = self.contacts();
        if held.iter().any(|(_, known)| *known == contact) {
            return Ok(());
        }
        let records = self.card.files().records(EF_ADN).unwrap_or(0);
        let is_free = |number: &u8| *number <= records && !held.iter().any(|(used, _)| used == number);
        let place = std::iter::once(entry.record_number).chain(1..=records).find(is_free);
        match self.write_contact(place.ok_or(Reason::MemoryFault)?, &contact) {
            Ok(()) => Ok(()),
            Err(ContactError::NotStorable(_)) => Err(Reason::BadDataLengthOrOffset),
            Err(ContactError::Refused { .. }) => Err(Reason::MemoryFault),
        }
    }
}
