//! What tests share: a Postgres and a Redis of their own, folders, ports, certificates.
//!
//! Nothing here is skipped when a program is missing: the test fails and says what to install. Every server lives in its
//! own folder, on its own port of 127.0.0.1, and ends with the test process, however that ends ([`watched`]).
//! Start with [`postgres::shared`] and [`redis::Server::start`]. [`fuzz`] gives every decoder faulty octets.

pub mod clock;
pub mod folder;
pub mod fuzz;
pub mod heap;
pub mod port;
pub mod postgres;
pub mod redis;
mod signal;
pub mod tls;
mod watched;

pub use folder::Folder;
pub use port::free_port;
pub use signal::signal;
