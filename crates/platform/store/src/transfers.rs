//! Transfers between devices, as the roles see them (NK). What a batch changes is written by [`crate::InboundStore::commit`].

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{
    identity::{DeviceKey, Msisdn, SubscriberId, Timestamp},
    transfer::{Collection, Needed, Session, Shelf},
};
use link::transfer::parts::Item;

use crate::{Audit, Result};

/// What `inbound-data` reads before a transfer message is decided.
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// Every session of these devices that is known.
    async fn transfer_sessions(&self, devices: &[DeviceKey]) -> Result<Vec<Session>>;
    /// Collections and consents of these users, without items; users that have neither are left out.
    async fn shelves(&self, owners: &[SubscriberId]) -> Result<HashMap<SubscriberId, Shelf>>;
    /// What of it there is: for an item one, for entries each with its number.
    async fn transfer_items(&self, needed: &[Needed]) -> Result<Vec<Found>>;
    /// Removes about `limit` sessions whose device spoke last before `before`, with what they staged; how many.
    async fn expire_transfers(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// Something that was needed, with the item's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub needed: Needed,
    pub number: u16,
    pub content: Item,
}

/// What `application-server` shows and changes of them.
#[async_trait]
pub trait CollectionStore: Send + Sync {
    async fn transfers_of(&self, subscriber: SubscriberId) -> Result<TransfersOf>;
    /// Gives or withdraws the consent that `to` fetches the owner's collection of that name; whether that changed
    /// anything.
    async fn set_consent(&self, consent: &Consent, given: bool, audit: Audit) -> Result<bool>;
}

/// Who lets whom fetch what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    pub owner: SubscriberId,
    /// The collection's; it need not be there yet.
    pub name: String,
    pub to: SubscriberId,
}

/// A user's collections by name, who may fetch which, and the sessions of the devices, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransfersOf {
    pub collections: Vec<(String, Collection)>,
    pub consents: Vec<(String, Msisdn)>,
    pub sessions: Vec<Session>,
}
