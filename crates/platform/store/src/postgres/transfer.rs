//! Transfers between devices: sessions, items, collections and consents.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{
    identity::{DeviceKey, SubscriberId, Timestamp},
    transfer::{Needed, Place, Session, Shelf, Writes},
};
use tokio_postgres::Row;

use super::{
    Connection, PostgresStore,
    application::write_audit,
    arrays::Rows,
    columns::{clean, get, micros, octet},
    commit::Statement,
    times::At,
};
use crate::{
    Audit, Result,
    rows::{self, CollectionRow},
    transfers::{CollectionStore, Consent, Found, TransferStore, TransfersOf},
};

/// Columns in the order that [`collection`] reads them, of a table named `c`.
const COLLECTION: &str = "c.subscriber_id, c.name, c.version, c.stored, c.origin, c.data, c.settings, c.octets";
/// Collections removed in one transaction: each may have 10 MiB.
const COLLECTIONS_AT_ONCE: u32 = 20;

#[async_trait]
impl TransferStore for PostgresStore {
    async fn transfer_sessions(&self, devices: &[DeviceKey]) -> Result<Vec<Session>> {
        let rows = super::inbound::device_rows(devices);
        let sql = format!(
            "SELECT t.data FROM {} JOIN transfer_session t ON t.subscriber_id = u.subscriber_id \
             AND t.device_id = u.device_id",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        found.iter().map(|row| rows::transfer_session(get(row, 0)?)).collect()
    }

    async fn shelves(&self, owners: &[SubscriberId]) -> Result<HashMap<SubscriberId, Shelf>> {
        let ids: Vec<i64> = owners.iter().map(|owner| owner.0).collect();
        let connection = self.readers.get().await?;
        let mut shelves: HashMap<SubscriberId, Shelf> = HashMap::new();
        let sql = format!(
            "SELECT {COLLECTION} FROM UNNEST($1::bigint[]) AS u(owner) \
             JOIN transfer_collection c ON c.subscriber_id = u.owner"
        );
        for row in connection.query(&sql, &[&ids]).await? {
            let (owner, name, collection) = collection(&row)?;
            shelves.entry(owner).or_default().put(name, collection);
        }
        let sql = "SELECT c.subscriber_id, c.name, c.to_subscriber FROM UNNEST($1::bigint[]) AS u(owner) \
                   JOIN transfer_consent c ON c.subscriber_id = u.owner";
        for row in connection.query(sql, &[&ids]).await? {
            let (owner, name): (i64, String) = (get(&row, 0)?, get(&row, 1)?);
            shelves.entry(SubscriberId(owner)).or_default().consent(&name, SubscriberId(get(&row, 2)?));
        }
        Ok(shelves)
    }

    async fn transfer_items(&self, needed: &[Needed]) -> Result<Vec<Found>> {
        let mut items: Vec<(SubscriberId, Place)> = Vec::new();
        let mut entries: Vec<(SubscriberId, u32)> = Vec::new();
        for each in needed {
            match each {
                Needed::Item { owner, place } => items.push((*owner, *place)),
                Needed::Entries { owner, session } => entries.push((*owner, *session)),
            }
        }
        let mut found = Vec::new();
        if !items.is_empty() {
            self.read_items(&items, &mut found).await?;
        }
        if !entries.is_empty() {
            self.read_entries(&entries, &mut found).await?;
        }
        Ok(found)
    }

    async fn expire_transfers(&self, before: Timestamp, limit: u32) -> Result<u64> {
        // What was published meanwhile is a collection's.
        let sql = "WITH gone AS (DELETE FROM transfer_session WHERE (subscriber_id, device_id, id) IN \
                   (SELECT subscriber_id, device_id, id FROM transfer_session WHERE last_traffic < $1 \
                   ORDER BY last_traffic LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING subscriber_id, id), \
                   item AS (DELETE FROM transfer_item i USING gone g WHERE i.subscriber_id = g.subscriber_id \
                   AND i.session = g.id AND NOT EXISTS (SELECT FROM transfer_collection c \
                   WHERE c.subscriber_id = g.subscriber_id AND c.version = g.id)) SELECT count(*) FROM gone";
        let gone = self.writers.get().await?.query(sql, &[&At(before), &i64::from(limit)]).await?;
        gone.first().map_or(Ok(0), |row| Ok(get::<i64>(row, 0)?.unsigned_abs()))
    }
}

impl PostgresStore {
    async fn read_items(&self, items: &[(SubscriberId, Place)], found: &mut Vec<Found>) -> Result<()> {
        // Of both kinds it is the one of that number, for there are no gaps; of one kind it is counted out.
        let rows = Rows::of(items)
            .with("owner", |(owner, _)| owner.0)
            .with("session", |(_, place)| i64::from(place.version))
            .with("data", |(_, place)| place.data)
            .with("settings", |(_, place)| place.settings)
            .with("number", |(_, place)| i32::from(place.number));
        let sql = format!(
            "SELECT u.ordinality, i.number, i.kind, i.key, i.value FROM {} CROSS JOIN LATERAL \
             (SELECT t.number, t.kind, t.key, t.value FROM transfer_item t WHERE t.subscriber_id = u.owner \
             AND t.session = u.session AND t.number >= CASE WHEN u.data AND u.settings THEN u.number ELSE 1 END \
             AND (t.kind = 1 AND u.data OR t.kind = 2 AND u.settings) ORDER BY t.number \
             LIMIT 1 OFFSET CASE WHEN u.data AND u.settings THEN 0 ELSE u.number - 1 END) i",
            rows.table(1)
        );
        for row in self.readers.get().await?.query(&sql, &rows.params()).await? {
            let Some((owner, place)) = asked(&row, items)? else { continue };
            let content = rows::item(get(&row, 2)?, get(&row, 3)?, get(&row, 4)?)?;
            found.push(Found { needed: Needed::Item { owner, place }, number: place.number, content });
        }
        Ok(())
    }

