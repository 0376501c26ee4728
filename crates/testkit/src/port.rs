//! Ports that nobody listens on.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::TcpListener,
};

/// Below the ports that the kernel hands out to connections and to binds of port 0 (Linux: from 32768), and beside
/// those of a topology (from 20000): a port from here is taken by nobody between its choice and its use, except by
/// another caller with the same luck.
const FROM: u16 = 10_000;
const COUNT: u16 = 10_000;

/// A port of 127.0.0.1 that was free a moment ago, chosen at random. Bind port 0 yourself where you can; this is for a
/// program that must be told its port.
///
/// # Panics
/// When none of these ports is free.
#[must_use]
pub fn free_port() -> u16 {
    // A new hasher's keys are random; a dependency for one random number is not needed.
    let start = RandomState::new().build_hasher().finish() % u64::from(COUNT);
    let start = u16::try_from(start).unwrap_or_default();
    let mut candidates = (0..COUNT).map(|at| FROM + (start + at) % COUNT);
    candidates
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port on 127.0.0.1 from 10000 to 19999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_port_is_free_and_no_connection_of_others_takes_it() {
        for _ in 0..20 {
            let port = free_port();
            assert!((FROM..FROM + COUNT).contains(&port));
            // Another caller may have the same luck, which is no fault of this one; then the bind of its own fails.
            let Ok(held) = TcpListener::bind(("127.0.0.1", port)) else { continue };
            assert_ne!(free_port(), port);
            drop(held);
        }
    }
}
