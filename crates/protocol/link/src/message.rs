//! A message of the second embodiment: octets to value and back (Tables 8 to 12, D-12 to D-17, D-20, D-21).
//!
//! The decoder needs the monitor table, for records carry no length of their own. The two types with records of that
//! kind are built with [`crate::backup::Builder`] and [`crate::restore::Builder`], which keep to a size limit, or with
//! [`crate::compact::Builder`]; all others are small and have [`Message::encode`] alone. The compact types 10 and 11 are
//! another way to write types 1 and 3: they are read as these, and [`Message::encode`] does not write them.

use bytes::Bytes;

use crate::{
    addressable, compact,
    configuration::{self, ConfigurationItem},
    monitor::MonitorTable,
    pid::{MessageType, Pid},
    reason::Reason,
    record,
};
pub use crate::{
    addressable::AddressedRecord,
    backup::{AckRecord, PartialChecksum},
    file_result::FileResult,
    record::{Record, RefusedTail},
    restore::RequestedRange,
};

/// Any message that the card or the centre sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Table 8, or its compact form (type 10). `refused`: an unknown monitor index ended the cutting into records (D-17).
    Backup { records: Vec<Record>, checksum: PartialChecksum, refused: Option<RefusedTail> },
    /// Table 9.
    BackupAcknowledgement { records: Vec<AckRecord> },
    /// Table 10, or its compact form (type 11). `refused` as for backup.
    Restore { records: Vec<Record>, refused: Option<RefusedTail> },
    /// Table 11.
    RestoreAcknowledgement { records: Vec<FileResult> },
    /// D-14.
    AddressableRestore { records: Vec<AddressedRecord> },
    /// Table 12. `unparsed`: the CID at which parsing ended, because it is unknown or its data is cut off (D-12).
    Configuration { items: Vec<ConfigurationItem>, unparsed: Option<u8> },
    /// D-13: CID and result (D-10).
    ConfigurationAcknowledgement { records: Vec<(u8, u8)> },
    /// D-15; no ranges: everything.
    RestoreRequest { ranges: Vec<RequestedRange> },
    /// D-16.
    Error { records: Vec<FileResult> },
}

/// Octets that are no message. The link survives; the sender gets an error with [`Self::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedMessage {
    #[error("the message is empty, expected at least a PID")]
    Empty,
    #[error("first octet {first:02X} is no PID of the second embodiment (08 to 5F)")]
    NotSecondEmbodiment { first: u8 },
    #[error("checksum of {octets} octets announced in a {message_type:?} message, supported: at most {supported}")]
    UnsupportedChecksumLength { message_type: MessageType, octets: u8, supported: u8 },
    #[error("{actual} octets after the PID, too few for the announced checksum of {expected}")]
    ChecksumTruncated { expected: usize, actual: usize },
    #[error("no record, expected at least one")]
    NoRecords,
    #[error("format {format:02X} of a compact message, expected 40 to 66")]
    UnsupportedFormat { format: u8 },
    /// `record` and `bit` (of the stream after the format octet) count from 0.
    #[error("record {record} of a compact message has {what} at bit {bit}")]
    CompactStream { record: usize, bit: usize, what: &'static str },
    /// `record` counts from 0.
    #[error("record {record} has {actual} octets, expected at least {expected}")]
    Truncated { record: usize, expected: usize, actual: usize },
}

impl MalformedMessage {
    /// What an error message says of it (D-11): 0x0C for what may be legal one day, 0x0B otherwise.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotSecondEmbodiment { .. }
            | Self::UnsupportedFormat { .. }
            | Self::UnsupportedChecksumLength { .. } => Reason::Unsupported,
            Self::Empty
            | Self::ChecksumTruncated { .. }
            | Self::NoRecords
            | Self::CompactStream { .. }
            | Self::Truncated { .. } => Reason::Malformed,
        }
    }
}

impl Message {
    /// Reads one whole message. `monitor` gives the lengths of the records (D-17); the other types ignore it.
    ///
    /// # Errors
    /// [`MalformedMessage`] says what is wrong and where.
    pub fn decode(octets: &[u8], monitor: &MonitorTable) -> Result<Self, MalformedMessage> {
        let (&first, body) = octets.split_first().ok_or(MalformedMessage::Empty)?;
        let pid = Pid::from_octet(first).ok_or(MalformedMessage::NotSecondEmbodiment { first })?;
        check_checksum_length(pid)?;
        match pid.message_type {
            MessageType::Backup | MessageType::CompactBackup => decode_backup(body, pid, monitor),
            MessageType::BackupAcknowledgement => {
                let records = fixed_records(body, |[monitor_index, record_number, result]| AckRecord {
                    monitor_index,
                    record_number,
                    result,
                })?;
                some(records).map(|records| Self::BackupAcknowledgement { records })
            }
            MessageType::Restore | MessageType::CompactRestore => {
                let (records, refused) = decode_records(body, pid.message_type, monitor)?;
                Ok(Self::Restore { records, refused })
            }
            MessageType::RestoreAcknowledgement => some(fixed_records(body, FileResult::from_octets)?)
                .map(|records| Self::RestoreAcknowledgement { records }),
            MessageType::AddressableRestore => {
                let records = addressable::decode(Bytes::copy_from_slice(body))?;
                Ok(Self::AddressableRestore { records })
            }
            MessageType::Configuration => {
                let (items, unparsed) = configuration::decode(Bytes::copy_from_slice(body))?;
                Ok(Self::Configuration { items, unparsed })
            }
            MessageType::ConfigurationAcknowledgement => some(fixed_records(body, |[cid, result]| (cid, result))?)
                .map(|records| Self::ConfigurationAcknowledgement { records }),
            MessageType::RestoreRequest => {
                let ranges = fixed_records(body, |[monitor_index, first_record, count]| RequestedRange {
                    monitor_index,
                    first_record,
                    count,
                })?;
                Ok(Self::RestoreRequest { ranges })
            }
            MessageType::Error => {
                some(fixed_records(body, FileResult::from_octets)?).map(|records| Self::Error { records })
            }
        }
    }

