//! The life of an outbound action (Table 7): queued, sent, acknowledged or tried again, done or failed.

pub mod build;
mod content;
mod ladder;
mod queue_entry;

use bytes::Bytes;
pub use ladder::RetryLadder;
pub use queue_entry::QueueEntry;

use crate::{
    identity::{DeviceKey, Msisdn, Timestamp},
    phonebook::{Bearer, FilePath, Profile},
    transfer::desk::Sending,
};

/// An outbound action (D-54). Ids grow with time, so they are also the order of a device's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActionId(pub i64);

/// A row of the outbound actions table (Table 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub device: DeviceKey,
    pub id: ActionId,
    pub content: Content,
    /// The subscriber's number when the action was made.
    pub msisdn: Msisdn,
    /// The device's messages were secured when it was made: what launches it reads the device first. An acknowledgement of
    /// any other device is launched without reading a row.
    pub is_secured: bool,
    pub channel: Bearer,
    pub state: State,
    /// Launches so far.
    pub attempts: u32,
    pub created: Timestamp,
    /// When it is next to be launched, or, once sent, when it is tried again.
    pub due: Timestamp,
    /// Link and message_id of the last launch, for delivery receipts (D-122).
    pub launched: Option<Launched>,
    /// When the delivery receipt said delivered (SC-OC-05).
    pub receipt: Option<Timestamp>,
    /// Why it waits or failed, for people.
    pub cause: String,
    /// Trace identifiers of the messages it answers, 16 octets each.
    pub traces: Vec<Bytes>,
}

/// D-54's states; `acknowledgement pending` is `Sent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its due time or its turn.
    Queued,
    /// Launched; the card has not answered.
    Sent,
    /// The ladder is exhausted: the card's next message, an alert or an operator resumes it (D-128).
    Waiting,
    Done,
    Failed,
    Cancelled,
}

/// Link name and message_id that the SMSC gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launched {
    pub link: String,
    pub bearer_message_id: String,
}

/// What an action carries; self-contained, so that later edits do not alter it (SC-DB-17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Type 1.
    BackupAcknowledgement(Acknowledgement),
    /// Type 2: records for the card, in the layout of its profile (Table 10, Fig. 10, D-05). `check_data`: E3, over the
    /// file as it is to be afterwards.
    Restore { records: Vec<RestoreRecord>, check_data: Option<u16> },
    /// Type 3: D-14 records.
    AddressableRestore { records: Vec<RestoreRecord> },
    /// Type 4: D-12 items; a monitor row among them becomes current when the card has accepted it (D-57).
    Configuration { items: Vec<ConfigurationItem> },
    /// Type 6: a resume or final message of an asynchronous backup as it is on the wire. A later block of the session
    /// overwrites it, so that it always names what is missing.
    Asynchronous { message: Bytes },
    /// Type 5: what a card of the first or third embodiment is told to do; `progress`: whether it has been told.
    Control { request: Request, progress: Progress },
    /// Type 8: what the centre says in a device's transfer (D-130); the device's next message overwrites it.
    Transfer(Box<Words>),
}

/// Messages of a transfer as they are on the wire, and behind them an item, which is cut into parts when its bearer is
/// known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub messages: Vec<Bytes>,
    pub item: Option<Sending>,
}

/// Results to tell the card. It travels whole through the queue, so its profile is with it; every other action is built
/// when its device has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub profile: Profile,
    /// Table 9: monitor index, record number, result, three octets each. Of E3 the result alone counts.
    pub records: Bytes,
}

/// What a card without configuration messages can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// E1 (S1-ST-12).
    ServiceOn,
    /// E1.
    ServiceOff,
    /// E1, E3: to send all it has (S1-RY-01, S3-RY-01).
    Resynchronise,
    /// E3: to send what waits (S3-BK-03).
    Poll,
}

/// One record to write on the card, with how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRecord {
    /// Index in the card's monitor table; unused in an addressable restore.
    pub monitor_index: u8,
    pub file: FilePath,
    /// 0: a transparent file (addressable restore only).
    pub record_number: u8,
    /// First octet of the record that `data` covers.
    pub data_offset: u16,
    pub data: Bytes,
    pub progress: Progress,
}

/// One configuration item, with how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationItem {
    pub cid: u8,
    pub data: Bytes,
    pub progress: Progress,
}

/// How far one record of an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Still to be launched, for the first time.
    Open,
    /// In the message that the card has not answered yet.
    InFlight,
    Done,
    /// Refused for good, with the D-11 reason.
    Failed(u8),
    /// Launched before and to be launched again: an answer that comes late still counts.
    Again,
}

impl Progress {
    /// Whether it belongs into a message still to be built.
    #[must_use]
    pub fn is_to_launch(self) -> bool {
        matches!(self, Self::Open | Self::Again)
    }

    /// Whether the card's word on it is still missing.
    #[must_use]
    pub fn is_unsettled(self) -> bool {
        self.is_to_launch() || self == Self::InFlight
    }
}

impl Content {
    /// How far each record or item is, in order; nothing for an acknowledgement, an
    /// asynchronous backup or a transfer.
    pub fn progresses(&self) -> impl Iterator<Item = Progress> + '_ {
        let (records, items, one): (&[RestoreRecord], &[ConfigurationItem], Option<Progress>) = match self {
            Self::BackupAcknowledgement(_) | Self::Asynchronous { .. } | Self::Transfer(_) => (&[], &[], None),
            Self::Restore { records, .. } | Self::AddressableRestore { records } => (records, &[], None),
            Self::Configuration { items } => (&[], items, None),
            Self::Control { progress, .. } => (&[], &[], Some(*progress)),
        };
        records.iter().map(|record| record.progress).chain(items.iter().map(|item| item.progress)).chain(one)
    }

    /// As [`Self::progresses`], to be changed.
    pub fn progresses_mut(&mut self) -> impl Iterator<Item = &mut Progress> + '_ {
        let (records, items, one): (&mut [RestoreRecord], &mut [ConfigurationItem], _) = match self {
            Self::BackupAcknowledgement(_) | Self::Asynchronous { .. } | Self::Transfer(_) => (&mut [], &mut [], None),
            Self::Restore { records, .. } | Self::AddressableRestore { records } => (records, &mut [], None),
            Self::Configuration { items } => (&mut [], items, None),
            Self::Control { progress, .. } => (&mut [], &mut [], Some(progress)),
        };
        let records = records.iter_mut().map(|record| &mut record.progress);
        records.chain(items.iter_mut().map(|item| &mut item.progress)).chain(one)
    }
}
