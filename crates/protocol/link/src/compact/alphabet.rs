//! Characters of a name as code words: three alphabets of 32 letters, and Chinese.

use super::{
    bits::{BadStream, Bits, Reader},
    prefix_code::PrefixCode,
    tables,
};

/// A character: below 0x80 what an octet with bit 8 = 0 holds, otherwise a UCS2 unit.
pub(super) type Character = u16;

/// Which tables a name is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    Latin = 0,
    Cyrillic = 1,
    Greek = 2,
    Chinese = 3,
}

/// How letters stand without a word about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// The first letter of each word is a capital.
    Title,
    Lower,
    Upper,
}

/// How a character that no table has is written: the number of bits that hold it, and what is taken off before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Others {
    pub base: Character,
    pub bits: u8,
}

impl Alphabet {
    pub const ALL: [Self; 4] = [Self::Latin, Self::Cyrillic, Self::Greek, Self::Chinese];

    /// The two bits that name it.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The shortest writing of `text`, the case first. `is_full`: not one character more would fit, so that no end is
    /// written. `None`: a character cannot be written.
    pub fn write(self, text: &[Character], others: Others, is_full: bool) -> Option<Bits> {
        if self == Self::Chinese {
            return self.write_titled(text, others, is_full);
        }
        let cases = [(Case::Title, 0b0, 1), (Case::Lower, 0b10, 2), (Case::Upper, 0b11, 2)];
        let written = cases.into_iter().filter_map(|(case, value, count)| {
            let mut bits = Bits::default();
            bits.put(value, count);
            self.write_letters(text, case, others, is_full, bits)
        });
        written.min_by_key(Bits::len)
    }

    /// As [`Self::write`] with case title and without a word about it.
    pub fn write_titled(self, text: &[Character], others: Others, is_full: bool) -> Option<Bits> {
        match self {
            Self::Chinese => write_chinese(text, others, is_full),
            _ => self.write_letters(text, Case::Title, others, is_full, Bits::default()),
        }
    }

    /// Reads case and characters up to the end, at most `most`.
    pub fn read(self, reader: &mut Reader<'_>, others: Others, most: usize) -> Result<Vec<Character>, BadStream> {
        if self == Self::Chinese {
            return read_chinese(reader, others, most);
        }
        let case = match reader.ones(2)? {
            0 => Case::Title,
            1 => Case::Lower,
            _ => Case::Upper,
        };
        self.read_letters(reader, case, others, most)
    }

    /// Reads what [`Self::write_titled`] wrote.
    pub fn read_titled(
        self,
        reader: &mut Reader<'_>,
        others: Others,
        most: usize,
    ) -> Result<Vec<Character>, BadStream> {
        match self {
            Self::Chinese => read_chinese(reader, others, most),
            _ => self.read_letters(reader, Case::Title, others, most),
        }
    }

    fn read_letters(
        self,
        reader: &mut Reader<'_>,
        case: Case,
        others: Others,
        most: usize,
    ) -> Result<Vec<Character>, BadStream> {
        let mut text = Vec::new();
        let mut place = Place::START;
        while text.len() < most {
            let symbol = self.code_after(place).take(reader)?;
            let character = match symbol {
                SPACE => u16::from(b' '),
                END => break,
                LITERAL => u16::from(literal().take(reader)?),
                OTHER => others.read(reader)?,
                letter => {
                    let pair = self.letters().get(usize::from(letter)).ok_or_else(|| reader.bad("no letter"))?;
                    pair[usize::from(!place.is_capital(case))]
                }
            };
            text.push(character);
            place = Place::after(symbol, character);
        }
        Ok(text)
    }

    fn write_letters(
        self,
        text: &[Character],
        case: Case,
        others: Others,
        is_full: bool,
        mut bits: Bits,
    ) -> Option<Bits> {
        let mut place = Place::START;
        for &character in text {
            let code = self.code_after(place);
            let symbol = self.symbol(character, usize::from(!place.is_capital(case)));
            code.put(symbol, &mut bits);
            match symbol {
                LITERAL => literal().put(u8::try_from(character).ok()?, &mut bits),
                OTHER => others.write(character, &mut bits)?,
                _ => {}
            }
            place = Place::after(symbol, character);
        }
        if !is_full {
            self.code_after(place).put(END, &mut bits);
        }
        Some(bits)
    }

    /// `column`: 0 where a capital is expected, 1 where not.
    fn symbol(self, character: Character, column: usize) -> u8 {
        let letters = (0..).zip(self.letters());
        let letter =
            letters.into_iter().find(|(_, pair)| pair.get(column) == Some(&character)).map(|(letter, _)| letter);
        match (letter, character) {
            (Some(letter), _) => letter,
            (None, 0x20) => SPACE,
            (None, 0..0x80) => LITERAL,
            (None, _) => OTHER,
        }
    }

