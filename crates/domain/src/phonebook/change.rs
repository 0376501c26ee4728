//! The journal's value: what one message changed, with the old and the new octets (D-118).
//!
//! Value: format 01, then per record DF 2, EF 2, record number 1, old, new; each of these is the record's length 1
//! (0: empty), its length without trailing FF 1, and those octets.

use bytes::{BufMut, Bytes};

use super::{Change, FilePath, RecordChange, Source};
use crate::octets::{CorruptValue, Reader, put_record};

const FORMAT: u8 = 0x01;

impl Change {
    /// The journal value of these records.
    #[must_use]
    pub fn records_to_octets(records: &[RecordChange]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + records.len() * 64);
        out.put_u8(FORMAT);
        for change in records {
            out.put_u16(change.file.df);
            out.put_u16(change.file.ef);
            out.put_u8(change.record_number);
            put_record(&mut out, change.old.as_ref());
            put_record(&mut out, change.new.as_ref());
        }
        out
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::records_to_octets`] does not write.
    pub fn records_from_octets(octets: impl Into<Bytes>) -> Result<Vec<RecordChange>, CorruptValue> {
        let mut reader = Reader::open("journal value", octets.into(), FORMAT)?;
        let mut records = Vec::new();
        while !reader.is_empty() {
            let file = FilePath { df: reader.u16()?, ef: reader.u16()? };
            let record_number = reader.u8()?;
            records.push(RecordChange { file, record_number, old: reader.record()?, new: reader.record()? });
        }
        Ok(records)
    }
}

impl Source {
    /// The octet that the store keeps.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Backup => 0,
            Self::Restore => 1,
            Self::Operator => 2,
            Self::Sync => 3,
        }
    }

    /// `None` for an octet that [`Self::code`] does not give.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Backup, Self::Restore, Self::Operator, Self::Sync].into_iter().find(|source| source.code() == code)
    }
}
