//! Random numbers that are the same for the same seed for ever (splitmix64).

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each round.
    #[must_use]
    pub fn new(seed: u64, round: u64) -> Self {
        let mut random = Self(seed ^ 0x5356_4C54);
        let first = random.number();
        Self(first ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 for an `end` of 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        if end == 0 { 0 } else { usize::try_from(self.number() % end).unwrap_or(0) }
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn octet(&mut self) -> u8 {
        let [octet, ..] = self.number().to_le_bytes();
        octet
    }

    /// Fewer than `end` of any octets.
    pub fn octets(&mut self, end: usize) -> Vec<u8> {
        (0..self.below(end)).map(|_| self.octet()).collect()
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
