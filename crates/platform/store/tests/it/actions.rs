//! Outbound actions: their rows, who may launch, who may overwrite.

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, ConfigurationItem, Content, Launched, Progress, State},
    identity::Timestamp,
};
use store::{InboundCommit, QueuedAction};

use crate::fixtures::{
    self, Backend, acknowledgement, action, at, audit, backup, both, key, number, restore, restore_record,
};

async fn put(store: &Backend, actions: &[Action]) {
    let batch = InboundCommit { new_actions: actions.to_vec(), ..InboundCommit::default() };
    store.inbound.commit(batch).await.unwrap();
}

async fn read(store: &Backend, action: &Action) -> Action {
    store.application.action(action.device.subscriber, action.id).await.unwrap().unwrap()
}

fn configuration(n: i64, id: i64) -> Action {
    let item = ConfigurationItem { cid: 0x04, data: Bytes::from_static(&[1]), progress: Progress::Failed(0x0B) };
    action(n, id, Content::Configuration { items: vec![item] })
}

/// Covers: SC-DB-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_of_every_type_come_back_as_they_were() {
    for store in both().await {
        store.account(1).await;
        let mut launched = action(1, 4, Content::AddressableRestore { records: vec![restore_record("Anna")] });
        launched.launched = Some(Launched { link: "north".into(), bearer_message_id: "0001af".into() });
        (launched.state, launched.attempts, launched.receipt) = (State::Sent, 3, Some(at(99)));
        launched.cause = "absent subscriber".into();
        let all = [acknowledgement(1, 2), restore(1, 3), launched.clone(), configuration(1, 5)];
        put(&store, &all).await;
        for action in &all {
            assert_eq!(&read(&store, action).await, action, "{}", store.name);
        }
        // Table 7: type, subtype, and the acknowledgement that is pending.
        let rows = store.sql("SELECT id, kind, subtype, state FROM outbound_action ORDER BY id");
        assert_eq!(rows, ["2|1|0|0", "3|2|0|0", "4|3|0|1", "5|4|4|0"], "{}", store.name);
        let columns = store.columns("outbound_action");
        for column in ["id", "kind", "subtype", "content", "created", "state", "channel", "attempts", "due"] {
            assert!(columns.iter().any(|name| name == column), "{}: {column}", store.name);
        }
        let by_launch = store.inbound.action_by_launch("north", "0001af").await.unwrap();
        assert_eq!(by_launch, Some(launched));
        assert_eq!(store.inbound.action_by_launch("south", "0001af").await.unwrap(), None);
        let views = store.outbound.actions(&[(key(1), ActionId(5)), (key(1), ActionId(77))]).await.unwrap();
        assert_eq!(views, [(all[3].clone(), store.view(1).await)], "{}", store.name);
    }
}

