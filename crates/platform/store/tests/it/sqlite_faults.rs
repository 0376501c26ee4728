//! The embedded store in a process that is killed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use store::{ApplicationStore, InboundStore, sqlite::SqliteStore};

use crate::fixtures::{backup, key, new_account, number, page};

/// Names the store's file in the process that is to be killed.
const FILE: &str = "SIMVAULT_TEST_STORE";

/// Not a test by itself: the process that [`what_was_answered_survives_a_kill_of_the_process`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = SqliteStore::open(path).unwrap();
    loop {
        let view = store.devices(&[number(1)]).await.unwrap().remove(0).unwrap();
        let version = view.state.version + 1;
        let batch = backup(&view, 1, version, None, &format!("v{version}"));
        InboundStore::commit(&*store, batch).await.unwrap();
        println!("answered {version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill_of_the_process() {
    let folder = testkit::Folder::new("store");
    let path = folder.join("store.db");
    SqliteStore::open(&path)
        .unwrap()
        .create_accounts(&[new_account(1)], crate::fixtures::audit("accounts"))
        .await
        .unwrap();
    let mut answered = 0;
    for _ in 0..3 {
        let mut writer = Command::new(std::env::current_exe().unwrap());
        writer.args(["sqlite_faults::writes_until_killed", "--exact", "--nocapture"]).env(FILE, &path);
        let mut writer = writer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let goal = answered + 50;
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let Some((_, version)) = line.split_once("answered ") else { continue };
            answered = version.parse().unwrap();
            if answered == goal {
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        assert!(answered >= goal, "the writer ended by itself");
        let store = SqliteStore::open(&path).unwrap();
        let version = store.devices(&[number(1)]).await.unwrap().remove(0).unwrap().state.version;
        assert!(version >= answered, "{version}, answered {answered}");
        assert_eq!(ApplicationStore::book(&*store, key(1)).await.unwrap()[0].1, page(&format!("v{version}")));
        let journal = store.journal(key(1), domain::identity::Timestamp(0), 10_000).await.unwrap();
        let actions = store.actions_of(Some(key(1).subscriber), false, 10_000).await.unwrap();
        let both = (i64::try_from(journal.len()).unwrap(), i64::try_from(actions.len()).unwrap());
        assert_eq!(both, (version, version), "every message with its journal and its action");
    }
}
