//! Phonebook records: EF_ADN and EF_EXT1 (TS 51.011 10.5.1 and 10.5.10), alpha identifiers (TS 102 221 annex A).

use sms::alphabet::gsm7;

/// Octets of EF_ADN after the alpha identifier.
pub const ADN_FIXED_OCTETS: usize = 14;
/// Octets of an EF_EXT1 record.
pub const EXT1_OCTETS: usize = 13;
/// Digits that EF_ADN itself holds, and each EF_EXT1 record.
const DIGITS_PER_RECORD: usize = 20;
/// Records of a chain at most: a longer one is a loop or nonsense.
const CHAIN_MAX: usize = 10;

/// An entry as a person sees it. `number`: digits, a leading `+`, `*`, `#`, `p` (pause), `w` (wild).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    pub name: String,
    pub number: String,
}

/// An entry as the card stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdnRecords {
    /// X + 14 octets.
    pub adn: Vec<u8>,
    /// 13 octets each, for the EF_EXT1 records given, in order.
    pub extensions: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStorable {
    #[error("the name needs more than {alpha_octets} octets")]
    NameTooLong { alpha_octets: usize },
    #[error("character {character:?} of the number: expected a digit, +, *, #, p or w")]
    NumberCharacter { character: char },
    #[error("{digits} digits need {needed} EF_EXT1 records, {given} are free")]
    NoExtension { digits: usize, needed: usize, given: usize },
}

/// How many EF_EXT1 records the number needs.
#[must_use]
pub fn extensions_needed(number: &str) -> usize {
    let digits = number.strip_prefix('+').unwrap_or(number).chars().count();
    digits.saturating_sub(DIGITS_PER_RECORD).div_ceil(DIGITS_PER_RECORD)
}

/// Codes a contact. `extensions`: numbers of free EF_EXT1 records; only as many as needed are used.
///
/// # Errors
/// [`NotStorable`] when name, number or free extension records do not fit.
pub fn encode_adn(contact: &Contact, alpha_octets: usize, extensions: &[u8]) -> Result<AdnRecords, NotStorable> {
    let mut adn = encode_alpha(&contact.name, alpha_octets).ok_or(NotStorable::NameTooLong { alpha_octets })?;
    let (ton_npi, digits) = match contact.number.strip_prefix('+') {
        Some(digits) => (0x91, digits),
        None => (0x81, contact.number.as_str()),
    };
    let nibbles: Vec<u8> = digits.chars().map(nibble).collect::<Result<_, _>>()?;
    let mut parts = nibbles.chunks(DIGITS_PER_RECORD);
    let first = bcd(parts.next().unwrap_or_default());
    let needed = parts.len();
    let used = extensions.get(..needed).ok_or(NotStorable::NoExtension {
        digits: nibbles.len(),
        needed,
        given: extensions.len(),
    })?;
    if nibbles.is_empty() {
        adn.extend([0xFF; 12]);
    } else {
        adn.extend([octet(first.len() + 1), ton_npi]);
        adn.extend(padded(&first, 10));
    }
    adn.extend([0xFF, used.first().copied().unwrap_or(0xFF)]);
    let next = used.iter().skip(1).copied().chain(std::iter::once(0xFF));
    let extensions = parts.zip(next).map(|(digits, next)| extension(digits, next)).collect();
    Ok(AdnRecords { adn, extensions })
}

/// Reads a record; `ext1` gives an EF_EXT1 record by its number. `None`: the record is empty (all FF) or shorter than 14.
pub fn decode_adn(record: &[u8], ext1: impl Fn(u8) -> Option<Vec<u8>>) -> Option<Contact> {
    if record.iter().all(|&octet| octet == 0xFF) {
        return None;
    }
    let alpha_octets = record.len().checked_sub(ADN_FIXED_OCTETS)?;
    let (alpha, fixed) = record.split_at_checked(alpha_octets)?;
    let &[length, ton_npi, ref bcd @ .., _capability, extension] = fixed else { return None };
    let mut number = String::new();
    if (2..=11).contains(&length) {
        if ton_npi & 0x70 == 0x10 {
            number.push('+');
        }
        read_bcd(bcd.get(..usize::from(length) - 1).unwrap_or_default(), &mut number);
        read_chain(extension, ext1, &mut number);
        // A type without a digit is no number.
        if number == "+" {
            number.clear();
        }
    }
    Some(Contact { name: decode_alpha(alpha), number })
}

/// EF_EXT1 records that an EF_ADN record is chained to, in order; a loop ends the list.
pub fn chain(record: &[u8], ext1: impl Fn(u8) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut next = record.last().copied().unwrap_or(0xFF);
    while next != 0xFF && next != 0 && !numbers.contains(&next) && numbers.len() < CHAIN_MAX {
        let Some(extension) = ext1(next).filter(|octets| octets.first() == Some(&0x02)) else { break };
        numbers.push(next);
        next = extension.last().copied().unwrap_or(0xFF);
    }
    numbers
}

/// Alpha identifier of exactly `octets` octets, padded with FF: GSM where every character fits, else the shortest of the
/// codings 81, 82 and 80. `None`: no coding is short enough.
#[must_use]
pub fn encode_alpha(text: &str, octets: usize) -> Option<Vec<u8>> {
    let coded = shortest_alpha(text, octets)?;
    Some(padded(&coded, octets))
}

/// As [`encode_alpha`], as long as it is: for alpha identifiers in toolkit objects.
#[must_use]
pub fn alpha_octets_of(text: &str) -> Vec<u8> {
    shortest_alpha(text, 240).unwrap_or_default()
}

