//! What every builder of backups and restores promises, plain and compact: the limit is kept, and what was taken is read
//! back.

use link::{
    backup, compact,
    message::{Message, PartialChecksum},
    monitor::MonitorTable,
    record::{NotAdded, Record},
    restore,
};
use proptest::prelude::*;

/// A message under construction.
pub trait Build {
    fn push(&mut self, record: &Record) -> Result<(), NotAdded>;
    /// A restore carries no checksum.
    fn finish(self, database_checksum: u16) -> Vec<u8>;
}

impl Build for backup::Builder {
    fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        Self::push(self, record)
    }

    fn finish(self, database_checksum: u16) -> Vec<u8> {
        Self::finish(self, database_checksum)
    }
}

impl Build for restore::Builder {
    fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        Self::push(self, record)
    }

    fn finish(self, _: u16) -> Vec<u8> {
        Self::finish(self)
    }
}

/// The compact builder as that of a backup.
pub struct CompactBackup(pub compact::Builder);

impl Build for CompactBackup {
    fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        self.0.push(record)
    }

    fn finish(self, database_checksum: u16) -> Vec<u8> {
        self.0.finish_backup(database_checksum)
    }
}

/// The compact builder as that of a restore.
pub struct CompactRestore(pub compact::Builder);

impl Build for CompactRestore {
    fn push(&mut self, record: &Record) -> Result<(), NotAdded> {
        self.0.push(record)
    }

    fn finish(self, _: u16) -> Vec<u8> {
        self.0.finish_restore()
    }
}

/// Records go into both until one finds no place; both messages keep to `limit` and are read as they were written.
pub fn check_round_trip(
    mut backup: impl Build,
    mut restore: impl Build,
    limit: usize,
    (table, records): (&MonitorTable, &[Record]),
    database_checksum: u16,
) -> Result<(), TestCaseError> {
    let mut taken = Vec::new();
    for record in records {
        let result = backup.push(record);
        prop_assert_eq!(result, restore.push(record));
        match result {
            Ok(()) => taken.push(record.clone()),
            Err(NotAdded::Full) => prop_assert!(!taken.is_empty()),
            Err(NotAdded::TooLong { .. }) => prop_assert!(taken.is_empty()),
        }
    }
    prop_assume!(!taken.is_empty());
    let octets = backup.finish(database_checksum);
    prop_assert!(octets.len() <= limit);
    let room = limit - octets.len();
    let read = Message::decode(&octets, table);
    let Ok(Message::Backup { records: read, checksum, refused: None }) = read else {
        return Err(TestCaseError::fail(format!("not read back: {read:?}")));
    };
    prop_assert_eq!(&read, &taken);
    prop_assert!(checksum.compare(database_checksum).unwrap_or(true));
    prop_assert!(matches!(checksum, PartialChecksum::Full(_)) || room == 0, "a longer checksum would have fitted");
    let octets = restore.finish(database_checksum);
    prop_assert!(octets.len() <= limit);
    prop_assert_eq!(Message::decode(&octets, table), Ok(Message::Restore { records: taken, refused: None }));
    Ok(())
}
