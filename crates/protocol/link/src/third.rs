//! Messages of the third embodiment: sets of tagged fields, as many as fit (Tables 13 to 15, D-05, D-27).
//!
//! A [`Set`] is one EF_ADN record without what is absent (FF). [`messages`] puts sets into Change messages and a final
//! Change Complete, or into their counterparts of a restore; [`FILE_CHECK`] is what a whole file is checked with.

use bytes::{BufMut, Bytes};

use crate::{
    checksum,
    reason::Reason,
    record::{self, NotAdded},
};

/// Protocol version ID (D-05).
pub const VERSION: u8 = 0x01;
/// Data type: the abbreviated dialling numbers (D-05).
pub const ADN: u8 = 0x01;
/// Octets of an EF_ADN record behind its alpha identifier.
pub const ADN_TAIL_OCTETS: usize = 14;
/// Octets of the dialling number in EF_ADN.
const NUMBER_OCTETS: usize = 10;

/// Message IDs (D-05).
pub mod id {
    pub const CHANGE: u8 = 0x81;
    pub const CHANGE_COMPLETE: u8 = 0x82;
    pub const CONTROL: u8 = 0x83;
    pub const ERROR: u8 = 0x84;
    pub const CONFIRMATION: u8 = 0x85;
    pub const RESTORE: u8 = 0x86;
    pub const RESTORE_COMPLETE: u8 = 0x87;
}

/// Tags of a set (D-27).
mod tag {
    pub const RECORD_NUMBER: u8 = 0x01;
    pub const ALPHA: u8 = 0x02;
    pub const TON_NPI: u8 = 0x03;
    pub const NUMBER: u8 = 0x04;
    pub const CAPABILITY: u8 = 0x05;
    pub const EXTENSION: u8 = 0x06;
    pub const DELETED: u8 = 0x07;
}

/// What a Control message asks for (D-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Restore,
    Resynchronise,
    /// Send what waits.
    Poll,
    Other(u8),
}

impl Request {
    #[must_use]
    pub fn from_octet(octet: u8) -> Self {
        match octet {
            0x01 => Self::Restore,
            0x02 => Self::Resynchronise,
            0x03 => Self::Poll,
            other => Self::Other(other),
        }
    }

    #[must_use]
    pub fn to_octet(self) -> u8 {
        match self {
            Self::Restore => 0x01,
            Self::Resynchronise => 0x02,
            Self::Poll => 0x03,
            Self::Other(octet) => octet,
        }
    }
}

/// One record of EF_ADN, field by field; an absent field is FF in the record.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Set {
    pub record_number: u8,
    /// Without the FF octets behind it.
    pub alpha: Option<Bytes>,
    pub ton_npi: Option<u8>,
    /// Swapped BCD, at most 10 octets.
    pub number: Option<Bytes>,
    pub capability: Option<u8>,
    pub extension: Option<u8>,
    /// The record is empty; no other field counts.
    pub is_deleted: bool,
}

/// The content is personal data: only its place is shown.
impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Set")
            .field("record_number", &self.record_number)
            .field("is_deleted", &self.is_deleted)
            .finish_non_exhaustive()
    }
}

impl Set {
    /// The fields of an EF_ADN record; `None` when it is shorter than [`ADN_TAIL_OCTETS`] or its length octet is neither
    /// FF nor 1 to 11, for such a record has no place in a set.
    #[must_use]
    pub fn of_record(record_number: u8, octets: &[u8]) -> Option<Self> {
        let (alpha, tail) = octets.split_at_checked(octets.len().checked_sub(ADN_TAIL_OCTETS)?)?;
        if record::is_empty(octets) {
            return Some(Self { record_number, is_deleted: true, ..Self::default() });
        }
        let &[length, ton_npi, ref number @ .., capability, extension] = tail else { return None };
        let digits = match length {
            0xFF => None,
            1..=11 => number.get(..usize::from(length) - 1),
            _ => return None,
        };
        let named = alpha.iter().rposition(|octet| *octet != 0xFF).map_or(0, |last| last + 1);
        let present = |octet: u8| Some(octet).filter(|octet| *octet != 0xFF);
        Some(Self {
            record_number,
            alpha: alpha.get(..named).filter(|alpha| !alpha.is_empty()).map(Bytes::copy_from_slice),
            ton_npi: digits.and(present(ton_npi)),
            number: digits.filter(|digits| !digits.is_empty()).map(Bytes::copy_from_slice),
            capability: present(capability),
            extension: present(extension),
            is_deleted: false,
        })
    }

