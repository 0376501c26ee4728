//! The store, in the words of the domain. Three roles (D-124), each a trait with its own database grants; two
//! implementations, Postgres and SQLite, and one contract suite run against both.
//!
//! All SQL of the project is here. A batch of inbound messages is read in two trips ([`InboundStore::devices`],
//! [`InboundStore::pages`]), merged in Rust by `domain`, and written in one ([`InboundStore::commit`]).
//! [`open`] chooses the implementation: [`postgres::PostgresStore`] or [`sqlite::SqliteStore`].

mod config;
pub mod migrate;
pub mod postgres;
mod rows;
pub mod sqlite;
mod transfers;

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
pub use config::{StoreConfig, StoreTls, Stores, TlsMode, open};
use domain::{
    delivery::{Acknowledgement, Action, ActionId, State},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{Change, Device, DeviceState, DeviceView, Page, PageKey, Subscriber},
    transfer::Writes,
};
pub use transfers::{CollectionStore, Consent, Found, TransferStore, TransfersOf};

/// Few kinds; whether to retry is decided from the kind, never from the text.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer or refuses writes: try again later.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// A row changed between reading and writing: read again. Nothing was written.
    #[error("conflict: {0}")]
    Conflict(String),
    /// What the caller names does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// The request itself cannot be stored; the same request fails again.
    #[error("refused: {0}")]
    Refused(String),
    /// Stored octets do not decode.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// Stored octets, or a stored number, that a newer release may have written: this one does not know their form.
    #[error("of a newer release: {0}")]
    Newer(String),
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// A batch's writes: all of them or none, in one synchronous commit.
#[derive(Clone, Debug, Default)]
pub struct InboundCommit {
    /// New state of each touched device; `state.version` is the version that was *read*. The store writes version + 1.
    pub states: Vec<(DeviceKey, DeviceState)>,
    /// When the grace of a mismatch ends (D-62), of the marked ones among `states`; one that is not named is looked at soon.
    pub mismatch_due: HashMap<DeviceKey, Timestamp>,
    pub pages: Vec<(PageKey, Page)>,
    pub changes: Vec<Change>,
    pub new_actions: Vec<Action>,
    /// Actions that an acknowledgement moved, each with the state and due time that its row was *read* with: content,
    /// state, due, cause are overwritten.
    pub moved_actions: Vec<(Action, State, Timestamp)>,
    pub billing: Vec<BillingEvent>,
    pub notices: Vec<Notice>,
    pub dead_letters: Vec<DeadLetter>,
    /// Parts of long messages that wait for their others.
    pub new_parts: Vec<Part>,
    /// Long messages that are complete now: their parts go, what is remembered of them stays.
    pub finished_parts: Vec<PartsKey>,
    /// Sessions and collections of transfers.
    pub transfers: Writes,
}

impl InboundCommit {
    /// When a sweep is to look at this device; `None`: it is not marked.
    pub(crate) fn mismatch_due_of(&self, device: &DeviceKey, state: &DeviceState) -> Option<Timestamp> {
        let since = state.mismatch_since?;
        Some(self.mismatch_due.get(device).copied().unwrap_or(since))
    }
}

/// One per incoming signal, accepted or not (D-64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingEvent {
    pub at: Timestamp,
    /// `None`: the originator is not an E.164 number (D-116).
    pub msisdn: Option<Msisdn>,
    pub subscriber: Option<SubscriberId>,
    /// Bearer and link, such as `sms/north`.
    pub channel: String,
    pub octets: u32,
    pub first_octet: Option<u8>,
    pub duplicate: bool,
    /// `active`, `suspended`, `service_off`, `unknown`.
    pub account_state: &'static str,
}

/// A message for a user or for customer service (SC-CS-04, SC-ER-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub at: Timestamp,
    pub msisdn: Option<Msisdn>,
    pub kind: String,
    pub text: String,
}

/// A message that no commit took, kept for an operator: the sender is not asked for it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub at: Timestamp,
    /// `None`: the originator is not an E.164 number (D-116).
    pub msisdn: Option<Msisdn>,
    /// Bearer and link, such as `sms/north`.
    pub channel: String,
    /// What the store said.
    pub cause: String,
    /// Without its length octet; empty when there is none.
    pub user_data_header: Bytes,
    pub payload: Bytes,
}

/// Concatenation reference of one sender (TS 23.040 9.2.3.24).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartsKey {
    pub msisdn: Msisdn,
    pub reference: u16,
    /// A 16-bit reference: 7 is another message's than the 8-bit 7.
    pub is_wide: bool,
    pub total: u8,
}

/// One part of a long message, committed before it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub key: PartsKey,
    /// From 1. 0: no part, but what is remembered of a message of this key that is over; its going is not a part's.
    pub sequence: u8,
    /// UDH elements other than concatenation, from the first part.
    pub user_data_header: Bytes,
    pub payload: Bytes,
    pub arrived: Timestamp,
}

