//! The virtual mobile station: a SIM with the backup applet, and its phone.
//!
//! Start at [`Station`]: a machine that is given inputs and the time, and gives outputs. The card's side is
//! [`applet::CardApplet`], one applet for each [`Profile`], which runs on the card of the crate `uicc`;
//! `guard` secures its messages.

pub mod applet;
pub mod bip;
mod channel;
mod contacts;
mod copies;
mod guard;
mod interface;
mod own_memory;
mod station;
mod timers;
pub mod transfer;

pub use applet::Profile;
pub use bip::BipConfig;
pub use contacts::ContactError;
pub use guard::CardSecurity;
pub use interface::{Input, Output, StationConfig, Statistics};
pub use link::configuration::Bearer;
pub use own_memory::OwnMemoryConfig;
pub use station::Station;
pub use uicc::phonebook::Contact;
