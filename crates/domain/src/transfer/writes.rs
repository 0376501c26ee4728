//! What a batch of messages changes in the stored sessions and collections: nothing in it is named twice, so a store may
//! write it in any order.

use link::transfer::parts::Item;

use super::{Collection, Session};
use crate::identity::{DeviceKey, SubscriberId};

/// An item that was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    pub owner: SubscriberId,
    pub session: u32,
    pub number: u16,
    pub content: Item,
}

/// The changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// As they are now.
    pub sessions: Vec<Session>,
    pub forgotten: Vec<(DeviceKey, u32)>,
    pub staged: Vec<Staged>,
    /// All items of these sessions go.
    pub dropped: Vec<(SubscriberId, u32)>,
    /// New ones, each in place of the one of its name.
    pub collections: Vec<(SubscriberId, String, Collection)>,
    pub deleted: Vec<(SubscriberId, String)>,
    /// Consents that went with their collection.
    pub withdrawn: Vec<(SubscriberId, String)>,
}

impl Writes {
    /// Adds what another device's messages change.
    pub fn extend(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.forgotten.extend(other.forgotten);
        self.staged.extend(other.staged);
        self.dropped.extend(other.dropped);
        self.collections.extend(other.collections);
        self.deleted.extend(other.deleted);
        self.withdrawn.extend(other.withdrawn);
    }

    pub(super) fn stage(&mut self, staged: Staged) {
        let place = |it: &Staged| (it.owner, it.session, it.number);
        self.staged.retain(|it| place(it) != place(&staged));
        self.staged.push(staged);
    }

    pub(super) fn drop_items(&mut self, owner: SubscriberId, session: u32) {
        self.staged.retain(|it| (it.owner, it.session) != (owner, session));
        if !self.dropped.contains(&(owner, session)) {
            self.dropped.push((owner, session));
        }
    }

    pub(super) fn publish(&mut self, owner: SubscriberId, name: &str, collection: Collection) {
        self.forget(owner, name);
        self.deleted.retain(|(of, named)| *of != owner || named != name);
        self.collections.push((owner, name.to_owned(), collection));
    }

    pub(super) fn delete(&mut self, owner: SubscriberId, name: &str) {
        self.forget(owner, name);
        let key = (owner, name.to_owned());
        for keys in [&mut self.deleted, &mut self.withdrawn] {
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
        }
    }

    fn forget(&mut self, owner: SubscriberId, name: &str) {
        self.collections.retain(|(of, named, _)| *of != owner || named != name);
    }
}
