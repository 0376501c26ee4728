//! The GSM 7-bit default alphabet and its extension table (TS 23.038 6.2.1), unpacked and packed (6.1.2.1).
//!
//! "Septet" here is one octet 0 to 127; a character of the extension table is two of them, [`ESCAPE`] first.

use crate::Malformed;

/// Introduces a character of the extension table.
pub const ESCAPE: u8 = 0x1B;

/// Septets 0x00 to 0x7F; place 0x1B (escape) holds U+001B and is never matched.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', 'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω',
    'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1B}', 'Æ', 'æ', 'ß', 'É', ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+',
    ',', '-', '.', '/', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', '¡', 'A', 'B',
    'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y',
    'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p',
    'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// Septets after the escape.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{0C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// One character as its septets: one of the default alphabet or two with the escape. `None`: not in the alphabet.
#[must_use]
pub fn septets_of(character: char) -> Option<([u8; 2], usize)> {
    if let Some((septet, _)) = EXTENSION.iter().find(|(_, c)| *c == character) {
        return Some(([ESCAPE, *septet], 2));
    }
    let place = DEFAULT.iter().position(|c| *c == character).filter(|place| *place != usize::from(ESCAPE))?;
    u8::try_from(place).ok().map(|septet| ([septet, 0], 1))
}

/// Text as unpacked septets.
///
/// # Errors
/// [`Malformed::NotInAlphabet`] with the character's index: the caller chooses between UCS-2 and a substitute.
pub fn encode(text: &str) -> Result<Vec<u8>, Malformed> {
    let mut septets = Vec::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        let (pair, count) = septets_of(character).ok_or(Malformed::NotInAlphabet { index, character })?;
        septets.extend(pair.iter().take(count));
    }
    Ok(septets)
}

/// Unpacked septets as text; the eighth bit is ignored. An unknown extension shows the default alphabet's character
/// (TS 23.038 6.2.1.1), a lone escape at the end a space.
#[must_use]
pub fn decode(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut rest = septets.iter().map(|octet| octet & 0x7F);
    let default = |septet: u8| DEFAULT.get(usize::from(septet)).copied().unwrap_or(' ');
    while let Some(septet) = rest.next() {
        if septet != ESCAPE {
            text.push(default(septet));
            continue;
        }
        text.push(match rest.next() {
            None | Some(ESCAPE) => ' ',
            Some(next) => EXTENSION.iter().find(|(s, _)| *s == next).map_or_else(|| default(next), |(_, c)| *c),
        });
    }
    text
}

/// Packs septets into octets (TS 23.038 6.1.2.1.1). `fill_bits` (0 to 6): zero bits before the first septet, so that
/// text after a user data header starts on a septet boundary (TS 23.040 9.2.3.24).
#[must_use]
pub fn pack(septets: &[u8], fill_bits: u8) -> Vec<u8> {
    let mut octets = Vec::with_capacity((septets.len() * 7).div_ceil(8) + 1);
    let mut bits = u32::from(fill_bits.min(6));
    let mut held: u32 = 0;
    for septet in septets {
        held |= u32::from(septet & 0x7F) << bits;
        bits += 7;
        while bits >= 8 {
            octets.push(held.to_le_bytes()[0]);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 && !septets.is_empty() {
        octets.push(held.to_le_bytes()[0]);
    }
    octets
}

/// Unpacks at most `count` septets; fewer when the octets end before.
#[must_use]
pub fn unpack(octets: &[u8], count: usize, fill_bits: u8) -> Vec<u8> {
    let bit = |index: usize| octets.get(index / 8).map(|octet| (octet >> (index % 8)) & 1);
    let mut septets = Vec::with_capacity(count.min(octets.len() * 8 / 7 + 1));
    'septets: for index in 0..count {
        let mut septet = 0;
        for place in 0..7 {
            let Some(value) = bit(usize::from(fill_bits) + index * 7 + place) else { break 'septets };
            septet |= value << place;
        }
        septets.push(septet);
    }
    septets
}
