//! gRPC between our services: [`serve`] sets a server up (health, reflection, diagnostics, recycling, drain), [`Balancer`]
//! spreads unary calls over healthy replicas, [`stream::BatchClient`] carries messages in batches over bidirectional
//! streams. Left out: what the services say to each other, which is in `proto`.

mod balancer;
mod call;
mod connection;
mod diagnostics;
mod endpoints;
mod replica;
mod server;
pub mod stream;
mod tls;

pub use balancer::Balancer;
pub use endpoints::{EndpointsConfig, EndpointsError};
pub use replica::Replica;
pub use server::{Readiness, Running, ServeError, ServerConfig, serve, serve_when_ready};
pub use tls::{ClientTls, ServerTls};

/// A message between services is at most this long, octets: hand it to `max_decoding_message_size` of each server.
pub const MESSAGE_OCTETS_MAX: usize = 1 << 20;

/// Health service that tells whether new work is welcome: what balancers follow.
pub const READINESS: &str = "readiness";
/// Health service that tells whether the process lives, whatever its dependencies do.
pub const LIVENESS: &str = "liveness";

/// The key of a text (a subscriber's digits) for rendezvous hashing: the same in every process and version.
pub fn key(text: &str) -> u64 {
    // FNV-1a, then mixed: neighbouring numbers must not meet on one replica.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(hash)
}

/// The finaliser of splitmix64: every bit of the input moves half of the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// `duration` made up to 20 % shorter or longer, so that processes do not act in step.
pub(crate) fn jittered(duration: std::time::Duration) -> std::time::Duration {
    duration.mul_f64(rand::random_range(0.8..1.2))
}
