//! What the centre knows of a card's configuration: as the card acknowledged it, and nothing else.

use std::collections::BTreeMap;

use link::{configuration::Item, monitor::MonitorRow};
use loadtest::{fleet::Phone, smsc::Number};
use mobile::Bearer;
use proto::centre;
use uicc::files::{EF_ADN, EF_SMSP};

use crate::rig::{Rig, msisdn, until};

/// Data by CID.
type Settings = BTreeMap<u32, Vec<u8>>;

async fn known(rig: &Rig, phone: &Phone) -> (Settings, Settings) {
    let configuration = rig.configuration(phone).await;
    let part = |data: fn(&centre::CardSetting) -> &[u8]| {
        let settings = configuration.settings.iter().filter(|setting| !data(setting).is_empty());
        settings.map(|setting| (setting.cid, data(setting).to_vec())).collect()
    };
    (part(|setting| &setting.acknowledged), part(|setting| &setting.wanted))
}

/// The centre's copy of the monitor table against the card's own, row by row.
async fn assert_tables_equal(rig: &Rig, phone: &Phone) {
    let copy: Vec<_> = rig.configuration(phone).await.monitor;
    let own: Vec<_> = phone.with(|station| {
        let rows = station.eeprom().monitor.rows();
        rows.map(|(index, row)| centre::MonitorRow {
            index: index.into(),
            df: row.df.into(),
            ef: row.ef.into(),
            record_offset: row.record_offset.into(),
            record_count: row.record_count.into(),
            data_offset: row.data_offset.into(),
            data_octets: row.data_octets.into(),
        })
        .collect()
    });
    assert_eq!(copy, own);
}

fn row(path: uicc::files::Path, record_count: u8, data_octets: u8) -> MonitorRow {
    MonitorRow { df: path.df, ef: path.ef, record_offset: 0, record_count, data_offset: 0, data_octets }
}

fn settings(pairs: &[(u32, &[u8])]) -> Settings {
    pairs.iter().map(|(cid, data)| (*cid, data.to_vec())).collect()
}

/// Covers: SC-DB-05, SC-DB-09
#[tokio::test]
async fn the_centre_knows_what_the_card_acknowledged_and_nothing_else() {
    let rig = Rig::start().await;
    let phone = rig.phone(100, Bearer::Sms).await;
    assert_eq!(known(&rig, &phone).await, (settings(&[]), settings(&[])), "personalised, and never configured");
    assert_tables_equal(&rig, &phone).await;

    // Acknowledged with success: settings and three rows, one of them changed, one of them new.
    let items = [
        Item::PollIntervals { normal_seconds: 10, fast_seconds: 2 },
        Item::RetryPreset(3),
        Item::MonitorTableSize(3),
        Item::MonitorRow { index: 0, row: row(EF_ADN, 20, 28) },
        Item::MonitorRow { index: 2, row: row(EF_SMSP, 2, 28) },
    ];
    assert_eq!(rig.configure(&phone, &items).await.state, "done");
    let accepted = settings(&[(0x0B, &[10, 2]), (0x0C, &[3])]);
    assert_eq!(known(&rig, &phone).await.0, accepted);
    let held = phone.with(|station| station.eeprom().configuration.clone());
    assert_eq!((held.normal_seconds, held.fast_seconds, held.retry_preset), (10, 2, 3));
    let rows = rig.configuration(&phone).await.monitor;
    assert_eq!((rows.len(), rows[0].record_count, rows[2].ef), (3, 20, EF_SMSP.ef.into()));
    assert_tables_equal(&rig, &phone).await;

    // Refused: no card sends after no event, and this file is on none.
    let nowhere = MonitorRow { ef: 0x6FEE, ..row(EF_ADN, 5, 10) };
    let refused = rig.configure(&phone, &[Item::RetryPreset(0), Item::MonitorRow { index: 1, row: nowhere }]).await;
    assert_eq!((refused.state.as_str(), refused.records_failed), ("failed", 2));
    let wanted = settings(&[(0x0B, &[10, 2]), (0x0C, &[0])]);
    assert_eq!(known(&rig, &phone).await, (accepted.clone(), wanted));
    assert_tables_equal(&rig, &phone).await;

    // Unanswered, until the card is there again.
    let number = Number::new(msisdn(100).as_bytes()).expect("number");
    rig.smsc.set_reachable(number, false).await;
    let items = [Item::RetryPreset(7), Item::MonitorTableSize(2)].map(|item| item.encode());
    let items = items.map(|item| centre::ConfigurationItem { cid: item.cid.into(), data: item.data });
    let request = centre::ConfigureRequest { msisdn: msisdn(100), items: items.into() };
    let ordered = rig.commands.clone().configure(request).await.expect("configuration").into_inner();
    until("it is sent", async || {
        let open = rig.actions(&msisdn(100), true).await;
        open.iter().any(|action| action.action_id == ordered.action_id && action.acknowledgement_pending)
    })
    .await;
    let (acknowledged, wanted) = known(&rig, &phone).await;
    assert_eq!((acknowledged, wanted[&0x0C].as_slice()), (accepted, [7].as_slice()));
    assert_eq!(rig.configuration(&phone).await.monitor, rows, "as it was");
    rig.smsc.set_reachable(number, true).await;
    assert_eq!(rig.ended(&phone, ordered.action_id).await.state, "done");
    assert_eq!(known(&rig, &phone).await.0[&0x0C], [7]);
    assert_eq!(rig.configuration(&phone).await.monitor.len(), 2);
    assert_tables_equal(&rig, &phone).await;
    rig.stop().await;
}