    #[must_use]
    pub fn message_type(&self) -> MessageType {
        match self {
            Self::Backup { .. } => MessageType::Backup,
            Self::BackupAcknowledgement { .. } => MessageType::BackupAcknowledgement,
            Self::Restore { .. } => MessageType::Restore,
            Self::RestoreAcknowledgement { .. } => MessageType::RestoreAcknowledgement,
            Self::AddressableRestore { .. } => MessageType::AddressableRestore,
            Self::Configuration { .. } => MessageType::Configuration,
            Self::ConfigurationAcknowledgement { .. } => MessageType::ConfigurationAcknowledgement,
            Self::RestoreRequest { .. } => MessageType::RestoreRequest,
            Self::Error { .. } => MessageType::Error,
        }
    }

    /// The octets, never compact. Records of backup and restore are written as they are: the builders are what trims and limits.
    /// What an unknown index or CID refused is not written again, nor what of an addressed record lies beyond the last data
    /// offset.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = vec![Pid::plain(self.message_type()).to_octet()];
        match self {
            Self::Backup { records, checksum, .. } => {
                octets = vec![checksum.pid().to_octet()];
                put_records(&mut octets, records);
                checksum.append_to(&mut octets);
            }
            Self::Restore { records, .. } => put_records(&mut octets, records),
            Self::BackupAcknowledgement { records } => {
                octets.extend(records.iter().flat_map(|each| [each.monitor_index, each.record_number, each.result]));
            }
            Self::RestoreAcknowledgement { records } | Self::Error { records } => {
                octets.extend(records.iter().flat_map(|each| each.to_octets()));
            }
            Self::AddressableRestore { records } => records.iter().for_each(|each| each.append_to(&mut octets)),
            Self::Configuration { items, .. } => items.iter().for_each(|each| each.append_to(&mut octets)),
            Self::ConfigurationAcknowledgement { records } => {
                octets.extend(records.iter().flat_map(|&(cid, result)| [cid, result]));
            }
            Self::RestoreRequest { ranges } => {
                octets.extend(ranges.iter().flat_map(|each| [each.monitor_index, each.first_record, each.count]));
            }
        }
        octets
    }
}

/// D-21: 3 to 7 octets are not supported; D-03: only the backup types carry a checksum at all.
fn check_checksum_length(pid: Pid) -> Result<(), MalformedMessage> {
    let Pid { message_type, checksum_octets: octets } = pid;
    let supported = if message_type.carries_checksum() { 2 } else { 0 };
    if octets > supported {
        return Err(MalformedMessage::UnsupportedChecksumLength { message_type, octets, supported });
    }
    Ok(())
}

fn decode_backup(body: &[u8], pid: Pid, monitor: &MonitorTable) -> Result<Message, MalformedMessage> {
    let checksum_octets = usize::from(pid.checksum_octets);
    let truncated = MalformedMessage::ChecksumTruncated { expected: checksum_octets, actual: body.len() };
    let records_end = body.len().checked_sub(checksum_octets).ok_or(truncated)?;
    let (records, checksum) = body.split_at(records_end);
    let checksum = PartialChecksum::from_octets(checksum).ok_or(truncated)?;
    let (records, refused) = decode_records(records, pid.message_type, monitor)?;
    Ok(Message::Backup { records, checksum, refused })
}

/// What is between PID and checksum.
fn decode_records(
    octets: &[u8],
    message_type: MessageType,
    monitor: &MonitorTable,
) -> Result<(Vec<Record>, Option<RefusedTail>), MalformedMessage> {
    match message_type {
        MessageType::CompactBackup | MessageType::CompactRestore => compact::decode(octets, monitor),
        _ => record::decode(Bytes::copy_from_slice(octets), monitor),
    }
}

/// Cuts `body` into records of `N` octets; nothing may be left over.
fn fixed_records<const N: usize, T>(body: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, MalformedMessage> {
    let (chunks, rest) = body.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(MalformedMessage::Truncated { record: chunks.len(), expected: N, actual: rest.len() });
    }
    Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
}

fn some<T>(records: Vec<T>) -> Result<Vec<T>, MalformedMessage> {
    if records.is_empty() { Err(MalformedMessage::NoRecords) } else { Ok(records) }
}

fn put_records(octets: &mut Vec<u8>, records: &[Record]) {
    for each in records {
        record::put_record(octets, each.monitor_index, each.record_number, Some(&each.data));
    }
}
