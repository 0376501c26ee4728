//! C-octet strings (SMPP 3.4 3.1): short texts ended by a zero octet, kept inline so that a PDU needs no allocation.

/// At most `MAX` octets without the terminator; `MAX` is at most 255. Octets above 0x7F are kept as they came.
#[derive(Clone, Copy)]
pub struct Text<const MAX: usize> {
    octets: [u8; MAX],
    length: u8,
}

/// The text does not fit, or contains the terminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("text of {actual} octets does not fit {max} octets, or contains a zero octet")]
pub struct TextTooLong {
    pub actual: usize,
    pub max: usize,
}

impl<const MAX: usize> Text<MAX> {
    pub const EMPTY: Self = Self { octets: [0; MAX], length: 0 };

    /// # Errors
    /// [`TextTooLong`] when `octets` are more than `MAX` or contain a zero octet.
    pub fn new(octets: impl AsRef<[u8]>) -> Result<Self, TextTooLong> {
        let octets = octets.as_ref();
        let mut text = Self::EMPTY;
        match (text.octets.get_mut(..octets.len()), u8::try_from(octets.len())) {
            (Some(room), Ok(length)) if !octets.contains(&0) => {
                room.copy_from_slice(octets);
                text.length = length;
                Ok(text)
            }
            _ => Err(TextTooLong { actual: octets.len(), max: MAX }),
        }
    }

    /// The octets without the terminator.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The text, if it is UTF-8 (ASCII in every conforming PDU).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Length in octets, without the terminator.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length as usize
    }
}

impl<const MAX: usize> Default for Text<MAX> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const MAX: usize> PartialEq for Text<MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const MAX: usize> Eq for Text<MAX> {}

impl<const MAX: usize> std::hash::Hash for Text<MAX> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<const MAX: usize> std::fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl<const MAX: usize> std::fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl<const MAX: usize> TryFrom<&str> for Text<MAX> {
    type Error = TextTooLong;
    fn try_from(text: &str) -> Result<Self, TextTooLong> {
        Self::new(text)
    }
}
