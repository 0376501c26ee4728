//! From the book to the card.

use loadtest::smsc::Number;
use mobile::Bearer;
use proto::centre::{RestoreRequest, restore_request::Selection};

use crate::{
    logs,
    rig::{Rig, card, held, msisdn, until, write},
};

/// D-112.
#[tokio::test]
async fn a_blank_card_in_a_new_phone_never_empties_the_book() {
    let rig = Rig::with(1, |config| {
        config.inbound_data.grace_status_events = 1;
        config.inbound_data.resynchronisation_spacing = std::time::Duration::ZERO;
        config.inbound_data.sweep_interval = std::time::Duration::from_millis(200);
    })
    .await;
    let phone = rig.phone(24, Bearer::Sms).await;
    for record in 1..=20 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let mut expected = rig.book(&msisdn(24)).await;
    let blank = rig.switch_on(24, card(Bearer::Sms));
    write(&blank, 25, "New card");
    until("the difference was looked into and waits for a person", async || {
        let account = rig.account(&blank).await;
        account.devices.first().is_some_and(|device| device.held)
    })
    .await;
    expected.extend(held(&blank));
    assert_eq!(rig.book(&msisdn(24)).await, expected, "the old book and the new entry");
    assert_eq!(held(&blank).len(), 1, "and nothing is written to the card unasked");
    // The subscriber decides: restore.
    assert_eq!(rig.restore(&blank, 0, Selection::All(true)).await.state, "done");
    assert_eq!(held(&blank), expected);
    rig.stop().await;
}

/// Customer service, application server, outbound actions table, outbound processor, launcher, mobile, acknowledgement,
/// flag cleared: each is there once, in this order.
///
/// Covers: SC-RS-01
#[tokio::test]
async fn the_trace_of_a_restore_shows_each_hop_once() {
    let rig = Rig::start().await;
    // A number whose masked form no other test has.
    let digits = msisdn(9_999_925);
    let phone = rig.phone(9_999_925, Bearer::Sms).await;
    for record in 1..=3 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let number = Number::new(digits.as_bytes()).expect("number");
    rig.smsc.set_reachable(number, false).await;
    // Customer service calls the application server, which keeps who asked.
    let all = Some(Selection::All(true));
    let request = RestoreRequest { msisdn: digits.clone(), selection: all, ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("simvault-user", "anna".parse().expect("ASCII"));
    let reference = rig.commands.clone().restore(request).await.expect("restore").into_inner();
    let asked = "SELECT count(*) FROM audit WHERE who = 'anna' AND what LIKE '%restore%'";
    assert_eq!(rig.database().query_one(asked, [], |row| row.get(0)), Ok(1), "one call");
    // While the phone is off the action is in the table, launched, and its acknowledgement pending.
    let restores = async || {
        let mut actions = rig.actions(&digits, false).await;
        actions.retain(|action| action.r#type == "restore");
        assert_eq!((actions.len(), actions[0].action_id), (1, reference.action_id), "one row");
        actions.remove(0)
    };
    until("the acknowledgement is pending", async || restores().await.acknowledgement_pending).await;
    let received = phone.with(|station| station.statistics()).sms_received;
    rig.smsc.set_reachable(number, true).await;
    let action = rig.ended(&phone, reference.action_id).await;
    assert_eq!((action.state.as_str(), action.acknowledgement_pending), ("done", false), "the flag is cleared");
    // The mobile: one restore came, and one acknowledgement left.
    let restore = rig.delivered(&digits).iter().filter(|message| message.payload[0] & 0xF8 == 0x18).count();
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((restore, statistics.sms_received - received, statistics.records_restored), (1, 1, 3));

    let id = format!("action={}", action.action_id);
    let written = logs::lines(&["action written", &id]);
    assert_eq!(written.len(), 1, "application server, outbound actions table");
    let trace = logs::hexadecimal_after(&written[0], "traces=");
    assert_eq!(trace.len(), 32);
    let hops = ["action written", "message launched", "submitted", "the card's answer moved an action"];
    for hop in hops {
        assert_eq!(logs::lines(&[hop, &trace]).len(), 1, "{hop}");
    }
    let all = logs::lines(&[&trace]);
    assert_eq!(all.len(), hops.len(), "nothing else has this trace: {all:#?}");
    let order: Vec<_> = hops.iter().map(|hop| all.iter().position(|line| line.contains(hop))).collect();
    // The launcher's answer is on its way while the launcher writes its line.
    assert!(order[0] < order[1] && order[0] < order[2] && order[1] < order[3] && order[2] < order[3], "{all:#?}");
    rig.stop().await;
}
