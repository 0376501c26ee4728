//! Outbound actions: their rows, who may launch, who may overwrite.

use bytes::Bytes;
use domain::{
    delivery::{Action, ActionId, ConfigurationItem, Content, Launched, Progress, State},
    identity::Timestamp,
};
use store::{DuePage, InboundCommit, QueuedAction, StoreError};

use crate::fixtures::{
    self, Backend, acknowledgement, action, at, audit, backup, both, due, key, number, restore, restore_record,
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
        assert_eq!(views.actions, [(all[3].clone(), store.view(1).await)], "{}", store.name);
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
        let due = store.outbound.due(&due(at(5), at(100), 10)).await.unwrap().actions;
        let traces = acknowledgement(1, 2).traces;
        let queued = |id, records| QueuedAction {
            device: key(1),
            id: ActionId(id),
            due: if id == 3 { at(1) } else { acknowledgement(1, id).due },
            channel: domain::phonebook::Bearer::Sms,
            msisdn: number(1),
            acknowledgement: records,
            is_secured: false,
            traces: traces.clone(),
        };
        let records = Some(domain::delivery::Acknowledgement {
            profile: domain::phonebook::Profile::E2,
            records: Bytes::from_static(&[0, 1, 0]),
        });
        assert_eq!(due, [queued(3, None), queued(2, records.clone())], "{}", store.name);
        let before = store.outbound.due(&fixtures::due(at(100), at(3), 10)).await.unwrap();
        assert_eq!(before.actions, [queued(2, records)], "made before");
        let short = store.outbound.due(&fixtures::due(at(100), at(100), 1)).await.unwrap();
        assert_eq!(short.actions.len(), 1);
        assert_eq!(store.application.oldest_due().await.unwrap(), Some(at(1)));
        let counts = store.application.queue_counts().await.unwrap();
        assert_eq!((counts[&State::Queued], counts[&State::Sent], counts[&State::Waiting]), (2, 1, 1));
        assert_eq!(counts.get(&State::Failed), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_left_are_taken_away_together() {
    for store in both().await {
        let fresh = store.application.oldest_due().await.unwrap();
        assert_eq!(fresh, None, "{}", store.name);
        store.account(1).await;
        let mut cancelled = acknowledgement(1, 4);
        cancelled.state = State::Cancelled;
        put(&store, &[acknowledgement(1, 2), acknowledgement(1, 3), cancelled.clone()]).await;
        let order = restore(1, 5);
        put(&store, std::slice::from_ref(&order)).await;
        let ids = [3, 2, 4, 5, 99].map(|id| (key(1), ActionId(id)));
        store.outbound.finish(&ids).await.unwrap();
        store.outbound.finish(&[]).await.unwrap();
        for id in [2, 3] {
            let left = store.application.action(key(1).subscriber, ActionId(id)).await.unwrap();
            assert_eq!(left, None, "{}", store.name);
        }
        assert_eq!(read(&store, &cancelled).await, cancelled, "what has ended stays as it ended");
        assert_eq!(read(&store, &order).await, order, "an order to a card is never taken away like this");
        store.outbound.move_actions(&[(Action { state: State::Done, ..order }, vec![State::Queued])]).await.unwrap();
        assert_eq!(store.outbound.due(&due(at(99), at(99), 10)).await.unwrap(), DuePage::default());
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
        let done = moved(2, State::Done);
        assert!(!store.inbound.replace_action(&done, State::Queued, at(3)).await.unwrap(), "due as read");
        assert!(store.inbound.replace_action(&done, State::Queued, at(2)).await.unwrap());
        assert!(!store.inbound.replace_action(&done, State::Queued, done.due).await.unwrap(), "the state as read");
        assert!(
            !store.application.move_action(&moved(2, State::Queued), &[State::Sent], None, audit("no")).await.unwrap()
        );
        assert!(
            store
                .application
                .move_action(&moved(2, State::Queued), &[State::Done], None, audit("again"))
                .await
                .unwrap()
        );
        assert_eq!(store.sql("SELECT what FROM audit"), ["accounts", "again"], "{}: only what was done", store.name);
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
        put(&store, &[ended, restore(1, 3), restore(2, 4), acknowledgement(2, 5)]).await;
        let of_two = store.application.actions_of(Some(fixtures::key(2).subscriber), false, 10).await.unwrap();
        assert_eq!(of_two.len(), 2, "{}: of one number acknowledgements too", store.name);
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

/// A card whose older configuration (id `n * 10`) is sent and not due, so that its younger one (id `n * 10 + 1`) waits
/// for its turn though its time has come.
fn blocked(n: i64) -> [Action; 2] {
    let mut older = configuration(n, n * 10);
    (older.state, older.due) = (State::Sent, at(100_000));
    [older, Action { due: at(n), ..configuration(n, n * 10 + 1) }]
}

/// Covers: SC-OD-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_wait_for_their_turn_do_not_hide_what_is_due() {
    for store in both().await {
        let mut actions = Vec::new();
        for n in 1..=12 {
            store.account(n).await;
            actions.extend(blocked(n));
        }
        store.account(50).await;
        let overdue = Action { due: at(40), state: State::Sent, ..restore(50, 501) };
        let by_ip = Action { channel: domain::phonebook::Bearer::Ip, ..acknowledgement(50, 502) };
        actions.extend([overdue, Action { due: at(41), ..acknowledgement(50, 503) }, by_ip]);
        put(&store, &actions).await;
        let mut query = due(at(1000), at(9999), 5);
        let mut found = Vec::new();
        let mut pages = 0;
        loop {
            let page = store.outbound.due(&query).await.unwrap();
            assert!(page.damaged.is_empty(), "{}", store.name);
            found.extend(page.actions.iter().map(|action| action.id.0));
            pages += 1;
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert_eq!((found, pages), (vec![501, 503], 3), "{}: 14 rows are due, five a page", store.name);
        let ip = store::DueQuery { channel: domain::phonebook::Bearer::Ip, ..due(at(1000), at(9999), 5) };
        let page = store.outbound.due(&ip).await.unwrap();
        assert_eq!(page.actions.iter().map(|action| action.id.0).collect::<Vec<_>>(), [502], "{}", store.name);
        // The older one is answered: now it is the younger one's turn.
        let [older, younger] = blocked(3);
        let done = Action { state: State::Done, ..older };
        assert!(store.inbound.replace_action(&done, State::Sent, at(100_000)).await.unwrap());
        let page = store.outbound.due(&due(at(1000), at(9999), 5)).await.unwrap();
        assert_eq!(page.actions.iter().map(|action| action.id).collect::<Vec<_>>(), [younger.id], "{}", store.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_costs_no_other_and_is_failed_with_a_notice() {
    for store in both().await {
        store.account(1).await;
        store.account(2).await;
        put(&store, &[acknowledgement(1, 2), acknowledgement(1, 3), restore(2, 4)]).await;
        let rubbish = store.octets("0102ff");
        store.sql(&format!("UPDATE outbound_action SET content = {rubbish} WHERE id = 2"));
        let page = store.outbound.due(&due(at(100), at(100), 10)).await.unwrap();
        assert_eq!(page.actions.iter().map(|it| it.id.0).collect::<Vec<_>>(), [3, 4], "{}", store.name);
        assert_eq!(page.damaged.iter().map(|it| it.id.0).collect::<Vec<_>>(), [2], "{}", store.name);
        let ids = [2, 3, 4].map(|id| (key(if id == 4 { 2 } else { 1 }), ActionId(id)));
        let mut loaded = store.outbound.actions(&ids).await.unwrap();
        loaded.actions.sort_by_key(|(action, _)| action.id);
        assert_eq!(loaded.actions.iter().map(|it| it.0.id.0).collect::<Vec<_>>(), [3, 4], "{}", store.name);
        assert_eq!(loaded.damaged.iter().map(|it| (it.device, it.id.0)).collect::<Vec<_>>(), [(key(1), 2)]);
        assert_eq!(store.outbound.fail_damaged(&loaded.damaged, at(70)).await.unwrap(), 1, "{}", store.name);
        assert_eq!(store.outbound.fail_damaged(&loaded.damaged, at(71)).await.unwrap(), 0, "told once");
        assert_eq!(store.sql("SELECT state FROM outbound_action WHERE id = 2"), ["4"], "{}", store.name);
        let notices = store.application.notices(10).await.unwrap();
        assert_eq!(notices.len(), 1, "{}", store.name);
        assert_eq!((notices[0].msisdn, notices[0].kind.as_str()), (Some(number(1)), "action_failed"));
        assert!(notices[0].text.starts_with("action 2: its row does not decode"), "{}", notices[0].text);
        let page = store.outbound.due(&due(at(100), at(100), 10)).await.unwrap();
        assert_eq!((page.actions.len(), page.damaged.len()), (2, 0), "{}: it does not come back", store.name);
    }
}

/// A rolling update: what the next release writes, and what has nothing to do with the action, is not the action's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_release_wrote_is_told_from_damage() {
    for store in both().await {
        store.account(1).await;
        put(&store, &[acknowledgement(1, 2), restore(1, 3)]).await;
        let lost = |damaged: &[store::Damaged]| damaged.iter().map(|it| (it.id.0, it.is_lost)).collect::<Vec<_>>();
        let ids = [2, 3].map(|id| (key(1), ActionId(id)));
        // A format, an action type, and the progress of a restore's record.
        for (hex, is_lost) in [("02", false), ("01ff", false), ("01020000000000010000ff000000", false), ("0100", true)]
        {
            let octets = store.octets(hex);
            store.sql(&format!("UPDATE outbound_action SET content = {octets}"));
            let page = store.outbound.due(&due(at(100), at(100), 10)).await.unwrap();
            assert_eq!(lost(&page.damaged), [(2, is_lost)], "{} {hex}: a restore is not read here", store.name);
            let mut loaded = store.outbound.actions(&ids).await.unwrap();
            loaded.damaged.sort_by_key(|it| it.id);
            assert_eq!(lost(&loaded.damaged), [(2, is_lost), (3, is_lost)], "{} {hex}", store.name);
        }
        let good = store.octets("0101000100");
        store.sql(&format!("UPDATE outbound_action SET content = {good}"));
        for hex in ["00", "ff"] {
            let octets = store.octets(hex);
            store.sql(&format!("UPDATE device_state SET data = {octets}"));
            let mut loaded = store.outbound.actions(&ids).await.unwrap();
            loaded.damaged.sort_by_key(|it| it.id);
            assert_eq!(lost(&loaded.damaged), [(2, false), (3, false)], "{} {hex}", store.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_between_reading_and_writing_is_a_conflict_and_nothing_is_written() {
    for store in both().await {
        let view = store.account(1).await;
        let read_as = restore(1, 2);
        put(&store, std::slice::from_ref(&read_as)).await;
        // Read, then an operator cancels, then the batch with the card's answer comes to be written.
        let cancelled = Action { state: State::Cancelled, due: at(9), ..read_as.clone() };
        assert!(store.application.move_action(&cancelled, &[State::Queued], None, audit("cancel")).await.unwrap());
        let again = Action { due: at(20), attempts: 1, ..read_as.clone() };
        let mut batch = backup(&view, 1, 10, None, "Anna");
        batch.moved_actions = vec![(again.clone(), read_as.state, read_as.due)];
        let refused = store.inbound.commit(batch.clone()).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{}: {refused:?}", store.name);
        assert_eq!(read(&store, &read_as).await, cancelled, "{}: it stays cancelled", store.name);
        assert_eq!(store.count("book_change"), 0, "{}: nothing of the batch was written", store.name);
        // Read again, it passes.
        batch.moved_actions = vec![(again.clone(), cancelled.state, cancelled.due)];
        store.inbound.commit(batch).await.unwrap();
        assert_eq!(read(&store, &read_as).await, again, "{}", store.name);
    }
}

/// Covers: SC-OC-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_behind_the_card_s_answer_finds_its_action() {
    for store in both().await {
        store.account(1).await;
        let launched = |id: i64, state: State| {
            let launched = Some(Launched { link: "north".into(), bearer_message_id: "0001af".into() });
            Action { state, launched, ..restore(1, id) }
        };
        put(&store, &[launched(2, State::Done), launched(3, State::Cancelled)]).await;
        let found = async || store.inbound.action_by_launch("north", "0001af").await.unwrap().map(|it| it.id.0);
        assert_eq!(found().await, Some(3), "{}: the newest", store.name);
        let mut done = launched(2, State::Done);
        done.receipt = Some(at(77));
        assert!(store.inbound.replace_action(&done, State::Done, done.due).await.unwrap(), "{}", store.name);
        assert_eq!(read(&store, &done).await.receipt, Some(at(77)), "{}", store.name);
        put(&store, &[launched(1, State::Sent)]).await;
        assert_eq!(found().await, Some(1), "{}: what waits for a receipt goes first", store.name);
    }
}
