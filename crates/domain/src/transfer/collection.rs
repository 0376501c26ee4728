//! The collections of one user, and those that are still on their way in.
//!
//! A collection is complete or not visible (NK-ST-02): items are staged under their session and become the collection at
//! once, in place of its previous version. Everything has a quota (D-93).

use std::collections::BTreeMap;

use link::{
    reason::Reason,
    transfer::{Kind, Wish, parts::Item},
};

use crate::identity::{DeviceKey, SubscriberId, Timestamp};

/// Octets of a collection at most, keys included (D-93).
pub const COLLECTION_OCTETS_MAX: usize = 10 * 1024 * 1024;
/// Collections of a user at most (D-93).
pub const COLLECTIONS_MAX: usize = 5;

/// A stored collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The session that stored it.
    pub version: u32,
    pub stored: Timestamp,
    /// The device that it came from.
    pub origin: DeviceKey,
    /// In the order in which they came: item 1 first.
    pub items: Vec<Item>,
}

impl Collection {
    /// Octets of all items, as the quota counts them.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.items.iter().map(Item::octets).sum()
    }

    /// The items that a device asks for.
    pub fn wanted(&self, wish: Wish) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| is_wanted(wish, item.kind))
    }
}

/// Data only, settings only, or both (NK-GN-07).
#[must_use]
pub fn is_wanted(wish: Wish, kind: Kind) -> bool {
    match kind {
        Kind::Data => wish.data,
        Kind::Setting => wish.settings,
    }
}

/// All of one user: at most [`COLLECTIONS_MAX`], each with a name of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    collections: BTreeMap<String, Collection>,
    /// Items of stores that have not ended, by session and item.
    staged: BTreeMap<u32, BTreeMap<u16, Item>>,
    /// Who else may fetch a collection: its owner has agreed (NK-SE-02).
    consents: Vec<(String, SubscriberId)>,
}

impl Shelf {
    /// By name; only what is complete.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }

    /// Names and collections.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Collection)> {
        self.collections.iter().map(|(name, collection)| (name.as_str(), collection))
    }

    /// Whether a collection of that name may be stored.
    ///
    /// # Errors
    /// [`Reason::MemoryFault`] when the user has as many others as allowed.
    pub fn may_store(&self, name: &str) -> Result<(), Reason> {
        let others = self.collections.keys().filter(|stored| *stored != name).count();
        if others < COLLECTIONS_MAX { Ok(()) } else { Err(Reason::MemoryFault) }
    }

    /// The owner lets another user fetch the collection, once it is there and as long as it is.
    pub fn consent(&mut self, name: &str, to: SubscriberId) {
        let consent = (name.to_owned(), to);
        if !self.consents.contains(&consent) {
            self.consents.push(consent);
        }
    }

    /// The owner does so no more.
    pub fn withdraw_consent(&mut self, name: &str, to: SubscriberId) {
        self.consents.retain(|(named, given)| named != name || *given != to);
    }

    #[must_use]
    pub fn is_shared_with(&self, name: &str, subscriber: SubscriberId) -> bool {
        self.consents.iter().any(|(named, given)| named == name && *given == subscriber)
    }

    /// Keeps an item of a store that has not ended; not visible.
    pub fn stage(&mut self, session: u32, number: u16, item: Item) {
        self.staged.entry(session).or_default().insert(number, item);
    }

    /// Makes what the session staged the collection of that name.
    ///
    /// # Errors
    /// [`Reason::MemoryFault`] when there are too many collections by now; nothing is changed but that the staged items
    /// are gone.
    pub fn publish(&mut self, session: u32, name: &str, origin: DeviceKey, now: Timestamp) -> Result<(), Reason> {
        let items = self.staged.remove(&session).unwrap_or_default().into_values().collect();
        self.may_store(name)?;
        let collection = Collection { version: session, stored: now, origin, items };
        self.collections.insert(name.to_owned(), collection);
        Ok(())
    }

    /// Forgets what the session staged.
    pub fn discard(&mut self, session: u32) {
        self.staged.remove(&session);
    }

    /// Deletes that version of a collection, and no other.
    pub fn delete(&mut self, name: &str, version: u32) {
        if self.collections.get(name).is_some_and(|collection| collection.version == version) {
            self.collections.remove(name);
            self.consents.retain(|(named, _)| named != name);
        }
    }

    /// Whether nothing is left behind by stores that ended.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }
}
