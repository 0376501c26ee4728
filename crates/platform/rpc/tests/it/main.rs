//! gRPC on real ports: servers that answer, die, hang, drain and recycle, and the clients that must not care.

mod balancing;
mod drain;
mod faults;
mod rotation;
mod server;
mod tls;
