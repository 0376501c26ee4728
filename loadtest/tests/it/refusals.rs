//! What cards send wrongly, through the whole centre (`simvault all`): the SMSC's answer, the error to the card, the
//! counter by reason. IP frames have theirs in the tests of inbound-ip, SMPP PDUs in `process`.

use edge::testing::{Smsc, eventually, from_card};
use proto::centre::{CreateAccountsRequest, MonitorRow, NewAccount, SetStateRequest, accounts_client::AccountsClient};
use smpp::{CommandStatus, ShortMessage};
use testkit::free_port;

use crate::program::{Role, metric, metric_reaches};

const ACTIVE: &str = "491700000001";
const SUSPENDED: &str = "491700000002";
const UNKNOWN: &str = "491700000003";
/// Of the second embodiment: one record, all of its checksum (vector 7a).
const BACKUP: &str = "0A0001424F42FFFFFFFFFFFFFFFFFFFFFF069100113254F6FFFFFFFFFFFFFFD026";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit.to_le_bytes()[0]).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn account(msisdn: &str) -> NewAccount {
    let row = MonitorRow { df: 0x7F10, ef: 0x6F3A, record_count: 250, data_octets: 28, ..MonitorRow::default() };
    NewAccount {
        msisdn: msisdn.to_owned(),
        iccid: format!("89490000{msisdn}"),
        profile: "E2".to_owned(),
        bearer: "sms".to_owned(),
        monitor: vec![row],
        personalised: true,
        ..NewAccount::default()
    }
}

fn configuration(smsc: &Smsc, grpc: u16, metrics: u16) -> String {
    let address = smsc.address;
    format!(
        r#"[telemetry]
metrics_listen = "127.0.0.1:{metrics}"
[store]
url = "sqlite:centre.db"
[application_server.server]
listen = "127.0.0.1:{grpc}"
[inbound_ip]
listen = "127.0.0.1:0"
[[inbound_smpp.links]]
name = "in"
addresses = ["{address}"]
bind = "receiver"
country_code = "49"
backoff_min = "20ms"
[[outbound_smpp.links]]
name = "out"
addresses = ["{address}"]
bind = "transmitter"
source_address = "7788"
backoff_min = "20ms"
"#
    )
}

async fn create_accounts(grpc: u16) {
    let mut client = AccountsClient::connect(format!("http://127.0.0.1:{grpc}")).await.expect("serving");
    let accounts = vec![account(ACTIVE), account(SUSPENDED)];
    client.create_accounts(CreateAccountsRequest { accounts }).await.expect("created");
    let state = SetStateRequest { msisdn: SUSPENDED.to_owned(), state: "suspended".to_owned() };
    client.set_state(state).await.expect("suspended");
}

/// Octets sent to a card so far.
fn sent_to(smsc: &Smsc, msisdn: &str) -> Vec<Vec<u8>> {
    let submitted = smsc.submitted();
    let to = submitted.iter().filter(|message| message.destination_addr.addr.as_str() == Some(msisdn));
    to.map(|message| message.payload().to_vec()).collect()
}

#[tokio::test]
async fn what_cards_send_wrongly_is_answered_told_and_counted() {
    let smsc = Smsc::start().await;
    let (grpc, metrics) = (free_port(), free_port());
    let mut role = Role::start("all", &configuration(&smsc, grpc, metrics));
    smsc.wait_bound(2).await;
    create_accounts(grpc).await;

    let table = [
        (UNKNOWN, BACKUP, "unknown_subscriber"),
        (SUSPENDED, BACKUP, "service_off"),
        (ACTIVE, "08", "malformed"),
        (ACTIVE, "C900", "unsupported"),
    ];
    for (from, octets, reason) in table {
        assert_eq!(smsc.deliver(from_card(from, &hex(octets))).await, CommandStatus::ESME_ROK, "{reason}");
        let series = format!("simvault_inbound_refused_total{{reason=\"{reason}\"}}");
        metric_reaches(metrics, &series, 1.0).await;
    }
    assert_eq!(metric(metrics, "simvault_inbound_messages_total{outcome=\"refused\"}").await, 4.0);
    // Type and file unknown, permanent (02) or temporary (01), reason of D-11; to the unknown number once a day.
    for (to, error) in [
        (UNKNOWN, "4800000000000209"),
        (SUSPENDED, "480000000000010A"),
        (ACTIVE, "480000000000020B"),
        (ACTIVE, "480000000000020C"),
    ] {
        eventually(error, || sent_to(&smsc, to).contains(&hex(error))).await;
    }
    // A record outside the monitor table is refused in the acknowledgement (result 2), and by itself: its message is not.
    // Its checksum cannot fit either: that is counted, and waits for the grace of a mismatch.
    let counters =
        ["simvault_inbound_notices_total{kind=\"not-under-backup\"}", "simvault_inbound_checksum_mismatches_total"];
    for series in counters {
        assert_eq!(metric(metrics, series).await, 0.0, "{series}");
    }
    assert_eq!(smsc.deliver(from_card(ACTIVE, &hex("0A0501424F42FF0000"))).await, CommandStatus::ESME_ROK);
    eventually("the refused record", || sent_to(&smsc, ACTIVE).contains(&hex("10050102"))).await;
    for series in counters {
        metric_reaches(metrics, series, 1.0).await;
    }
    // One part of two: held, and dropped when its time is over.
    let part = ShortMessage { esm_class: 0x40, ..from_card(ACTIVE, &hex("0500032A02010A0001")) };
    assert_eq!(smsc.deliver(part).await, CommandStatus::ESME_ROK);
    // And what is right is stored all the same.
    assert_eq!(smsc.deliver(from_card(ACTIVE, &hex(BACKUP))).await, CommandStatus::ESME_ROK);
    eventually("the acknowledgement", || sent_to(&smsc, ACTIVE).contains(&hex("10000100"))).await;
    assert_eq!(metric(metrics, "simvault_inbound_messages_total{outcome=\"refused\"}").await, 4.0);
    assert_eq!(role.exited(), None);
    role.terminate();
    assert_eq!(role.wait().await.code(), Some(0));
    eventually("unbound", || smsc.closed().len() == 2).await;
}
