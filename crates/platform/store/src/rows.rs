//! Rows as both databases keep them, and the domain's values: what the two implementations share.
//!
//! Whatever does not decode is [`StoreError::Corrupt`] or [`StoreError::Newer`], never a panic.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, Content, Launched, State},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    octets::CorruptValue,
    phonebook::{
        AccountState, Bearer, Change, Device, DeviceState, DeviceView, FilePath, Page, PageKey, Profile, Source,
        Subscriber,
    },
    transfer::{Collection, Session},
};
use link::transfer::{Kind, parts::Item};

use crate::{
    Damaged, DuePage, DuePosition, DueQuery, InboundCommit, Loaded, Part, PartsHeld, PartsKey, QueuedAction, Result,
    StoreError,
};

/// The tenant of whoever comes in by a number (D-113).
pub const DEFAULT_TENANT: &str = "default";
/// Octets of one trace identifier.
const TRACE_OCTETS: usize = 16;
/// Cause of actions that a new card made pointless (D-112).
pub const CARD_REPLACED: &str = "card replaced";

impl From<CorruptValue> for StoreError {
    fn from(fault: CorruptValue) -> Self {
        if fault.is_newer { Self::Newer(fault.to_string()) } else { Self::Corrupt(fault.to_string()) }
    }
}

fn corrupt(what: &str, value: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {value} is not known"))
}

/// A code that is not among those of this release.
fn unknown(what: &str, code: i16) -> StoreError {
    if code < 0 { corrupt(what, code) } else { StoreError::Newer(format!("{what}: {code} is not known")) }
}

pub fn key(subscriber: i64, device: i64) -> DeviceKey {
    DeviceKey { subscriber: SubscriberId(subscriber), device: DeviceId(device) }
}

/// A stored number; never shown in full in the error.
pub fn msisdn(value: i64) -> Result<Msisdn> {
    Msisdn::from_i64(value).map_err(|_| StoreError::Corrupt("a stored number is not E.164".into()))
}

/// DF and EF in one integer.
pub fn file_code(file: FilePath) -> i32 {
    (u32::from(file.df) << 16 | u32::from(file.ef)).cast_signed()
}

pub fn file_from(code: i32) -> FilePath {
    let [a, b, c, d] = code.to_be_bytes();
    FilePath { df: u16::from_be_bytes([a, b]), ef: u16::from_be_bytes([c, d]) }
}

pub fn page_key(device: DeviceKey, file: i32, page: i16) -> Result<PageKey> {
    let page = u8::try_from(page).map_err(|_| corrupt("page number", page))?;
    Ok(PageKey { device, file: file_from(file), page })
}

pub fn account_state_code(state: AccountState) -> i16 {
    match state {
        AccountState::Active => 0,
        AccountState::Suspended => 1,
        AccountState::ServiceOff => 2,
    }
}

pub fn account_state(code: i16) -> Result<AccountState> {
    let all = [AccountState::Active, AccountState::Suspended, AccountState::ServiceOff];
    all.into_iter().find(|state| account_state_code(*state) == code).ok_or_else(|| unknown("account state", code))
}

pub fn profile_code(profile: Profile) -> i16 {
    match profile {
        Profile::E1 => 1,
        Profile::E2 => 2,
        Profile::E3 => 3,
    }
}

pub fn profile(code: i16) -> Result<Profile> {
    let all = [Profile::E1, Profile::E2, Profile::E3];
    all.into_iter().find(|profile| profile_code(*profile) == code).ok_or_else(|| unknown("profile", code))
}

pub fn bearer(code: i16) -> Result<Bearer> {
    u8::try_from(code).ok().and_then(Bearer::from_code).ok_or_else(|| unknown("bearer", code))
}

pub fn action_state(code: i16) -> Result<State> {
    u8::try_from(code).ok().and_then(State::from_code).ok_or_else(|| unknown("action state", code))
}

/// Action states as bits, for "still in one of".
pub fn state_bits(states: &[State]) -> i32 {
    states.iter().fold(0, |bits, state| bits | 1 << state.code())
}

