//! A batch and what it leaves: states, pages, journal, actions, all or nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{
    delivery::State,
    identity::Timestamp,
    phonebook::{EF_ADN, EF_EXT1, LastMessage, PageKey, Resynchronisation, history},
};
use store::{InboundCommit, Notice, Part, PartsKey, StoreError};

use crate::fixtures::{self, acknowledgement, at, backup, both, change, key, number, page, page_key, restore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_device_comes_back_as_it_was_committed() {
    for store in both().await {
        let view = store.account(1).await;
        assert_eq!(view.state.version, 0, "{}", store.name);
        assert_eq!(view.state.monitor, fixtures::monitor());
        let mut state = view.state.clone();
        state.monitor.resize(1);
        for record in 1..=50 {
            state.checksums.set(0, record, 0x4000 + u16::from(record));
        }
        state.last_message = Some(LastMessage { hash: u64::MAX, at: at(1), answer: Bytes::from_static(&[0x48, 1, 2]) });
        state.uplink_counter = u32::MAX;
        state.mismatch_since = Some(at(2));
        state.resynchronised = vec![at(-9), at(-5)];
        let reported = BTreeMap::from([((EF_ADN, 3), None), ((EF_EXT1, 1), Some(fixtures::record("x")))]);
        state.resynchronisation = Some(Resynchronisation {
            started: at(3),
            held: true,
            agreed: false,
            was_quiet: true,
            scanned: BTreeMap::from([(0, 7)]),
            reported,
        });
        state.last_contact = Some(at(4));
        state.settings = BTreeMap::from([(0x04, Bytes::from_static(&[1])), (0x0C, Bytes::new())]);
        state.wanted = BTreeMap::from([(0x04, Bytes::from_static(&[0]))]);
        let states = vec![(view.device.key, state.clone())];
        store.inbound.commit(InboundCommit { states, ..InboundCommit::default() }).await.unwrap();
        let read = store.view(1).await;
        assert_eq!(read.state, domain::phonebook::DeviceState { version: 1, ..state }, "{}", store.name);
        assert_eq!((read.subscriber, read.device), (view.subscriber, view.device), "{}", store.name);
    }
}

/// Covers: SC-DB-08, SC-DB-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_records_of_two_users_are_rows_of_their_own() {
    for store in both().await {
        let (one, two) = (store.account(1).await, store.account(2).await);
        let mut batch = backup(&one, 1, 10, None, "Anna");
        let other = backup(&two, 2, 11, None, "Anna");
        batch.states.extend(other.states);
        batch.pages.extend(other.pages);
        batch.changes.extend(other.changes);
        batch.new_actions.extend(other.new_actions);
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(store.sql("SELECT subscriber_id, device_id FROM book_page ORDER BY 1"), ["1|1001", "2|1002"]);
        assert_eq!(store.sql("SELECT subscriber_id, id FROM book_change ORDER BY 1"), ["1|10", "2|11"]);
        store.inbound.commit(backup(&store.view(2).await, 2, 12, Some("Anna"), "Berta")).await.unwrap();
        let keys = [page_key(1, 0), page_key(2, 0), page_key(1, 5)];
        let pages = store.inbound.pages(&keys).await.unwrap();
        assert_eq!(pages.len(), 2, "{}", store.name);
        assert_eq!((&pages[&keys[0]], &pages[&keys[1]]), (&page("Anna"), &page("Berta")));
        assert_eq!(store.application.book(key(2)).await.unwrap(), [(keys[1], page("Berta"))]);
    }
}

/// Covers: D-113
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_is_known_by_subscriber_device_file_and_page() {
    for store in both().await {
        let view = store.account(1).await;
        let state = view.state.clone();
        let paths = [EF_ADN, EF_EXT1, domain::phonebook::FilePath { df: 0xFFFF, ef: 0xFFFF }];
        let keys: Vec<_> =
            paths.iter().flat_map(|&file| [0, 15].map(|page| PageKey { device: key(1), file, page })).collect();
        let pages: Vec<_> = keys.iter().enumerate().map(|(n, key)| (*key, page(&format!("page {n}")))).collect();
        let batch = InboundCommit { states: vec![(key(1), state)], pages: pages.clone(), ..InboundCommit::default() };
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(store.inbound.pages(&keys).await.unwrap(), pages.into_iter().collect(), "{}", store.name);
        // The first octet of a value is its format, and a number is unique within its tenant only.
        let format = if store.name == "postgres" { "get_byte(data, 0)" } else { "unicode(substr(data, 1, 1))" };
        assert_eq!(store.sql(&format!("SELECT DISTINCT {format} FROM book_page")), ["1"], "{}", store.name);
        store.sql("INSERT INTO tenant VALUES ('other')");
        let mut account = fixtures::new_account(2);
        account.subscriber.msisdn = number(1);
        account.subscriber.tenant = "other".into();
        store.application.create_accounts(&[account], fixtures::audit("accounts")).await.unwrap();
        assert_eq!(store.view(1).await.device.key, key(1), "messages come to the default tenant");
    }
}

