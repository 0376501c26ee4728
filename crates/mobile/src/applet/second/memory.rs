//! What the applet keeps in EEPROM, with the capacities of D-42: it survives power-off (S2-BF-04).

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;
use link::{
    addressable::AddressedRecord,
    checksum_table::ChecksumTable,
    configuration::{Bearer, ConfigurationItem, IsdnAddress},
    file_result::FileResult,
    monitor::MonitorTable,
    record::{Record, RefusedTail},
};
use sms::{Address, type_of_number};

use crate::applet::asynchronous::{AsynchronousBackup, Settings};

/// Capacity of the event buffer (D-42).
pub const EVENTS_MAX: usize = 32;
/// Messages in the inbound buffer (D-42).
pub const INBOUND_MAX: usize = 4;
/// Records in the error buffer (D-42).
pub const ERRORS_MAX: usize = 4;

/// The configuration table (S2-CF-01) as CIDs set it (D-12).
#[derive(Clone, Debug)]
pub struct Configuration {
    pub service_on: bool,
    pub centre_isdn: Option<IsdnAddress>,
    pub centre_ip: Option<SocketAddr>,
    pub bearer: Bearer,
    /// Poll interval in normal times, seconds (D-34).
    pub normal_seconds: u8,
    /// Poll interval while a restore or configuration is under way, seconds (D-34).
    pub fast_seconds: u8,
    /// Status events from the first record in the outbound buffer to sending (D-35).
    pub retry_preset: u8,
    /// Most rows that the checksum table may have (CID 0x07).
    pub checksum_rows_max: u16,
    /// CID 0x0D.
    pub asynchronous: Settings,
    /// Compact backups where they are shorter (CID 0x0E, D-08).
    pub compact: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            service_on: true,
            centre_isdn: None,
            centre_ip: None,
            bearer: Bearer::Sms,
            normal_seconds: 5,
            fast_seconds: 1,
            retry_preset: 5,
            checksum_rows_max: u16::MAX,
            asynchronous: Settings::default(),
            compact: false,
        }
    }
}

/// A record under backup: monitor index and record number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub monitor_index: u8,
    pub record_number: u8,
}

/// An entry of the event buffer (S2-BF-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Record {
        key: Key,
        cause: Cause,
    },
    /// A configuration message has come (S2-CG-01).
    Configuration,
}

impl Event {
    #[must_use]
    pub fn is_about(&self, record: Key) -> bool {
        matches!(self, Self::Record { key, .. } if *key == record)
    }
}

/// Why a record is looked at; of two causes for one record the later one here holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The phone has written it: sent if its checksum differs (S2-BK-06).
    Change,
    /// Not acknowledged, or refused (D-36, D-37): sent without a comparison; a late success makes it a change.
    Repeat,
    /// D-40: sent without a comparison.
    Resynchronise,
}

/// A row whose records are looked through one by one (D-40, and D-42 when the event buffer was full).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Next record number; above 255: done.
    pub next: u16,
    pub cause: Cause,
}

/// A record that was sent and is not yet acknowledged (D-32, D-36, D-37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    pub key: Key,
    /// As sent.
    pub checksum: u16,
    /// Answers to older versions that may still come (S2-AK-06).
    pub older: u8,
    /// How often this version was sent without having been answered.
    pub unanswered: u8,
    /// Repeats for want of an acknowledgement (D-36: at most 3).
    pub repeats: u8,
    /// Permanent refusals of this version (D-37).
    pub refusals: u8,
    /// Wait after the next temporary refusal, status events (D-36: 60, doubling to 720).
    pub next_wait: u16,
    pub state: Flight,
}

/// Where an [`InFlight`] record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// Sent `age` status events ago.
    Sent { age: u16 },
    /// Refused temporarily; queued again after `left` more status events.
    Refused { left: u16 },
    /// In the event buffer again.
    Queued,
    /// Nothing is awaited any more. For `left` status events the count of older answers is kept, so that a late one
    /// does not pass for the answer to a newer version (S2-AK-06).
    Settled { left: u16 },
}

/// What the restore/configuration buffer holds; decoded when it is put there, for the monitor table may have changed
/// while the message waited.
#[derive(Clone, Debug)]
pub enum Work {
    Restore { records: Vec<Record>, refused: Option<RefusedTail> },
    AddressableRestore(Vec<AddressedRecord>),
    Configuration { items: Vec<ConfigurationItem>, unparsed: Option<u8> },
}

