//! The application server over gRPC on a real port, with the embedded store and the in-process queue.

mod accounts;
mod audit;
mod books;
mod centre;
mod commands;
mod control_language;
mod housekeeping;
mod profiles;
mod registry;
mod security;
mod users;
