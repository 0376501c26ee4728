use std::time::Duration;

use domain::{
    delivery::{Content, State},
    identity::Timestamp,
    phonebook::{AccountState, Bearer, restore},
};
use proto::inbound::{Outcome, ReportDeliveryRequest, report_delivery_request::State as Reported};

use crate::harness::{Card, Centre, adn, item, sms, start};

async fn with_restore(centre: &mut Centre, records: u8) -> (Card, domain::delivery::ActionId) {
    centre.subscriber(1);
    let mut card = Card::default();
    for record in 1..=records {
        centre.one(sms(1, card.backup(record, &adn(&format!("N{record}"))))).await;
    }
    let book = centre.book(1);
    let monitor = &centre.state(1).monitor;
    let plan =
        restore::plan(restore::Origin { book: &book, monitor }, &book, monitor, &restore::Selection::All).unwrap();
    let action = centre.order(1, Content::Restore { records: plan, check_data: None });
    (card, action)
}

fn acknowledgement(records: &[(u8, u8)]) -> Vec<u8> {
    let results = records.iter().flat_map(|(record, result)| [0x7F, 0x10, 0x6F, 0x3A, *record, *result, 0]);
    [0x20].into_iter().chain(results).collect()
}

/// Covers: SC-ID-12, SC-ID-13
#[tokio::test]
async fn a_restore_is_acknowledged_message_by_message_and_only_failures_go_again() {
    let mut centre = start().await;
    let (_, action) = with_restore(&mut centre, 6).await;
    centre.launch(action);
    centre.one(sms(1, acknowledgement(&[(1, 0), (2, 0), (3, 1), (4, 0)]))).await;
    let waiting = centre.action(action);
    assert_eq!((waiting.state, waiting.due), (State::Queued, centre.now().plus(Duration::from_secs(300))));
    let second = centre.launch(action);
    assert_eq!([second[2], second[32], second[62]], [3, 5, 6]);
    centre.one(sms(1, acknowledgement(&[(3, 0), (5, 0), (6, 0)]))).await;
    assert_eq!(centre.action(action).state, State::Done);
    // Late and unmatched: harmless.
    assert_eq!(centre.one(sms(1, acknowledgement(&[(5, 0)]))).await, Outcome::Stored);
    assert_eq!(centre.action(action).state, State::Done);
    centre.stop().await;
}

#[tokio::test]
async fn when_an_action_ends_the_next_one_is_queued() {
    let mut centre = start().await;
    let (_, first) = with_restore(&mut centre, 1).await;
    let second = centre.order(1, Content::Configuration { items: vec![item(1, &[1])] });
    centre.launch(first);
    centre.one(sms(1, acknowledgement(&[(1, 0)]))).await;
    centre
        .until("the second is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == second))
        .await;
    centre.launch(second);
    centre.one(sms(1, vec![0x38, 1, 0])).await;
    assert_eq!(centre.action(second).state, State::Done);
    assert_eq!(centre.state(1).settings.get(&1).map(|data| data.to_vec()), Some(vec![1]));
    centre.stop().await;
}

#[tokio::test]
async fn what_waits_for_the_card_goes_on_with_its_next_message() {
    let mut centre = start().await;
    let (mut card, action) = with_restore(&mut centre, 1).await;
    centre.launch(action);
    {
        let mut tables = centre.store.tables();
        let waiting = tables.actions.get_mut(&action.0).unwrap();
        waiting.state = State::Waiting;
        waiting.attempts = 12;
    }
    centre.clock.advance(Duration::from_secs(30 * 86_400));
    centre.one(sms(1, card.backup(9, &adn("BACK")))).await;
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == action)).await;
    let resumed = centre.action(action);
    assert_eq!((resumed.state, resumed.attempts), (State::Queued, 0));
    assert_eq!(centre.launch(action)[2], 1, "what was in flight goes again");
    centre.stop().await;
}

