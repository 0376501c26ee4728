//! Ports that nobody listens on.

use std::net::TcpListener;

/// A port of 127.0.0.1 that was free a moment ago. Prefer binding port 0 yourself: between this and your bind another
/// process may take it.
///
/// # Panics
/// When the machine has no port left.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
    listener.local_addr().expect("the address of a bound socket").port()
}
