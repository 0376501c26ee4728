//! Books as of earlier moments, whatever happened in between.

use link::{configuration::Item, monitor::MonitorRow};
use mobile::Bearer;
use proto::centre::restore_request::Selection;
use uicc::files::{EF_ADN, EF_SMSP};

use crate::rig::{Records, Rig, delete, held, msisdn, write, write_long};

/// Three moments; between them a deletion, a change of the monitor table, and a restart of the centre.
#[tokio::test]
async fn restores_as_of_three_moments_across_a_deletion_a_new_monitor_table_and_a_restart() {
    let mut rig = Rig::start().await;
    let phone = rig.phone(40, Bearer::Sms).await;
    let mut moments: Vec<(i64, Records)> = Vec::new();
    for record in 1..=6 {
        write(&phone, record, &format!("First {record}"));
    }
    write_long(&phone, 7, "Long");
    rig.settled(&phone).await;
    moments.push((runtime::clock::now(), held(&phone)));

    delete(&phone, 7);
    delete(&phone, 2);
    write(&phone, 3, "Second 3");
    rig.settled(&phone).await;
    moments.push((runtime::clock::now(), held(&phone)));

    let smsp = MonitorRow {
        df: EF_SMSP.df,
        ef: EF_SMSP.ef,
        record_offset: 0,
        record_count: 1,
        data_offset: 0,
        data_octets: 28,
    };
    let items = [Item::MonitorTableSize(3), Item::MonitorRow { index: 2, row: smsp }];
    assert_eq!(rig.configure(&phone, &items).await.state, "done");
    assert!(phone.with(|station| station.update_record(EF_SMSP, 1, &[0x33; 28])));
    write(&phone, 4, "Third 4");
    rig.settled(&phone).await;
    moments.push((runtime::clock::now(), held(&phone)));
    assert_eq!(rig.account(&phone).await.devices[0].monitor.len(), 3);

    rig.restart_centre().await;
    write(&phone, 1, "Fourth 1");
    write(&phone, 4, "Fourth 4");
    write(&phone, 20, "Fourth 20");
    assert!(phone.with(|station| station.update_record(EF_SMSP, 1, &[0x44; 28])));
    rig.settled(&phone).await;

    for (moment, expected) in moments.iter().rev() {
        assert_eq!(&rig.book_as_of(&msisdn(40), *moment).await, expected);
        assert_eq!(rig.restore(&phone, *moment, Selection::All(true)).await.state, "done");
        assert_eq!(phonebook(held(&phone)), phonebook(expected.clone()));
        assert_eq!(rig.book(&msisdn(40)).await, held(&phone));
    }
    // And forwards again: the restores themselves did not rewrite history.
    let (moment, expected) = &moments[2];
    assert_eq!(rig.restore(&phone, *moment, Selection::All(true)).await.state, "done");
    assert_eq!(&held(&phone), expected);
    rig.stop().await;
}

/// Without the file that was not yet monitored.
fn phonebook(records: Records) -> Records {
    records.into_iter().filter(|((df, ef, _), _)| (*df, *ef) != (EF_SMSP.df.into(), EF_SMSP.ef.into())).collect()
}

#[tokio::test]
async fn a_restart_of_the_centre_loses_nothing_that_cards_send_meanwhile() {
    let mut rig = Rig::start().await;
    let phones = [rig.phone(41, Bearer::Sms).await, rig.phone(42, Bearer::Ip).await];
    for phone in &phones {
        for record in 1..=10 {
            write(phone, record, &format!("Person {record}"));
        }
    }
    rig.restart_centre().await;
    for phone in &phones {
        write(phone, 11, "Eleven");
        rig.settled(phone).await;
        assert_eq!(held(phone).keys().filter(|(_, ef, _)| *ef == u32::from(EF_ADN.ef)).count(), 11);
    }
    rig.stop().await;
}
