//! Decisions of the centre, pure: no I/O, no clock, no SQL. Time is an argument.
//!
//! [`identity`] names things, [`phonebook`] is the book with its journal, [`delivery`] the life of an outbound action,
//! [`security`] how a device's messages are secured, [`asynchronous`] a backup in blocks with pauses.
//! Start reading at `phonebook::apply`, the step that turns a card's message into what must be committed.

pub mod asynchronous;
pub mod delivery;
pub mod identity;
pub mod numbers;
pub mod octets;
pub mod phonebook;
pub mod security;
pub mod transfer;
