//! What a batch of messages works on: the cards and pages that it read, changed in memory until the commit.

use std::collections::{HashMap, hash_map::Entry};

use link::transfer::{Message, parts::Item};

use super::{DeviceView, Page, PageKey, page};
use crate::{
    delivery::{Action, ActionId, Content, State},
    identity::{Msisdn, SubscriberId, Timestamp},
    transfer::{Desk, Needed, Writes},
};

/// One device of a batch.
#[derive(Clone, Debug)]
pub struct Card {
    pub view: DeviceView,
    /// Open actions other than acknowledgements, oldest first, once they were read.
    pub open: Vec<Action>,
    has_actions: bool,
    /// The state must be written.
    pub touched: bool,
    moved: Vec<ActionId>,
    /// The monitor table became another one since the batch's messages were parsed.
    pub(crate) is_newly_cut: bool,
    /// Boxed, for few cards of a batch have it.
    pub(crate) transfers: Option<Box<Transfers>>,
}

/// What a transfer message of the card works on: its sessions, and the shelves that they are about.
#[derive(Clone, Debug, Default)]
pub struct Transfers {
    pub desk: Desk,
    /// For a session that it opens: not to be guessed.
    pub new_id: u32,
    /// The users whose numbers it names.
    pub subscribers: HashMap<Msisdn, SubscriberId>,
}

impl Card {
    #[must_use]
    pub fn new(view: DeviceView) -> Self {
        Self {
            view,
            open: Vec::new(),
            has_actions: false,
            touched: false,
            moved: Vec::new(),
            is_newly_cut: false,
            transfers: None,
        }
    }

    /// The open actions are read: [`Self::open`] is all there is.
    pub fn set_actions(&mut self, open: Vec<Action>) {
        self.open = open;
        self.has_actions = true;
    }

    #[must_use]
    pub fn has_actions(&self) -> bool {
        self.has_actions
    }

    /// Sessions and shelves are read, with what [`Desk::needed`] names.
    pub fn set_transfers(&mut self, transfers: Transfers) {
        self.transfers = Some(Box::new(transfers));
    }

    #[must_use]
    pub fn has_transfers(&self) -> bool {
        self.transfers.is_some()
    }

    /// What else is to be read before this transfer message of the card is decided.
    #[must_use]
    pub fn needed_of(&self, message: &Message) -> Vec<Needed> {
        let Some(Transfers { desk, subscribers, .. }) = self.transfers.as_deref() else { return Vec::new() };
        desk.needed(self.view.device.key, message, |number| subscribers.get(&number).copied())
    }

    /// Takes a part of that.
    pub fn put_needed(&mut self, needed: Needed, number: u16, content: Item) {
        if let Some(transfers) = &mut self.transfers {
            transfers.desk.put_needed(needed, number, content);
        }
    }

    /// What its transfers changed.
    pub fn take_transfer_writes(&mut self) -> Writes {
        self.transfers.as_mut().map(|transfers| transfers.desk.take_writes()).unwrap_or_default()
    }

    /// Marks an open action as to be written.
    pub(crate) fn moved(&mut self, id: ActionId) {
        if !self.moved.contains(&id) {
            self.moved.push(id);
        }
    }

    /// The read actions that changed.
    pub fn take_moved(&mut self) -> Vec<Action> {
        let moved = std::mem::take(&mut self.moved);
        self.open.iter().filter(|action| moved.contains(&action.id)).cloned().collect()
    }

    /// The action whose turn it is (SC-OD-10), if it can go now.
    #[must_use]
    pub fn head(&self, now: Timestamp) -> Option<&Action> {
        let head = self.open.iter().find(|action| action.state.is_open() && action.content.is_ordered())?;
        (head.state == State::Queued && head.due <= now).then_some(head)
    }

    /// Whether records are on their way to the card: the comparison pauses (D-111).
    #[must_use]
    pub fn restore_runs(&self) -> bool {
        self.open.iter().any(|action| {
            action.state.is_open()
                && matches!(action.content, Content::Restore { .. } | Content::AddressableRestore { .. })
        })
    }
}

/// The pages of a batch. A page that does not exist is empty.
#[derive(Debug, Default)]
pub struct Pages {
    pages: HashMap<PageKey, (Page, bool)>,
}

impl Pages {
    /// Pages as read from the store.
    #[must_use]
    pub fn new(read: HashMap<PageKey, Page>) -> Self {
        Self { pages: read.into_iter().map(|(key, page)| (key, (page, false))).collect() }
    }

    #[must_use]
    pub fn get(&self, key: &PageKey) -> Option<&Page> {
        self.pages.get(key).map(|(page, _)| page)
    }

    /// The page, with room for records of `slot_octets`. It counts as changed only once [`Self::changed`] says so, or when
    /// the room had to be made in stored records.
    pub(crate) fn open(&mut self, key: PageKey, slot_octets: u8) -> &mut Page {
        match self.pages.entry(key) {
            Entry::Occupied(entry) => {
                let (page, _) = entry.into_mut();
                page.grow(slot_octets);
                page
            }
            Entry::Vacant(entry) => &mut entry.insert((Page { slot_octets, ..Page::default() }, false)).0,
        }
    }

    pub(crate) fn changed(&mut self, key: &PageKey) {
        if let Some((_, changed)) = self.pages.get_mut(key) {
            *changed = true;
        }
    }

    /// What must be written.
    #[must_use]
    pub fn into_changed(self) -> Vec<(PageKey, Page)> {
        let changed = self.pages.into_iter().filter(|(_, (_, changed))| *changed);
        let mut changed: Vec<_> = changed.map(|(key, (page, _))| (key, page)).collect();
        // One order for all writers: two batches that touch the same rows never wait for each other crosswise.
        changed.sort_unstable_by_key(|(key, _)| *key);
        changed
    }

    /// Everything of one device that is here, for a restore plan.
    #[must_use]
    pub fn of(&self, device: crate::identity::DeviceKey) -> Vec<(PageKey, Page)> {
        let of_device = self.pages.iter().filter(|(key, _)| key.device == device);
        of_device.map(|(key, (page, _))| (*key, page.clone())).collect()
    }

    /// Octets of a record's slot, `None` when empty.
    #[must_use]
    pub fn record(&self, key: &PageKey, slot: usize) -> Option<bytes::Bytes> {
        self.get(key)?.slots.get(slot)?.clone().filter(|octets| !page::is_empty(octets))
    }
}
