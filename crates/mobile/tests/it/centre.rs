//! A model of the service centre, as little of it as a card can notice.

use std::collections::BTreeMap;

use link::{
    SMS_OCTETS,
    backup::PartialChecksum,
    checksum_table::ChecksumTable,
    file_result::FileResult,
    message::Message,
    monitor::MonitorTable,
    reason,
    record::{Record, is_empty},
    restore,
};

type Book = BTreeMap<(u8, u8), Vec<u8>>;

/// Steps until what was not answered is sent again.
const PATIENCE: u32 = 100;

pub struct Centre {
    pub monitor: MonitorTable,
    /// Non-empty records by monitor index and record number.
    pub book: Book,
    /// To be sent to the card.
    pub out: Vec<Vec<u8>>,
    /// Errors, and outcomes of configurations, that the card told.
    pub errors: Vec<FileResult>,
    pub configured: Vec<(u8, u8)>,
    /// Backup messages, as they came.
    pub backups: Vec<Vec<u8>>,
    /// Octets that a restore message may have.
    pub limit: usize,
    /// Records of a restore that the card has not acknowledged.
    open: Book,
    quiet: u32,
    differs: bool,
    /// What a resynchronising card has reported.
    reported: Option<Book>,
}

impl Centre {
    pub fn new(monitor: MonitorTable) -> Self {
        Self {
            monitor,
            book: Book::new(),
            out: vec![],
            errors: vec![],
            configured: vec![],
            backups: vec![],
            limit: SMS_OCTETS,
            open: Book::new(),
            quiet: 0,
            differs: false,
            reported: None,
        }
    }

    /// No restore is left, nor, if it `compares`, a difference.
    pub fn is_content(&self, compares: bool) -> bool {
        let is_equal = !self.differs && self.reported.is_none();
        self.open.is_empty() && (is_equal || !compares)
    }

    /// Restores these records of the book, or with an empty record what the book does not have.
    pub fn restore(&mut self, keys: impl IntoIterator<Item = (u8, u8)>) {
        for key in keys {
            let octets = self.monitor.row(key.0).unwrap().data_octets;
            let data = self.book.get(&key).cloned().unwrap_or_else(|| vec![0xFF; usize::from(octets)]);
            self.open.insert(key, data);
        }
        self.quiet = 0;
    }

    pub fn receive(&mut self, payload: &[u8]) {
        match Message::decode(payload, &self.monitor).unwrap() {
            Message::Backup { records, checksum, refused: None } => {
                self.backups.push(payload.to_vec());
                self.store(&records, checksum);
            }
            Message::RestoreAcknowledgement { records } => {
                records.into_iter().for_each(|result| self.restored(result));
                self.quiet = 0;
            }
            Message::ConfigurationAcknowledgement { records } => self.configured.extend(records),
            Message::RestoreRequest { .. } => {
                let keys: Vec<(u8, u8)> = self.book.keys().copied().collect();
                self.restore(keys);
            }
            Message::Error { records } => self.errors.extend(records),
            other => panic!("{other:?}"),
        }
    }

    /// Time passes.
    pub fn step(&mut self) {
        if self.quiet > 0 {
            self.quiet -= 1;
        } else if !self.open.is_empty() {
            let mut builder = restore::Builder::new(self.limit);
            for (&(monitor_index, record_number), data) in &self.open {
                let record = Record { monitor_index, record_number, data: data.clone().into() };
                if builder.push(&record).is_err() {
                    break;
                }
            }
            self.out.push(builder.finish());
            self.quiet = PATIENCE;
        } else if self.differs {
            self.out.push(vec![0x30, 0x0A, 0xFF]);
            self.reported = Some(Book::new());
            self.quiet = 4 * PATIENCE;
        }
    }

    fn store(&mut self, records: &[Record], checksum: PartialChecksum) {
        let mut acknowledgement = vec![0x10];
        for record in records {
            acknowledgement.extend([record.monitor_index, record.record_number, 0]);
            put(&mut self.book, record);
            if let Some(reported) = &mut self.reported {
                put(reported, record);
            }
        }
        self.out.push(acknowledgement);
        if let Some(reported) = self.reported.take_if(|reported| equals(checksum, reported)) {
            self.book = reported;
        }
        if self.open.is_empty() {
            self.differs = !equals(checksum, &self.book);
            if !self.differs {
                self.reported = None;
            }
        }
    }

    fn restored(&mut self, result: FileResult) {
        let rows = self.monitor.covering(result.df, result.ef, result.record_number);
        for key in rows.map(|(index, _)| (index, result.record_number)).collect::<Vec<_>>() {
            let Some(data) = self.open.remove(&key) else { continue };
            if result.result == reason::SUCCESS {
                let (monitor_index, record_number) = key;
                put(&mut self.book, &Record { monitor_index, record_number, data: data.into() });
            }
        }
    }
}

/// The table that a book gives (D-20).
pub fn table(book: &Book) -> ChecksumTable {
    let mut table = ChecksumTable::default();
    for (&(monitor_index, record_number), data) in book {
        table.apply_record(monitor_index, record_number, data);
    }
    table
}

fn equals(checksum: PartialChecksum, book: &Book) -> bool {
    checksum.compare(table(book).database_checksum()) == Some(true)
}

fn put(book: &mut Book, record: &Record) {
    let key = (record.monitor_index, record.record_number);
    if is_empty(&record.data) {
        book.remove(&key);
    } else {
        book.insert(key, record.data.to_vec());
    }
}
