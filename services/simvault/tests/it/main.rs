//! The whole centre with virtual cards, end to end: over real SMPP and IP sockets, on the embedded store.
//!
//! Start at [`rig`]; every other module is a group of scenarios.

mod actions;
mod asynchronous;
mod backup;
mod bad_network;
mod bip;
mod books_over_time;
mod card;
mod configuration;
mod console;
mod demo;
mod further_bearer;
mod logs;
mod messages;
mod operation;
mod pcsc;
mod privacy;
mod process;
mod profiles;
mod restore;
mod rig;
mod secured;
mod signals;
mod suite;
mod transfer;
