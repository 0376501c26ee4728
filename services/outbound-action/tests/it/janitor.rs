//! The janitor where much more is due than one of its rounds takes.

use std::time::Duration;

use domain::{
    delivery::{Action, State},
    phonebook::Bearer,
};

use crate::centre::{Centre, acknowledgement, config, configuration, next, restore};

/// Cards that are off: one configuration of each is sent and not due for long, a second one waits for its turn.
async fn cards_off(centre: &Centre, count: usize) {
    for card in 0..count {
        let card = centre.card(&format!("4412{card:05}"), Bearer::Sms).await;
        let mut sent = centre.action(card, Bearer::Sms, configuration(0x0C, &[5]));
        (sent.state, sent.due) = (State::Sent, centre.now().plus(Duration::from_secs(1_000_000)));
        centre.commit(&[sent, centre.action(card, Bearer::Sms, configuration(0x0C, &[6]))]).await;
    }
}

/// Covers: SC-ID-13, SC-OD-10
#[tokio::test]
async fn a_campaign_of_cards_that_are_off_hides_nothing_that_is_due() {
    let mut centre = Centre::start(outbound_action::Config { janitor_actions_max: 4, ..config() }).await;
    // More than a round looks at.
    cards_off(&centre, 210).await;
    centre.clock.advance(Duration::from_secs(60));
    let card = centre.card("441130001", Bearer::Sms).await;
    let mut overdue = centre.action(card, Bearer::Sms, restore(1));
    (overdue.state, overdue.attempts) = (State::Sent, 1);
    let other = centre.card("441130002", Bearer::Sms).await;
    centre.commit(&[overdue, centre.action(other, Bearer::Sms, acknowledgement(&[[0, 1, 0]]))]).await;
    centre.clock.advance(Duration::from_secs(1));
    let mut janitor = centre.janitor();
    assert_eq!(janitor.tick().await.unwrap(), 0, "a round has a limit");
    assert_eq!(janitor.tick().await.unwrap(), 2, "the next one goes on behind it");
    let mut seen = [next(&mut centre.sms).await.msisdn, next(&mut centre.sms).await.msisdn];
    seen.sort();
    assert_eq!(seen, ["441130001", "441130002"]);
}

/// Covers: SC-AR-09
#[tokio::test]
async fn a_backlog_of_short_messages_does_not_hold_up_ip() {
    let mut centre = Centre::start(outbound_action::Config { janitor_actions_max: 4, ..config() }).await;
    let card = centre.card("441130010", Bearer::Sms).await;
    let backlog: Vec<Action> =
        (1..=150).map(|record| centre.action(card, Bearer::Sms, acknowledgement(&[[0, record, 0]]))).collect();
    centre.commit(&backlog).await;
    centre.clock.advance(Duration::from_secs(60));
    let card = centre.card("441130011", Bearer::Ip).await;
    centre.commit(&[centre.action(card, Bearer::Ip, restore(1))]).await;
    centre.clock.advance(Duration::from_secs(1));
    assert_eq!(centre.janitor().tick().await.unwrap(), 5, "four by SMS, one by IP");
    assert_eq!(next(&mut centre.ip).await.msisdn, "441130011");
}

#[tokio::test]
async fn what_the_queue_lost_is_queued_again_page_by_page() {
    let clock = runtime::clock::Manual::at(1_800_000_000_000_000);
    // Told to stop at once, it takes nothing out of the queue: what was queued stays due, and what is behind is found.
    let stopped = tokio_util::sync::CancellationToken::new();
    stopped.cancel();
    let config = outbound_action::Config { janitor_actions_max: 4, ..config() };
    let queue = queue::memory::MemoryQueue::with(1000, clock.clock());
    let centre = Centre::on(config, queue, clock, stopped);
    let card = centre.card("441130020", Bearer::Sms).await;
    let lost: Vec<Action> =
        (1..=10).map(|record| centre.action(card, Bearer::Sms, acknowledgement(&[[0, record, 0]]))).collect();
    centre.commit(&lost).await;
    centre.clock.advance(Duration::from_secs(1));
    let mut janitor = centre.janitor();
    let mut queued = Vec::new();
    for _ in 0..4 {
        queued.push(janitor.tick().await.unwrap());
    }
    assert_eq!(queued, [4, 4, 2, 0]);
}

#[tokio::test]
async fn a_damaged_row_does_not_stop_the_janitor() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441130030", Bearer::Sms).await;
    let actions = [1, 2].map(|record| centre.action(card, Bearer::Sms, acknowledgement(&[[0, record, 0]])));
    centre.commit(&actions).await;
    centre.sql(&format!("UPDATE outbound_action SET content = x'0102ff' WHERE id = {}", actions[0].id.0));
    centre.clock.advance(Duration::from_secs(1));
    let mut janitor = centre.janitor();
    assert_eq!(janitor.tick().await.unwrap(), 1);
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [0x10, 0, 2, 0]);
    centre.until_left(&actions[1]).await;
    assert_eq!(janitor.tick().await.unwrap(), 0, "it has failed and does not come back");
}
