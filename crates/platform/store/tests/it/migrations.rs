//! Schema, roles and partitions.

use store::{
    ApplicationStore, CollectionStore, Expiring, InboundCommit, InboundStore, OutboundStore, StoreConfig, StoreError,
    TransferStore, postgres::PostgresStore, sqlite::SqliteStore,
};

use crate::fixtures::{self, acknowledgement, backup, both, key, new_account, number, postgres_url};

/// Covers: SC-DB-02
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_versioned_and_migrating_again_changes_nothing() {
    for store in both().await {
        let tables = store.tables();
        for table in [
            "tenant",
            "subscriber",
            "device",
            "device_state",
            "book_page",
            "book_change",
            "outbound_action",
            "billing_event",
            "notice",
            "dead_letter",
            "message_part",
            "error_reply",
            "audit",
            "lease",
            "ip_session",
            "setting",
            "transfer_session",
            "transfer_item",
            "transfer_collection",
            "transfer_consent",
        ] {
            assert!(tables.iter().any(|name| name == table), "{}: {table}", store.name);
        }
        assert!(store.count("schema_version") > 0, "{}", store.name);
    }
    let url = postgres_url().await;
    let migrate = || async { store::migrate::postgres(&StoreConfig::at(&url)).await };
    let (one, two) = tokio::join!(migrate(), migrate());
    assert_eq!((one.unwrap(), two.unwrap()), (store::migrate::POSTGRES_MIN, store::migrate::POSTGRES_MIN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_at_once_on_an_empty_database_happen_once() {
    let url = tokio::task::spawn_blocking(|| testkit::postgres::shared().database("empty", |_| ())).await.unwrap();
    let refused = PostgresStore::connect(&StoreConfig::at(&url)).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("simvault migrate")), "{refused:?}");
    let config = StoreConfig::at(&url);
    let (one, two, three) = tokio::join!(
        store::migrate::postgres(&config),
        store::migrate::postgres(&config),
        store::migrate::postgres(&config)
    );
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    PostgresStore::connect(&config).await.unwrap().application_ping().await;
}

trait Ping {
    async fn application_ping(&self);
}

impl Ping for PostgresStore {
    async fn application_ping(&self) {
        ApplicationStore::ping(self).await.unwrap();
    }
}

/// One interface each, as D-124 says what that is: a role with database grants of its own.
///
/// Covers: SC-DB-14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_can_do_its_work_and_no_more() {
    let url = postgres_url().await;
    let as_role = |role: &str| StoreConfig::at(url.replace("postgres@", &format!("simvault_{role}@")));
    let application = PostgresStore::connect(&as_role("application")).await.unwrap();
    application.create_accounts(&[new_account(1), new_account(2)], fixtures::audit("accounts")).await.unwrap();

    let inbound = PostgresStore::connect(&as_role("inbound")).await.unwrap();
    InboundStore::ping(&*inbound).await.unwrap();
    let view = inbound.devices(&[number(1)]).await.unwrap().remove(0).unwrap();
    let mut batch = backup(&view, 1, 10, None, "Anna");
    let part_key = store::PartsKey { msisdn: number(1), reference: 1, is_wide: false, total: 2 };
    let octets = bytes::Bytes::new();
    let part = store::Part {
        key: part_key.clone(),
        sequence: 1,
        user_data_header: octets.clone(),
        payload: octets,
        arrived: fixtures::NOON,
    };
    batch.new_parts.push(part);
    let notice = store::Notice { at: fixtures::NOON, msisdn: None, kind: "k".into(), text: "t".into() };
    batch.notices.push(notice.clone());
    batch.dead_letters.push(fixtures::dead_letter(1));
    InboundStore::commit(&*inbound, batch).await.unwrap();
    let finished_parts = vec![part_key.clone()];
    let moved = acknowledgement(1, 10);
    let moved_actions = vec![(moved.clone(), moved.state, moved.due)];
    let batch = store::InboundCommit { finished_parts, moved_actions, ..Default::default() };
    InboundStore::commit(&*inbound, batch).await.unwrap();
    let transfers = crate::transfers::every_write(key(1));
    InboundStore::commit(&*inbound, store::InboundCommit { transfers, ..Default::default() }).await.unwrap();
    assert_eq!(inbound.transfer_sessions(&[key(1)]).await.unwrap().len(), 1);
    inbound.shelves(&[key(1).subscriber]).await.unwrap();
    inbound.transfer_items(&crate::transfers::every_need(key(1).subscriber)).await.unwrap();
    inbound.expire_transfers(fixtures::NOON, 10).await.unwrap();
    inbound.pages(&[fixtures::page_key(1, 0)]).await.unwrap();
    inbound.open_actions(&[key(1)]).await.unwrap();
    inbound.mismatched(fixtures::NOON, 1).await.unwrap();
    inbound.parts(&[part_key]).await.unwrap();
    inbound.parts_held(&[number(1)]).await.unwrap();
    inbound.expire_parts(fixtures::NOON).await.unwrap();
    inbound.claim_error_replies(&[number(1)], fixtures::NOON).await.unwrap();
    inbound.action_by_launch("a", "b").await.unwrap();
    assert!(inbound.replace_action(&moved, moved.state, moved.due).await.unwrap());
    inbound.reserve_downlink(key(1), 1).await.unwrap();
    InboundStore::reserve_secured(&*inbound, key(1), 1, 0).await.unwrap();

    let outbound = PostgresStore::connect(&as_role("outbound")).await.unwrap();
    OutboundStore::ping(&*outbound).await.unwrap();
    let id = acknowledgement(1, 10).id;
    assert_eq!(outbound.actions(&[(key(1), id)]).await.unwrap().actions.len(), 1);
    outbound.heads(&[key(1)]).await.unwrap();
    OutboundStore::reserve_secured(&*outbound, key(1), 1, 0).await.unwrap();
    outbound.move_actions(&[(acknowledgement(1, 10), vec![])]).await.unwrap();
    outbound.add_notices(&[notice]).await.unwrap();
    outbound.due(&fixtures::due(fixtures::NOON, fixtures::NOON, 1)).await.unwrap();
    let damaged = store::Damaged { device: key(1), id: acknowledgement(1, 99).id, is_lost: true, why: "test".into() };
    assert_eq!(outbound.fail_damaged(&[damaged], fixtures::NOON).await.unwrap(), 0);
    outbound.finish(&[(key(1), id)]).await.unwrap();

    let consent = store::Consent { owner: key(1).subscriber, name: "main".to_owned(), to: key(2).subscriber };
    // Outside its own work each role is refused, and nobody alters what operators did.
    for denied in [
        outbound.create_accounts(&[new_account(3)], fixtures::audit("accounts")).await,
        outbound.pages(&[fixtures::page_key(1, 0)]).await.map(drop),
        InboundStore::commit(&*outbound, backup(&view, 1, 20, None, "Anna")).await,
        outbound.journal(key(1), fixtures::NOON, 1).await.map(drop),
        inbound.journal(key(1), fixtures::NOON, 1).await.map(drop),
        outbound.reserve_downlink(key(1), 1).await.map(drop),
        inbound
            .set_state(key(1).subscriber, view.subscriber.state, InboundCommit::default(), fixtures::audit("no"))
            .await,
        inbound.put_setting("s", "k", "v", fixtures::audit("no")).await,
        inbound.erase(key(1).subscriber, fixtures::audit("no")).await.map(drop),
        inbound.set_consent(&consent, true, fixtures::audit("no")).await.map(drop),
        outbound.transfer_sessions(&[key(1)]).await.map(drop),
    ] {
        assert!(matches!(&denied, Err(StoreError::Unavailable(why)) if why.contains("42501")), "{denied:?}");
    }
    for what in [Expiring::EndedActions, Expiring::Journal, Expiring::Billing, Expiring::Collections, Expiring::Audit] {
        application.expire(what, fixtures::NOON, 10).await.unwrap();
    }
    application.journal_from().await.unwrap();
    application.set_consent(&consent, true, fixtures::audit("given")).await.unwrap();
    application.set_consent(&consent, false, fixtures::audit("withdrawn")).await.unwrap();
    application.transfers_of(key(1).subscriber).await.unwrap();
    application.change_user(key(1).subscriber, &store::UserChange::default(), fixtures::audit("user")).await.unwrap();
    application.by_login("anna").await.unwrap();
    assert!(application.erase(key(1).subscriber, fixtures::audit("erased")).await.is_ok());
    application.erase_rest(10).await.unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let server = testkit::postgres::shared();
    let may = "SELECT count(*) FROM (VALUES ('inbound'), ('outbound'), ('application')) r(name), (VALUES ('UPDATE'), ('DELETE')) \
               p(privilege) WHERE has_table_privilege('simvault_' || r.name, 'audit', p.privilege)";
    assert_eq!(server.sql(&database, may), "0");
    let role = server
        .sql(&database, "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%force_generic_plan%'");
    assert_eq!(role, "3", "each role plans once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_have_partitions_and_old_ones_go() {
    let store = fixtures::postgres(&postgres_url().await).await;
    let view = store.account(1).await;
    // 2025-06-15 has no partition: it goes to the rest rather than being refused.
    store.inbound.commit(backup(&view, 1, 10, None, "Anna")).await.unwrap();
    assert_eq!(store.count("book_change_rest"), 1);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'book_change'::regclass";
    let before: i64 = store.sql(partitions)[0].parse().unwrap();
    assert_eq!(before, 10, "yesterday, today, seven days ahead, the rest");
    assert_eq!(store.sql("SELECT simvault_create_partitions(9)"), ["4"]);
    let today = domain::identity::Timestamp(
        store.sql("SELECT (extract(epoch FROM current_date) * 1000000)::bigint")[0].parse().unwrap(),
    );
    let expire = async |before| store.application.expire(Expiring::Journal, before, 100).await.unwrap();
    assert_eq!(expire(today).await, 1, "yesterday");
    assert_eq!(store.sql(partitions), ["11"]);
    assert_eq!(store.count("book_change_rest"), 1, "one step is one day");
    assert_eq!((expire(today).await, expire(today).await), (1, 0));
    assert_eq!(store.count("book_change_rest"), 0, "what no day took is old too");
    store.inbound.commit(backup(&store.view(1).await, 1, 11, Some("Anna"), "Berta")).await.unwrap();
    let now = "INSERT INTO book_change VALUES (1, 1, now(), 99, 0, 0, '\\x01')";
    store.sql(now);
    assert_eq!(store.count("book_change_rest"), 1, "today's rows are in today's partition");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_opens_again_with_its_data() {
    let folder = testkit::Folder::new("store");
    let path = folder.join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    store.create_accounts(&[new_account(1)], fixtures::audit("accounts")).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.devices(&[number(1)]).await.unwrap()[0].is_some());
    std::fs::write(folder.join("text"), "this is no database, and never was one: it is a text of many octets").unwrap();
    let refused = SqliteStore::open(folder.join("text")).map(drop);
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_chooses_and_checks() {
    use runtime::config::Validate;
    let folder = testkit::Folder::new("store");
    let config = StoreConfig::at(format!("sqlite:{}", folder.join("x.db").display()));
    assert_eq!(config.problems(), []);
    store::open(&config).await.unwrap().application.ping().await.unwrap();
    let config = StoreConfig::at(postgres_url().await);
    assert_eq!(config.problems(), []);
    store::open(&config).await.unwrap().inbound.ping().await.unwrap();
    let wrong = StoreConfig { writers: 0, ..StoreConfig::at("no url, but a password") };
    let keys: Vec<_> = wrong.problems().into_iter().map(|problem| (problem.key, problem.found)).collect();
    assert_eq!(
        keys,
        [("writers".into(), "0".into()), ("url".into(), "another form (not shown: it may hold a password)".into())]
    );
    assert!(matches!(store::open(&wrong).await.map(drop), Err(StoreError::Refused(_))));
    let nobody = StoreConfig::at(format!("postgres://postgres@127.0.0.1:{}/x", testkit::free_port()));
    assert!(matches!(store::open(&nobody).await.map(drop), Err(StoreError::Unavailable(_))));
}
