//! The collections of one user, and those that are still on their way in.
//!
//! A collection is complete or not visible (NK-ST-02): items are staged under their session and become the collection at
//! once, in place of its previous version. Everything has a quota (D-93). Items are found by the session that staged them,
//! so publishing moves none of them. A shelf that a store keeps holds here only the items that a message needs.

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

/// A stored collection; its items are beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The session that stored it, under which its items are found.
    pub version: u32,
    pub stored: Timestamp,
    /// The device that it came from.
    pub origin: DeviceKey,
    /// Items of each kind.
    pub data: u16,
    pub settings: u16,
    /// Octets of all items, as the quota counts them.
    pub octets: u32,
}

impl Collection {
    /// How many items a device gets that asks for these kinds.
    #[must_use]
    pub fn wanted(&self, wish: Wish) -> u16 {
        let of = |is_wanted, count| if is_wanted { count } else { 0 };
        of(wish.data, self.data).saturating_add(of(wish.settings, self.settings))
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

/// One item of a collection, counted from 1 among those of the kinds asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub version: u32,
    pub data: bool,
    pub settings: bool,
    pub number: u16,
}

impl Place {
    #[must_use]
    pub fn of(version: u32, wish: Wish, number: u16) -> Self {
        Self { version, data: wish.data, settings: wish.settings, number }
    }
}

/// All of one user: at most [`COLLECTIONS_MAX`], each with a name of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    collections: BTreeMap<String, Collection>,
    /// By the session that staged them, and number.
    items: BTreeMap<u32, BTreeMap<u16, Item>>,
    /// Items that were read by their place.
    read: BTreeMap<Place, Item>,
    /// Who else may fetch a collection: its owner has agreed (NK-SE-02).
    consents: Vec<(String, SubscriberId)>,
}

impl Shelf {
    /// A collection as it was read.
    pub fn put(&mut self, name: String, collection: Collection) {
        self.collections.insert(name, collection);
    }

    /// An item as it was read.
    pub fn put_item(&mut self, place: Place, content: Item) {
        self.read.insert(place, content);
    }

    /// By name; only what is complete.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }

    /// Names and collections.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Collection)> {
        self.collections.iter().map(|(name, collection)| (name.as_str(), collection))
    }

    /// What was staged under a session and is here, item 1 first.
    pub fn items(&self, session: u32) -> impl Iterator<Item = &Item> {
        self.items.get(&session).into_iter().flat_map(BTreeMap::values)
    }

    /// The item of a collection at that place.
    #[must_use]
    pub fn item(&self, place: Place) -> Option<&Item> {
        let wish = Wish { fetch: true, data: place.data, settings: place.settings, moves: false };
        let number = usize::from(place.number).checked_sub(1)?;
        self.read
            .get(&place)
            .or_else(|| self.items(place.version).filter(|item| is_wanted(wish, item.kind)).nth(number))
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
        self.items.entry(session).or_default().insert(number, item);
    }

    /// What the session staged becomes the collection of that name; gives the version that it replaces.
    ///
    /// # Errors
    /// [`Reason::MemoryFault`] when there are too many collections by now; nothing is changed but that the staged items
    /// are gone.
    pub fn publish(&mut self, name: &str, collection: Collection) -> Result<Option<u32>, Reason> {
        if let Err(reason) = self.may_store(name) {
            self.discard(collection.version);
            return Err(reason);
        }
        let replaced = self.collections.insert(name.to_owned(), collection).map(|old| old.version);
        if let Some(version) = replaced {
            self.items.remove(&version);
        }
        Ok(replaced)
    }

    /// Forgets what the session staged.
    pub fn discard(&mut self, session: u32) {
        self.items.remove(&session);
    }

    /// Deletes that version of a collection, and no other; whether it was there.
    pub fn delete(&mut self, name: &str, version: u32) -> bool {
        let is_it = self.collections.get(name).is_some_and(|collection| collection.version == version);
        if is_it {
            self.collections.remove(name);
            self.items.remove(&version);
            self.consents.retain(|(named, _)| named != name);
        }
        is_it
    }

    /// Whether nothing is left behind by stores that ended.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        let is_published = |session: &u32| self.collections.values().any(|collection| collection.version == *session);
        !self.items.keys().all(is_published)
    }
}
