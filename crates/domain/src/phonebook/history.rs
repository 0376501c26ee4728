//! History of a book out of its journal: every change as an entry, and the book as it was (SC-DB-13, D-118).

use bytes::Bytes;

use super::{Change, FilePath, Source, restore};
use crate::identity::Timestamp;

/// One change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub source: Source,
    pub file: FilePath,
    pub record_number: u8,
    /// `None`: the record was empty.
    pub old: Option<Bytes>,
    /// `None`: the record was emptied.
    pub new: Option<Bytes>,
}

/// Every change of every record, newest first. `journal`: newest first.
pub fn entries(journal: &[Change]) -> impl Iterator<Item = Entry> + '_ {
    journal.iter().flat_map(|change| {
        change.records.iter().rev().map(|record| Entry {
            at: change.at,
            source: change.source,
            file: record.file,
            record_number: record.record_number,
            old: record.old.clone(),
            new: record.new.clone(),
        })
    })
}

/// The book as of a time: the present one undone backwards. `journal`: newest first, all after `as_of` at least.
#[must_use]
pub fn as_of(present: &restore::Book, journal: &[Change], as_of: Timestamp) -> restore::Book {
    let mut book = present.clone();
    restore::undo(&mut book, journal, as_of);
    book
}
