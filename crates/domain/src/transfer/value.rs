//! A session as one stored value.
//!
//! Format 01, then the fields in order, big-endian; parts of an item that is not complete at the end, each as its message
//! C4 behind a two-octet length. With a collection's items kept apart it is at most a little over 64 KiB.

use bytes::{BufMut, Bytes};
use link::{
    reason::{Outcome, Reason},
    transfer::{Message, Wish, parts::Assembly},
};

use super::session::{End, Opening, Phase, Session};
use crate::{
    identity::{DeviceId, DeviceKey, SubscriberId, Timestamp},
    octets::{CorruptValue, Reader, put_long},
    phonebook::Bearer,
};

const FORMAT: u8 = 0x01;
const RUNNING: u8 = 0;
const WAITING: u8 = 1;
const ENDED: u8 = 2;
/// An end that has no item to blame.
const NOT_REFUSED: u8 = 0xFF;

impl Session {
    /// The value that the store keeps.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let Opening { id, device, transaction, wish, owner, name } = &self.opening;
        let mut out = vec![FORMAT];
        out.put_u32(*id);
        out.put_i64(device.subscriber.0);
        out.put_i64(device.device.0);
        out.put_u16(*transaction);
        out.put_u8(
            [wish.fetch, wish.data, wish.settings, wish.moves].iter().fold(0, |bits, bit| bits << 1 | u8::from(*bit)),
        );
        out.put_i64(owner.0);
        put_long(&mut out, name.as_bytes());
        let (phase, outcome, (item, reason)) = match self.phase {
            Phase::Running => (RUNNING, 0, (0, NOT_REFUSED)),
            Phase::Waiting => (WAITING, 0, (0, NOT_REFUSED)),
            Phase::Ended(End { outcome, refused }) => {
                let refused = refused.map_or((0, NOT_REFUSED), |(item, reason)| (item, reason.code()));
                (ENDED, outcome.to_octet(), refused)
            }
        };
        out.extend([phase, outcome]);
        out.put_u16(item);
        out.extend([reason, u8::from(self.bearer == Bearer::Ip), self.repeats]);
        [self.opened, self.last_traffic, self.last_word].iter().for_each(|time| out.put_i64(time.0));
        [self.version, self.octets].iter().for_each(|value| out.put_u32(*value));
        [self.item, self.items, self.settings, self.skipped, self.failed].iter().for_each(|value| out.put_u16(*value));
        for part in self.assembly.parts() {
            let message = Message::Item { session: *id, item: self.item, part: part.clone() };
            put_long(&mut out, &message.encode());
        }
        out
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>) -> Result<Self, CorruptValue> {
        let mut reader = Reader::open("transfer session", octets.into(), FORMAT)?;
        let opening = opening(&mut reader)?;
        let (phase, outcome, item, reason) = (reader.u8()?, reader.u8()?, reader.u16()?, reader.u8()?);
        let refused = match reason {
            NOT_REFUSED => None,
            code => Some((item, Reason::from_code(code).ok_or_else(|| reader.corrupt("unknown reason"))?)),
        };
        let phase = match phase {
            RUNNING => Phase::Running,
            WAITING => Phase::Waiting,
            ENDED => Phase::Ended(End { outcome: Outcome::from_octet(outcome), refused }),
            _ => return Err(reader.corrupt("unknown phase")),
        };
        let bearer = if reader.u8()? == 0 { Bearer::Sms } else { Bearer::Ip };
        let repeats = reader.u8()?;
        let mut time = || reader.i64().map(Timestamp);
        let (opened, last_traffic, last_word) = (time()?, time()?, time()?);
        let (version, octets) = (reader.u32()?, reader.u32()?);
        let (item, items, settings) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let (skipped, failed) = (reader.u16()?, reader.u16()?);
        let mut assembly = Assembly::default();
        while !reader.is_empty() {
            let message = reader.long()?;
            let Ok(Message::Item { part, .. }) = Message::decode(&message) else {
                return Err(reader.corrupt("no part of an item"));
            };
            // Only an incomplete item is held.
            if !matches!(assembly.add(part), Ok(None)) {
                return Err(reader.corrupt("a whole item, or one that is too large"));
            }
        }
        Ok(Self {
            opening,
            phase,
            bearer,
            opened,
            last_traffic,
            last_word,
            repeats,
            item,
            items,
            version,
            octets,
            settings,
            skipped,
            failed,
            assembly,
        })
    }
}

fn opening(reader: &mut Reader) -> Result<Opening, CorruptValue> {
    let id = reader.u32()?;
    let device = DeviceKey { subscriber: SubscriberId(reader.i64()?), device: DeviceId(reader.i64()?) };
    let (transaction, flags) = (reader.u16()?, reader.u8()?);
    let bit = |number: u8| flags >> number & 1 == 1;
    let wish = Wish { fetch: bit(3), data: bit(2), settings: bit(1), moves: bit(0) };
    let owner = SubscriberId(reader.i64()?);
    let name = String::from_utf8(reader.long()?.to_vec()).map_err(|_| reader.corrupt("the name is no UTF-8"))?;
    Ok(Opening { id, device, transaction, wish, owner, name })
}