pub fn join_traces(traces: &[Bytes]) -> Vec<u8> {
    traces.iter().filter(|trace| trace.len() == TRACE_OCTETS).flatten().copied().collect()
}

pub fn split_traces(octets: Vec<u8>) -> Vec<Bytes> {
    let mut rest = Bytes::from(octets);
    let mut traces = Vec::with_capacity(rest.len() / TRACE_OCTETS);
    while rest.len() >= TRACE_OCTETS {
        traces.push(rest.split_to(TRACE_OCTETS));
    }
    traces
}

/// Table 7's subtype (D-54): the first CID of a configuration, the first result of an acknowledgement, the request of a
/// control, the first octet of an asynchronous message or of a transfer's last one, otherwise 0.
pub fn subtype(content: &Content) -> i16 {
    match content {
        Content::BackupAcknowledgement(acknowledgement) => {
            acknowledgement.records.get(2).map_or(0, |result| i16::from(*result))
        }
        Content::Control { request, .. } => i16::from(request.code()),
        Content::Configuration { items } => items.first().map_or(0, |item| i16::from(item.cid)),
        Content::Asynchronous { message } => message.first().map_or(0, |octet| i16::from(*octet)),
        Content::Transfer(words) => {
            words.messages.last().and_then(|message| message.first()).map_or(0, |octet| i16::from(*octet))
        }
        Content::Restore { .. } | Content::AddressableRestore { .. } => 0,
    }
}

pub fn change(device: DeviceKey, id: i64, at: i64, source: i16, dedup: i64, records: Vec<u8>) -> Result<Change> {
    let source = u8::try_from(source).ok().and_then(Source::from_code).ok_or_else(|| unknown("source", source))?;
    let records = Change::records_from_octets(records)?;
    Ok(Change { device, id, at: Timestamp(at), source, dedup: dedup.cast_unsigned(), records })
}

/// Reference and its width in one integer.
const WIDE: i32 = 0x1_0000;

pub fn reference_code(key: &PartsKey) -> i32 {
    i32::from(key.reference) | if key.is_wide { WIDE } else { 0 }
}

pub fn part(
    number: i64,
    reference: i32,
    total: i16,
    sequence: i16,
    header: Vec<u8>,
    payload: Vec<u8>,
    arrived: i64,
) -> Result<Part> {
    let octet = |value: i16| u8::try_from(value).map_err(|_| corrupt("part number", value));
    let is_wide = reference & WIDE != 0;
    let reference = u16::try_from(reference & !WIDE).map_err(|_| corrupt("part reference", reference))?;
    Ok(Part {
        key: PartsKey { msisdn: msisdn(number)?, reference, is_wide, total: octet(total)? },
        sequence: octet(sequence)?,
        user_data_header: header.into(),
        payload: payload.into(),
        arrived: Timestamp(arrived),
    })
}

/// Counts of one number's rows.
pub fn parts_held(number: i64, waiting: i64, remembered: i64) -> Result<(Msisdn, PartsHeld)> {
    let count = |count: i64| usize::try_from(count).unwrap_or_default();
    Ok((msisdn(number)?, PartsHeld { waiting: count(waiting), remembered: count(remembered) }))
}

/// Columns of `outbound_action` as they come back.
pub struct ActionRow {
    pub device: DeviceKey,
    pub id: i64,
    pub msisdn: i64,
    pub created: i64,
    pub due: i64,
    pub receipt: Option<i64>,
    pub attempts: i32,
    pub state: i16,
    pub channel: i16,
    pub link: Option<String>,
    pub bearer_message_id: Option<String>,
    pub cause: String,
    pub content: Vec<u8>,
    pub traces: Vec<u8>,
}

impl TryFrom<ActionRow> for Action {
    type Error = StoreError;

