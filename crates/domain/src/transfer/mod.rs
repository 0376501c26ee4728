//! Transfer of a collection between two devices by way of the centre (D-91 to D-93, D-130).
//!
//! A device initiates, the centre leads: [`session`] is the machine of one session, [`collection`] what a user has
//! stored, [`desk`] joins the two for all sessions that it is given, [`book`] finds a collection's address-book entries,
//! which go into the book. Ids and time are arguments. What a session is can be one stored value (`value`); what a store
//! is to keep is collected in [`Writes`].

pub mod book;
pub mod collection;
pub mod desk;
pub mod session;
#[cfg(test)]
mod tests;
mod value;
mod writes;

pub use collection::{Collection, Place, Shelf};
pub use desk::{Desk, Needed};
pub use session::{Opening, Output, Phase, Session};
pub use writes::{Staged, Writes};
