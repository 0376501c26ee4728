//! A store in memory that fails on command: what happens between reading, committing and answering.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use domain::{
    delivery::{Action, Content, State},
    identity::{DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{Change, DeviceState, DeviceView, Page, PageKey},
    transfer::{Needed, Session, Shelf, Writes},
};
use link::transfer::parts::Item;
use store::{
    BillingEvent, Found, InboundCommit, InboundStore, Notice, Part, PartsHeld, PartsKey, Result, StoreError,
    TransferStore,
};
use tokio::sync::Semaphore;

/// Everything stored, in the form in which a database has it: values are encoded.
#[derive(Default)]
pub struct Tables {
    pub devices: BTreeMap<Msisdn, DeviceView>,
    states: HashMap<DeviceKey, (i64, u32, Vec<u8>)>,
    /// When a sweep is to look at a marked device.
    due: HashMap<DeviceKey, Timestamp>,
    pages: HashMap<PageKey, Vec<u8>>,
    pub journal: Vec<Change>,
    pub actions: BTreeMap<i64, Action>,
    pub billing: Vec<BillingEvent>,
    pub notices: Vec<Notice>,
    pub dead_letters: Vec<store::DeadLetter>,
    pub parts: Vec<Part>,
    claims: HashSet<(Msisdn, i64)>,
    sessions: HashMap<(DeviceKey, u32), Vec<u8>>,
    shelves: HashMap<SubscriberId, Shelf>,
    /// The highest counters of secured packets that were reserved.
    secured: HashMap<DeviceKey, u64>,
    pub commits: usize,
    /// Commits that came as far as the gate.
    pub begun: usize,
    pub reads: usize,
    /// Commits to answer with these errors before anything is accepted again.
    pub failures: Vec<StoreError>,
    pub unavailable: bool,
    /// A commit with a record that contains this is refused.
    pub poison: Option<Vec<u8>>,
    /// Happens once, between the reading and the next writing.
    pub before_commit: Option<Meanwhile>,
}

/// What somebody else does.
pub type Meanwhile = Box<dyn FnOnce(&mut Tables) + Send>;

pub struct MemoryStore {
    tables: Mutex<Tables>,
    /// A commit takes a permit for each device state; a test that closes the gate holds them back.
    pub gate: Semaphore,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { tables: Mutex::default(), gate: Semaphore::new(1 << 20) }
    }
}

impl MemoryStore {
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, view: DeviceView) {
        let mut tables = self.tables();
        tables.states.insert(view.device.key, (1, 1, view.state.to_octets()));
        tables.devices.insert(view.subscriber.msisdn, view);
    }
}

impl Tables {
    fn check(&self) -> Result<()> {
        if self.unavailable { Err(StoreError::Unavailable("switched off".to_owned())) } else { Ok(()) }
    }

    pub fn state(&self, key: DeviceKey) -> DeviceState {
        let (version, downlink, octets) = &self.states[&key];
        DeviceState::from_octets(octets.clone(), *version, *downlink).unwrap()
    }

    pub fn set_state(&mut self, key: DeviceKey, state: &DeviceState) {
        let place = self.states.get_mut(&key).unwrap();
        place.0 += 1;
        place.2 = state.to_octets();
    }

    pub fn page(&self, key: &PageKey) -> Option<Page> {
        Some(Page::from_octets(self.pages.get(key)?.clone()).unwrap())
    }

    pub fn acknowledgements(&self) -> Vec<Vec<u8>> {
        let records = self.actions.values().filter_map(|action| match &action.content {
            Content::BackupAcknowledgement(acknowledgement) => Some(acknowledgement.records.to_vec()),
            _ => None,
        });
        records.collect()
    }

    /// How many parts wait for their others.
    pub fn waiting_parts(&self) -> usize {
        self.parts.iter().filter(|part| part.sequence > 0).count()
    }

    fn write_transfers(&mut self, writes: Writes) {
        for session in writes.sessions {
            self.sessions.insert((session.opening.device, session.opening.id), session.to_octets());
        }
        writes.forgotten.iter().for_each(|key| drop(self.sessions.remove(key)));
        for (owner, session) in writes.dropped {
            self.shelf(owner).discard(session);
        }
        for item in writes.staged {
            self.shelf(item.owner).stage(item.session, item.number, item.content);
        }
        for (owner, name, collection) in writes.collections {
            self.shelf(owner).put(name, collection);
        }
        for (owner, name) in writes.deleted {
            let version = self.shelf(owner).get(&name).map(|collection| collection.version);
            self.shelf(owner).delete(&name, version.unwrap());
        }
    }

