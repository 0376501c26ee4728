//! Restore (Table 10) and restore request (D-15). The restore's acknowledgement is in [`crate::file_result`].

use crate::{
    pid::MessageType,
    record::{Assembler, NotAdded, Record},
};

/// Builds a restore message of at most `limit` octets; it carries no checksum.
#[derive(Clone, Debug)]
pub struct Builder {
    assembler: Assembler,
}

impl Builder {
    /// `limit`: [`crate::SMS_OCTETS`], or [`crate::ip::PAYLOAD_OCTETS_MAX`], or fewer inside a secured packet (D-120).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { assembler: Assembler::new(MessageType::Restore, limit) }
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

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.assembler.into_octets()
    }
}

/// One range of a restore request, 3 octets (D-15). A request without ranges asks for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestedRange {
    pub monitor_index: u8,
    /// From 1.
    pub first_record: u8,
    pub count: u8,
}

impl RequestedRange {
    pub const OCTETS: usize = 3;
}
