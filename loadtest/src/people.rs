//! Invented contacts in several scripts, the same for the same seed: what the virtual cards' books are filled with.

use mobile::Contact;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Makes contacts and decides what a person does next with them.
pub struct People {
    random: StdRng,
}

/// First names by script: GSM alphabet, GSM with accents, Greek, Cyrillic, Chinese, Arabic, Hebrew, Devanagari.
const NAMES: &[&[&str]] = &[
    &[
        "Alice", "Bob", "Carol", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "James", "Kate", "Liam", "Mum",
        "Taxi",
    ],
    &["Jürgen", "Zoë", "Ægir", "Ñandu", "Søren", "Åse", "François", "Gül", "Böb & Çé@£", "Jos{e}"],
    &["ΔΗΜΗΤΡΑ", "Ωmega", "Ελένη", "Νίκος", "Σοφία"],
    &["Иван", "Мария", "Ольга", "Дмитрий", "Наташа"],
    &["中文名", "李雷", "韩梅梅", "小明", "王芳"],
    &["محمد", "فاطمة", "علي", "ليلى"],
    &["דוד", "שרה", "יעל"],
    &["अमित", "प्रिया", "राज"],
];

/// Shares of the scripts, in percent, in the order of [`NAMES`].
const SHARES: [u32; 8] = [46, 16, 6, 12, 8, 5, 3, 4];

impl People {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// A contact whose name fits 14 octets of alpha identifier in whatever coding its script needs.
    pub fn contact(&mut self) -> Contact {
        let script = self.script();
        let first = script.choose(&mut self.random).copied().unwrap_or("Nobody");
        // A digit tells people of one name apart, where the 14 octets leave room for it in every coding.
        let name = if first.chars().count() < 5 { format!("{first}{}", self.below(10)) } else { first.to_owned() };
        Contact { name, number: self.number() }
    }

    /// A whole number below `end`; 0 for an `end` of 0.
    pub fn below(&mut self, end: u32) -> u32 {
        if end == 0 { 0 } else { self.random.random_range(0..end) }
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn script(&mut self) -> &'static [&'static str] {
        let mut left = self.below(SHARES.iter().sum());
        for (share, names) in SHARES.iter().zip(NAMES) {
            if left < *share {
                return names;
            }
            left -= share;
        }
        &[]
    }

    fn number(&mut self) -> String {
        let (prefix, digits) = match self.below(100) {
            0..55 => ("+", 11 + self.below(3)),
            55..85 => ("0", 8 + self.below(4)),
            85..92 => ("", 3 + self.below(3)),
            92..95 => ("*1", 2),
            // Longer than the 20 digits of EF_ADN.
            _ => ("+", 21 + self.below(10)),
        };
        let mut number = prefix.to_owned();
        for position in 0..digits {
            let digit = if position == 0 { 1 + self.below(9) } else { self.below(10) };
            number.push(char::from_digit(digit, 10).unwrap_or('0'));
        }
        if prefix == "*1" {
            number.push('#');
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::People;

    #[test]
    fn the_same_seed_gives_the_same_people_and_some_need_a_second_record() {
        let contacts = |seed| {
            let mut people = People::new(seed);
            (0..500).map(|_| people.contact()).collect::<Vec<_>>()
        };
        assert_eq!(contacts(7), contacts(7));
        assert_ne!(contacts(7), contacts(8));
        assert!(contacts(7).iter().any(|contact| contact.number.len() > 21));
    }
}
