//! What is kept for a time and no longer.

use domain::{
    delivery::{Action, State},
    identity::{SubscriberId, Timestamp},
};
use store::{Audit, Expiring, InboundCommit};

use crate::fixtures::{Backend, acknowledgement, at, audit, backup, billing, both, change, key, restore};

async fn expire_all(store: &Backend, what: Expiring, before: Timestamp, limit: u32) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        let gone = store.application.expire(what, before, limit).await.unwrap();
        if gone == 0 {
            return steps;
        }
        steps.push(gone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_actions_go_in_bounded_steps_and_no_other_does() {
    for store in both().await {
        store.account(1).await;
        let with = |action: Action, state, due| Action { state, due, ..action };
        let old = at(-10);
        let ended = [State::Done, State::Failed, State::Cancelled, State::Done, State::Done];
        let ended = (1..).zip(ended).map(|(id, state)| with(acknowledgement(1, id), state, old));
        let open = [State::Queued, State::Sent, State::Waiting];
        let open: Vec<Action> = (11..).zip(open).map(|(id, state)| with(restore(1, id), state, old)).collect();
        let recent = with(restore(1, 21), State::Done, at(5));
        let new_actions = ended.chain(open.clone()).chain([recent.clone()]).collect();
        store.inbound.commit(InboundCommit { new_actions, ..InboundCommit::default() }).await.unwrap();
        let steps = expire_all(&store, Expiring::EndedActions, at(0), 2).await;
        assert_eq!(steps.iter().sum::<u64>(), 5, "{}", store.name);
        let mut left = store.application.actions_of(Some(key(1).subscriber), false, 100).await.unwrap();
        left.reverse();
        assert_eq!(left, [open, vec![recent]].concat(), "{}", store.name);
        assert_eq!(store.application.journal_from().await.unwrap(), None, "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journal_and_billing_go_and_the_journal_says_from_when_it_is_whole() {
    for store in both().await {
        let view = store.account(1).await;
        let (old, new): (Vec<_>, Vec<_>) =
            (1..=8).map(|id| change(1, id * 10, None, Some("Anna"))).partition(|it| it.id <= 50);
        let mut late = billing(1);
        late.at = at(60);
        let billing = vec![billing(1), late.clone(), billing(1)];
        let changes = old.iter().chain(&new).cloned().collect();
        let batch = InboundCommit { changes, billing, ..backup(&view, 1, 100, None, "Anna") };
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(expire_all(&store, Expiring::Billing, at(55), 1).await, [1, 1], "{}", store.name);
        assert_eq!(store.count("billing_event"), 1, "{}", store.name);
        assert_eq!(store.application.journal_from().await.unwrap(), None, "{}", store.name);
        let steps = expire_all(&store, Expiring::Journal, at(55), 2).await;
        assert_eq!(steps, [2, 2, 1], "{}: nothing is locked for long", store.name);
        let journal = store.application.journal(key(1), Timestamp(0), 100).await.unwrap();
        let ids: Vec<i64> = journal.iter().map(|change| change.id).collect();
        assert_eq!(ids, [80, 70, 60], "{}", store.name);
        assert_eq!(store.application.journal_from().await.unwrap(), Some(at(55)), "{}", store.name);
        // What was removed once is not there again because more is kept later.
        assert!(expire_all(&store, Expiring::Journal, at(15), 2).await.is_empty(), "{}", store.name);
        store.inbound.commit(backup(&store.view(1).await, 1, 12, Some("Anna"), "Berta")).await.unwrap();
        assert_eq!(expire_all(&store, Expiring::Journal, at(15), 2).await, [1], "{}", store.name);
        assert_eq!(store.application.journal_from().await.unwrap(), Some(at(55)), "{}", store.name);
        assert_eq!(store.application.book(key(1)).await.unwrap().len(), 1, "{}: the book stays", store.name);
    }
}

/// More rows than one step takes, ended and open ones among each other, and a second round after the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_many_blocks_is_walked_to_its_end_in_every_round() {
    for store in both().await {
        store.account(1).await;
        for round in 1..=2 {
            let first = round * 10_000;
            let new_actions = (first..first + 2000).map(|id| {
                let state = if id % 5 == 0 { State::Queued } else { State::Done };
                Action { state, due: at(-10), ..acknowledgement(1, id) }
            });
            let new_actions = new_actions.collect();
            store.inbound.commit(InboundCommit { new_actions, ..InboundCommit::default() }).await.unwrap();
            let steps = expire_all(&store, Expiring::EndedActions, at(0), 100).await;
            assert_eq!(steps.iter().sum::<u64>(), 1600, "{}: {steps:?}", store.name);
            assert!(steps.len() > 5, "{}: bounded steps: {steps:?}", store.name);
        }
        assert_eq!(store.count("outbound_action"), 800, "{}", store.name);
    }
}

/// A log of many: the rows of one are found by key, and old rows go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_read_by_key_and_its_old_rows_go() {
    for store in both().await {
        for second in 0..5 {
            let row = Audit { at: at(second), ..audit(&format!("subscriber {}: seen", second % 2)) };
            store.application.commit(InboundCommit::default(), row).await.unwrap();
        }
        let plan = match store.name {
            "sqlite" => "EXPLAIN QUERY PLAN SELECT at FROM audit WHERE subscriber_id = 1 ORDER BY at DESC LIMIT 9",
            _ => "EXPLAIN SELECT at FROM audit WHERE subscriber_id = 1 ORDER BY at DESC LIMIT 9",
        };
        let plan =
            store.sql(&format!("{}{plan}", if store.name == "sqlite" { "" } else { "SET enable_seqscan = off; " }));
        assert!(plan.iter().any(|line| line.contains("audit_subscriber")), "{}: {plan:?}", store.name);
        assert_eq!(expire_all(&store, Expiring::Audit, at(3), 2).await, [2, 1], "{}", store.name);
        let left = store.application.audit_log(Some(SubscriberId(1)), 10).await.unwrap();
        assert_eq!(left.iter().map(|row| row.at).collect::<Vec<_>>(), [at(3)], "{}", store.name);
        assert_eq!(store.count("audit"), 2, "{}", store.name);
    }
}