/// Neither its refused messages nor an alert set going what waits for a card that is not served.
#[tokio::test]
async fn what_waits_for_a_suspended_card_goes_on_waiting() {
    let mut centre = start().await;
    centre.subscriber_with(1, |view| view.subscriber.state = AccountState::Suspended);
    centre.subscriber(2);
    let actions = [1, 2].map(|number| centre.order(number, Content::Configuration { items: vec![item(1, &[1])] }));
    for action in actions {
        centre.store.tables().actions.get_mut(&action.0).unwrap().state = State::Waiting;
    }
    for _ in 0..3 {
        assert_eq!(centre.one(sms(1, Card::default().backup(1, &adn("X")))).await, Outcome::Refused);
        assert!(centre.client.report_delivery(alert(1)).await.unwrap().into_inner().matched);
    }
    // The looks are in order: when this card's was done, the other's would have been.
    centre.client.report_delivery(alert(2)).await.unwrap();
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|it| it.action == actions[1])).await;
    assert_eq!(actions.map(|action| centre.action(action).state), [State::Waiting, State::Queued]);
    centre.stop().await;
}

/// Covers: SC-ID-16
#[tokio::test]
async fn a_card_asks_for_its_data_and_the_restore_is_queued() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    for record in [3, 17, 80] {
        centre.one(sms(1, card.backup(record, &adn(&format!("N{record}"))))).await;
    }
    assert_eq!(centre.one(sms(1, vec![0x40])).await, Outcome::Stored);
    let action = centre.store.tables().ordered().remove(0);
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == action.id)).await;
    assert_eq!(action.channel, Bearer::Sms);
    let message = centre.launch(action.id);
    assert_eq!([message[0], message[2], message[32], message[62]], [0x18, 3, 17, 80]);
    centre.stop().await;
}

