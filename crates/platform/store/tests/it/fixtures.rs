//! Fresh stores, and the values that tests put into them.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use domain::{
    delivery::{Acknowledgement, Action, ActionId, Content, State},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{
        AccountState, Bearer, Change, Device, DeviceState, DeviceView, EF_ADN, FilePath, Page, PageKey, Profile,
        RecordChange, Source, Subscriber,
    },
};
use link::monitor::{MonitorRow, MonitorTable};
use store::{
    ApplicationStore, Audit, DueQuery, InboundCommit, InboundStore, NewAccount, OutboundStore, StoreConfig,
    postgres::PostgresStore, sqlite::SqliteStore,
};

/// Noon of 2025-06-15, UTC.
pub const NOON: Timestamp = Timestamp(1_749_988_800_000_000);
pub const SECOND: i64 = 1_000_000;

/// A store under test.
pub struct Backend {
    pub name: &'static str,
    pub inbound: Arc<dyn InboundStore>,
    pub outbound: Arc<dyn OutboundStore>,
    pub application: Arc<dyn ApplicationStore>,
    raw: Raw,
}

/// How to look past the store.
enum Raw {
    Postgres(String),
    Sqlite(PathBuf, #[expect(dead_code, reason = "goes with the store")] testkit::Folder),
}

/// A fresh store of each kind.
pub async fn both() -> [Backend; 2] {
    [postgres(&postgres_url().await).await, sqlite()]
}

/// A migrated database of its own on the shared server.
pub async fn postgres_url() -> String {
    let fill = |url: &str| {
        let config = StoreConfig::at(url);
        // Another thread: the caller's is inside a runtime already.
        let migrated = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async move { store::migrate::postgres(&config).await })
        });
        migrated.join().unwrap().unwrap();
    };
    tokio::task::spawn_blocking(move || testkit::postgres::shared().database("simvault_template", fill)).await.unwrap()
}

pub async fn postgres(url: &str) -> Backend {
    let store = PostgresStore::connect(&StoreConfig::at(url)).await.unwrap();
    let (inbound, outbound, application) = (store.clone(), store.clone(), store);
    Backend { name: "postgres", inbound, outbound, application, raw: Raw::Postgres(url.to_owned()) }
}

pub fn sqlite() -> Backend {
    let folder = testkit::Folder::new("store");
    let path = folder.join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let (inbound, outbound, application) = (store.clone(), store.clone(), store);
    Backend { name: "sqlite", inbound, outbound, application, raw: Raw::Sqlite(path, folder) }
}

impl Backend {
    /// Runs SQL that both databases understand; rows as text, columns parted by `|`.
    pub fn sql(&self, sql: &str) -> Vec<String> {
        match &self.raw {
            Raw::Postgres(url) => {
                let database = url.rsplit('/').next().unwrap();
                let text = testkit::postgres::shared().sql(database, sql);
                text.lines().map(str::to_owned).collect()
            }
            Raw::Sqlite(path, _) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let columns = statement.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    let values: Vec<String> = (0..columns).map(|at| show(row.get_ref(at).unwrap())).collect();
                    Ok(values.join("|"))
                };
                statement.query_map([], row).unwrap().map(Result::unwrap).collect()
            }
        }
    }

    /// All tables but the schema's own.
    pub fn tables(&self) -> Vec<String> {
        let sql = match &self.raw {
            Raw::Postgres(_) => {
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition \
                 AND relnamespace = 'public'::regnamespace ORDER BY 1"
            }
            Raw::Sqlite(..) => {
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1"
            }
        };
        self.sql(sql)
    }

    pub fn columns(&self, table: &str) -> Vec<String> {
        match &self.raw {
            Raw::Postgres(_) => {
                self.sql(&format!("SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"))
            }
            Raw::Sqlite(..) => self.sql(&format!("SELECT name FROM pragma_table_info('{table}')")),
        }
    }

    pub fn count(&self, table: &str) -> u64 {
        self.sql(&format!("SELECT count(*) FROM {table}"))[0].parse().unwrap()
    }

    /// An octet string as this database writes it in SQL.
    pub fn octets(&self, hex: &str) -> String {
        match &self.raw {
            Raw::Postgres(_) => format!("'\\x{hex}'::bytea"),
            Raw::Sqlite(..) => format!("x'{hex}'"),
        }
    }

    /// Makes account `n` and reads it back.
    pub async fn account(&self, n: i64) -> DeviceView {
        self.application.create_accounts(&[new_account(n)], audit("accounts")).await.unwrap();
        self.view(n).await
    }

    /// The open device of account `n`.
    pub async fn view(&self, n: i64) -> DeviceView {
        self.inbound.devices(&[number(n)]).await.unwrap().remove(0).unwrap()
    }
}

fn show(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(value) => String::from_utf8_lossy(value).into_owned(),
        ValueRef::Blob(value) => format!("{} octets", value.len()),
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp(NOON.0 + seconds * SECOND)
}

pub fn number(n: i64) -> Msisdn {
    Msisdn::from_i64(46_700_000_000 + n).unwrap()
}

