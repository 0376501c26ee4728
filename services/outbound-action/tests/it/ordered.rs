//! Restores and configurations: in order, waiting for the card, again when it is silent.

use std::time::Duration;

use domain::{
    delivery::{Content, Progress, State},
    phonebook::{AccountState, Bearer},
};
use store::{ApplicationStore, InboundCommit};

use crate::centre::{Centre, config, configuration, in_flight_done, next, nothing, record_numbers, restore};

/// Covers: SC-OD-08, SC-OD-05
#[tokio::test]
async fn a_restore_goes_message_by_message_each_after_the_card_s_answer() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441120001", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(10));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    for expected in [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]] {
        let message = next(&mut centre.sms).await;
        assert_eq!(record_numbers(&message), expected);
        assert!(message.registered_delivery);
        assert_eq!(message.validity_seconds, 300);
        assert_eq!(message.trace_ids, action.traces);
        let sent = centre.until(&action, |row| row.launched.is_some()).await;
        assert_eq!(sent.state, State::Sent, "acknowledgement pending");
        assert_eq!(sent.launched.as_ref().map(|launched| launched.link.as_str()), Some("north"));
        centre.until_queue_is_empty().await;
        nothing(&mut centre.sms);
        centre.answer(&action, in_flight_done).await;
        centre.push(std::slice::from_ref(&action)).await;
    }
    assert_eq!(centre.row(&action).await.state, State::Done);
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
}

/// Covers: SC-OD-10
#[tokio::test]
async fn the_second_configuration_leaves_after_the_first_s_acknowledgement() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441120002", Bearer::Sms).await;
    let first = centre.action(card, Bearer::Sms, configuration(0x0C, &[5]));
    let second = centre.action(card, Bearer::Sms, configuration(0x0C, &[6]));
    centre.commit_and_push(&[first.clone(), second.clone()]).await;
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [0x30, 0x0C, 5]);
    centre.until(&first, |row| row.launched.is_some()).await;
    centre.until_queue_is_empty().await;
    // Even when the janitor looks: it is due, but not its turn.
    assert!(centre.janitor().tick().await.unwrap() <= 1);
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
    assert_eq!(centre.row(&second).await.state, State::Queued);
    centre.answer(&first, |row| row.state = State::Done).await;
    centre.push(std::slice::from_ref(&second)).await;
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [0x30, 0x0C, 6]);
}

#[tokio::test]
async fn one_card_never_blocks_another() {
    let mut centre = Centre::start(config()).await;
    let silent = centre.card("441120003", Bearer::Sms).await;
    let first = centre.action(silent, Bearer::Sms, restore(1));
    centre.commit_and_push(&[first]).await;
    next(&mut centre.sms).await;
    let other = centre.card("441120004", Bearer::Sms).await;
    let second = centre.action(other, Bearer::Sms, restore(1));
    centre.commit_and_push(&[second]).await;
    assert_eq!(next(&mut centre.sms).await.msisdn, "441120004");
}

/// Covers: SC-ID-13
#[tokio::test]
async fn without_an_answer_the_same_records_go_again_at_growing_intervals() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441120005", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(6));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let mut janitor = centre.janitor();
    for minutes in [5, 10, 20] {
        assert_eq!(record_numbers(&next(&mut centre.sms).await), [1, 2, 3, 4]);
        centre.until(&action, |row| row.launched.is_some()).await;
        centre.until_queue_is_empty().await;
        centre.clock.advance(Duration::from_secs(minutes * 60 - 1));
        assert_eq!(janitor.tick().await.unwrap(), 0, "not before its time");
        centre.clock.advance(Duration::from_secs(1));
        assert_eq!(janitor.tick().await.unwrap(), 1);
    }
    assert_eq!(record_numbers(&next(&mut centre.sms).await), [1, 2, 3, 4]);
    // One record failed for good, three arrived: only what is open goes on.
    centre
        .answer(&action, |row| {
            let Content::Restore { records, .. } = &mut row.content else { panic!("a restore") };
            for record in records.iter_mut().filter(|record| record.progress == Progress::InFlight) {
                record.progress = if record.record_number == 2 { Progress::Open } else { Progress::Done };
            }
            row.state = State::Queued;
        })
        .await;
    centre.push(std::slice::from_ref(&action)).await;
    assert_eq!(record_numbers(&next(&mut centre.sms).await), [2, 5, 6]);
}

