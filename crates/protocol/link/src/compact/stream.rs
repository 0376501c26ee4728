//! The records of a message as one bit stream.

use bytes::Bytes;

use super::{
    bits::{BadStream, Bits, Reader},
    message::RECORDS_MAX,
    name::{self, NameState, Usual},
    number::{self, Kinds, Number},
    tables::KNOWN_NUMBERS,
};
use crate::{
    message::MalformedMessage,
    monitor::MonitorTable,
    record::{Record, RefusedTail},
};

/// Octets of EF_ADN after the alpha identifier: the number, capability identifier, extension identifier.
const ADN_FIXED_OCTETS: usize = number::OCTETS + 2;
/// Takes records and knows how long their stream is with each row of known numbers.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    parts: Vec<Part>,
    /// The record number that the stream begins behind.
    start: u8,
    position: Position,
    names: NameState,
    rows: Vec<Row>,
}

/// A record but for its number, whose bits depend on the row; the number comes last.
#[derive(Clone, Debug)]
struct Part {
    bits: Bits,
    number: Option<Number>,
}

/// The stream if it were written with one row of known numbers.
#[derive(Clone, Copy, Debug)]
struct Row {
    kinds: Kinds,
    bits: usize,
}

impl Writer {
    pub fn new() -> Self {
        let rows = (0..KNOWN_NUMBERS.len()).filter_map(Kinds::of_row);
        Self {
            parts: Vec::new(),
            start: 0,
            position: Position::default(),
            names: NameState::default(),
            rows: rows.map(|kinds| Row { kinds, bits: START_BITS.into() }).collect(),
        }
    }

    /// Adds the record if the stream then still has at most `octets_max` octets; whether it did.
    pub fn push(&mut self, record: &Record, octets_max: usize) -> bool {
        if self.parts.len() >= RECORDS_MAX {
            return false;
        }
        let mut names = self.names;
        if self.parts.is_empty() && record.monitor_index == 0 {
            self.start = record.record_number.saturating_sub(1);
            self.position.record_number = self.start;
        }
        let part = Part::of(record, self.position, &mut names);
        let mut rows = self.rows.clone();
        for row in &mut rows {
            row.bits += part.bits.len() + part.number.as_ref().map_or(0, |number| number.measure(&mut row.kinds));
        }
        if best(&rows).1.div_ceil(8) > octets_max {
            return false;
        }
        self.position = Position::of(record);
        (self.names, self.rows) = (names, rows);
        self.parts.push(part);
        true
    }

    /// Octets of the stream.
    pub fn octets(&self) -> usize {
        best(&self.rows).1.div_ceil(8)
    }

    /// The row of known numbers, and the stream.
    pub fn finish(self) -> (u8, Vec<u8>) {
        let (row, _) = best(&self.rows);
        let mut bits = Bits::default();
        bits.put(self.start.into(), START_BITS);
        let mut kinds = Kinds::of_row(row).unwrap_or_default();
        for part in self.parts {
            bits.append(&part.bits);
            if let Some(number) = part.number {
                number.write(&mut kinds, &mut bits);
            }
        }
        (u8::try_from(row).unwrap_or(0), bits.into_octets())
    }
}

/// The row with the shortest stream, the first of equals, and its bits.
fn best(rows: &[Row]) -> (usize, usize) {
    rows.iter().map(|row| row.bits).enumerate().min_by_key(|(_, bits)| *bits).unwrap_or((0, usize::MAX))
}

/// The record before: monitor index and record number.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    monitor_index: u8,
    record_number: u8,
}

impl Position {
    fn of(record: &Record) -> Self {
        Self { monitor_index: record.monitor_index, record_number: record.record_number }
    }

    /// How far on the next record is in the same row; `None` behind it or elsewhere.
    fn steps_to(self, next: Self) -> Option<u8> {
        let steps = next.record_number.checked_sub(self.record_number)?;
        (self.monitor_index == next.monitor_index && steps > 0).then_some(steps)
    }

