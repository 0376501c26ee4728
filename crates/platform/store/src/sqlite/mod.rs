//! The embedded store: SQLite in one file, nothing to install.
//!
//! One thread writes ([`writer`]): it takes all that waits, commits once with `synchronous = FULL`, then answers. Reads
//! go through connections of their own ([`reader`]), checkpoints are made by a third thread, small and often
//! ([`checkpoint`]), so that no commit waits for one. SQL by role: `inbound`, `outbound`, `application`.

mod actions;
mod application;
mod checkpoint;
mod commit;
mod damage;
mod inbound;
mod outbound;
mod reader;
mod retention;
mod transfer;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use damage::damage_one_octet;

use crate::{Result, StoreError, migrate};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: usize = 2;

/// A store in a file; every clone of the `Arc` shares its threads, which end with the last.
pub struct SqliteStore {
    writer: writer::Writer,
    readers: reader::Readers,
    _checkpoints: checkpoint::Checkpoints,
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened or written; `Corrupt` when it is no database.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let mut connection = connect(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        migrate::sqlite(&mut connection)?;
        let writer = writer::Writer::start(connection)?;
        let readers = reader::Readers::start((0..READERS).map(|_| connect(path)).collect::<Result<_>>()?)?;
        let checkpoints = checkpoint::Checkpoints::start(connect(path)?, &writer)?;
        Ok(Arc::new(Self { writer, readers, _checkpoints: checkpoints }))
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // FULL: a commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch => Self::Refused(text),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(text),
                _ => Self::Unavailable(text),
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(text),
            _ => Self::Unavailable(text),
        }
    }
}
