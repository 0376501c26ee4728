//! READ and UPDATE of records and octets, SEEK and SEARCH RECORD (TS 51.011 8.3 to 8.7, TS 102 221 11.1.3 to 11.1.7).

use super::{Answer, Answered, Card, done, exactly, to_read, to_update};
use crate::{
    apdu::{ABSOLUTE, Command, Dialect, NEXT, PREVIOUS, Refusal},
    applet::Applet,
    files::{EF_ADN, EF_PBC, Path},
};

impl<A: Applet> Card<A> {
    pub(super) fn read_record(&mut self, p1: u8, mode: u8, command: &Command) -> Answered {
        let path = self.accessible(to_read)?;
        let number = self.record_number(path, p1, mode)?;
        let answer = exactly(self.files.record(path, number)?.to_vec(), command)?;
        self.point_at(number, mode);
        Ok(answer)
    }

    pub(super) fn update_record(&mut self, dialect: Dialect, p1: u8, mode: u8, data: &[u8]) -> Answered {
        let path = self.accessible(to_update)?;
        let number = self.record_number(path, p1, mode)?;
        self.files.set_record(path, number, data)?;
        self.point_at(number, mode);
        if dialect == Dialect::Sim && path == EF_ADN && self.files.exists(EF_PBC) {
            // A phone that does not keep the change counters has been here (TS 31.102 4.4.2.5). A file that has fewer
            // records than EF_ADN has nothing to mark.
            self.files.write(EF_PBC, number, 0, &[0x01]).unwrap_or_default();
        }
        self.applet.file_updated(&mut self.files, path, number);
        done()
    }

    /// On the SIM octets beyond the end are out of range, on the UICC the length is wrong.
    pub(super) fn read_binary(&self, offset: u16, command: &Command, dialect: Dialect) -> Answered {
        let content = self.files.binary(self.accessible(to_read)?)?;
        let rest = content.get(usize::from(offset)..).ok_or(Refusal::Offset)?;
        let Some(expected) = command.expected else { return Err(Refusal::Expected { available: rest.len() }) };
        match rest.get(..expected) {
            Some(part) => Ok(Answer::Data(part.to_vec())),
            None if dialect == Dialect::Sim || rest.is_empty() => Err(Refusal::Offset),
            None => Err(Refusal::Expected { available: rest.len() }),
        }
    }

    pub(super) fn update_binary(&mut self, offset: u16, data: &[u8]) -> Answered {
        let path = self.accessible(to_update)?;
        let end = usize::from(offset) + data.len();
        if self.files.binary(path)?.len() < end {
            return Err(Refusal::Offset);
        }
        self.files.write(path, 0, offset, data)?;
        self.applet.file_updated(&mut self.files, path, 0);
        done()
    }

    /// SEEK of the SIM. P2: 0x finds, 1x tells the record's number too; x0 from the beginning, x1 backwards from the end, x2
    /// after the current record, x3 backwards before it. The record starts with the pattern.
    pub(super) fn seek(&mut self, p2: u8, pattern: &[u8]) -> Answered {
        let path = self.accessible(to_read)?;
        let records = self.files.records(path).ok_or(Refusal::FileKind)?;
        let octets = usize::from(self.files.record_octets(path).unwrap_or(0));
        if pattern.is_empty() || pattern.len() > octets.min(16) {
            return Err(Refusal::DataLength { expected: octets.min(16) });
        }
        let order = match (p2 & 0xEF, self.record) {
            (0x00, _) | (0x02, None) => forward(1, records),
            (0x01, _) | (0x03, None) => backward(records),
            (0x02, Some(current)) => forward(current.saturating_add(1), records),
            (0x03, Some(current)) => backward(current.saturating_sub(1)),
            _ => return Err(Refusal::Parameters),
        };
        let starts = |number: &u8| self.files.record(path, *number).is_ok_and(|record| record.starts_with(pattern));
        let found = order.into_iter().find(starts).ok_or(Refusal::PatternNotFound)?;
        self.record = Some(found);
        if p2 & 0x10 == 0 { done() } else { Ok(Answer::Waits(vec![found])) }
    }

    /// SEARCH RECORD of the UICC: the numbers of all records with the pattern. P2: 4 forward and 5 backward from record P1 (0:
    /// the current one), 6 enhanced: the first two data octets say direction and where the record is looked at.
    pub(super) fn search(&mut self, p1: u8, mode: u8, data: &[u8]) -> Answered {
        let path = self.accessible(to_read)?;
        let records = self.files.records(path).ok_or(Refusal::FileKind)?;
        let (indication, place, pattern) = match (mode, data) {
            (4 | 5, pattern) => (mode, 0, pattern),
            (6, [indication, place, pattern @ ..]) => (*indication, *place, pattern),
            (6, _) => return Err(Refusal::DataLength { expected: 3 }),
            _ => return Err(Refusal::Parameters),
        };
        if pattern.is_empty() {
            return Err(Refusal::DataLength { expected: 1 });
        }
        let start = match (p1, self.record) {
            (0, None) => None,
            (0, Some(current)) => Some(current),
            (number, _) if number <= records => Some(number),
            _ => return Err(Refusal::RecordNotFound),
        };
        let order = match indication & 0x07 {
            4 => forward(start.unwrap_or(1), records),
            5 => backward(start.unwrap_or(records)),
            6 => forward(start.map_or(1, |start| start.saturating_add(1)), records),
            7 => backward(start.map_or(records, |start| start.saturating_sub(1))),
            _ => return Err(Refusal::Parameters),
        };
        let has = |number: &u8| {
            let record = self.files.record(path, *number).unwrap_or_default();
            let start = match indication & 0x08 {
                0 => Some(usize::from(place)),
                _ => record.iter().position(|octet| *octet == place),
            };
            let looked_at = start.and_then(|start| record.get(start..)).unwrap_or_default();
            looked_at.windows(pattern.len()).any(|part| part == pattern)
        };
        let found: Vec<u8> = order.into_iter().filter(has).collect();
        self.record = Some(*found.first().ok_or(Refusal::PatternNotFound)?);
        Ok(Answer::Waits(found))
    }

    /// The record that P1 and the mode name. Absolute with P1 = 0: the current one.
    fn record_number(&self, path: Path, p1: u8, mode: u8) -> Result<u8, Refusal> {
        let records = self.files.records(path).ok_or(Refusal::FileKind)?;
        let number = match (mode, p1) {
            (ABSOLUTE, 0) => self.record,
            (ABSOLUTE, number) => Some(number),
            (NEXT, _) => self.record.map_or(Some(1), |current| current.checked_add(1)),
            (PREVIOUS, _) => self.record.map_or(Some(records), |current| current.checked_sub(1)),
            _ => return Err(Refusal::Parameters),
        };
        number.filter(|number| (1..=records).contains(number)).ok_or(Refusal::RecordNotFound)
    }

    /// Reading and writing by number leave the pointer where it is.
    fn point_at(&mut self, number: u8, mode: u8) {
        if mode != ABSOLUTE {
            self.record = Some(number);
        }
    }
}

/// Record numbers up to the last; none when the first is beyond it.
fn forward(from: u8, records: u8) -> Vec<u8> {
    (from..=records).collect()
}

/// Record numbers down to 1.
fn backward(from: u8) -> Vec<u8> {
    (1..=from).rev().collect()
}
