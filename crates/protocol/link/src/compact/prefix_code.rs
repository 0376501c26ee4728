//! Canonical prefix codes: the lengths alone, one nibble a symbol, are the table.
//!
//! Code words are given in the order of their lengths and, among equals, of the symbols; the first is all zeros. A reader
//! needs no tree: it walks the lengths and adds up what each word takes of all words of [`LENGTH_MAX`] bits.

use super::bits::{BadStream, Bits, Reader};

/// Longest code word, bits: the greatest nibble.
pub(super) const LENGTH_MAX: u8 = 15;

/// Lengths of the code words, two symbols an octet, the first in the high nibble. No length is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrefixCode<'a>(pub &'a [u8]);

impl PrefixCode<'_> {
    fn lengths(self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|octet| [octet >> 4, octet & 0x0F])
    }

    /// The length of a symbol's word, and its first place among all words of [`LENGTH_MAX`] bits: behind the shorter words
    /// and those of equal length that belong to symbols before it.
    fn word(self, symbol: u8) -> Option<(u8, u32)> {
        let length = self.lengths().nth(usize::from(symbol))?;
        let before = (0..=u8::MAX).zip(self.lengths()).filter(|&(other, each)| (each, other) < (length, symbol));
        Some((length, before.map(|(_, each)| share(each)).sum()))
    }

    /// Bits of a symbol's word; 0 for a symbol that the code does not have.
    pub fn length(self, symbol: u8) -> u8 {
        self.lengths().nth(usize::from(symbol)).unwrap_or(0)
    }

    pub fn put(self, symbol: u8, bits: &mut Bits) {
        if let Some((length, first)) = self.word(symbol) {
            bits.put(first >> (LENGTH_MAX - length), length);
        }
    }

    pub fn take(self, reader: &mut Reader<'_>) -> Result<u8, BadStream> {
        let place = reader.peek(LENGTH_MAX);
        let mut end = 0;
        for length in 1..=LENGTH_MAX {
            for (symbol, _) in (0..=u8::MAX).zip(self.lengths()).filter(|(_, each)| *each == length) {
                end += share(length);
                if place < end {
                    return reader.take(length).map(|_| symbol);
                }
            }
        }
        // The words of a complete code take all places: a test looks after that.
        Err(reader.bad("no code word"))
    }

    /// Every bit string begins with a word, and with one only.
    #[cfg(test)]
    pub fn is_complete(self) -> bool {
        self.lengths().map(share).sum::<u32>() == 1 << LENGTH_MAX && self.lengths().all(|length| length > 0)
    }
}

/// Words of [`LENGTH_MAX`] bits that begin with one word of this length.
fn share(length: u8) -> u32 {
    1 << (LENGTH_MAX - length)
}

#[cfg(test)]
mod tests {
    use super::PrefixCode;
    use crate::compact::bits::{Bits, Reader};

    #[test]
    fn words_go_by_length_then_by_symbol() {
        let code = PrefixCode(&[0x31, 0x23]);
        assert!(code.is_complete());
        assert!(!PrefixCode(&[0x31, 0x33]).is_complete());
        for (symbol, word) in [(1, "0"), (2, "10"), (0, "110"), (3, "111")] {
            let mut bits = Bits::default();
            code.put(symbol, &mut bits);
            assert_eq!(bits.len(), word.len());
            let octets = bits.into_octets();
            assert_eq!(format!("{:08b}", octets[0])[..word.len()], *word);
            assert_eq!(code.take(&mut Reader::new(&octets)), Ok(symbol));
        }
    }
}
