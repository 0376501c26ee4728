//! What is kept for a time and no longer, and what that means for books as of earlier times.

use std::time::Duration;

use application_server::{App, Config, housekeeping, housekeeping::HousekeepingConfig};
use proto::centre::{self, restore_request::Selection};
use tonic::Code;

use crate::centre::{Centre, adn, by_anna};

const DAY: u64 = 86_400;

fn keep(journal_days: u64) -> Config {
    let journal = Duration::from_secs(journal_days * DAY);
    Config { housekeeping: HousekeepingConfig { journal, ..HousekeepingConfig::default() }, ..Config::default() }
}

/// Rows of actions, journal, billing and audit that a round removes.
async fn round(centre: &Centre, config: Config) -> [u64; 5] {
    let app = App::new(config, centre.store.clone(), centre.queue.clone(), centre.clock.clock());
    housekeeping::round(&app).await.unwrap()
}

async fn records(centre: &mut Centre, msisdn: &str, as_of_micros: i64) -> Result<usize, tonic::Status> {
    let request = centre::ShowBookRequest { msisdn: msisdn.to_owned(), device_id: 0, as_of_micros };
    centre.books.show_book(by_anna(request)).await.map(|book| book.into_inner().records.len())
}

#[tokio::test]
async fn the_journal_ends_a_book_can_be_shown_so_far_back_and_no_further() {
    let mut centre = Centre::with(keep(10)).await;
    let account = centre.card("441260001").await;
    let msisdn = account.msisdn.as_str();
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let first = centre.clock.now();
    centre.pass(5 * DAY);
    centre.backup(&account, &[(2, Some(adn("BOB")))]).await;
    let second = centre.clock.now();
    centre.pass(4 * DAY);
    assert_eq!(round(&centre, keep(10)).await, [0, 0, 0, 0, 0]);
    assert_eq!(records(&mut centre, msisdn, first).await.unwrap(), 1);

    // Out of time: refused before the rows are gone, and after.
    centre.pass(3 * DAY);
    for removed in [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0]] {
        let refused = records(&mut centre, msisdn, first).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        let from = centre.clock.now() - 10 * DAY.cast_signed() * 1_000_000;
        assert!(refused.message().contains(&format!("a time from {from} on")), "{refused}");
        let restore = centre.restore(msisdn, Selection::All(true), first).await.unwrap_err();
        assert_eq!(restore.code(), Code::OutOfRange);
        assert_eq!(round(&centre, keep(10)).await, removed);
    }
    assert_eq!(records(&mut centre, msisdn, second).await.unwrap(), 2);
    assert_eq!(records(&mut centre, msisdn, second - 1).await.unwrap(), 1);
    assert_eq!(records(&mut centre, msisdn, 0).await.unwrap(), 2, "the book itself stays");
}

#[tokio::test]
async fn what_is_gone_is_not_promised_again_by_a_longer_setting() {
    let mut centre = Centre::with(keep(100)).await;
    let account = centre.card("441260002").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let first = centre.clock.now();
    centre.pass(20 * DAY);
    assert_eq!(records(&mut centre, &account.msisdn, first - 1).await.unwrap(), 0);
    assert_eq!(round(&centre, keep(10)).await, [0, 1, 0, 0, 0]);
    let refused = records(&mut centre, &account.msisdn, first - 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test]
async fn an_action_goes_a_week_after_its_end_and_not_before() {
    let mut centre = Centre::start().await;
    let account = centre.card("441260003").await;
    let order = || {
        let items = vec![centre::ConfigurationItem { cid: 0x0C, data: vec![5].into() }];
        centre::ConfigureRequest { msisdn: account.msisdn.clone(), items }
    };
    let open = centre.commands.configure(by_anna(order())).await.unwrap().into_inner();
    let ended = centre.commands.configure(by_anna(order())).await.unwrap().into_inner();
    centre.pass(30 * DAY);
    centre.commands.cancel(by_anna(ended)).await.unwrap();
    centre.pass(6 * DAY);
    assert_eq!(round(&centre, Config::default()).await, [0, 0, 0, 0, 0]);
    centre.pass(2 * DAY);
    assert_eq!(round(&centre, Config::default()).await, [1, 0, 0, 0, 0]);
    let listed = centre::ListActionsRequest { msisdn: account.msisdn.clone(), limit: 0, open_only: false };
    let left = centre.commands.list_actions(listed).await.unwrap().into_inner().actions;
    assert_eq!(left.iter().map(|action| action.action_id).collect::<Vec<_>>(), [open.action_id]);
}

#[tokio::test]
async fn the_audit_log_goes_after_two_years() {
    let mut centre = Centre::start().await;
    let account = centre.card("441260004").await;
    centre.pass(729 * DAY);
    centre.accounts.get_account(by_anna(centre::GetAccountRequest { msisdn: account.msisdn.clone() })).await.unwrap();
    assert_eq!(round(&centre, Config::default()).await, [0, 0, 0, 0, 0]);
    centre.pass(2 * DAY);
    assert_eq!(round(&centre, Config::default()).await, [0, 0, 0, 0, 1]);
    let request = centre::ListAuditRequest { msisdn: account.msisdn, limit: 0 };
    let left = centre.accounts.list_audit(by_anna(request)).await.unwrap().into_inner().entries;
    assert_eq!(left.len(), 1);
    assert!(left[0].what.ends_with("looked at the account"), "{left:?}");
}

fn database(centre: &Centre) -> rusqlite::Connection {
    rusqlite::Connection::open(centre.folder.path().join("simvault.db")).unwrap()
}

/// Rows of actions, journal and audit log.
fn rows(centre: &Centre) -> [u64; 3] {
    ["outbound_action", "book_change", "audit"].map(|table| {
        let sql = format!("SELECT count(*) FROM {table}");
        database(centre).query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    })
}

#[tokio::test]
async fn what_fails_with_one_kind_keeps_no_other_from_going() {
    let mut centre = Centre::with(keep(10)).await;
    let account = centre.card("441260005").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let items = vec![centre::ConfigurationItem { cid: 0x0C, data: vec![5].into() }];
    let order = centre::ConfigureRequest { msisdn: account.msisdn.clone(), items };
    let ordered = centre.commands.configure(by_anna(order)).await.unwrap().into_inner();
    centre.commands.cancel(by_anna(ordered)).await.unwrap();
    let [actions, journal, audit] = rows(&centre);
    assert!(actions == 1 && journal == 1 && audit > 1);

    centre.pass(800 * DAY);
    let keep_actions = "CREATE TRIGGER keep BEFORE DELETE ON outbound_action BEGIN SELECT RAISE(ABORT, 'kept'); END";
    database(&centre).execute_batch(keep_actions).unwrap();
    let app = App::new(keep(10), centre.store.clone(), centre.queue.clone(), centre.clock.clock());
    let failed = housekeeping::round(&app).await.unwrap_err();
    assert!(failed.to_string().contains("kept"), "{failed}");
    assert_eq!(rows(&centre), [1, 0, 0]);
    // What could not go goes with the next round.
    database(&centre).execute_batch("DROP TRIGGER keep").unwrap();
    assert_eq!(round(&centre, keep(10)).await, [1, 0, 0, 0, 0]);
}
