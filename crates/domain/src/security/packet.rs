//! Packets of a device: what came in is opened, what goes out is made. The counters' rules are [`Security`]'s.

use bytes::Bytes;
use secured::{
    CardKeys, Fault, KeySet, Spi,
    bearer::{self, Capacity},
    command::{self, Command, Header},
    parameters::{Check, ProofOfReceipt},
    response::{self, Response},
};

use super::{KeyFault, Keyring, Security, Stamp};
use crate::phonebook::Bearer;

/// Application data that was in a packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    pub octets: Bytes,
    pub stamp: Stamp,
}

/// Why a message is not taken (reason 0x0E). Nothing is answered to any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a plain message of a device that must secure its messages")]
    Plain,
    #[error("a secured packet of a device without keys")]
    NotSecured,
    #[error("no packet, or one that is not supported: {0}")]
    Malformed(Fault),
    #[error("a packet for another application")]
    OtherApplication,
    #[error("less security than the device must have")]
    TooWeak,
    #[error("the packet names keys that the device does not have")]
    UnknownKeys,
    #[error("forged, damaged, or made with other keys")]
    Forged,
    #[error("the counter was used before, or is too old")]
    Replayed,
}

impl Refusal {
    /// For a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::NotSecured => "not_secured",
            Self::Malformed(_) => "malformed",
            Self::OtherApplication => "other_application",
            Self::TooWeak => "too_weak",
            Self::UnknownKeys => "unknown_keys",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
        }
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The sender's fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Ours: the message is to come again.
    #[error(transparent)]
    Keys(#[from] KeyFault),
}

/// A message ready for its bearer; two of them belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Without UDHL; empty on IP.
    pub user_data_header: Bytes,
    pub payload: Bytes,
}

/// Why a message cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    #[error(transparent)]
    Keys(#[from] KeyFault),
    #[error("{octets} octets of data do not fit the bearer")]
    TooLong { octets: usize },
}

impl Security {
    /// What packets of this direction say of themselves. Only IP can bring a proof of receipt back (D-120), and it is asked
    /// for on errors alone: what went well is answered by the application.
    #[must_use]
    pub fn spi_down(&self, bearer: Bearer) -> Spi {
        let spi = self.level.spi();
        match bearer {
            Bearer::Sms => spi,
            Bearer::Ip => Spi {
                proof: ProofOfReceipt::OnError,
                proof_check: Check::CryptographicChecksum,
                is_proof_ciphered: spi.is_ciphered,
                ..spi
            },
        }
    }

    /// Application data that a message to the card takes.
    ///
    /// # Errors
    /// [`KeyFault`]
    pub fn capacity(&self, keyring: &Keyring, iccid: &str, bearer: Bearer) -> Result<Capacity, KeyFault> {
        let keys = keyring.keys(iccid, &self.current)?;
        let spi = self.spi_down(bearer);
        Ok(match bearer {
            Bearer::Sms => Capacity::of_short_messages(spi, &keys.down),
            Bearer::Ip => Capacity::of_ip(spi, &keys.down),
        })
    }

    /// Opens a command packet of the card, from its length field on. The counter is not used up yet: see
    /// [`Security::accept`].
    ///
    /// # Errors
    /// [`NotOpened`]; nothing of the packet is to be believed.
    pub fn open(&self, keyring: &Keyring, iccid: &str, packet: &[u8]) -> Result<Opened, NotOpened> {
        let header = Header::read(packet).map_err(Refusal::Malformed)?;
        if header.tar != self.tar_up {
            return Err(Refusal::OtherApplication.into());
        }
        if !header.spi.suffices(self.level.spi()) {
            return Err(Refusal::TooWeak.into());
        }
        let version = KeySet::index_of(header.kid);
        let keys = self.version(version).ok_or(Refusal::UnknownKeys)?;
        let CardKeys { up, .. } = keyring.keys(iccid, keys)?;
        let command = command::open(packet, &up).map_err(|fault| match fault {
            Fault::CheckFailed | Fault::Padding { .. } => Refusal::Forged,
            Fault::OtherKeys { .. } => Refusal::UnknownKeys,
            other => Refusal::Malformed(other),
        })?;
        Ok(Opened { octets: command.data.into(), stamp: Stamp { version, counter: command.counter } })
    }

    /// Opens the card's answer to a command that went by this bearer. It changes nothing: it is counted and logged.
    ///
    /// # Errors
    /// [`NotOpened`]: it is to be taken for nothing.
    pub fn open_response(
        &self,
        keyring: &Keyring,
        iccid: &str,
        bearer: Bearer,
        packet: &[u8],
    ) -> Result<Response, NotOpened> {
        let spi = self.spi_down(bearer);
        if spi.proof == ProofOfReceipt::None {
            return Err(Refusal::TooWeak.into());
        }
        let keys = keyring.keys(iccid, &self.current)?;
        let response = response::open(packet, spi, &keys.down).map_err(|_| Refusal::Forged)?;
        if response.tar == self.tar_down { Ok(response) } else { Err(Refusal::OtherApplication.into()) }
    }

    /// Makes the packet of a message to the card and cuts it for its bearer. `counter` must never have been used.
    ///
    /// # Errors
    /// [`NotSealed`]
    pub fn seal(
        &self,
        keyring: &Keyring,
        iccid: &str,
        bearer: Bearer,
        counter: u64,
        octets: &[u8],
    ) -> Result<Vec<Sealed>, NotSealed> {
        let keys = keyring.keys(iccid, &self.current)?;
        let too_long = NotSealed::TooLong { octets: octets.len() };
        let command = Command { spi: self.spi_down(bearer), tar: self.tar_down, counter, data: octets.to_vec() };
        let packet = command::seal(&command, &keys.down).map_err(|_| too_long)?;
        if bearer == Bearer::Ip {
            let payload = [&[bearer::IP_COMMAND], packet.as_slice()].concat();
            if payload.len() > link::ip::PAYLOAD_OCTETS_MAX {
                return Err(too_long);
            }
            return Ok(vec![Sealed { user_data_header: Bytes::new(), payload: payload.into() }]);
        }
        let reference = counter.to_be_bytes().last().copied().unwrap_or_default();
        let parts = bearer::short_messages(bearer::IEI_COMMAND, &packet, reference).ok_or(too_long)?;
        let sealed =
            |part: bearer::Part| Sealed { user_data_header: part.user_data_header.into(), payload: part.body.into() };
        Ok(parts.into_iter().map(sealed).collect())
    }
}