    async fn read_entries(&self, entries: &[(SubscriberId, u32)], found: &mut Vec<Found>) -> Result<()> {
        let rows =
            Rows::of(entries).with("owner", |(owner, _)| owner.0).with("session", |(_, session)| i64::from(*session));
        let sql = format!(
            "SELECT u.ordinality, i.number, i.kind, i.key, i.value FROM {} JOIN transfer_item i \
             ON i.subscriber_id = u.owner AND i.session = u.session WHERE i.kind = 1 AND octet_length(i.key) = 5 \
             AND substring(i.key FROM 1 FOR 4) = '\\x7f106f3a'::bytea ORDER BY i.number",
            rows.table(1)
        );
        for row in self.readers.get().await?.query(&sql, &rows.params()).await? {
            let Some((owner, session)) = asked(&row, entries)? else { continue };
            let content = rows::item(get(&row, 2)?, get(&row, 3)?, get(&row, 4)?)?;
            let number = rows::item_number(get(&row, 1)?)?;
            found.push(Found { needed: Needed::Entries { owner, session }, number, content });
        }
        Ok(())
    }

    /// Collections that were stored before that time, with their items and consents; how many.
    pub(super) async fn remove_old_collections(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let sql = "WITH gone AS (DELETE FROM transfer_collection WHERE (subscriber_id, name) IN \
                   (SELECT subscriber_id, name FROM transfer_collection WHERE stored < $1 ORDER BY stored LIMIT $2 \
                   FOR UPDATE SKIP LOCKED) RETURNING subscriber_id, name, version), \
                   item AS (DELETE FROM transfer_item i USING gone g \
                   WHERE i.subscriber_id = g.subscriber_id AND i.session = g.version), \
                   consent AS (DELETE FROM transfer_consent c USING gone g \
                   WHERE c.subscriber_id = g.subscriber_id AND c.name = g.name) SELECT count(*) FROM gone";
        let limit = i64::from(limit.min(COLLECTIONS_AT_ONCE));
        let gone = self.writers.get().await?.query(sql, &[&At(before), &limit]).await?;
        gone.first().map_or(Ok(0), |row| Ok(get::<i64>(row, 0)?.unsigned_abs()))
    }
}

#[async_trait]
impl CollectionStore for PostgresStore {
    async fn transfers_of(&self, subscriber: SubscriberId) -> Result<TransfersOf> {
        let connection = self.readers.get().await?;
        let mut transfers = TransfersOf::default();
        let sql = format!("SELECT {COLLECTION} FROM transfer_collection c WHERE c.subscriber_id = $1 ORDER BY c.name");
        for row in connection.query(&sql, &[&subscriber.0]).await? {
            let (_, name, collection) = collection(&row)?;
            transfers.collections.push((name, collection));
        }
        let sql = "SELECT c.name, s.msisdn FROM transfer_consent c JOIN subscriber s ON s.id = c.to_subscriber \
                   WHERE c.subscriber_id = $1 ORDER BY c.name, s.msisdn";
        for row in connection.query(sql, &[&subscriber.0]).await? {
            transfers.consents.push((get(&row, 0)?, rows::msisdn(get(&row, 1)?)?));
        }
        let sql = "SELECT data FROM transfer_session WHERE subscriber_id = $1";
        for row in connection.query(sql, &[&subscriber.0]).await? {
            transfers.sessions.push(rows::transfer_session(get(&row, 0)?)?);
        }
        transfers.sessions.sort_by_key(|session| session.opened);
        Ok(transfers)
    }

