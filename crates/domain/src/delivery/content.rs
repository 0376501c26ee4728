//! The content of an action as the store keeps it, with how far each record is.
//!
//! Value: format 01, or 81 for a device whose messages are secured, type 1 (D-54; the upper four bits are the profile where
//! that matters, E2 being 0), then for an acknowledgement its Table 9 records as they are; for a control request 1,
//! progress 2; otherwise records, of a restore of E3 behind its check data 2: for a restore monitor index 1, DF 2, EF 2,
//! record number 1, data offset 2, progress 2, length 2, data; for a configuration CID 1, progress 2, length 2, data; for
//! an asynchronous backup the message; for a transfer the number of messages 1, each behind its length 2, and, if an item
//! follows them, its session 4, number 2, kind 1 (1 data, 2 setting), key behind its length 2, value.

use bytes::{BufMut, Bytes};
use link::transfer::{Kind, Message, parts::Item};

use super::{Acknowledgement, ConfigurationItem, Content, Progress, Request, RestoreRecord, RetryLadder, State, Words};
use crate::{
    octets::{CorruptValue, Reader, put_long},
    phonebook::{FilePath, Profile},
    transfer::desk::Sending,
};

const FORMAT: u8 = 0x01;
/// Of the format octet: the action is of a device whose messages are secured.
const SECURED: u8 = 0x80;
/// A restore with check data, which only E3 has.
const RESTORE_CHECKED: u8 = 0x32;

