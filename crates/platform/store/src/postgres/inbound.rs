//! What `inbound-data` may do.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{
    delivery::{Action, State},
    identity::{DeviceKey, Msisdn, Timestamp},
    phonebook::{DeviceView, Page, PageKey},
};
use tokio_postgres::Row;

use super::{
    PostgresStore,
    arrays::Rows,
    columns::{self, ACTION, DEVICE, SUBSCRIBER, get, micros, octet},
    commit,
    times::At,
};
use crate::{InboundCommit, InboundStore, Part, PartsHeld, PartsKey, Result, StoreError, rows};

#[async_trait]
impl InboundStore for PostgresStore {
    async fn devices(&self, msisdns: &[Msisdn]) -> Result<Vec<Option<DeviceView>>> {
        let sql = const_str::devices();
        let numbers: Vec<i64> = msisdns.iter().map(|number| number.to_i64()).collect();
        let found = self.readers.get().await?.query(sql, &[&numbers]).await?;
        let mut views = HashMap::with_capacity(found.len());
        for row in &found {
            let view = columns::view(row, 0)?;
            views.insert(view.subscriber.msisdn, view);
        }
        // A number may be asked for twice.
        Ok(msisdns.iter().map(|number| views.get(number).cloned()).collect())
    }

    async fn pages(&self, keys: &[PageKey]) -> Result<HashMap<PageKey, Page>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = Rows::of(keys)
            .with("subscriber_id", |key| key.device.subscriber.0)
            .with("device_id", |key| key.device.device.0)
            .with("file", |key| rows::file_code(key.file))
            .with("page", |key| octet(key.page));
        let sql = format!(
            "SELECT p.subscriber_id, p.device_id, p.file, p.page, p.data FROM {} JOIN book_page p \
             ON p.subscriber_id = u.subscriber_id AND p.device_id = u.device_id AND p.file = u.file AND p.page = u.page",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        let page = |row: &Row| {
            let device = rows::key(get(row, 0)?, get(row, 1)?);
            Ok((rows::page_key(device, get(row, 2)?, get(row, 3)?)?, rows::page(get(row, 4)?)?))
        };
        found.iter().map(page).collect()
    }

    async fn open_actions(&self, devices: &[DeviceKey]) -> Result<Vec<Action>> {
        let rows = device_rows(devices);
        let sql = format!(
            "SELECT {ACTION} FROM {} JOIN outbound_action a ON a.subscriber_id = u.subscriber_id \
             AND a.device_id = u.device_id WHERE a.state < 3 AND a.kind > 1 ORDER BY a.subscriber_id, a.device_id, a.id",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        found.iter().map(|row| columns::action(row, 0)).collect()
    }

    async fn mismatched(&self, before: Timestamp, limit: u32) -> Result<Vec<Msisdn>> {
        let sql = "SELECT s.msisdn FROM device_state t \
                   JOIN device d ON d.subscriber_id = t.subscriber_id AND d.id = t.device_id AND d.closed IS NULL \
                   JOIN subscriber s ON s.id = t.subscriber_id AND s.tenant = 'default' \
                   WHERE t.mismatch_since <= $1 ORDER BY t.mismatch_since LIMIT $2";
        let found = self.readers.get().await?.query(sql, &[&At(before), &i64::from(limit)]).await?;
        found.iter().map(|row| rows::msisdn(get(row, 0)?)).collect()
    }

    async fn parts_held(&self, msisdns: &[Msisdn]) -> Result<HashMap<Msisdn, PartsHeld>> {
        let sql = "SELECT p.msisdn, count(*) FILTER (WHERE p.sequence > 0), count(*) FILTER (WHERE p.sequence = 0) \
                   FROM UNNEST($1::bigint[]) AS u(msisdn) JOIN message_part p ON p.msisdn = u.msisdn GROUP BY p.msisdn";
        let numbers: Vec<i64> = msisdns.iter().map(|number| number.to_i64()).collect();
        let found = self.readers.get().await?.query(sql, &[&numbers]).await?;
        found.iter().map(|row| rows::parts_held(get(row, 0)?, get(row, 1)?, get(row, 2)?)).collect()
    }

    async fn parts(&self, keys: &[PartsKey]) -> Result<Vec<Part>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = commit::parts_keys(keys);
        let sql = format!(
            "SELECT p.msisdn, p.reference, p.total, p.sequence, p.user_data_header, p.payload, p.arrived FROM {} \
             JOIN message_part p ON p.msisdn = u.msisdn AND p.reference = u.reference AND p.total = u.total \
             ORDER BY p.msisdn, p.reference, p.total, p.sequence",
            rows.table(1)
        );
        let found = self.readers.get().await?.query(&sql, &rows.params()).await?;
        let part = |row: &Row| {
            let (number, reference, total, sequence) = (get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?);
            rows::part(number, reference, total, sequence, get(row, 4)?, get(row, 5)?, micros(row, 6)?)
        };
        found.iter().map(part).collect()
    }

    async fn expire_parts(&self, before: Timestamp) -> Result<u64> {
        let sql = "DELETE FROM message_part WHERE arrived < $1";
        self.writers.get().await?.execute(sql, &[&At(before)]).await
    }

    async fn commit(&self, batch: InboundCommit) -> Result<()> {
        let batch = rows::settle(batch)?;
        let connection = self.writers.get().await?;
        commit::write(&connection, &batch, None).await
    }

