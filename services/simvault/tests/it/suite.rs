//! Backup and restore over either bearer: one suite, each scenario a function of the bearer (G-06, S2-OV-04).

use std::sync::Arc;

use loadtest::fleet::Phone;
use mobile::{Bearer, Input};
use proto::centre::{MonitorRows, RecordList, RecordRange, restore_request::Selection};
use uicc::files::EF_ADN;

use crate::rig::{Rig, card, card_settings, delete, held, msisdn, new_account, row, until, write, write_long};

async fn suite(bearer: Bearer) {
    let rig = Rig::start().await;
    tokio::join!(
        an_edit_is_backed_up_by_itself(&rig, 200, bearer),
        a_hundred_entries_travel_in_a_series(&rig, 201, bearer),
        back_and_forth_ends_where_the_card_ends(&rig, 202, bearer),
        a_lost_card_is_restored(&rig, 203, bearer),
        chosen_parts_and_a_deleted_entry_are_restored(&rig, 204, bearer),
        the_menu_asks_for_a_restore(&rig, 205, bearer),
    );
    rig.stop().await;
}

/// Covers: G-01, G-02, G-04, G-07, S2-AK-01, S2-RR-01, SC-AC-04, SC-RS-02
#[tokio::test]
async fn backup_and_restore_by_sms() {
    suite(Bearer::Sms).await;
}

/// Covers: G-06, G-07, S2-AK-01, S2-OV-04
#[tokio::test]
async fn backup_and_restore_by_ip() {
    suite(Bearer::Ip).await;
}

/// Messages of the card, and of the centre that the phone received, by this bearer and by the other.
fn carried(phone: &Phone, bearer: Bearer) -> [(u64, u64); 2] {
    let statistics = phone.with(|station| station.statistics());
    let sms = (statistics.sms_sent, statistics.sms_received);
    let ip = (statistics.ip_sent, statistics.ip_received);
    if bearer == Bearer::Sms { [sms, ip] } else { [ip, sms] }
}

