//! Addressable restore (D-14): writes any file and record, in the monitor table or not.

use bytes::{Buf, BufMut, Bytes};

use crate::message::MalformedMessage;

/// One record: DF 2, EF 2, record number 1, data offset 2, length 1, data.
#[derive(Clone, PartialEq, Eq)]
pub struct AddressedRecord {
    pub df: u16,
    pub ef: u16,
    /// 0: a transparent file.
    pub record_number: u8,
    /// First octet that is written, from 0.
    pub data_offset: u16,
    /// At most 255 octets on the wire; more are sent as further records at growing offsets, up to 65 535.
    pub data: Bytes,
}

/// The content is personal data: only its size is shown.
impl std::fmt::Debug for AddressedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressedRecord")
            .field("df", &self.df)
            .field("ef", &self.ef)
            .field("record_number", &self.record_number)
            .field("data_offset", &self.data_offset)
            .field("data_octets", &self.data.len())
            .finish()
    }
}

impl AddressedRecord {
    /// Octets before the data.
    pub const HEADER_OCTETS: usize = 8;

    /// Octets on the wire when the data is not longer than 255.
    #[must_use]
    pub fn encoded_octets(&self) -> usize {
        Self::HEADER_OCTETS + self.data.len()
    }

    /// Cuts the record so that each piece fits a message of at most `limit` octets of its own (at least 10).
    ///
    /// # Errors
    /// [`OffsetTooLarge`]: a piece would begin where no data offset reaches.
    pub fn split(&self, limit: usize) -> Result<Vec<Self>, OffsetTooLarge> {
        self.pieces(limit.saturating_sub(1 + Self::HEADER_OCTETS).clamp(1, DATA_OCTETS_MAX)).collect()
    }

    /// At least one, however little data there is.
    fn pieces(&self, piece_octets: usize) -> impl Iterator<Item = Result<Self, OffsetTooLarge>> {
        let starts = (0..self.data.len().max(1)).step_by(piece_octets);
        starts.map(move |start| {
            let offset = usize::from(self.data_offset) + start;
            let data_offset = u16::try_from(offset).map_err(|_| OffsetTooLarge { offset })?;
            let end = self.data.len().min(start + piece_octets);
            Ok(Self { data_offset, data: self.data.slice(start..end), ..*self })
        })
    }

    /// Pieces that no data offset reaches are not written: [`Self::split`] tells of them.
    pub(crate) fn append_to(&self, octets: &mut Vec<u8>) {
        for piece in self.pieces(DATA_OCTETS_MAX).map_while(Result::ok) {
            octets.put_u16(piece.df);
            octets.put_u16(piece.ef);
            octets.put_u8(piece.record_number);
            octets.put_u16(piece.data_offset);
            octets.put_u8(u8::try_from(piece.data.len()).expect("a piece has at most 255 octets"));
            octets.put_slice(&piece.data);
        }
    }
}

/// The data goes on beyond the last octet that a 2-octet data offset can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece would have data offset {offset}, expected at most 65535")]
pub struct OffsetTooLarge {
    pub offset: usize,
}

/// Reads the records after the PID; at least one.
pub(crate) fn decode(mut octets: Bytes) -> Result<Vec<AddressedRecord>, MalformedMessage> {
    let mut records = Vec::new();
    while !octets.is_empty() {
        let available = octets.len();
        let truncated = |expected| MalformedMessage::Truncated { record: records.len(), expected, actual: available };
        if available < AddressedRecord::HEADER_OCTETS {
            return Err(truncated(AddressedRecord::HEADER_OCTETS));
        }
        let (df, ef, record_number) = (octets.get_u16(), octets.get_u16(), octets.get_u8());
        let (data_offset, length) = (octets.get_u16(), usize::from(octets.get_u8()));
        if octets.len() < length {
            return Err(truncated(AddressedRecord::HEADER_OCTETS + length));
        }
        let data = octets.split_to(length);
        records.push(AddressedRecord { df, ef, record_number, data_offset, data });
    }
    if records.is_empty() {
        return Err(MalformedMessage::NoRecords);
    }
    Ok(records)
}

const DATA_OCTETS_MAX: usize = 255;
