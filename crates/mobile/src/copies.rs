//! What the phone keeps of its card's files in its own memory: the phonebook and the short messages (S1-ST-01).
//!
//! Read at power-on, after its own updates, and when a REFRESH names the file; otherwise it is as old as that (S1-RS-04).

use uicc::{
    apdu::command,
    files::{EF_ADN, EF_SMS, Path},
};

use crate::Station;

/// Files that the phone keeps in its own memory.
pub(crate) const COPIED: [Path; 2] = [EF_ADN, EF_SMS];

/// Records of some linear files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    files: Vec<(Path, CopiedFile)>,
}

/// Records back to back; the empty ones at the end take no memory.
#[derive(Clone, Debug, Default)]
struct CopiedFile {
    record_octets: usize,
    octets: Vec<u8>,
}

impl Copies {
    /// What the card says that a record holds now, 1 the first.
    pub fn set(&mut self, path: Path, record_number: u8, record: &[u8]) {
        let at = match self.files.iter().position(|(found, _)| *found == path) {
            Some(at) => at,
            None => {
                self.files.push((path, CopiedFile { record_octets: record.len(), octets: Vec::new() }));
                self.files.len() - 1
            }
        };
        let (Some((_, copy)), Some(before)) = (self.files.get_mut(at), usize::from(record_number).checked_sub(1))
        else {
            return;
        };
        let start = before * copy.record_octets;
        let end = start + copy.record_octets;
        let is_empty = record.iter().all(|&octet| octet == 0xFF);
        if is_empty && start >= copy.octets.len() {
            return;
        }
        if copy.octets.len() < end {
            copy.octets.resize(end, 0xFF);
        }
        if let Some(place) = copy.octets.get_mut(start..end).filter(|place| place.len() == record.len()) {
            place.copy_from_slice(record);
        }
    }

    /// The records up to the last that was ever not empty.
    pub fn records(&self, path: Path) -> Vec<Vec<u8>> {
        let copy = self.files.iter().find(|(found, _)| *found == path).map(|(_, copy)| copy);
        copy.map(|copy| copy.octets.chunks(copy.record_octets.max(1)).map(<[u8]>::to_vec).collect()).unwrap_or_default()
    }
}

impl Station {
    /// The records of EF_ADN or EF_SMS as the phone has them in its own memory, the empty ones at the end left out.
    #[must_use]
    pub fn copy_of(&self, path: Path) -> Vec<Vec<u8>> {
        self.copies.records(path)
    }

    /// Reads one record into the phone's own memory, if it keeps that file there.
    pub(crate) fn read_copy_of_record(&mut self, path: Path, record_number: u8) {
        if COPIED.contains(&path)
            && let Some(record) = self.read_record(path, record_number)
        {
            self.copies.set(path, record_number, &record);
        }
    }

    /// Reads a whole file into the phone's own memory, if it keeps it there.
    pub(crate) fn read_copy(&mut self, path: Path) {
        let files = self.card.files();
        let (Some(octets), Some(records)) = (files.record_octets(path), files.records(path)) else { return };
        if !COPIED.contains(&path) || !self.select(path) {
            return;
        }
        for record_number in 1..=records {
            let (record, word) = self.exchange(&command::read_record(record_number, octets));
            if word.is_success() {
                self.copies.set(path, record_number, &record);
            }
        }
    }
}
