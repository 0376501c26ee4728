//! The audit log, read as an auditor reads it: from the store.

use proto::centre;

use crate::centre::{Centre, by_anna};

#[tokio::test]
async fn every_change_and_every_look_says_who_when_and_what_but_no_number() {
    let mut centre = Centre::start().await;
    let account = centre.card("441240001").await;
    let msisdn = account.msisdn.clone();
    let book = centre::ShowBookRequest { msisdn: msisdn.clone(), ..centre::ShowBookRequest::default() };
    centre.books.show_book(by_anna(book.clone())).await.unwrap();
    let items = vec![centre::ConfigurationItem { cid: 1, data: vec![1].into() }];
    let configure = centre::ConfigureRequest { msisdn: msisdn.clone(), items };
    let action = centre.commands.configure(by_anna(configure)).await.unwrap().into_inner();
    centre.commands.cancel(by_anna(action)).await.unwrap();
    centre.books.show_book(book).await.unwrap();
    centre.accounts.erase_account(by_anna(centre::EraseAccountRequest { msisdn: msisdn.clone() })).await.unwrap();

    let connection = rusqlite::Connection::open(centre.folder.path().join("simvault.db")).unwrap();
    let mut statement = connection.prepare("SELECT at, who, what FROM audit ORDER BY rowid").unwrap();
    let rows: Vec<(i64, String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let expected =
        ["account created", "looked at the book", "configuration", "cancelled", "looked at the book", "erased"];
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for ((at, who, what), expected) in rows.iter().zip(expected) {
        assert_eq!(*at, centre.clock.now());
        assert!(what.contains(expected), "{what}");
        assert!(who == "anna" || expected.starts_with("looked"));
        assert!(!what.contains(&msisdn), "{what}");
    }
    assert_eq!(rows[4].1, "unknown");
}

/// Looks at accounts, actions and notices too; and the log is read by number, with whoever read it before.
#[tokio::test]
async fn the_log_is_read_of_one_number_or_of_all() {
    let mut centre = Centre::start().await;
    let (one, other) = (centre.card("441240010").await.msisdn, centre.card("441240011").await.msisdn);
    let get = centre::GetAccountRequest { msisdn: one.clone() };
    centre.accounts.get_account(by_anna(get)).await.unwrap();
    centre.accounts.list_accounts(by_anna(centre::ListAccountsRequest::default())).await.unwrap();
    let actions = centre::ListActionsRequest { msisdn: one.clone(), ..centre::ListActionsRequest::default() };
    centre.commands.list_actions(by_anna(actions)).await.unwrap();
    let configuration = centre::ShowConfigurationRequest { msisdn: one.clone(), device_id: 0 };
    centre.commands.show_configuration(by_anna(configuration)).await.unwrap();
    centre.queues.list_notices(by_anna(centre::ListNoticesRequest { limit: 0 })).await.unwrap();
    let mut read = async |msisdn: &str| {
        let request = centre::ListAuditRequest { msisdn: msisdn.to_owned(), limit: 0 };
        let entries = centre.accounts.list_audit(by_anna(request)).await.unwrap().into_inner().entries;
        assert!(entries.iter().all(|entry| entry.who == "anna" && !entry.what.contains("4412400")), "{entries:?}");
        entries.into_iter().map(|entry| entry.what.rsplit(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let looks = read(&one).await;
    assert!(looks[0].starts_with("looked at the configuration of device "), "{looks:?}");
    assert_eq!(looks[1..], ["listed actions", "looked at the account", "account created"]);
    assert_eq!(read(&other).await, ["account created"]);
    let all = read("").await;
    let latest = ["looked at the audit log", "looked at the audit log", "listed 0 notices"];
    assert_eq!(all[..3], latest);
    assert!(all.contains(&"listed 2 accounts".to_owned()), "{all:?}");
}
