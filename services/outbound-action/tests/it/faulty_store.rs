//! The embedded store with faults that the test switches on.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    delivery::{Action, ActionId, State},
    identity::{DeviceKey, Timestamp},
};
use store::{Damaged, DuePage, DueQuery, Loaded, Notice, OutboundStore, Result, StoreError, sqlite::SqliteStore};

pub struct FaultyStore {
    store: Arc<SqliteStore>,
    /// Nothing is answered.
    pub away: AtomicBool,
    /// Requests that found it away.
    pub refused: AtomicUsize,
    /// A statement that writes one of these is refused.
    pub unwritable: Mutex<HashSet<ActionId>>,
    /// So many statements find a conflict.
    pub conflicts: AtomicUsize,
}

impl FaultyStore {
    pub fn new(store: Arc<SqliteStore>) -> Arc<Self> {
        let (away, refused, conflicts) = (AtomicBool::default(), AtomicUsize::default(), AtomicUsize::default());
        Arc::new(Self { store, away, refused, unwritable: Mutex::default(), conflicts })
    }

    fn check(&self) -> Result<()> {
        if !self.away.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Unavailable("switched off".to_owned()))
    }

    fn check_writing(&self, mut ids: impl Iterator<Item = ActionId>) -> Result<()> {
        self.check()?;
        let take = |left: usize| left.checked_sub(1);
        if self.conflicts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Err(StoreError::Conflict("in each other's way".to_owned()));
        }
        let unwritable = self.unwritable.lock().unwrap();
        if ids.any(|id| unwritable.contains(&id)) {
            return Err(StoreError::Refused("unwritable".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl OutboundStore for FaultyStore {
    async fn actions(&self, ids: &[(DeviceKey, ActionId)]) -> Result<Loaded> {
        self.check()?;
        self.store.actions(ids).await
    }

    async fn fail_damaged(&self, damaged: &[Damaged], at: Timestamp) -> Result<u64> {
        self.check()?;
        self.store.fail_damaged(damaged, at).await
    }

    async fn heads(&self, devices: &[DeviceKey]) -> Result<Vec<(DeviceKey, ActionId)>> {
        self.check()?;
        self.store.heads(devices).await
    }

    async fn move_actions(&self, moves: &[(Action, Vec<State>)]) -> Result<Vec<bool>> {
        self.check_writing(moves.iter().map(|(action, _)| action.id))?;
        self.store.move_actions(moves).await
    }

    async fn replace_actions(&self, moves: &[(Action, State, Timestamp)]) -> Result<Vec<bool>> {
        self.check_writing(moves.iter().map(|(action, ..)| action.id))?;
        self.store.replace_actions(moves).await
    }

    async fn add_notices(&self, notices: &[Notice]) -> Result<()> {
        self.check()?;
        self.store.add_notices(notices).await
    }

    async fn finish(&self, ids: &[(DeviceKey, ActionId)]) -> Result<()> {
        self.check_writing(ids.iter().map(|(_, id)| *id))?;
        self.store.finish(ids).await
    }

    async fn due(&self, query: &DueQuery) -> Result<DuePage> {
        self.check()?;
        self.store.due(query).await
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        self.check()?;
        OutboundStore::reserve_secured(self.store.as_ref(), device, count, floor).await
    }

    async fn ping(&self) -> Result<()> {
        self.check()?;
        OutboundStore::ping(self.store.as_ref()).await
    }
}
