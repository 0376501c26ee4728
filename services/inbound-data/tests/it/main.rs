//! The service as its edges see it: gRPC in front, a store and a queue behind.

mod accounts;
mod backup;
mod embedded;
mod faults;
mod harness;
mod ip;
mod long_messages;
mod memory_store;
mod outcomes;
mod profiles;
mod secured;
mod transfers;
