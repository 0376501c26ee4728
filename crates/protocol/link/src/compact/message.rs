//! Messages of the compact types, and the choice between compact and plain.

use super::stream::{self, Writer};
use crate::{
    backup::PartialChecksum,
    message::MalformedMessage,
    monitor::MonitorTable,
    pid::{MessageType, Pid},
    record::{Assembler, NotAdded, Record, RefusedTail},
};

/// The format octet: version 1 of the tables and of the stream in its first two bits, the row of known numbers in the others.
pub const FORMAT: u8 = 0x40;
/// The bits of the row.
const ROW: u8 = 0x3F;

/// Whether it is a format octet of this version, with a row that there is.
#[must_use]
pub fn is_format(octet: u8) -> bool {
    octet & !ROW == FORMAT && stream::is_row(octet & ROW)
}

/// Records of one compact message at most, so that few octets cannot ask for much memory.
pub const RECORDS_MAX: usize = 255;
/// PID and format octet.
const HEADER_OCTETS: usize = 2;

/// Builds a backup or restore message of at most `limit` octets, compact or plain: whichever holds the records in fewer
/// octets (D-08). Its use is that of [`crate::backup::Builder`] and [`crate::restore::Builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    /// `None`: a record did not fit.
    plain: Option<Assembler>,
    compact: Option<Writer>,
    compact_type: MessageType,
    /// Octets that the records may take, with all before them.
    records_limit: usize,
    /// Octets of the whole message.
    limit: usize,
    count: usize,
}

impl Builder {
    /// A backup on SMS; see [`crate::backup::Builder::new`].
    #[must_use]
    pub fn backup(limit: usize) -> Self {
        Self::new(MessageType::Backup, MessageType::CompactBackup, limit, limit)
    }

    /// A backup on the IP link of at most `limit` octets; see [`crate::backup::Builder::on_ip_within`].
    #[must_use]
    pub fn backup_on_ip(limit: usize) -> Self {
        Self::new(MessageType::Backup, MessageType::CompactBackup, limit.saturating_sub(FULL_CHECKSUM_OCTETS), limit)
    }

    /// A restore; see [`crate::restore::Builder::new`].
    #[must_use]
    pub fn restore(limit: usize) -> Self {
        Self::new(MessageType::Restore, MessageType::CompactRestore, limit, limit)
    }

    /// Without the compact form unless `is_on`: it is off by default.
    #[must_use]
    pub fn compact(mut self, is_on: bool) -> Self {
        self.compact = self.compact.filter(|_| is_on);
        self
    }

    fn new(plain_type: MessageType, compact_type: MessageType, records_limit: usize, limit: usize) -> Self {
        let plain = Some(Assembler::new(plain_type, records_limit));
        Self { plain, compact: Some(Writer::new()), compact_type, records_limit, limit, count: 0 }
    }

    /// Adds a record; its data has the monitor row's length.
    ///
    /// # Errors
    /// [`NotAdded::Full`]: finish this message and start the next. [`NotAdded::TooLong`]: no message takes this record.
    pub fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        let plain = self.plain.as_mut().map_or(Err(NotAdded::Full), |plain| plain.push(record));
        let octets_max = self.records_limit.saturating_sub(HEADER_OCTETS);
        let is_in_compact = self.compact.as_mut().is_some_and(|compact| compact.push(record, octets_max));
        if plain.is_err() && !is_in_compact {
            return plain;
        }
        if plain.is_err() {
            self.plain = None;
        }
        if !is_in_compact {
            self.compact = None;
        }
        self.count += 1;
        Ok(())
    }

    /// Records added so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The backup, with as much of the checksum as there is room for (D-21). `database_checksum`: that of the checksum table
    /// with this message's records applied (D-20).
    #[must_use]
    pub fn finish_backup(self, database_checksum: u16) -> Vec<u8> {
        let limit = self.limit;
        let mut octets = self.finish();
        let checksum = PartialChecksum::that_fits(database_checksum, limit.saturating_sub(octets.len()));
        if let Some(first) = octets.first_mut() {
            *first |= checksum.octets();
        }
        checksum.append_to(&mut octets);
        octets
    }

    /// The restore.
    #[must_use]
    pub fn finish_restore(self) -> Vec<u8> {
        self.finish()
    }

    fn finish(self) -> Vec<u8> {
        let plain_octets = self.plain.as_ref().map(Assembler::octets_used);
        match self.compact.filter(|compact| plain_octets.is_none_or(|plain| HEADER_OCTETS + compact.octets() < plain)) {
            Some(compact) => {
                let (row, stream) = compact.finish();
                [vec![Pid::plain(self.compact_type).to_octet(), FORMAT | row & ROW], stream].concat()
            }
            None => self.plain.map(Assembler::into_octets).unwrap_or_default(),
        }
    }
}

/// Reads what is between PID and checksum: the format octet and the stream.
pub(crate) fn decode(
    octets: &[u8],
    monitor: &MonitorTable,
) -> Result<(Vec<Record>, Option<RefusedTail>), MalformedMessage> {
    match octets.split_first() {
        None => Err(MalformedMessage::NoRecords),
        Some((&format, bits)) if is_format(format) => stream::read(format & ROW, bits, monitor),
        Some((&format, _)) => Err(MalformedMessage::UnsupportedFormat { format }),
    }
}

const FULL_CHECKSUM_OCTETS: usize = 2;
