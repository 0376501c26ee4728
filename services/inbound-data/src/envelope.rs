//! What a whole message came in (D-08, D-120, D-127): plain, or as a secured packet that is opened before the domain reads
//! what is in it. Edges have no keys (D-114).
//!
//! A message that is not the card's own is refused (0x0E): counted by cause, a line in the log, no reply, nothing stored.

use bytes::Bytes;
use domain::{
    identity::Msisdn,
    phonebook::{Bearer, DeviceView},
    security::{
        KeyFault, Keyring, Stamp,
        packet::{NotOpened, Opened, Refusal},
    },
};
use secured::{bearer, response::Status};

/// How a message is wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    #[default]
    Plain,
    /// Of the packet's data is what the card says.
    Command,
    /// The card's answer to a packet.
    Response,
}

impl Envelope {
    /// The packet of an IP payload behind its first octet; anything else is plain.
    pub fn of_ip(payload: &Bytes) -> (Bytes, Self) {
        let envelope = match payload.first() {
            Some(&bearer::IP_COMMAND) => Self::Command,
            Some(&bearer::IP_RESPONSE) => Self::Response,
            _ => return (payload.clone(), Self::Plain),
        };
        (payload.slice(1..), envelope)
    }
}

/// What is to be done with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// The domain reads these octets.
    Read(Bytes, Option<Stamp>),
    Refused(Refusal),
    /// A proof of receipt; it changes nothing.
    Receipt(Status),
    /// The keys cannot be had now: the message is to come again.
    Later(KeyFault),
}

/// Opens a message of this device.
pub fn open(octets: Bytes, envelope: Envelope, on: Bearer, view: &DeviceView, keyring: &Keyring) -> Opening {
    let Some(security) = view.state.required_security() else {
        return match envelope {
            Envelope::Plain => Opening::Read(octets, None),
            Envelope::Command | Envelope::Response => Opening::Refused(Refusal::NotSecured),
        };
    };
    let iccid = &view.device.iccid;
    let opened = match envelope {
        Envelope::Plain => Err(NotOpened::Refused(Refusal::Plain)),
        Envelope::Command => {
            security.open(keyring, iccid, &octets).map(|Opened { octets, stamp }| Opening::Read(octets, Some(stamp)))
        }
        Envelope::Response => {
            security.open_response(keyring, iccid, on, &octets).map(|response| Opening::Receipt(response.status))
        }
    };
    opened.unwrap_or_else(|why| match why {
        NotOpened::Refused(refusal) => Opening::Refused(refusal),
        NotOpened::Keys(fault) => Opening::Later(fault),
    })
}

/// Something about secured messages that people are told, once the attempt that saw it counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Observed {
    pub msisdn: Msisdn,
    pub what: What,
}

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Refused(Refusal),
    Receipt(Status),
    NoKeys(KeyFault),
}

impl Observed {
    /// Counts it and writes it to the log.
    pub fn tell(&self) {
        let msisdn = &self.msisdn;
        match &self.what {
            What::Refused(refusal) => {
                metrics::counter!("simvault_inbound_insecure_total", "cause" => refusal.name()).increment(1);
                tracing::warn!(%msisdn, cause = %refusal, "a message is refused for its security");
            }
            What::Receipt(status) => {
                let name = status.name();
                metrics::counter!("simvault_inbound_proofs_of_receipt_total", "status" => name).increment(1);
                tracing::info!(%msisdn, status = name, "a card answers a secured message");
            }
            What::NoKeys(fault) => {
                metrics::counter!("simvault_inbound_keys_missing_total", "cause" => fault.name()).increment(1);
                tracing::error!(%msisdn, cause = %fault, "a secured message waits for keys");
            }
        }
    }
}
