//! How the messages of a device are secured (D-08, D-120, D-125, D-127): the setting, its keys and what was accepted.
//!
//! [`Security`] is part of the device's state: a plain device costs nothing, and the counters of what came in are
//! committed with what it did. Keys are in it wrapped, or not at all; [`Keyring`] has the master key. [`packet`] opens and
//! makes packets.

mod keyring;
pub mod packet;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes};
pub use keyring::{KeyFault, Keyring};
use secured::{Algorithm, Spi, Tar, counter::Window};

use crate::{
    identity::Timestamp,
    octets::{CorruptValue, Reader, put_long},
};

/// What every message of the device must have at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Messages are plain. The keys and what was accepted under them are kept, or old packets could be sent again later.
    None,
    Integrity,
    IntegrityAndCipher,
}

impl Level {
    /// What the packets of both directions have.
    #[must_use]
    pub fn spi(self) -> Spi {
        match self {
            Self::None => Spi::default(),
            Self::Integrity => Spi::INTEGRITY,
            Self::IntegrityAndCipher => Spi::CIPHER,
        }
    }

    /// For people and for settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::IntegrityAndCipher => "integrity_and_cipher",
        }
    }

    /// `None` for a text that [`Self::name`] does not give.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Integrity, Self::IntegrityAndCipher].into_iter().find(|level| level.name() == name)
    }
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// From the master key and the card's ICCID.
    Derived,
    /// Here, wrapped for this card (RFC 3394 under a key that is derived for it).
    Wrapped(Bytes),
    /// Not known yet: a new card whose keys an operator has still to give. Until then everything is refused.
    Awaited,
}

/// One generation of a card's keys, and which of its counters were accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVersion {
    /// 1 to 15: the key index of KIc and KID (TS 102 225 5.1.2), which the card knows the keys by.
    pub version: u8,
    pub algorithm: Algorithm,
    pub source: KeySource,
    /// From the card to the centre (D-127).
    pub window: Window,
}

impl KeyVersion {
    /// Accepted versions.
    pub const VERSIONS: std::ops::RangeInclusive<u8> = 1..=15;

    /// Nothing was accepted under it yet.
    #[must_use]
    pub fn new(version: u8, algorithm: Algorithm, source: KeySource) -> Self {
        Self { version, algorithm, source, window: Window::default() }
    }
}

/// The setting of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    pub level: Level,
    /// The centre's application as the card names it, and the card's as the centre does.
    pub tar_up: Tar,
    pub tar_down: Tar,
    pub current: KeyVersion,
    /// After a rotation, until the card is heard under the new keys: what was under way is still taken.
    pub previous: Option<KeyVersion>,
}

/// TARs unless an operator sets others: of the range that an issuer gives to its own applications (TS 101 220 annex D).
pub const TAR_DOWN: Tar = [0x53, 0x56, 0x01];
/// The counterpart of [`TAR_DOWN`].
pub const TAR_UP: Tar = [0x53, 0x56, 0x02];

/// Which packet a message came in: the dedup key of a secured message, with the device (D-110).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub version: u8,
    pub counter: u64,
}

impl Stamp {
    /// Both in one number.
    #[must_use]
    pub fn reference(self) -> u64 {
        u64::from(self.version) << 40 | self.counter
    }
}

/// The least counter towards a card at this time: hundredths of a second since 2024. A centre that lost its counters
/// (restored from an old copy, an account made anew) still goes on above what the card has seen; 40 bits last 348 years.
#[must_use]
pub fn counter_floor(at: Timestamp) -> u64 {
    u64::try_from(at.0.saturating_sub(START_OF_2024_MICROS) / 10_000).unwrap_or(0).min(secured::counter::MAX / 2)
}

const START_OF_2024_MICROS: i64 = 1_704_067_200_000_000;

impl Security {
    /// What is kept of one rotation: the keys so far are the previous ones, unless they are to be refused at once.
    pub fn rotate(&mut self, next: KeyVersion, keep_previous: bool) {
        let last = std::mem::replace(&mut self.current, next);
        self.previous = keep_previous.then_some(last);
    }