    pub fn shelf(&mut self, owner: SubscriberId) -> &mut Shelf {
        self.shelves.entry(owner).or_default()
    }

    pub fn ordered(&self) -> Vec<Action> {
        self.actions.values().filter(|action| action.content.code() != 1).cloned().collect()
    }
}

#[async_trait]
impl TransferStore for MemoryStore {
    async fn transfer_sessions(&self, devices: &[DeviceKey]) -> Result<Vec<Session>> {
        let tables = self.tables();
        tables.check()?;
        let of_devices = tables.sessions.iter().filter(|((device, _), _)| devices.contains(device));
        Ok(of_devices.map(|(_, octets)| Session::from_octets(octets.clone()).unwrap()).collect())
    }

    async fn shelves(&self, owners: &[SubscriberId]) -> Result<HashMap<SubscriberId, Shelf>> {
        let tables = self.tables();
        tables.check()?;
        Ok(owners.iter().filter_map(|owner| Some((*owner, tables.shelves.get(owner)?.clone()))).collect())
    }

    async fn transfer_items(&self, needed: &[Needed]) -> Result<Vec<Found>> {
        let tables = self.tables();
        tables.check()?;
        let mut found = Vec::new();
        for each in needed {
            match *each {
                Needed::Item { owner, place } => {
                    let content = tables.shelves.get(&owner).and_then(|shelf| shelf.item(place)).cloned();
                    found.extend(content.map(|content| Found { needed: *each, number: place.number, content }));
                }
                Needed::Entries { owner, session } => {
                    let items = tables.shelves.get(&owner).into_iter().flat_map(|shelf| shelf.items(session));
                    let each =
                        |(number, content): (u16, &Item)| Found { needed: *each, number, content: content.clone() };
                    found.extend((1..).zip(items).map(each));
                }
            }
        }
        Ok(found)
    }

    async fn expire_transfers(&self, before: Timestamp, _: u32) -> Result<u64> {
        let mut tables = self.tables();
        let count = tables.sessions.len();
        tables.sessions.retain(|_, octets| Session::from_octets(octets.clone()).unwrap().last_traffic >= before);
        Ok((count - tables.sessions.len()) as u64)
    }
}

#[async_trait]
impl InboundStore for MemoryStore {
    async fn devices(&self, msisdns: &[Msisdn]) -> Result<Vec<Option<DeviceView>>> {
        let mut tables = self.tables();
        tables.check()?;
        tables.reads += 1;
        let view = |msisdn| {
            let view: &DeviceView = tables.devices.get(msisdn)?;
            Some(DeviceView { state: tables.state(view.device.key), ..view.clone() })
        };
        Ok(msisdns.iter().map(view).collect())
    }

