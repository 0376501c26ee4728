//! The state of a device as the store keeps it.
//!
//! One value holds all but `version` and `downlink_counter`, which are columns: the first guards every write, the second
//! is moved only by reserving counters and never by writing a state. Sections follow each other behind the format
//! octet, every variable one behind its length: of two octets, and the checksum table's of four in format 02, which is
//! written when the table needs it. Formats 11 and 12 are these with tagged sections at the end (tag 1, length 4), written
//! when there is any of them.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use link::{checksum_table::ChecksumTable, monitor::MonitorTable};

use super::{DeviceState, FilePath, LastMessage, LateAnswers, Resynchronisation};
use crate::{
    asynchronous::{SESSIONS_MAX, Session},
    delivery::ActionId,
    identity::Timestamp,
    octets::{CorruptValue, Reader, put_long, put_longer, put_record},
    security::Security,
};

const FORMAT: u8 = 0x01;
const FORMAT_LONG_TABLE: u8 = 0x02;
/// Of the format octet: tagged sections follow.
const TAGGED: u8 = 0x10;
const FORMATS: [u8; 4] = [FORMAT, FORMAT_LONG_TABLE, FORMAT | TAGGED, FORMAT_LONG_TABLE | TAGGED];
/// Tags of sections.
const TAG_SECURITY: u8 = 1;
const TAG_SESSIONS: u8 = 2;
const TAG_CHECK_DATA: u8 = 3;

impl DeviceState {
    /// Everything but `version` and `downlink_counter`.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96 + self.checksums.len() * ChecksumTable::ROW_OCTETS);
        let checksums = self.checksums.to_octets();
        let is_short = checksums.len() <= usize::from(u16::MAX);
        let sections = self.sections();
        let tagged = if sections.is_empty() { 0 } else { TAGGED };
        out.put_u8(if is_short { FORMAT } else { FORMAT_LONG_TABLE } | tagged);
        put_long(&mut out, &self.monitor.to_octets());
        if is_short {
            put_long(&mut out, &checksums);
        } else {
            put_longer(&mut out, &checksums);
        }
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
        // Only when there are any: values from before this section are without it.
        if tagged != 0 {
            out.put_u8(u8::from(self.late_answers.is_some()));
        }
        if let Some(late) = &self.late_answers {
            out.put_i64(late.action.0);
            out.put_u32(late.attempts);
            out.put_u64(late.hash);
            out.put_u8(late.left);
            out.put_i64(late.until.0);
        }
        for (tag, section) in sections {
            out.put_u8(tag);
            put_longer(&mut out, &section);
        }
        out
    }

    /// What most devices do not have, by tag.
    fn sections(&self) -> Vec<(u8, Vec<u8>)> {
        let security = self.security.iter().map(|security| (TAG_SECURITY, security.to_octets()));
        let latest = self.sessions.iter().rev().take(SESSIONS_MAX).rev();
        let mut sessions = Vec::new();
        latest.for_each(|session| session.append_to(&mut sessions));
        let sessions = (!sessions.is_empty()).then_some((TAG_SESSIONS, sessions));
        let awaited = self.awaited_check_data.iter();
        let awaited = awaited.map(|check_data| (TAG_CHECK_DATA, check_data.to_be_bytes().to_vec()));
        security.chain(sessions).chain(awaited).collect()
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>, version: i64, downlink_counter: u32) -> Result<Self, CorruptValue> {
        let (mut reader, format) = Reader::open_one_of("device state", octets.into(), &FORMATS)?;
        let (format, is_tagged) = (format & !TAGGED, format & TAGGED != 0);
        let monitor = MonitorTable::from_octets(&reader.long()?).ok_or(reader.corrupt("not a monitor table"))?;
        let checksums = if format == FORMAT { reader.long()? } else { reader.longer()? };
        let checksums = ChecksumTable::from_octets(&checksums).ok_or(reader.corrupt("not a checksum table"))?;
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
        let has_late_answers = if is_tagged { reader.u8()? != 0 } else { !reader.is_empty() };
        let late_answers = if !has_late_answers {
            None
        } else {
            Some(LateAnswers {
                action: ActionId(reader.i64()?),
                attempts: reader.u32()?,
                hash: reader.u64()?,
                left: reader.u8()?,
                until: Timestamp(reader.i64()?),
            })
        };
        let (mut security, mut awaited_check_data) = (None, None);
        let mut sessions = Vec::new();
        while is_tagged && !reader.is_empty() {
            match reader.u8()? {
                TAG_SECURITY => security = Some(Security::from_octets(reader.longer()?)?),
                TAG_SESSIONS => sessions = Session::all_from(reader.longer()?)?,
                TAG_CHECK_DATA => match reader.longer()?.as_ref() {
                    &[high, low] => awaited_check_data = Some(u16::from_be_bytes([high, low])),
                    _ => return Err(reader.corrupt("not check data")),
                },
                _ => return Err(reader.newer("unknown section")),
            }
        }
        reader.finish(Self {
            version,
            monitor,
            checksums,
            last_message,
            uplink_counter,
            downlink_counter,
            mismatch_since,
            awaited_check_data,
            resynchronised,
            resynchronisation,
            late_answers,
            last_contact,
            settings,
            wanted,
            security,
            sessions,
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
    let has_scanned = !resynchronisation.scanned.is_empty();
    let flags = [resynchronisation.held, resynchronisation.agreed, resynchronisation.was_quiet, has_scanned];
    out.put_u8(flags.into_iter().enumerate().fold(0, |octet, (bit, flag)| octet | u8::from(flag) << bit));
    if has_scanned {
        put_long(
            out,
            &resynchronisation.scanned.iter().flat_map(|(index, record)| [*index, *record]).collect::<Vec<_>>(),
        );
    }
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
    let scanned = if flags & 8 == 0 { Bytes::new() } else { reader.long()? };
    let scanned = scanned.as_chunks::<2>().0.iter().map(|[index, record]| (*index, *record)).collect();
    let reported = (0..reader.u16()?)
        .map(|_| {
            let file = FilePath { df: reader.u16()?, ef: reader.u16()? };
            Ok(((file, reader.u8()?), reader.record()?))
        })
        .collect::<Result<_, _>>()?;
    Ok(Resynchronisation {
        started,
        held: flags & 1 != 0,
        agreed: flags & 2 != 0,
        was_quiet: flags & 4 != 0,
        scanned,
        reported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card with many rows can have more than 16 383 checksums.
    #[test]
    fn a_table_of_any_size_is_read_as_it_was_written() {
        for rows in [1_u8, 64, 65, 255] {
            let mut state = DeviceState::default();
            for index in 0..rows {
                for record in 1..=254 {
                    state.checksums.set(index, record, u16::from(index) << 8 | u16::from(record));
                }
            }
            let octets = state.to_octets();
            assert_eq!(octets[0], if rows < 65 { FORMAT } else { FORMAT_LONG_TABLE });
            assert_eq!(DeviceState::from_octets(octets, 0, 0), Ok(state.clone()));
            state.sessions.push(Session::new(7, 10, Timestamp(1)));
            assert_eq!(DeviceState::from_octets(state.to_octets(), 0, 0), Ok(state));
        }
    }
}
