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
