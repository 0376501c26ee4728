//! Delivery receipts (D-122).

use edge::testing::{eventually, from_card};
use proto::inbound::report_delivery_request::State;
use smpp::{CommandStatus, ShortMessage};

use crate::Bench;

fn receipt(id: &str, stat: &str) -> ShortMessage {
    let body =
        format!("id:{id} sub:001 dlvrd:001 submit date:2411211034 done date:2411211035 stat:{stat} err:000 text:");
    ShortMessage { esm_class: 0x04, ..from_card("491721217212", body.as_bytes()) }
}

/// Covers: PF-06
#[tokio::test]
async fn a_receipt_is_reported_with_the_name_of_its_smsc() {
    let bench = Bench::start("receipts", |config| config.links[0].smsc = "smsc-a".to_owned()).await;
    assert_eq!(bench.smsc.deliver(receipt("A1", "DELIVRD")).await, CommandStatus::ESME_ROK);
    assert_eq!(bench.smsc.deliver(receipt("A2", "EXPIRED")).await, CommandStatus::ESME_ROK);
    let reports = bench.data.reports();
    let told: Vec<_> = reports.iter().map(|report| (report.bearer_message_id.as_str(), report.state())).collect();
    assert_eq!(told, [("A1", State::Delivered), ("A2", State::Expired)]);
    assert!(reports.iter().all(|report| report.link == "smsc-a" && report.at_micros > 0));
    assert!(bench.data.messages().is_empty());
    bench.stop().await;
}

#[tokio::test]
async fn a_receipt_that_overtakes_its_commit_is_answered_held_and_reported_again() {
    let bench = Bench::start("overtakes", |_| {}).await;
    bench.data.match_receipts(false);
    assert_eq!(bench.smsc.deliver(receipt("B1", "DELIVRD")).await, CommandStatus::ESME_ROK);
    eventually("reported again", || bench.data.reports().len() >= 2).await;
    bench.data.match_receipts(true);
    let before = bench.data.reports().len();
    eventually("matched", || bench.data.reports().len() > before).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_receipt_that_cannot_be_reported_stays_with_the_smsc() {
    let mut bench = Bench::start("stays", |_| {}).await;
    let killed = bench.data.kill().await;
    assert_eq!(bench.smsc.deliver(receipt("C1", "DELIVRD")).await, CommandStatus::ESME_RX_T_APPN);
    // No receipt at all: nothing to report, nothing to bring again.
    let empty = ShortMessage { esm_class: 0x04, ..from_card("491721217212", b"Good morning") };
    assert_eq!(bench.smsc.deliver(empty).await, CommandStatus::ESME_ROK);
    bench.data = killed.restart().await;
    bench.stop().await;
}
