//! The phone: what it does with messages, answers that never come, time, memory.

use std::time::{Duration, Instant};

use mobile::{Contact, Input, Output, Station, StationConfig};
use sms::{Address, DataCoding, Deliver, MT_DATA_CODING, ProtocolId, TimeStamp, UserData};
use uicc::files::{EF_EXT1, EF_SMS};

use crate::rig::{CENTRE, Rig, bob, hex};

fn deliver(protocol_id: u8, data_coding: DataCoding) -> Vec<u8> {
    let deliver = Deliver {
        more_messages: false,
        loop_prevention: false,
        reply_path: false,
        status_report_indication: false,
        originator: Address::international(CENTRE).unwrap(),
        protocol_id: ProtocolId(protocol_id),
        data_coding,
        time_stamp: TimeStamp([0x62, 0x11, 0x12, 0x31, 0x82, 0x62, 0]),
        user_data: UserData::from_octets(&[0x18, 0, 1]).unwrap(),
    };
    deliver.encode()
}

#[test]
fn class_2_without_data_download_is_stored_in_ef_sms() {
    let mut rig = Rig::new();
    let tpdu = deliver(0, MT_DATA_CODING);
    for number in 1..=20 {
        rig.input(Input::SmsDeliver(tpdu.clone()));
        assert_eq!(rig.station.statistics().sms_stored, number);
    }
    let record = rig.station.read_record(EF_SMS, 20).unwrap();
    assert_eq!(record[..2], [0x03, 0x00]);
    assert_eq!(record[2..2 + tpdu.len()], tpdu);
    assert!(record[2 + tpdu.len()..].iter().all(|octet| *octet == 0xFF));
    rig.input(Input::SmsDeliver(tpdu.clone()));
    assert_eq!(rig.station.statistics().sms_refused, 1, "full");
    let mut read = record;
    read[0] = 0x00;
    assert!(rig.station.update_record(EF_SMS, 7, &read));
    rig.input(Input::SmsDeliver(tpdu));
    assert_eq!(rig.station.read_record(EF_SMS, 7).unwrap()[0], 0x03);
    assert!(!rig.station.pending() && rig.station.contacts().is_empty(), "the applet has not seen any of them");
    // No class, class 1: not for the card.
    rig.input(Input::SmsDeliver(deliver(0x7F, DataCoding(0x04))));
    rig.input(Input::SmsDeliver(deliver(0x7F, DataCoding(0xF5))));
    assert_eq!(rig.station.statistics().sms_stored, 21);
    assert!(!rig.station.pending());
}

#[test]
fn a_network_that_never_answers_counts_as_a_failure() {
    let mut station = Station::new(StationConfig::default());
    let mut sent = 0;
    assert!(station.update_record(uicc::files::EF_ADN, 1, &bob()));
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(300) {
        now = station.next_timeout().unwrap();
        station.handle_input(Input::Tick, now);
        while let Some(output) = station.poll_output() {
            sent += u32::from(matches!(output, Output::SmsSubmit { .. }));
        }
    }
    assert!(sent >= 3, "{sent}");
    assert_eq!(station.statistics().sms_failed + 1, u64::from(sent));
    // The answer to an abandoned message is no answer to this one.
    station.handle_input(Input::SmsSubmitResult { reference: 1, ok: true }, now);
    assert_eq!(station.statistics().sms_sent, 0);
}

/// The phone polls every 200 s, but it waits for the network no longer than 60 s.
#[test]
fn the_end_of_the_wait_for_the_network_does_not_wait_for_a_poll() {
    let poll_minimum = Duration::from_secs(200);
    let mut station = Station::new(StationConfig { poll_minimum, ..StationConfig::default() });
    assert!(station.update_record(uicc::files::EF_ADN, 1, &bob()));
    let mut now = Duration::ZERO;
    while station.poll_output().is_none() {
        now = station.next_timeout().unwrap();
        assert!(now < 20 * poll_minimum, "nothing is sent");
        station.handle_input(Input::Tick, now);
    }
    let due = station.next_timeout().unwrap();
    assert_eq!(due, now + Duration::from_secs(60));
    station.handle_input(Input::Tick, due);
    assert_eq!(station.statistics().sms_failed, 1);
    assert_eq!(station.next_timeout(), Some(now + poll_minimum));
}

/// Some cards come with 00 and FF in their extension records (TS 51.011 annex E).
#[test]
fn an_extension_record_of_no_type_is_free() {
    let mut rig = Rig::new();
    let never_used = [&[0][..], &[0xFF; 12]].concat();
    (1..=20).for_each(|number| assert!(rig.station.update_record(EF_EXT1, number, &never_used)));
    let contact = Contact { name: "Long".to_owned(), number: "7".repeat(60) };
    rig.station.write_contact(3, &contact).unwrap();
    assert_eq!(rig.station.contacts(), [(3, contact)]);
}

#[test]
fn extension_records_that_become_free_are_empty() {
    let mut rig = Rig::new();
    let contact = |digits: usize| Contact { name: "Long".to_owned(), number: "7".repeat(digits) };
    let used = |rig: &mut Rig| {
        let records = (1..=20).map(|number| rig.station.read_record(EF_EXT1, number).unwrap());
        records.filter(|record| record.iter().any(|octet| *octet != 0xFF)).count()
    };
    for (digits, extensions) in [(60, 2), (35, 1), (20, 0), (45, 2), (0, 0), (41, 2)] {
        rig.station.write_contact(3, &contact(digits)).unwrap();
        assert_eq!(used(&mut rig), extensions, "{digits} digits");
        assert_eq!(rig.station.contacts(), [(3, contact(digits))]);
    }
    assert!(rig.station.delete_contact(3));
    assert_eq!(used(&mut rig), 0);
}

/// Covers: PF-22
#[test]
#[expect(clippy::disallowed_methods, reason = "it is the real time that must not pass")]
fn a_day_passes_in_a_second() {
    let started = Instant::now();
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    while rig.now < Duration::from_secs(24 * 3600) {
        rig.poll();
    }
    assert!(rig.now < Duration::from_secs(24 * 3600 + 6));
    assert_eq!(rig.sent.len(), 5, "a backup, three repeats, an error");
    rig.receive(&hex("30 0BFF01"));
    rig.polls(10);
    assert_eq!(rig.poll(), Duration::from_secs(255));
    println!("a day in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
