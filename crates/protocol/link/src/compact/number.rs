//! The number of EF_ADN: length, type of number and ten octets of digits (TS 51.011 10.5.1).
//!
//! Most numbers begin as others of the same book do. The prefixes that a country's numbers begin with are known from
//! [`KNOWN_NUMBERS`], others are learned within the message; after the prefix three digits take ten bits.

use super::{
    bits::{BadStream, Bits, Reader},
    prefix_code::PrefixCode,
    tables::{KNOWN_NUMBERS, KnownNumber},
};

/// Octets of EF_ADN that hold the number: length, type, digits.
pub(super) const OCTETS: usize = 12;
const DIGITS_MAX: usize = 20;
/// Kinds that a number may be one of.
const KINDS_MAX: usize = 7;
/// Fewer digits are those of a service, and teach nothing.
const LEARNED_DIGITS_MIN: usize = 7;

const INTERNATIONAL: u8 = 0x91;
const UNKNOWN: u8 = 0x81;
const NATIONAL: u8 = 0xA1;

/// A number as its octets mean it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// All octets FF.
    None,
    /// Nibbles 0 to 9, or others too.
    Digits { ton_npi: u8, nibbles: Vec<u8> },
    /// Octets in another order than the rules ask for.
    Raw([u8; OCTETS]),
}

/// Numbers of one kind: same type, same first digits, and mostly the same count of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    ton_npi: u8,
    prefix: [u8; PREFIX_MAX],
    prefix_digits: usize,
    /// Of the whole number; 0: any, and written.
    digits: usize,
}

/// Digits of a prefix at most.
const PREFIX_MAX: usize = 5;

/// The kinds in use: those of a row of [`KNOWN_NUMBERS`], then those learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds {
    kinds: [Option<Kind>; KINDS_MAX],
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kind(u8, Kind),
    New,
    Nibbles,
    None,
    Raw,
}

/// The selector's code: kinds 0 to 6, then the four other ways and one that is reserved.
const SELECTOR: PrefixCode<'static> = PrefixCode(&[0x12, 0x35, 0x66, 0x75, 0x77, 0x88]);
const NEW: u8 = 7;
const NIBBLES: u8 = 8;
const NONE: u8 = 9;
const RAW: u8 = 10;

impl Number {
    pub fn parse(octets: &[u8; OCTETS]) -> Self {
        if *octets == [0xFF; OCTETS] {
            return Self::None;
        }
        let [length @ 2..=11, ton_npi, bcd @ ..] = *octets else { return Self::Raw(*octets) };
        let mut nibbles: Vec<u8> = bcd.iter().flat_map(|octet| [octet & 0x0F, octet >> 4]).collect();
        nibbles.truncate(2 * (usize::from(length) - 1));
        nibbles.pop_if(|last| *last == 0x0F);
        let number = Self::Digits { ton_npi, nibbles };
        if number.render() == *octets { number } else { Self::Raw(*octets) }
    }

    pub fn render(&self) -> [u8; OCTETS] {
        let mut octets = [0xFF; OCTETS];
        match self {
            Self::None => {}
            Self::Raw(raw) => octets = *raw,
            Self::Digits { ton_npi, nibbles } => {
                let pairs = nibbles.chunks(2);
                octets[0] = u8::try_from(pairs.len() + 1).unwrap_or(u8::MAX);
                octets[1] = *ton_npi;
                for (octet, pair) in octets.iter_mut().skip(2).zip(pairs) {
                    *octet = pair.get(1).copied().unwrap_or(0x0F) << 4 | pair.first().copied().unwrap_or(0x0F);
                }
            }
        }
        octets
    }

    pub fn has_digits(&self) -> bool {
        matches!(self, Self::Digits { .. })
    }

    /// Bits that [`Self::write`] takes; `kinds` learn the same.
    pub fn measure(&self, kinds: &mut Kinds) -> usize {
        let way = kinds.way(self);
        if way == Way::New {
            kinds.learn(self);
        }
        way.bits(self)
    }

