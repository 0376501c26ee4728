//! Every type of message, from both sides, and every result.

use std::time::Duration;

use bytes::Bytes;
use link::{configuration::Item, message::Message, record::Record};
use loadtest::smsc::{MobileTerminated, Number};
use mobile::{Bearer, Input};
use proto::centre::{self, restore_request::Selection};
use uicc::files::EF_ADN;

use crate::rig::{CENTRE, Rig, held, msisdn, until, write};

async fn done(rig: &Rig, number: &str, kind: &str) -> usize {
    let actions = rig.actions(number, false).await;
    actions.iter().filter(|action| action.r#type == kind && action.state == "done").count()
}

/// Covers: S2-OV-01, S2-ER-01
#[tokio::test]
async fn every_type_of_message_is_produced_and_consumed() {
    let rig = Rig::start().await;
    let phone = rig.phone(60, Bearer::Sms).await;
    let number = msisdn(60);
    let statistics = || phone.with(|station| station.statistics());
    // Backup, backup acknowledgement.
    for record in 1..=3 {
        write(&phone, record, &format!("Person {record}"));
    }
    rig.settled(&phone).await;
    assert_eq!(statistics().records_backed_up, 3);
    // The user asks the centre: restore, restore acknowledgement.
    assert_eq!(rig.restore(&phone, 0, Selection::All(true)).await.state, "done");
    // The card asks: restore request.
    phone.with(|station| station.handle_input(Input::MenuSelection(1), Duration::ZERO));
    until("the card's own restore is done", async || done(&rig, &number, "restore").await == 2).await;
    // The operator: configuration, configuration acknowledgement.
    assert_eq!(rig.configure(&phone, &[Item::RetryPreset(3)]).await.state, "done");
    assert_eq!(phone.with(|station| station.eeprom().configuration.retry_preset), 3);
    // Addressable restore: two octets of the second record.
    let records = vec![centre::AddressedRecord {
        df: EF_ADN.df.into(),
        ef: EF_ADN.ef.into(),
        record_number: 2,
        data_offset: 0,
        data: b"XY".to_vec().into(),
    }];
    let request = centre::AddressableRestoreRequest { msisdn: number.clone(), records };
    let reference = rig.commands.clone().addressable_restore(request).await.expect("ordered").into_inner();
    assert_eq!(rig.ended(&phone, reference.action_id).await.state, "done");
    let name = phone.with(|station| station.read_record(EF_ADN, 2)).expect("record");
    assert_eq!(&name[..6], b"XYrson");
    // Error: what the card does not understand, it says so, and the centre's error analysis has it.
    inject(&rig, &number, vec![0x18, 0x77, 0x01, 0x02]).await;
    until("the error reaches the centre", async || !rig.notices(&number, "card-error").await.is_empty()).await;
    rig.settled(&phone).await;
    rig.stop().await;
}

/// A message in the centre's name that the centre did not send.
async fn inject(rig: &Rig, number: &str, payload: Vec<u8>) {
    let message = MobileTerminated {
        message_id: 0,
        msisdn: Number::new(number.as_bytes()).expect("number"),
        originator: Number::new(CENTRE.as_bytes()).expect("number"),
        protocol_id: 0x7F,
        data_coding: 0xF6,
        user_data_header: false,
        payload: payload.into(),
    };
    rig.inject.send(message).await.expect("running");
}

/// Covers: S2-AK-02
#[tokio::test]
async fn the_card_sorts_what_arrives_by_its_type() {
    let rig = Rig::start().await;
    let (number, phone) = (msisdn(64), rig.phone(64, Bearer::Sms).await);
    let record = |record_number, first| {
        let data = Bytes::from([[first; 1].as_slice(), &[0xFF; 27]].concat());
        Record { monitor_index: 0, record_number, data }
    };
    let read = |record| phone.with(|station| station.read_record(EF_ADN, record)).expect("record")[0];
    let mut restore = link::restore::Builder::new(140);
    restore.push(&record(1, b'R')).expect("fits");
    inject(&rig, &number, restore.finish()).await;
    until("a restore is written", async || read(1) == b'R').await;
    let records = vec![link::addressable::AddressedRecord {
        df: EF_ADN.df,
        ef: EF_ADN.ef,
        record_number: 2,
        data_offset: 0,
        data: Bytes::from_static(b"A"),
    }];
    inject(&rig, &number, Message::AddressableRestore { records }.encode()).await;
    until("an addressable restore is written", async || read(2) == b'A').await;
    let items = vec![Item::RetryPreset(2).encode()];
    inject(&rig, &number, Message::Configuration { items, unparsed: None }.encode()).await;
    let preset = || phone.with(|station| station.eeprom().configuration.retry_preset);
    until("a configuration is in force", async || preset() == 2).await;
    // The backup acknowledgement of the record that the card sends of itself; it is the centre's own.
    write(&phone, 3, "Alice");
    until("a backup acknowledgement", async || phone.with(|station| station.statistics()).records_backed_up > 0).await;
    // An error is recorded and never answered; whatever else is no business of a card is answered with an error.
    inject(&rig, &number, vec![0x48, 0, 0, 0, 0, 0, 2, 4]).await;
    until("an error is recorded", async || phone.with(|station| station.statistics()).errors_received == 1).await;
    write(&phone, 4, "Bob");
    until("a later message is answered", async || !phone.with(|station| station.pending())).await;
    assert!(rig.notices(&number, "card-error").await.is_empty());
    for other in [0x10, 0x20, 0x38, 0x01] {
        let before = rig.notices(&number, "card-error").await.len();
        inject(&rig, &number, vec![other, 0, 0, 0, 0, 0, 0, 0]).await;
        until("an error reaches the centre", async || rig.notices(&number, "card-error").await.len() > before).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn who_has_no_account_leaves_nothing_and_who_is_suspended_goes_on_later() {
    let mut rig = Rig::start().await;
    // Nobody.
    let stranger = rig.switch_on(62, crate::rig::card(Bearer::Sms));
    write(&stranger, 1, "Nobody");
    until("an error message", async || stranger.with(|station| station.statistics()).errors_received == 1).await;
    assert_eq!(rig.notices(&msisdn(62), "no-account").await.len(), 1);
    let request = centre::GetAccountRequest { msisdn: msisdn(62) };
    let refusal = rig.accounts.clone().get_account(request).await.expect_err("no account");
    assert_eq!(refusal.code(), tonic::Code::NotFound);
    // Somebody who has not paid; the error message goes the way that the card's message came (D-115).
    for (number, bearer) in [(63, Bearer::Sms), (65, Bearer::Ip)] {
        let phone = rig.phone(number, bearer).await;
        write(&phone, 1, "Before");
        rig.settled(&phone).await;
        let before = held(&phone);
        rig.set_state(&phone, "suspended").await;
        // No connection from before stands: a suspended card opens one.
        rig.restart_centre().await;
        write(&phone, 1, "Meanwhile");
        until("an error message", async || phone.with(|station| station.statistics()).errors_received >= 1).await;
        assert_eq!(rig.book(&msisdn(number)).await, before);
        rig.set_state(&phone, "active").await;
        write(&phone, 2, "After");
        rig.settled(&phone).await;
        assert_eq!(held(&phone).len(), 2);
    }
    rig.stop().await;
}
