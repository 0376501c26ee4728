//! Service outbound-smpp.
