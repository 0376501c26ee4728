//! Reading and writing the values that the store and the queue keep: big-endian, the first octet names the format
//! (D-113), so that another form can come later without a migration.

use bytes::{Buf, BufMut, Bytes};

/// Stored octets that this release cannot read: which value, and where reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value}: {fault} at octet {offset}")]
pub struct CorruptValue {
    pub value: &'static str,
    pub fault: &'static str,
    pub offset: usize,
    /// A format, a code or a section that this release does not know: a newer one may have written it, in a rolling update.
    /// Otherwise nobody ever wrote this, and nobody will read it.
    pub is_newer: bool,
}

/// Formats are counted from 1: a higher octet than this is none, of whatever release.
const FORMAT_MAX: u8 = 0x1F;

/// Takes fields off the front; slices share the input's memory.
pub(crate) struct Reader {
    value: &'static str,
    rest: Bytes,
    total: usize,
}

impl Reader {
    /// Opens `octets` and checks the leading format octet.
    pub fn open(value: &'static str, octets: Bytes, format: u8) -> Result<Self, CorruptValue> {
        let mut reader = Self { value, total: octets.len(), rest: octets };
        let found = reader.u8()?;
        if found == format { Ok(reader) } else { Err(reader.unknown_format(found, format)) }
    }

    /// Opens `octets` that are part of a value: without a format octet of their own.
    pub fn plain(value: &'static str, octets: Bytes) -> Self {
        Self { value, total: octets.len(), rest: octets }
    }

    /// Opens `octets`, whose leading octet is one of `formats`; gives which.
    pub fn open_one_of(value: &'static str, octets: Bytes, formats: &[u8]) -> Result<(Self, u8), CorruptValue> {
        let mut reader = Self { value, total: octets.len(), rest: octets };
        let format = reader.u8()?;
        if formats.contains(&format) {
            return Ok((reader, format));
        }
        Err(reader.unknown_format(format, formats.iter().copied().max().unwrap_or_default()))
    }

    fn unknown_format(&self, found: u8, newest: u8) -> CorruptValue {
        let is_newer = found > newest && found <= FORMAT_MAX;
        CorruptValue { is_newer, ..self.corrupt("unknown format") }
    }

    pub fn corrupt(&self, fault: &'static str) -> CorruptValue {
        CorruptValue { value: self.value, fault, offset: self.total - self.rest.len(), is_newer: false }
    }

    /// What a newer release may have written.
    pub fn newer(&self, fault: &'static str) -> CorruptValue {
        CorruptValue { is_newer: true, ..self.corrupt(fault) }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn finish<T>(self, read: T) -> Result<T, CorruptValue> {
        if self.rest.is_empty() { Ok(read) } else { Err(self.newer("octets after the end")) }
    }

    pub fn u8(&mut self) -> Result<u8, CorruptValue> {
        self.rest.try_get_u8().map_err(|_| self.corrupt("cut short"))
    }

    pub fn u16(&mut self) -> Result<u16, CorruptValue> {
        self.rest.try_get_u16().map_err(|_| self.corrupt("cut short"))
    }

    pub fn u32(&mut self) -> Result<u32, CorruptValue> {
        self.rest.try_get_u32().map_err(|_| self.corrupt("cut short"))
    }

    pub fn u64(&mut self) -> Result<u64, CorruptValue> {
        self.rest.try_get_u64().map_err(|_| self.corrupt("cut short"))
    }

    pub fn i64(&mut self) -> Result<i64, CorruptValue> {
        self.rest.try_get_i64().map_err(|_| self.corrupt("cut short"))
    }

    pub fn take(&mut self, octets: usize) -> Result<Bytes, CorruptValue> {
        if octets > self.rest.len() {
            return Err(self.corrupt("cut short"));
        }
        Ok(self.rest.split_to(octets))
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// Octets behind a two-octet length.
    pub fn long(&mut self) -> Result<Bytes, CorruptValue> {
        let octets = self.u16()?;
        self.take(usize::from(octets))
    }

    /// Octets behind a four-octet length.
    pub fn longer(&mut self) -> Result<Bytes, CorruptValue> {
        let octets = self.u32()?;
        self.take(usize::try_from(octets).unwrap_or(usize::MAX))
    }

    /// The counterpart of [`put_record`].
    pub fn record(&mut self) -> Result<Option<Bytes>, CorruptValue> {
        let full = usize::from(self.u8()?);
        if full == 0 {
            return Ok(None);
        }
        let kept = usize::from(self.u8()?);
        if kept > full {
            return Err(self.corrupt("more octets than the record has"));
        }
        let octets = self.take(kept)?;
        if kept == full {
            return Ok(Some(octets));
        }
        let mut padded = octets.to_vec();
        padded.resize(full, 0xFF);
        Ok(Some(padded.into()))
    }
}

/// Octets behind a two-octet length. More than 65 535 cannot come: every caller's value is bounded by a message.
pub(crate) fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.extend_from_slice(octets.get(..usize::from(length)).unwrap_or(octets));
}

/// Octets behind a four-octet length, for what a card can fill up: its checksum table has up to 64 770 rows.
pub(crate) fn put_longer(out: &mut Vec<u8>, octets: &[u8]) {
    out.put_u32(u32::try_from(octets.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(octets);
}

/// A record of at most 255 octets or none: full length (0 is none), length without trailing FF, those octets.
pub(crate) fn put_record(out: &mut Vec<u8>, record: Option<&Bytes>) {
    let Some(record) = record.filter(|record| !record.is_empty()) else {
        out.push(0);
        return;
    };
    let full = u8::try_from(record.len()).unwrap_or(u8::MAX);
    let record = record.get(..usize::from(full)).unwrap_or(record);
    let kept = record.iter().rposition(|&octet| octet != 0xFF).map_or(0, |last| last + 1);
    out.push(full);
    out.push(u8::try_from(kept).unwrap_or(full));
    out.extend_from_slice(record.get(..kept).unwrap_or(record));
}