    fn try_from(row: ActionRow) -> Result<Self> {
        let launched = row.link.zip(row.bearer_message_id);
        let (content, is_secured) = Content::from_stored(row.content)?;
        Ok(Self {
            device: row.device,
            id: ActionId(row.id),
            content,
            msisdn: msisdn(row.msisdn)?,
            is_secured,
            channel: bearer(row.channel)?,
            state: action_state(row.state)?,
            attempts: u32::try_from(row.attempts).map_err(|_| corrupt("attempts", row.attempts))?,
            created: Timestamp(row.created),
            due: Timestamp(row.due),
            launched: launched.map(|(link, bearer_message_id)| Launched { link, bearer_message_id }),
            receipt: row.receipt.map(Timestamp),
            cause: row.cause,
            traces: split_traces(row.traces),
        })
    }
}

/// Octets of a transfer's session as they are stored.
pub fn transfer_session(octets: Vec<u8>) -> Result<Session> {
    Ok(Session::from_octets(octets)?)
}

/// An item as it is stored.
pub fn item(kind: i16, key: Vec<u8>, value: Vec<u8>) -> Result<Item> {
    let known = u8::try_from(kind).ok().and_then(Kind::from_code);
    Ok(Item { kind: known.ok_or_else(|| unknown("kind of an item", kind))?, key: key.into(), value: value.into() })
}

pub fn item_number(number: i32) -> Result<u16> {
    u16::try_from(number).map_err(|_| corrupt("number of an item", number))
}

/// Columns of `transfer_collection` as they come back.
pub struct CollectionRow {
    pub version: i64,
    pub stored: i64,
    pub origin: DeviceKey,
    pub data: i32,
    pub settings: i32,
    pub octets: i32,
}

impl TryFrom<CollectionRow> for Collection {
    type Error = StoreError;

    fn try_from(row: CollectionRow) -> Result<Self> {
        Ok(Self {
            version: u32::try_from(row.version).map_err(|_| corrupt("version of a collection", row.version))?,
            stored: Timestamp(row.stored),
            origin: row.origin,
            data: item_number(row.data)?,
            settings: item_number(row.settings)?,
            octets: u32::try_from(row.octets).map_err(|_| corrupt("octets of a collection", row.octets))?,
        })
    }
}

/// Columns of `subscriber` as they come back.
pub struct SubscriberRow {
    pub id: i64,
    pub tenant: String,
    pub msisdn: i64,
    pub name: String,
    pub state: i16,
}

impl TryFrom<SubscriberRow> for Subscriber {
    type Error = StoreError;

    fn try_from(row: SubscriberRow) -> Result<Self> {
        let (msisdn, state) = (msisdn(row.msisdn)?, account_state(row.state)?);
        Ok(Self { id: SubscriberId(row.id), tenant: row.tenant, msisdn, name: row.name, state })
    }
}

/// Columns of `device` and `device_state` as they come back.
pub struct DeviceRow {
    pub key: DeviceKey,
    pub iccid: String,
    pub profile: i16,
    pub bearer: i16,
    pub ip_key: Option<Vec<u8>>,
    pub opened: i64,
    pub closed: Option<i64>,
    pub version: i64,
    pub downlink_counter: i64,
    pub state: Vec<u8>,
}

impl TryFrom<DeviceRow> for (Device, DeviceState) {
    type Error = StoreError;

    fn try_from(row: DeviceRow) -> Result<Self> {
        let counter = u32::try_from(row.downlink_counter).map_err(|_| corrupt("counter", row.downlink_counter))?;
        let state = DeviceState::from_octets(row.state, row.version, counter)?;
        let device = Device {
            key: row.key,
            iccid: row.iccid,
            profile: profile(row.profile)?,
            bearer: bearer(row.bearer)?,
            ip_key: row.ip_key.map(Bytes::from),
            opened: Timestamp(row.opened),
            closed: row.closed.map(Timestamp),
        };
        Ok((device, state))
    }
}

