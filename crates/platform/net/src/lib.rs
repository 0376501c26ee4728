//! Drivers that give the protocol machines their sockets and clocks: SMPP links and listeners, and TLS settings.

pub mod smpp;
pub mod tls;
