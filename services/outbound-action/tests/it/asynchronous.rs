//! The countdown of an asynchronous backup: at its time, whatever else the card waits for, with reminders.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    delivery::{Content, State},
    phonebook::Bearer,
};

use crate::centre::{Centre, config, next, nothing, restore};

const RESUME: [u8; 6] = [0xA2, 7, 10, 1, 4, 10];
const FINAL: [u8; 4] = [0xA3, 7, 10, 0];

fn message(octets: &'static [u8]) -> Content {
    Content::Asynchronous { message: Bytes::from_static(octets) }
}

/// Covers: AS-V1-02, AS-V1-10
#[tokio::test]
async fn the_resume_message_leaves_at_its_time_and_is_repeated_three_times() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441140001", Bearer::Sms).await;
    let mut action = centre.action(card, Bearer::Sms, message(&RESUME));
    action.due = centre.now().plus(Duration::from_secs(120));
    centre.commit(std::slice::from_ref(&action)).await;
    let mut janitor = centre.janitor();
    let mut before = 119;
    for (attempt, expected) in [(1, 120), (2, 240), (3, 480), (4, 480)] {
        centre.clock.advance(Duration::from_secs(before));
        assert_eq!(janitor.tick().await.unwrap(), 0, "a second before its time");
        nothing(&mut centre.sms);
        centre.clock.advance(Duration::from_secs(1));
        let due = centre.now();
        assert_eq!(janitor.tick().await.unwrap(), 1);
        let launch = next(&mut centre.sms).await;
        assert_eq!((launch.payload.as_ref(), launch.registered_delivery), (RESUME.as_slice(), false));
        let sent = centre.until(&action, |row| row.attempts == attempt && row.launched.is_some()).await;
        assert_eq!((sent.state, sent.due.since(due).as_secs()), (State::Sent, expected));
        before = expected - 1;
        // The janitor does not look at what may be in the queue still.
        centre.until_queue_is_empty().await;
    }
    centre.clock.advance(Duration::from_secs(before + 1));
    assert_eq!(janitor.tick().await.unwrap(), 1);
    centre.until(&action, |row| row.state == State::Waiting).await;
    nothing(&mut centre.sms);
}

#[tokio::test]
async fn the_end_is_done_when_it_has_left_and_is_not_repeated() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441140002", Bearer::Ip).await;
    let action = centre.action(card, Bearer::Ip, message(&FINAL));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    assert_eq!(next(&mut centre.ip).await.payload.as_ref(), FINAL);
    let row = centre.until(&action, |row| row.state == State::Done).await;
    assert_eq!(row.attempts, 1);
    centre.clock.advance(Duration::from_secs(86_400));
    assert_eq!(centre.janitor().tick().await.unwrap(), 0);
    nothing(&mut centre.ip);
}

#[tokio::test]
async fn a_countdown_holds_up_no_restore_and_waits_for_none() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441140003", Bearer::Sms).await;
    let mut counting = centre.action(card, Bearer::Sms, message(&RESUME));
    counting.due = centre.now().plus(Duration::from_secs(120));
    let first = centre.action(card, Bearer::Sms, restore(1));
    centre.commit(&[counting, first.clone()]).await;
    centre.push(std::slice::from_ref(&first)).await;
    assert_eq!(next(&mut centre.sms).await.payload[0], 0x18);
    centre.until(&first, |row| row.state == State::Sent && row.launched.is_some()).await;
    centre.until_queue_is_empty().await;
    centre.clock.advance(Duration::from_secs(121));
    assert_eq!(centre.janitor().tick().await.unwrap(), 1, "the restore waits for its answer still");
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), RESUME);
}

/// One that is due again shortly after it was launched is queued again, although it was just queued.
#[tokio::test]
async fn a_short_delay_is_kept() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441140004", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, message(&RESUME));
    centre.clock.advance(Duration::from_secs(1));
    centre.commit(std::slice::from_ref(&action)).await;
    let mut janitor = centre.janitor();
    for _ in 0..3 {
        assert_eq!(janitor.tick().await.unwrap(), 1);
        assert_eq!(next(&mut centre.sms).await.payload.as_ref(), RESUME);
        centre.until(&action, |row| row.launched.is_some()).await;
        centre.until_queue_is_empty().await;
        // The next blocks came: as `inbound-data` writes it.
        let due = centre.now().plus(Duration::from_secs(2));
        centre
            .answer(&action, |row| {
                row.state = State::Queued;
                row.launched = None;
            })
            .await;
        assert!(due > centre.row(&action).await.due);
        centre.clock.advance(Duration::from_secs(2));
    }
}
