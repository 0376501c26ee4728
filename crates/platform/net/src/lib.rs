//! Drivers that give the protocol machines their sockets and clocks.
