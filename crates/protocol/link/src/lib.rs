//! Messages between card and centre, second embodiment: bytes to values and back, octet for octet.
//!
//! Start at [`message`]; Tables 5 and 6 are [`monitor`] and [`checksum_table`]; [`ip`] is the frame of the IP link.

pub mod checksum;
pub mod checksum_table;
pub mod monitor;
