//! Messages of the first embodiment: fixed lengths, four entries of EF_ADN each (Figs 10 and 11, D-04, D-23, D-24).
//!
//! A backup has 117 octets, and two more of checksum when the profile has `e1_crc` on; a restore has 119. Receivers take
//! both with both lengths. Places that hold no entry have record number 0, and their content counts for nothing.

use crate::{
    checksum::crc16,
    reason::{self, Outcome, Reason},
    record,
};

/// Entries in a message (Fig. 10).
pub const ENTRIES: usize = 4;
/// Octets of an entry: an EF_ADN record with an alpha identifier of 14 octets (D-25).
pub const ENTRY_OCTETS: usize = 28;
/// Octets of a message with entries, without its checksum.
pub const PLAIN_OCTETS: usize = 1 + ENTRIES * (1 + ENTRY_OCTETS);
/// Octets of a message with entries and checksum (D-24).
pub const CHECKED_OCTETS: usize = PLAIN_OCTETS + 2;
/// Octets of an acknowledgement (Fig. 11).
pub const ACKNOWLEDGEMENT_OCTETS: usize = 1 + 2 * ENTRIES;

/// Message IDs (D-04).
pub mod id {
    pub const BACKUP: u8 = 0x01;
    pub const RESTORE: u8 = 0x02;
    pub const ACKNOWLEDGEMENT: u8 = 0x03;
    pub const SERVICE_ON: u8 = 0x04;
    pub const SERVICE_OFF: u8 = 0x05;
    pub const RESYNCHRONISE: u8 = 0x06;
    pub const ERROR: u8 = 0x07;
}

/// An entry of the phonebook on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// 1 to 254.
    pub record_number: u8,
    pub data: [u8; ENTRY_OCTETS],
}

impl Entry {
    /// All octets FF: the entry was deleted (D-22).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        record::is_empty(&self.data)
    }
}

/// The content is personal data: only its place is shown.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("record_number", &self.record_number).finish_non_exhaustive()
    }
}

/// What became of an entry, a pair of Fig. 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryResult {
    /// 1 to 254.
    pub record_number: u8,
    /// D-10.
    pub result: u8,
}

impl EntryResult {
    #[must_use]
    pub fn is_success(&self) -> bool {
        Outcome::from_octet(self.result) == Outcome::Success
    }
}

/// Any message of the first embodiment. Entries and results beyond [`ENTRIES`] are not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `is_checked`: with the two octets of D-24 behind it.
    Backup {
        entries: Vec<Entry>,
        is_checked: bool,
    },
    /// Written with its checksum.
    Restore {
        entries: Vec<Entry>,
    },
    Acknowledgement {
        results: Vec<EntryResult>,
    },
    ServiceOn,
    ServiceOff,
    Resynchronise,
    /// The ID that was refused, and why (D-11).
    Error {
        refused: u8,
        reason: u8,
    },
}

/// Octets that are no message of the first embodiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the message is empty, expected at least its ID")]
    Empty,
    #[error("ID {id:02X} is none of the first embodiment (01 to 07)")]
    UnknownId { id: u8 },
    #[error("message {id:02X} has {actual} octets, expected {expected}")]
    Length { id: u8, expected: &'static str, actual: usize },
    #[error("message {id:02X} says its checksum is {told:04X}, its octets give {computed:04X}")]
    Checksum { id: u8, told: u16, computed: u16 },
}

impl Malformed {
    /// What an error message says of it (D-11).
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Empty | Self::Length { .. } => Reason::Malformed,
            Self::UnknownId { .. } => Reason::Unsupported,
            Self::Checksum { .. } => Reason::ChecksumMismatch,
        }
    }
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let (&id, body) = octets.split_first().ok_or(Malformed::Empty)?;
        let single = |message| match body {
            [] => Ok(message),
            _ => Err(Malformed::Length { id, expected: "1", actual: octets.len() }),
        };
        match id {
            id::BACKUP => {
                let (entries, is_checked) = decode_entries(id, octets)?;
                Ok(Self::Backup { entries, is_checked })
            }
            id::RESTORE => decode_entries(id, octets).map(|(entries, _)| Self::Restore { entries }),
            id::ACKNOWLEDGEMENT => {
                let (pairs, rest) = body.as_chunks::<2>();
                if pairs.len() != ENTRIES || !rest.is_empty() {
                    return Err(Malformed::Length { id, expected: "9", actual: octets.len() });
                }
                let results = pairs.iter().filter(|[record_number, _]| *record_number != 0);
                let results = results.map(|&[record_number, result]| EntryResult { record_number, result });
                Ok(Self::Acknowledgement { results: results.collect() })
            }
            id::SERVICE_ON => single(Self::ServiceOn),
            id::SERVICE_OFF => single(Self::ServiceOff),
            id::RESYNCHRONISE => single(Self::Resynchronise),
            id::ERROR => match *body {
                [refused, reason] => Ok(Self::Error { refused, reason }),
                _ => Err(Malformed::Length { id, expected: "3", actual: octets.len() }),
            },
            _ => Err(Malformed::UnknownId { id }),
        }
    }

    /// The octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Backup { entries, is_checked } => encode_entries(id::BACKUP, entries, *is_checked),
            Self::Restore { entries } => encode_entries(id::RESTORE, entries, true),
            Self::Acknowledgement { results } => {
                let nothing = EntryResult { record_number: 0, result: reason::SUCCESS };
                let places = results.iter().chain(std::iter::repeat(&nothing)).take(ENTRIES);
                let pairs = places.flat_map(|place| [place.record_number, place.result]);
                std::iter::once(id::ACKNOWLEDGEMENT).chain(pairs).collect()
            }
            Self::ServiceOn => vec![id::SERVICE_ON],
            Self::ServiceOff => vec![id::SERVICE_OFF],
            Self::Resynchronise => vec![id::RESYNCHRONISE],
            Self::Error { refused, reason } => vec![id::ERROR, *refused, *reason],
        }
    }
}

/// The entries, and whether a checksum (that was right) came with them.
fn decode_entries(id: u8, octets: &[u8]) -> Result<(Vec<Entry>, bool), Malformed> {
    let length = Malformed::Length { id, expected: "117 or 119", actual: octets.len() };
    let (message, checksum) = octets.split_at_checked(PLAIN_OCTETS).ok_or(length)?;
    let is_checked = match *checksum {
        [] => false,
        [high, low] => {
            let (told, computed) = (u16::from_be_bytes([high, low]), crc16(message));
            if told != computed {
                return Err(Malformed::Checksum { id, told, computed });
            }
            true
        }
        _ => return Err(length),
    };
    let (places, _) = message.get(1..).unwrap_or_default().as_chunks::<{ 1 + ENTRY_OCTETS }>();
    let entries = places.iter().filter_map(|[record_number, data @ ..]| {
        (*record_number != 0).then_some(Entry { record_number: *record_number, data: *data })
    });
    Ok((entries.collect(), is_checked))
}

fn encode_entries(id: u8, entries: &[Entry], is_checked: bool) -> Vec<u8> {
    let nothing = Entry { record_number: 0, data: [0xFF; ENTRY_OCTETS] };
    let mut octets = Vec::with_capacity(CHECKED_OCTETS);
    octets.push(id);
    for entry in entries.iter().chain(std::iter::repeat(&nothing)).take(ENTRIES) {
        octets.push(entry.record_number);
        octets.extend(entry.data);
    }
    if is_checked {
        octets.extend(crc16(&octets).to_be_bytes());
    }
    octets
}
