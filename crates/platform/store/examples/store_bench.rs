//! What a backup message costs the store: devices, pages, commit and finish, in batches of 1, 64 and 256, on a Postgres of
//! its own and on SQLite. `cargo run --release -p store --example store_bench -- [SECONDS] [postgres|sqlite|stages]`
//!
//! A message changes 4 records on one or two pages and gets an acknowledgement. CPU is what the kernel counted for every
//! process of the server (`schedstat`, nanoseconds) and for this one.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use domain::{
    delivery::{Acknowledgement, Action, ActionId, Content, State},
    identity::{DeviceId, DeviceKey, IdGenerator, Msisdn, SubscriberId, Timestamp},
    phonebook::{
        AccountState, Bearer, Change, Device, DeviceState, EF_ADN, LastMessage, Page, PageKey, Profile, RecordChange,
        Source, Subscriber,
    },
};
use link::monitor::{MonitorRow, MonitorTable};
use store::{BillingEvent, InboundCommit, NewAccount, StoreConfig, Stores};

const SUBSCRIBERS: usize = 50_000;
const ENTRIES: u8 = 50;
/// Messages with one commit each, at once.
const WORKERS: usize = 2;
const RECORDS: u8 = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(4.0);
    let which = arguments.next().unwrap_or_else(|| "both".into());
    if which != "sqlite" {
        postgres(Duration::from_secs_f64(seconds), which == "stages").await;
    }
    if which != "postgres" && which != "stages" {
        sqlite(Duration::from_secs_f64(seconds)).await;
    }
}

async fn postgres(span: Duration, stages: bool) {
    let settings = [
        ("shared_buffers", "1GB"),
        ("wal_compression", "lz4"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "15min"),
        ("wal_buffers", "64MB"),
    ];
    let server =
        tokio::task::spawn_blocking(move || testkit::postgres::Server::with(&settings)).await.expect("a server");
    let config = StoreConfig::at(server.socket_url_of("postgres"));
    store::migrate::postgres(&config).await.expect("the schema");
    let store = store::open(&config).await.expect("the store");
    load(&store).await;
    server.sql("postgres", "VACUUM ANALYZE");
    server.sql("postgres", "CHECKPOINT");
    let pid = server.pid();
    println!("postgres, {SUBSCRIBERS} subscribers, {WORKERS} workers, Unix socket");
    measure(&store, 64, Duration::from_secs(2), &|| cpu_of_children(pid), &|| 0).await;
    for batch in [1, 64, 256] {
        let wal = || wal_octets(&server);
        let line = measure(&store, batch, span, &|| cpu_of_children(pid), &wal).await;
        println!("{line}");
    }
    if stages {
        for batch in [1, 64, 256] {
            println!("{}", measure_stages(&store, batch, span, &|| cpu_of_children(pid)).await);
        }
    }
}

async fn sqlite(span: Duration) {
    let folder = testkit::Folder::new("bench");
    let config = StoreConfig::at(format!("sqlite:{}", folder.join("store.db").display()));
    let store = store::open(&config).await.expect("the store");
    load(&store).await;
    println!("sqlite, {SUBSCRIBERS} subscribers, {WORKERS} workers");
    measure(&store, 64, Duration::from_secs(2), &|| 0, &|| 0).await;
    for batch in [1, 64, 256] {
        println!("{}", measure(&store, batch, span, &|| 0, &|| 0).await);
    }
}

fn wal_octets(server: &testkit::postgres::Server) -> u64 {
    server.sql("postgres", "SELECT (pg_current_wal_lsn() - '0/0')::bigint").parse().unwrap_or(0)
}

/// One line: rate, CPU of the server and of this process for each message, WAL, latency of a batch.
async fn measure(
    store: &Stores,
    batch: usize,
    span: Duration,
    server_cpu: &dyn Fn() -> u64,
    wal: &dyn Fn() -> u64,
) -> String {
    let (wal_before, server_before, own_before) = (wal(), server_cpu(), cpu_of(std::process::id()));
    let begun = Instant::now();
    let workers: Vec<_> = (0..WORKERS).map(|shard| tokio::spawn(run(store.clone(), shard, batch, span))).collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await.expect("a worker"));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let (server, own) = (server_cpu() - server_before, cpu_of(std::process::id()) - own_before);
    let messages = (latencies.len() * batch) as f64;
    latencies.sort_unstable();
    let at =
        |share: f64| latencies.get((latencies.len() as f64 * share) as usize).map_or(0.0, |it| it.as_secs_f64() * 1e3);
    format!(
        "B={batch:<4} {:>8.0} msg/s   server {:>6.1} us/msg   client {:>6.1} us/msg   WAL {:>6.0} octets/msg   \
         batch p50 {:.1} p99 {:.1} ms",
        messages / elapsed,
        server as f64 / 1e3 / messages,
        own as f64 / 1e3 / messages,
        (wal() - wal_before) as f64 / messages,
        at(0.5),
        at(0.99),
    )
}