/// A batch made ready to be written: sorted by key, so that two batches lock rows in one order; nothing named twice.
///
/// # Errors
/// `Refused` when a device's state is there twice: the caller merges, for only one of them could be written.
pub fn settle(mut batch: InboundCommit) -> Result<InboundCommit> {
    batch.states.sort_by_key(|(device, _)| *device);
    if batch.states.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err(StoreError::Refused("a batch holds two states of one device".into()));
    }
    batch.pages = last_of_each(batch.pages);
    batch.pages.sort_by_key(|(key, _)| *key);
    batch.moved_actions = settle_moves(&mut batch.new_actions, batch.moved_actions);
    let finished: HashSet<&PartsKey> = batch.finished_parts.iter().collect();
    batch.new_parts.retain(|part| part.sequence == 0 || !finished.contains(&part.key));
    let parts = batch.new_parts.into_iter().map(|part| ((part.key.clone(), part.sequence), part)).collect();
    batch.new_parts = last_of_each(parts).into_iter().map(|(_, part)| part).collect();
    Ok(batch)
}

/// An action with the state and due time that its row was read with.
type Move = (Action, State, Timestamp);

/// An action that is new and moved in one batch is new in its last form.
fn settle_moves(new: &mut [Action], moved: Vec<Move>) -> Vec<Move> {
    let moved = moved.into_iter().map(|it| ((it.0.device.subscriber, it.0.id), it)).collect();
    let mut moved: HashMap<_, _> = last_of_each(moved).into_iter().collect();
    for action in new {
        if let Some((last, ..)) = moved.remove(&(action.device.subscriber, action.id)) {
            *action = last;
        }
    }
    let mut moved: Vec<_> = moved.into_values().collect();
    moved.sort_by_key(|(action, ..)| (action.device.subscriber, action.id));
    moved
}

/// The last value of each key.
fn last_of_each<K: std::hash::Hash + Eq, V>(pairs: Vec<(K, V)>) -> Vec<(K, V)> {
    pairs.into_iter().collect::<HashMap<K, V>>().into_iter().collect()
}

/// Octets of a page as they are stored.
pub fn page(octets: Vec<u8>) -> Result<Page> {
    Ok(Page::from_octets(octets)?)
}

/// Scope and key of the setting that says from when on the journal is whole, in microseconds.
pub const JOURNAL_FROM: (&str, &str) = ("retention", "journal_from");

pub fn journal_from(value: &str) -> Result<Timestamp> {
    value.parse().map(Timestamp).map_err(|_| StoreError::Corrupt("setting journal_from is not a number".into()))
}

/// Days since 1970, UTC (D-115: at most one error message a day).
pub fn utc_day(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(86_400_000_000)).unwrap_or(i32::MAX)
}

/// The first of `count` counters lent to an edge (D-114).
///
/// # Errors
/// `NotFound` without a device, `Refused` when its counters are used up.
pub fn lent(device: DeviceKey, first: Option<i64>, count: u32) -> Result<u32> {
    let id = device.device.0;
    let first = first.ok_or_else(|| StoreError::NotFound(format!("device {id}")))?;
    let last = first.saturating_add(i64::from(count));
    u32::try_from(last)
        .map_err(|_| StoreError::Refused(format!("the downlink counters of device {id} are used up")))?;
    u32::try_from(first).map_err(|_| corrupt("counter", first))
}

/// The first of `count` counters that end with `last`; `None`: nothing was reserved.
///
/// # Errors
/// `Refused` then: the device is gone, or its counters are used up.
pub fn secured_counters(device: DeviceKey, last: Option<i64>, count: u32) -> Result<u64> {
    let id = device.device.0;
    let gone = || StoreError::Refused(format!("device {id} is gone, or its counters of secured packets are used up"));
    let last = last.and_then(|last| u64::try_from(last).ok()).ok_or_else(gone)?;
    Ok(last.saturating_sub(u64::from(count)).saturating_add(1))
}

/// A floor as the databases take it.
pub fn counter_floor(floor: u64) -> i64 {
    i64::try_from(floor).unwrap_or(i64::MAX / 2)
}

/// Columns of one row that a page of due actions looked at.
pub struct DueRow {
    pub device: DeviceKey,
    pub id: i64,
    pub due: i64,
    pub msisdn: i64,
    /// That of a backup acknowledgement, which travels whole.
    pub content: Option<Vec<u8>>,
    pub traces: Option<Vec<u8>>,
    /// Made early enough, and its turn.
    pub is_wanted: bool,
}

