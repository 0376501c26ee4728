//! The monitor table (Table 5): which records, and which octets of them, are under backup.

/// One row, 9 octets on the wire: DF 2, EF 2, record range offset 1 and length 1, data range offset 2 and length 1.
///
/// Covers records `record_offset + 1 ..= record_offset + record_count` and octets
/// `data_offset .. data_offset + data_octets` (D-18). A length of 0 disables the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MonitorRow {
    pub df: u16,
    pub ef: u16,
    pub record_offset: u8,
    pub record_count: u8,
    pub data_offset: u16,
    pub data_octets: u8,
}

impl MonitorRow {
    /// Octets of an encoded row.
    pub const OCTETS: usize = 9;
    /// Octets of a record that one row may take, so that the record fits a short message; longer records have several
    /// rows (D-26).
    pub const DATA_OCTETS_MAX: u8 = 137;

    /// Whether the row watches anything at all (D-18).
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.record_count > 0 && self.data_octets > 0
    }

    /// Whether `record_number` (from 1, absolute) lies in the record range.
    #[must_use]
    pub fn covers(&self, record_number: u8) -> bool {
        let first = u16::from(self.record_offset) + 1;
        let end = first + u16::from(self.record_count);
        self.is_enabled() && (first..end).contains(&u16::from(record_number))
    }

    /// The 9 octets of Table 5.
    #[must_use]
    pub fn to_octets(&self) -> [u8; Self::OCTETS] {
        let [df_high, df_low] = self.df.to_be_bytes();
        let [ef_high, ef_low] = self.ef.to_be_bytes();
        let [offset_high, offset_low] = self.data_offset.to_be_bytes();
        [
            df_high,
            df_low,
            ef_high,
            ef_low,
            self.record_offset,
            self.record_count,
            offset_high,
            offset_low,
            self.data_octets,
        ]
    }

    /// Reads the 9 octets of Table 5; every combination is legal.
    #[must_use]
    pub fn from_octets(octets: [u8; Self::OCTETS]) -> Self {
        let [df_high, df_low, ef_high, ef_low, record_offset, record_count, offset_high, offset_low, data_octets] =
            octets;
        Self {
            df: u16::from_be_bytes([df_high, df_low]),
            ef: u16::from_be_bytes([ef_high, ef_low]),
            record_offset,
            record_count,
            data_offset: u16::from_be_bytes([offset_high, offset_low]),
            data_octets,
        }
    }
}

/// The rows by index, from 0 (D-18). An index that no row holds is not under backup (D-17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorTable {
    rows: Vec<MonitorRow>,
}

impl MonitorTable {
    /// At most 256 rows; what lies beyond could not be named on the wire and is dropped.
    #[must_use]
    pub fn new(mut rows: Vec<MonitorRow>) -> Self {
        rows.truncate(256);
        Self { rows }
    }

    #[must_use]
    pub fn row(&self, index: u8) -> Option<&MonitorRow> {
        self.rows.get(usize::from(index))
    }

    /// Index and row, ascending.
    pub fn rows(&self) -> impl Iterator<Item = (u8, &MonitorRow)> {
        (0..=u8::MAX).zip(&self.rows)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Grows with disabled rows, or cuts (CID 0x05).
    pub fn resize(&mut self, rows: u8) {
        self.rows.resize(usize::from(rows), MonitorRow::default());
    }

    /// Replaces row `index`, growing the table with disabled rows up to it (CID 0x06).
    pub fn set(&mut self, index: u8, row: MonitorRow) {
        if self.rows.len() <= usize::from(index) {
            self.rows.resize(usize::from(index) + 1, MonitorRow::default());
        }
        if let Some(slot) = self.rows.get_mut(usize::from(index)) {
            *slot = row;
        }
    }

    /// Index and row of every enabled row of this file that covers the record.
    pub fn covering(&self, df: u16, ef: u16, record_number: u8) -> impl Iterator<Item = (u8, &MonitorRow)> {
        self.rows().filter(move |(_, row)| row.df == df && row.ef == ef && row.covers(record_number))
    }

    /// Rows of [`MonitorRow::OCTETS`] each, as the card's file and the store keep them.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        self.rows.iter().flat_map(MonitorRow::to_octets).collect()
    }

    /// Reads rows back; `None` when the length is not a multiple of 9 or exceeds 256 rows.
    #[must_use]
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let (rows, rest) = octets.as_chunks::<{ MonitorRow::OCTETS }>();
        (rest.is_empty() && rows.len() <= 256)
            .then(|| Self { rows: rows.iter().map(|row| MonitorRow::from_octets(*row)).collect() })
    }
}