async fn run(store: Stores, shard: usize, batch: usize, span: Duration) -> Vec<Duration> {
    let mut worker = Worker::new(store, shard);
    let mut latencies = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < span {
        let started = Instant::now();
        let numbers = worker.numbers(batch);
        let ids = worker.backup(&numbers).await;
        latencies.push(started.elapsed());
        worker.store.outbound.finish(&ids).await.expect("finished");
    }
    latencies
}

/// The server's CPU for each of the four calls, one worker alone.
async fn measure_stages(store: &Stores, size: usize, span: Duration, server_cpu: &dyn Fn() -> u64) -> String {
    let mut worker = Worker::new(store.clone(), 0);
    let (mut batches, mut cpu) = (0, [0; 4]);
    let begun = Instant::now();
    while begun.elapsed() < span {
        let numbers = worker.numbers(size);
        let start = server_cpu();
        let views = worker.store.inbound.devices(&numbers).await.expect("devices");
        let devices = server_cpu();
        let changes = worker.changes(&views);
        let pages = worker.read_pages(&changes).await;
        let read = server_cpu();
        let (batch, ids) = worker.batch(views, changes, pages);
        store.inbound.commit(batch).await.expect("committed");
        let committed = server_cpu();
        store.outbound.finish(&ids).await.expect("finished");
        let marks = [start, devices, read, committed, server_cpu()];
        for (sum, pair) in cpu.iter_mut().zip(marks.windows(2)) {
            *sum += pair[1] - pair[0];
        }
        batches += 1;
    }
    let [devices, pages, commit, finish] = cpu.map(|sum| sum as f64 / 1e3 / (batches * size) as f64);
    format!("B={size:<4} devices {devices:.1}, pages {pages:.1}, commit {commit:.1}, finish {finish:.1} us/msg")
}

struct Worker {
    store: Stores,
    shard: usize,
    ids: Arc<IdGenerator>,
    random: u64,
}

type Numbers = Vec<Msisdn>;
type Ids = Vec<(DeviceKey, ActionId)>;