async fn an_edit_is_backed_up_by_itself(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = rig.phone(number, bearer).await;
    write(&phone, 7, "Alice");
    rig.settled(&phone).await;
    let octets = phone.with(|station| station.read_record(EF_ADN, 7)).expect("record");
    let book = rig.book(&msisdn(number)).await;
    assert_eq!(book.into_iter().collect::<Vec<_>>(), [((0x7F10, 0x6F3A, 7), octets)]);
    // Nobody asked for anything: the only action is the centre's answer to the card.
    let actions = rig.actions(&msisdn(number), false).await;
    assert!(actions.iter().all(|action| action.r#type == "backup_acknowledgement"), "{actions:?}");
    // The answer went through the inbound buffer of the card and was understood.
    let statistics = phone.with(|station| station.statistics());
    assert_eq!((statistics.records_backed_up, statistics.records_given_up), (1, 0));
    let [(sent, received), other] = carried(&phone, bearer);
    assert!(sent > 0 && received > 0);
    assert_eq!(other, (0, 0), "nothing goes by the other bearer");
}

async fn a_hundred_entries_travel_in_a_series(rig: &Rig, number: u32, bearer: Bearer) {
    let mut account = new_account(number, bearer);
    account.personalised = true;
    account.monitor = vec![row(0, EF_ADN, 100, 28)];
    rig.subscribe(account).await;
    let settings = mobile::StationConfig { adn_records: 100, ..card_settings(bearer) };
    let phone = rig.switch_on(number, mobile::Station::new(settings));
    for record in 1..=100 {
        write(&phone, record, &format!("Name {record}"));
    }
    rig.settled(&phone).await;
    assert_eq!(rig.book(&msisdn(number)).await.len(), 100);
    let [(sent, _), _] = carried(&phone, bearer);
    // Four records of 28 octets fill a short message.
    assert!(sent >= if bearer == Bearer::Sms { 25 } else { 1 }, "{sent} messages");
}

async fn back_and_forth_ends_where_the_card_ends(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = rig.phone(number, bearer).await;
    for name in ["A", "B", "A"] {
        write(&phone, 1, name);
        // Some of the edits meet a message on its way, some an unsent one.
        let seen = phone.with(|station| station.statistics());
        if name == "B" {
            until("something was sent", async || phone.with(|station| station.statistics()) != seen).await;
        }
    }
    write_long(&phone, 2, "A");
    write(&phone, 2, "B");
    write_long(&phone, 2, "A");
    rig.settled(&phone).await;
    let book = rig.book(&msisdn(number)).await;
    assert_eq!(book.get(&(0x7F10, 0x6F3A, 1)).map(|octets| octets[0]), Some(b'A'));
}

/// The files of the new card are what the book of the lost one was, and the restore is never echoed.
async fn a_lost_card_is_restored(rig: &Rig, number: u32, bearer: Bearer) {
    let old = rig.phone(number, bearer).await;
    for record in 1..=9 {
        write(&old, record, &format!("Person {record}"));
    }
    write_long(&old, 12, "Far away");
    rig.settled(&old).await;
    let old_book = rig.book(&msisdn(number)).await;
    assert_eq!(old_book.len(), 11, "one of them in EF_EXT1");
    let before = rig.account(&old).await;
    let new = rig.replace(number, bearer).await;
    assert!(held(&new).is_empty());
    let after = rig.account(&new).await;
    assert_eq!((&after.msisdn, &after.name), (&before.msisdn, &before.name), "the same user");
    let closed = |account: &proto::centre::Account| {
        account.devices.iter().filter(|device| device.closed_micros != 0).map(|device| device.device_id).collect()
    };
    let lost: Vec<i64> = closed(&after);
    assert_eq!((closed(&before), &lost), (Vec::new(), &vec![before.devices[0].device_id]), "a new device");
    let action = rig.restore(&new, 0, Selection::All(true)).await;
    assert_eq!((action.state.as_str(), action.records_open, action.records_failed), ("done", 0, 0));
    assert!(!lost.contains(&action.device_id));
    assert_eq!(held(&new), old_book);
    rig.settled(&new).await;
    assert_eq!(rig.book(&msisdn(number)).await, old_book);
    no_echo(rig, &new, bearer).await;
    // Life goes on.
    write(&new, 30, "New");
    rig.settled(&new).await;
}

/// The card did not send back what the centre wrote, and the centre wrote nothing as a backup.
async fn no_echo(rig: &Rig, phone: &Arc<Phone>, bearer: Bearer) {
    assert_eq!(phone.with(|station| station.statistics()).records_backed_up, 0);
    assert!(rig.history(phone).await.iter().all(|entry| entry.source == "restore"));
    let [(_, received), other] = carried(phone, bearer);
    // Four records of 28 octets in a short message, all of it in one over IP.
    assert!(received >= if bearer == Bearer::Sms { 3 } else { 1 }, "{received} messages");
    assert_eq!(other, (0, 0));
}

async fn chosen_parts_and_a_deleted_entry_are_restored(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = rig.phone(number, bearer).await;
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
        assert_eq!(rig.book(&msisdn(number)).await, expected);
    }
    // All of it: the deleted entry is back.
    assert_eq!(rig.restore(&phone, moment, Selection::All(true)).await.state, "done");
    assert_eq!(held(&phone), before);
    rig.settled(&phone).await;
}

async fn the_menu_asks_for_a_restore(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = rig.phone(number, bearer).await;
    for record in 1..=6 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    let expected = held(&phone);
    let asked = if bearer == Bearer::Sms {
        // A card like the old one, but blank, that nobody told the centre about.
        rig.switch_on(number, card(bearer))
    } else {
        // The counters of the link are in the card (D-114), so by IP it is the same one.
        phone
    };
    asked.with(|station| station.handle_input(Input::MenuSelection(1), std::time::Duration::ZERO));
    until("the restore is over", async || {
        let actions = rig.actions(&msisdn(number), false).await;
        actions.iter().any(|action| action.r#type == "restore" && action.state == "done")
    })
    .await;
    assert_eq!(held(&asked), expected);
    assert_eq!(asked.with(|station| station.statistics()).records_restored, 6);
    rig.settled(&asked).await;
}