impl Work {
    /// Records, counting the one that ended the reading.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Restore { records, refused } => records.len() + usize::from(refused.is_some()),
            Self::AddressableRestore(records) => records.len(),
            Self::Configuration { items, unparsed } => items.len() + usize::from(unparsed.is_some()),
        }
    }
}

/// The restore/configuration buffer with its pointer (S2-RS-01 to S2-RS-12).
#[derive(Clone, Debug)]
pub struct Job {
    pub work: Work,
    pub pointer: usize,
    /// Initialised with the job (S2-RS-06). It is apart from the one that waits to be sent, which must not be lost when
    /// the next message comes before the phone has sent it.
    pub acknowledgement: Acknowledgement,
}

/// The acknowledgement buffer.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    pub results: Results,
    pub route: Route,
}

/// What became of each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Results {
    Restore(Vec<FileResult>),
    Configuration(Vec<(u8, u8)>),
}

/// Where messages go: kept for an acknowledgement while its own message changes it (S2-CG-06).
#[derive(Clone, Debug)]
pub struct Route {
    pub bearer: Bearer,
    pub centre_isdn: Option<IsdnAddress>,
    pub centre_ip: Option<SocketAddr>,
}

impl Route {
    /// The centre's address for short messages; `None` without one.
    #[must_use]
    pub fn destination(&self) -> Option<Address> {
        self.centre_isdn.as_ref().and_then(address)
    }

    /// Whether a message can be made for it. The phone knows a centre for IP by itself.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.bearer == Bearer::Ip || self.destination().is_some()
    }
}

/// The number as an address of a TPDU; `None` for text (TON 5), which is no number to send to, and for what is too long.
#[must_use]
pub fn address(isdn: &IsdnAddress) -> Option<Address> {
    let (ton, npi) = ((isdn.ton_npi >> 4) & 7, isdn.ton_npi & 0xF);
    Address::new(ton, npi, &isdn.digits()).ok().filter(|_| ton != type_of_number::ALPHANUMERIC)
}

/// Everything that survives power-off.
#[derive(Clone, Debug, Default)]
pub struct Eeprom {
    pub monitor: MonitorTable,
    pub checksums: ChecksumTable,
    pub configuration: Configuration,
    pub events: VecDeque<Event>,
    /// By monitor index.
    pub scans: BTreeMap<u8, Scan>,
    /// The outbound message under construction; the content is read when it is sent (S2-BK-16).
    pub outbound: Vec<Key>,
    /// D-35: status events since the first record was placed or the last attempt.
    pub counter: u8,
    pub in_flight: Vec<InFlight>,
    pub inbound: VecDeque<Bytes>,
    pub job: Option<Job>,
    /// Waits to be sent: this is the acknowledgement flag (S2-RS-12).
    pub acknowledgement: Option<Acknowledgement>,
    /// Backed up after their restore and before its acknowledgement left. The centre writes the restored content into its
    /// book when that comes (D-111), so they are sent once more.
    pub overtaking: Vec<Key>,
    pub errors: VecDeque<FileResult>,
    pub restore_requested: bool,
    /// The backup in blocks that is under way, if any.
    pub asynchronous: AsynchronousBackup,
    /// Status events until a failed acknowledgement, error or request is tried again (S2-BK-10).
    pub pause: u8,
    pub counts: Counts,
}

impl Eeprom {
    /// The restore flag (S2-RS-03): set while the restore/configuration buffer holds a restore, clear with a configuration.
    #[must_use]
    pub fn restore_flag(&self) -> bool {
        let work = self.job.as_ref().map(|job| &job.work);
        matches!(work, Some(Work::Restore { .. } | Work::AddressableRestore(_)))
    }

    /// The acknowledgement flag (S2912).
    #[must_use]
    pub fn acknowledgement_flag(&self) -> bool {
        self.acknowledgement.is_some()
    }
}

/// What has happened, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records acknowledged with success.
    pub records_backed_up: u64,
    /// Records written by restore and addressable restore.
    pub records_restored: u64,
    /// Messages from elsewhere than the centre (S2-AK-07), or octets that are no TPDU.
    pub messages_ignored: u64,
    /// Error messages received; recorded, never answered (D-115).
    pub errors_received: u64,
    /// Records left to the database checksum after all repeats (D-36).
    pub records_given_up: u64,
}
