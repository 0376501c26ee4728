//! The card: APDUs, file system, phonebook files, toolkit TLVs. Start at [`card::Card::transmit`].

pub mod apdu;
pub mod applet;
pub mod book;
pub mod card;
pub mod channel;
pub mod files;
pub mod phonebook;
pub mod proactive;
pub mod profile;
pub mod tlv;
pub mod vpcd;