/// What a card asks for again and again in one batch counts like what it asks for over the day.
#[tokio::test]
async fn a_batch_of_requests_is_merged_and_limited_like_any_others() {
    let mut centre = start().await;
    centre.subscriber(1);
    let mut card = Card::default();
    for record in 1..=10 {
        centre.one(sms(1, card.backup(record, &adn(&format!("N{record}"))))).await;
    }
    // While this is being committed the others gather, and are one batch.
    let store = centre.store.clone();
    let (gate, begun) = (store.gate.acquire_many(1 << 20).await.unwrap(), store.tables().begun);
    let mut ids = centre.edge.send(vec![sms(1, card.backup(11, &adn("N11")))]).await;
    centre.until("it is being committed", |centre| centre.store.tables().begun > begun).await;
    let of = |first: u8, count: u8| sms(1, vec![0x40, 0, first, count]);
    let contained = [of(1, 3), of(2, 1), of(1, 2)];
    let requests = contained.into_iter().chain((4..=10).map(|record| of(record, 1)));
    ids.extend(centre.edge.send(requests.collect()).await);
    for _ in 0..2 {
        centre.edge.sign_of_life().await;
    }
    drop(gate);
    assert!(centre.edge.results(&ids).await.iter().all(|result| result.outcome() == Outcome::Stored));
    {
        let tables = centre.store.tables();
        assert!(tables.commits <= 12, "one batch: {} commits", tables.commits);
        let records = |action: &domain::delivery::Action| match &action.content {
            Content::Restore { records, .. } => records.iter().map(|record| record.record_number).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let restores: Vec<_> = tables.ordered().iter().map(records).collect();
        assert_eq!(restores, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
        let kinds: Vec<_> = tables.notices.iter().map(|notice| notice.kind.as_str()).collect();
        assert_eq!(kinds, [["restore-request-merged"; 2].as_slice(), &["restore-request-refused"; 4]].concat());
    }
    let restores = |centre: &Centre| {
        let entries = centre.queue.entries();
        entries.iter().filter(|entry| entry.acknowledgement.is_none()).count()
    };
    centre.until("the first is queued", |centre| restores(centre) > 0).await;
    assert_eq!(restores(&centre), 1, "the others have their turn");
    centre.stop().await;
}

/// Covers: SC-ID-14
#[tokio::test]
async fn a_configuration_acknowledgement_clears_its_action() {
    let mut centre = start().await;
    centre.subscriber(1);
    let action = centre.order(1, Content::Configuration { items: vec![item(4, &[1]), item(0x0B, &[10, 1])] });
    centre.launch(action);
    centre.one(sms(1, vec![0x38, 4, 0, 0x0B, 2])).await;
    let done = centre.action(action);
    assert_eq!((done.state, done.cause.as_str()), (State::Done, "1 of 2 refused"));
    let settings = centre.state(1).settings;
    assert!(settings.contains_key(&4) && !settings.contains_key(&0x0B));
    centre.stop().await;
}

fn alert(number: u32) -> ReportDeliveryRequest {
    ReportDeliveryRequest {
        link: "north".to_owned(),
        state: Reported::Reachable.into(),
        address: sms(number, Vec::new()).originator,
        country_code: "44".to_owned(),
        ..ReportDeliveryRequest::default()
    }
}

async fn report(centre: &mut Centre, id: &str, state: Reported) -> bool {
    let request = ReportDeliveryRequest {
        link: "north".to_owned(),
        bearer_message_id: id.to_owned(),
        state: state.into(),
        cause: "absent subscriber".to_owned(),
        at_micros: 77,
        ..ReportDeliveryRequest::default()
    };
    centre.client.report_delivery(request).await.unwrap().into_inner().matched
}

/// Covers: SC-OC-05
#[tokio::test]
async fn a_delivery_receipt_is_recorded_and_a_failure_goes_to_the_ladder() {
    let mut centre = start().await;
    let (_, action) = with_restore(&mut centre, 1).await;
    centre.launch(action);
    let id = format!("id-{}", action.0);
    assert!(!report(&mut centre, "unheard-of", Reported::Delivered).await);
    assert!(report(&mut centre, &id, Reported::Temporary).await);
    assert_eq!(centre.action(action).state, State::Sent);
    assert!(report(&mut centre, &id, Reported::Delivered).await);
    assert_eq!((centre.action(action).receipt, centre.action(action).state), (Some(Timestamp(77)), State::Sent));
    let due = centre.action(action).due;
    assert!(report(&mut centre, &id, Reported::Expired).await);
    let again = centre.action(action);
    assert_eq!((again.state, again.due, again.cause.as_str()), (State::Queued, due, "absent subscriber"));
    // A receipt behind the acknowledgement still counts.
    centre.launch(action);
    centre.one(sms(1, acknowledgement(&[(1, 0)]))).await;
    assert!(report(&mut centre, &id, Reported::Delivered).await);
    assert_eq!((centre.action(action).receipt, centre.action(action).state), (Some(Timestamp(77)), State::Done));
    centre.stop().await;
}

/// What an operator does between a batch's reading and its writing.
fn meanwhile(centre: &Centre, action: domain::delivery::ActionId, state: State) {
    centre.store.tables().before_commit = Some(Box::new(move |tables| {
        let action = tables.actions.get_mut(&action.0).unwrap();
        action.state = state;
        action.due = Timestamp(action.due.0 + 1);
    }));
}

#[tokio::test]
async fn a_restore_cancelled_between_reading_and_writing_stays_cancelled() {
    let mut centre = start().await;
    let (_, action) = with_restore(&mut centre, 6).await;
    centre.launch(action);
    meanwhile(&centre, action, State::Cancelled);
    // Record 3 failed: without the operator the action would be queued again.
    let answer = acknowledgement(&[(1, 0), (2, 0), (3, 1), (4, 0)]);
    assert_eq!(centre.one(sms(1, answer)).await, Outcome::Stored);
    assert_eq!(centre.action(action).state, State::Cancelled);
    centre.stop().await;
}

#[tokio::test]
async fn a_receipt_does_not_undo_what_came_between() {
    let mut centre = start().await;
    let (_, action) = with_restore(&mut centre, 1).await;
    centre.launch(action);
    let id = format!("id-{}", action.0);
    meanwhile(&centre, action, State::Cancelled);
    assert!(report(&mut centre, &id, Reported::Delivered).await);
    let cancelled = centre.action(action);
    assert_eq!((cancelled.receipt, cancelled.state), (Some(Timestamp(77)), State::Cancelled));
    centre.stop().await;
}

/// The network says that the phone is there again: what waits for its card starts over, without a message of it.
#[tokio::test]
async fn an_alert_resumes_what_waits_for_its_card() {
    let mut centre = start().await;
    let (_, action) = with_restore(&mut centre, 1).await;
    centre.store.tables().actions.get_mut(&action.0).unwrap().state = State::Waiting;
    assert!(!centre.client.report_delivery(alert(2)).await.unwrap().into_inner().matched, "nobody's number");
    assert!(centre.client.report_delivery(alert(1)).await.unwrap().into_inner().matched);
    centre.until("it is queued", |centre| centre.queue.entries().iter().any(|entry| entry.action == action)).await;
    assert_eq!(centre.action(action).state, State::Queued);
    centre.stop().await;
}
