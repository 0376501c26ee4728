//! The master key of a process, and the keys of cards that it gives.

use secured::{Algorithm, CardKeys, master::MasterKey};

use super::{KeySource, KeyVersion};

/// What opens cards' keys; empty when no device is to be secured.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    master: Option<MasterKey>,
}

/// The keys of a card cannot be had: an operator's to mend, never the card's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("this process has no master key (setting master_key)")]
    NoMasterKey,
    #[error("the card's keys do not open with this master key")]
    Unopened,
    #[error("the card's keys were not given yet")]
    Awaited,
}

impl KeyFault {
    /// For a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMasterKey => "no_master_key",
            Self::Unopened => "keys_unopened",
            Self::Awaited => "keys_awaited",
        }
    }
}

impl Keyring {
    /// `text`: 64 hexadecimal digits, or nothing for no key.
    ///
    /// # Errors
    /// What is expected, without the text.
    pub fn from_setting(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let master = MasterKey::from_hex(text).ok_or("64 hexadecimal digits (32 octets)")?;
        Ok(Self { master: Some(master) })
    }

    #[must_use]
    pub fn has_master_key(&self) -> bool {
        self.master.is_some()
    }

    /// The keys of this card.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn keys(&self, iccid: &str, keys: &KeyVersion) -> Result<CardKeys, KeyFault> {
        let master = self.master.as_ref().ok_or(KeyFault::NoMasterKey)?;
        let found = match &keys.source {
            KeySource::Derived => master.card_keys(iccid, keys.version, keys.algorithm),
            KeySource::Wrapped(wrapped) => master.unwrap_for(iccid, keys.version, keys.algorithm, wrapped),
            KeySource::Awaited => return Err(KeyFault::Awaited),
        };
        found.ok_or(KeyFault::Unopened)
    }

    /// Wraps keys that came from elsewhere (KIc and KID down, then up) to be kept for this card.
    ///
    /// # Errors
    /// [`KeyFault::NoMasterKey`], or [`KeyFault::Unopened`] for octets that are not four keys of the algorithm.
    pub fn keep(&self, iccid: &str, version: u8, algorithm: Algorithm, octets: &[u8]) -> Result<KeySource, KeyFault> {
        let master = self.master.as_ref().ok_or(KeyFault::NoMasterKey)?;
        CardKeys::from_octets(version, algorithm, octets).ok_or(KeyFault::Unopened)?;
        let wrapped = master.wrap_for(iccid, version, algorithm, octets).ok_or(KeyFault::Unopened)?;
        Ok(KeySource::Wrapped(wrapped.into()))
    }
}
