//! Transfers between devices: sessions, items, collections and consents.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{
    identity::{DeviceKey, SubscriberId, Timestamp},
    transfer::{Collection, Needed, Place, Session, Shelf, Writes},
};
use rusqlite::{Connection, Row};

use super::{SqliteStore, actions, commit};
use crate::{
    Audit, Result,
    rows::{self, CollectionRow},
    transfers::{CollectionStore, Consent, Found, TransferStore, TransfersOf},
};

/// Columns in the order that [`collection`] reads them.
const COLLECTION: &str = "SELECT subscriber_id, name, version, stored, origin, data, settings, octets \
                          FROM transfer_collection WHERE subscriber_id = ?1 ORDER BY name";
/// Collections removed in one transaction: each may have 10 MiB.
const COLLECTIONS_AT_ONCE: u32 = 20;

#[async_trait]
impl TransferStore for SqliteStore {
    async fn transfer_sessions(&self, devices: &[DeviceKey]) -> Result<Vec<Session>> {
        let devices = devices.to_vec();
        let sql = "SELECT data FROM transfer_session WHERE subscriber_id = ?1 AND device_id = ?2";
        let read = move |connection: &Connection| {
            let mut sessions = Vec::new();
            for DeviceKey { subscriber, device } in devices {
                let session = |row: &Row<'_>| rows::transfer_session(row.get(0)?);
                sessions.extend(actions::all(connection, sql, (subscriber.0, device.0), session)?);
            }
            Ok(sessions)
        };
        self.readers.read(read).await
    }

    async fn shelves(&self, owners: &[SubscriberId]) -> Result<HashMap<SubscriberId, Shelf>> {
        let owners = owners.to_vec();
        let consents = "SELECT name, to_subscriber FROM transfer_consent WHERE subscriber_id = ?1";
        let read = move |connection: &Connection| {
            let mut shelves: HashMap<SubscriberId, Shelf> = HashMap::new();
            for owner in owners {
                for (name, collection) in actions::all(connection, COLLECTION, [owner.0], collection)? {
                    shelves.entry(owner).or_default().put(name, collection);
                }
                let consent = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, SubscriberId(row.get(1)?)));
                for (name, to) in actions::all(connection, consents, [owner.0], consent)? {
                    shelves.entry(owner).or_default().consent(&name, to);
                }
            }
            Ok(shelves)
        };
        self.readers.read(read).await
    }

    async fn transfer_items(&self, needed: &[Needed]) -> Result<Vec<Found>> {
        let needed = needed.to_vec();
        let read = move |connection: &Connection| {
            let mut found = Vec::new();
            for needed in needed {
                match needed {
                    Needed::Item { owner, place } => found.extend(item(connection, owner, place)?),
                    Needed::Entries { owner, session } => found.extend(entries(connection, owner, session)?),
                }
            }
            Ok(found)
        };
        self.readers.read(read).await
    }

    async fn expire_transfers(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let select = "SELECT subscriber_id, device_id, id FROM transfer_session WHERE last_traffic < ?1 \
                      ORDER BY last_traffic LIMIT ?2";
        // What was published meanwhile is a collection's.
        let items = "DELETE FROM transfer_item WHERE subscriber_id = ?1 AND session = ?2 AND NOT EXISTS \
                     (SELECT 1 FROM transfer_collection c WHERE c.subscriber_id = ?1 AND c.version = ?2)";
        let session = "DELETE FROM transfer_session WHERE subscriber_id = ?1 AND device_id = ?2 AND id = ?3";
        let write = move |connection: &Connection| {
            let key = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let old: Vec<(i64, i64, i64)> = actions::all(connection, select, (before.0, limit), key)?;
            for (subscriber, device, id) in &old {
                connection.prepare_cached(items)?.execute((subscriber, id))?;
                connection.prepare_cached(session)?.execute((subscriber, device, id))?;
            }
            Ok(old.len() as u64)
        };
        self.writer.write(write).await
    }
}

