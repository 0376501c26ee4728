//! The alpha identifier of EF_ADN (TS 102 221 annex A): how it is coded, and its characters.

use super::{
    alphabet::{Alphabet, Character, Others},
    bits::{BadStream, Bits, Reader},
};

/// How the octets of an alpha identifier hold characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One GSM character an octet.
    Gsm,
    /// `80`: UCS2 units.
    Ucs2,
    /// `81`: count, base pointer, octets.
    Pointer(u8),
    /// `82`: count, base, octets.
    Base(u16),
}

/// A form of UCS2 with the alphabet that its names are written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Script {
    form: Form,
    alphabet: Alphabet,
}

/// What one name tells about the next: the two UCS2 scripts that were used last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameState {
    last: Script,
    before: Script,
}

impl Default for NameState {
    /// Letters of Polish and Turkish (U+0100 and above), of French and Portuguese (U+0080 and above).
    fn default() -> Self {
        let latin = |pointer| Script { form: Form::Pointer(pointer), alphabet: Alphabet::Latin };
        Self { last: latin(0x02), before: latin(0x01) }
    }
}

impl NameState {
    /// A name in this script follows.
    fn used(&mut self, script: Script) {
        if script != self.last {
            self.before = std::mem::replace(&mut self.last, script);
        }
    }
}

/// A name as bits.
pub(super) struct WrittenName {
    pub bits: Bits,
    /// By its octets: nothing shorter was found.
    pub is_raw: bool,
    /// The text alone, with case title, in one of the two scripts that need no word.
    pub usual: Option<(Usual, Bits)>,
}

/// Scripts that a record can name in its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usual {
    /// GSM characters.
    Gsm,
    /// As in the last name that was not GSM.
    Last,
}

/// Writes an alpha identifier of any octets; `state` is what the names before leave.
pub(super) fn write(field: &[u8], state: &mut NameState) -> WrittenName {
    let mut raw = Bits::default();
    raw.put(0b1111, 4);
    put_octets(field, &mut raw);
    let mut best = WrittenName { bits: raw, is_raw: true, usual: None };
    let Some((form, text)) = parse(field) else { return best };
    let is_full = text.len() >= form.capacity(field.len());
    let gsm = Script { form: Form::Gsm, alphabet: Alphabet::Latin };
    let (usual, script) = if form == Form::Gsm { (Usual::Gsm, gsm) } else { (Usual::Last, state.last) };
    if script.form == form {
        best.usual = script.alphabet.write_titled(&text, form.others(), is_full).map(|bits| (usual, bits));
    }
    let mut chosen = *state;
    let alphabets = if form == Form::Gsm { &Alphabet::ALL[..1] } else { &Alphabet::ALL[..] };
    for &alphabet in alphabets {
        let script = Script { form, alphabet };
        let Some(text) = alphabet.write(&text, form.others(), is_full) else { continue };
        let mut bits = script.announced(*state);
        bits.append(&text);
        if bits.len() < best.bits.len() {
            best.bits = bits;
            best.is_raw = false;
            chosen = *state;
            if form != Form::Gsm {
                chosen.used(script);
            }
        }
    }
    *state = chosen;
    best
}

/// Reads the text of a usual name, in a field of `octets` octets.
pub(super) fn read_usual(
    reader: &mut Reader<'_>,
    usual: Usual,
    octets: usize,
    state: NameState,
) -> Result<Vec<u8>, BadStream> {
    let Script { form, alphabet } = match usual {
        Usual::Gsm => Script { form: Form::Gsm, alphabet: Alphabet::Latin },
        Usual::Last => state.last,
    };
    let text = alphabet.read_titled(reader, form.others(), form.capacity(octets))?;
    form.render(&text, octets).ok_or_else(|| reader.bad(NO_PLACE))
}

/// Reads an alpha identifier of `octets` octets.
pub(super) fn read(reader: &mut Reader<'_>, octets: usize, state: &mut NameState) -> Result<Vec<u8>, BadStream> {
    let script = match reader.ones(4)? {
        0 => Script { form: Form::Gsm, alphabet: Alphabet::Latin },
        1 => state.last,
        2 => Script::read(reader)?,
        3 => state.before,
        _ => return take_octets(reader, octets),
    };
    if script.form != Form::Gsm {
        state.used(script);
    }
    let Script { form, alphabet } = script;
    let text = alphabet.read(reader, form.others(), form.capacity(octets))?;
    form.render(&text, octets).ok_or_else(|| reader.bad(NO_PLACE))
}

/// Octets as they are, without the FF at their end: a count, then that many.
pub(super) fn put_octets(octets: &[u8], bits: &mut Bits) {
    let used = octets.iter().rposition(|&octet| octet != FILL).map_or(0, |last| last + 1);
    bits.put(u32::try_from(used).unwrap_or(u32::MAX), 8);
    octets.iter().take(used).for_each(|&octet| bits.put(u32::from(octet), 8));
}

