//! From the book to the card.

use mobile::{Bearer, Input};
use proto::centre::{MonitorRows, RecordList, RecordRange, restore_request::Selection};

use crate::{
    logs,
    rig::{Rig, card, delete, held, msisdn, until, write, write_long},
};

/// Covers: G-06, G-07, S2-OV-04
#[tokio::test]
async fn a_lost_card_is_restored_and_the_restore_is_never_echoed() {
    let rig = Rig::start().await;
    for (number, bearer) in [(20, Bearer::Sms), (21, Bearer::Ip)] {
        let old = rig.phone(number, bearer).await;
        for record in 1..=9 {
            write(&old, record, &format!("Person {record}"));
        }
        write_long(&old, 12, "Far away");
        rig.settled(&old).await;
        let expected = held(&old);
        assert_eq!(expected.len(), 11, "one of them in EF_EXT1");
        let new = rig.replace(number, bearer).await;
        assert!(held(&new).is_empty());
        let action = rig.restore(&new, 0, Selection::All(true)).await;
        assert_eq!((action.state.as_str(), action.records_open, action.records_failed), ("done", 0, 0));
        assert_eq!(held(&new), expected);
        rig.settled(&new).await;
        assert_eq!(rig.book(&msisdn(number)).await, expected);
        // The card did not send back what the centre wrote, and the centre wrote nothing as a backup.
        let statistics = new.with(|station| station.statistics());
        assert_eq!(statistics.records_backed_up, 0);
        assert!(rig.history(&new).await.iter().all(|entry| entry.source == "restore"));
        let carried = if bearer == Bearer::Sms { statistics.sms_received } else { statistics.ip_received };
        // Four records of 28 octets in a short message, all of it in one over IP.
        assert!(carried >= if bearer == Bearer::Sms { 3 } else { 1 }, "{carried} messages");
        // Life goes on.
        write(&new, 30, "New");
        rig.settled(&new).await;
    }
    rig.stop().await;
}

/// Covers: SC-RS-02
#[tokio::test]
async fn all_a_range_chosen_records_chosen_rows_and_a_deleted_entry() {
    let rig = Rig::start().await;
    let phone = rig.phone(22, Bearer::Sms).await;
    for record in 1..=8 {
        write(&phone, record, &format!("Before {record}"));
    }
    write_long(&phone, 9, "Before");
    rig.settled(&phone).await;
    let before = held(&phone);
    let moment = runtime::clock::now();
    for record in 1..=8 {
        write(&phone, record, &format!("After {record}"));
    }
    delete(&phone, 9);
    rig.settled(&phone).await;
    let mut expected = held(&phone);
    assert_eq!(expected.len(), 8);
    let adn = |record: u32| (0x7F10, 0x6F3A, record);
    let ext1 = (0x7F10, 0x6F4A, 1);
    assert!(before.contains_key(&ext1));
    let range = Selection::Range(RecordRange { monitor_index: 0, first: 2, last: 3 });
    let chosen = Selection::Records(RecordList { monitor_index: 0, records: vec![5, 7] });
    let rows = Selection::Rows(MonitorRows { indexes: vec![1] });
    let parts = [(range, vec![adn(2), adn(3)]), (chosen, vec![adn(5), adn(7)]), (rows, vec![ext1])];
    for (selection, keys) in parts {
        assert_eq!(rig.restore(&phone, moment, selection).await.state, "done");
        expected.extend(keys.into_iter().map(|key| (key, before[&key].clone())));
        assert_eq!(held(&phone), expected);
        assert_eq!(rig.book(&msisdn(22)).await, expected);
    }
    // All of it: the deleted entry is back.
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(&phone), before);
    rig.settled(&phone).await;
    rig.stop().await;
}

/// Covers: S2-RR-01
#[tokio::test]
async fn the_handset_s_menu_asks_for_a_restore() {
    let rig = Rig::start().await;
    let phone = rig.phone(23, Bearer::Sms).await;
    for record in 1..=6 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let expected = held(&phone);
    // A card like the old one, but blank, that nobody told the centre about.
    let blank = rig.switch_on(23, card(Bearer::Sms));
    blank.with(|station| station.handle_input(Input::MenuSelection(1), std::time::Duration::ZERO));
    until("the restore is over", async || {
        let actions = rig.actions(&msisdn(23), false).await;
        actions.iter().any(|action| action.r#type == "restore" && action.state == "done")
    })
    .await;
    assert_eq!(held(&blank), expected);
    assert_eq!(blank.with(|station| station.statistics()).records_restored, 6);
    rig.settled(&blank).await;
    rig.stop().await;
}

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

/// Covers: SC-RS-01
#[tokio::test]
async fn the_trace_of_a_restore_shows_each_hop_once() {
    let rig = Rig::start().await;
    let phone = rig.phone(25, Bearer::Sms).await;
    for record in 1..=3 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let action = rig.restore(&phone, 0, Selection::All(true)).await;
    assert_eq!((action.state.as_str(), action.acknowledgement_pending), ("done", false));
    let id = format!("action={}", action.action_id);
    let written = logs::lines(&["action written", &id]);
    assert_eq!(written.len(), 1, "customer service, application server, outbound actions table");
    let trace = logs::hexadecimal_after(&written[0], "traces=");
    assert_eq!(trace.len(), 32);
    let hops = ["action written", "message launched", "submitted", "the card's answer moved an action"];
    for hop in hops {
        assert_eq!(logs::lines(&[hop, &trace]).len(), 1, "{hop}");
    }
    let all = logs::lines(&[&trace]);
    let order: Vec<_> = hops.iter().map(|hop| all.iter().position(|line| line.contains(hop))).collect();
    assert!(order[0] < order[1] && order[0] < order[2] && order[2] < order[3], "{all:#?}");
    rig.stop().await;
}
