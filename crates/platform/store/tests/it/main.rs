//! The contract of the store, run against both implementations, and what only one of them can do: survive its server.
//!
//! Start with `fixtures`: [`fixtures::both`] gives a fresh store of each kind.

mod accounts;
mod actions;
mod asynchronous;
mod books;
mod corrupt;
mod edges;
mod fixtures;
mod migrations;
mod postgres_faults;
mod retention;
mod secured;
mod sqlite_faults;
mod tls;
mod transfers;
