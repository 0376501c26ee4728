//! The centre's decisions against the device's, in virtual time.

mod transfer;
mod transfer_world;