pub fn key(n: i64) -> DeviceKey {
    DeviceKey { subscriber: SubscriberId(n), device: DeviceId(1000 + n) }
}

pub fn audit(what: &str) -> Audit {
    Audit { at: NOON, who: "anna".into(), what: what.into() }
}

pub fn monitor() -> MonitorTable {
    let row = |ef, records| MonitorRow {
        df: 0x7F10,
        ef,
        record_offset: 0,
        record_count: records,
        data_offset: 0,
        data_octets: 30,
    };
    MonitorTable::new(vec![row(0x6F3A, 250), row(0x6F4A, 10)])
}

pub fn new_account(n: i64) -> NewAccount {
    let key = key(n);
    let subscriber = Subscriber {
        id: key.subscriber,
        tenant: "default".into(),
        msisdn: number(n),
        name: format!("Subscriber {n}"),
        state: AccountState::Active,
    };
    let state = DeviceState { monitor: monitor(), ..DeviceState::default() };
    NewAccount { subscriber, device: device(key), state, actions: Vec::new() }
}

pub fn device(key: DeviceKey) -> Device {
    Device {
        key,
        iccid: format!("8946{:015}", key.device.0),
        profile: Profile::E2,
        bearer: Bearer::Ip,
        ip_key: Some(Bytes::from_static(&[7; 16])),
        opened: NOON,
        closed: None,
    }
}

pub fn record(text: &str) -> Bytes {
    let mut octets = text.as_bytes().to_vec();
    octets.resize(30, 0xFF);
    octets.into()
}

pub fn page_key(n: i64, page: u8) -> PageKey {
    PageKey { device: key(n), file: EF_ADN, page }
}

/// A page whose first slot holds this text.
pub fn page(text: &str) -> Page {
    let mut page = Page { slot_octets: 30, ..Page::default() };
    page.slots[0] = Some(record(text));
    page
}

pub fn change(n: i64, id: i64, old: Option<&str>, new: Option<&str>) -> Change {
    let records = vec![RecordChange { file: EF_ADN, record_number: 1, old: old.map(record), new: new.map(record) }];
    Change { device: key(n), id, at: at(id), source: Source::Backup, dedup: u64::MAX - 5, records }
}

pub fn acknowledgement(n: i64, id: i64) -> Action {
    action(
        n,
        id,
        Content::BackupAcknowledgement(Acknowledgement {
            profile: Profile::E2,
            records: Bytes::from_static(&[0, 1, 0]),
        }),
    )
}

pub fn action(n: i64, id: i64, content: Content) -> Action {
    Action {
        device: key(n),
        id: ActionId(id),
        content,
        msisdn: number(n),
        is_secured: false,
        channel: Bearer::Sms,
        state: State::Queued,
        attempts: 0,
        created: at(id),
        due: at(id),
        launched: None,
        receipt: None,
        cause: String::new(),
        traces: vec![Bytes::from_static(&[9; 16]), Bytes::from_static(&[8; 16])],
    }
}

/// The first page of what is due by SMS.
pub fn due(due_before: Timestamp, created_before: Timestamp, rows_max: u32) -> DueQuery {
    DueQuery { channel: Bearer::Sms, due_before, created_before, after: None, rows_max }
}

pub fn restore(n: i64, id: i64) -> Action {
    action(n, id, Content::Restore { records: vec![restore_record("Anna")], check_data: None })
}

pub fn restore_record(text: &str) -> domain::delivery::RestoreRecord {
    domain::delivery::RestoreRecord {
        monitor_index: 0,
        file: FilePath { df: 0x7F10, ef: 0x6F3A },
        record_number: 1,
        data_offset: 0,
        data: record(text),
        progress: domain::delivery::Progress::Open,
    }
}

/// What one backup message of account `n` writes: record 1 becomes `new`.
pub fn backup(view: &DeviceView, n: i64, id: i64, old: Option<&str>, new: &str) -> InboundCommit {
    let mut state = view.state.clone();
    state.last_contact = Some(at(id));
    state.checksums.set(0, 1, 0x1234);
    InboundCommit {
        states: vec![(view.device.key, state)],
        pages: vec![(page_key(n, 0), page(new))],
        changes: vec![change(n, id, old, Some(new))],
        new_actions: vec![acknowledgement(n, id)],
        billing: vec![billing(n)],
        ..InboundCommit::default()
    }
}

pub fn billing(n: i64) -> store::BillingEvent {
    store::BillingEvent {
        at: NOON,
        msisdn: Some(number(n)),
        subscriber: Some(key(n).subscriber),
        channel: "sms/north".into(),
        octets: 42,
        first_octet: Some(0x08),
        duplicate: false,
        account_state: "active",
    }
}

pub fn dead_letter(n: i64) -> store::DeadLetter {
    store::DeadLetter {
        at: NOON,
        msisdn: Some(number(n)),
        channel: "sms/north".into(),
        cause: "refused".into(),
        user_data_header: Bytes::new(),
        payload: Bytes::from_static(b"octets"),
    }
}
