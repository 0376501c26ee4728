//! What travels through the outbound-actions queue: enough to launch an acknowledgement without reading its row, and for
//! every other action where its row is.
//!
//! Body: format 01, subscriber 8, device 8, action 8, MSISDN 8, channel 1, kind 1 (0 ordered action, 1 acknowledgement,
//! its profile in bits 7 to 5, with its Table 9 records behind a length 2; 80 added when the device's messages are
//! secured), then the traces of 16 octets each.

use bytes::{BufMut, Bytes};

use super::{Acknowledgement, ActionId};
use crate::{
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId},
    octets::{CorruptValue, Reader, put_long},
    phonebook::{Bearer, Profile},
};

const FORMAT: u8 = 0x01;
const TRACE_OCTETS: usize = 16;
/// Of the kind.
const SECURED: u8 = 0x80;

/// One entry of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    pub device: DeviceKey,
    pub action: ActionId,
    pub msisdn: Msisdn,
    pub channel: Bearer,
    /// A backup acknowledgement; `None`: an ordered action, to be read from the store.
    pub acknowledgement: Option<Acknowledgement>,
    /// See [`super::Action::is_secured`].
    pub is_secured: bool,
    /// Traces of the messages that it answers, 16 octets each.
    pub traces: Vec<Bytes>,
}

impl QueueEntry {
    /// The entry of an action.
    #[must_use]
    pub fn of(action: &super::Action) -> Self {
        let acknowledgement = match &action.content {
            super::Content::BackupAcknowledgement(acknowledgement) => Some(acknowledgement.clone()),
            _ => None,
        };
        Self {
            device: action.device,
            action: action.id,
            msisdn: action.msisdn,
            channel: action.channel,
            acknowledgement,
            is_secured: action.is_secured,
            traces: action.traces.clone(),
        }
    }

    #[must_use]
    pub fn to_octets(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.traces.len() * TRACE_OCTETS);
        out.put_u8(FORMAT);
        out.put_i64(self.device.subscriber.0);
        out.put_i64(self.device.device.0);
        out.put_i64(self.action.0);
        out.put_i64(self.msisdn.to_i64());
        out.put_u8(self.channel.code());
        let secured = if self.is_secured { SECURED } else { 0 };
        match &self.acknowledgement {
            None => out.put_u8(secured),
            Some(Acknowledgement { profile, records }) => {
                out.put_u8(1 | profile.code() << 4 | secured);
                put_long(&mut out, records);
            }
        }
        for trace in self.traces.iter().filter(|trace| trace.len() == TRACE_OCTETS) {
            out.extend_from_slice(trace);
        }
        out.into()
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>) -> Result<Self, CorruptValue> {
        let mut reader = Reader::open("queue entry", octets.into(), FORMAT)?;
        let device = DeviceKey { subscriber: SubscriberId(reader.i64()?), device: DeviceId(reader.i64()?) };
        let action = ActionId(reader.i64()?);
        let msisdn = Msisdn::from_i64(reader.i64()?).map_err(|_| reader.corrupt("not a number"))?;
        let channel = Bearer::from_code(reader.u8()?).ok_or(reader.newer("unknown channel"))?;
        let kind = reader.u8()?;
        let is_secured = kind & SECURED != 0;
        let acknowledgement = match (kind & 0x0F, Profile::from_code((kind & !SECURED) >> 4)) {
            (0, _) => None,
            (_, Some(profile)) => Some(Acknowledgement { profile, records: reader.long()? }),
            (_, None) => return Err(reader.newer("unknown profile")),
        };
        let mut traces = Vec::new();
        while !reader.is_empty() {
            traces.push(reader.take(TRACE_OCTETS)?);
        }
        Ok(Self { device, action, msisdn, channel, acknowledgement, is_secured, traces })
    }
}

impl Profile {
    /// Four bits of the values that the store and the queue keep; 0 is E2, which values without them are of.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::E2 => 0,
            Self::E1 => 1,
            Self::E3 => 3,
        }
    }

    /// `None` for a number that [`Self::code`] does not give.
    #[must_use]
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::E2, Self::E1, Self::E3].into_iter().find(|profile| profile.code() == code)
    }
}

impl Bearer {
    /// The octet of CID 0x04 (D-12), which the store and the queue keep too.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Sms => 0,
            Self::Ip => 1,
        }
    }

    /// `None` for an octet that [`Self::code`] does not give.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Sms, Self::Ip].into_iter().find(|bearer| bearer.code() == code)
    }
}
