//! Bit strings, most significant bit first.

/// A growing bit string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    octets: Vec<u8>,
    length: usize,
}

impl Bits {
    /// Appends the low `count` bits of `value`, at most 32.
    pub fn put(&mut self, value: u32, count: u8) {
        for at in (0..count).rev() {
            if self.length.is_multiple_of(8) {
                self.octets.push(0);
            }
            if value >> at & 1 == 1
                && let Some(last) = self.octets.last_mut()
            {
                *last |= 0x80 >> (self.length % 8);
            }
            self.length += 1;
        }
    }

    pub fn append(&mut self, other: &Self) {
        let mut left = other.length;
        for &octet in &other.octets {
            let count = u8::try_from(left.min(8)).unwrap_or(8);
            self.put(u32::from(octet >> (8 - count)), count);
            left -= usize::from(count);
        }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// Whole octets; what the last one has left over is filled with ones.
    pub fn into_octets(mut self) -> Vec<u8> {
        while !self.length.is_multiple_of(8) {
            self.put(1, 1);
        }
        self.octets
    }
}

/// Why reading stopped; the caller adds which record it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadStream {
    /// Where, from 0.
    pub bit: usize,
    /// What was found there.
    pub what: &'static str,
}

/// Reads a bit string; beyond its end every reading fails.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    octets: &'a [u8],
    /// Bits read so far.
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self { octets, position: 0 }
    }

    /// The next `count` bits, at most 32.
    pub fn take(&mut self, count: u8) -> Result<u32, BadStream> {
        if self.remaining() < usize::from(count) {
            return Err(self.bad("the end within a record"));
        }
        let value = self.peek(count);
        self.position += usize::from(count);
        Ok(value)
    }

    pub fn bit(&mut self) -> Result<bool, BadStream> {
        self.take(1).map(|bit| bit == 1)
    }

    pub fn octet(&mut self) -> Result<u8, BadStream> {
        self.take(8).map(|octet| u8::try_from(octet).unwrap_or(u8::MAX))
    }

    /// As [`Self::take`] without going on; zeros stand for what is beyond the end.
    pub fn peek(&self, count: u8) -> u32 {
        (self.position..self.position + usize::from(count)).fold(0, |value, at| {
            let octet = self.octets.get(at / 8).copied().unwrap_or(0);
            value << 1 | u32::from(octet >> (7 - at % 8) & 1)
        })
    }

    /// Ones up to the `most`-th, and the zero that ends a shorter run: 0, 10, 110 and so on.
    pub fn ones(&mut self, most: u8) -> Result<u8, BadStream> {
        let mut count = 0;
        while count < most && self.bit()? {
            count += 1;
        }
        Ok(count)
    }

    pub fn remaining(&self) -> usize {
        (self.octets.len() * 8).saturating_sub(self.position)
    }

    /// Nothing is left but the ones that fill the last octet.
    pub fn is_at_end(&self) -> bool {
        let left = self.remaining();
        left < 8 && (0..left).all(|at| self.octets.last().is_some_and(|last| last >> at & 1 == 1))
    }

    pub fn bad(&self, what: &'static str) -> BadStream {
        BadStream { bit: self.position, what }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, Reader};

    #[test]
    fn what_is_put_is_taken_and_the_rest_is_ones() {
        let mut bits = Bits::default();
        bits.put(0b101, 3);
        let mut more = Bits::default();
        more.put(0x1FF, 9);
        bits.append(&more);
        bits.put(0, 1);
        assert_eq!(bits.len(), 13);
        let octets = bits.into_octets();
        assert_eq!(octets, [0b1011_1111, 0b1111_0111]);
        let mut reader = Reader::new(&octets);
        assert_eq!(reader.take(3), Ok(0b101));
        assert_eq!(reader.ones(20), Ok(9));
        assert!(reader.is_at_end());
        assert_eq!((reader.take(3), reader.remaining()), (Ok(7), 0));
        assert_eq!(reader.take(1).map_err(|bad| bad.bit), Err(16));
    }

    #[test]
    fn a_zero_is_no_filling_and_a_whole_octet_of_ones_is_none_either() {
        assert!(!Reader::new(&[0xFF]).is_at_end());
        let mut reader = Reader::new(&[0b0111_1101]);
        assert_eq!(reader.take(1), Ok(0));
        assert!(!reader.is_at_end());
    }
}
