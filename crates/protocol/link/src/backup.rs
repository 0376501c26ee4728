//! Backup (Table 8) and its acknowledgement (Table 9).

use crate::{
    pid::{MessageType, Pid},
    record::{Assembler, NotAdded, Record},
};

/// Builds a backup message of at most `limit` octets and gives it the longest checksum that fits (D-17, D-21).
#[derive(Clone, Debug)]
pub struct Builder {
    assembler: Assembler,
    /// Octets of the whole message with its checksum.
    limit: usize,
}

impl Builder {
    /// For SMS: `limit` octets of application data ([`crate::SMS_OCTETS`], fewer inside a secured packet: D-120). Records
    /// come first, the checksum takes what is left.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { assembler: Assembler::new(MessageType::Backup, limit), limit }
    }

    /// For the IP link: [`crate::ip::PAYLOAD_OCTETS_MAX`] octets, always with the whole checksum (D-21).
    #[must_use]
    pub fn on_ip() -> Self {
        Self::on_ip_within(crate::ip::PAYLOAD_OCTETS_MAX)
    }

    /// As [`Self::on_ip`], in `limit` octets: inside a secured packet fewer (D-120).
    #[must_use]
    pub fn on_ip_within(limit: usize) -> Self {
        Self { assembler: Assembler::new(MessageType::Backup, limit.saturating_sub(FULL_CHECKSUM_OCTETS)), limit }
    }

    /// Adds a record; its data has the monitor row's length.
    ///
    /// # Errors
    /// [`NotAdded::Full`]: finish this message and start the next. [`NotAdded::TooLong`]: no message takes this record.
    pub fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        self.assembler.push(record)
    }

    /// Records added so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.assembler.count()
    }

    /// The message. `database_checksum` is that of the checksum table with this message's records applied (D-20).
    #[must_use]
    pub fn finish(self, database_checksum: u16) -> Vec<u8> {
        let room = self.limit.saturating_sub(self.assembler.octets_used());
        let checksum = PartialChecksum::that_fits(database_checksum, room);
        let mut octets = self.assembler.into_octets();
        if let Some(first) = octets.first_mut() {
            *first = checksum.pid().to_octet();
        }
        checksum.append_to(&mut octets);
        octets
    }
}

/// The trailing checksum of a backup: as much of the database checksum as there was room for (D-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialChecksum {
    Absent,
    /// The low-order octet.
    LowOctet(u8),
    Full(u16),
}

impl PartialChecksum {
    /// The largest of 2, 1 and 0 octets that fits into `room`.
    #[must_use]
    pub fn that_fits(database_checksum: u16, room: usize) -> Self {
        let [_, low] = database_checksum.to_be_bytes();
        match room {
            0 => Self::Absent,
            1 => Self::LowOctet(low),
            _ => Self::Full(database_checksum),
        }
    }

    /// 0, 1 or 2.
    #[must_use]
    pub fn octets(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::LowOctet(_) => 1,
            Self::Full(_) => 2,
        }
    }

    /// Compares what is there with the receiver's own database checksum; `None` when nothing is there.
    #[must_use]
    pub fn compare(self, database_checksum: u16) -> Option<bool> {
        match self {
            Self::Absent => None,
            checksum => Some(Self::that_fits(database_checksum, usize::from(checksum.octets())) == checksum),
        }
    }

    pub(crate) fn pid(self) -> Pid {
        Pid { message_type: MessageType::Backup, checksum_octets: self.octets() }
    }

    /// `octets` hold 0, 1 or 2 octets; `None` for more.
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        match *octets {
            [] => Some(Self::Absent),
            [low] => Some(Self::LowOctet(low)),
            [high, low] => Some(Self::Full(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }

    pub(crate) fn append_to(self, octets: &mut Vec<u8>) {
        match self {
            Self::Absent => {}
            Self::LowOctet(low) => octets.push(low),
            Self::Full(checksum) => octets.extend(checksum.to_be_bytes()),
        }
    }
}

/// One record of a backup acknowledgement (Table 9), 3 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckRecord {
    pub monitor_index: u8,
    pub record_number: u8,
    /// D-10: [`crate::reason::SUCCESS`] and its two neighbours.
    pub result: u8,
}

impl AckRecord {
    pub const OCTETS: usize = 3;

    /// Records that one acknowledgement of at most `limit` octets holds: 46 in a short message.
    #[must_use]
    pub fn per_message(limit: usize) -> usize {
        limit.saturating_sub(1) / Self::OCTETS
    }
}

const FULL_CHECKSUM_OCTETS: usize = 2;