    /// The record of `octets` octets that holds these fields; `None` when the alpha identifier or the number is too long
    /// for it.
    #[must_use]
    pub fn to_record(&self, octets: usize) -> Option<Vec<u8>> {
        let alpha_octets = octets.checked_sub(ADN_TAIL_OCTETS)?;
        let mut record = vec![0xFF; octets];
        if self.is_deleted {
            return Some(record);
        }
        if let Some(alpha) = &self.alpha {
            record.get_mut(..alpha_octets)?.get_mut(..alpha.len())?.copy_from_slice(alpha);
        }
        let [length, ton_npi, number @ .., capability, extension] = record.get_mut(alpha_octets..)? else {
            return None;
        };
        if self.ton_npi.is_some() || self.number.is_some() {
            let digits = self.number.as_deref().unwrap_or_default();
            number.get_mut(..digits.len())?.copy_from_slice(digits);
            *length = u8::try_from(1 + digits.len()).ok()?;
        }
        *ton_npi = self.ton_npi.unwrap_or(0xFF);
        *capability = self.capability.unwrap_or(0xFF);
        *extension = self.extension.unwrap_or(0xFF);
        Some(record)
    }

    /// The fields in the order of their tags.
    pub fn append_to(&self, octets: &mut Vec<u8>) {
        put(octets, tag::RECORD_NUMBER, &[self.record_number]);
        if self.is_deleted {
            put(octets, tag::DELETED, &[]);
            return;
        }
        let single = |octet: &Option<u8>| octet.map(|octet| [octet]);
        put_some(octets, tag::ALPHA, self.alpha.as_ref());
        put_some(octets, tag::TON_NPI, single(&self.ton_npi).as_ref());
        put_some(octets, tag::NUMBER, self.number.as_ref());
        put_some(octets, tag::CAPABILITY, single(&self.capability).as_ref());
        put_some(octets, tag::EXTENSION, single(&self.extension).as_ref());
    }

    fn take(&mut self, tag: u8, value: &Bytes) -> Result<(), Malformed> {
        let single = || match value.as_ref() {
            [octet] => Ok(Some(*octet)),
            _ => Err(Malformed::FieldLength { tag, expected: "1", actual: value.len() }),
        };
        match tag {
            tag::ALPHA => self.alpha = Some(value.clone()),
            tag::TON_NPI => self.ton_npi = single()?,
            tag::NUMBER if value.len() > NUMBER_OCTETS => {
                return Err(Malformed::FieldLength { tag, expected: "at most 10", actual: value.len() });
            }
            tag::NUMBER => self.number = Some(value.clone()),
            tag::CAPABILITY => self.capability = single()?,
            tag::EXTENSION => self.extension = single()?,
            tag::DELETED => self.is_deleted = true,
            // S3-MF-03: skipped by its length.
            _ => {}
        }
        if self.is_deleted {
            *self = Self { record_number: self.record_number, is_deleted: true, ..Self::default() };
        }
        Ok(())
    }
}

fn put_some(octets: &mut Vec<u8>, tag: u8, value: Option<impl AsRef<[u8]>>) {
    if let Some(value) = value {
        put(octets, tag, value.as_ref());
    }
}

/// A value longer than a length octet can say is cut: [`Set::of_record`] gives none.
fn put(octets: &mut Vec<u8>, tag: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    octets.put_u8(tag);
    octets.put_u8(length);
    octets.extend(value.iter().take(usize::from(length)));
}

