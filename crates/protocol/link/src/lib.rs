//! Messages between card and centre, second embodiment: bytes to values and back, octet for octet.
//!
//! Start at [`message`]; Tables 5 and 6 are [`monitor`] and [`checksum_table`]; [`ip`] is the frame of the IP link.
//! [`first_octet`] tells the formats apart before anything is decoded. The compact types 10 and 11 are named, not coded.

pub mod addressable;
pub mod backup;
pub mod checksum;
pub mod checksum_table;
pub mod configuration;
pub mod file_result;
pub mod first_octet;
pub mod ip;
pub mod message;
pub mod monitor;
pub mod pid;
pub mod reason;
pub mod record;
pub mod restore;

/// Octets of user data in one short message (G-05).
pub const SMS_OCTETS: usize = 140;