impl SqliteStore {
    /// Collections that were stored before that time, with their items and consents; how many.
    pub(super) async fn remove_old_collections(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let select =
            "SELECT subscriber_id, name, version FROM transfer_collection WHERE stored < ?1 ORDER BY stored LIMIT ?2";
        let write = move |connection: &Connection| {
            let key = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let params = (before.0, limit.min(COLLECTIONS_AT_ONCE));
            let old: Vec<(i64, String, i64)> = actions::all(connection, select, params, key)?;
            for (owner, name, version) in &old {
                delete_items(connection, *owner, *version)?;
                for table in ["transfer_collection", "transfer_consent"] {
                    delete_named(connection, table, *owner, name)?;
                }
            }
            Ok(old.len() as u64)
        };
        self.writer.write(write).await
    }
}

#[async_trait]
impl CollectionStore for SqliteStore {
    async fn transfers_of(&self, subscriber: SubscriberId) -> Result<TransfersOf> {
        let consents = "SELECT c.name, s.msisdn FROM transfer_consent c JOIN subscriber s ON s.id = c.to_subscriber \
                        WHERE c.subscriber_id = ?1 ORDER BY c.name, s.msisdn";
        let sessions = "SELECT data FROM transfer_session WHERE subscriber_id = ?1";
        let read = move |connection: &Connection| {
            let consent = |row: &Row<'_>| Ok((row.get(0)?, rows::msisdn(row.get(1)?)?));
            let session = |row: &Row<'_>| rows::transfer_session(row.get(0)?);
            let mut sessions = actions::all(connection, sessions, [subscriber.0], session)?;
            sessions.sort_by_key(|session| session.opened);
            Ok(TransfersOf {
                collections: actions::all(connection, COLLECTION, [subscriber.0], collection)?,
                consents: actions::all(connection, consents, [subscriber.0], consent)?,
                sessions,
            })
        };
        self.readers.read(read).await
    }

    async fn set_consent(&self, consent: &Consent, given: bool, audit: Audit) -> Result<bool> {
        let Consent { owner, name, to } = consent.clone();
        let sql = if given {
            "INSERT INTO transfer_consent (subscriber_id, name, to_subscriber, given) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (subscriber_id, name, to_subscriber) DO NOTHING"
        } else {
            "DELETE FROM transfer_consent WHERE subscriber_id = ?1 AND name = ?2 AND to_subscriber = ?3 AND given <= ?4"
        };
        let write = move |connection: &Connection| {
            let changed = connection.prepare_cached(sql)?.execute((owner.0, name, to.0, audit.at.0))? > 0;
            commit::write_audit(connection, &audit)?;
            Ok(changed)
        };
        self.writer.write(write).await
    }
}

/// Of both kinds it is the one of that number, for there are no gaps; of one kind it is counted out.
fn item(connection: &Connection, owner: SubscriberId, place: Place) -> Result<Option<Found>> {
    let sql = "SELECT kind, key, value FROM transfer_item WHERE subscriber_id = ?1 AND session = ?2 AND number >= ?3 \
               AND (kind = 1 AND ?4 OR kind = 2 AND ?5) ORDER BY number LIMIT 1 OFFSET ?6";
    let number = u32::from(place.number);
    let (from, offset) = if place.data && place.settings { (number, 0) } else { (1, number.saturating_sub(1)) };
    let params = (owner.0, place.version, from, place.data, place.settings, offset);
    actions::first(connection, sql, params, |row| {
        let content = rows::item(row.get(0)?, row.get(1)?, row.get(2)?)?;
        Ok(Found { needed: Needed::Item { owner, place }, number: place.number, content })
    })
}

