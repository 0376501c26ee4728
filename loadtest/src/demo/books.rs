//! What a card holds, and what it should hold.

use std::collections::HashMap;

use mobile::Station;
use uicc::files::{EF_ADN, EF_EXT1, Path};

/// Every record of the monitored files of one card, by READ RECORD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardBook {
    pub adn: Vec<Vec<u8>>,
    pub ext1: Vec<Vec<u8>>,
}

impl CardBook {
    /// Reads the card through its phone.
    pub fn read(station: &mut Station) -> Self {
        Self { adn: records(station, EF_ADN), ext1: records(station, EF_EXT1) }
    }

    /// Records that are not empty.
    pub fn len(&self) -> usize {
        self.adn.iter().chain(&self.ext1).filter(|record| record.iter().any(|&octet| octet != 0xFF)).count()
    }

    /// Non-empty records as the centre names them: DF, EF, record number, octets.
    pub fn by_record(&self) -> Records {
        let file = |path: Path, records: &[Vec<u8>]| {
            let numbered: Vec<_> = (1_u32..)
                .zip(records)
                .filter(|(_, record)| record.iter().any(|&octet| octet != 0xFF))
                .map(|(number, record)| ((u32::from(path.df), u32::from(path.ef), number), record.clone()))
                .collect();
            numbered
        };
        file(EF_ADN, &self.adn).into_iter().chain(file(EF_EXT1, &self.ext1)).collect()
    }
}

/// Octets by DF, EF and record number; empty records are absent.
pub type Records = HashMap<(u32, u32, u32), Vec<u8>>;

/// One book per card, in the order of the phones.
pub type Books = Vec<CardBook>;

/// What every card should hold at the end: the late book, or for some of the restored the early one.
pub fn expected(early: &Books, late: &Books, restores: &HashMap<usize, bool>) -> Books {
    let book = |(at, (early, late)): (usize, (&CardBook, &CardBook))| match restores.get(&at) {
        Some(true) => early.clone(),
        _ => late.clone(),
    };
    early.iter().zip(late).enumerate().map(book).collect()
}

fn records(station: &mut Station, path: Path) -> Vec<Vec<u8>> {
    (1..=u8::MAX).map_while(|number| station.read_record(path, number)).collect()
}