    pub fn write(&self, kinds: &mut Kinds, bits: &mut Bits) {
        let way = kinds.way(self);
        SELECTOR.put(way.selector(), bits);
        match (way, self) {
            (Way::Kind(_, kind), Self::Digits { nibbles, .. }) => {
                if kind.digits == 0 {
                    put_count(nibbles, bits);
                }
                put_decimals(nibbles.get(kind.prefix_digits..).unwrap_or_default(), bits);
            }
            (Way::New, Self::Digits { ton_npi, nibbles }) => {
                put_type(*ton_npi, bits);
                put_count(nibbles, bits);
                put_decimals(nibbles, bits);
                kinds.learn(self);
            }
            (_, Self::Digits { ton_npi, nibbles }) => {
                put_type(*ton_npi, bits);
                put_count(nibbles, bits);
                nibbles.iter().for_each(|&nibble| bits.put(u32::from(nibble), 4));
            }
            (_, Self::Raw(octets)) => octets.iter().for_each(|&octet| bits.put(u32::from(octet), 8)),
            (_, Self::None) => {}
        }
    }

    pub fn read(reader: &mut Reader<'_>, kinds: &mut Kinds) -> Result<Self, BadStream> {
        let at = match SELECTOR.take(reader)? {
            NEW => return Self::read_new(reader, kinds),
            NIBBLES => {
                let ton_npi = take_type(reader)?;
                let count = take_count(reader)?;
                let nibbles = (0..count).map(|_| take_small(reader, 4)).collect::<Result<_, _>>()?;
                return Ok(Self::Digits { ton_npi, nibbles });
            }
            NONE => return Ok(Self::None),
            RAW => {
                let mut octets = [0; OCTETS];
                for octet in &mut octets {
                    *octet = reader.octet()?;
                }
                return Ok(Self::Raw(octets));
            }
            at => at,
        };
        let kind = kinds.kinds.get(usize::from(at)).copied().flatten();
        let kind = kind.ok_or_else(|| reader.bad("a kind of numbers that there is none of"))?;
        let count = if kind.digits == 0 { take_count(reader)? } else { kind.digits };
        let rest = count.checked_sub(kind.prefix_digits).ok_or_else(|| reader.bad("fewer digits than the prefix"))?;
        let mut nibbles = kind.prefix().to_vec();
        take_decimals(reader, rest, &mut nibbles)?;
        Ok(Self::Digits { ton_npi: kind.ton_npi, nibbles })
    }

    fn read_new(reader: &mut Reader<'_>, kinds: &mut Kinds) -> Result<Self, BadStream> {
        let ton_npi = take_type(reader)?;
        let count = take_count(reader)?;
        let mut nibbles = Vec::new();
        take_decimals(reader, count, &mut nibbles)?;
        let number = Self::Digits { ton_npi, nibbles };
        kinds.learn(&number);
        Ok(number)
    }
}

impl Kinds {
    /// Of a row of the known numbers; `None`: there is no such row.
    pub fn of_row(row: usize) -> Option<Self> {
        let mut kinds = Self::default();
        for (place, known) in kinds.kinds.iter_mut().zip(*KNOWN_NUMBERS.get(row)?) {
            *place = Some(Kind::of(known));
        }
        Some(kinds)
    }

    /// The shortest way to write the number.
    fn way(&self, number: &Number) -> Way {
        let Number::Digits { ton_npi, nibbles } = number else {
            return if *number == Number::None { Way::None } else { Way::Raw };
        };
        if nibbles.iter().any(|&nibble| nibble > 9) {
            return Way::Nibbles;
        }
        let fitting = (0..).zip(self.kinds).filter_map(|(at, kind)| {
            let kind = kind?;
            let count_fits = kind.digits == 0 || kind.digits == nibbles.len();
            (kind.ton_npi == *ton_npi && count_fits && nibbles.starts_with(kind.prefix()))
                .then_some(Way::Kind(at, kind))
        });
        fitting.chain(std::iter::once(Way::New)).min_by_key(|way| way.bits(number)).unwrap_or(Way::New)
    }