fn entries(connection: &Connection, owner: SubscriberId, session: u32) -> Result<Vec<Found>> {
    let sql = "SELECT number, kind, key, value FROM transfer_item WHERE subscriber_id = ?1 AND session = ?2 \
               AND kind = 1 AND length(key) = 5 AND substr(key, 1, 4) = x'7F106F3A' ORDER BY number";
    actions::all(connection, sql, (owner.0, session), |row| {
        let content = rows::item(row.get(1)?, row.get(2)?, row.get(3)?)?;
        let number = rows::item_number(row.get(0)?)?;
        Ok(Found { needed: Needed::Entries { owner, session }, number, content })
    })
}

fn collection(row: &Row<'_>) -> Result<(String, Collection)> {
    let collection = CollectionRow {
        version: row.get(2)?,
        stored: row.get(3)?,
        origin: rows::key(row.get(0)?, row.get(4)?),
        data: row.get(5)?,
        settings: row.get(6)?,
        octets: row.get(7)?,
    };
    Ok((row.get(1)?, collection.try_into()?))
}

fn delete_items(connection: &Connection, owner: i64, session: i64) -> Result<()> {
    let delete = "DELETE FROM transfer_item WHERE subscriber_id = ?1 AND session = ?2";
    connection.prepare_cached(delete)?.execute((owner, session))?;
    Ok(())
}

fn delete_named(connection: &Connection, table: &str, owner: i64, name: &str) -> Result<()> {
    let delete = format!("DELETE FROM {table} WHERE subscriber_id = ?1 AND name = ?2");
    connection.prepare_cached(&delete)?.execute((owner, name))?;
    Ok(())
}

/// What a commit changes.
pub fn write(connection: &Connection, writes: &Writes) -> Result<()> {
    for session in &writes.sessions {
        let upsert = "INSERT OR REPLACE INTO transfer_session (subscriber_id, device_id, id, last_traffic, data) \
                      VALUES (?1, ?2, ?3, ?4, ?5)";
        let DeviceKey { subscriber, device } = session.opening.device;
        let params = (subscriber.0, device.0, session.opening.id, session.last_traffic.0, session.to_octets());
        connection.prepare_cached(upsert)?.execute(params)?;
    }
    for (DeviceKey { subscriber, device }, id) in &writes.forgotten {
        let delete = "DELETE FROM transfer_session WHERE subscriber_id = ?1 AND device_id = ?2 AND id = ?3";
        connection.prepare_cached(delete)?.execute((subscriber.0, device.0, id))?;
    }
    for (owner, session) in &writes.dropped {
        delete_items(connection, owner.0, i64::from(*session))?;
    }
    for item in &writes.staged {
        let upsert = "INSERT OR REPLACE INTO transfer_item (subscriber_id, session, number, kind, key, value) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (kind, key, value) = (item.content.kind.code(), item.content.key.as_ref(), item.content.value.as_ref());
        connection.prepare_cached(upsert)?.execute((item.owner.0, item.session, item.number, kind, key, value))?;
    }
    for (owner, name, it) in &writes.collections {
        let upsert = "INSERT OR REPLACE INTO transfer_collection \
                      (subscriber_id, name, version, stored, origin, data, settings, octets) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let origin = it.origin.device.0;
        let params = (owner.0, name, it.version, it.stored.0, origin, it.data, it.settings, it.octets);
        connection.prepare_cached(upsert)?.execute(params)?;
    }
    for (owner, name) in &writes.deleted {
        delete_named(connection, "transfer_collection", owner.0, name)?;
    }
    for (owner, name) in &writes.withdrawn {
        delete_named(connection, "transfer_consent", owner.0, name)?;
    }
    Ok(())
}

/// What goes with an erased subscriber; how many rows.
pub fn erase(connection: &Connection, id: SubscriberId) -> Result<usize> {
    let mut erased = 0;
    for table in ["transfer_session", "transfer_item", "transfer_collection", "transfer_consent"] {
        erased += connection.execute(&format!("DELETE FROM {table} WHERE subscriber_id = ?1"), [id.0])?;
    }
    Ok(erased + connection.execute("DELETE FROM transfer_consent WHERE to_subscriber = ?1", [id.0])?)
}
