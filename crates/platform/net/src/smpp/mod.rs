//! SMPP over TCP or TLS: one task per link drives one `smpp::Session`; many messages per read and per write.
//!
//! Client role: [`SmppLink::start`] keeps a link to an SMSC bound and hands out a [`LinkHandle`] and [`LinkEvent`]s.
//! Server role: [`Server::start`] accepts ESMEs and hands out [`ServerEvent`]s with a [`PeerHandle`] for each.
//! What both share is in `exchange` (messages, outcomes) and `connection` (the loop of one connection).

mod connection;
mod exchange;
mod link;
mod rate;
mod server;
#[cfg(test)]
mod tests;

pub use exchange::{AnswerToken, Completion, CompletionSender, Outcome, SubmitError, SubmitOutcome, TrySubmitError};
pub use link::{DownReason, LinkConfig, LinkEvent, LinkHandle, SmppLink, Tls};
pub use server::{Authenticate, BindRequest, PeerHandle, Server, ServerConfig, ServerEvent};