/// Any message of the third embodiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Table 13: more follows.
    Change {
        sets: Vec<Set>,
    },
    /// Table 14: the last of a backup. `check_data`: see [`check_data`].
    ChangeComplete {
        check_data: u16,
        sets: Vec<Set>,
    },
    /// Table 15.
    Control {
        request: Request,
    },
    /// D-11.
    Error {
        reason: u8,
    },
    /// D-10.
    Confirmation {
        result: u8,
    },
    Restore {
        sets: Vec<Set>,
    },
    RestoreComplete {
        check_data: u16,
        sets: Vec<Set>,
    },
}

/// Octets that are no message of the third embodiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("ID {id:02X} is none of the third embodiment (81 to 87)")]
    UnknownId { id: u8 },
    #[error("protocol version {version:02X}, expected 01")]
    UnknownVersion { version: u8 },
    #[error("data type {data_type:02X}, expected 01 (ADN)")]
    UnknownDataType { data_type: u8 },
    #[error("message of {actual} octets, expected {expected}")]
    Length { expected: &'static str, actual: usize },
    #[error("field {tag:02X} has {actual} octets, expected {expected}")]
    FieldLength { tag: u8, expected: &'static str, actual: usize },
    #[error("field {tag:02X} stands before any record number")]
    NoRecordNumber { tag: u8 },
}

impl Malformed {
    /// What an error message says of it (D-11): 0x0C for what may be legal one day (S3-MF-09), 0x0B otherwise.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownId { .. } | Self::UnknownVersion { .. } | Self::UnknownDataType { .. } => Reason::Unsupported,
            Self::Length { .. } | Self::FieldLength { .. } | Self::NoRecordNumber { .. } => Reason::Malformed,
        }
    }
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let short = |expected| Malformed::Length { expected, actual: octets.len() };
        let (&id, rest) = octets.split_first().ok_or(short("at least 3"))?;
        if !(id::CHANGE..=id::RESTORE_COMPLETE).contains(&id) {
            return Err(Malformed::UnknownId { id });
        }
        let (&version, rest) = rest.split_first().ok_or(short("at least 3"))?;
        if version != VERSION {
            return Err(Malformed::UnknownVersion { version });
        }
        let (&third, rest) = rest.split_first().ok_or(short("at least 3"))?;
        match (id, rest) {
            (id::CONTROL, []) => return Ok(Self::Control { request: Request::from_octet(third) }),
            (id::ERROR, []) => return Ok(Self::Error { reason: third }),
            (id::CONTROL | id::ERROR, _) => return Err(short("3")),
            _ => {}
        }
        if third != ADN {
            return Err(Malformed::UnknownDataType { data_type: third });
        }
        match (id, rest) {
            (id::CONFIRMATION, &[result]) => Ok(Self::Confirmation { result }),
            (id::CONFIRMATION, _) => Err(short("4")),
            (id::CHANGE, sets) => Ok(Self::Change { sets: decode_sets(sets)? }),
            (id::RESTORE, sets) => Ok(Self::Restore { sets: decode_sets(sets)? }),
            (_, &[high, low, ref sets @ ..]) => {
                let (check_data, sets) = (u16::from_be_bytes([high, low]), decode_sets(sets)?);
                Ok(match id {
                    id::CHANGE_COMPLETE => Self::ChangeComplete { check_data, sets },
                    _ => Self::RestoreComplete { check_data, sets },
                })
            }
            _ => Err(short("at least 5")),
        }
    }

    /// The octets. [`messages`] is what keeps to a limit.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (id, third) = match self {
            Self::Change { .. } => (id::CHANGE, ADN),
            Self::ChangeComplete { .. } => (id::CHANGE_COMPLETE, ADN),
            Self::Control { request } => (id::CONTROL, request.to_octet()),
            Self::Error { reason } => (id::ERROR, *reason),
            Self::Confirmation { .. } => (id::CONFIRMATION, ADN),
            Self::Restore { .. } => (id::RESTORE, ADN),
            Self::RestoreComplete { .. } => (id::RESTORE_COMPLETE, ADN),
        };
        let mut octets = vec![id, VERSION, third];
        match self {
            Self::Control { .. } | Self::Error { .. } => {}
            Self::Confirmation { result } => octets.put_u8(*result),
            Self::Change { sets } | Self::Restore { sets } => sets.iter().for_each(|set| set.append_to(&mut octets)),
            Self::ChangeComplete { check_data, sets } | Self::RestoreComplete { check_data, sets } => {
                octets.put_u16(*check_data);
                sets.iter().for_each(|set| set.append_to(&mut octets));
            }
        }
        octets
    }
}

