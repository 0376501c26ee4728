//! What `inbound-data` may do.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{
    delivery::{Action, State},
    identity::{DeviceKey, Msisdn, Timestamp},
    phonebook::{DeviceView, Page, PageKey},
};

use super::{
    SqliteStore,
    actions::{self, ACTION, DEVICE, SUBSCRIBER},
    commit,
};
use crate::{InboundCommit, InboundStore, Part, PartsHeld, PartsKey, Result, StoreError, rows};

#[async_trait]
impl InboundStore for SqliteStore {
    async fn devices(&self, msisdns: &[Msisdn]) -> Result<Vec<Option<DeviceView>>> {
        let msisdns = msisdns.to_vec();
        let sql = format!(
            "SELECT {SUBSCRIBER}, {DEVICE} FROM subscriber s \
             JOIN device d ON d.subscriber_id = s.id AND d.closed IS NULL \
             JOIN device_state t ON t.subscriber_id = d.subscriber_id AND t.device_id = d.id \
             WHERE s.msisdn = ?1 AND s.tenant = ?2"
        );
        let read = move |connection: &rusqlite::Connection| {
            let one = |number: &Msisdn| {
                let params = (number.to_i64(), rows::DEFAULT_TENANT);
                actions::first(connection, &sql, params, |row| actions::view(row, 0))
            };
            msisdns.iter().map(one).collect()
        };
        self.readers.read(read).await
    }

    async fn pages(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Page>> {
        let keys = keys.to_vec();
        let sql = "SELECT data FROM book_page WHERE subscriber_id = ?1 AND device_id = ?2 AND file = ?3 AND page = ?4";
        let read = move |connection: &rusqlite::Connection| {
            let mut pages = HashMap::with_capacity(keys.len());
            for key in keys {
                let params = (key.device.subscriber.0, key.device.device.0, rows::file_code(key.file), key.page);
                if let Some(page) = actions::first(connection, sql, params, |row| rows::page(row.get(0)?))? {
                    pages.insert(key, page);
                }
            }
            Ok(pages)
        };
        self.readers.read(read).await
    }

    async fn open_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>> {
        let devices = devices.to_vec();
        let sql = format!(
            "SELECT {ACTION} FROM outbound_action a WHERE a.subscriber_id = ?1 AND a.device_id = ?2 AND a.state < 3 \
             AND a.kind > 1 ORDER BY a.id"
        );
        let read = move |connection: &rusqlite::Connection| {
            let mut found = Vec::new();
            for DeviceKey { subscriber, device } in devices {
                found.extend(actions::all(connection, &sql, (subscriber.0, device.0), |row| actions::action(row, 0))?);
            }
            Ok(found)
        };
        self.readers.read(read).await
    }

    async fn mismatched(&self, before: Timestamp, limit: u32) -> Result<Vec<Msisdn>> {
        let sql = "SELECT s.msisdn FROM device_state t \
                   JOIN device d ON d.subscriber_id = t.subscriber_id AND d.id = t.device_id AND d.closed IS NULL \
                   JOIN subscriber s ON s.id = t.subscriber_id AND s.tenant = ?3 \
                   WHERE t.mismatch_since <= ?1 ORDER BY t.mismatch_since LIMIT ?2";
        let params = (before.0, limit, rows::DEFAULT_TENANT);
        self.readers.read(move |it| actions::all(it, sql, params, |row| rows::msisdn(row.get(0)?))).await
    }

    async fn parts_held(&self, msisdns: &[Msisdn]) -> Result<HashMap<Msisdn, PartsHeld>> {
        let msisdns = msisdns.to_vec();
        let sql =
            "SELECT msisdn, sum(sequence > 0), sum(sequence = 0) FROM message_part WHERE msisdn = ?1 GROUP BY msisdn";
        let read = move |connection: &rusqlite::Connection| {
            let mut held = HashMap::new();
            for number in msisdns {
                let counts = |row: &rusqlite::Row<'_>| rows::parts_held(row.get(0)?, row.get(1)?, row.get(2)?);
                held.extend(actions::first(connection, sql, [number.to_i64()], counts)?);
            }
            Ok(held)
        };
        self.readers.read(read).await
    }

    async fn parts(&self, keys: &[PartsKey]) -> Result<Vec<Part>> {
        let keys = keys.to_vec();
        let sql = "SELECT msisdn, reference, total, sequence, user_data_header, payload, arrived FROM message_part \
                   WHERE msisdn = ?1 AND reference = ?2 AND total = ?3 ORDER BY sequence";
        let read = move |connection: &rusqlite::Connection| {
            let mut parts = Vec::new();
            for key in keys {
                let params = (key.msisdn.to_i64(), rows::reference_code(&key), key.total);
                parts.extend(actions::all(connection, sql, params, part)?);
            }
            Ok(parts)
        };
        self.readers.read(read).await
    }

    async fn expire_parts(&self, before: Timestamp) -> Result<u64> {
        let sql = "DELETE FROM message_part WHERE arrived < ?1";
        self.writer.write(move |it| Ok(it.prepare_cached(sql)?.execute([before.0])? as u64)).await
    }

    async fn commit(&self, batch: InboundCommit) -> Result<()> {
        let batch = rows::settle(batch)?;
        self.writer.write(move |connection| commit::write(connection, &batch)).await
    }

    async fn claim_error_replies(&self, msisdns: &[Msisdn], at: Timestamp) -> Result<Vec<Msisdn>> {
        let msisdns = msisdns.to_vec();
        let sql = "INSERT INTO error_reply (msisdn, day) VALUES (?1, ?2) \
                   ON CONFLICT (msisdn) DO UPDATE SET day = excluded.day WHERE day < excluded.day";
        let write = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut claimed = Vec::new();
            for number in msisdns {
                if statement.execute((number.to_i64(), rows::utc_day(at)))? == 1 {
                    claimed.push(number);
                }
            }
            Ok(claimed)
        };
        self.writer.write(write).await
    }