    /// A new number makes its kind known: its first three digits, of a number that is not international the first two.
    fn learn(&mut self, number: &Number) {
        let Number::Digits { ton_npi, nibbles } = number else { return };
        let Some(place) = self.kinds.iter_mut().find(|kind| kind.is_none()) else { return };
        if nibbles.len() >= LEARNED_DIGITS_MIN {
            let prefix_digits = if *ton_npi == INTERNATIONAL { 3 } else { 2 };
            let mut prefix = [0; PREFIX_MAX];
            prefix.iter_mut().zip(nibbles.iter().take(prefix_digits)).for_each(|(to, from)| *to = *from);
            *place = Some(Kind { ton_npi: *ton_npi, prefix, prefix_digits, digits: nibbles.len() });
        }
    }
}

impl Kind {
    fn of(&(text, digits): &KnownNumber) -> Self {
        let (ton_npi, text) = text.strip_prefix('+').map_or((UNKNOWN, text), |rest| (INTERNATIONAL, rest));
        let mut prefix = [0; PREFIX_MAX];
        prefix.iter_mut().zip(text.bytes()).for_each(|(to, digit)| *to = digit.wrapping_sub(b'0'));
        Self { ton_npi, prefix, prefix_digits: text.len(), digits: usize::from(digits) }
    }

    fn prefix(&self) -> &[u8] {
        self.prefix.get(..self.prefix_digits).unwrap_or_default()
    }
}

impl Way {
    fn bits(self, number: &Number) -> usize {
        let (ton_npi, digits) = match number {
            Number::Digits { ton_npi, nibbles } => (*ton_npi, nibbles.len()),
            Number::None | Number::Raw(_) => (UNKNOWN, 0),
        };
        let type_bits = if common_type(ton_npi).is_some() { 2 } else { 10 };
        let rest = match self {
            Self::Kind(_, kind) => {
                let count = if kind.digits == 0 { COUNT_BITS } else { 0 };
                usize::from(count) + decimal_bits(digits - kind.prefix_digits.min(digits))
            }
            Self::New => type_bits + usize::from(COUNT_BITS) + decimal_bits(digits),
            Self::Nibbles => type_bits + usize::from(COUNT_BITS) + 4 * digits,
            Self::None => 0,
            Self::Raw => 8 * OCTETS,
        };
        usize::from(SELECTOR.length(self.selector())) + rest
    }

    fn selector(self) -> u8 {
        match self {
            Self::Kind(at, _) => at,
            Self::New => NEW,
            Self::Nibbles => NIBBLES,
            Self::None => NONE,
            Self::Raw => RAW,
        }
    }
}

const COUNT_BITS: u8 = 5;

fn put_type(ton_npi: u8, bits: &mut Bits) {
    match common_type(ton_npi) {
        Some(code) => bits.put(code, 2),
        None => bits.put(3 << 8 | u32::from(ton_npi), 10),
    }
}

fn take_type(reader: &mut Reader<'_>) -> Result<u8, BadStream> {
    Ok(match reader.take(2)? {
        0 => INTERNATIONAL,
        1 => UNKNOWN,
        2 => NATIONAL,
        _ => reader.octet()?,
    })
}

fn common_type(ton_npi: u8) -> Option<u32> {
    match ton_npi {
        INTERNATIONAL => Some(0),
        UNKNOWN => Some(1),
        NATIONAL => Some(2),
        _ => None,
    }
}

fn put_count(nibbles: &[u8], bits: &mut Bits) {
    bits.put(u32::try_from(nibbles.len()).unwrap_or(u32::MAX), COUNT_BITS);
}

/// 1 to 20 digits.
fn take_count(reader: &mut Reader<'_>) -> Result<usize, BadStream> {
    let count = usize::from(take_small(reader, COUNT_BITS)?);
    if count == 0 || count > DIGITS_MAX { Err(reader.bad("not 1 to 20 digits")) } else { Ok(count) }
}

