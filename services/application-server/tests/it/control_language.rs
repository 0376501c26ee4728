//! Commands become SQL with parameters, and whatever is typed stays a value (SC-DB-15, D-124: there is no query language).

use application_server::Config;
use proto::centre::{self, restore_request::Selection};
use store::StoreConfig;
use tonic::{Code, Request};

use crate::centre::{Centre, adn};

/// A migrated database on the shared server, by name, with a centre on it.
async fn centre_on_postgres() -> (String, Centre) {
    let url = tokio::task::spawn_blocking(|| testkit::postgres::shared().database("empty", |_| ())).await.unwrap();
    let config = StoreConfig::at(&url);
    store::migrate::postgres(&config).await.unwrap();
    let stores = store::open(&config).await.unwrap();
    let centre = Centre::on(stores.application, tempfile::tempdir().unwrap(), Config::default()).await;
    (url.rsplit('/').next().unwrap().to_owned(), centre)
}

fn sql(database: &str, sql: &str) -> String {
    testkit::postgres::shared().sql(database, sql)
}

/// Every table with how many rows it has.
fn rows(database: &str) -> Vec<(String, String)> {
    let tables = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition \
                  AND relnamespace = 'public'::regnamespace AND relname NOT IN ('readiness', 'lease') ORDER BY 1";
    let tables = sql(database, tables);
    tables.lines().map(|table| (table.to_owned(), sql(database, &format!("SELECT count(*) FROM {table}")))).collect()
}

fn restore(msisdn: &str, who: &str) -> Request<centre::RestoreRequest> {
    let selection = Some(Selection::Range(centre::RecordRange { monitor_index: 0, first: 5, last: 9 }));
    let request = centre::RestoreRequest { msisdn: msisdn.to_owned(), selection, ..centre::RestoreRequest::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert("simvault-user", who.parse().unwrap());
    request
}

/// Covers: SC-DB-15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_restore_is_sql_with_parameters_and_an_injection_is_rejected() {
    let (database, mut centre) = centre_on_postgres().await;
    let account = centre.card("441270001").await;
    let records: Vec<_> = (1..=9).map(|number| (number, Some(adn("ANNALENA")))).collect();
    centre.backup(&account, &records).await;
    let tables = rows(&database);

    // The statements as the server saw them last: placeholders, and nothing of the command or the book.
    let reference = centre.commands.restore(restore(&account.msisdn, "anna")).await.unwrap().into_inner();
    let numbers: Vec<u8> = centre.restored(&reference).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [5, 6, 7, 8, 9]);
    let seen =
        format!("SELECT query FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'simvault'");
    let seen = sql(&database, &seen);
    let insert = seen.lines().find(|query| query.contains("outbound_action") && query.contains("INSERT"));
    assert!(insert.is_some_and(|query| query.contains("UNNEST($1")), "{seen}");
    let (subscriber, hexadecimal) = (account.subscriber_id.to_string(), "414e4e414c454e41");
    for value in [account.msisdn.as_str(), &subscriber, "ANNALENA", hexadecimal, "anna"] {
        assert!(!seen.contains(value), "{value} in {seen}");
    }

    // What is no number never reaches the database.
    let before = rows(&database);
    for injection in [
        "441270001' OR '1'='1",
        "441270001'; DROP TABLE outbound_action; --",
        "0 UNION SELECT password_hash FROM subscriber",
        "441270001 OR 1=1",
        "$1",
        "441270001\0",
    ] {
        let refused = centre.commands.restore(restore(injection, "anna")).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{injection}: {refused}");
    }
    assert_eq!(rows(&database), before);
    // What may be any text is a value in a row.
    let hostile = "anna'); DROP TABLE audit; --";
    centre.commands.restore(restore(&account.msisdn, hostile)).await.unwrap();
    assert_eq!(
        sql(&database, "SELECT who FROM audit ORDER BY at DESC, what DESC LIMIT 9")
            .lines()
            .filter(|who| *who == hostile)
            .count(),
        1
    );
    let names = |rows: &[(String, String)]| rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rows(&database)), names(&tables), "every table is there");
}
