//! Invented books of one language each.

use link::record::Record;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uicc::phonebook::{Contact, encode_adn};

use super::{ENTRIES, RECORD_OCTETS, names::Names, numbers};

/// Octets of a name.
const ALPHA_OCTETS: usize = RECORD_OCTETS - uicc::phonebook::ADN_FIXED_OCTETS;

/// Languages, in the order of [`Names::ALL`] and [`numbers::PLANS`].
pub(super) const LANGUAGES: [&str; 10] =
    ["English", "German", "French", "Spanish", "Polish", "Turkish", "Indonesian", "Russian", "Greek", "Chinese"];

/// The records of a full book.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) records: Vec<Record>,
    contacts: Vec<Contact>,
}

impl Book {
    /// Entries of the language, the same for the same seed.
    pub(super) fn invented(language: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut book = Self { records: Vec::new(), contacts: Vec::new() };
        for record_number in 1..=ENTRIES {
            let number = numbers::number(language, &mut random);
            let contact = Contact { name: name(&Names::ALL[language], &mut random), number };
            let (contact, adn) = stored(contact);
            book.records.push(super::record(record_number, adn));
            book.contacts.push(contact);
        }
        book
    }

    /// Mean of the names.
    pub(super) fn name_characters(&self) -> f64 {
        let characters: usize = self.contacts.iter().map(|contact| contact.name.chars().count()).sum();
        characters as f64 / self.contacts.len() as f64
    }
}

/// As people enter names: whole ones, first names, initials, calling words; some without capitals or all in capitals.
fn name(names: &Names, random: &mut StdRng) -> String {
    let pick = |words: &str, random: &mut StdRng| {
        let words: Vec<&str> = words.split_whitespace().collect();
        words.choose(random).copied().unwrap_or_default().to_owned()
    };
    let (first, last) = (pick(names.first, random), pick(names.last, random));
    if names.is_chinese {
        let second = if random.random_range(0..100) < 70 { pick(names.first, random) } else { String::new() };
        return match random.random_range(0..100) {
            0..88 => format!("{last}{first}{second}"),
            88..93 => format!("小{last}"),
            _ => pick(names.words, random),
        };
    }
    let initial: String = last.chars().take(1).collect();
    let name = match random.random_range(0..100) {
        0..42 => format!("{first} {last}"),
        42..66 => first,
        66..71 => format!("{first} {initial}"),
        71..76 => format!("{first} {initial}."),
        76..86 => last,
        86..93 => format!("{first} {}", pick(names.words, random)),
        _ => pick(names.words, random),
    };
    match random.random_range(0..100) {
        0..2 => name.to_lowercase(),
        2..4 => name.to_uppercase(),
        4..6 => format!("{name}2"),
        6..9 => format!("{name} 2"),
        _ => name,
    }
}

/// The record, the name cut to what fits, as a phone does it.
fn stored(mut contact: Contact) -> (Contact, Vec<u8>) {
    loop {
        match encode_adn(&contact, ALPHA_OCTETS, &[]) {
            Ok(records) => return (contact, records.adn),
            Err(_) if contact.name.is_empty() => return (contact, vec![0xFF; RECORD_OCTETS]),
            Err(_) => {
                contact.name.pop();
                contact.name.truncate(contact.name.trim_end().len());
            }
        }
    }
}