fn take_small(reader: &mut Reader<'_>, count: u8) -> Result<u8, BadStream> {
    reader.take(count).map(|value| u8::try_from(value).unwrap_or(u8::MAX))
}

/// Three digits in ten bits, the last two in seven, a last one in four.
fn group_bits(digits: usize) -> u8 {
    match digits {
        1 => 4,
        2 => 7,
        _ => 10,
    }
}

fn decimal_bits(digits: usize) -> usize {
    10 * (digits / 3) + [0, 4, 7][digits % 3]
}

fn put_decimals(digits: &[u8], bits: &mut Bits) {
    for group in digits.chunks(3) {
        bits.put(group.iter().fold(0, |value, &digit| 10 * value + u32::from(digit)), group_bits(group.len()));
    }
}

fn take_decimals(reader: &mut Reader<'_>, count: usize, digits: &mut Vec<u8>) -> Result<(), BadStream> {
    let mut left = count;
    while left > 0 {
        let size = left.min(3);
        let value = reader.take(group_bits(size))?;
        let group = [value / 100, value / 10 % 10, value % 10];
        if group.get(..3 - size).is_none_or(|ahead| ahead.iter().any(|&digit| digit > 0)) || value > 999 {
            return Err(reader.bad("a group of digits beyond its greatest"));
        }
        digits.extend(group.iter().skip(3 - size).map(|&digit| u8::try_from(digit).unwrap_or(0)));
        left -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(ton_npi: u8, digits: &str) -> Number {
        let nibbles = digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        Number::Digits { ton_npi, nibbles }
    }

    #[test]
    fn numbers_of_every_way_are_read_as_they_were_written_and_measured_right() {
        let numbers = [
            number(INTERNATIONAL, "447700900123"),
            number(UNKNOWN, "07700900123"),
            number(UNKNOWN, "112"),
            number(INTERNATIONAL, "3530871234567"),
            number(INTERNATIONAL, "3530879999999"),
            number(NATIONAL, "5551234"),
            number(0xB9, "12345678901234567890"),
            number(UNKNOWN, "a1b"),
            Number::None,
            Number::Raw([7; OCTETS]),
            number(UNKNOWN, "1"),
        ];
        for row in 0..KNOWN_NUMBERS.len() {
            let (mut writing, mut measuring) = (Kinds::of_row(row).expect("a row"), Kinds::of_row(row).expect("a row"));
            let (mut bits, mut measured) = (Bits::default(), 0);
            for number in &numbers {
                number.write(&mut writing, &mut bits);
                measured += number.measure(&mut measuring);
                assert_eq!((bits.len(), writing), (measured, measuring), "{number:?}");
                assert_eq!(Number::parse(&number.render()), *number);
            }
            let octets = bits.into_octets();
            let (mut reader, mut reading) = (Reader::new(&octets), Kinds::of_row(row).expect("a row"));
            for number in &numbers {
                assert_eq!(Number::read(&mut reader, &mut reading).as_ref(), Ok(number));
            }
            assert!(reader.is_at_end());
        }
    }

    #[test]
    fn a_number_of_a_kind_that_was_learned_is_short() {
        let mut kinds = Kinds::default();
        assert_eq!(number(INTERNATIONAL, "3530871234567").measure(&mut kinds), 5 + 2 + 5 + 44);
        assert_eq!(number(INTERNATIONAL, "3530879999999").measure(&mut kinds), 1 + 34);
    }

    #[test]
    fn known_numbers_have_digits_and_no_more_kinds_than_there_is_room_for() {
        for row in KNOWN_NUMBERS {
            assert!(row.len() <= KINDS_MAX);
            for &(text, digits) in *row {
                let prefix = text.trim_start_matches('+');
                assert!(prefix.len() <= PREFIX_MAX && prefix.bytes().all(|each| each.is_ascii_digit()), "{text}");
                assert!(digits == 0 || (prefix.len()..=DIGITS_MAX).contains(&usize::from(digits)), "{text}");
            }
        }
        assert!(KNOWN_NUMBERS.len() <= 64 && SELECTOR.is_complete());
    }
}
