//! The state of a device as the store keeps it.
//!
//! One value holds all but `version` and `downlink_counter`, which are columns: the first guards every write, the second
//! is moved only by reserving counters and never by writing a state. Sections follow each other behind the format
//! octet, every variable one behind its length.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use link::{checksum_table::ChecksumTable, monitor::MonitorTable};

use super::{DeviceState, FilePath, LastMessage, Resynchronisation};
use crate::{
    identity::Timestamp,
    octets::{CorruptValue, Reader, put_long, put_record},
};

const FORMAT: u8 = 0x01;

impl DeviceState {
    /// Everything but `version` and `downlink_counter`.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.checksums.len() * ChecksumTable::ROW_OCTETS);
        out.put_u8(FORMAT);
        put_long(&mut out, &self.monitor.to_octets());
        put_long(&mut out, &self.checksums.to_octets());
        out.put_u32(self.uplink_counter);
        put_time(&mut out, self.last_contact);
        put_time(&mut out, self.mismatch_since);
        put_long(&mut out, &self.resynchronised.iter().flat_map(|at| at.0.to_be_bytes()).collect::<Vec<_>>());
        put_settings(&mut out, &self.settings);
        put_settings(&mut out, &self.wanted);
        out.put_u8(u8::from(self.last_message.is_some()));
        if let Some(last) = &self.last_message {
            out.put_u64(last.hash);
            out.put_i64(last.at.0);
            put_long(&mut out, &last.answer);
        }
        out.put_u8(u8::from(self.resynchronisation.is_some()));
        if let Some(resynchronisation) = &self.resynchronisation {
            put_resynchronisation(&mut out, resynchronisation);
        }
        out
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>, version: i64, downlink_counter: u32) -> Result<Self, CorruptValue> {
        let mut reader = Reader::open("device state", octets.into(), FORMAT)?;
        let monitor = MonitorTable::from_octets(&reader.long()?).ok_or(reader.corrupt("not a monitor table"))?;
        let checksums = ChecksumTable::from_octets(&reader.long()?).ok_or(reader.corrupt("not a checksum table"))?;
        let uplink_counter = reader.u32()?;
        let last_contact = time(&mut reader)?;
        let mismatch_since = time(&mut reader)?;
        let times = reader.long()?;
        let (times, _) = times.as_chunks::<8>();
        let resynchronised = times.iter().map(|at| Timestamp(i64::from_be_bytes(*at))).collect();
        let settings = read_settings(&mut reader)?;
        let wanted = read_settings(&mut reader)?;
        let last_message = match reader.u8()? {
            0 => None,
            _ => Some(LastMessage { hash: reader.u64()?, at: Timestamp(reader.i64()?), answer: reader.long()? }),
        };
        let resynchronisation = match reader.u8()? {
            0 => None,
            _ => Some(read_resynchronisation(&mut reader)?),
        };
        reader.finish(Self {
            version,
            monitor,
            checksums,
            last_message,
            uplink_counter,
            downlink_counter,
            mismatch_since,
            resynchronised,
            resynchronisation,
            last_contact,
            settings,
            wanted,
        })
    }
}

fn put_time(out: &mut Vec<u8>, at: Option<Timestamp>) {
    out.put_i64(at.map_or(i64::MIN, |at| at.0));
}

fn time(reader: &mut Reader) -> Result<Option<Timestamp>, CorruptValue> {
    Ok(Some(reader.i64()?).filter(|&at| at != i64::MIN).map(Timestamp))
}

fn put_settings(out: &mut Vec<u8>, settings: &BTreeMap<u8, Bytes>) {
    out.put_u8(u8::try_from(settings.len()).unwrap_or(u8::MAX));
    for (cid, data) in settings.iter().take(255) {
        out.put_u8(*cid);
        put_long(out, data);
    }
}

fn read_settings(reader: &mut Reader) -> Result<BTreeMap<u8, Bytes>, CorruptValue> {
    (0..reader.u8()?).map(|_| Ok((reader.u8()?, reader.long()?))).collect()
}

fn put_resynchronisation(out: &mut Vec<u8>, resynchronisation: &Resynchronisation) {
    out.put_i64(resynchronisation.started.0);
    out.put_u8(u8::from(resynchronisation.held) | u8::from(resynchronisation.agreed) << 1);
    out.put_u16(u16::try_from(resynchronisation.reported.len()).unwrap_or(u16::MAX));
    for ((file, record_number), record) in resynchronisation.reported.iter().take(usize::from(u16::MAX)) {
        out.put_u16(file.df);
        out.put_u16(file.ef);
        out.put_u8(*record_number);
        put_record(out, record.as_ref());
    }
}

fn read_resynchronisation(reader: &mut Reader) -> Result<Resynchronisation, CorruptValue> {
    let started = Timestamp(reader.i64()?);
    let flags = reader.u8()?;
    let reported = (0..reader.u16()?)
        .map(|_| {
            let file = FilePath { df: reader.u16()?, ef: reader.u16()? };
            Ok(((file, reader.u8()?), reader.record()?))
        })
        .collect::<Result<_, _>>()?;
    Ok(Resynchronisation { started, held: flags & 1 != 0, agreed: flags & 2 != 0, reported })
}
