//! Name and number of an EF_ADN record (TS 31.102 4.4.2.3), for people. Any octets are legal; what is no name or number
//! shows as empty.

use sms::alphabet::gsm7;

/// Octets after the alpha identifier: length, TON/NPI, number 10, capability, extension.
const TAIL_OCTETS: usize = 14;
const EMPTY: u8 = 0xFF;

/// Name and number; both empty for octets that are no such record.
pub fn name_and_number(record: &[u8]) -> (String, String) {
    let Some((alpha, tail)) = record.len().checked_sub(TAIL_OCTETS).and_then(|at| record.split_at_checked(at)) else {
        return (String::new(), String::new());
    };
    (name(alpha), number(tail))
}

/// Alpha identifier: the 7-bit alphabet one character an octet, or UCS-2 in one of three codings (TS 102 221 annex A).
fn name(alpha: &[u8]) -> String {
    match alpha {
        [0x80, ucs2 @ ..] => {
            let units = ucs2.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
            String::from_utf16_lossy(&units.take_while(|unit| *unit != 0xFFFF).collect::<Vec<_>>())
        }
        [0x81, count, base, characters @ ..] => based(characters, *count, u32::from(*base) << 7),
        [0x82, count, high, low, characters @ ..] => based(characters, *count, u32::from_be_bytes([0, 0, *high, *low])),
        septets => {
            let end = septets.iter().position(|octet| *octet == EMPTY).unwrap_or(septets.len());
            gsm7::decode(septets.get(..end).unwrap_or_default())
        }
    }
}

/// Characters of the 7-bit alphabet, or, with the highest bit set, at an offset from a base.
fn based(characters: &[u8], count: u8, base: u32) -> String {
    let mut name = String::new();
    for octet in characters.iter().take(usize::from(count)) {
        if octet & 0x80 == 0 {
            name.push_str(&gsm7::decode(&[*octet]));
        } else {
            name.push(char::from_u32(base + u32::from(octet & 0x7F)).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
    }
    name
}

/// Swapped BCD behind its length, which counts TON/NPI too; international numbers with a +.
fn number(tail: &[u8]) -> String {
    let &[length, ton_npi, ref digits @ ..] = tail else { return String::new() };
    let octets = usize::from(length).saturating_sub(1).min(10);
    if length == EMPTY || octets == 0 {
        return String::new();
    }
    let mut number = String::from(if ton_npi & 0x70 == 0x10 { "+" } else { "" });
    for nibble in digits.iter().take(octets).flat_map(|octet| [octet & 0x0F, octet >> 4]) {
        // C is a pause, D a wild digit, E is reserved; F fills.
        match nibble {
            0..=9 => number.push(char::from(b'0' + nibble)),
            0xA => number.push('*'),
            0xB => number.push('#'),
            0xC => number.push('p'),
            0xD => number.push('?'),
            0xE => {}
            _ => break,
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(alpha: &[u8], tail: &[u8]) -> (String, String) {
        let mut octets = alpha.to_vec();
        octets.resize(14, EMPTY);
        octets.extend(tail);
        octets.resize(28, EMPTY);
        name_and_number(&octets)
    }

    fn shown(name: &str, number: &str) -> (String, String) {
        (name.to_owned(), number.to_owned())
    }

    #[test]
    fn the_records_of_the_vectors_are_readable() {
        assert_eq!(record(b"BOB", &[6, 0x91, 0x00, 0x11, 0x32, 0x54, 0xF6]), shown("BOB", "+001123456"));
        assert_eq!(record(b"HOME", &[5, 0x81, 0x20, 0x80, 0x91, 0x99]), shown("HOME", "02081999"));
        assert_eq!(record(&[], &[]), shown("", ""));
        assert_eq!(record(b"X", &[3, 0x81, 0x1A, 0xB2]), shown("X", "*12#"));
    }

    #[test]
    fn names_in_other_scripts_are_readable() {
        assert_eq!(record(&[0x80, 0x04, 0x10, 0x04, 0x3D], &[]).0, "Ан");
        assert_eq!(record(&[0x81, 3, 0x08, 0x90, 0xBD, b'a'], &[]).0, "Анa");
        assert_eq!(record(&[0x82, 2, 0x05, 0xD0, 0x80, 0x81], &[]).0, "אב");
    }

    #[test]
    fn no_octets_are_too_strange() {
        for length in 0..40 {
            for octet in [0x00, 0x7F, 0x80, 0x81, 0x82, 0xFE, 0xFF] {
                name_and_number(&vec![octet; length]);
            }
        }
    }
}
