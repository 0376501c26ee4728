//! What the binary `simvault` is made of: every service by role ([`roles`]), every service in one process ([`centre`]),
//! the demonstration ([`demo`]), and a virtual card ([`card`]). The end-to-end tests start the centre from here.

pub mod backends;
pub mod card;
pub mod centre;
pub mod demo;
pub mod metrics;
pub mod process;
pub mod roles;
