//! Service inbound-smpp.
