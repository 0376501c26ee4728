//! The service on the embedded store: what a restart finds.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    delivery::{Content, RetryLadder, State, build},
    identity::Timestamp,
    phonebook::{DeviceState, Profile, history, restore},
};
use inbound_data::Config;
use link::monitor::MonitorTable;
use proto::inbound::{Outcome, inbound_data_client::InboundDataClient};
use runtime::clock::Manual;
use store::{ApplicationStore, Audit, InboundCommit, InboundStore, NewAccount, sqlite::SqliteStore};
use tokio_util::sync::CancellationToken;

use crate::harness::{Card, Edge, Pushed, START, adn, adn_row, key, msisdn, sms, view};

struct Process {
    store: Arc<SqliteStore>,
    clock: Manual,
    edge: Edge,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn start(path: &Path, now: i64) -> Process {
    let store = SqliteStore::open(path).unwrap();
    let (clock, stop) = (Manual::at(now), CancellationToken::new());
    let mut config = Config { node: 3, ..Config::default() };
    config.server.drain_delay = Duration::ZERO;
    let queue = Arc::new(Pushed::default());
    let running = inbound_data::start(config, store.clone(), queue, clock.clock(), stop.clone()).await.unwrap();
    let client = InboundDataClient::connect(format!("http://{}", running.address)).await.unwrap();
    let edge = Edge::connect(client).await;
    Process { store, clock, edge, stop, task: running.task }
}

impl Process {
    async fn one(&mut self, payload: impl Into<Bytes>) -> Outcome {
        self.clock.advance(Duration::from_secs(1));
        self.edge.ingest(vec![sms(1, payload)]).await[0].0
    }

    async fn book(&self) -> restore::Book {
        restore::book(&self.store.book(key(1)).await.unwrap())
    }

    async fn state(&self) -> DeviceState {
        self.store.devices(&[msisdn(1)]).await.unwrap().remove(0).unwrap().state
    }

    async fn stop(self) -> i64 {
        self.stop.cancel();
        drop(self.edge);
        self.task.await.unwrap().unwrap();
        self.clock.now()
    }
}

fn audit() -> Audit {
    Audit { at: Timestamp(START), who: "test".to_owned(), what: "test".to_owned() }
}

async fn create_account(store: &SqliteStore) {
    let mut view = view(1);
    view.state.monitor = MonitorTable::new(vec![adn_row()]);
    let account =
        NewAccount { subscriber: view.subscriber, device: view.device, state: view.state, actions: Vec::new() };
    store.create_accounts(&[account], audit()).await.unwrap();
}

#[tokio::test]
async fn a_restart_finds_book_journal_answers_and_actions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("simvault.sqlite");
    let mut process = start(&path, START).await;
    create_account(&process.store).await;
    let mut card = Card::default();
    for (record, name) in [(1, "ANNA"), (2, "BEN"), (3, "CARL"), (1, "ANNE")] {
        assert_eq!(process.one(card.backup(record, &adn(name))).await, Outcome::Stored);
    }
    let (kept_at, kept) = (Timestamp(process.clock.now()), process.book().await);
    let deletion = card.backup(2, &vec![0xFF; 28].into());
    assert_eq!(process.one(deletion.clone()).await, Outcome::Stored);
    let now = process.stop().await;

    let mut process = start(&path, now).await;
    assert_eq!(process.one(deletion).await, Outcome::Duplicate);
    assert_eq!((process.book().await.len(), process.state().await.checksums), (2, card.table.clone()));
    let journal = process.store.journal(key(1), Timestamp(0), 1000).await.unwrap();
    assert_eq!(journal.len(), 5);
    let past = history::as_of(&process.book().await, &journal, kept_at);
    assert_eq!(past, kept);

    // A restore as of then, launched by one process, acknowledged to the next.
    let monitor = process.state().await.monitor;
    let source = restore::Origin { book: &past, monitor: &monitor };
    let plan = restore::plan(source, &process.book().await, &monitor, &restore::Selection::All).unwrap();
    let mut content = Content::Restore { records: plan, check_data: None };
    build::next_message(&mut content, Profile::E2, 140).unwrap();
    let at = Timestamp(process.clock.now());
    let mut action = crate::harness::action(1, 1_000, content, at);
    RetryLadder::default().launched(&mut action, None, at);
    let batch = InboundCommit { new_actions: vec![action.clone()], ..InboundCommit::default() };
    ApplicationStore::commit(&*process.store, batch, audit()).await.unwrap();
    let now = process.stop().await;

    let mut process = start(&path, now).await;
    let results = [1, 2, 3].iter().flat_map(|record| [0x7F, 0x10, 0x6F, 0x3A, *record, 0, 0]);
    assert_eq!(process.one([0x20].into_iter().chain(results).collect::<Vec<u8>>()).await, Outcome::Stored);
    assert_eq!(process.book().await, kept);
    let done = process.store.action(key(1).subscriber, action.id).await.unwrap().unwrap();
    assert_eq!(done.state, State::Done);
    card.backup(2, &adn("BEN"));
    assert_eq!(process.state().await.checksums, card.table);
    process.stop().await;
}

#[tokio::test]
async fn many_messages_of_one_card_end_in_one_state_on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(&folder.path().join("simvault.sqlite"), START).await;
    create_account(&process.store).await;
    let mut card = Card::default();
    let messages: Vec<_> =
        (0..150_u8).map(|round| sms(1, card.backup(1 + round % 40, &adn(&format!("R{round}"))))).collect();
    let outcomes = process.edge.ingest(messages).await;
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Outcome::Stored));
    assert_eq!(process.state().await.checksums, card.table);
    assert_eq!(process.store.journal(key(1), Timestamp(0), 1000).await.unwrap().len(), 150);
    process.stop().await;
}