    async fn action_by_launch(&self, link: &str, bearer_message_id: &str) -> Result<Option<Action>> {
        let sql = format!(
            "SELECT {ACTION} FROM outbound_action a WHERE a.bearer_message_id = ?1 AND a.link = ?2 \
             ORDER BY (a.state = 1) DESC, a.id DESC LIMIT 1"
        );
        let params = (bearer_message_id.to_owned(), link.to_owned());
        self.readers.read(move |it| actions::first(it, &sql, params, |row| actions::action(row, 0))).await
    }

    async fn replace_action(&self, action: &Action, state: State, due: Timestamp) -> Result<bool> {
        let action = action.clone();
        self.writer.write(move |connection| actions::overwrite(connection, &action, &[state], Some(due))).await
    }

    async fn reserve_downlink(&self, device: DeviceKey, count: u32) -> Result<u32> {
        let sql = "UPDATE device_state SET downlink_counter = downlink_counter + ?3 \
                   WHERE subscriber_id = ?1 AND device_id = ?2 RETURNING downlink_counter - ?3";
        let write = move |connection: &rusqlite::Connection| {
            let params = (device.subscriber.0, device.device.0, count);
            let first: Option<i64> = actions::first(connection, sql, params, |row| Ok(row.get(0)?))?;
            rows::lent(device, first, count)
        };
        self.writer.write(write).await
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        self.reserve_secured_counters(device, count, floor).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await
    }
}

impl SqliteStore {
    pub(super) async fn reserve_secured_counters(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        // The last counter of all blocks a card (TS 102 225 5.1.4): it is never reserved.
        let sql = "UPDATE device_state SET secured_counter = max(secured_counter, ?4) + ?3 \
                   WHERE subscriber_id = ?1 AND device_id = ?2 AND max(secured_counter, ?4) + ?3 < 1099511627775 \
                   RETURNING secured_counter";
        let write = move |connection: &rusqlite::Connection| {
            let params = (device.subscriber.0, device.device.0, count, rows::counter_floor(floor));
            let last: Option<i64> = actions::first(connection, sql, params, |row| Ok(row.get(0)?))?;
            rows::secured_counters(device, last, count)
        };
        self.writer.write(write).await
    }

    pub(super) async fn write_readiness(&self) -> Result<()> {
        let sql = "UPDATE readiness SET at = unixepoch() * 1000000";
        let written = self.writer.write(move |it| Ok(it.prepare_cached(sql)?.execute([])?)).await?;
        if written == 1 { Ok(()) } else { Err(StoreError::Corrupt("the readiness row is gone".into())) }
    }
}

fn part(row: &rusqlite::Row<'_>) -> Result<Part> {
    rows::part(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?)
}
