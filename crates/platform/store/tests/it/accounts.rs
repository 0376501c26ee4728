//! Accounts: made, listed, moved to another card or number, erased.

use domain::{
    delivery::State,
    identity::{DeviceId, DeviceKey, SubscriberId, Timestamp},
    phonebook::{AccountState, DeviceState},
};
use store::{InboundCommit, NewCard, Notice, Part, PartsKey, SessionUpdate, StoreError, User, UserChange};

use crate::fixtures::{self, at, audit, backup, both, key, new_account, number, restore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_name_address_login_and_a_hashed_password_only() {
    for store in both().await {
        let columns = store.columns("subscriber");
        for column in ["id", "name", "address", "login", "password_hash"] {
            assert!(columns.iter().any(|name| name == column), "{}: {column}", store.name);
        }
        for table in store.tables() {
            assert!(!store.columns(&table).iter().any(|name| name == "password"), "{}: {table}", store.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_changed_in_part_and_a_login_names_one_of_them() {
    for store in both().await {
        store.application.create_accounts(&[new_account(1), new_account(2)], audit("accounts")).await.unwrap();
        let (one, two) = (key(1).subscriber, key(2).subscriber);
        assert_eq!(store.application.user(one).await.unwrap(), Some(User::default()), "{}", store.name);
        let change = |login: Option<&str>, hash: Option<&str>| UserChange {
            login: login.map(|login| Some(login.to_owned())),
            password_hash: hash.map(|hash| Some(hash.to_owned())),
            ..UserChange::default()
        };
        let mut first = change(Some("anna"), Some("$h$1"));
        (first.name, first.address) = (Some("Anna".into()), Some("1 High Street".into()));
        store.application.change_user(one, &first, audit("made")).await.unwrap();
        let taken = store.application.change_user(two, &change(Some("anna"), None), audit("no")).await;
        assert!(matches!(&taken, Err(StoreError::Refused(why)) if !why.contains("anna")), "{}: {taken:?}", store.name);
        store.application.change_user(one, &change(Some("anna"), Some("$h$2")), audit("again")).await.unwrap();
        let (subscriber, hash) = store.application.by_login("anna").await.unwrap().unwrap();
        assert_eq!((subscriber.id, subscriber.name.as_str(), hash.as_deref()), (one, "Anna", Some("$h$2")));
        let user = User { address: "1 High Street".into(), login: Some("anna".into()), has_password: true };
        assert_eq!(store.application.user(one).await.unwrap(), Some(user), "{}: the rest as it was", store.name);
        let removed = UserChange { login: Some(None), password_hash: Some(None), ..UserChange::default() };
        store.application.change_user(one, &removed, audit("removed")).await.unwrap();
        assert!(store.application.by_login("anna").await.unwrap().is_none(), "{}", store.name);
        store.application.change_user(two, &change(Some("anna"), None), audit("free")).await.unwrap();
        assert_eq!(store.application.by_login("anna").await.unwrap().map(|(_, hash)| hash), Some(None));
        let nobody = store.application.change_user(key(9).subscriber, &removed, audit("nobody")).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))), "{}: {nobody:?}", store.name);
        assert_eq!(store.application.user(key(9).subscriber).await.unwrap(), None);
        assert_eq!(
            store.sql("SELECT what FROM audit"),
            ["accounts", "made", "again", "removed", "free"],
            "{}",
            store.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_made_all_or_none() {
    for store in both().await {
        let mut with_action = new_account(1);
        with_action.actions.push(restore(1, 5));
        store.application.create_accounts(&[with_action, new_account(2)], audit("accounts")).await.unwrap();
        assert_eq!(store.application.action(key(1).subscriber, restore(1, 5).id).await.unwrap(), Some(restore(1, 5)));
        let mut same_number = new_account(3);
        same_number.subscriber.msisdn = number(2);
        let mut same_card = new_account(4);
        same_card.device.iccid = new_account(1).device.iccid;
        for (account, said) in
            [(same_number, "number"), (same_card.clone(), &*same_card.device.iccid), (new_account(9), "")]
        {
            let twice = account.subscriber.id == key(9).subscriber;
            let batch = if twice { vec![account.clone(), account] } else { vec![new_account(5), account] };
            let refused = store.application.create_accounts(&batch, audit("accounts")).await.unwrap_err();
            assert!(matches!(&refused, StoreError::Refused(why) if why.contains(said)), "{}: {refused}", store.name);
            assert!(!refused.to_string().contains(&number(2).digits()), "{}: masked: {refused}", store.name);
        }
        let mut stranger = new_account(6);
        stranger.subscriber.tenant = "nobody".into();
        let refused = store.application.create_accounts(&[stranger], audit("accounts")).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{}: {refused:?}", store.name);
        assert_eq!((store.count("subscriber"), store.count("device"), store.count("device_state")), (2, 2, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_listed_by_number() {
    for store in both().await {
        let new: Vec<_> = [3, 1, 2].map(new_account).into();
        store.application.create_accounts(&new, audit("accounts")).await.unwrap();
        let listed = async |after, limit| {
            let found = store.application.accounts(after, limit).await.unwrap();
            found.iter().map(|account| account.subscriber.msisdn).collect::<Vec<_>>()
        };
        assert_eq!(listed(None, 2).await, [number(1), number(2)], "{}", store.name);
        assert_eq!(listed(Some(number(2)), 2).await, [number(3)]);
        let account = store.application.account(number(3)).await.unwrap().unwrap();
        assert_eq!(
            (account.subscriber, account.devices),
            (new[0].subscriber.clone(), vec![(new[0].device.clone(), new[0].state.clone())])
        );
        assert!(store.application.account(number(9)).await.unwrap().is_none());
    }
}

/// Covers: SC-DB-04
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_card_closes_the_old_one_and_keeps_its_book() {
    for store in both().await {
        let view = store.account(1).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.new_actions.push(restore(1, 11));
        store.inbound.commit(batch).await.unwrap();
        let stale = store.view(1).await;
        let old = key(1);
        let new = DeviceKey { subscriber: old.subscriber, device: DeviceId(77) };
        let mut first = restore(1, 20);
        first.device = new;
        let state = DeviceState { monitor: fixtures::monitor(), ..DeviceState::default() };
        let mut card = fixtures::device(new);
        card.profile = domain::phonebook::Profile::E3;
        let replacement = NewCard { device: card.clone(), state: state.clone(), actions: vec![first.clone()] };
        let early = store.application.replace_card((old, 0), &replacement, audit("late")).await;
        assert!(matches!(early, Err(StoreError::Conflict(_))), "{}: {early:?}", store.name);
        store.application.replace_card((old, stale.state.version), &replacement, audit("new card")).await.unwrap();

        let now = store.view(1).await;
        assert_eq!((&now.device, &now.state, now.subscriber.id), (&card, &state, old.subscriber), "{}", store.name);
        let account = store.application.account(number(1)).await.unwrap().unwrap();
        let devices: Vec<_> = account.devices.iter().map(|(device, _)| (device.key, device.closed)).collect();
        assert_eq!(devices, [(new, None), (old, Some(audit("").at))], "{}: the open one first", store.name);
        // The old card's open actions have no one to go to; its book is there to be restored from, and read-only.
        let cancelled = store.application.action(old.subscriber, restore(1, 11).id).await.unwrap().unwrap();
        assert_eq!((cancelled.state, cancelled.cause.as_str()), (State::Cancelled, "card replaced"));
        assert_eq!(store.outbound.heads(&[old, new]).await.unwrap(), [(new, first.id)]);
        assert_eq!(store.application.book(old).await.unwrap().len(), 1);
        assert_eq!(store.application.book(new).await.unwrap(), []);
        let late = store.inbound.commit(backup(&stale, 1, 30, Some("Anna"), "Berta")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: {late:?}", store.name);

        let again = store.application.replace_card((new, state.version), &replacement, audit("same card")).await;
        assert!(matches!(again, Err(StoreError::Refused(_))), "{}: {again:?}", store.name);
        assert_eq!(store.view(1).await.device, card, "nothing was closed");
        let nobody = NewCard { device: fixtures::device(key(9)), state, actions: Vec::new() };
        let unknown = store.application.replace_card((key(9), 0), &nobody, audit("nobody")).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{}: {unknown:?}", store.name);
        assert_eq!(store.sql("SELECT who, what FROM audit"), ["anna|accounts", "anna|new card"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_moves_with_the_book() {
    for store in both().await {
        let view = store.account(1).await;
        store.account(2).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.new_actions.push(restore(1, 11));
        store.inbound.commit(batch).await.unwrap();
        let before_the_move = store.view(1).await.state;
        let id = key(1).subscriber;
        let taken = store.application.change_number(id, number(2), audit("taken")).await;
        assert!(matches!(taken, Err(StoreError::Refused(_))), "{}: {taken:?}", store.name);
        store.application.change_number(id, number(5), audit("moved")).await.unwrap();
        store.application.change_number(id, number(5), audit("the same")).await.unwrap();
        assert_eq!(store.inbound.devices(&[number(1)]).await.unwrap(), [None], "{}", store.name);
        assert_eq!(store.view(5).await.device.key, key(1));
        let states = vec![(key(1), before_the_move.clone())];
        let late = store.application.commit(InboundCommit { states, ..InboundCommit::default() }, audit("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: read under the old number", store.name);
        assert_eq!(store.application.book(key(1)).await.unwrap().len(), 1);
        let open = store.inbound.open_actions(&[key(1)]).await.unwrap();
        assert_eq!(open[0].msisdn, number(5), "{}: what waits does not go to the old number", store.name);
        let unknown = store.application.change_number(key(9).subscriber, number(6), audit("nobody")).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_of_accounts_are_set_with_who_did_it() {
    for store in both().await {
        store.account(1).await;
        for state in [AccountState::Suspended, AccountState::ServiceOff, AccountState::Active] {
            store
                .application
                .set_state(key(1).subscriber, state, InboundCommit::default(), audit("state"))
                .await
                .unwrap();
            assert_eq!(store.view(1).await.subscriber.state, state, "{}", store.name);
        }
        let unknown = store
            .application
            .set_state(key(9).subscriber, AccountState::Active, InboundCommit::default(), audit("nobody"))
            .await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{}: {unknown:?}", store.name);
        assert_eq!(store.count("audit"), 4);
        // A command that read the account before it was suspended is not committed; with it, nothing half.
        let stale = store.view(1).await;
        let guarded = || InboundCommit {
            states: vec![(key(1), stale.state.clone())],
            new_actions: vec![restore(1, 50)],
            ..InboundCommit::default()
        };
        store
            .application
            .set_state(key(1).subscriber, AccountState::Suspended, guarded(), audit("state"))
            .await
            .unwrap();
        let late = store.application.commit(guarded(), audit("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: {late:?}", store.name);
        let late = store.application.set_state(key(1).subscriber, AccountState::Active, guarded(), audit("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: {late:?}", store.name);
        assert_eq!(store.view(1).await.subscriber.state, AccountState::Suspended, "{}", store.name);
        assert_eq!((store.count("audit"), store.count("outbound_action")), (5, 1), "{}", store.name);
        let guard = Some((key(1), stale.state.version));
        let late = store.application.move_action(&restore(1, 50), &[State::Queued], guard, audit("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: {late:?}", store.name);
        let guard = Some((key(1), stale.state.version + 1));
        assert!(
            store.application.move_action(&restore(1, 50), &[State::Queued], guard, audit("in time")).await.unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasing_leaves_no_row_of_the_subscriber() {
    for store in both().await {
        store.account(2).await;
        let untouched: Vec<u64> = store.tables().iter().map(|table| store.count(table)).collect();
        let view = store.account(1).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.new_actions.push(restore(1, 11));
        let mut before_the_account = fixtures::billing(5);
        before_the_account.subscriber = None;
        batch.billing.push(before_the_account);
        batch.notices.push(Notice { at: at(0), msisdn: Some(number(1)), kind: "k".into(), text: "t".into() });
        batch.dead_letters.push(fixtures::dead_letter(1));
        let part_key = PartsKey { msisdn: number(5), reference: 1, is_wide: false, total: 2 };
        let (header, payload) = (bytes::Bytes::new(), bytes::Bytes::from_static(b"x"));
        batch.new_parts.push(Part { key: part_key, sequence: 1, user_data_header: header, payload, arrived: at(0) });
        store.inbound.commit(batch).await.unwrap();
        store.inbound.claim_error_replies(&[number(1)], at(0)).await.unwrap();
        let opened = vec![key(1).device];
        let sessions = SessionUpdate { endpoint: "edge:1".into(), opened, at: at(0), ..SessionUpdate::default() };
        store.application.register_sessions(&sessions).await.unwrap();
        let second = DeviceKey { subscriber: key(1).subscriber, device: DeviceId(77) };
        let card = fixtures::device(second);
        let state = DeviceState::default();
        let version = store.view(1).await.state.version;
        store
            .application
            .replace_card((key(1), version), &NewCard { device: card, state, actions: Vec::new() }, audit("card"))
            .await
            .unwrap();
        // What is kept by number alone comes along and goes too.
        store.application.change_number(key(1).subscriber, number(5), audit("number")).await.unwrap();
        store.inbound.claim_error_replies(&[number(5)], at(0)).await.unwrap();
        let user = UserChange { address: Some("1 High Street".into()), ..UserChange::default() };
        store.application.change_user(key(1).subscriber, &user, audit("user")).await.unwrap();

        store.sql("UPDATE subscriber SET legal_hold = true WHERE id = 1");
        let held = store.application.erase(key(1).subscriber, audit("erase")).await;
        assert!(matches!(held, Err(StoreError::Refused(_))), "{}: {held:?}", store.name);
        store.sql("UPDATE subscriber SET legal_hold = false WHERE id = 1");

        // Subscriber 1, two devices, two states, a page, a change, two actions, two events, notice, dead letter, part, error, session.
        let erased = store.application.erase(key(1).subscriber, audit("erase")).await.unwrap();
        assert_eq!(erased, 16 - 3, "{}", store.name);
        let mut rest = Vec::new();
        while let gone @ 1.. = store.application.erase_rest(1).await.unwrap() {
            rest.push(gone);
        }
        assert_eq!(rest, [1, 1, 1], "{}: events and notice, in bounded steps", store.name);
        for (table, before) in store.tables().iter().zip(untouched) {
            let expected = if table == "audit" { 6 } else { before };
            assert_eq!(store.count(table), expected, "{}: {table}", store.name);
        }
        assert_eq!(store.inbound.devices(&[number(1), number(2)]).await.unwrap()[0], None);
        let late = store.inbound.commit(backup(&view, 1, 30, None, "Anna")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{}: a late message brings nothing back", store.name);
        let again = store.application.erase(key(1).subscriber, audit("again")).await;
        assert!(matches!(again, Err(StoreError::NotFound(_))), "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_commit_leaves_its_audit_in_the_same_transaction() {
    for store in both().await {
        let view = store.account(1).await;
        store.application.commit(backup(&view, 1, 10, None, "Anna"), audit("edited")).await.unwrap();
        let stale = store.application.commit(backup(&view, 1, 11, None, "Berta"), audit("not done")).await;
        assert!(matches!(stale, Err(StoreError::Conflict(_))), "{}: {stale:?}", store.name);
        assert_eq!(store.sql("SELECT what FROM audit"), ["accounts", "edited"], "{}", store.name);
        let empty = InboundCommit::default();
        store.application.commit(empty, audit("looked")).await.unwrap();
        assert_eq!(store.count("audit"), 3);
        let of_another = ["subscriber 11 (..11): seen", "no subscriber 1: seen", "subscriber 1", "subscriber 1x: seen"];
        for what in ["subscriber 1 (..01): seen", "subscriber 1: erased"].into_iter().chain(of_another) {
            store.application.commit(InboundCommit::default(), audit(what)).await.unwrap();
        }
        let mut read = store.application.audit_log(Some(key(1).subscriber), 10).await.unwrap();
        read.sort_by(|before, after| before.what.cmp(&after.what));
        let expected = [audit("subscriber 1 (..01): seen"), audit("subscriber 1: erased")];
        assert_eq!(read, expected, "{}: and of nobody else", store.name);
        assert_eq!(store.application.audit_log(None, 100).await.unwrap().len(), 9);
        assert_eq!(store.application.audit_log(None, 2).await.unwrap().len(), 2);
        let largest = SubscriberId(i64::MAX);
        let what = format!("subscriber {} (..99): seen", largest.0);
        store.application.commit(InboundCommit::default(), audit(&what)).await.unwrap();
        assert_eq!(store.application.audit_log(Some(largest), 10).await.unwrap(), [audit(&what)], "{}", store.name);
        assert_eq!(store.application.journal(key(1), Timestamp(0), 10).await.unwrap().len(), 1);
    }
}