/// How much is kept of one number's long messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartsHeld {
    /// Parts that wait for their others.
    pub waiting: usize,
    /// Messages that are over and remembered.
    pub remembered: usize,
}

/// What `inbound-data` may do.
#[async_trait]
pub trait InboundStore: TransferStore {
    /// The open device of each number, in the order asked; `None`: no account.
    async fn devices(&self, msisdns: &[Msisdn]) -> Result<Vec<Option<DeviceView>>>;
    /// The pages that exist.
    async fn pages(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Page>>;
    /// Open actions (queued, sent, waiting) other than backup acknowledgements, oldest first per device.
    async fn open_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>>;
    /// Numbers of open devices whose `mismatch_due` is at or before `before`, earliest first (D-62). A column with a partial
    /// index, which is called `mismatch_since` as in the schema's first release.
    async fn mismatched(&self, before: Timestamp, limit: u32) -> Result<Vec<Msisdn>>;
    /// How much is kept of each number's long messages; numbers without any are left out.
    async fn parts_held(&self, msisdns: &[Msisdn]) -> Result<HashMap<Msisdn, PartsHeld>>;
    /// Waiting parts of these messages, and what is remembered of them.
    async fn parts(&self, keys: &[PartsKey]) -> Result<Vec<Part>>;
    /// Drops parts older than `before`; how many.
    async fn expire_parts(&self, before: Timestamp) -> Result<u64>;
    /// `Conflict` when any state's version, or any moved action's state or due time, is not as it was read; then nothing
    /// was written.
    async fn commit(&self, batch: InboundCommit) -> Result<()>;
    /// Which of these numbers got no error message on this UTC day yet; they are marked as having one (D-115).
    async fn claim_error_replies(&self, msisdns: &[Msisdn], at: Timestamp) -> Result<Vec<Msisdn>>;
    /// The action last launched with this link and message_id (D-122), in any state: a receipt may come behind the card's
    /// answer. An SMSC gives its ids out again, so a sent one goes first, then the newest.
    async fn action_by_launch(&self, link: &str, bearer_message_id: &str) -> Result<Option<Action>>;
    /// Overwrites an action if its row still has the state and due time that it was read with; false when it has not (or
    /// is gone).
    async fn replace_action(&self, action: &Action, state: State, due: Timestamp) -> Result<bool>;
    /// Reserves `count` downlink counters for an edge; the first of them (D-114).
    async fn reserve_downlink(&self, device: DeviceKey, count: u32) -> Result<u32>;
    /// Reserves `count` counters of secured packets towards a card, above `floor` and above every one reserved before; the
    /// first of them (D-127).
    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64>;
    /// Answers when the database takes synchronous writes: readiness.
    async fn ping(&self) -> Result<()>;
}

/// What `outbound-action` may do.
#[async_trait]
pub trait OutboundStore: Send + Sync {
    /// Loads these actions, with the device they are for. Ids that are gone are left out; rows that do not decode are
    /// apart, so that they cost nobody else's.
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Loaded>;
    /// Fails open actions that are lost, each with a notice for customer service; how many. Nothing else would ever take
    /// them out of the way.
    async fn fail_damaged(&self, damaged: &[Damaged], at: Timestamp) -> Result<u64>;
    /// The oldest open ordered action of each device (restore, addressable restore, configuration; not an asynchronous
    /// backup's): only this one may be launched (SC-OD-10).
    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>>;
    /// Overwrites actions that are still in one of the states given with each; which were written, in order.
    async fn move_actions(&self, moves: &[(Action, Vec<State>)]) -> Result<Vec<bool>>;
    /// Overwrites actions whose row is still as it was read: the same state and the same due time, which every move
    /// changes (each with what was read). Keeps two replicas from launching one action at once, and a late one from
    /// undoing a card's answer. Which were written, in order.
    async fn replace_actions(&self, moves: &[(Action, State, Timestamp)]) -> Result<Vec<bool>>;
    /// For customer service: actions that failed for good.
    async fn add_notices(&self, notices: &[Notice]) -> Result<()>;
    /// Takes away backup acknowledgements that left, unless they ended otherwise, in one statement: the hot path. What they
    /// acknowledged is in the journal.
    async fn finish(&self, ids: &[(DeviceKey, ActionId)]) -> Result<()>;
    /// One page of what is due, oldest first: what the janitor puts (back) into the queue. An ordered action (restore,
    /// addressable restore, configuration) is in it only when its turn has come.
    async fn due(&self, query: &DueQuery) -> Result<DuePage>;
    /// Reserves `count` counters of secured packets towards a card, above `floor` and above every one reserved before; the
    /// first of them (D-127).
    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64>;
    async fn ping(&self) -> Result<()>;
}

/// Which due actions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueQuery {
    pub channel: domain::phonebook::Bearer,
    /// Exclusive.
    pub due_before: Timestamp,
    /// Exclusive: younger ones may be in the queue.
    pub created_before: Timestamp,
    /// Where the page before ended; `None`: from the oldest on.
    pub after: Option<DuePosition>,
    /// Rows that this page looks at, at least 1, whether or not they are wanted: the page's cost has a limit, however
    /// many wait for their turn.
    pub rows_max: u32,
}