    /// What a card that takes this one's place has: keys of its own, nothing accepted. Kept keys were the lost card's.
    #[must_use]
    pub fn for_new_card(&self) -> Self {
        let source = match self.current.source {
            KeySource::Derived => KeySource::Derived,
            KeySource::Wrapped(_) | KeySource::Awaited => KeySource::Awaited,
        };
        let current = KeyVersion::new(self.current.version, self.current.algorithm, source);
        Self { current, previous: None, ..self.clone() }
    }

    /// The keys that a packet of the card names.
    #[must_use]
    pub fn version(&self, version: u8) -> Option<&KeyVersion> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|keys| keys.version == version)
    }

    /// Whether this counter may still come.
    #[must_use]
    pub fn is_new(&self, stamp: Stamp) -> bool {
        self.version(stamp.version).is_some_and(|keys| keys.window.accept(stamp.counter).is_ok())
    }

    /// Uses up the counter. The first message under new keys ends the previous ones. False: nothing is changed.
    pub fn accept(&mut self, stamp: Stamp) -> bool {
        let is_current = self.current.version == stamp.version;
        let keys = if is_current { Some(&mut self.current) } else { self.previous.as_mut() };
        let Some(keys) = keys.filter(|keys| keys.version == stamp.version) else { return false };
        let Ok(window) = keys.window.accept(stamp.counter) else { return false };
        keys.window = window;
        if is_current {
            self.previous = None;
        }
        true
    }

    /// The value of its section in the device's state: level 1, TARs 3 each, then for the current and the previous keys
    /// version 1, algorithm 1, source 1, wrapped keys behind a length 2, highest counter 8, window 8.
    pub(crate) fn to_octets(&self) -> Vec<u8> {
        let mut out = vec![match self.level {
            Level::None => 0,
            Level::Integrity => 1,
            Level::IntegrityAndCipher => 2,
        }];
        out.extend(self.tar_up);
        out.extend(self.tar_down);
        for keys in std::iter::once(&self.current).chain(&self.previous) {
            out.put_u8(keys.version);
            out.put_u8(algorithm_code(keys.algorithm));
            let (source, wrapped): (u8, &[u8]) = match &keys.source {
                KeySource::Derived => (0, &[]),
                KeySource::Wrapped(wrapped) => (1, wrapped),
                KeySource::Awaited => (2, &[]),
            };
            out.put_u8(source);
            put_long(&mut out, wrapped);
            out.put_u64(keys.window.highest);
            out.put_u64(keys.window.seen);
        }
        out
    }

    pub(crate) fn from_octets(octets: Bytes) -> Result<Self, CorruptValue> {
        let mut reader = Reader::plain("security of a device", octets);
        let level = match reader.u8()? {
            0 => Level::None,
            1 => Level::Integrity,
            2 => Level::IntegrityAndCipher,
            _ => return Err(reader.newer("unknown level")),
        };
        let tar_up = [reader.u8()?, reader.u8()?, reader.u8()?];
        let tar_down = [reader.u8()?, reader.u8()?, reader.u8()?];
        let current = key_version(&mut reader)?;
        let previous = if reader.is_empty() { None } else { Some(key_version(&mut reader)?) };
        reader.finish(Self { level, tar_up, tar_down, current, previous })
    }
}

fn key_version(reader: &mut Reader) -> Result<KeyVersion, CorruptValue> {
    let version = reader.u8()?;
    let code = reader.u8()?;
    let algorithm = Algorithm::ALL.into_iter().find(|it| algorithm_code(*it) == code);
    let algorithm = algorithm.ok_or(reader.newer("unknown algorithm"))?;
    let source = reader.u8()?;
    let wrapped = reader.long()?;
    let source = match source {
        0 => KeySource::Derived,
        1 => KeySource::Wrapped(wrapped),
        2 => KeySource::Awaited,
        _ => return Err(reader.newer("unknown source of keys")),
    };
    let window = Window { highest: reader.u64()?, seen: reader.u64()? };
    Ok(KeyVersion { version, algorithm, source, window })
}

fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Aes128 => 1,
        Algorithm::Aes192 => 2,
        Algorithm::Aes256 => 3,
        Algorithm::TripleDesTwoKeys => 4,
        Algorithm::TripleDesThreeKeys => 5,
    }
}