    async fn set_consent(&self, consent: &Consent, given: bool, audit: Audit) -> Result<bool> {
        let Consent { owner, name, to } = consent;
        let connection = self.writers.get().await?;
        connection.begin().await?;
        let sql = if given {
            "INSERT INTO transfer_consent (subscriber_id, name, to_subscriber, given) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (subscriber_id, name, to_subscriber) DO NOTHING"
        } else {
            "DELETE FROM transfer_consent WHERE subscriber_id = $1 AND name = $2 AND to_subscriber = $3 AND given <= $4"
        };
        let changed = connection.execute(sql, &[&owner.0, &clean(name), &to.0, &At(audit.at)]).await? > 0;
        write_audit(&connection, &audit).await?;
        connection.commit().await?;
        Ok(changed)
    }
}

/// Which of those asked for a row is about: its first column counts them from 1.
fn asked<T: Copy>(row: &Row, all: &[T]) -> Result<Option<T>> {
    let at: i64 = get(row, 0)?;
    Ok(usize::try_from(at - 1).ok().and_then(|at| all.get(at)).copied())
}

fn collection(row: &Row) -> Result<(SubscriberId, String, domain::transfer::Collection)> {
    let owner = SubscriberId(get(row, 0)?);
    let collection = CollectionRow {
        version: get(row, 2)?,
        stored: micros(row, 3)?,
        origin: rows::key(owner.0, get(row, 4)?),
        data: get(row, 5)?,
        settings: get(row, 6)?,
        octets: get(row, 7)?,
    };
    Ok((owner, get(row, 1)?, collection.try_into()?))
}

/// The parts of a commit. None of them names a row that another one does ([`Writes`]).
pub fn write<'a>(statement: &mut Statement<'a>, writes: &'a Writes) {
    let Writes { sessions, forgotten, staged, dropped, collections, deleted, withdrawn } = writes;
    if !sessions.is_empty() {
        let rows = Rows::of(sessions)
            .with("data", |session| session.to_octets())
            .with("subscriber_id", |session| session.opening.device.subscriber.0)
            .with("device_id", |session| session.opening.device.device.0)
            .with("id", |session| i64::from(session.opening.id))
            .with("last_traffic", |session| At(session.last_traffic));
        statement.part("session", rows, |rows, first| {
            format!(
                "{} ON CONFLICT (subscriber_id, device_id, id) DO UPDATE \
                 SET last_traffic = EXCLUDED.last_traffic, data = EXCLUDED.data",
                rows.insert_into("transfer_session", first)
            )
        });
    }
    if !forgotten.is_empty() {
        let rows = Rows::of(forgotten)
            .with("subscriber_id", |(device, _)| device.subscriber.0)
            .with("device_id", |(device, _)| device.device.0)
            .with("id", |(_, id)| i64::from(*id));
        statement.part("forgotten", rows, |rows, first| {
            format!(
                "DELETE FROM transfer_session t USING {} \
                 WHERE t.subscriber_id = u.subscriber_id AND t.device_id = u.device_id AND t.id = u.id",
                rows.table(first)
            )
        });
    }
    if !staged.is_empty() {
        let rows = Rows::of(staged)
            .with("value", |item| item.content.value.to_vec())
            .with("key", |item| item.content.key.to_vec())
            .with("subscriber_id", |item| item.owner.0)
            .with("session", |item| i64::from(item.session))
            .with("number", |item| i32::from(item.number))
            .with("kind", |item| octet(item.content.kind.code()));
        statement.part("staged", rows, |rows, first| {
            format!(
                "{} ON CONFLICT (subscriber_id, session, number) DO UPDATE \
                 SET kind = EXCLUDED.kind, key = EXCLUDED.key, value = EXCLUDED.value",
                rows.insert_into("transfer_item", first)
            )
        });
    }
    if !dropped.is_empty() {
        let rows = Rows::of(dropped).with("owner", |(owner, _)| owner.0).with("session", |(_, id)| i64::from(*id));
        statement.part("dropped", rows, |rows, first| {
            format!(
                "DELETE FROM transfer_item t USING {} WHERE t.subscriber_id = u.owner AND t.session = u.session",
                rows.table(first)
            )
        });
    }
    if !collections.is_empty() {
        let rows = Rows::of(collections)
            .with("name", |(_, name, _)| clean(name))
            .with("subscriber_id", |(owner, ..)| owner.0)
            .with("version", |(.., it)| i64::from(it.version))
            .with("stored", |(.., it)| At(it.stored))
            .with("origin", |(.., it)| it.origin.device.0)
            .with("data", |(.., it)| i32::from(it.data))
            .with("settings", |(.., it)| i32::from(it.settings))
            .with("octets", |(.., it)| i32::try_from(it.octets).unwrap_or(i32::MAX));
        statement.part("collection", rows, |rows, first| {
            format!(
                "{} ON CONFLICT (subscriber_id, name) DO UPDATE \
                 SET version = EXCLUDED.version, stored = EXCLUDED.stored, origin = EXCLUDED.origin, \
                 data = EXCLUDED.data, settings = EXCLUDED.settings, octets = EXCLUDED.octets",
                rows.insert_into("transfer_collection", first)
            )
        });
    }
    for (part, table, names) in
        [("deleted", "transfer_collection", deleted), ("withdrawn", "transfer_consent", withdrawn)]
    {
        if !names.is_empty() {
            let rows = Rows::of(names).with("name", |(_, name)| clean(name)).with("owner", |(owner, _)| owner.0);
            statement.part(part, rows, |rows, first| {
                let source = rows.table(first);
                format!("DELETE FROM {table} t USING {source} WHERE t.subscriber_id = u.owner AND t.name = u.name")
            });
        }
    }
}

/// What goes with an erased subscriber; how many rows.
pub async fn erase(connection: &Connection, id: SubscriberId) -> Result<u64> {
    let mut erased = 0;
    for table in ["transfer_session", "transfer_item", "transfer_collection", "transfer_consent"] {
        erased += connection.execute(&format!("DELETE FROM {table} WHERE subscriber_id = $1"), &[&id.0]).await?;
    }
    Ok(erased + connection.execute("DELETE FROM transfer_consent WHERE to_subscriber = $1", &[&id.0]).await?)
}