/// The place of an action among those that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuePosition {
    pub due: Timestamp,
    pub id: ActionId,
}

/// What a page of due actions holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuePage {
    pub actions: Vec<QueuedAction>,
    pub damaged: Vec<Damaged>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<DuePosition>,
}

/// Actions as they were read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub actions: Vec<(Action, DeviceView)>,
    pub damaged: Vec<Damaged>,
}

/// An action that cannot be used, for its row or its device's state does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    pub device: DeviceKey,
    pub id: ActionId,
    /// Its own row is what no release ever wrote. Otherwise it stays as it is: a newer release can read it, or it waits for
    /// its device's state to be mended.
    pub is_lost: bool,
    /// What is wrong, for people.
    pub why: String,
}

/// Enough of an action to queue it; a backup acknowledgement travels whole, so that its launch reads no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedAction {
    pub device: DeviceKey,
    pub id: ActionId,
    /// When it became due: one that is due once more has another.
    pub due: Timestamp,
    pub channel: domain::phonebook::Bearer,
    pub msisdn: Msisdn,
    /// A backup acknowledgement; `None` for every other type.
    pub acknowledgement: Option<Acknowledgement>,
    /// See [`Action::is_secured`].
    pub is_secured: bool,
    pub traces: Vec<Bytes>,
}

/// What `application-server` may do.
#[async_trait]
pub trait ApplicationStore: CollectionStore {
    /// Creates accounts with their device, state and first actions; all or none. `Refused` names a number or ICCID that
    /// exists already.
    async fn create_accounts(&self, accounts: &[NewAccount], audit: Audit) -> Result<()>;
    async fn account(&self, msisdn: Msisdn) -> Result<Option<Account>>;
    async fn accounts(&self, after: Option<Msisdn>, limit: u32) -> Result<Vec<Account>>;
    /// The account's state and, in the same transaction, what goes with it; guarded like [`Self::commit`].
    async fn set_state(
        &self,
        id: SubscriberId,
        state: domain::phonebook::AccountState,
        batch: InboundCommit,
        audit: Audit,
    ) -> Result<()>;
    /// Closes the open device and opens the new one; open actions of the old one are cancelled (D-112). `Conflict` when
    /// the open device is another than `old`, or its state's version moved.
    async fn replace_card(&self, old: Guard, new: &NewCard, audit: Audit) -> Result<()>;
    /// Moves the versions of the devices' states: a command that read the old number is not committed.
    async fn change_number(&self, id: SubscriberId, msisdn: Msisdn, audit: Audit) -> Result<()>;
    /// The user's own data (SC-DB-03); `None`: no such subscriber.
    async fn user(&self, id: SubscriberId) -> Result<Option<User>>;
    /// Overwrites what the change names. `Refused` when another user has the login.
    async fn change_user(&self, id: SubscriberId, change: &UserChange, audit: Audit) -> Result<()>;
    /// Who has this login, with the hash of the password, if there is one.
    async fn by_login(&self, login: &str) -> Result<Option<(Subscriber, Option<String>)>>;
    /// The account with all that is found by key: devices, states, book, journal, actions; how many rows. It is short, for
    /// messages of the subscriber wait for it. Billing events and notices are left to [`Self::erase_rest`].
    async fn erase(&self, id: SubscriberId, audit: Audit) -> Result<u64>;
    /// Removes about `limit` more rows of erased subscribers; how many, 0: none are left.
    async fn erase_rest(&self, limit: u32) -> Result<u64>;
    /// All pages of a device's book.
    async fn book(&self, device: DeviceKey) -> Result<Vec<(PageKey, Page)>>;
    /// Journal of a device after `since`, newest first.
    async fn journal(&self, device: DeviceKey, since: Timestamp, limit: u32) -> Result<Vec<Change>>;
    /// A state change with its book, journal and actions in one transaction; guarded like [`InboundStore::commit`].
    async fn commit(&self, batch: InboundCommit, audit: Audit) -> Result<()>;
    /// Every open action of these devices that comes in turn (all but acknowledgements), oldest first per device.
    async fn ordered_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>>;
    /// For listings: the newest `limit` of one subscriber, or of everybody without acknowledgements, which are too many.
    async fn actions_of(&self, subscriber: Option<SubscriberId>, open_only: bool, limit: u32) -> Result<Vec<Action>>;
    async fn action(&self, subscriber: SubscriberId, id: ActionId) -> Result<Option<Action>>;
    /// Overwrites an action if it is still in one of `from`; false when it is not (or is gone). With a guard: `Conflict`
    /// when that device's version moved.
    async fn move_action(&self, action: &Action, from: &[State], guard: Option<Guard>, audit: Audit) -> Result<bool>;
    async fn queue_counts(&self) -> Result<HashMap<State, u64>>;
    /// Earliest due time of the queued and sent actions; `None`: there are none.
    async fn oldest_due(&self) -> Result<Option<Timestamp>>;
    /// The newest `limit` rows of the audit log, of one subscriber ([`Audit::what`]) or of all.
    async fn audit_log(&self, subscriber: Option<SubscriberId>, limit: u32) -> Result<Vec<Audit>>;
    async fn notices(&self, limit: u32) -> Result<Vec<Notice>>;
    /// Takes or renews a lease; `held` is whether `owner` has it now.
    async fn acquire_lease(&self, name: &str, owner: &str, now: Timestamp, ttl: std::time::Duration) -> Result<Lease>;
    async fn release_lease(&self, name: &str, owner: &str) -> Result<()>;
    /// Sessions of an IP edge; answers devices whose newer session is elsewhere.
    async fn register_sessions(&self, sessions: &SessionUpdate) -> Result<Vec<DeviceId>>;
    async fn locate_sessions(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, String>>;
    /// Removes about `limit` rows from before that time, oldest first as far as is cheap; how many, 0: none are left.
    /// Postgres drops a day of journal or billing at once, whatever it holds, and answers its planner's estimate; it walks
    /// the table of actions block by block, from call to call.
    async fn expire(&self, what: Expiring, before: Timestamp, limit: u32) -> Result<u64>;
    /// From when on the journal is whole; `None`: nothing of it was removed yet.
    async fn journal_from(&self) -> Result<Option<Timestamp>>;
    async fn settings(&self, scope: &str) -> Result<HashMap<String, String>>;
    async fn put_setting(&self, scope: &str, key: &str, value: &str, audit: Audit) -> Result<()>;
    async fn ping(&self) -> Result<()>;
}

/// What is kept for a time and no longer (D-126).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// Actions that are done, failed or cancelled, by the time of their end: their last due time.
    EndedActions,
    Journal,
    Billing,
    /// Collections of transfers, with their items and consents, by the time when they were stored.
    Collections,
    /// On Postgres the last 90 days stay, whatever is asked.
    Audit,
}

