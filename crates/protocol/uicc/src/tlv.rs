//! COMPREHENSION-TLV and BER-TLV objects with one-octet tags (TS 102 223 clause 9; TS 101 220 clause 7).

/// Octets that are no toolkit object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedTlv {
    #[error("object {tag:02X} at octet {offset}: its length exceeds the {available} octets left")]
    Length { tag: u8, offset: usize, available: usize },
    #[error("expected an object {tag:02X}")]
    Missing { tag: u8 },
    #[error("object {tag:02X}: unexpected value")]
    Value { tag: u8 },
    #[error("command or envelope type {kind:02X} is not known")]
    UnknownCommand { kind: u8 },
}

/// Appends tag, length (1 or 2 octets) and value; a value over 255 octets is cut, and none of ours is that long.
pub fn push(octets: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let value = value.get(..255).unwrap_or(value);
    octets.push(tag);
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    if length >= 0x80 {
        octets.push(0x81);
    }
    octets.push(length);
    octets.extend(value);
}

/// Objects that follow one another, found by tag; bit 8 (comprehension required) does not count.
#[derive(Debug)]
pub struct Objects<'a> {
    objects: Vec<(u8, &'a [u8])>,
}

impl<'a> Objects<'a> {
    /// Reads all objects.
    ///
    /// # Errors
    /// A length beyond the end.
    pub fn of(octets: &'a [u8]) -> Result<Self, MalformedTlv> {
        let mut objects = Vec::new();
        let mut rest = octets;
        while !rest.is_empty() {
            let (tag, value, after) = read(rest, octets.len() - rest.len())?;
            objects.push((tag, value));
            rest = after;
        }
        Ok(Self { objects })
    }

    /// Reads the objects inside one outer object with tag `tag`; what follows it is ignored.
    ///
    /// # Errors
    /// Another tag, or a length beyond the end.
    pub fn inside(octets: &'a [u8], tag: u8) -> Result<Self, MalformedTlv> {
        let (found, value, _) = read(octets, 0)?;
        if found != tag {
            return Err(MalformedTlv::Missing { tag });
        }
        Self::of(value)
    }

    #[must_use]
    pub fn find(&self, tag: u8) -> Option<&'a [u8]> {
        self.all(tag).next()
    }

    /// # Errors
    /// [`MalformedTlv::Missing`].
    pub fn get(&self, tag: u8) -> Result<&'a [u8], MalformedTlv> {
        self.find(tag).ok_or(MalformedTlv::Missing { tag })
    }

    pub fn all(&self, tag: u8) -> impl Iterator<Item = &'a [u8]> {
        self.objects.iter().filter(move |(found, _)| found & 0x7F == tag & 0x7F).map(|(_, value)| *value)
    }
}

/// Tag, value, and what follows.
fn read(octets: &[u8], offset: usize) -> Result<(u8, &[u8], &[u8]), MalformedTlv> {
    let (&tag, rest) = octets.split_first().ok_or(MalformedTlv::Missing { tag: 0 })?;
    let too_long = MalformedTlv::Length { tag, offset, available: rest.len() };
    let (length, rest) = match rest {
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [length @ 0..=0x7F, rest @ ..] => (usize::from(*length), rest),
        _ => return Err(too_long),
    };
    let (value, after) = rest.split_at_checked(length).ok_or(too_long)?;
    Ok((tag, value, after))
}
