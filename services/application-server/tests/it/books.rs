//! Books, their history, and decisions about them.

use domain::phonebook::Resynchronisation;
use proto::centre;
use store::{ApplicationStore, Audit, InboundCommit};
use tonic::Code;

use crate::centre::{Centre, adn, by_anna, key};

async fn book(centre: &mut Centre, msisdn: &str, as_of_micros: i64) -> Vec<(u32, String)> {
    let request = centre::ShowBookRequest { msisdn: msisdn.to_owned(), device_id: 0, as_of_micros };
    let book = centre.books.show_book(by_anna(request)).await.unwrap().into_inner();
    book.records.into_iter().map(|record| (record.record_number, record.name)).collect()
}

#[tokio::test]
async fn a_book_is_shown_as_of_any_time_with_names_and_numbers() {
    let mut centre = Centre::start().await;
    let account = centre.card("441210001").await;
    centre.backup(&account, &[(1, Some(adn("ANNA"))), (2, Some(adn("BOB")))]).await;
    let before = centre.clock.now();
    centre.pass(60);
    centre.backup(&account, &[(1, None), (2, Some(adn("ROBERT")))]).await;
    let owned = |records: &[(u32, &str)]| -> Vec<(u32, String)> {
        records.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    };
    assert_eq!(book(&mut centre, &account.msisdn, 0).await, owned(&[(2, "ROBERT")]));
    assert_eq!(book(&mut centre, &account.msisdn, before).await, owned(&[(1, "ANNA"), (2, "BOB")]));
    assert_eq!(book(&mut centre, &account.msisdn, before - 1).await, owned(&[]));
    let request = centre::ShowBookRequest { msisdn: account.msisdn.clone(), device_id: 0, as_of_micros: 0 };
    let shown = centre.books.show_book(by_anna(request)).await.unwrap().into_inner();
    assert_eq!(shown.records[0].number, "+001123456");
    let future = centre::ShowBookRequest { msisdn: account.msisdn, device_id: 0, as_of_micros: i64::MAX };
    assert_eq!(centre.books.show_book(future).await.unwrap_err().code(), Code::InvalidArgument);
}

/// Covers: SC-DB-13
#[tokio::test]
async fn three_edits_are_three_entries_of_the_history() {
    let mut centre = Centre::start().await;
    let account = centre.card("441210002").await;
    for content in [Some(adn("ANNA")), Some(adn("ANNE")), None] {
        centre.pass(1);
        centre.backup(&account, &[(1, content)]).await;
    }
    let request = centre::HistoryRequest { msisdn: account.msisdn, device_id: 0, limit: 10 };
    let entries = centre.books.history(by_anna(request)).await.unwrap().into_inner().entries;
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["delete", "update", "insert"]);
    assert_eq!((entries[1].old.clone(), entries[1].new.clone()), (adn("ANNA"), adn("ANNE")));
    assert_eq!(entries[0].source, "backup");
}

#[tokio::test]
async fn a_held_resynchronisation_is_decided_by_a_person() {
    let mut centre = Centre::start().await;
    for (msisdn, apply, left) in [("441210003", true, 1), ("441210004", false, 8)] {
        let account = centre.card(msisdn).await;
        let records: Vec<_> = (1..=8).map(|number| (number, Some(adn("ANNA")))).collect();
        centre.backup(&account, &records).await;
        let none = centre::DecideHeldRequest { msisdn: msisdn.to_owned(), apply };
        assert_eq!(centre.books.decide_held(none).await.unwrap_err().code(), Code::FailedPrecondition);
        hold(&centre, &account).await;
        let request = centre::GetAccountRequest { msisdn: msisdn.to_owned() };
        assert!(centre.accounts.get_account(request).await.unwrap().into_inner().devices[0].held);
        let request = centre::DecideHeldRequest { msisdn: msisdn.to_owned(), apply };
        assert_eq!(centre.books.decide_held(by_anna(request)).await.unwrap().into_inner().records, 7);
        assert_eq!(book(&mut centre, msisdn, 0).await.len(), left);
        let request = centre::GetAccountRequest { msisdn: msisdn.to_owned() };
        assert!(!centre.accounts.get_account(request).await.unwrap().into_inner().devices[0].held);
    }
}