/// Who did what, kept beside every operator's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub at: Timestamp,
    pub who: String,
    /// Of one subscriber when it begins with `subscriber ID:` or `subscriber ID `.
    pub what: String,
}

/// What a user has beside name and number; the hash of the password stays in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub address: String,
    pub login: Option<String>,
    pub has_password: bool,
}

/// `None`: as it was. `Some(None)`: removed.
#[derive(Clone, Default)]
pub struct UserChange {
    pub name: Option<String>,
    pub address: Option<String>,
    pub login: Option<Option<String>>,
    /// Salted hash (PHC string), never the password.
    pub password_hash: Option<Option<String>>,
}

#[derive(Clone, Debug)]
pub struct NewAccount {
    pub subscriber: Subscriber,
    pub device: Device,
    pub state: DeviceState,
    pub actions: Vec<Action>,
}

/// A device's state as it was read: the version must still be this one, and moves on.
pub type Guard = (DeviceKey, i64);

/// The card that takes another's place.
#[derive(Clone, Debug)]
pub struct NewCard {
    pub device: Device,
    pub state: DeviceState,
    pub actions: Vec<Action>,
}

/// A subscriber with its devices, the open one first.
#[derive(Clone, Debug)]
pub struct Account {
    pub subscriber: Subscriber,
    pub devices: Vec<(Device, DeviceState)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub held: bool,
    pub owner: String,
    /// Grows by one each time the owner changes.
    pub epoch: u64,
}

/// What an IP edge holds.
#[derive(Clone, Debug, Default)]
pub struct SessionUpdate {
    pub endpoint: String,
    pub opened: Vec<DeviceId>,
    pub closed: Vec<DeviceId>,
    /// `opened` is everything that the endpoint holds, from `snapshot_from` to `snapshot_to`.
    pub snapshot: bool,
    /// First device that the snapshot speaks of; `None`: no bound.
    pub snapshot_from: Option<DeviceId>,
    /// Last device that the snapshot speaks of; `None`: no bound.
    pub snapshot_to: Option<DeviceId>,
    pub at: Timestamp,
}