/// Text of an alpha identifier; padding ends it.
#[must_use]
pub fn decode_alpha(alpha: &[u8]) -> String {
    match alpha {
        [0x80, ucs2 @ ..] => {
            let (units, _) = ucs2.as_chunks::<2>();
            let units: Vec<u16> =
                units.iter().map(|unit| u16::from_be_bytes(*unit)).take_while(|&unit| unit != 0xFFFF).collect();
            String::from_utf16_lossy(&units)
        }
        [0x81, count, pointer, rest @ ..] => mixed(rest, *count, u32::from(*pointer) << 7),
        [0x82, count, high, low, rest @ ..] => mixed(rest, *count, u32::from(u16::from_be_bytes([*high, *low]))),
        _ => {
            let end = alpha.iter().position(|&octet| octet == 0xFF).unwrap_or(alpha.len());
            gsm7::decode(alpha.get(..end).unwrap_or_default())
        }
    }
}

fn shortest_alpha(text: &str, octets: usize) -> Option<Vec<u8>> {
    if let Ok(septets) = gsm7::encode(text) {
        return (septets.len() <= octets).then_some(septets);
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let ucs2 = || std::iter::once(0x80).chain(units.iter().copied().flat_map(u16::to_be_bytes)).collect();
    let codings = [base_coded(text, true), base_coded(text, false), Some(ucs2())];
    codings.into_iter().flatten().filter(|coded: &Vec<u8>| coded.len() <= octets).min_by_key(Vec::len)
}

/// Codings 81 (base a multiple of 128 below 8000) and 82 (any base): GSM characters without escapes, and UCS-2
/// characters within 128 of the base.
fn base_coded(text: &str, short: bool) -> Option<Vec<u8>> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let count = u8::try_from(units.len()).ok()?;
    let single = |character: char| match gsm7::septets_of(character) {
        Some(([septet, _], 1)) => Some(septet),
        _ => None,
    };
    let foreign = text.chars().filter(|&character| single(character).is_none());
    let lowest = foreign.map(u32::from).min()?;
    let base = if short { lowest & !0x7F } else { lowest };
    let mut coded = if short {
        vec![0x81, count, u8::try_from(base >> 7).ok().filter(|_| base < 0x8000)?]
    } else {
        let [high, low] = u16::try_from(base).ok()?.to_be_bytes();
        vec![0x82, count, high, low]
    };
    for character in text.chars() {
        let octet = match single(character) {
            Some(septet) => septet,
            None => {
                0x80 | u8::try_from(u32::from(character).checked_sub(base)?).ok().filter(|offset| *offset < 0x80)?
            }
        };
        coded.push(octet);
    }
    Some(coded)
}

/// `count` octets, each GSM or an offset to `base`.
fn mixed(octets: &[u8], count: u8, base: u32) -> String {
    let octets = octets.get(..usize::from(count).min(octets.len())).unwrap_or_default();
    let mut text = String::new();
    for run in octets.chunk_by(|a, b| a & 0x80 == b & 0x80) {
        if run.first().is_some_and(|octet| octet & 0x80 == 0) {
            text.push_str(&gsm7::decode(run));
            continue;
        }
        // UCS2 ends before FFFF, which is padding.
        let units = run
            .iter()
            .map(|octet| base + u32::from(octet & 0x7F))
            .map(|unit| if unit < 0xFFFF { unit } else { 0xFFFD });
        text.extend(units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)));
    }
    text
}

/// TS 51.011 table 12.
fn nibble(character: char) -> Result<u8, NotStorable> {
    match character {
        '0'..='9' => Ok(u8::try_from(u32::from(character) - u32::from('0')).unwrap_or(0)),
        '*' => Ok(0x0A),
        '#' => Ok(0x0B),
        'p' | ',' => Ok(0x0C),
        'w' | '?' => Ok(0x0D),
        _ => Err(NotStorable::NumberCharacter { character }),
    }
}

/// Low nibble first, an odd end filled with F.
fn bcd(nibbles: &[u8]) -> Vec<u8> {
    nibbles.chunks(2).map(|pair| (pair.get(1).unwrap_or(&0x0F) << 4) | pair.first().unwrap_or(&0x0F)).collect()
}

fn read_bcd(octets: &[u8], number: &mut String) {
    const CHARACTERS: [char; 15] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'p', 'w', '?'];
    let nibbles = octets.iter().flat_map(|octet| [octet & 0x0F, octet >> 4]);
    number.extend(nibbles.map_while(|nibble| CHARACTERS.get(usize::from(nibble))));
}

fn extension(nibbles: &[u8], next: u8) -> Vec<u8> {
    let digits = bcd(nibbles);
    let mut record = vec![0x02, octet(digits.len())];
    record.extend(padded(&digits, 10));
    record.push(next);
    record
}

fn read_chain(first: u8, ext1: impl Fn(u8) -> Option<Vec<u8>>, number: &mut String) {
    let record = [first];
    for extension in chain(&record, &ext1) {
        let octets = ext1(extension).unwrap_or_default();
        let length = usize::from(octets.get(1).copied().unwrap_or(0).min(10));
        read_bcd(octets.get(2..2 + length).unwrap_or_default(), number);
    }
}

fn padded(octets: &[u8], length: usize) -> Vec<u8> {
    octets.iter().copied().chain(std::iter::repeat(0xFF)).take(length).collect()
}

fn octet(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