impl DueRow {
    fn queued(self, channel: Bearer) -> Result<QueuedAction> {
        let (acknowledgement, is_secured) = match self.content.map(Content::from_stored).transpose()? {
            Some((Content::BackupAcknowledgement(acknowledgement), is_secured)) => (Some(acknowledgement), is_secured),
            // What comes in turn is read before its launch in any case.
            _ => (None, false),
        };
        let (id, msisdn) = (ActionId(self.id), msisdn(self.msisdn)?);
        let traces = split_traces(self.traces.unwrap_or_default());
        let due = Timestamp(self.due);
        Ok(QueuedAction { device: self.device, id, due, channel, msisdn, acknowledgement, is_secured, traces })
    }
}

/// A page from the rows that it looked at, in their order.
pub fn due_page(query: &DueQuery, rows: Vec<DueRow>) -> Result<DuePage> {
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= query.rows_max);
    let last = rows.last().map(|row| DuePosition { due: Timestamp(row.due), id: ActionId(row.id) });
    let mut page = DuePage { next: last.filter(|_| is_full), ..DuePage::default() };
    for row in rows.into_iter().filter(|row| row.is_wanted) {
        let (device, id) = (row.device, ActionId(row.id));
        page.actions.extend(sound(row.queued(query.channel), device, id, &mut page.damaged)?);
    }
    Ok(page)
}

/// The value of one row of many; what does not decode is put aside, any other error is everybody's.
fn sound<T>(read: Result<T>, device: DeviceKey, id: ActionId, damaged: &mut Vec<Damaged>) -> Result<Option<T>> {
    let (is_lost, why) = match read {
        Ok(value) => return Ok(Some(value)),
        Err(StoreError::Corrupt(why)) => (true, why),
        Err(StoreError::Newer(why)) => (false, why),
        Err(other) => return Err(other),
    };
    damaged.push(Damaged { device, id, is_lost, why });
    Ok(None)
}

/// One of the actions that were asked for, with its device. It is not lost by what is wrong with the device.
pub fn load(
    loaded: &mut Loaded,
    (device, id): (DeviceKey, ActionId),
    action: Result<Action>,
    view: Result<DeviceView>,
) -> Result<()> {
    let Some(action) = sound(action, device, id, &mut loaded.damaged)? else { return Ok(()) };
    let before = loaded.damaged.len();
    let view = sound(view, device, id, &mut loaded.damaged)?;
    loaded.damaged.iter_mut().skip(before).for_each(|it| it.is_lost = false);
    loaded.actions.extend(view.map(|view| (action, view)));
    Ok(())
}

/// Before every due action.
pub const FIRST_DUE: DuePosition = DuePosition { due: Timestamp(0), id: ActionId(i64::MIN) };

/// What a failed action's row says that could not be read.
pub fn damage_cause(damaged: &Damaged) -> String {
    format!("its row does not decode: {}", damaged.why)
}

pub fn state_changed(device: DeviceKey) -> StoreError {
    StoreError::Conflict(format!("the state of device {} changed meanwhile", device.device.0))
}

pub fn no_subscriber(id: SubscriberId) -> StoreError {
    StoreError::NotFound(format!("subscriber {}", id.0))
}

/// The number is masked: the text ends in logs.
pub fn number_exists(msisdn: Msisdn) -> StoreError {
    StoreError::Refused(format!("number {msisdn} exists already"))
}

/// Between reading and writing an operator, a replica or an answer was quicker.
pub fn action_changed(id: ActionId) -> StoreError {
    StoreError::Conflict(format!("action {} changed meanwhile", id.0))
}

pub fn iccid_exists(iccid: &str) -> StoreError {
    StoreError::Refused(format!("ICCID {iccid} exists already"))
}

/// The login may be a name: it is not repeated.
pub fn login_exists() -> StoreError {
    StoreError::Refused("this login belongs to another user already".into())
}

/// D-126.
pub fn legal_hold(id: SubscriberId) -> StoreError {
    StoreError::Refused(format!("subscriber {} is under a legal hold", id.0))
}
