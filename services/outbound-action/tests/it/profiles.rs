//! Messages to cards of the first and third embodiment: their layouts, and who says that they arrived.

use domain::{
    delivery::{Acknowledgement, Content, Progress, Request, State},
    phonebook::{Bearer, Profile},
};

use crate::centre::{Centre, config, configuration, next, nothing, restore};

const E1: Profile = Profile::E1;
const E3: Profile = Profile::E3;

fn results(profile: Profile, records: &[[u8; 3]]) -> Content {
    Content::BackupAcknowledgement(Acknowledgement { profile, records: records.concat().into() })
}

fn control(request: Request) -> Content {
    Content::Control { request, progress: Progress::Open }
}

/// Covers: SC-E1-04
#[tokio::test]
async fn results_are_combined_in_the_layout_of_the_card() {
    let mut centre = Centre::start(config()).await;
    let first = centre.card_of(E1, "441130001", Bearer::Sms).await;
    let third = centre.card_of(E3, "441130002", Bearer::Ip).await;
    let mut actions = vec![
        centre.action(first, Bearer::Sms, results(E1, &[[0, 1, 0], [0, 2, 0], [0, 3, 2]])),
        centre.action(first, Bearer::Sms, results(E1, &[[0, 4, 0]])),
    ];
    actions.extend((0..3).map(|_| centre.action(third, Bearer::Ip, results(E3, &[[0, 0, 0]]))));
    centre.commit_and_push(&actions).await;
    let message = next(&mut centre.sms).await;
    assert_eq!(message.payload.as_ref(), [3, 1, 0, 2, 0, 3, 2, 4, 0]);
    assert_eq!((message.protocol_id, message.data_coding), (0x00, 0xF6), "into EF_SMS (D-59)");
    assert!(!message.registered_delivery);
    for _ in 0..3 {
        assert_eq!(next(&mut centre.ip).await.payload.as_ref(), [0x85, 1, 1, 0], "it does not say which it answers");
    }
    for action in &actions {
        centre.until_left(action).await;
    }
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
    nothing(&mut centre.ip);
}

/// What the queue has lost comes back from the row in the card's layout.
#[tokio::test]
async fn the_janitor_knows_the_profile_of_an_acknowledgement() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card_of(E1, "441130003", Bearer::Sms).await;
    let action = centre.action(card, Bearer::Sms, results(E1, &[[0, 9, 0]]));
    centre.commit(std::slice::from_ref(&action)).await;
    centre.clock.advance(std::time::Duration::from_secs(60));
    centre.janitor().tick().await.unwrap();
    assert_eq!(next(&mut centre.sms).await.payload.as_ref(), [3, 9, 0, 0, 0, 0, 0, 0, 0]);
    centre.until_left(&action).await;
}

#[tokio::test]
async fn a_restore_waits_for_the_networks_word_on_each_message() {
    let mut centre = Centre::start(config()).await;
    for (digits, bearer) in [("441130004", Bearer::Sms), ("441130005", Bearer::Ip)] {
        let card = centre.card_of(E1, digits, bearer).await;
        let action = centre.action(card, bearer, restore(6));
        centre.commit_and_push(std::slice::from_ref(&action)).await;
        for expected in [[1, 2, 3, 4], [5, 6, 0, 0]] {
            let launches = if bearer == Bearer::Sms { &mut centre.sms } else { &mut centre.ip };
            let message = next(launches).await;
            let numbers = [1, 30, 59, 88].map(|at| message.payload[at]);
            assert_eq!((message.payload.len(), numbers), (119, expected));
            assert!(message.registered_delivery, "nothing else tells that it arrived (D-111)");
            assert_eq!(message.protocol_id, 0);
            let sent = centre.until(&action, |row| row.launched.is_some()).await;
            assert_eq!(sent.state, State::Sent);
            centre.until_queue_is_empty().await;
            centre.answer(&action, crate::centre::in_flight_done).await;
            centre.push(std::slice::from_ref(&action)).await;
        }
        assert_eq!(centre.row(&action).await.state, State::Done);
    }
}

#[tokio::test]
async fn a_card_is_told_in_its_own_words_and_what_it_has_no_words_for_fails() {
    let mut centre = Centre::start(config()).await;
    let first = centre.card_of(E1, "441130006", Bearer::Sms).await;
    let third = centre.card_of(E3, "441130007", Bearer::Sms).await;
    for (card, request, octets) in
        [(first, Request::Resynchronise, [0x06].as_slice()), (third, Request::Resynchronise, &[0x83, 1, 2])]
    {
        let action = centre.action(card, Bearer::Sms, control(request));
        centre.commit_and_push(std::slice::from_ref(&action)).await;
        let message = next(&mut centre.sms).await;
        assert_eq!(message.payload.as_ref(), octets);
        assert!(message.registered_delivery);
        centre.until(&action, |row| row.launched.is_some()).await;
        centre.answer(&action, |row| row.state = State::Done).await;
    }
    let action = centre.action(first, Bearer::Sms, configuration(0x0C, &[5]));
    centre.commit_and_push(std::slice::from_ref(&action)).await;
    let failed = centre.until(&action, |row| row.state == State::Failed).await;
    assert_eq!(failed.content.progresses().next(), Some(Progress::Failed(0x0C)));
    nothing(&mut centre.sms);
}