/// Covers: SC-DB-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_edits_are_three_entries_of_the_history() {
    for store in both().await {
        store.account(1).await;
        let edits = [(None, "Anna"), (Some("Anna"), "Berta"), (Some("Berta"), "Carla")];
        for (id, (old, new)) in (10..).zip(edits) {
            store.inbound.commit(backup(&store.view(1).await, 1, id, old, new)).await.unwrap();
        }
        let journal = store.application.journal(key(1), Timestamp(0), 100).await.unwrap();
        let expected: Vec<_> =
            [10, 11, 12].into_iter().zip(edits).map(|(id, (old, new))| change(1, id, old, Some(new))).rev().collect();
        assert_eq!(journal, expected, "{}", store.name);
        let entries: Vec<_> = history::entries(&journal).collect();
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[1].at, &entries[1].old), (at(11), &Some(fixtures::record("Anna"))));
        assert_eq!(
            store.application.journal(key(1), at(10), 1).await.unwrap(),
            expected[..1],
            "after, newest, limited"
        );
        assert_eq!(store.application.journal(key(1), at(12), 9).await.unwrap(), [], "after means later than");
    }
}

/// Covers: SC-ID-06
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_written_whole_or_not_at_all() {
    for store in both().await {
        let (one, two) = (store.account(1).await, store.account(2).await);
        store.inbound.commit(backup(&one, 1, 10, None, "Anna")).await.unwrap();
        let before: Vec<u64> = store.tables().iter().map(|table| store.count(table)).collect();
        // The second state was read before the first commit: nothing of either is written.
        let mut batch = backup(&two, 2, 20, None, "Berta");
        let stale = backup(&one, 1, 21, None, "Carla");
        batch.states.extend(stale.states);
        batch.pages.extend(stale.pages);
        batch.changes.extend(stale.changes);
        batch.new_actions.extend(stale.new_actions);
        let refused = store.inbound.commit(batch).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{}: {refused:?}", store.name);
        // An action that is there already spoils the batch it is in, and no other.
        let mut batch = backup(&two, 2, 22, None, "Berta");
        batch.new_actions.push(acknowledgement(1, 10));
        let refused = store.inbound.commit(batch).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{}: {refused:?}", store.name);
        let after: Vec<u64> = store.tables().iter().map(|table| store.count(table)).collect();
        assert_eq!(before, after, "{}", store.name);
        assert_eq!(store.view(2).await, two);
        assert_eq!(store.inbound.pages(&[page_key(1, 0)]).await.unwrap()[&page_key(1, 0)], page("Anna"));
        // The same message again, with what was read anew: it goes through, and the action with it.
        store.inbound.commit(backup(&store.view(1).await, 1, 21, Some("Anna"), "Carla")).await.unwrap();
        assert_eq!(store.sql("SELECT id FROM outbound_action ORDER BY id"), ["10", "21"]);
        assert_eq!(store.sql("SELECT id FROM book_change ORDER BY id"), ["10", "21"]);
    }
}