/// Queued or sent when its account was suspended: it waits without a launch, and not for its turn in the janitor's rounds.
#[tokio::test]
async fn a_suspended_card_is_sent_nothing() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441120010", Bearer::Sms).await;
    let (sent, behind) =
        (centre.action(card, Bearer::Sms, restore(1)), centre.action(card, Bearer::Sms, configuration(0x0C, &[5])));
    centre.commit_and_push(&[sent.clone(), behind.clone()]).await;
    next(&mut centre.sms).await;
    centre.until(&sent, |row| row.launched.is_some()).await;
    let other = centre.card("441120011", Bearer::Sms).await;
    let queued = centre.action(other, Bearer::Sms, restore(1));
    centre.commit(std::slice::from_ref(&queued)).await;
    for (device, _) in [card, other] {
        let audit = centre.audit();
        let (id, state) = (device.subscriber, AccountState::Suspended);
        centre.store.set_state(id, state, InboundCommit::default(), audit).await.unwrap();
    }
    centre.push(std::slice::from_ref(&queued)).await;
    let parked = centre.until(&queued, |row| row.state == State::Waiting).await;
    assert_eq!((parked.attempts, parked.cause.as_str()), (0, "the account is suspended"));
    let mut janitor = centre.janitor();
    for _ in 0..3 {
        centre.clock.advance(Duration::from_secs(3600));
        janitor.tick().await.unwrap();
        centre.until_queue_is_empty().await;
    }
    let parked = centre.until(&sent, |row| row.state == State::Waiting).await;
    assert_eq!(parked.attempts, 1, "what was launched before");
    assert_eq!(centre.row(&behind).await.state, State::Queued);
    nothing(&mut centre.sms);
}

#[tokio::test]
async fn after_the_last_rung_the_action_waits_for_the_card() {
    let config = outbound_action::Config { attempts_max: 2, ..config() };
    let mut centre = Centre::start(config).await;
    let card = centre.card("441120006", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(1));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let mut janitor = centre.janitor();
    for _ in 0..2 {
        next(&mut centre.sms).await;
        centre.until(&action, |row| row.launched.is_some()).await;
        centre.until_queue_is_empty().await;
        centre.clock.advance(Duration::from_secs(3600));
        janitor.tick().await.unwrap();
    }
    let waiting = centre.until(&action, |row| row.state == State::Waiting).await;
    let Content::Restore { records, .. } = &waiting.content else { panic!("a restore") };
    assert_eq!(records[0].progress, Progress::Again, "nothing is lost: it can be resumed");
    nothing(&mut centre.sms);
}

/// Covers: SC-OD-07
#[tokio::test]
async fn a_card_without_an_ip_session_for_a_minute_gets_short_messages_built_anew() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441120007", Bearer::Ip).await;
    let action = centre.action(card, Bearer::Ip, restore(10));
    let not_reachable = outbound_action::launcher::Outcome::NotReachable;
    centre.ip_script.lock().unwrap().extend([not_reachable.clone(), not_reachable]);
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    assert_eq!(record_numbers(&next(&mut centre.ip).await).len(), 10, "IP takes all in one message");
    let mut janitor = centre.janitor();
    let postponed = centre.until(&action, |row| row.cause == "no IP session").await;
    assert_eq!((postponed.state, postponed.attempts), (State::Queued, 0), "nothing left, nothing is counted");
    centre.until_queue_is_empty().await;
    centre.clock.advance(Duration::from_secs(31));
    janitor.tick().await.unwrap();
    assert_eq!(record_numbers(&next(&mut centre.ip).await).len(), 10);
    centre.until(&action, |row| row.due > centre.now()).await;
    centre.until_queue_is_empty().await;
    centre.clock.advance(Duration::from_secs(31));
    janitor.tick().await.unwrap();
    let message = next(&mut centre.sms).await;
    assert_eq!(record_numbers(&message), [1, 2, 3, 4]);
    assert!(message.payload.len() <= 140);
    nothing(&mut centre.ip);
    let sent = centre.until(&action, |row| row.launched.is_some()).await;
    assert_eq!(sent.channel, Bearer::Sms);
}

#[tokio::test]
async fn a_card_over_its_budget_is_slowed_and_nothing_is_lost() {
    let config = outbound_action::Config { sms_budget_per_day: 2, ..config() };
    let mut centre = Centre::start(config).await;
    let card = centre.card("441120008", Bearer::Sms).await;
    for value in [1, 2] {
        let action = centre.action(card, Bearer::Sms, crate::centre::acknowledgement(&[[0, value, 0]]));
        centre.commit_and_push(std::slice::from_ref(&action)).await;
        next(&mut centre.sms).await;
        centre.until_left(&action).await;
    }
    let action = centre.action(card, Bearer::Sms, crate::centre::acknowledgement(&[[0, 3, 0]]));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let slowed = centre.until(&action, |row| row.due > centre.now()).await;
    assert_eq!(slowed.due, centre.now().plus(Duration::from_secs(300)));
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
    centre.clock.advance(Duration::from_secs(300));
    centre.janitor().tick().await.unwrap();
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [0x10, 0, 3, 0]);
}
