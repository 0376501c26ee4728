//! Compact record coding (D-08): the records of a backup or restore as a bit stream, message types 10 and 11.
//!
//! A format octet names the version of the static tables; names are written with prefix codes that depend on the character
//! before, numbers as packed decimals after a known prefix. Whatever has no short form is written as it is. The page
//! `docs/protocols/compact.md` specifies every bit. Start with [`Builder`], which writes a message compact or plain,
//! whichever is shorter; [`crate::message::Message::decode`] reads both. `stream` is the sequence of records.

mod alphabet;
mod bits;
mod message;
mod name;
mod number;
mod prefix_code;
mod stream;
mod tables;

pub(crate) use message::decode;
pub use message::{Builder, FORMAT, RECORDS_MAX, is_format};
