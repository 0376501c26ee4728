//! SMS on the transfer layer (TS 23.040): TPDUs, addresses, user data headers, concatenation, alphabets (TS 23.038).
//!
//! Pure values and codecs; the RP layer and everything that keeps time belong to the callers. The decoders take any
//! octets and answer a value or [`Malformed`], never a panic. Start at [`Submit`] and [`Deliver`]; long messages
//! are in [`concatenation`].

mod address;
pub mod alphabet;
pub mod concatenation;
pub mod data_coding;
mod protocol_id;
mod reader;
mod time_stamp;
mod tpdu;
mod user_data;
pub mod user_data_header;
mod validity;

pub use address::{Address, numbering_plan, type_of_number};
pub use concatenation::{Insertion, Outcome, PartInfo, Reassembler, ReassemblerLimits};
pub use data_coding::{Alphabet, DataCoding, MT_DATA_CODING, MT_DATA_CODING_CLASS_1, MessageClass};
pub use protocol_id::{PID_SHORT_MESSAGE, PID_SIM_DATA_DOWNLOAD, ProtocolId, ProtocolIdMeaning};
pub use time_stamp::TimeStamp;
pub use tpdu::{Deliver, DeliverReport, MessageType, StatusReport, Submit, SubmitReport, failure_cause, message_type};
pub use user_data::{USER_DATA_MAX, UserData};
pub use user_data_header::{InformationElement, UserDataHeader};
pub use validity::ValidityPeriod;

/// What is wrong with the octets or the value, and where. A malformed TPDU costs one message, never the link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The octets end inside a field.
    #[error("{field} at octet {offset} needs {needed} octets, {present} are left")]
    Truncated { field: &'static str, offset: usize, needed: usize, present: usize },
    /// Octets are left after the last field.
    #[error("{count} octets are left after the end of {field}")]
    Trailing { field: &'static str, count: usize },
    /// Another type of TPDU.
    #[error("TP-MTI is {actual:#04b}, expected {expected:#04b}")]
    WrongMessageType { actual: u8, expected: u8 },
    /// A length above what the standard allows.
    #[error("{field} is {actual} long, at most {max}")]
    TooLong { field: &'static str, actual: usize, max: usize },
    /// A value that the standard does not have.
    #[error("{field} is {actual}, expected {expected}")]
    Value { field: &'static str, actual: usize, expected: &'static str },
    /// A character that neither the default alphabet nor its extension table has.
    #[error("character {index} is not in the GSM 7-bit default alphabet")]
    NotInAlphabet { index: usize, character: char },
}

#[cfg(test)]
mod tests;
