//! From the card to the book.

use std::time::{Duration, Instant};

use bytes::Bytes;
use loadtest::{
    load_card::LoadCard,
    smsc::{Delivery, Faults, MobileOriginated, Number},
};
use mobile::Bearer;
use uicc::files::{EF_ADN, EF_SMSP};

use crate::rig::{ADN_RECORDS, CENTRE, Rig, card_settings, held, msisdn, new_account, row, until};

/// Covers: G-03, SC-AC-03
#[tokio::test]
async fn a_new_account_configures_its_card_and_another_file_than_the_phonebook_is_backed_up_and_restored() {
    let centre_ip = ([192, 0, 2, 7], 7474).into();
    let rig = Rig::with(1, |config| {
        config.application_server.centre_number = CENTRE.to_owned();
        config.application_server.centre_ip = Some(centre_ip);
        config.application_server.poll_normal_seconds = 4;
        config.application_server.poll_fast_seconds = 2;
    })
    .await;
    // The card comes from the factory with the centre's number and the service off.
    let settings = mobile::StationConfig { service_on: false, ..card_settings(Bearer::Sms) };
    let phone = rig.switch_on(4, mobile::Station::new(settings));
    let mut account = new_account(4, Bearer::Sms);
    account.monitor = vec![row(0, EF_ADN, ADN_RECORDS, 28), row(1, EF_SMSP, 1, 28)];
    rig.subscribe(account).await;
    until("the configuration is done", async || {
        let actions = rig.actions(&msisdn(4), false).await;
        actions.iter().any(|action| action.r#type == "configuration" && action.state == "done")
    })
    .await;
    phone.with(|station| {
        let eeprom = station.eeprom();
        let configuration = &eeprom.configuration;
        assert!(configuration.service_on);
        assert_eq!(configuration.centre_isdn.as_ref().map(|isdn| isdn.digits()), Some(CENTRE.to_owned()));
        assert_eq!(configuration.centre_ip, Some(centre_ip));
        assert_eq!(configuration.bearer, Bearer::Sms);
        assert_eq!((configuration.normal_seconds, configuration.fast_seconds), (4, 2));
        let rows: Vec<_> = eeprom.monitor.rows().map(|(index, row)| (index, row.ef, row.record_count)).collect();
        assert_eq!(rows, [(0, EF_ADN.ef, ADN_RECORDS), (1, EF_SMSP.ef, 1)]);
    });
    let first: Vec<u8> = (1..=28).collect();
    assert!(phone.with(|station| station.update_record(EF_SMSP, 1, &first)));
    rig.settled(&phone).await;
    let key = (u32::from(EF_SMSP.df), u32::from(EF_SMSP.ef), 1);
    assert_eq!(rig.book(&msisdn(4)).await.get(&key), Some(&first));
    let moment = runtime::clock::now();
    assert!(phone.with(|station| station.update_record(EF_SMSP, 1, &[0x55; 28])));
    rig.settled(&phone).await;
    let rows = proto::centre::MonitorRows { indexes: vec![1] };
    let restored = rig.restore(&phone, moment, proto::centre::restore_request::Selection::Rows(rows)).await;
    assert_eq!(restored.state, "done");
    assert_eq!(phone.with(|station| station.read_record(EF_SMSP, 1)), Some(first));
    assert_eq!(rig.book(&msisdn(4)).await, held(&phone));
    rig.stop().await;
}

fn backup(card: &mut LoadCard, record: u8, data_coding: u8) -> MobileOriginated {
    MobileOriginated {
        msisdn: Number::new(card.msisdn.to_string().as_bytes()).expect("number"),
        destination: Number::new(CENTRE.as_bytes()).expect("number"),
        protocol_id: 0,
        data_coding,
        user_data_header: false,
        payload: card.back_up(&[record]),
        message_reference: None,
    }
}

/// Covers: G-08
#[tokio::test]
async fn messages_of_any_class_are_taken_and_answers_are_class_2() {
    let rig = Rig::start().await;
    let number = msisdn(5);
    rig.subscribe(proto::centre::NewAccount { personalised: true, ..new_account(5, Bearer::Sms) }).await;
    let mut card = LoadCard::new(number.parse().expect("digits"), ADN_RECORDS);
    for (record, data_coding) in (1..).zip([0x04, 0x14, 0x15, 0x16, 0x17, 0xF4, 0xF5, 0xF6, 0xF7]) {
        let sent = rig.smsc.mobile_originated(backup(&mut card, record, data_coding)).await;
        assert_eq!((sent.delivery, sent.attempts), (Delivery::Accepted, 1), "data coding {data_coding:02X}");
        let key = (0x7F10, 0x6F3A, u32::from(record));
        let stored = rig.book(&number).await.remove(&key);
        let (_, expected) = card.book().nth(usize::from(record) - 1).expect("record");
        assert_eq!(stored.as_deref(), expected.as_ref().map(<[u8; 28]>::as_slice), "data coding {data_coding:02X}");
    }
    until("every record is answered", async || answered(&rig, &number) == 9).await;
    for answer in rig.delivered(&number) {
        assert_eq!((answer.data_coding, answer.protocol_id, answer.user_data_header), (0xF6, 0x7F, false));
    }
    rig.stop().await;
}

/// Records acknowledged to this number, by SMS.
fn answered(rig: &Rig, number: &str) -> usize {
    rig.delivered(number).iter().map(|message| acknowledged(&message.payload)).sum()
}

fn acknowledged(payload: &Bytes) -> usize {
    match link::message::Message::decode(payload, &loadtest::load_card::monitor_table(ADN_RECORDS)) {
        Ok(link::message::Message::BackupAcknowledgement { records }) => records.len(),
        other => panic!("not an acknowledgement: {other:?}"),
    }
}

/// Covers: SC-ID-07
#[tokio::test]
async fn a_backup_is_a_row_of_its_own_and_is_acknowledged_within_a_second() {
    let rig = Rig::start().await;
    let number = msisdn(6);
    rig.subscribe(proto::centre::NewAccount { personalised: true, ..new_account(6, Bearer::Sms) }).await;
    let mut card = LoadCard::new(number.parse().expect("digits"), ADN_RECORDS);
    let mut spans = Vec::new();
    for record in 1..=5 {
        let began = Instant::now();
        rig.smsc.mobile_originated(backup(&mut card, record, 0xF6)).await;
        until("the answer", async || answered(&rig, &number) == usize::from(record)).await;
        spans.push(began.elapsed());
    }
    // Other tests load this machine at the same time: the middle one counts.
    spans.sort_unstable();
    assert!(spans[2] < Duration::from_secs(1), "{spans:?}");
    // What left is gone; what the network does not take yet is a row.
    until("no row is left", async || rig.actions(&number, false).await.is_empty()).await;
    rig.smsc.set_faults(None, Faults { queue_full: 1.0, ..Faults::default() }).await;
    rig.smsc.mobile_originated(backup(&mut card, 6, 0xF6)).await;
    until("a row waits", async || {
        let actions = rig.actions(&number, false).await;
        actions.len() == 1
            && actions.iter().all(|action| {
                action.r#type == "backup_acknowledgement" && action.channel == "sms" && action.state == "queued"
            })
    })
    .await;
    assert_eq!(answered(&rig, &number), 5);
    rig.smsc.set_faults(None, Faults::default()).await;
    until("the answer", async || answered(&rig, &number) == 6).await;
    until("no row is left", async || rig.actions(&number, false).await.is_empty()).await;
    rig.stop().await;
}