/// The card reported record 3 alone.
async fn hold(centre: &Centre, account: &centre::Account) {
    let msisdn = domain::identity::Msisdn::parse(&account.msisdn).unwrap();
    let stored = centre.store.account(msisdn).await.unwrap().unwrap();
    let mut state = stored.devices[0].1.clone();
    let reported = [((crate::centre::ADN, 3), Some(adn("ANNA")))].into();
    state.resynchronisation = Some(Resynchronisation {
        started: centre.now(),
        held: true,
        agreed: true,
        was_quiet: false,
        scanned: Default::default(),
        reported,
    });
    let batch = InboundCommit { states: vec![(key(account, 0), state)], ..InboundCommit::default() };
    let audit = Audit { at: centre.now(), who: "test".to_owned(), what: "held".to_owned() };
    ApplicationStore::commit(centre.store.as_ref(), batch, audit).await.unwrap();
}

/// As a restore would take it: after a card was replaced the old one's book, until the new one has its own.
#[tokio::test]
async fn a_book_is_shown_of_the_device_that_a_restore_would_take() {
    let mut centre = Centre::start().await;
    let account = centre.card("441210090").await;
    let msisdn = account.msisdn.clone();
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    let before = centre.clock.now();
    centre.pass(60);
    let replace = centre::ReplaceCardRequest {
        msisdn: msisdn.clone(),
        iccid: "8944000000000210090".to_owned(),
        personalised: true,
        ..centre::ReplaceCardRequest::default()
    };
    let replaced = centre.accounts.replace_card(by_anna(replace)).await.unwrap().into_inner();
    for as_of_micros in [0, before] {
        let request = centre::ShowBookRequest { msisdn: msisdn.clone(), device_id: 0, as_of_micros };
        let book = centre.books.show_book(by_anna(request)).await.unwrap().into_inner();
        assert_eq!(book.records.first().map(|record| record.name.as_str()), Some("ANNA"));
        assert_eq!(
            (book.device_id, book.iccid.as_str()),
            (account.devices[0].device_id, account.devices[0].iccid.as_str())
        );
        assert_eq!(book.closed_micros, centre.clock.now());
        assert_eq!(book.shown_micros, if as_of_micros == 0 { centre.clock.now() } else { before });
    }
    let named = centre::ShowBookRequest { msisdn, device_id: replaced.devices[0].device_id, as_of_micros: 0 };
    let book = centre.books.show_book(by_anna(named)).await.unwrap().into_inner();
    assert_eq!((book.records.len(), book.device_id), (0, replaced.devices[0].device_id));
}

#[tokio::test]
async fn history_says_names_and_numbers_before_and_after() {
    let mut centre = Centre::start().await;
    let account = centre.card("441210091").await;
    centre.backup(&account, &[(1, Some(adn("ANNA")))]).await;
    centre.pass(1);
    centre.backup(&account, &[(1, Some(adn("BERTA")))]).await;
    // Messages that change nothing hide nothing, however few entries are asked for.
    for _ in 0..20 {
        centre.pass(1);
        centre.backup(&account, &[]).await;
    }
    let request = centre::HistoryRequest { msisdn: account.msisdn.clone(), device_id: 0, limit: 1 };
    let entries = centre.books.history(by_anna(request)).await.unwrap().into_inner().entries;
    let entry = &entries[0];
    assert_eq!((entry.old_name.as_str(), entry.new_name.as_str()), ("ANNA", "BERTA"));
    assert_eq!((entry.old_number.as_str(), entry.new_number.as_str()), ("+001123456", "+001123456"));
}
