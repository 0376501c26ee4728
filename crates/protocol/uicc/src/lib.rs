//! The card: APDUs, file system, phonebook files, toolkit TLVs. Start at [`card::Card::transmit`].

pub mod apdu;
pub mod applet;
pub mod card;
pub mod files;
pub mod phonebook;
pub mod proactive;
pub mod tlv;
