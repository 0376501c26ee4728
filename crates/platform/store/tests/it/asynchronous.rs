//! Countdowns of asynchronous backups: rows that wait for their time only, however many.

use std::collections::HashSet;

use bytes::Bytes;
use domain::{
    asynchronous::Session,
    delivery::{Action, Content},
};
use store::{DueQuery, InboundCommit};

use crate::fixtures::{action, at, backup, both, due, key, restore};

fn countdown(n: i64, id: i64, due: i64) -> Action {
    let message = Bytes::from_static(&[0xA2, 7, 10, 1, 4, 10]);
    Action { due: at(due), ..action(n, id, Content::Asynchronous { message }) }
}

async fn put(store: &crate::fixtures::Backend, actions: Vec<Action>) {
    let batch = InboundCommit { new_actions: actions, ..InboundCommit::default() };
    store.inbound.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_countdown_has_no_turn_and_takes_nobodys() {
    for store in both().await {
        store.account(1).await;
        put(&store, vec![countdown(1, 2, 50), restore(1, 3), countdown(1, 4, 1)]).await;
        let heads = store.outbound.heads(&[key(1)]).await.unwrap();
        assert_eq!(heads.iter().map(|(_, id)| id.0).collect::<Vec<_>>(), [3], "{}", store.name);
        let found = store.outbound.due(&due(at(60), at(100), 10)).await.unwrap().actions;
        let ids: HashSet<i64> = found.iter().map(|action| action.id.0).collect();
        assert_eq!(ids, HashSet::from([2, 3, 4]), "{}", store.name);
        let open = store.inbound.open_actions(&[key(1)]).await.unwrap();
        assert_eq!(open, [countdown(1, 2, 50), restore(1, 3), countdown(1, 4, 1)], "{}", store.name);
        let rows = store.sql("SELECT id, kind, subtype FROM outbound_action ORDER BY id");
        assert_eq!(rows, ["2|6|162", "3|2|0", "4|6|162"], "{}", store.name);
    }
}

/// Covers: AS-V1-08
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_countdowns_are_each_found_at_their_time() {
    const COUNT: i64 = 100_000;
    for store in both().await {
        store.account(1).await;
        for first in (0..COUNT).step_by(10_000) {
            put(&store, (first..first + 10_000).map(|at| countdown(1, 1000 + at, 1000 + at)).collect()).await;
        }
        let query = |before, after| DueQuery { after, ..due(at(before), at(1_000_000), 5000) };
        assert_eq!(store.outbound.due(&query(1000, None)).await.unwrap().actions, []);
        let first = store.outbound.due(&query(1001, None)).await.unwrap();
        assert_eq!(first.actions.iter().map(|action| action.id.0).collect::<Vec<_>>(), [1000], "{}", store.name);
        let (mut found, mut place) = (0, None);
        loop {
            let page = store.outbound.due(&query(1000 + COUNT, place)).await.unwrap();
            assert!(page.actions.iter().zip(found..).all(|(action, nth)| action.id.0 == 1000 + nth), "{}", store.name);
            found += i64::try_from(page.actions.len()).unwrap();
            place = page.next;
            if place.is_none() {
                break;
            }
        }
        assert_eq!(found, COUNT, "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_kept_with_the_state_of_their_device() {
    for store in both().await {
        let view = store.account(1).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        let mut session = Session::new(7, 10, at(10));
        (1..=3).for_each(|block| session.receive(block));
        let (_, state) = batch.states.first_mut().unwrap();
        state.sessions.push(session.clone());
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(store.view(1).await.state.sessions, [session], "{}", store.name);
    }
}