    async fn claim_error_replies(&self, msisdns: &[Msisdn], at: Timestamp) -> Result<Vec<Msisdn>> {
        // Ordered, so that two callers lock rows in one order; a number asked for twice is claimed once.
        let sql = "INSERT INTO error_reply (msisdn, day) \
                   SELECT DISTINCT u.msisdn, $2::integer FROM UNNEST($1::bigint[]) AS u(msisdn) ORDER BY u.msisdn \
                   ON CONFLICT (msisdn) DO UPDATE SET day = EXCLUDED.day WHERE error_reply.day < EXCLUDED.day \
                   RETURNING msisdn";
        let numbers: Vec<i64> = msisdns.iter().map(|number| number.to_i64()).collect();
        let claimed = self.writers.get().await?.query(sql, &[&numbers, &rows::utc_day(at)]).await?;
        claimed.iter().map(|row| rows::msisdn(get(row, 0)?)).collect()
    }

    async fn action_by_launch(&self, link: &str, bearer_message_id: &str) -> Result<Option<Action>> {
        let sql = format!(
            "SELECT {ACTION} FROM outbound_action a WHERE a.bearer_message_id = $1 AND a.link = $2 \
             ORDER BY (a.state = 1) DESC, a.id DESC LIMIT 1"
        );
        let (link, id) = (columns::clean(link), columns::clean(bearer_message_id));
        let found = self.readers.get().await?.query(&sql, &[&id, &link]).await?;
        found.first().map(|row| columns::action(row, 0)).transpose()
    }

    async fn replace_action(&self, action: &Action, state: State, due: Timestamp) -> Result<bool> {
        let written = self.overwrite(&[(action.clone(), rows::state_bits(&[state]), Some(due))]).await?;
        Ok(written.first() == Some(&true))
    }

    async fn reserve_downlink(&self, device: DeviceKey, count: u32) -> Result<u32> {
        // Not beyond what fits: a later call must find the same "used up".
        let sql = "UPDATE device_state SET downlink_counter = downlink_counter + $3::bigint \
                   WHERE subscriber_id = $1 AND device_id = $2 AND downlink_counter + $3::bigint <= 4294967295 \
                   RETURNING downlink_counter - $3::bigint";
        let (subscriber, id, count) = (device.subscriber.0, device.device.0, i64::from(count));
        let connection = self.writers.get().await?;
        let lent = connection.query(sql, &[&subscriber, &id, &count]).await?;
        if let Some(row) = lent.first() {
            return rows::lent(device, Some(get(row, 0)?), 0);
        }
        let read = "SELECT downlink_counter FROM device_state WHERE subscriber_id = $1 AND device_id = $2";
        let found = connection.query(read, &[&subscriber, &id]).await?;
        let counter: Option<i64> = found.first().map(|row| get(row, 0)).transpose()?;
        rows::lent(device, counter.map(|_| i64::MAX), 0)
    }

    async fn reserve_secured(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        self.reserve_secured_counters(device, count, floor).await
    }

    async fn ping(&self) -> Result<()> {
        self.write_readiness().await?;
        // A table that is missing is an error of this statement.
        let sql = "SELECT p.relation || ' ' || p.privilege FROM (VALUES ('device_state', 'UPDATE'), \
                   ('book_page', 'INSERT'), ('book_page', 'UPDATE'), ('book_change', 'INSERT'), \
                   ('billing_event', 'INSERT'), ('outbound_action', 'INSERT'), ('outbound_action', 'UPDATE'), \
                   ('notice', 'INSERT'), ('dead_letter', 'INSERT'), ('message_part', 'INSERT'), \
                   ('message_part', 'UPDATE'), ('message_part', 'DELETE'), ('error_reply', 'INSERT'), \
                   ('transfer_session', 'INSERT'), ('transfer_item', 'INSERT'), ('transfer_collection', 'INSERT'), \
                   ('transfer_consent', 'DELETE')) \
                   AS p(relation, privilege) WHERE NOT has_table_privilege(p.relation, p.privilege)";
        let missing = self.readers.get().await?.query(sql, &[]).await?;
        let missing: Vec<String> = missing.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!("this role lacks {}", missing.join(", "))))
    }
}

impl PostgresStore {
    pub(super) async fn reserve_secured_counters(&self, device: DeviceKey, count: u32, floor: u64) -> Result<u64> {
        // The last counter of all blocks a card (TS 102 225 5.1.4): it is never reserved.
        let sql = "UPDATE device_state SET secured_counter = greatest(secured_counter, $4::bigint) + $3::bigint \
                   WHERE subscriber_id = $1 AND device_id = $2 \
                   AND greatest(secured_counter, $4::bigint) + $3::bigint < 1099511627775 RETURNING secured_counter";
        let (subscriber, id, wanted) = (device.subscriber.0, device.device.0, i64::from(count));
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&subscriber, &id, &wanted, &rows::counter_floor(floor)];
        let reserved = self.writers.get().await?.query(sql, &params).await?;
        let last = reserved.first().map(|row| get(row, 0)).transpose()?;
        rows::secured_counters(device, last, count)
    }
}

pub fn device_rows(devices: &[DeviceKey]) -> Rows<'_, DeviceKey> {
    Rows::of(devices).with("subscriber_id", |device| device.subscriber.0).with("device_id", |device| device.device.0)
}

/// Statements of the hot path, put together once.
mod const_str {
    use std::sync::LazyLock;

    use super::{DEVICE, SUBSCRIBER};

    pub fn devices() -> &'static str {
        static SQL: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT {SUBSCRIBER}, {DEVICE} FROM UNNEST($1::bigint[]) AS u(msisdn) \
                 JOIN subscriber s ON s.msisdn = u.msisdn AND s.tenant = 'default' \
                 JOIN device d ON d.subscriber_id = s.id AND d.closed IS NULL \
                 JOIN device_state t ON t.subscriber_id = d.subscriber_id AND t.device_id = d.id"
            )
        });
        &SQL
    }
}
