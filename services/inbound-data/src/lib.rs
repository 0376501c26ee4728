//! Service inbound-data.
