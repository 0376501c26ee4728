//! A processor with everything around it: store, queue, clock, and launchers whose messages the test sees and answers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    delivery::{
        Acknowledgement, Action, ActionId, ConfigurationItem, Content, Progress, QueueEntry, RestoreRecord, State,
    },
    identity::{DeviceId, DeviceKey, IdGenerator, Msisdn, SubscriberId, Timestamp},
    phonebook::{AccountState, Bearer, Device, DeviceState, EF_ADN, Profile, Subscriber},
};
use outbound_action::{
    Config, Parts,
    janitor::Janitor,
    launcher::{Launchers, Outcome, Stack},
};
use proto::outbound::{Accepted, Launch};
use queue::{Queue, memory::MemoryQueue};
use runtime::clock::Manual;
use store::{ApplicationStore, Audit, InboundCommit, NewAccount, OutboundStore, sqlite::SqliteStore};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Long enough for anything that happens at all.
pub const SOON: Duration = Duration::from_secs(20);
const START: i64 = 1_800_000_000_000_000;

/// What a fake launcher answers to the next messages; then it accepts.
type Script = Arc<Mutex<Vec<Outcome>>>;

/// A stack of launchers that hands every message to the test.
pub struct FakeStack {
    link: &'static str,
    script: Script,
    seen: mpsc::UnboundedSender<Launch>,
}

#[async_trait::async_trait]
impl Stack for FakeStack {
    async fn launch(&self, message: Launch) -> Outcome {
        let scripted = {
            let mut script = self.script.lock().unwrap();
            if script.is_empty() { None } else { Some(script.remove(0)) }
        };
        let bearer_message_id = format!("{}-{}", self.link, rand::random::<u64>());
        self.seen.send(message).unwrap();
        scripted.unwrap_or_else(|| Outcome::Accepted(Accepted { link: self.link.to_owned(), bearer_message_id }))
    }
}

pub struct Centre {
    pub store: Arc<SqliteStore>,
    pub queue: Arc<dyn Queue>,
    pub clock: Manual,
    pub sms: mpsc::UnboundedReceiver<Launch>,
    pub ip: mpsc::UnboundedReceiver<Launch>,
    pub sms_script: Script,
    pub ip_script: Script,
    pub stop: CancellationToken,
    pub parts: Parts,
    senders: (mpsc::UnboundedSender<Launch>, mpsc::UnboundedSender<Launch>),
    ids: IdGenerator,
    folder: tempfile::TempDir,
}

/// Quick where only the test's patience is at stake.
pub fn config() -> Config {
    Config {
        patience: Duration::ZERO,
        settle: Duration::ZERO,
        // The test makes the rounds itself.
        janitor_interval: Duration::from_secs(3600),
        ..Config::default()
    }
}

impl Centre {
    pub async fn start(config: Config) -> Self {
        Self::with(config, CancellationToken::new())
    }

    /// Without a processor: [`Self::replica`] starts one.
    pub fn idle() -> Self {
        let stopped = CancellationToken::new();
        stopped.cancel();
        let mut centre = Self::with(config(), stopped);
        centre.stop = CancellationToken::new();
        centre
    }

    fn with(config: Config, stop: CancellationToken) -> Self {
        Self::on(config, MemoryQueue::new(), Manual::at(START), stop)
    }

