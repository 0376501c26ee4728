//! What the phone keeps of its card's files in its own memory: the phonebook and the short messages (S1-ST-01).
//!
//! Read at power-on, after its own updates, and when a REFRESH names the file; otherwise it is as old as that (S1-RS-04).

use uicc::files::Path;

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
