//! The codec against the vectors of section 15, clause by clause, and against any octets.

mod books;
mod builders;
mod compact;
mod configuration;
mod frame;
mod messages;
mod profiles;
mod properties;
mod vectors;

use bytes::Bytes;
use link::{
    message::Record,
    monitor::{MonitorRow, MonitorTable},
};

/// Hexadecimal text to octets; blanks and `|` are left out.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits in {text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Row 0 of section 15: records 1 to 100, octets 0 to 27 of EF_ADN.
pub const ADN_ROW: MonitorRow =
    MonitorRow { df: 0x7F10, ef: 0x6F3A, record_offset: 0, record_count: 100, data_offset: 0, data_octets: 28 };

pub fn monitor() -> MonitorTable {
    MonitorTable::new(vec![ADN_ROW])
}

/// A table whose row 0 has records of this length, and row 1 of three octets.
pub fn monitor_of(data_octets: u8) -> MonitorTable {
    MonitorTable::new(vec![MonitorRow { data_octets, ..ADN_ROW }, MonitorRow { data_octets: 3, ..ADN_ROW }])
}

pub fn record(monitor_index: u8, record_number: u8, data: impl Into<Bytes>) -> Record {
    Record { monitor_index, record_number, data: data.into() }
}