/// Covers: SC-DB-01
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_lose_no_update() {
    for store in both().await {
        let store = std::sync::Arc::new(store);
        store.account(1).await;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..20 {
            let store = store.clone();
            writers.spawn(async move {
                let mut conflicts = 0;
                loop {
                    let batch = backup(&store.view(1).await, 1, 100 + writer, None, "Anna");
                    match store.inbound.commit(batch).await {
                        Ok(()) => return conflicts,
                        Err(StoreError::Conflict(_)) => conflicts += 1,
                        Err(error) => panic!("{}: {error}", store.name),
                    }
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
        assert_eq!(store.view(1).await.state.version, 20, "{}", store.name);
        assert_eq!(store.count("book_change"), 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_two_states_of_one_device_is_refused() {
    for store in both().await {
        let view = store.account(1).await;
        let state = || (view.device.key, view.state.clone());
        let batch = InboundCommit { states: vec![state(), state()], ..InboundCommit::default() };
        assert!(matches!(store.inbound.commit(batch).await, Err(StoreError::Refused(_))), "{}", store.name);
        store.inbound.commit(InboundCommit::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_answered_in_the_order_asked() {
    for store in both().await {
        store.account(1).await;
        store.account(2).await;
        let found = store.inbound.devices(&[number(2), number(9), number(1), number(2)]).await.unwrap();
        let keys: Vec<_> = found.iter().map(|view| view.as_ref().map(|view| view.device.key)).collect();
        assert_eq!(keys, [Some(key(2)), None, Some(key(1)), Some(key(2))], "{}", store.name);
        assert_eq!(store.inbound.devices(&[]).await.unwrap(), []);
        assert!(store.inbound.pages(&[]).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_wait_for_their_others_and_go_together() {
    for store in both().await {
        let parts_key = |reference| PartsKey { msisdn: number(1), reference, is_wide: false, total: 3 };
        let part = |reference, sequence, text: &'static str| Part {
            key: parts_key(reference),
            sequence,
            user_data_header: Bytes::from_static(&[0x70, 0]),
            payload: Bytes::from_static(text.as_bytes()),
            arrived: at(i64::from(sequence)),
        };
        let new_parts = vec![part(7, 2, "b"), part(7, 1, "a"), part(u16::MAX, 1, "z"), part(7, 1, "a")];
        store.inbound.commit(InboundCommit { new_parts, ..InboundCommit::default() }).await.unwrap();
        let found = store.inbound.parts(&[parts_key(7), parts_key(8)]).await.unwrap();
        assert_eq!(found, [part(7, 1, "a"), part(7, 2, "b")], "{}", store.name);
        // A repeated reference: the later part takes the place of the one that nobody completed.
        let new_parts = vec![part(7, 1, "A")];
        store.inbound.commit(InboundCommit { new_parts, ..InboundCommit::default() }).await.unwrap();
        assert_eq!(store.inbound.parts(&[parts_key(7)]).await.unwrap()[0], part(7, 1, "A"));
        // Complete: also the part that arrived in the same batch goes.
        let new_parts = vec![part(7, 3, "c")];
        let finished_parts = vec![parts_key(7)];
        store.inbound.commit(InboundCommit { new_parts, finished_parts, ..InboundCommit::default() }).await.unwrap();
        assert_eq!(store.inbound.parts(&[parts_key(7)]).await.unwrap(), [], "{}", store.name);
        assert_eq!(store.inbound.expire_parts(at(1)).await.unwrap(), 0);
        assert_eq!(store.inbound.expire_parts(at(2)).await.unwrap(), 1, "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_outlives_its_parts_and_widths_are_told_apart() {
    for store in both().await {
        let key = |is_wide| PartsKey { msisdn: number(1), reference: 7, is_wide, total: 2 };
        let part = |is_wide, sequence, text: &'static str| Part {
            key: key(is_wide),
            sequence,
            user_data_header: Bytes::new(),
            payload: Bytes::from_static(text.as_bytes()),
            arrived: at(i64::from(sequence)),
        };
        let held = async |waiting, remembered| {
            let held = store.inbound.parts_held(&[number(1), number(2)]).await.unwrap();
            let expected = store::PartsHeld { waiting, remembered };
            assert_eq!(held, [(number(1), expected)].into(), "{}", store.name);
        };
        assert!(store.inbound.parts_held(&[number(1)]).await.unwrap().is_empty());
        let new_parts = vec![part(false, 1, "narrow"), part(true, 1, "wide")];
        store.inbound.commit(InboundCommit { new_parts, ..InboundCommit::default() }).await.unwrap();
        held(2, 0).await;
        for text in ["over", "over again"] {
            let (new_parts, finished_parts) = (vec![part(false, 0, text), part(false, 2, "n")], vec![key(false)]);
            store.inbound.commit(InboundCommit { new_parts, finished_parts, ..Default::default() }).await.unwrap();
            assert_eq!(store.inbound.parts(&[key(false)]).await.unwrap(), [part(false, 0, text)], "{}", store.name);
        }
        assert_eq!(store.inbound.parts(&[key(true)]).await.unwrap(), [part(true, 1, "wide")]);
        held(1, 1).await;
        assert_eq!(store.inbound.expire_parts(at(9)).await.unwrap(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_told_once_a_day() {
    for store in both().await {
        let numbers = [number(2), number(1), number(2)];
        let mut first = store.inbound.claim_error_replies(&numbers, at(0)).await.unwrap();
        first.sort_unstable();
        assert_eq!(first, [number(1), number(2)], "{}: a number asked for twice is claimed once", store.name);
        assert_eq!(store.inbound.claim_error_replies(&[number(1), number(3)], at(60)).await.unwrap(), [number(3)]);
        // Twelve hours later it is another day in UTC; a second before, it is not.
        assert_eq!(store.inbound.claim_error_replies(&[number(1)], at(43_199)).await.unwrap(), []);
        assert_eq!(store.inbound.claim_error_replies(&[number(1)], at(43_200)).await.unwrap(), [number(1)]);
        assert_eq!(store.inbound.claim_error_replies(&[number(1)], at(0)).await.unwrap(), [], "a late one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mismatches_are_found_by_the_end_of_their_grace() {
    for store in both().await {
        for (n, since) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20))] {
            let view = store.account(n).await;
            let mut state = view.state.clone();
            state.mismatch_since = since.map(at);
            let states = vec![(view.device.key, state)];
            store.inbound.commit(InboundCommit { states, ..InboundCommit::default() }).await.unwrap();
        }
        assert_eq!(store.inbound.mismatched(at(20), 10).await.unwrap(), [number(2), number(4)], "{}", store.name);
        assert_eq!(store.inbound.mismatched(at(99), 1).await.unwrap(), [number(2)]);
        // The longest marked has the longest grace: it stands in nobody's way.
        let view = store.view(2).await;
        let mismatch_due = [(view.device.key, at(25))].into();
        let states = vec![(view.device.key, view.state)];
        store.inbound.commit(InboundCommit { states, mismatch_due, ..InboundCommit::default() }).await.unwrap();
        assert_eq!(store.inbound.mismatched(at(24), 10).await.unwrap(), [number(4)], "{}", store.name);
        assert_eq!(store.inbound.mismatched(at(99), 2).await.unwrap(), [number(4), number(2)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_lent_once() {
    for store in both().await {
        let view = store.account(1).await;
        assert_eq!(store.inbound.reserve_downlink(key(1), 1000).await.unwrap(), 0, "{}", store.name);
        assert_eq!(store.inbound.reserve_downlink(key(1), 10).await.unwrap(), 1000);
        // A state that was read before does not take them back.
        store.inbound.commit(backup(&view, 1, 10, None, "Anna")).await.unwrap();
        assert_eq!(store.view(1).await.state.downlink_counter, 1010);
        let last = store.inbound.reserve_downlink(key(1), u32::MAX - 1010).await.unwrap();
        assert_eq!(last, 1010);
        let used_up = store.inbound.reserve_downlink(key(1), 1).await;
        assert!(matches!(used_up, Err(StoreError::Refused(_))), "{}: {used_up:?}", store.name);
        assert!(matches!(store.inbound.reserve_downlink(key(7), 1).await, Err(StoreError::NotFound(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_moves_actions_and_tells_people() {
    for store in both().await {
        let view = store.account(1).await;
        let waiting = restore(1, 5);
        let new = InboundCommit { new_actions: vec![waiting.clone()], ..InboundCommit::default() };
        store.inbound.commit(new).await.unwrap();
        let mut done = waiting.clone();
        (done.state, done.due, done.attempts, done.cause) = (State::Done, at(50), 2, "all written".into());
        let notice = Notice { at: at(1), msisdn: Some(number(1)), kind: "restored".into(), text: "yours".into() };
        let nameless = Notice { at: at(2), msisdn: None, kind: "alarm".into(), text: "somebody's".into() };
        let mut batch = backup(&view, 1, 10, None, "Anna");
        // New and moved in one batch: it is written as it ends.
        let mut ended = acknowledgement(1, 10);
        ended.state = State::Cancelled;
        batch.moved_actions = vec![(done.clone(), waiting.state, waiting.due), (ended.clone(), ended.state, ended.due)];
        batch.notices = vec![notice.clone(), nameless.clone()];
        batch.dead_letters = vec![fixtures::dead_letter(1)];
        let mut unknown = fixtures::billing(1);
        (unknown.msisdn, unknown.subscriber, unknown.first_octet) = (None, None, None);
        batch.billing.push(unknown);
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(store.application.action(key(1).subscriber, done.id).await.unwrap(), Some(done), "{}", store.name);
        assert_eq!(store.application.action(key(1).subscriber, ended.id).await.unwrap(), Some(ended));
        assert_eq!(store.application.notices(10).await.unwrap(), [nameless, notice]);
        assert_eq!((store.count("billing_event"), store.count("dead_letter")), (2, 1));
    }
}