fn decode_sets(mut octets: &[u8]) -> Result<Vec<Set>, Malformed> {
    let mut sets: Vec<Set> = Vec::new();
    while let Some((&tag, rest)) = octets.split_first() {
        let cut = Malformed::FieldLength { tag, expected: "the octets that its length says", actual: rest.len() };
        let (&length, rest) = rest.split_first().ok_or(cut)?;
        let (value, rest) = rest.split_at_checked(usize::from(length)).ok_or(cut)?;
        match (tag, value, sets.last_mut()) {
            (tag::RECORD_NUMBER, &[record_number], _) => sets.push(Set { record_number, ..Set::default() }),
            (tag::RECORD_NUMBER, _, _) => {
                return Err(Malformed::FieldLength { tag, expected: "1", actual: value.len() });
            }
            (_, _, None) => return Err(Malformed::NoRecordNumber { tag }),
            (_, _, Some(set)) => set.take(tag, &Bytes::copy_from_slice(value))?,
        }
        octets = rest;
    }
    Ok(sets)
}

/// How a file is checked: two octets over the sets of its records, in the order of their numbers.
pub type FileCheck = fn(&[Set]) -> u16;

/// What card and centre check a file with. Another error detection than a checksum is put in its place here (S3-SV-05).
pub const FILE_CHECK: FileCheck = |file| check_data(file);

/// Check data (S3-MF-06, D-27): over the sets of all non-empty records of the file, in the order of their numbers.
#[must_use]
pub fn check_data<'a>(records: impl IntoIterator<Item = &'a Set>) -> u16 {
    let mut octets = Vec::new();
    records.into_iter().filter(|set| !set.is_deleted).fold(checksum::crc16(&[]), |crc, set| {
        octets.clear();
        set.append_to(&mut octets);
        checksum::extend(crc, &octets)
    })
}

/// Which way sets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Change and Change Complete, from the card.
    Backup,
    /// Restore and Restore Complete, from the centre.
    Restore,
}

/// The sets in as few messages of at most `limit` octets as their order allows; the last is the Complete, alone when
/// everything fits (S3-MF-05, S3-BK-04). A set is never split.
///
/// # Errors
/// [`NotAdded::TooLong`]: a set that no message takes.
pub fn messages(direction: Direction, sets: &[Set], check_data: u16, limit: usize) -> Result<Vec<Vec<u8>>, NotAdded> {
    /// Octets before the sets of a Complete.
    const COMPLETE_HEADER: usize = 5;
    let mut groups: Vec<(usize, Vec<Set>)> = vec![(COMPLETE_HEADER, Vec::new())];
    let mut encoded = Vec::new();
    for set in sets {
        encoded.clear();
        set.append_to(&mut encoded);
        let needed = COMPLETE_HEADER + encoded.len();
        if needed > limit {
            return Err(NotAdded::TooLong { needed, limit });
        }
        // Room is counted as in a Complete: any message may turn out to be the last.
        match groups.last_mut() {
            Some((octets, group)) if *octets + encoded.len() <= limit => {
                *octets += encoded.len();
                group.push(set.clone());
            }
            _ => groups.push((needed, vec![set.clone()])),
        }
    }
    let last = groups.len() - 1;
    let encode = |(at, (_, sets)): (usize, (usize, Vec<Set>))| match (direction, at == last) {
        (Direction::Backup, false) => Message::Change { sets }.encode(),
        (Direction::Backup, true) => Message::ChangeComplete { check_data, sets }.encode(),
        (Direction::Restore, false) => Message::Restore { sets }.encode(),
        (Direction::Restore, true) => Message::RestoreComplete { check_data, sets }.encode(),
    };
    Ok(groups.into_iter().enumerate().map(encode).collect())
}
