//! Messages between card and centre: bytes to values and back, octet for octet.
//!
//! [`first_octet`] tells the formats apart before anything is decoded: [`first`], [`message`] (second embodiment) and
//! [`third`], and for every profile [`asynchronous`] and [`transfer`]. Tables 5 and 6 are [`monitor`] and
//! [`checksum_table`]; [`ip`] is the frame of the IP link; [`compact`] the coding of
//! types 10 and 11, which [`message`] reads as what they stand for.

pub mod addressable;
pub mod asynchronous;
pub mod backup;
pub mod checksum;
pub mod checksum_table;
pub mod compact;
pub mod configuration;
pub mod file_result;
pub mod first;
pub mod first_octet;
pub mod ip;
pub mod message;
pub mod monitor;
pub mod pid;
pub mod reason;
pub mod record;
pub mod restore;
pub mod third;
pub mod transfer;

/// Octets of user data in one short message (G-05).
pub const SMS_OCTETS: usize = 140;