    /// On a queue of the test's choice.
    pub fn on(config: Config, queue: Arc<dyn Queue>, clock: Manual, stop: CancellationToken) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("simvault.db")).unwrap();
        let (sms_sender, sms) = mpsc::unbounded_channel();
        let (ip_sender, ip) = mpsc::unbounded_channel();
        let (sms_script, ip_script) = (Script::default(), Script::default());
        let launchers = launchers(&config, [&sms_sender, &ip_sender], [&sms_script, &ip_script], &stop);
        let parts = outbound_action::run(config, store.clone(), queue.clone(), launchers, clock.clock(), stop.clone());
        Self {
            store,
            queue,
            clock,
            sms,
            ip,
            sms_script,
            ip_script,
            stop,
            parts,
            senders: (sms_sender, ip_sender),
            ids: IdGenerator::new(1),
            folder,
        }
    }

    /// Another replica on the same store and queue.
    pub fn replica(&self, config: Config) -> Parts {
        self.replica_on(config, self.store.clone())
    }

    /// A replica on the same queue that has its own view of the store.
    pub fn replica_on(&self, config: Config, store: Arc<dyn OutboundStore>) -> Parts {
        let (sms, ip) = &self.senders;
        let launchers = launchers(&config, [sms, ip], [&self.sms_script, &self.ip_script], &self.stop);
        outbound_action::run(config, store, self.queue.clone(), launchers, self.clock.clock(), self.stop.clone())
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    /// An account with one open card.
    pub async fn card(&self, digits: &str, bearer: Bearer) -> (DeviceKey, Msisdn) {
        self.card_of(Profile::E2, digits, bearer).await
    }

    pub async fn card_of(&self, profile: Profile, digits: &str, bearer: Bearer) -> (DeviceKey, Msisdn) {
        let msisdn = Msisdn::parse(digits).unwrap();
        let id = SubscriberId(self.ids.next(self.now()));
        let key = DeviceKey { subscriber: id, device: DeviceId(self.ids.next(self.now())) };
        let subscriber =
            Subscriber { id, tenant: "default".to_owned(), msisdn, name: String::new(), state: AccountState::Active };
        let device = Device {
            key,
            iccid: format!("89440000{:0>12}", digits),
            profile,
            bearer,
            ip_key: None,
            opened: self.now(),
            closed: None,
        };
        let account = NewAccount { subscriber, device, state: DeviceState::default(), actions: Vec::new() };
        self.store.create_accounts(&[account], self.audit()).await.unwrap();
        (key, msisdn)
    }

    pub fn action(&self, (device, msisdn): (DeviceKey, Msisdn), channel: Bearer, content: Content) -> Action {
        Action {
            device,
            id: ActionId(self.ids.next(self.now())),
            content,
            msisdn,
            is_secured: false,
            channel,
            state: State::Queued,
            attempts: 0,
            created: self.now(),
            due: self.now(),
            launched: None,
            receipt: None,
            cause: String::new(),
            traces: vec![Bytes::copy_from_slice(&rand::random::<[u8; 16]>())],
        }
    }

    /// Commits actions, as the services that make them do.
    pub async fn commit(&self, actions: &[Action]) {
        let batch = InboundCommit { new_actions: actions.to_vec(), ..InboundCommit::default() };
        ApplicationStore::commit(self.store.as_ref(), batch, self.audit()).await.unwrap();
    }

    pub async fn push(&self, actions: &[Action]) {
        for action in actions {
            self.queue.push(action.channel, &[QueueEntry::of(action).to_octets()]).await.unwrap();
        }
    }

    pub async fn commit_and_push(&self, actions: &[Action]) {
        self.commit(actions).await;
        self.push(actions).await;
    }

    pub async fn row(&self, action: &Action) -> Action {
        self.store.action(action.device.subscriber, action.id).await.unwrap().expect("the row is there")
    }

    /// Waits until the row is as wanted.
    pub async fn until(&self, action: &Action, wanted: impl Fn(&Action) -> bool) -> Action {
        eventually(async || Some(self.row(action).await).filter(|row| wanted(row))).await
    }

    /// Whether the acknowledgement left: its row is gone.
    pub async fn has_left(&self, action: &Action) -> bool {
        self.store.action(action.device.subscriber, action.id).await.unwrap().is_none()
    }

    /// Waits until the acknowledgement left.
    pub async fn until_left(&self, action: &Action) {
        eventually(async || self.has_left(action).await.then_some(())).await;
    }

    /// Waits until nothing is left in the queue.
    pub async fn until_queue_is_empty(&self) {
        eventually(async || {
            let (sms, ip) = (self.queue.depth(Bearer::Sms).await.unwrap(), self.queue.depth(Bearer::Ip).await.unwrap());
            (sms.waiting + sms.pending + ip.waiting + ip.pending == 0).then_some(())
        })
        .await;
    }

    /// Runs SQL past the store.
    pub fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.folder.path().join("simvault.db")).unwrap();
        connection.busy_timeout(SOON).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub fn janitor(&self) -> Janitor {
        Janitor::new(self.parts.processor.clone())
    }

    /// The card's answer, as `inbound-data` writes it.
    pub async fn answer(&self, action: &Action, done: impl Fn(&mut Action)) {
        let mut row = self.row(action).await;
        done(&mut row);
        row.due = self.now();
        assert!(self.store.move_action(&row, &[State::Sent], None, self.audit()).await.unwrap());
    }

    pub fn audit(&self) -> Audit {
        Audit { at: self.now(), who: "test".to_owned(), what: "test".to_owned() }
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn launchers(
    config: &Config,
    [sms, ip]: [&mpsc::UnboundedSender<Launch>; 2],
    [sms_script, ip_script]: [&Script; 2],
    stop: &CancellationToken,
) -> Launchers {
    let stack = |link, seen: &mpsc::UnboundedSender<Launch>, script: &Script| {
        let stack = FakeStack { link, script: script.clone(), seen: seen.clone() };
        Some(Arc::new(stack) as Arc<dyn Stack>)
    };
    let (sms, ip) = (stack("north", sms, sms_script), stack("edge", ip, ip_script));
    Launchers { sms, ip, patience: config.patience, stop: stop.clone() }
}

/// Looks again and again, a moment apart, until there is something.
pub async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.expect("it happens soon")
}

pub async fn next(launches: &mut mpsc::UnboundedReceiver<Launch>) -> Launch {
    tokio::time::timeout(SOON, launches.recv()).await.expect("a message is launched soon").expect("launchers live")
}

/// What is launched within a moment after everything else has settled: nothing.
pub fn nothing(launches: &mut mpsc::UnboundedReceiver<Launch>) {
    assert!(launches.try_recv().is_err(), "nothing is launched");
}

pub fn acknowledgement(records: &[[u8; 3]]) -> Content {
    Content::BackupAcknowledgement(Acknowledgement { profile: Profile::E2, records: records.concat().into() })
}

pub fn restore(records: u8) -> Content {
    let record = |record_number: u8| RestoreRecord {
        monitor_index: 0,
        file: EF_ADN,
        record_number,
        data_offset: 0,
        data: vec![record_number; 28].into(),
        progress: Progress::Open,
    };
    Content::Restore { records: (1..=records).map(record).collect(), check_data: None }
}

pub fn configuration(cid: u8, data: &'static [u8]) -> Content {
    Content::Configuration { items: vec![ConfigurationItem { cid, data: data.into(), progress: Progress::Open }] }
}

/// Record numbers of a restore message with one-row, 28-octet records.
pub fn record_numbers(message: &Launch) -> Vec<u8> {
    assert_eq!(message.payload[0], 0x18);
    message.payload[1..].chunks(30).map(|record| record[1]).collect()
}

/// Everything in flight has reached the card.
pub fn in_flight_done(action: &mut Action) {
    if let Content::Restore { records, .. } = &mut action.content {
        for record in records.iter_mut().filter(|record| record.progress == Progress::InFlight) {
            record.progress = Progress::Done;
        }
        let open = records.iter().any(|record| record.progress.is_unsettled());
        action.state = if open { State::Queued } else { State::Done };
        action.attempts = 0;
    } else {
        action.state = State::Done;
    }
}