    fn after(self, steps: u8, reader: &Reader<'_>) -> Result<Self, BadStream> {
        let number = self.record_number.checked_add(steps);
        Ok(Self { record_number: number.ok_or_else(|| reader.bad("a record number beyond 255"))?, ..self })
    }
}

impl Part {
    fn of(record: &Record, before: Position, names: &mut NameState) -> Self {
        let next = Position::of(record);
        if let Some(entry) = Entry::parse(&record.data) {
            let mut state = *names;
            let name = name::write(entry.name, &mut state);
            if !name.is_raw || entry.number.has_digits() {
                let is_next = before.steps_to(next) == Some(1) && entry.ending == COMMON_ENDING;
                let explicit = Self::explicit(before, next, entry.ending, &name.bits);
                let usual = name.usual.filter(|_| is_next).map(Self::usual);
                // A shorter record now is worth more than a script that the next name may have.
                let is_usual = usual.as_ref().is_some_and(|usual| usual.len() <= explicit.len());
                if !is_usual {
                    *names = state;
                }
                let bits = usual.filter(|_| is_usual).unwrap_or(explicit);
                return Self { bits, number: Some(entry.number) };
            }
        }
        let mut bits = Bits::default();
        bits.put(0b11, 2);
        put_position(before, next, &mut bits);
        if record.is_empty() {
            bits.put(0b10, 2);
        } else {
            bits.put(0b11, 2);
            name::put_octets(&record.data, &mut bits);
        }
        Self { bits, number: None }
    }

    /// The next record, a name in a usual script, the common ending.
    fn usual((usual, text): (Usual, Bits)) -> Bits {
        let mut bits = Bits::default();
        match usual {
            Usual::Gsm => bits.put(0b0, 1),
            Usual::Last => bits.put(0b10, 2),
        }
        bits.append(&text);
        bits
    }

    fn explicit(before: Position, next: Position, ending: [u8; 2], name: &Bits) -> Bits {
        let mut bits = Bits::default();
        bits.put(0b11, 2);
        put_position(before, next, &mut bits);
        bits.put(0b0, 1);
        put_ending(ending, &mut bits);
        bits.append(name);
        bits
    }
}

/// A record of EF_ADN that is not empty.
struct Entry<'a> {
    name: &'a [u8],
    number: Number,
    /// Capability and extension identifier.
    ending: [u8; 2],
}

const COMMON_ENDING: [u8; 2] = [0xFF, 0xFF];

impl<'a> Entry<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let (name, rest) = data.split_last_chunk::<ADN_FIXED_OCTETS>()?;
        let [number @ .., capability, extension] = *rest;
        let is_empty = crate::record::is_empty(data);
        (!is_empty).then(|| Self { name, number: Number::parse(&number), ending: [capability, extension] })
    }
}

fn put_position(before: Position, next: Position, bits: &mut Bits) {
    match before.steps_to(next) {
        Some(1) => bits.put(0b0, 1),
        Some(steps @ 2..=9) => bits.put(0b10 << 3 | u32::from(steps - 2), 5),
        _ if before.monitor_index == next.monitor_index => bits.put(0b110 << 8 | u32::from(next.record_number), 11),
        _ => {
            let octets = [0b111, next.monitor_index, next.record_number];
            bits.put(octets.into_iter().fold(0, |value, octet| value << 8 | u32::from(octet)), 19);
        }
    }
}

fn take_position(before: Position, reader: &mut Reader<'_>) -> Result<Position, BadStream> {
    match reader.ones(3)? {
        0 => before.after(1, reader),
        1 => {
            let steps = u8::try_from(reader.take(3)?).unwrap_or(0);
            before.after(steps + 2, reader)
        }
        2 => Ok(Position { record_number: reader.octet()?, ..before }),
        _ => Ok(Position { monitor_index: reader.octet()?, record_number: reader.octet()? }),
    }
}

