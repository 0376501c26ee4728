//! A running application server with its clients, and the little of the inbound side that the tests play.

use std::sync::Arc;

use application_server::Config;
use bytes::Bytes;
use domain::{
    delivery::{Action, QueueEntry},
    identity::{DeviceId, DeviceKey, Msisdn, SubscriberId, Timestamp},
    phonebook::{Bearer, Change, EF_ADN, FilePath, Page, PageKey, RecordChange, Source},
};
use link::checksum::crc16;
use proto::centre::{
    self, accounts_client::AccountsClient, commands_client::CommandsClient, edge_registry_client::EdgeRegistryClient,
    phonebooks_client::PhonebooksClient, queues_client::QueuesClient,
};
use queue::{Queue, memory::MemoryQueue};
use runtime::clock::Manual;
use store::{ApplicationStore, Audit, InboundCommit, sqlite::SqliteStore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};

pub const START: i64 = 1_800_000_000_000_000;

pub struct Centre {
    pub store: Arc<dyn ApplicationStore>,
    pub queue: Arc<MemoryQueue>,
    pub clock: Manual,
    pub accounts: AccountsClient<Channel>,
    pub books: PhonebooksClient<Channel>,
    pub commands: CommandsClient<Channel>,
    pub queues: QueuesClient<Channel>,
    pub registry: EdgeRegistryClient<Channel>,
    pub channel: Channel,
    stop: CancellationToken,
    pub folder: tempfile::TempDir,
}

impl Centre {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("simvault.db")).unwrap();
        Self::on(store, folder, config).await
    }

    /// On any store; `folder` goes with the centre.
    pub async fn on(store: Arc<dyn ApplicationStore>, folder: tempfile::TempDir, config: Config) -> Self {
        let queue = MemoryQueue::new();
        let clock = Manual::at(START);
        let stop = CancellationToken::new();
        let service =
            application_server::start(config, store.clone(), queue.clone(), clock.clock(), stop.clone()).await.unwrap();
        let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
        Self {
            store,
            queue,
            clock,
            accounts: AccountsClient::new(channel.clone()),
            books: PhonebooksClient::new(channel.clone()),
            commands: CommandsClient::new(channel.clone()),
            queues: QueuesClient::new(channel.clone()),
            registry: EdgeRegistryClient::new(channel.clone()),
            channel,
            stop,
            folder,
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now())
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }

    /// An account whose card is personalised: nothing is sent to it.
    pub async fn card(&mut self, msisdn: &str) -> centre::Account {
        let account = centre::NewAccount { personalised: true, ..new_account(msisdn) };
        self.create(account).await.unwrap()
    }

    pub async fn create(&mut self, account: centre::NewAccount) -> Result<centre::Account, Status> {
        let request = centre::CreateAccountRequest { account: Some(account) };
        self.accounts.create_account(by_anna(request)).await.map(tonic::Response::into_inner)
    }

    /// What `inbound-data` commits when a card backs records up; `None` empties.
    pub async fn backup(&mut self, account: &centre::Account, records: &[(u8, Option<Bytes>)]) {
        let msisdn = Msisdn::parse(&account.msisdn).unwrap();
        let stored = self.store.account(msisdn).await.unwrap().unwrap();
        let (device, state) = stored.devices.first().unwrap().clone();
        let mut pages: std::collections::HashMap<PageKey, Page> =
            self.store.book(device.key).await.unwrap().into_iter().collect();
        let mut state = state;
        let mut changes = Vec::new();
        let mut touched = std::collections::HashSet::new();
        for (record_number, new) in records {
            let (key, slot) = PageKey::of(device.key, EF_ADN, *record_number).unwrap();
            let page = pages.entry(key).or_insert_with(|| Page { slot_octets: 28, ..Page::default() });
            let old = std::mem::replace(&mut page.slots[slot], new.clone());
            touched.insert(key);
            match new {
                Some(octets) => state.checksums.set(0, *record_number, crc16(octets)),
                None => state.checksums.remove(0, *record_number),
            };
            changes.push(RecordChange { file: EF_ADN, record_number: *record_number, old, new: new.clone() });
        }
        let change = Change {
            device: device.key,
            id: self.clock.now(),
            at: self.now(),
            source: Source::Backup,
            dedup: 0,
            records: changes,
        };
        let batch = InboundCommit {
            states: vec![(device.key, state)],
            pages: pages.into_iter().filter(|(key, _)| touched.contains(key)).collect(),
            changes: vec![change],
            ..InboundCommit::default()
        };
        let audit = Audit { at: self.now(), who: "test".to_owned(), what: "backup".to_owned() };
        ApplicationStore::commit(self.store.as_ref(), batch, audit).await.unwrap();
    }

    pub async fn action(&self, reference: &centre::ActionReference) -> Action {
        let (subscriber, id) = (SubscriberId(reference.subscriber_id), domain::delivery::ActionId(reference.action_id));
        self.store.action(subscriber, id).await.unwrap().expect("the action is there")
    }

    /// Actions that the queue was told of since the last look.
    pub async fn queued(&self) -> Vec<QueueEntry> {
        let mut queued = Vec::new();
        for channel in [Bearer::Sms, Bearer::Ip] {
            for entry in self.queue.pop(channel, "test", 1000, std::time::Duration::ZERO).await.unwrap() {
                queued.push(QueueEntry::from_octets(entry.body).unwrap());
            }
        }
        queued
    }

    /// Record numbers and data of a restore action.
    pub async fn restored(&self, reference: &centre::ActionReference) -> Vec<(u8, Bytes)> {
        match self.action(reference).await.content {
            domain::delivery::Content::Restore { records, .. } => {
                records.into_iter().map(|record| (record.record_number, record.data)).collect()
            }
            other => panic!("expected a restore, got {other:?}"),
        }
    }

    pub async fn restore(
        &mut self,
        msisdn: &str,
        selection: centre::restore_request::Selection,
        as_of: i64,
    ) -> Result<centre::ActionReference, Status> {
        let request = centre::RestoreRequest {
            msisdn: msisdn.to_owned(),
            as_of_micros: as_of,
            selection: Some(selection),
            ..centre::RestoreRequest::default()
        };
        self.commands.restore(by_anna(request)).await.map(tonic::Response::into_inner)
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A request of the operator Anna.
pub fn by_anna<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("simvault-user", "anna".parse().unwrap());
    request
}

pub fn new_account(msisdn: &str) -> centre::NewAccount {
    centre::NewAccount {
        msisdn: msisdn.to_owned(),
        name: "Somebody".to_owned(),
        iccid: format!("8944{msisdn:0>15}"),
        profile: "E2".to_owned(),
        bearer: "sms".to_owned(),
        ..centre::NewAccount::default()
    }
}

/// An EF_ADN record of 28 octets: a name, +1123456.
pub fn adn(name: &str) -> Bytes {
    let mut record = name.as_bytes().to_vec();
    record.resize(14, 0xFF);
    record.extend([6, 0x91, 0x00, 0x11, 0x32, 0x54, 0xF6]);
    record.resize(28, 0xFF);
    record.into()
}

pub fn key(account: &centre::Account, device: usize) -> DeviceKey {
    DeviceKey { subscriber: SubscriberId(account.subscriber_id), device: DeviceId(account.devices[device].device_id) }
}

pub const ADN: FilePath = EF_ADN;