/// Covers: SC-DB-17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_holds_its_data_whatever_happens_to_the_book() {
    for store in both().await {
        let view = store.account(1).await;
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.new_actions.push(restore(1, 11));
        store.inbound.commit(batch).await.unwrap();
        store.inbound.commit(backup(&store.view(1).await, 1, 12, Some("Anna"), "Berta")).await.unwrap();
        let read = read(&store, &restore(1, 11)).await;
        assert_eq!(read, restore(1, 11), "{}", store.name);
        assert_eq!((read.device, read.channel), (key(1), domain::phonebook::Bearer::Sms));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_oldest_open_ordered_action_is_at_the_head() {
    for store in both().await {
        store.account(1).await;
        store.account(2).await;
        let mut ended = restore(1, 1);
        ended.state = State::Failed;
        let mut waiting = configuration(1, 4);
        waiting.state = State::Waiting;
        put(&store, &[ended, acknowledgement(1, 2), restore(1, 6), waiting.clone(), acknowledgement(2, 5)]).await;
        let heads = store.outbound.heads(&[key(1), key(2)]).await.unwrap();
        assert_eq!(heads, [(key(1), ActionId(4))], "{}", store.name);
        let open = store.inbound.open_actions(&[key(2), key(1)]).await.unwrap();
        assert_eq!(open, [waiting, restore(1, 6)], "{}: no acknowledgements, oldest first", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_found_oldest_first() {
    for store in both().await {
        store.account(1).await;
        let mut sent = restore(1, 3);
        (sent.state, sent.due) = (State::Sent, at(1));
        let mut waiting = restore(1, 4);
        waiting.state = State::Waiting;
        put(&store, &[acknowledgement(1, 2), sent, waiting, acknowledgement(1, 9)]).await;
        let due = store.outbound.due(at(5), at(100), 10).await.unwrap();
        let traces = acknowledgement(1, 2).traces;
        let queued = |id, acknowledgement| QueuedAction {
            device: key(1),
            id: ActionId(id),
            channel: domain::phonebook::Bearer::Sms,
            msisdn: number(1),
            acknowledgement,
            traces: traces.clone(),
        };
        let records = Some(Bytes::from_static(&[0, 1, 0]));
        assert_eq!(due, [queued(3, None), queued(2, records.clone())], "{}", store.name);
        assert_eq!(store.outbound.due(at(100), at(3), 10).await.unwrap(), [queued(2, records)], "made before");
        assert_eq!(store.outbound.due(at(100), at(100), 1).await.unwrap().len(), 1);
        assert_eq!(store.application.oldest_due().await.unwrap(), Some(at(1)));
        let counts = store.application.queue_counts().await.unwrap();
        assert_eq!((counts[&State::Queued], counts[&State::Sent], counts[&State::Waiting]), (2, 1, 1));
        assert_eq!(counts.get(&State::Failed), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_are_finished_together() {
    for store in both().await {
        let fresh = store.application.oldest_due().await.unwrap();
        assert_eq!(fresh, None, "{}", store.name);
        store.account(1).await;
        let mut cancelled = acknowledgement(1, 4);
        cancelled.state = State::Cancelled;
        put(&store, &[acknowledgement(1, 2), acknowledgement(1, 3), cancelled.clone()]).await;
        let ids = [(key(1), ActionId(3)), (key(1), ActionId(2)), (key(1), ActionId(4)), (key(1), ActionId(99))];
        store.outbound.finish(&ids, at(60)).await.unwrap();
        store.outbound.finish(&[], at(61)).await.unwrap();
        let done = read(&store, &acknowledgement(1, 2)).await;
        assert_eq!((done.state, done.due), (State::Done, at(60)), "{}", store.name);
        assert_eq!(read(&store, &cancelled).await, cancelled, "what has ended stays as it ended");
        assert_eq!(store.outbound.due(at(99), at(99), 10).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_is_overwritten_only_from_the_states_named() {
    for store in both().await {
        store.account(1).await;
        put(&store, &[restore(1, 2), restore(1, 3)]).await;
        let moved = |id: i64, state: State| {
            let mut action = restore(1, id);
            (action.state, action.attempts, action.due) = (state, 1, at(500));
            action.launched = Some(Launched { link: "north".into(), bearer_message_id: format!("m{id}") });
            action
        };
        let moves = [
            (moved(3, State::Sent), vec![State::Queued, State::Waiting]),
            (moved(2, State::Failed), vec![State::Sent]),
            (moved(3, State::Cancelled), vec![State::Sent]),
            (moved(9, State::Sent), vec![State::Queued]),
        ];
        let written = store.outbound.move_actions(&moves).await.unwrap();
        assert_eq!(written, [true, false, true, false], "{}: in order, one after the other", store.name);
        assert_eq!(read(&store, &restore(1, 2)).await, restore(1, 2));
        assert_eq!(read(&store, &restore(1, 3)).await, moved(3, State::Cancelled));
        assert!(store.inbound.move_action(&moved(2, State::Done), &[State::Queued]).await.unwrap());
        assert!(!store.inbound.move_action(&moved(2, State::Queued), &[]).await.unwrap());
        assert!(!store.application.move_action(&moved(2, State::Queued), &[State::Sent], audit("no")).await.unwrap());
        assert!(store.application.move_action(&moved(2, State::Queued), &[State::Done], audit("again")).await.unwrap());
        assert_eq!(store.sql("SELECT what FROM audit"), ["again"], "{}: only what was done", store.name);
        assert_eq!(store.outbound.move_actions(&[]).await.unwrap(), [] as [bool; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_launches() {
    for store in both().await {
        store.account(1).await;
        put(&store, &[restore(1, 2)]).await;
        let launched = |cause: &str, due: Timestamp| {
            let mut action = restore(1, 2);
            (action.state, action.due, action.cause) = (State::Sent, due, cause.into());
            action
        };
        let read_at = restore(1, 2).due;
        let one = [(launched("one", at(300)), State::Queued, read_at)];
        let two = [(launched("two", at(301)), State::Queued, read_at)];
        let (first, second) = tokio::join!(store.outbound.replace_actions(&one), store.outbound.replace_actions(&two));
        assert_eq!([first.unwrap(), second.unwrap()].iter().filter(|it| **it == [true]).count(), 1, "{}", store.name);
        let now = read(&store, &restore(1, 2)).await;
        let late = (launched("late", at(900)), State::Sent, Timestamp(now.due.0 - 1));
        assert_eq!(store.outbound.replace_actions(&[late]).await.unwrap(), [false], "due as read, not only the state");
        let again = (launched("again", at(900)), State::Sent, now.due);
        assert_eq!(store.outbound.replace_actions(&[again]).await.unwrap(), [true]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_are_listed_newest_first() {
    for store in both().await {
        store.account(1).await;
        store.account(2).await;
        let mut ended = restore(1, 2);
        ended.state = State::Done;
        put(&store, &[ended, restore(1, 3), restore(2, 4)]).await;
        let ids = async |subscriber, open_only, limit| {
            let found = store.application.actions_of(subscriber, open_only, limit).await.unwrap();
            found.iter().map(|action| action.id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, false, 10).await, [4, 3, 2], "{}", store.name);
        assert_eq!(ids(Some(fixtures::key(1).subscriber), false, 10).await, [3, 2]);
        assert_eq!(ids(Some(fixtures::key(1).subscriber), true, 10).await, [3]);
        assert_eq!(ids(None, true, 1).await, [4]);
    }
}
