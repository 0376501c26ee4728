//! The records of Tables 8 and 10: monitor index, record number, data of the monitor row's length (D-17).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    message::MalformedMessage,
    monitor::MonitorTable,
    pid::{MessageType, Pid},
};

/// One record of a backup or a restore. Its `data` has the length of the monitor row; the decoder pads with FF.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub monitor_index: u8,
    /// GSM record number, from 1, absolute (D-18).
    pub record_number: u8,
    pub data: Bytes,
}

impl Record {
    /// Octets of monitor index and record number.
    pub const HEADER_OCTETS: usize = 2;

    /// All octets FF: the record is empty (D-22).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        is_empty(&self.data)
    }
}

/// The content is personal data: only its size is shown.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("monitor_index", &self.monitor_index)
            .field("record_number", &self.record_number)
            .field("data_octets", &self.data.len())
            .finish()
    }
}

/// Whether record content is empty: all octets FF (D-22).
#[must_use]
pub fn is_empty(data: &[u8]) -> bool {
    data.iter().all(|&octet| octet == FILL)
}

/// D-17: a record with a monitor index that no row holds has no known length. It and all after it are refused
/// (permanent failure, reason 0x04); what came before it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedTail {
    pub monitor_index: u8,
    pub record_number: u8,
}

/// Cuts `octets` (between PID and checksum) into records, and says where an unknown index ended the cutting.
pub(crate) fn decode(
    mut octets: Bytes,
    monitor: &MonitorTable,
) -> Result<(Vec<Record>, Option<RefusedTail>), MalformedMessage> {
    let mut records = Vec::new();
    while !octets.is_empty() {
        let &[monitor_index, record_number, ..] = octets.as_ref() else {
            return Err(MalformedMessage::Truncated { record: records.len(), expected: 2, actual: octets.len() });
        };
        let Some(row) = monitor.row(monitor_index) else {
            return Ok((records, Some(RefusedTail { monitor_index, record_number })));
        };
        let length = usize::from(row.data_octets);
        let mut rest = octets.split_off(Record::HEADER_OCTETS);
        let data = if rest.len() < length { pad(&std::mem::take(&mut rest), length) } else { rest.split_to(length) };
        records.push(Record { monitor_index, record_number, data });
        octets = rest;
    }
    if records.is_empty() {
        return Err(MalformedMessage::NoRecords);
    }
    Ok((records, None))
}

fn pad(data: &[u8], length: usize) -> Bytes {
    let mut padded = BytesMut::with_capacity(length);
    padded.extend_from_slice(data);
    padded.resize(length, FILL);
    padded.freeze()
}

/// Why a builder did not take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// The message is full: finish it and put the record into the next one.
    #[error("the message is full")]
    Full,
    /// The record would not fit even alone, and not all that exceeds the limit is FF (D-17).
    #[error("the record needs {needed} octets in a message of at most {limit}")]
    TooLong { needed: usize, limit: usize },
}

/// Puts records after a PID until the limit is reached; what the two builders share.
#[derive(Clone, Debug)]
pub(crate) struct Assembler {
    octets: Vec<u8>,
    /// Octets that PID and records may take.
    limit: usize,
    count: usize,
}

impl Assembler {
    pub fn new(message_type: MessageType, limit: usize) -> Self {
        Self { octets: vec![Pid::plain(message_type).to_octet()], limit, count: 0 }
    }

    /// Adds the record whole. A record that does not fit even alone loses as many trailing FF octets as it must (D-17
    /// as sharpened by D-124).
    pub fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        let needed = Record::HEADER_OCTETS + record.data.len();
        let room = self.limit.saturating_sub(self.octets.len());
        if needed <= room {
            self.append(record, record.data.len());
            return Ok(());
        }
        if self.count > 0 {
            return Err(NotAdded::Full);
        }
        let kept = room.saturating_sub(Record::HEADER_OCTETS);
        let trimmed = record.data.get(kept..).unwrap_or_default();
        if room < Record::HEADER_OCTETS || !is_empty(trimmed) {
            return Err(NotAdded::TooLong { needed: 1 + needed, limit: self.limit });
        }
        self.append(record, kept);
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// PID and records so far.
    pub fn octets_used(&self) -> usize {
        self.octets.len()
    }

    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    fn append(&mut self, record: &Record, data_octets: usize) {
        put_record(&mut self.octets, record.monitor_index, record.record_number, record.data.get(..data_octets));
        self.count += 1;
    }
}

pub(crate) fn put_record(octets: &mut Vec<u8>, monitor_index: u8, record_number: u8, data: Option<&[u8]>) {
    octets.put_u8(monitor_index);
    octets.put_u8(record_number);
    octets.put_slice(data.unwrap_or_default());
}

/// What an empty file record holds, and what trimmed octets were.
const FILL: u8 = 0xFF;
