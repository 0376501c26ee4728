//! A network that loses, doubles, overtakes and breaks: in the end card and book are equal all the same.

use std::time::Duration;

use loadtest::smsc::{Faults, Leg};
use mobile::Bearer;
use proto::centre::restore_request::Selection;

use crate::rig::{ADN_RECORDS, Rig, delete, held, msisdn, until, write, write_long};

async fn edits(
    rig: &Rig,
    numbers: std::ops::Range<u32>,
    bearer: Bearer,
) -> Vec<std::sync::Arc<loadtest::fleet::Phone>> {
    let mut phones = Vec::new();
    for number in numbers {
        let phone = rig.phone(number, bearer).await;
        for record in 1..=ADN_RECORDS {
            write(&phone, record, &format!("{record} of {number}"));
        }
        for record in [3, 9, 27] {
            delete(&phone, record);
        }
        write_long(&phone, 9, "Long");
        phones.push(phone);
    }
    phones
}

#[tokio::test]
async fn doubled_and_overtaking_messages_and_broken_links() {
    let rig = Rig::with(2, |_| {}).await;
    let leg =
        Leg { duplication: 0.3, reordering: 0.5, reordering_delay_max: Duration::from_millis(400), ..Leg::default() };
    let faults = Faults { mobile_originated: leg, mobile_terminated: leg, throttled: 0.1, ..Faults::default() };
    rig.smsc.set_faults(None, faults).await;
    let phones = edits(&rig, 100..103, Bearer::Sms).await;
    for unbind in [false, true] {
        let sent = rig.smsc.counters().mo_acked;
        until("more messages", async || rig.smsc.counters().mo_acked >= sent + 3).await;
        rig.smsc.cut_links(unbind).await;
        // An old version must not come back after a newer one.
        phones.iter().for_each(|phone| write(phone, 15, if unbind { "Last" } else { "First" }));
    }
    for phone in &phones {
        rig.settled(phone).await;
        assert_eq!(held(phone).values().filter(|octets| octets.starts_with(b"Last")).count(), 1);
    }
    rig.stop().await;
}

#[tokio::test]
async fn lost_messages_are_repeated_until_card_and_book_are_equal() {
    let rig = Rig::start().await;
    let leg = Leg { loss: 0.1, ..Leg::default() };
    rig.smsc.set_faults(None, Faults { mobile_originated: leg, mobile_terminated: leg, ..Faults::default() }).await;
    let phones = edits(&rig, 110..112, Bearer::Sms).await;
    for phone in &phones {
        rig.settled(phone).await;
    }
    // A lost restore is due again after five minutes at least (D-128), on the centre's clock, which is the real one.
    rig.smsc.set_faults(None, Faults::default()).await;
    for (number, phone) in (110..).zip(&phones) {
        let expected = held(phone);
        let blank = rig.replace(number, Bearer::Sms).await;
        let action = rig.restore(&blank, 0, Selection::All(true)).await;
        assert_eq!(action.state, "done");
        assert_eq!(held(&blank), expected);
        assert_eq!(rig.book(&msisdn(number)).await, expected);
    }
    rig.stop().await;
}
