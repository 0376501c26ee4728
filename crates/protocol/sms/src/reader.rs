//! A cursor over hostile octets: every step checks what is left.

use crate::Malformed;

pub(crate) struct Reader<'a> {
    octets: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Self {
        Self { octets, offset: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offset >= self.octets.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.octets.get(self.offset).copied()
    }

    pub(crate) fn octet(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.take(1, field).map(|octets| octets.first().copied().unwrap_or_default())
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(crate) fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let present = self.octets.len().saturating_sub(self.offset);
        let taken = self.octets.get(self.offset..self.offset.saturating_add(count)).ok_or(Malformed::Truncated {
            field,
            offset: self.offset,
            needed: count,
            present,
        })?;
        self.offset += count;
        Ok(taken)
    }

    /// Nothing may be left.
    pub(crate) fn finish(self, field: &'static str) -> Result<(), Malformed> {
        match self.octets.len().saturating_sub(self.offset) {
            0 => Ok(()),
            count => Err(Malformed::Trailing { field, count }),
        }
    }
}
