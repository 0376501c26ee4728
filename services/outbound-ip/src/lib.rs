//! Service outbound-ip.
