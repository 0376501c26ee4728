//! Properties: whatever comes, the station lives; card and centre come to the same checksum table.

use std::time::Duration;

use link::{checksum_table::ChecksumTable, message::Message};
use mobile::{Bearer, Input, Station, StationConfig};
use proptest::prelude::*;
use uicc::files::EF_ADN;

use crate::rig::{CENTRE, Rig, deliver_from};

fn inputs() -> impl Strategy<Value = Input> {
    let octets = || prop::collection::vec(any::<u8>(), 0..140);
    let pid = prop::sample::select(vec![0x08u8, 0x0A, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50]);
    let payload = (pid, octets()).prop_map(|(pid, mut rest)| {
        rest.insert(0, pid);
        rest.truncate(140);
        rest
    });
    prop_oneof![
        4 => Just(Input::Tick),
        1 => octets().prop_map(Input::SmsDeliver),
        3 => payload.clone().prop_map(|payload| Input::SmsDeliver(deliver_from(CENTRE, &payload))),
        3 => payload.prop_map(|payload| Input::IpPayload(payload.into())),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(reference, ok)| Input::SmsSubmitResult { reference, ok }),
        1 => any::<u8>().prop_map(Input::MenuSelection),
        1 => Just(Input::PowerOff),
        2 => Just(Input::PowerOn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_input_makes_it_panic(inputs in prop::collection::vec(inputs(), 1..80), record in any::<u8>()) {
        let mut station = Station::new(StationConfig::default());
        let mut now = Duration::ZERO;
        for input in inputs {
            now += Duration::from_secs(6);
            station.handle_input(input, now);
            station.update_record(EF_ADN, record, &[record; 28]);
            while station.poll_output().is_some() {}
        }
        station.contacts();
    }

    /// Covers: S2-CF-07
    #[test]
    fn card_and_centre_compute_equal_tables(
        edits in prop::collection::vec((1..=12u8, 0..4u8, 0..9usize, any::<bool>()), 1..60),
        on_ip in any::<bool>(),
    ) {
        let bearer = if on_ip { Bearer::Ip } else { Bearer::Sms };
        let mut rig = Rig::with(StationConfig { bearer, ..StationConfig::default() });
        let mut centre = ChecksumTable::default();
        for (record, content, polls, network_ok) in edits {
            rig.network_ok = network_ok;
            rig.edit(record, &[if content == 0 { 0xFF } else { content }; 28]);
            for _ in 0..polls {
                rig.poll();
                answer(&mut rig, &mut centre);
            }
        }
        rig.network_ok = true;
        for _ in 0..200 {
            rig.poll();
            answer(&mut rig, &mut centre);
        }
        prop_assert!(!rig.station.pending());
        prop_assert_eq!(&centre, &rig.station.eeprom().checksums);
    }
}

/// The centre: stores, compares the database checksum, acknowledges.
fn answer(rig: &mut Rig, centre: &mut ChecksumTable) {
    let sent: Vec<Vec<u8>> = rig.sent.drain(..).chain(rig.sent_on_ip.drain(..)).collect();
    for payload in sent {
        let monitor = rig.station.eeprom().monitor.clone();
        let Ok(Message::Backup { records, checksum, refused: None }) = Message::decode(&payload, &monitor) else {
            panic!("{payload:02X?} is no backup");
        };
        let mut acknowledgement = vec![0x10];
        for record in records {
            centre.apply_record(record.monitor_index, record.record_number, &record.data);
            acknowledgement.extend([record.monitor_index, record.record_number, 0]);
        }
        assert_eq!(checksum.compare(centre.database_checksum()), Some(true));
        rig.input(Input::IpPayload(acknowledgement.into()));
    }
}
