//! Service inbound-ip.
