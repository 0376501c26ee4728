//! The book: records of the files of a device, kept in pages, with a journal of every change.

pub mod apply;
mod card;
mod change;
pub mod history;
pub mod page;
pub mod restore;
mod state;

use std::collections::BTreeMap;

use bytes::Bytes;
pub use card::{Card, Pages, Transfers};
use link::{checksum_table::ChecksumTable, configuration::cid, monitor::MonitorTable};

use crate::{
    asynchronous::Session,
    delivery::ActionId,
    identity::{DeviceKey, Msisdn, SubscriberId, Timestamp},
    security::{Level, Security},
};

/// Path of an elementary file below the MF: DF and EF identifiers (D-113: books are keyed by path).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath {
    pub df: u16,
    pub ef: u16,
}

/// EF_ADN below DF_TELECOM.
pub const EF_ADN: FilePath = FilePath { df: 0x7F10, ef: 0x6F3A };
/// EF_EXT1 below DF_TELECOM; written before EF_ADN in a restore (D-111).
pub const EF_EXT1: FilePath = FilePath { df: 0x7F10, ef: 0x6F4A };
/// The address book in the phone's own memory, which is no file of the card (AS-GN-03).
pub const PHONE_MEMORY: FilePath = FilePath { df: 0x0000, ef: 0x0001 };

/// One page of a book file: [`SLOTS`] records that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageKey {
    pub device: DeviceKey,
    pub file: FilePath,
    /// (record number - 1) / [`SLOTS`].
    pub page: u8,
}

/// Records of one page.
pub const SLOTS: usize = 16;

/// Whether a subscriber's messages are stored (SC-AC-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    Active,
    Suspended,
    ServiceOff,
}

/// Message format of a device (D-50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    E1,
    E2,
    E3,
}

/// Bearer of a device's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bearer {
    Sms,
    Ip,
}

/// The account: who it is and whether it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    pub id: SubscriberId,
    pub tenant: String,
    pub msisdn: Msisdn,
    pub name: String,
    pub state: AccountState,
}

/// A card: what personalisation knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub key: DeviceKey,
    pub iccid: String,
    pub profile: Profile,
    /// Preferred channel (SC-DB-04).
    pub bearer: Bearer,
    /// Key of the IP link (D-114).
    pub ip_key: Option<Bytes>,
    pub opened: Timestamp,
    /// Set when the card was replaced: its book is read-only (D-112).
    pub closed: Option<Timestamp>,
}

/// What changes with (nearly) every message of a device; one row, guarded by its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// 0 before the first write; a write names the version it read, and another one in between is a conflict.
    pub version: i64,
    /// The monitor table the card is known to have (SC-DB-07).
    pub monitor: MonitorTable,
    /// Copy of the card's checksum table (Table 6), in one value (D-119).
    pub checksums: ChecksumTable,
    /// The last accepted message (D-110) and the answer it got.
    pub last_message: Option<LastMessage>,
    /// Highest IP counter accepted from the card (D-114).
    pub uplink_counter: u32,
    /// First IP counter towards the card that no edge has been lent yet (D-114).
    pub downlink_counter: u32,
    /// Since when the card's database checksum differs (D-62), or since when a resynchronising card that has reported
    /// all is quiet; cleared by a match, or by the end of the resynchronisation. E1: since when its interval or its quiet
    /// runs (D-129).
    pub mismatch_since: Option<Timestamp>,
    /// E3: check data of a Change Complete that is not (yet) the book's; what comes late is compared with it (D-61).
    pub awaited_check_data: Option<u16>,
    /// When resynchronisations were asked for in the last 24 h, newest last (D-62: one in 10 min, three in 24 h).
    pub resynchronised: Vec<Timestamp>,
    /// A resynchronisation runs: what it would leave is collected until its checksum matches (D-112).
    pub resynchronisation: Option<Resynchronisation>,
    /// Answers that may still come to launches of a message that was answered already.
    pub late_answers: Option<LateAnswers>,
    /// Asynchronous backups, oldest first; the last of each side is the current one (D-82).
    pub sessions: Vec<Session>,
    pub last_contact: Option<Timestamp>,
    /// What this card was last acknowledged to be configured with: CID to data (SC-DB-09).
    pub settings: BTreeMap<u8, Bytes>,
    /// What an operator last asked this card to be configured with: CID to data, overwritten in the transaction that
    /// makes the configuration action (SC-AP-05). Differs from `settings` until the card has accepted.
    pub wanted: BTreeMap<u8, Bytes>,
    /// How its messages are secured; `None`: it never was. Counters towards the card are a column of their own, moved only
    /// by reserving.
    pub security: Option<Security>,
}

