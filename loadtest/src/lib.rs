//! What stands around the centre: the SMSC simulator, the fleet of virtual cards, the ledger that compares cards with the
//! centre; the demo, the topology of real processes, faults and bench made of them; a virtual card for PC/SC tools.

pub mod bench;
pub mod card;
pub mod cpu;
pub mod demo;
pub mod faults;
pub mod fleet;
pub mod ip_phone;
pub mod load;
pub mod load_card;
pub mod people;
pub mod picture;
pub mod smsc;
pub mod table;
pub mod topology;
pub mod up;
