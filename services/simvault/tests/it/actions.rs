//! The outbound actions table end to end: every type of action is a row of it and reaches the card, and every result of
//! a backup does to the card what the specification says.

use std::sync::Arc;

use link::configuration::Item;
use loadtest::fleet::Phone;
use mobile::Bearer;
use proto::centre::{self, RecordList, restore_request::Selection};
use uicc::files::{EF_ADN, EF_EXT1};

use crate::rig::{EXT1_RECORDS, Rig, card, msisdn, new_account, row, until, write};

/// The centre's monitor table ends here, the card's does not.
const CENTRE_RECORDS: u8 = 10;
const BEYOND: u8 = 20;

async fn phone_that_monitors_more(rig: &Rig, number: u32, bearer: Bearer) -> Arc<Phone> {
    let monitor = vec![row(0, EF_ADN, CENTRE_RECORDS, 28), row(1, EF_EXT1, EXT1_RECORDS, 13)];
    rig.subscribe(centre::NewAccount { personalised: true, monitor, ..new_account(number, bearer) }).await;
    rig.switch_on(number, card(bearer))
}

/// Covers: S2-MF-10, SC-ID-18
#[tokio::test]
async fn every_result_is_produced_and_the_card_does_what_it_says() {
    let rig = Rig::start().await;
    rig.keep_what_leaves();
    tokio::join!(every_result(&rig, 61, Bearer::Sms), every_result(&rig, 66, Bearer::Ip));
    // As it is on the wire: result 1, and nothing that looks like success, for the record that was not stored.
    let sent: Vec<_> = rig.delivered(&msisdn(61)).into_iter().map(|message| message.payload).collect();
    assert!(sent.iter().any(|payload| payload.as_ref() == [0x10, 0, 2, 1]), "{sent:02X?}");
    rig.stop().await;
}

async fn every_result(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = phone_that_monitors_more(rig, number, bearer).await;
    let expect = async |what: &str, expected: &[u32]| {
        until(what, async || rig.left(&msisdn(number), bearer) == expected).await;
    };
    write(&phone, 1, "Alice");
    expect("success", &[0]).await;
    // The store takes everything but this: the card sends it again, with time in between, until it is stored.
    let stubborn = format!("Stubborn {number}");
    rig.refuse_pages_with(&stubborn, true);
    write(&phone, 2, &stubborn);
    expect("temporary failure, and another try", &[0, 1, 1]).await;
    assert_eq!(rig.book(&msisdn(number)).await.len(), 1, "what is not stored is not acknowledged as stored");
    rig.refuse_pages_with(&stubborn, false);
    expect("stored in the end", &[0, 1, 1, 0]).await;
    rig.settled(&phone).await;
    // Outside the centre's monitor row: the card tries twice more (D-37), says so, and leaves it.
    write(&phone, BEYOND, "Beyond");
    let is_told = async || rig.notices(&msisdn(number), "card-error").await.len() == 1;
    until("the card gives it up", is_told).await;
    write(&phone, 3, "After");
    expect("permanent failure, three times", &[0, 1, 1, 0, 2, 2, 2, 0]).await;
    until("nothing more to send", async || !phone.with(|station| station.pending())).await;
    let book = rig.book(&msisdn(number)).await;
    assert_eq!(book.keys().map(|(_, _, record)| *record).collect::<Vec<_>>(), [1, 2, 3]);
}

/// Covers: SC-DB-12
#[tokio::test]
async fn every_type_of_action_is_a_row_and_reaches_the_card() {
    let rig = Rig::start().await;
    rig.keep_what_leaves();
    tokio::join!(every_type(&rig, 67, Bearer::Sms), every_type(&rig, 68, Bearer::Ip));
    rig.stop().await;
}

async fn every_type(rig: &Rig, number: u32, bearer: Bearer) {
    let phone = phone_that_monitors_more(rig, number, bearer).await;
    let read = |record| phone.with(|station| station.read_record(EF_ADN, record)).expect("record");
    // Backup acknowledgement, success: the card counts the record as backed up.
    write(&phone, 1, "Before");
    rig.settled(&phone).await;
    // The row goes a moment after the launcher has the message: the card may be quicker.
    let results = || rig.left(&msisdn(number), bearer);
    until("its row has left", async || results() == [0]).await;
    assert_eq!(phone.with(|station| station.statistics()).records_backed_up, 1);
    let (before, moment) = (read(1), runtime::clock::now());
    // Failure: the card says that it gives the record up.
    write(&phone, BEYOND, "Beyond");
    until("the card was told", async || !rig.notices(&msisdn(number), "card-error").await.is_empty()).await;
    until("rows have left", async || results() == [0, 2, 2, 2]).await;
    write(&phone, 1, "After");
    until("the change is stored", async || results() == [0, 2, 2, 2, 0]).await;
    // Restore.
    let chosen = Selection::Records(RecordList { monitor_index: 0, records: vec![1] });
    let restored = rig.restore(&phone, moment, chosen).await;
    assert_eq!((restored.r#type.as_str(), restored.state.as_str()), ("restore", "done"));
    assert_eq!(read(1), before);
    // Addressable restore: two octets.
    let record = centre::AddressedRecord {
        df: EF_ADN.df.into(),
        ef: EF_ADN.ef.into(),
        record_number: 1,
        data_offset: 2,
        data: b"XY".to_vec().into(),
    };
    let request = centre::AddressableRestoreRequest { msisdn: msisdn(number), records: vec![record] };
    let reference = rig.commands.clone().addressable_restore(request).await.expect("ordered").into_inner();
    let written = rig.ended(&phone, reference.action_id).await;
    assert_eq!((written.r#type.as_str(), written.state.as_str()), ("addressable_restore", "done"));
    assert_eq!(&read(1)[..6], b"BeXYre");
    // Configuration; the subtype is its first CID (D-54).
    let configured = rig.configure(&phone, &[Item::RetryPreset(4)]).await;
    assert_eq!((configured.r#type.as_str(), configured.subtype), ("configuration", 0x0C));
    assert_eq!(phone.with(|station| station.eeprom().configuration.retry_preset), 4);
    // Each went by the card's channel, and nothing else is in the table.
    let actions = rig.actions(&msisdn(number), false).await;
    let channel = crate::rig::bearer_name(bearer);
    assert!(actions.iter().all(|action| action.channel == channel && action.state == "done"), "{actions:#?}");
    assert_eq!((actions.len(), results().len()), (3, 5));
}
