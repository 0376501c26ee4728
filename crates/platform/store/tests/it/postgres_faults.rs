//! Postgres killed, restarted, demoted: what was answered is there, and the store finds back by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use store::{ApplicationStore, InboundStore, StoreConfig, StoreError, postgres::PostgresStore};

use crate::fixtures::{backup, key, new_account, number};

const WRITERS: i64 = 4;

/// Answers once the store takes writes again; fails after a minute.
async fn recovered(store: &PostgresStore) {
    let waited = async {
        while InboundStore::ping(store).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("the store finds back within a minute");
}

/// Commits one message after another of account `n`; keeps the version that was answered last.
async fn write(store: Arc<PostgresStore>, n: i64, answered: Arc<AtomicI64>, stop: Arc<AtomicBool>) {
    while !stop.load(SeqCst) {
        let Ok(mut views) = store.devices(&[number(n)]).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let view = views.remove(0).unwrap();
        let version = view.state.version + 1;
        let batch = backup(&view, n, version, None, &format!("v{version}"));
        match InboundStore::commit(&*store, batch).await {
            Ok(()) => answered.store(version, SeqCst),
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Covers: SC-ID-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill_of_postgres_in_the_middle_of_commits() {
    let mut server = tokio::task::spawn_blocking(testkit::postgres::Server::start).await.unwrap();
    let config = StoreConfig::at(server.url());
    store::migrate::postgres(&config).await.unwrap();
    let store = PostgresStore::connect(&config).await.unwrap();
    let accounts: Vec<_> = (1..=WRITERS).map(new_account).collect();
    store.create_accounts(&accounts, crate::fixtures::audit("accounts")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Vec<_> = (0..WRITERS).map(|_| Arc::new(AtomicI64::new(0))).collect();
    let spawn =
        |(n, answered): (i64, &Arc<AtomicI64>)| tokio::spawn(write(store.clone(), n, answered.clone(), stop.clone()));
    let writers: Vec<_> = (1..).zip(&answered).map(spawn).collect();
    for _ in 0..3 {
        let goal = answered[0].load(SeqCst) + 20;
        while answered[0].load(SeqCst) < goal {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server = tokio::task::spawn_blocking(move || {
            server.kill9();
            server.restart();
            server
        })
        .await
        .unwrap();
        recovered(&store).await;
    }
    stop.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    for (n, answered) in (1..).zip(&answered) {
        let view = store.devices(&[number(n)]).await.unwrap().remove(0).unwrap();
        let version = view.state.version;
        // A commit whose answer was lost may be there too.
        assert!(version >= answered.load(SeqCst), "subscriber {n}: {version}, answered {answered:?}");
        // Every message with all that belongs to it: page, journal, action, billing event.
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table} WHERE subscriber_id = {n}");
            server.sql("postgres", &sql).parse::<i64>().unwrap()
        };
        assert_eq!(
            (count("book_change"), count("outbound_action"), count("billing_event")),
            (version, version, version)
        );
        let book = ApplicationStore::book(&*store, key(n)).await.unwrap();
        assert_eq!(book[0].1, crate::fixtures::page(&format!("v{version}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_left_for_one_that_does() {
    let (mut one, two) =
        tokio::task::spawn_blocking(|| (testkit::postgres::Server::start(), testkit::postgres::Server::start()))
            .await
            .unwrap();
    for server in [&one, &two] {
        store::migrate::postgres(&StoreConfig::at(server.url())).await.unwrap();
    }
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", one.port(), two.port());
    let store = PostgresStore::connect(&StoreConfig::at(url)).await.unwrap();
    store.create_accounts(&[new_account(1)], crate::fixtures::audit("accounts")).await.unwrap();
    assert_eq!(one.sql("postgres", "SELECT count(*) FROM subscriber"), "1");
    // Demoted: its connections stay, and refuse writes (25006).
    one.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    one.sql("postgres", "SELECT pg_reload_conf()");
    testkit_until("the first refuses writes", || async { InboundStore::ping(&*store).await.is_err() }).await;
    recovered(&store).await;
    store.create_accounts(&[new_account(2)], crate::fixtures::audit("accounts")).await.unwrap();
    assert_eq!(two.sql("postgres", "SELECT count(*) FROM subscriber WHERE id = 2"), "1");
    // Gone altogether: nothing changes.
    tokio::task::block_in_place(|| one.kill9());
    recovered(&store).await;
    tokio::task::block_in_place(|| one.restart());
}

async fn testkit_until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect(what);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_ended_by_the_server_is_replaced() {
    let url = crate::fixtures::postgres_url().await;
    let backend = crate::fixtures::postgres(&url).await;
    backend.account(1).await;
    backend.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    testkit_until("it finds back", || async {
        backend.inbound.ping().await.is_ok() && backend.inbound.devices(&[number(1)]).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_given_up() {
    let url = crate::fixtures::postgres_url().await;
    let config = StoreConfig { statement_timeout: Duration::from_millis(200), ..StoreConfig::at(&url) };
    let store = PostgresStore::connect(&config).await.unwrap();
    store.create_accounts(&[new_account(1)], crate::fixtures::audit("accounts")).await.unwrap();
    let view = store.devices(&[number(1)]).await.unwrap().remove(0).unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let holder = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; LOCK TABLE device_state; SELECT pg_sleep(1); COMMIT";
        testkit::postgres::shared().sql(&database, sql)
    });
    let blocked = async {
        loop {
            let read = store.devices(&[number(1)]).await;
            if let Err(error) = read {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(30), blocked).await.unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    holder.await.unwrap();
    InboundStore::commit(&*store, backup(&view, 1, 10, None, "Anna")).await.unwrap();
}

/// What a forgotten grant, or a migration that was not run, does to every message: it must wait, not be thrown away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_set_up_is_nobodys_message_and_shows_in_readiness() {
    let url = crate::fixtures::postgres_url().await;
    let application = PostgresStore::connect(&StoreConfig::at(&url)).await.unwrap();
    application.create_accounts(&[new_account(1)], crate::fixtures::audit("accounts")).await.unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let sql = async |sql: &'static str| {
        let database = database.clone();
        tokio::task::spawn_blocking(move || testkit::postgres::shared().sql(&database, sql)).await.unwrap()
    };
    let role = StoreConfig::at(url.replace("postgres@", "simvault_inbound@"));
    let store = PostgresStore::connect(&role).await.unwrap();
    let view = store.devices(&[number(1)]).await.unwrap().remove(0).unwrap();
    InboundStore::ping(&*store).await.unwrap();
    let faults = [
        ("REVOKE INSERT ON book_change FROM simvault_inbound", "GRANT INSERT ON book_change TO simvault_inbound"),
        ("ALTER TABLE book_page RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO book_page"),
    ];
    for (fault, mended) in faults {
        sql(fault).await;
        let written = InboundStore::commit(&*store, backup(&view, 1, 10, None, "Anna")).await;
        assert!(matches!(written, Err(StoreError::Unavailable(_))), "{fault}: {written:?}");
        let ready = InboundStore::ping(&*store).await;
        assert!(matches!(ready, Err(StoreError::Unavailable(_))), "{fault}: {ready:?}");
        sql(mended).await;
        InboundStore::ping(&*store).await.unwrap();
    }
    InboundStore::commit(&*store, backup(&view, 1, 10, None, "Anna")).await.unwrap();
}

/// Whoever holds a row for long costs the others a moment, and not the time of their batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_given_back_is_not_waited_for() {
    let url = crate::fixtures::postgres_url().await;
    let store = PostgresStore::connect(&StoreConfig::at(&url)).await.unwrap();
    store.create_accounts(&[new_account(1)], crate::fixtures::audit("accounts")).await.unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let holder = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; UPDATE device_state SET version = version; SELECT pg_sleep(5); COMMIT";
        testkit::postgres::shared().sql(&database, sql)
    });
    let mut id = 10;
    let blocked = async {
        loop {
            let view = store.devices(&[number(1)]).await.unwrap().remove(0).unwrap();
            id += 1;
            if let Err(error) = InboundStore::commit(&*store, backup(&view, 1, id, None, "Anna")).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(30), blocked).await.unwrap();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("55P03")), "{error}");
    holder.await.unwrap();
}
