//! What transfer messages of a batch are decided on: sessions of their devices, shelves of the users concerned, and the
//! items that they name.

use std::collections::{HashMap, HashSet};

use domain::{
    identity::{Msisdn, SubscriberId},
    phonebook::{Card, Transfers},
    transfer::{Desk, Needed, Session},
};
use link::transfer::Message;
use store::{InboundStore, StoreError};

/// Whether a message is decided in this attempt, after those of its card before it. A step of a session needs what its
/// card's messages before it have changed as it is stored, so it begins an attempt and what follows it waits; parts of
/// items go together.
pub fn may_follow(
    message: &Message,
    card: usize,
    transferring: &mut HashSet<usize>,
    changed: &mut HashSet<usize>,
) -> bool {
    let is_first = transferring.insert(card);
    if matches!(message, Message::Item { .. }) {
        return true;
    }
    changed.insert(card);
    is_first
}

/// Reads it, for cards that have a message each, or parts of items.
pub async fn read(
    store: &dyn InboundStore,
    messages: &[(usize, Message)],
    cards: &mut [Card],
) -> Result<(), StoreError> {
    let subscribers = subscribers(store, messages).await?;
    let devices: HashSet<_> = messages.iter().filter_map(|(card, _)| Some(cards.get(*card)?.view.device.key)).collect();
    let devices: Vec<_> = devices.into_iter().collect();
    let mut sessions: HashMap<_, Vec<Session>> = HashMap::new();
    for session in store.transfer_sessions(&devices).await? {
        sessions.entry(session.opening.device).or_default().push(session);
    }
    let owners: HashSet<SubscriberId> = devices
        .iter()
        .map(|device| device.subscriber)
        .chain(sessions.values().flatten().map(|session| session.opening.owner))
        .chain(subscribers.values().copied())
        .collect();
    let shelves = store.shelves(&owners.into_iter().collect::<Vec<_>>()).await?;
    let mut needed: Vec<(usize, Needed)> = Vec::new();
    for (at, message) in messages {
        let Some(card) = cards.get_mut(*at) else { continue };
        let device = card.view.device.key;
        if !card.has_transfers() {
            let mut desk = Desk::default();
            sessions.remove(&device).into_iter().flatten().for_each(|session| desk.restore_session(session));
            let named = subscribers.values().copied();
            let owners: HashSet<SubscriberId> =
                desk.owners().chain(named).chain(std::iter::once(device.subscriber)).collect();
            for owner in owners {
                desk.put_shelf(owner, shelves.get(&owner).cloned().unwrap_or_default());
            }
            let new_id = desk.unused_id(std::iter::repeat_with(rand::random));
            card.set_transfers(Transfers { desk, new_id, subscribers: subscribers.clone() });
        }
        needed.extend(card.needed_of(message).into_iter().map(|each| (*at, each)));
    }
    let asked: Vec<Needed> = needed.iter().map(|(_, each)| *each).collect();
    if asked.is_empty() {
        return Ok(());
    }
    for found in store.transfer_items(&asked).await? {
        for (at, _) in needed.iter().filter(|(_, each)| *each == found.needed) {
            if let Some(card) = cards.get_mut(*at) {
                card.put_needed(found.needed, found.number, found.content.clone());
            }
        }
    }
    Ok(())
}

/// The users whose numbers stand in front of collections' names.
async fn subscribers(
    store: &dyn InboundStore,
    messages: &[(usize, Message)],
) -> Result<HashMap<Msisdn, SubscriberId>, StoreError> {
    let numbers: HashSet<Msisdn> = messages.iter().filter_map(|(_, message)| Desk::named(message)).collect();
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let numbers: Vec<Msisdn> = numbers.into_iter().collect();
    let views = store.devices(&numbers).await?;
    Ok(views.into_iter().flatten().map(|view| (view.subscriber.msisdn, view.subscriber.id)).collect())
}