impl DeviceView {
    /// The channel of messages to this card: the bearer that it last accepted (CID 0x04), otherwise the personalised one
    /// (SC-OD-07).
    #[must_use]
    pub fn channel(&self) -> Bearer {
        self.state.channel(self.device.bearer)
    }
}

impl DeviceState {
    /// Whether the card has accepted compact messages (CID 0x0E, D-08).
    #[must_use]
    pub fn is_compact(&self) -> bool {
        self.settings.get(&cid::COMPACT).is_some_and(|data| data.as_ref() == [1])
    }

    /// What its messages must have, in both directions; `None`: they are plain.
    #[must_use]
    pub fn required_security(&self) -> Option<&Security> {
        self.security.as_ref().filter(|security| security.level != Level::None)
    }

    /// The bearer that the card last accepted (CID 0x04), or `personalised`.
    #[must_use]
    pub fn channel(&self, personalised: Bearer) -> Bearer {
        match self.settings.get(&0x04).map(|data| data.as_ref()) {
            Some([0]) => Bearer::Sms,
            Some([1]) => Bearer::Ip,
            _ => personalised,
        }
    }
}

/// D-110: the message that a repeat is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// 64-bit hash of the application data.
    pub hash: u64,
    pub at: Timestamp,
    /// The Table 9 records of the acknowledgement that it got, without PID, or nothing; a repeat gets them again.
    pub answer: Bytes,
}

/// A message that was launched several times is answered as often. The answers after the first say nothing new, and must
/// not be taken for those to a later action, which may have equal octets (SC-ID-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateAnswers {
    /// The action that was answered, and how many launches it had then.
    pub action: ActionId,
    pub attempts: u32,
    /// 64-bit hash of the answer, without a reference.
    pub hash: u64,
    /// How many may still come; an SMS that the network lost is counted too, as nobody knows.
    pub left: u8,
    /// None comes after this.
    pub until: Timestamp,
}

/// A resynchronisation under way or held (D-112).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resynchronisation {
    pub started: Timestamp,
    /// It would empty more than 25 % and more than 5 records: a person decides.
    pub held: bool,
    /// The last message's database checksum was that of what the card reported: once the card is quiet, what it did
    /// not report is surplus.
    pub agreed: bool,
    /// The card was quiet once, and that was no proof: it is believed to have told all when it is quiet again after
    /// one more message, which is no part of its scan.
    pub was_quiet: bool,
    /// By monitor row: the highest record that the card reported as the book had it. So far its scan has come.
    pub scanned: BTreeMap<u8, u8>,
    /// Records that the card reported, or was restored, since `started`; `None` is a deletion. They are in the book already; what is
    /// pending is the emptying of all others.
    pub reported: BTreeMap<(FilePath, u8), Option<Bytes>>,
}

/// All that the inbound path needs of one device, read in one trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    pub subscriber: Subscriber,
    pub device: Device,
    pub state: DeviceState,
}

/// [`SLOTS`] records of a file. An empty record is `None`, not FF octets (D-22).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Octets of a record in this file, 1 to 255.
    pub slot_octets: u8,
    pub slots: [Option<Bytes>; SLOTS],
}

/// Who changed a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Backup,
    Restore,
    Operator,
    Sync,
}

/// One journal row: history, idempotency key and inbound action record in one (D-118).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub device: DeviceKey,
    /// Time-ordered id of the message, made by the service.
    pub id: i64,
    pub at: Timestamp,
    pub source: Source,
    /// D-110 key, 0 when there is none.
    pub dedup: u64,
    pub records: Vec<RecordChange>,
}

/// Old and new octets of one record; `None` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    pub file: FilePath,
    pub record_number: u8,
    pub old: Option<Bytes>,
    pub new: Option<Bytes>,
}
