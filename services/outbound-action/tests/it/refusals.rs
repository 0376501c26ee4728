//! What launchers refuse.

use std::time::Duration;

use domain::{delivery::State, phonebook::Bearer};
use outbound_action::launcher::Outcome;
use store::ApplicationStore;

use crate::centre::{Centre, acknowledgement, config, configuration, next, nothing, restore};

fn temporary() -> Outcome {
    Outcome::Temporary { cause: "throttled".to_owned(), after: Duration::ZERO }
}

#[tokio::test]
async fn a_permanent_refusal_fails_the_action_is_reported_and_the_next_one_s_turn_comes() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441130001", Bearer::Sms).await;
    let first = centre.action(card, Bearer::Sms, restore(1));
    let second = centre.action(card, Bearer::Sms, configuration(0x0C, &[5]));
    centre.sms_script.lock().unwrap().push(Outcome::Permanent { cause: "ESME_RINVDSTADR".to_owned() });
    centre.commit_and_push(&[first.clone(), second.clone()]).await;
    next(&mut centre.sms).await;
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [0x30, 0x0C, 5]);
    let failed = centre.row(&first).await;
    assert_eq!((failed.state, failed.cause.as_str()), (State::Failed, "ESME_RINVDSTADR"));
    let notices = centre.store.notices(10).await.unwrap();
    assert!(notices.iter().any(|notice| notice.kind == "action_failed" && notice.msisdn == Some(card.1)));
}

#[tokio::test]
async fn a_temporary_refusal_is_tried_again_here_while_patience_lasts() {
    let config = outbound_action::Config { patience: Duration::from_secs(10), ..config() };
    let mut centre = Centre::start(config).await;
    let card = centre.card("441130002", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]]));
    centre.sms_script.lock().unwrap().extend([temporary(), temporary()]);
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    for _ in 0..3 {
        next(&mut centre.sms).await;
    }
    centre.until_left(&action).await;
}

#[tokio::test]
async fn a_lasting_refusal_moves_the_due_time_and_the_janitor_brings_it_back() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441130003", Bearer::Sms).await;
    let acknowledgement = centre.action(card, Bearer::Sms, acknowledgement(&[[0, 1, 0]]));
    let ordered = centre.action(card, Bearer::Sms, restore(1));
    let actions = [acknowledgement, ordered];
    centre.sms_script.lock().unwrap().extend([temporary(), temporary()]);
    centre.commit_and_push(&actions).await;
    for _ in 0..2 {
        next(&mut centre.sms).await;
    }
    for action in &actions {
        let row = centre.until(action, |row| row.cause == "throttled").await;
        assert_eq!((row.state, row.attempts), (State::Queued, 1));
        assert_eq!(row.due, centre.now().plus(Duration::from_secs(300)));
    }
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
    centre.clock.advance(Duration::from_secs(300));
    assert_eq!(centre.janitor().tick().await.unwrap(), 2);
    for _ in 0..2 {
        next(&mut centre.sms).await;
    }
}

#[tokio::test]
async fn an_unanswered_launch_is_not_submitted_twice_before_its_time() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441130004", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, restore(1));
    centre.sms_script.lock().unwrap().push(Outcome::Unanswered { cause: "no answer".to_owned() });
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    next(&mut centre.sms).await;
    let row = centre.until(&action, |row| row.cause == "no answer").await;
    assert_eq!(row.state, State::Sent);
    centre.until_queue_is_empty().await;
    assert_eq!(centre.janitor().tick().await.unwrap(), 0);
    centre.clock.advance(Duration::from_secs(300));
    assert_eq!(centre.janitor().tick().await.unwrap(), 1);
    next(&mut centre.sms).await;
}