/// Reads what [`put_octets`] wrote, filled up to `octets`.
pub(super) fn take_octets(reader: &mut Reader<'_>, octets: usize) -> Result<Vec<u8>, BadStream> {
    let used = usize::from(reader.octet()?);
    if used > octets {
        return Err(reader.bad("more octets than the record has"));
    }
    let mut taken = (0..used).map(|_| reader.octet()).collect::<Result<Vec<u8>, _>>()?;
    taken.resize(octets, FILL);
    Ok(taken)
}

impl Script {
    /// The bits that say which script follows.
    fn announced(self, state: NameState) -> Bits {
        let mut bits = Bits::default();
        if self.form == Form::Gsm {
            bits.put(0b0, 1);
        } else if self == state.last {
            bits.put(0b10, 2);
        } else if self == state.before {
            bits.put(0b1110, 4);
        } else {
            bits.put(0b110, 3);
            match self.form {
                Form::Gsm | Form::Ucs2 => bits.put(0, 2),
                Form::Pointer(pointer) => bits.put(1 << 8 | u32::from(pointer), 10),
                Form::Base(base) => bits.put(2 << 16 | u32::from(base), 18),
            }
            bits.put(self.alphabet.code(), 2);
        }
        bits
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, BadStream> {
        let form = match reader.take(2)? {
            0 => Form::Ucs2,
            1 => Form::Pointer(reader.octet()?),
            2 => Form::Base(u16::from_be_bytes([reader.octet()?, reader.octet()?])),
            _ => return Err(reader.bad("a form of names that there is none of")),
        };
        let code = reader.take(2)?;
        let alphabet = Alphabet::ALL.into_iter().find(|each| each.code() == code);
        Ok(Self { form, alphabet: alphabet.ok_or_else(|| reader.bad("no alphabet"))? })
    }
}

impl Form {
    /// Characters that a field of so many octets holds at most.
    fn capacity(self, octets: usize) -> usize {
        match self {
            Self::Gsm => octets,
            Self::Ucs2 => octets.saturating_sub(1) / 2,
            Self::Pointer(_) => octets.saturating_sub(3),
            Self::Base(_) => octets.saturating_sub(4),
        }
    }

    fn base(self) -> Character {
        match self {
            Self::Gsm | Self::Ucs2 => 0,
            Self::Pointer(pointer) => u16::from(pointer) << 7,
            Self::Base(base) => base,
        }
    }

    fn others(self) -> Others {
        Others { base: self.base(), bits: if self == Self::Ucs2 { 16 } else { 7 } }
    }

    /// The field with this text; `None` when it has no place for it.
    fn render(self, text: &[Character], octets: usize) -> Option<Vec<u8>> {
        let count = u8::try_from(text.len()).ok()?;
        let mut field = match self {
            Self::Gsm => Vec::new(),
            Self::Ucs2 => vec![0x80],
            Self::Pointer(pointer) => vec![0x81, count, pointer],
            Self::Base(base) => [[0x82, count], base.to_be_bytes()].concat(),
        };
        for &character in text {
            match (self, u8::try_from(character)) {
                (Self::Ucs2, _) => field.extend(character.to_be_bytes()),
                (_, Ok(octet @ 0..0x80)) => field.push(octet),
                (Self::Gsm, _) => return None,
                (Self::Pointer(_) | Self::Base(_), _) => {
                    let offset = u8::try_from(character.checked_sub(self.base())?).ok().filter(|&each| each < 0x80)?;
                    field.push(0x80 | offset);
                }
            }
        }
        if field.len() > octets {
            return None;
        }
        field.resize(octets, FILL);
        Some(field)
    }
}

/// Form and text of a field, if exactly this field comes back of them.
fn parse(field: &[u8]) -> Option<(Form, Vec<Character>)> {
    let (form, text) = match *field {
        [0x80, ref units @ ..] => {
            let (units, _) = units.as_chunks::<2>();
            let text = units.iter().map(|unit| u16::from_be_bytes(*unit)).take_while(|&unit| unit != 0xFFFF).collect();
            (Form::Ucs2, text)
        }
        [0x81, count, pointer, ref octets @ ..] => {
            (Form::Pointer(pointer), based(octets, count, Form::Pointer(pointer))?)
        }
        [0x82, count, high, low, ref octets @ ..] => {
            let form = Form::Base(u16::from_be_bytes([high, low]));
            (form, based(octets, count, form)?)
        }
        _ => (Form::Gsm, field.iter().take_while(|&&octet| octet != FILL).map(|&octet| u16::from(octet)).collect()),
    };
    (form.render(&text, field.len()).as_deref() == Some(field)).then_some((form, text))
}

fn based(octets: &[u8], count: u8, form: Form) -> Option<Vec<Character>> {
    let octets = octets.get(..usize::from(count))?.iter();
    octets
        .map(|&octet| match octet {
            0..0x80 => Some(u16::from(octet)),
            _ => form.base().checked_add(u16::from(octet & 0x7F)),
        })
        .collect()
}

const NO_PLACE: &str = "a character that the name's form cannot hold";

const FILL: u8 = 0xFF;
