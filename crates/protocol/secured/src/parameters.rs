//! Security parameters (TS 102 225 5.1.1): what the sender did, and what it wants of the answer.

use crate::Fault;

/// How a packet is checked. Digital signatures are not supported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    #[default]
    None,
    /// Against damage, not against forgery.
    RedundancyCheck,
    CryptographicChecksum,
}

/// What is done with the counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CounterMode {
    /// Sent as zero.
    #[default]
    None,
    /// There, and not compared.
    Unchecked,
    /// Must be higher than the stored one.
    Higher,
    /// Must be one higher than the stored one.
    OneHigher,
}

/// Whether a proof of receipt is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofOfReceipt {
    #[default]
    None,
    Always,
    OnError,
}

/// Security parameter indicator, two octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spi {
    pub check: Check,
    pub is_ciphered: bool,
    pub counter: CounterMode,
    pub proof: ProofOfReceipt,
    pub proof_check: Check,
    pub is_proof_ciphered: bool,
    /// The proof comes in an SMS-SUBMIT, otherwise in the SMS-DELIVER-REPORT.
    pub is_proof_submitted: bool,
}

impl Spi {
    /// Cryptographic checksum and a counter that grows; no proof (D-120).
    pub const INTEGRITY: Self = Self {
        check: Check::CryptographicChecksum,
        is_ciphered: false,
        counter: CounterMode::Higher,
        proof: ProofOfReceipt::None,
        proof_check: Check::None,
        is_proof_ciphered: false,
        is_proof_submitted: false,
    };
    /// As [`Self::INTEGRITY`], and ciphered.
    pub const CIPHER: Self = Self { is_ciphered: true, ..Self::INTEGRITY };

    /// # Errors
    /// [`Fault::Unsupported`] for a digital signature or a bit that is reserved.
    pub fn from_octets([first, second]: [u8; 2]) -> Result<Self, Fault> {
        let spi = u16::from_be_bytes([first, second]);
        if first & 0xE0 != 0 || second & 0xC0 != 0 {
            return Err(Fault::Unsupported { spi, what: "reserved bits" });
        }
        let check = |bits: u8| match bits & 3 {
            0 => Ok(Check::None),
            1 => Ok(Check::RedundancyCheck),
            2 => Ok(Check::CryptographicChecksum),
            _ => Err(Fault::Unsupported { spi, what: "a digital signature" }),
        };
        Ok(Self {
            check: check(first)?,
            is_ciphered: first & 0x04 != 0,
            counter: match (first >> 3) & 3 {
                0 => CounterMode::None,
                1 => CounterMode::Unchecked,
                2 => CounterMode::Higher,
                _ => CounterMode::OneHigher,
            },
            proof: match second & 3 {
                0 => ProofOfReceipt::None,
                1 => ProofOfReceipt::Always,
                2 => ProofOfReceipt::OnError,
                _ => return Err(Fault::Unsupported { spi, what: "a reserved kind of proof of receipt" }),
            },
            proof_check: check(second >> 2)?,
            is_proof_ciphered: second & 0x10 != 0,
            is_proof_submitted: second & 0x20 != 0,
        })
    }

    #[must_use]
    pub fn to_octets(self) -> [u8; 2] {
        let check = |check: Check| match check {
            Check::None => 0,
            Check::RedundancyCheck => 1,
            Check::CryptographicChecksum => 2,
        };
        let counter = match self.counter {
            CounterMode::None => 0,
            CounterMode::Unchecked => 1,
            CounterMode::Higher => 2,
            CounterMode::OneHigher => 3,
        };
        let proof = match self.proof {
            ProofOfReceipt::None => 0,
            ProofOfReceipt::Always => 1,
            ProofOfReceipt::OnError => 2,
        };
        [
            check(self.check) | u8::from(self.is_ciphered) << 2 | counter << 3,
            proof
                | check(self.proof_check) << 2
                | u8::from(self.is_proof_ciphered) << 4
                | u8::from(self.is_proof_submitted) << 5,
        ]
    }

    /// Whether this is at least as safe as `least` in check, ciphering and counter (the minimum security level of
    /// TS 102 225).
    #[must_use]
    pub fn suffices(self, least: Self) -> bool {
        self.check >= least.check && self.is_ciphered >= least.is_ciphered && self.counter >= least.counter
    }
}
