//! Backup acknowledgements: combined, launched, done.

use domain::phonebook::Bearer;

use crate::centre::{Centre, acknowledgement, config, next, nothing};

/// Covers: SC-OD-06
#[tokio::test]
async fn five_acknowledgements_of_a_card_within_the_window_leave_as_one_message() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441110001", Bearer::Sms).await;
    let other = centre.card("441110002", Bearer::Sms).await;
    let mut actions: Vec<_> =
        (1..=5).map(|record| centre.action(card, Bearer::Sms, acknowledgement(&[[0, record, 0]]))).collect();
    actions.push(centre.action(other, Bearer::Sms, acknowledgement(&[[0, 9, 2]])));
    centre.commit_and_push(&actions).await;

    let (first, second) = (next(&mut centre.sms).await, next(&mut centre.sms).await);
    let (combined, single) = if first.msisdn == "441110001" { (first, second) } else { (second, first) };
    assert_eq!(combined.payload.as_ref(), [0x10, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0]);
    assert_eq!(combined.trace_ids.len(), 5, "it carries the traces of all that it answers");
    assert_eq!(single.payload.as_ref(), [0x10, 0, 9, 2], "another card's is not mixed in");
    assert_eq!((combined.protocol_id, combined.data_coding, combined.registered_delivery), (0x7F, 0xF6, false));
    for action in &actions {
        centre.until_left(action).await;
    }
    centre.until_queue_is_empty().await;
    nothing(&mut centre.sms);
    nothing(&mut centre.ip);
}

#[tokio::test]
async fn a_full_message_leaves_at_once_and_the_rest_follows() {
    let mut centre = Centre::start(config()).await;
    let card = centre.card("441110003", Bearer::Sms).await;
    let records: Vec<[u8; 3]> = (1..=30).map(|record| [0, record, 0]).collect();
    let actions: Vec<_> = (0..2).map(|_| centre.action(card, Bearer::Sms, acknowledgement(&records))).collect();
    centre.commit_and_push(&actions).await;
    for _ in 0..2 {
        assert_eq!(next(&mut centre.sms).await.payload.len(), 1 + 30 * 3);
    }
    centre.until_queue_is_empty().await;
}

/// Covers: SC-AR-09
#[tokio::test]
async fn each_channel_has_its_own_stack() {
    let mut centre = Centre::start(config()).await;
    let (sms, ip) = (centre.card("441110004", Bearer::Sms).await, centre.card("441110005", Bearer::Ip).await);
    let mut actions = Vec::new();
    for record in 1..=20 {
        actions.push(centre.action(sms, Bearer::Sms, acknowledgement(&[[0, record, 0]])));
        actions.push(centre.action(ip, Bearer::Ip, acknowledgement(&[[0, record, 0]])));
        actions.push(centre.action(ip, Bearer::Ip, crate::centre::configuration(0x0C, &[5])));
    }
    centre.commit_and_push(&actions).await;
    for action in actions.iter().filter(|action| !action.content.is_ordered()) {
        centre.until_left(action).await;
    }
    centre.until_queue_is_empty().await;
    let (mut by_sms, mut by_ip) = (0, 0);
    while let Ok(message) = centre.sms.try_recv() {
        assert_eq!(message.msisdn, "441110004");
        by_sms += 1;
    }
    while let Ok(message) = centre.ip.try_recv() {
        assert_eq!(message.msisdn, "441110005");
        by_ip += 1;
    }
    assert!(by_sms >= 1 && by_ip >= 2);
}
