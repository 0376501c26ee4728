//! The TPDUs (TS 23.040 9.2.2), one file each.

mod deliver;
mod report;
mod status_report;
mod submit;

pub use deliver::Deliver;
pub use report::{DeliverReport, SubmitReport, failure_cause};
pub use status_report::StatusReport;
pub use submit::Submit;

use crate::Malformed;

/// TP-MTI; what it names depends on the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// 0: DELIVER to the phone, DELIVER-REPORT from it.
    DeliverOrReport,
    /// 1: SUBMIT from the phone, SUBMIT-REPORT to it.
    SubmitOrReport,
    /// 2: STATUS-REPORT to the phone, COMMAND from it.
    StatusReportOrCommand,
    /// 3.
    Reserved,
}

/// The type in a TPDU's first octet.
#[must_use]
pub fn message_type(first_octet: u8) -> MessageType {
    match first_octet & 3 {
        0 => MessageType::DeliverOrReport,
        1 => MessageType::SubmitOrReport,
        2 => MessageType::StatusReportOrCommand,
        _ => MessageType::Reserved,
    }
}

/// Bits of the first octet.
mod bit {
    pub const MORE_MESSAGES_NOT: u8 = 0x04;
    pub const REJECT_DUPLICATES: u8 = 0x04;
    pub const LOOP_PREVENTION: u8 = 0x08;
    pub const STATUS_REPORT: u8 = 0x20;
    pub const USER_DATA_HEADER: u8 = 0x40;
    pub const REPLY_PATH: u8 = 0x80;
}

fn set(condition: bool, bit: u8) -> u8 {
    if condition { bit } else { 0 }
}

fn expect_type(first_octet: u8, expected: u8) -> Result<(), Malformed> {
    match first_octet & 3 {
        actual if actual == expected => Ok(()),
        actual => Err(Malformed::WrongMessageType { actual, expected }),
    }
}
