//! Secured packets between the centre and a card (TS 102 225 for the packets, TS 31.115 for their way in short messages).
//!
//! [`command`] carries application data, [`response`] says what became of it. Both are sealed and opened with a
//! [`KeySet`]; [`parameters`] has the security parameters, [`counter`] the rules of replay, [`master`] makes a card's keys
//! and wraps them, [`bearer`] cuts a packet into short messages or an IP payload. Nothing here remembers: the stored
//! counter and the choice of the key set are the owner's.
//!
//! Order of work of a receiver (TS 102 225 5.1): read the [`command::Header`], find the key set that it names, compare with
//! the least security asked for, [`command::open`], and only then [`counter::check`].

pub mod bearer;
pub mod command;
pub mod counter;
mod crypto;
pub mod keys;
pub mod master;
pub mod parameters;
pub mod response;

pub use crypto::{crc16, crc32};
pub use keys::{Algorithm, CardKeys, Key, KeySet};
pub use parameters::Spi;

/// User data header of a short message with a command packet (IEI 70).
pub const COMMAND_HEADER: [u8; 3] = [0x02, 0x70, 0x00];
/// User data header of a short message with a response packet (IEI 71).
pub const RESPONSE_HEADER: [u8; 3] = [0x02, 0x71, 0x00];

/// Toolkit application reference: whom on the card a packet is for.
pub type Tar = [u8; 3];

/// Why a packet is not taken, or cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("packet of {actual} octets, expected at least {expected}")]
    Short { expected: usize, actual: usize },
    #[error("{field} says {told} octets, the packet has {actual}")]
    Length { field: &'static str, told: usize, actual: usize },
    #[error("{octets} ciphered octets, expected a multiple of {block}")]
    Blocks { octets: usize, block: usize },
    #[error("{padding} octets of padding, expected fewer than {limit}")]
    Padding { padding: usize, limit: usize },
    #[error("SPI {spi:04X} asks for what is not supported: {what}")]
    Unsupported { spi: u16, what: &'static str },
    #[error("KIc {kic:02X} KID {kid:02X}: not those of the key set")]
    OtherKeys { kic: u8, kid: u8 },
    #[error("the check value does not match")]
    CheckFailed,
    #[error("{octets} octets of data, expected at most 65000")]
    TooLong { octets: usize },
}
