//! The checksum table (Table 6): the latest checksum of each non-empty monitored record (D-20).

use crate::{checksum, record};

/// Rows sorted by monitor index, then record number: the order of the database checksum (D-20).
///
/// A sorted vector rather than a map: a card's table is small, is compared and stored as one value (D-119), and is
/// walked whole for every message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChecksumTable {
    rows: Vec<ChecksumRow>,
}

/// One row, 4 octets: monitor index 1, record number 1, checksum 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChecksumRow {
    pub monitor_index: u8,
    pub record_number: u8,
    pub checksum: u16,
}

impl ChecksumTable {
    /// Octets of an encoded row.
    pub const ROW_OCTETS: usize = 4;

    #[must_use]
    pub fn get(&self, monitor_index: u8, record_number: u8) -> Option<u16> {
        let at = self.find(monitor_index, record_number).ok()?;
        self.rows.get(at).map(|row| row.checksum)
    }

    /// Inserts or replaces; returns what was there.
    pub fn set(&mut self, monitor_index: u8, record_number: u8, checksum: u16) -> Option<u16> {
        match self.find(monitor_index, record_number) {
            Ok(at) => self.rows.get_mut(at).map(|row| std::mem::replace(&mut row.checksum, checksum)),
            Err(at) => {
                self.rows.insert(at, ChecksumRow { monitor_index, record_number, checksum });
                None
            }
        }
    }

    /// Removes the row of an emptied record; returns what was there.
    pub fn remove(&mut self, monitor_index: u8, record_number: u8) -> Option<u16> {
        let at = self.find(monitor_index, record_number).ok()?;
        Some(self.rows.remove(at).checksum)
    }

    /// What a record's new content does to the table: D-19's checksum of the padded data, or no row when it is empty
    /// (D-20, D-22). Returns whether the table changed.
    pub fn apply_record(&mut self, monitor_index: u8, record_number: u8, data: &[u8]) -> bool {
        if record::is_empty(data) {
            return self.remove(monitor_index, record_number).is_some();
        }
        let checksum = checksum::crc16(data);
        self.set(monitor_index, record_number, checksum) != Some(checksum)
    }

    /// Removes every row of a monitor index (CID 0x09), or all with `None`.
    pub fn clear(&mut self, monitor_index: Option<u8>) {
        self.rows.retain(|row| monitor_index.is_some_and(|index| row.monitor_index != index));
    }

    pub fn rows(&self) -> impl Iterator<Item = &ChecksumRow> {
        self.rows.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// D-20: CRC over the 2-octet checksum fields in row order; an empty table gives FFFF.
    #[must_use]
    pub fn database_checksum(&self) -> u16 {
        self.rows.iter().fold(checksum::crc16(&[]), |crc, row| checksum::extend(crc, &row.checksum.to_be_bytes()))
    }

    /// Rows of 4 octets each (Table 6), as the card's file and the store keep them.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let row_octets = |row: &ChecksumRow| {
            let [high, low] = row.checksum.to_be_bytes();
            [row.monitor_index, row.record_number, high, low]
        };
        self.rows.iter().flat_map(row_octets).collect()
    }

    /// Reads rows back, in any order; `None` when the length is not a multiple of 4.
    #[must_use]
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let (rows, rest) = octets.as_chunks::<{ Self::ROW_OCTETS }>();
        if !rest.is_empty() {
            return None;
        }
        let mut table = Self::default();
        for [monitor_index, record_number, high, low] in rows {
            table.set(*monitor_index, *record_number, u16::from_be_bytes([*high, *low]));
        }
        Some(table)
    }

    fn find(&self, monitor_index: u8, record_number: u8) -> Result<usize, usize> {
        self.rows.binary_search_by_key(&(monitor_index, record_number), |row| (row.monitor_index, row.record_number))
    }
}