impl Content {
    /// Action type of D-54: 1 backup acknowledgement, 2 restore, 3 addressable restore, 4 configuration, 5 control,
    /// 6 asynchronous, 8 transfer.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::BackupAcknowledgement(_) => 1,
            Self::Restore { .. } => 2,
            Self::AddressableRestore { .. } => 3,
            Self::Configuration { .. } => 4,
            Self::Control { .. } => 5,
            Self::Asynchronous { .. } => 6,
            Self::Transfer(_) => 8,
        }
    }

    /// Whether it waits for its turn and for the card's answer (SC-OD-10): all but acknowledgements, and but asynchronous
    /// backups and transfers, which neither hold up a restore nor wait for one.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::BackupAcknowledgement(_) | Self::Asynchronous { .. } | Self::Transfer(_))
    }

    /// Whether it is over once it has left, for no card answers it: a final message of an asynchronous backup, or the end of
    /// a transfer. (A backup acknowledgement too, but that never becomes *sent*.)
    #[must_use]
    pub fn ends_by_leaving(&self) -> bool {
        match self {
            Self::Asynchronous { message } => message.first() == Some(&link::asynchronous::id::FINAL),
            Self::Transfer(words) => !words.wants_answer(),
            _ => false,
        }
    }

    /// The ladder of its attempts: that of D-84 for an asynchronous backup, a transfer's own, for everything else `general`.
    #[must_use]
    pub fn ladder(&self, general: &RetryLadder) -> RetryLadder {
        match self {
            Self::Asynchronous { .. } => RetryLadder::REMINDERS,
            Self::Transfer(_) => RetryLadder::TRANSFER,
            _ => *general,
        }
    }

    /// Whether it ends once its attempts are used up, instead of waiting for the card: a transfer's session waits for the
    /// device's initiation (D-92).
    #[must_use]
    pub fn ends_in_silence(&self) -> bool {
        matches!(self, Self::Transfer(_))
    }

    /// The session of an asynchronous backup that this is about.
    #[must_use]
    pub fn session(&self) -> Option<u8> {
        match self {
            Self::Asynchronous { message } => message.get(1).copied(),
            _ => None,
        }
    }

    /// The value that the store keeps, with [`super::Action::is_secured`] in its format octet.
    #[must_use]
    pub fn to_stored(&self, is_secured: bool) -> Vec<u8> {
        let mut octets = self.to_octets();
        if let Some(format) = octets.first_mut().filter(|_| is_secured) {
            *format |= SECURED;
        }
        octets
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_stored`] does not write.
    pub fn from_stored(octets: impl Into<Bytes>) -> Result<(Self, bool), CorruptValue> {
        let mut octets = Vec::from(octets.into());
        let is_secured = octets.first().is_some_and(|format| format & SECURED != 0);
        if let Some(format) = octets.first_mut() {
            *format &= !SECURED;
        }
        Ok((Self::from_octets(octets)?, is_secured))
    }

    /// The value without that mark.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, self.code()];
        match self {
            Self::Asynchronous { message } => out.extend_from_slice(message),
            Self::Transfer(words) => put_words(&mut out, words),
            Self::BackupAcknowledgement(Acknowledgement { profile, records }) => {
                out = vec![FORMAT, self.code() | profile.code() << 4];
                out.extend_from_slice(records);
            }
            Self::Control { request, progress } => {
                out.put_u8(request.code());
                put_progress(&mut out, *progress);
            }
            Self::Restore { records, check_data } => {
                if let Some(check_data) = check_data {
                    out = vec![FORMAT, RESTORE_CHECKED];
                    out.put_u16(*check_data);
                }
                for record in records {
                    put_restore_record(&mut out, record);
                }
            }
            Self::AddressableRestore { records } => {
                for record in records {
                    put_restore_record(&mut out, record);
                }
            }
            Self::Configuration { items } => {
                for item in items {
                    out.put_u8(item.cid);
                    put_progress(&mut out, item.progress);
                    put_long(&mut out, &item.data);
                }
            }
        }
        out
    }

    /// # Errors
    /// [`CorruptValue`] for anything that [`Self::to_octets`] does not write.
    pub fn from_octets(octets: impl Into<Bytes>) -> Result<Self, CorruptValue> {
        let mut reader = Reader::open("action content", octets.into(), FORMAT)?;
        let kind = reader.u8()?;
        if let (1, Some(profile)) = (kind & 0x0F, Profile::from_code(kind >> 4)) {
            return Ok(Self::BackupAcknowledgement(Acknowledgement { profile, records: reader.rest() }));
        }
        match kind {
            2 => Ok(Self::Restore { records: restore_records(reader)?, check_data: None }),
            RESTORE_CHECKED => {
                let check_data = Some(reader.u16()?);
                Ok(Self::Restore { records: restore_records(reader)?, check_data })
            }
            3 => Ok(Self::AddressableRestore { records: restore_records(reader)? }),
            4 => {
                let mut items = Vec::new();
                while !reader.is_empty() {
                    let cid = reader.u8()?;
                    let progress = progress(&mut reader)?;
                    items.push(ConfigurationItem { cid, data: reader.long()?, progress });
                }
                Ok(Self::Configuration { items })
            }
            5 => {
                let request = Request::from_code(reader.u8()?).ok_or(reader.newer("unknown request"))?;
                let progress = progress(&mut reader)?;
                reader.finish(Self::Control { request, progress })
            }
            6 => Ok(Self::Asynchronous { message: reader.rest() }),
            8 => words(reader).map(|words| Self::Transfer(Box::new(words))),
            0 => Err(reader.corrupt("no action type")),
            _ => Err(reader.newer("unknown action type")),
        }
    }
}

impl Words {
    /// Whether the device is to say something now: an item is asked for, or sent.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        let is_request = |message: &Bytes| message.first() == Some(&link::transfer::id::ITEM_REQUEST);
        self.item.is_some() || self.messages.iter().any(is_request)
    }

    /// All of it, in messages of at most `room_octets`.
    #[must_use]
    pub fn all(&self, room_octets: usize) -> Vec<Vec<u8>> {
        let item = self.item.as_ref().map(|item| item.messages(room_octets)).unwrap_or_default();
        self.messages.iter().map(|message| message.to_vec()).chain(item.iter().map(Message::encode)).collect()
    }
}

fn put_words(out: &mut Vec<u8>, Words { messages, item }: &Words) {
    let count = u8::try_from(messages.len()).unwrap_or(u8::MAX);
    out.put_u8(count);
    messages.iter().take(usize::from(count)).for_each(|message| put_long(out, message));
    if let Some(Sending { session, number, content: Item { kind, key, value } }) = item {
        out.put_u32(*session);
        out.put_u16(*number);
        out.put_u8(kind.code());
        put_long(out, key);
        out.extend_from_slice(value);
    }
}

fn words(mut reader: Reader) -> Result<Words, CorruptValue> {
    let count = reader.u8()?;
    let messages = (0..count).map(|_| reader.long()).collect::<Result<_, _>>()?;
    if reader.is_empty() {
        return Ok(Words { messages, item: None });
    }
    let (session, number) = (reader.u32()?, reader.u16()?);
    let kind = Kind::from_code(reader.u8()?).ok_or(reader.newer("unknown kind of item"))?;
    let key = reader.long()?;
    let content = Item { kind, key, value: reader.rest() };
    Ok(Words { messages, item: Some(Sending { session, number, content }) })
}

fn put_restore_record(out: &mut Vec<u8>, record: &RestoreRecord) {
    out.put_u8(record.monitor_index);
    out.put_u16(record.file.df);
    out.put_u16(record.file.ef);
    out.put_u8(record.record_number);
    out.put_u16(record.data_offset);
    put_progress(out, record.progress);
    put_long(out, &record.data);
}

fn restore_records(mut reader: Reader) -> Result<Vec<RestoreRecord>, CorruptValue> {
    let mut records = Vec::new();
    while !reader.is_empty() {
        let monitor_index = reader.u8()?;
        let file = FilePath { df: reader.u16()?, ef: reader.u16()? };
        let record_number = reader.u8()?;
        let data_offset = reader.u16()?;
        let progress = progress(&mut reader)?;
        let data = reader.long()?;
        records.push(RestoreRecord { monitor_index, file, record_number, data_offset, data, progress });
    }
    Ok(records)
}

fn put_progress(out: &mut Vec<u8>, progress: Progress) {
    let octets = match progress {
        Progress::Open => [0, 0],
        Progress::InFlight => [1, 0],
        Progress::Done => [2, 0],
        Progress::Failed(reason) => [3, reason],
        Progress::Again => [4, 0],
    };
    out.extend_from_slice(&octets);
}

fn progress(reader: &mut Reader) -> Result<Progress, CorruptValue> {
    match (reader.u8()?, reader.u8()?) {
        (0, _) => Ok(Progress::Open),
        (1, _) => Ok(Progress::InFlight),
        (2, _) => Ok(Progress::Done),
        (3, reason) => Ok(Progress::Failed(reason)),
        (4, _) => Ok(Progress::Again),
        _ => Err(reader.newer("unknown progress")),
    }
}

impl Request {
    /// The number that the store keeps, Table 7's subtype.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Resynchronise => 2,
            Self::Poll => 3,
            Self::ServiceOn => 4,
            Self::ServiceOff => 5,
        }
    }

    /// `None` for a number that [`Self::code`] does not give.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Resynchronise, Self::Poll, Self::ServiceOn, Self::ServiceOff];
        all.into_iter().find(|request| request.code() == code)
    }
}

impl State {
    /// The number that the store keeps.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Waiting => 2,
            Self::Done => 3,
            Self::Failed => 4,
            Self::Cancelled => 5,
        }
    }

    /// `None` for a number that [`Self::code`] does not give.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Queued, Self::Sent, Self::Waiting, Self::Done, Self::Failed, Self::Cancelled];
        all.into_iter().find(|state| state.code() == code)
    }

    /// Queued, sent or waiting.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sent | Self::Waiting)
    }
}