    async fn pages(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Page>> {
        let tables = self.tables();
        tables.check()?;
        Ok(keys.iter().filter_map(|key| Some((*key, tables.page(key)?))).collect())
    }

    async fn open_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>> {
        let tables = self.tables();
        tables.check()?;
        let open = tables.ordered().into_iter().filter(|action| action.state.is_open());
        Ok(open.filter(|action| devices.contains(&action.device)).collect())
    }

    async fn mismatched(&self, before: Timestamp, limit: u32) -> Result<Vec<Msisdn>> {
        let tables = self.tables();
        tables.check()?;
        let due = |view: &DeviceView| Some((*tables.due.get(&view.device.key)?, view.subscriber.msisdn));
        let mut marked: Vec<_> = tables.devices.values().filter_map(due).filter(|(due, _)| *due <= before).collect();
        marked.sort_unstable();
        Ok(marked.into_iter().map(|(_, msisdn)| msisdn).take(limit as usize).collect())
    }

    async fn parts_held(&self, msisdns: &[Msisdn]) -> Result<HashMap<Msisdn, PartsHeld>> {
        let tables = self.tables();
        tables.check()?;
        let mut held: HashMap<Msisdn, PartsHeld> = HashMap::new();
        for part in tables.parts.iter().filter(|part| msisdns.contains(&part.key.msisdn)) {
            let held = held.entry(part.key.msisdn).or_default();
            if part.sequence == 0 {
                held.remembered += 1;
            } else {
                held.waiting += 1;
            }
        }
        Ok(held)
    }

    async fn parts(&self, keys: &[PartsKey]) -> Result<Vec<Part>> {
        let tables = self.tables();
        tables.check()?;
        Ok(tables.parts.iter().filter(|part| keys.contains(&part.key)).cloned().collect())
    }

    async fn expire_parts(&self, before: Timestamp) -> Result<u64> {
        let mut tables = self.tables();
        let count = tables.parts.len();
        tables.parts.retain(|part| part.arrived >= before);
        Ok((count - tables.parts.len()) as u64)
    }

    async fn commit(&self, batch: InboundCommit) -> Result<()> {
        self.tables().begun += 1;
        let _open = self.gate.acquire().await.unwrap();
        let mut tables = self.tables();
        tables.check()?;
        if let Some(error) = tables.failures.pop() {
            return Err(error);
        }
        if let Some(poison) = &tables.poison {
            let records =
                batch.changes.iter().flat_map(|change| &change.records).filter_map(|record| record.new.clone());
            if records.into_iter().any(|octets| octets.windows(poison.len()).any(|window| window == poison)) {
                return Err(StoreError::Refused("poison".to_owned()));
            }
        }
        for (key, state) in &batch.states {
            if tables.states[key].0 != state.version {
                return Err(StoreError::Conflict(format!("device {}", key.device.0)));
            }
        }
        if let Some(meanwhile) = tables.before_commit.take() {
            meanwhile(&mut tables);
        }
        for (action, state, due) in &batch.moved_actions {
            let present = &tables.actions[&action.id.0];
            if (present.state, present.due) != (*state, *due) {
                return Err(StoreError::Conflict(format!("action {}", action.id.0)));
            }
        }
        for (key, state) in &batch.states {
            tables.set_state(*key, state);
            match state.mismatch_since {
                Some(since) => tables.due.insert(*key, batch.mismatch_due.get(key).copied().unwrap_or(since)),
                None => tables.due.remove(key),
            };
        }
        for (key, page) in &batch.pages {
            tables.pages.insert(*key, page.to_octets());
        }
        tables.write_transfers(batch.transfers);
        tables.commits += 1;
        tables.journal.extend(batch.changes);
        let moved = batch.moved_actions.into_iter().map(|(action, ..)| action);
        tables.actions.extend(batch.new_actions.into_iter().chain(moved).map(|action| (action.id.0, action)));
        tables.billing.extend(batch.billing);
        tables.notices.extend(batch.notices);
        tables.dead_letters.extend(batch.dead_letters);
        tables.parts.retain(|part| part.sequence == 0 || !batch.finished_parts.contains(&part.key));
        for part in batch.new_parts {
            if part.sequence > 0 && batch.finished_parts.contains(&part.key) {
                continue;
            }
            tables.parts.retain(|held| (&held.key, held.sequence) != (&part.key, part.sequence));
            tables.parts.push(part);
        }
        Ok(())
    }

    async fn claim_error_replies(&self, msisdns: &[Msisdn], at: Timestamp) -> Result<Vec<Msisdn>> {
        let mut tables = self.tables();
        tables.check()?;
        let day = at.0 / 86_400_000_000;
        Ok(msisdns.iter().filter(|msisdn| tables.claims.insert((**msisdn, day))).copied().collect())
    }

    async fn action_by_launch(&self, link: &str, bearer_message_id: &str) -> Result<Option<Action>> {
        let tables = self.tables();
        let is_it = |action: &&Action| {
            action.launched.as_ref().is_some_and(|it| it.link == link && it.bearer_message_id == bearer_message_id)
        };
        Ok(tables.actions.values().find(is_it).cloned())
    }

    async fn replace_action(&self, action: &Action, state: State, due: Timestamp) -> Result<bool> {
        let mut tables = self.tables();
        if let Some(meanwhile) = tables.before_commit.take() {
            meanwhile(&mut tables);
        }
        let as_read = |present: &&mut Action| (present.state, present.due) == (state, due);
        let Some(present) = tables.actions.get_mut(&action.id.0).filter(as_read) else {
            return Ok(false);
        };
        *present = action.clone();
        Ok(true)
    }

    async fn reserve_downlink(&self, device: DeviceKey, count: u32) -> Result<u32> {
        let mut tables = self.tables();
        let place = &mut tables.states.get_mut(&device).unwrap().1;
        let first = *place;
        *place += count;
        Ok(first)
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        let mut tables = self.tables();
        let last = tables.secured.entry(device).or_default();
        let first = floor.max(*last) + 1;
        *last = first + u64::from(count) - 1;
        Ok(first)
    }

    async fn ping(&self) -> Result<()> {
        self.tables().check()
    }
}
