//! Keys: one for ciphering (KIc), one for checking (KID), with the index under which both sides know them.

use zeroize::ZeroizeOnDrop;

/// What a key is for. Single DES is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Aes128,
    Aes192,
    Aes256,
    /// Legacy.
    TripleDesTwoKeys,
    /// Legacy.
    TripleDesThreeKeys,
}

impl Algorithm {
    pub const ALL: [Self; 5] =
        [Self::Aes128, Self::Aes192, Self::Aes256, Self::TripleDesTwoKeys, Self::TripleDesThreeKeys];

    /// Octets of a key: 16, 24 or 32.
    #[must_use]
    pub fn key_octets(self) -> usize {
        match self {
            Self::Aes128 | Self::TripleDesTwoKeys => 16,
            Self::Aes192 | Self::TripleDesThreeKeys => 24,
            Self::Aes256 => 32,
        }
    }

    /// For people and for settings: `AES-128`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "AES-128",
            Self::Aes192 => "AES-192",
            Self::Aes256 => "AES-256",
            Self::TripleDesTwoKeys => "3DES-2",
            Self::TripleDesThreeKeys => "3DES-3",
        }
    }

    /// `None` for a text that [`Self::name`] does not give.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A key and its algorithm.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub enum Key {
    Aes128([u8; 16]),
    Aes192([u8; 24]),
    Aes256([u8; 32]),
    /// 3DES, outer CBC, the first key used again as the third; legacy.
    TripleDesTwoKeys([u8; 16]),
    /// 3DES, outer CBC; legacy.
    TripleDesThreeKeys([u8; 24]),
}

/// Never shows the key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Key {
    /// Algorithm nibble of KIc and KID (TS 102 225 5.1.2 and 5.1.3).
    pub(crate) fn algorithm(&self) -> u8 {
        match self {
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => 0x2,
            Self::TripleDesTwoKeys(_) => 0x5,
            Self::TripleDesThreeKeys(_) => 0x9,
        }
    }

    /// `None` when `octets` is not as long as the algorithm's keys.
    #[must_use]
    pub fn new(algorithm: Algorithm, octets: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Aes128 => octets.try_into().ok().map(Self::Aes128),
            Algorithm::Aes192 => octets.try_into().ok().map(Self::Aes192),
            Algorithm::Aes256 => octets.try_into().ok().map(Self::Aes256),
            Algorithm::TripleDesTwoKeys => octets.try_into().ok().map(Self::TripleDesTwoKeys),
            Algorithm::TripleDesThreeKeys => octets.try_into().ok().map(Self::TripleDesThreeKeys),
        }
    }

    /// Octets of a block.
    pub(crate) fn block_octets(&self) -> usize {
        match self {
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => 16,
            Self::TripleDesTwoKeys(_) | Self::TripleDesThreeKeys(_) => 8,
        }
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aes128(_) => Algorithm::Aes128.name(),
            Self::Aes192(_) => Algorithm::Aes192.name(),
            Self::Aes256(_) => Algorithm::Aes256.name(),
            Self::TripleDesTwoKeys(_) => Algorithm::TripleDesTwoKeys.name(),
            Self::TripleDesThreeKeys(_) => Algorithm::TripleDesThreeKeys.name(),
        }
    }
}

/// The keys of one direction (D-127).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// 1 to 15.
    pub index: u8,
    pub kic: Key,
    pub kid: Key,
}

impl KeySet {
    /// The KIc octet of a packet.
    #[must_use]
    pub fn kic_octet(&self) -> u8 {
        self.index << 4 | self.kic.algorithm()
    }

    /// The KID octet of a packet with a cryptographic checksum.
    #[must_use]
    pub fn kid_octet(&self) -> u8 {
        self.index << 4 | self.kid.algorithm()
    }

    /// The index that a KIc or KID octet names.
    #[must_use]
    pub fn index_of(octet: u8) -> u8 {
        octet >> 4
    }
}

/// The keys of a card under one version: a set for each direction, so that nothing can be reflected (D-127).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardKeys {
    /// From the card to the centre.
    pub up: KeySet,
    /// From the centre to the card.
    pub down: KeySet,
}

impl CardKeys {
    /// Keys that [`Self::octets`] names.
    pub const COUNT: usize = 4;

    /// `octets`: KIc and KID down, then KIc and KID up. `None` when they are not four keys of the algorithm.
    #[must_use]
    pub fn from_octets(version: u8, algorithm: Algorithm, octets: &[u8]) -> Option<Self> {
        let mut keys = octets.chunks_exact(algorithm.key_octets()).map(|octets| Key::new(algorithm, octets));
        let is_whole = octets.len() == Self::COUNT * algorithm.key_octets();
        let mut next = || keys.next().flatten().filter(|_| is_whole);
        let down = KeySet { index: version, kic: next()?, kid: next()? };
        let up = KeySet { index: version, kic: next()?, kid: next()? };
        Some(Self { up, down })
    }
}