impl Worker {
    fn new(store: Stores, shard: usize) -> Self {
        let node = u16::try_from(shard).unwrap_or(0);
        // Another run of the same process continues elsewhere.
        let seed = now().0.unsigned_abs() | 1;
        Self { store, shard, ids: Arc::new(IdGenerator::new(node)), random: seed }
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Different subscribers of this worker's shard.
    fn numbers(&mut self, batch: usize) -> Numbers {
        let mut chosen = std::collections::BTreeSet::new();
        while chosen.len() < batch {
            let any = usize::try_from(self.next() % (SUBSCRIBERS / WORKERS) as u64).unwrap_or(0);
            chosen.insert(any * WORKERS + self.shard);
        }
        chosen.into_iter().map(number).collect()
    }

    async fn backup(&mut self, numbers: &Numbers) -> Ids {
        let views = self.store.inbound.devices(numbers).await.expect("devices");
        let changes = self.changes(&views);
        let pages = self.read_pages(&changes).await;
        let (batch, ids) = self.batch(views, changes, pages);
        self.store.inbound.commit(batch).await.expect("committed");
        ids
    }

    /// First record of each message.
    fn changes(&mut self, views: &[Option<domain::phonebook::DeviceView>]) -> Vec<(DeviceKey, u8)> {
        let span = u64::from(ENTRIES - RECORDS);
        let keys: Vec<_> = views.iter().map(|view| view.as_ref().expect("an account").device.key).collect();
        keys.into_iter().map(|key| (key, 1 + u8::try_from(self.next() % span).unwrap_or(0))).collect()
    }

    async fn read_pages(&self, changes: &[(DeviceKey, u8)]) -> std::collections::HashMap<PageKey, Page> {
        let mut keys: Vec<_> = changes
            .iter()
            .flat_map(|&(device, first)| [first, first + RECORDS - 1].map(|record| slot(device, record).0))
            .collect();
        keys.dedup();
        self.store.inbound.pages(&keys).await.expect("pages")
    }

    fn batch(
        &mut self,
        views: Vec<Option<domain::phonebook::DeviceView>>,
        changes: Vec<(DeviceKey, u8)>,
        mut pages: std::collections::HashMap<PageKey, Page>,
    ) -> (InboundCommit, Ids) {
        let at = now();
        let mut batch = InboundCommit::default();
        let mut ids = Vec::new();
        for (view, (device, first)) in views.into_iter().flatten().zip(changes) {
            let mut state = view.state;
            let mut records = Vec::new();
            for record_number in first..first + RECORDS {
                let new = Some(record(self.next()));
                let (key, slot) = slot(device, record_number);
                let place = &mut pages.entry(key).or_default().slots[slot];
                records.push(RecordChange { file: EF_ADN, record_number, old: place.clone(), new: new.clone() });
                *place = new;
                state.checksums.set(0, record_number, at.0.unsigned_abs() as u16);
            }
            let id = self.ids.next(at);
            state.last_contact = Some(at);
            state.last_message = Some(LastMessage { hash: self.next(), at, answer: Bytes::from_static(&[0x48; 9]) });
            let dedup = self.next();
            batch.changes.push(Change { device, id, at, source: Source::Backup, dedup, records });
            batch.states.push((device, state));
            batch.new_actions.push(acknowledgement(device, id, view.subscriber.msisdn, at));
            batch.billing.push(billing(device, view.subscriber.msisdn, at));
            ids.push((device, ActionId(id)));
        }
        batch.pages = pages.into_iter().collect();
        (batch, ids)
    }
}

fn slot(device: DeviceKey, record: u8) -> (PageKey, usize) {
    PageKey::of(device, EF_ADN, record).expect("records start at 1")
}

fn record(any: u64) -> Bytes {
    let mut octets = format!("Somebody {any:x}").into_bytes();
    octets.resize(30, 0xFF);
    octets.into()
}

fn acknowledgement(device: DeviceKey, id: i64, msisdn: Msisdn, at: Timestamp) -> Action {
    Action {
        device,
        id: ActionId(id),
        content: Content::BackupAcknowledgement(Acknowledgement {
            profile: Profile::E2,
            records: Bytes::from_static(&[0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0]),
        }),
        msisdn,
        is_secured: false,
        channel: Bearer::Sms,
        state: State::Queued,
        attempts: 0,
        created: at,
        due: at,
        launched: None,
        receipt: None,
        cause: String::new(),
        traces: vec![Bytes::from_static(&[7; 16])],
    }
}

fn billing(device: DeviceKey, msisdn: Msisdn, at: Timestamp) -> BillingEvent {
    BillingEvent {
        at,
        msisdn: Some(msisdn),
        subscriber: Some(device.subscriber),
        channel: "sms/north".into(),
        octets: 134,
        first_octet: Some(0x08),
        duplicate: false,
        account_state: "active",
    }
}

fn number(n: usize) -> Msisdn {
    Msisdn::from_i64(46_700_000_000 + i64::try_from(n).unwrap_or(0)).expect("a number")
}

/// Accounts, then a whole book for each.
async fn load(store: &Stores) {
    let row =
        MonitorRow { df: 0x7F10, ef: 0x6F3A, record_offset: 0, record_count: ENTRIES, data_offset: 0, data_octets: 30 };
    let mut state = DeviceState { monitor: MonitorTable::new(vec![row]), ..DeviceState::default() };
    for record in 1..=ENTRIES {
        state.checksums.set(0, record, u16::from(record));
    }
    let all: Vec<usize> = (0..SUBSCRIBERS).collect();
    let audit = store::Audit { at: Timestamp(0), who: "bench".into(), what: "accounts".into() };
    for chunk in all.chunks(1000) {
        let accounts: Vec<_> = chunk.iter().map(|&n| account(n, state.clone())).collect();
        let mut batch = InboundCommit::default();
        for account in &accounts {
            for page in 0..=(ENTRIES - 1) / 16 {
                let mut content = Page { slot_octets: 30, ..Page::default() };
                let entries = usize::from(ENTRIES - page * 16).min(16);
                content
                    .slots
                    .iter_mut()
                    .take(entries)
                    .for_each(|slot| *slot = Some(record(account.device.key.device.0 as u64)));
                batch.pages.push((PageKey { device: account.device.key, file: EF_ADN, page }, content));
            }
        }
        store.application.create_accounts(&accounts, audit.clone()).await.expect("accounts");
        store.inbound.commit(batch).await.expect("books");
    }
}

fn account(n: usize, state: DeviceState) -> NewAccount {
    let id = 7_000_000_000 + i64::try_from(n).unwrap_or(0) * 4096;
    let key = DeviceKey { subscriber: SubscriberId(id), device: DeviceId(id + 1) };
    let (tenant, name) = ("default".to_owned(), format!("Subscriber {n}"));
    let subscriber = Subscriber { id: key.subscriber, tenant, msisdn: number(n), name, state: AccountState::Active };
    let device = Device {
        key,
        iccid: format!("8946{n:015}"),
        profile: Profile::E2,
        bearer: Bearer::Sms,
        ip_key: None,
        opened: now(),
        closed: None,
    };
    NewAccount { subscriber, device, state, actions: Vec::new() }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Nanoseconds of CPU of every process that `parent` started, and of itself.
fn cpu_of_children(parent: u32) -> u64 {
    let listed = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(cpu_of).sum::<u64>() + cpu_of(parent)
}

fn cpu_of(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}
