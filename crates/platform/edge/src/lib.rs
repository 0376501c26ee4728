//! What the SMPP edges share: settings of a link, operating parameters that an operator changes while they run,
//! bind slots, and the way of a delivered message to an inbound data processor.
//!
//! A transceiver bind carries both directions, so that `outbound-smpp` meets delivered messages and receipts too;
//! that is why their way is here and not in `inbound-smpp`. Start at [`delivered::Path`].

pub mod delivered;
pub mod header;
pub mod link;
pub mod names;
pub mod pace;
pub mod parameters;
pub mod receipts;
pub mod slot;
#[cfg(feature = "testing")]
pub mod testing;
