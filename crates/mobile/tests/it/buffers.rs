//! Each buffer filled beyond its capacity (D-42).

use link::file_result::FileResult;
use mobile::{Bearer, applet::memory};
use uicc::files::EF_ADN;

use crate::{
    rig::{Rig, bob, hex, home, message},
    world::World,
};

/// What the applet keeps, as text; the statistics are left out.
fn eeprom(rig: &Rig) -> String {
    let mut eeprom = rig.station.eeprom().clone();
    eeprom.counts = memory::Counts::default();
    format!("{eeprom:?}")
}

fn assert_survives_power_off(rig: &mut Rig) {
    let before = eeprom(rig);
    rig.power_cycle();
    assert_eq!(eeprom(rig), before);
}

/// Covers: S2-BF-01
#[test]
fn every_buffer_beyond_its_capacity() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    // Outbound: four records fit a short message; events: 32; the rest is left to a look through the row.
    for number in 1..=60 {
        let mut entry = bob();
        entry[0] = number;
        rig.edit(number, &entry);
    }
    assert_eq!(rig.station.eeprom().outbound.len(), 4);
    assert_eq!(rig.station.eeprom().events.len(), memory::EVENTS_MAX);
    assert_eq!(rig.station.eeprom().scans.keys().collect::<Vec<_>>(), [&0]);
    assert_survives_power_off(&mut rig);

    // One message in the restore/configuration buffer, its acknowledgement growing beside; four wait; the sixth is told
    // that the card is busy, and of more such errors four are kept.
    let restore = message(&[&[0x18, 0, 90], &home(), &[0, 91], &home(), &[0, 92], &home()]);
    for _ in 0..12 {
        rig.receive(&restore);
    }
    let busy = FileResult { df: 0, ef: 0, record_number: 0, result: 1, reason: 7 };
    assert_eq!(rig.station.eeprom().errors, [busy; memory::ERRORS_MAX]);
    assert_eq!(rig.station.eeprom().inbound.len(), memory::INBOUND_MAX);
    assert!(rig.station.eeprom().job.is_some() && rig.station.eeprom().acknowledgement_flag());
    assert_survives_power_off(&mut rig);

    rig.network_ok = true;
    let mut stored = std::collections::BTreeSet::new();
    let mut acknowledged = 0;
    for _ in 0..600 {
        rig.poll();
        for sent in std::mem::take(&mut rig.sent) {
            match sent[0] {
                0x0A => {
                    let records = sent[1..sent.len() - 2].chunks(30).map(|each| [each[0], each[1], 0]);
                    let acknowledgement: Vec<u8> = records.flatten().collect();
                    stored.extend(acknowledgement.chunks(3).map(|each| each[1]));
                    rig.receive(&message(&[&[0x10], &acknowledgement]));
                }
                0x20 => acknowledged += 1,
                other => assert_eq!(other, 0x48),
            }
        }
    }
    assert!(!rig.station.pending());
    assert_eq!(stored, (1..=60).collect());
    assert_eq!(acknowledged, 6, "those that had a place, each with its own acknowledgement");
}

/// Covers: S2-CG-01
#[test]
fn the_receipt_of_a_configuration_is_an_event() {
    let mut rig = Rig::new();
    for number in 1..=5 {
        rig.edit(number, &bob());
    }
    rig.receive(&hex("30 0C07"));
    let events = &rig.station.eeprom().events;
    assert!(events.contains(&memory::Event::Configuration), "{events:?}");
    assert_eq!(rig.station.eeprom().configuration.retry_preset, 5);
    rig.polls(20);
    assert!(rig.station.eeprom().events.is_empty());
    assert_eq!(rig.station.eeprom().configuration.retry_preset, 7);
}

#[test]
fn a_configuration_that_waits_is_in_the_inbound_buffer_and_among_the_events() {
    let mut rig = Rig::new();
    rig.receive(&message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home(), &[0, 3], &home()]));
    rig.network_ok = false;
    (1..=7).for_each(|number| rig.edit(10 + number, &bob()));
    rig.receive(&hex("30 0C07"));
    assert!(rig.station.eeprom().inbound.len() == 1 || rig.station.eeprom().job.is_some());
    rig.network_ok = true;
    rig.polls(40);
    assert_eq!(rig.station.eeprom().configuration.retry_preset, 7);
    assert!(rig.sent.contains(&hex("38 0C00")));
}

/// A burst of edits is a burst of status events: repeats of D-36 come early, but no more than three, and nothing is lost.
#[test]
fn a_burst_of_edits_repeats_within_bounds() {
    let mut world = World::new(Bearer::Sms, vec![]);
    for round in 1..=100 {
        (1..=9).for_each(|record| world.edit(record, round));
    }
    world.come_to_rest(true);
    world.assert_equal();
    let messages = world.centre.backups.len();
    assert!(messages <= 900 / 5 + 9, "{messages} messages for 900 status events");

    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    for _ in 0..300 {
        assert!(rig.station.update_record(EF_ADN, 90, &[0xFF; 28]));
        rig.collect();
    }
    let of_record_1 = rig.sent.iter().filter(|sent| sent[0] == 0x0A).count();
    assert_eq!(of_record_1, 4, "once and three repeats, whatever the number of status events");
    rig.receive(&[0x10, 0, 1, 0]);
    rig.polls(200);
    assert_eq!(rig.sent.iter().filter(|sent| sent[0] == 0x0A).count(), 4);
}