    fn letters(self) -> &'static [[Character; 2]] {
        match self {
            Self::Latin => &tables::LATIN_LETTERS,
            Self::Cyrillic => &tables::CYRILLIC_LETTERS,
            Self::Greek => &tables::GREEK_LETTERS,
            Self::Chinese => &[],
        }
    }

    fn code_after(self, place: Place) -> PrefixCode<'static> {
        let contexts = match self {
            Self::Cyrillic => &tables::CYRILLIC,
            Self::Greek => &tables::GREEK,
            Self::Latin | Self::Chinese => &tables::LATIN,
        };
        PrefixCode(contexts.get(usize::from(place.context)).unwrap_or(&contexts[0]))
    }
}

/// What the code of the next character depends on.
#[derive(Clone, Copy)]
struct Place {
    /// A letter, or one of the four.
    context: u8,
    is_word_start: bool,
}

impl Place {
    const START: Self = Self { context: 32, is_word_start: true };

    fn after(symbol: u8, character: Character) -> Self {
        let context = match symbol {
            SPACE => 33,
            LITERAL if (0x20..0x40).contains(&character) => 34,
            LITERAL | OTHER | END => 35,
            letter => letter,
        };
        let is_word_start = symbol == SPACE || (symbol == LITERAL && (0x20..0x30).contains(&character));
        Self { context, is_word_start }
    }

    fn is_capital(self, case: Case) -> bool {
        case == Case::Upper || (case == Case::Title && self.is_word_start)
    }
}

impl Others {
    fn write(self, character: Character, bits: &mut Bits) -> Option<()> {
        let value = u32::from(character.checked_sub(self.base)?);
        bits.put(value, self.bits);
        (value >> self.bits == 0).then_some(())
    }

    fn read(self, reader: &mut Reader<'_>) -> Result<Character, BadStream> {
        let value = u16::try_from(reader.take(self.bits)?).unwrap_or(u16::MAX);
        self.base.checked_add(value).ok_or_else(|| reader.bad("a character beyond FFFF"))
    }
}

fn write_chinese(text: &[Character], others: Others, is_full: bool) -> Option<Bits> {
    let mut bits = Bits::default();
    for &character in text {
        let known = (0..).zip(&tables::CHINESE).find(|(_, each)| **each == character);
        match (known, character) {
            (Some((at, _)), _) => bits.put(at, 9),
            (None, 0..0x80) => {
                bits.put(0b110, 3);
                literal().put(u8::try_from(character).ok()?, &mut bits);
            }
            (None, _) => {
                bits.put(0b10, 2);
                others.write(character, &mut bits)?;
            }
        }
    }
    if !is_full {
        bits.put(0b111, 3);
    }
    Some(bits)
}

fn read_chinese(reader: &mut Reader<'_>, others: Others, most: usize) -> Result<Vec<Character>, BadStream> {
    let mut text = Vec::new();
    while text.len() < most {
        text.push(match reader.ones(3)? {
            0 => {
                let at = usize::from(reader.octet()?);
                tables::CHINESE.get(at).copied().ok_or_else(|| reader.bad("no character"))?
            }
            1 => others.read(reader)?,
            2 => u16::from(literal().take(reader)?),
            _ => break,
        });
    }
    Ok(text)
}

fn literal() -> PrefixCode<'static> {
    PrefixCode(&tables::LITERAL)
}

/// Symbols after the 32 letters.
const SPACE: u8 = 32;
const END: u8 = 33;
/// A character below 0x80 by its own code.
const LITERAL: u8 = 34;
/// A character from 0x80 on, by its bits.
const OTHER: u8 = 35;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_complete() {
        for contexts in [&tables::LATIN, &tables::CYRILLIC, &tables::GREEK] {
            for lengths in contexts {
                assert!(PrefixCode(lengths).is_complete());
            }
        }
        assert!(literal().is_complete());
    }

    #[test]
    fn letters_are_there_once_and_the_chinese_table_has_no_twins() {
        for alphabet in [Alphabet::Latin, Alphabet::Cyrillic, Alphabet::Greek] {
            for column in 0..2 {
                for (at, pair) in (0..).zip(alphabet.letters()) {
                    assert_eq!(alphabet.symbol(pair[column], column), at, "{alphabet:?} {pair:04X?}");
                }
            }
        }
        let mut characters = tables::CHINESE.to_vec();
        characters.sort_unstable();
        characters.dedup();
        assert_eq!(characters.len(), 256);
    }

    #[test]
    fn any_text_is_read_as_it_was_written() {
        let others = Others { base: 0, bits: 16 };
        let texts =
            ["", "Anna Smith", "ANNA", "anna", "McDonald-O'Neil", "Łódź 24", "Иван Петров", "Άννα", "王伟 A", "a B c"];
        for text in texts {
            let characters: Vec<u16> = text.encode_utf16().collect();
            for alphabet in Alphabet::ALL {
                for room in [0, 1] {
                    let bits = alphabet.write(&characters, others, room == 0).expect("can be written");
                    let octets = bits.into_octets();
                    let read = alphabet.read(&mut Reader::new(&octets), others, characters.len() + room);
                    assert_eq!(read, Ok(characters.clone()), "{text:?} with {alphabet:?}");
                }
            }
        }
    }
}
