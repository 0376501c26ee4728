//! Keys: one for ciphering (KIc), one for checking (KID), with the index under which both sides know them.

use zeroize::ZeroizeOnDrop;

/// A key and its algorithm. Single DES is not supported.
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

    /// Octets of a block.
    pub(crate) fn block_octets(&self) -> usize {
        match self {
            Self::Aes128(_) | Self::Aes192(_) | Self::Aes256(_) => 16,
            Self::TripleDesTwoKeys(_) | Self::TripleDesThreeKeys(_) => 8,
        }
    }

    /// For people: `AES-128`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aes128(_) => "AES-128",
            Self::Aes192(_) => "AES-192",
            Self::Aes256(_) => "AES-256",
            Self::TripleDesTwoKeys(_) => "3DES, two keys",
            Self::TripleDesThreeKeys(_) => "3DES, three keys",
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