fn put_ending(ending: [u8; 2], bits: &mut Bits) {
    if ending == COMMON_ENDING {
        bits.put(0b0, 1);
    } else {
        bits.put(1 << 16 | u32::from(u16::from_be_bytes(ending)), 17);
    }
}

fn take_ending(reader: &mut Reader<'_>) -> Result<[u8; 2], BadStream> {
    if reader.bit()? { Ok([reader.octet()?, reader.octet()?]) } else { Ok(COMMON_ENDING) }
}

/// The record number before the first.
const START_BITS: u8 = 8;

/// Whether there is such a row of known numbers.
pub(super) fn is_row(row: u8) -> bool {
    usize::from(row) < KNOWN_NUMBERS.len()
}

/// Reads the stream; an index without a row ends it (D-17).
pub(super) fn read(
    row: u8,
    octets: &[u8],
    monitor: &MonitorTable,
) -> Result<(Vec<Record>, Option<RefusedTail>), MalformedMessage> {
    let mut reader = Reader::new(octets);
    let mut records = Vec::new();
    let malformed = |records: &Vec<Record>, bad: BadStream| MalformedMessage::CompactStream {
        record: records.len(),
        bit: bad.bit,
        what: bad.what,
    };
    let mut kinds = Kinds::of_row(row.into()).unwrap_or_default();
    let mut names = NameState::default();
    let record_number = reader.octet().map_err(|bad| malformed(&records, bad))?;
    let mut before = Position { monitor_index: 0, record_number };
    while !reader.is_at_end() {
        if records.len() >= RECORDS_MAX {
            return Err(malformed(&records, reader.bad("more than 255 records")));
        }
        let next = read_record(&mut reader, before, monitor, &mut names, &mut kinds);
        match next.map_err(|bad| malformed(&records, bad))? {
            Next::Record(record) => {
                before = Position::of(&record);
                records.push(record);
            }
            Next::Refused(tail) => return Ok((records, Some(tail))),
        }
    }
    if records.is_empty() { Err(MalformedMessage::NoRecords) } else { Ok((records, None)) }
}

enum Next {
    Record(Record),
    Refused(RefusedTail),
}

fn read_record(
    reader: &mut Reader<'_>,
    before: Position,
    monitor: &MonitorTable,
    names: &mut NameState,
    kinds: &mut Kinds,
) -> Result<Next, BadStream> {
    let usual = match reader.ones(2)? {
        0 => Some(Usual::Gsm),
        1 => Some(Usual::Last),
        _ => None,
    };
    let position = if usual.is_some() { before.after(1, reader)? } else { take_position(before, reader)? };
    let Position { monitor_index, record_number } = position;
    let Some(row) = monitor.row(monitor_index) else {
        return Ok(Next::Refused(RefusedTail { monitor_index, record_number }));
    };
    let length = usize::from(row.data_octets);
    let kind = if usual.is_some() { 0 } else { reader.ones(2)? };
    let data = match kind {
        0 => read_entry(reader, usual, length, names, kinds)?,
        1 => vec![0xFF; length],
        _ => name::take_octets(reader, length)?,
    };
    Ok(Next::Record(Record { monitor_index, record_number, data: Bytes::from(data) }))
}

fn read_entry(
    reader: &mut Reader<'_>,
    usual: Option<Usual>,
    length: usize,
    names: &mut NameState,
    kinds: &mut Kinds,
) -> Result<Vec<u8>, BadStream> {
    let name_octets = length.checked_sub(ADN_FIXED_OCTETS);
    let name_octets = name_octets.ok_or_else(|| reader.bad("a phonebook entry in a record that is too short"))?;
    let (ending, mut data) = match usual {
        Some(usual) => (COMMON_ENDING, name::read_usual(reader, usual, name_octets, *names)?),
        None => (take_ending(reader)?, name::read(reader, name_octets, names)?),
    };
    data.extend(Number::read(reader, kinds)?.render());
    data.extend(ending);
    Ok(data)
}
