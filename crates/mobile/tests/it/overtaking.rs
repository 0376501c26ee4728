//! Answers that come late, restores over changes that wait, and messages that cannot leave.

use std::{collections::BTreeSet, time::Duration};

use link::message::Message;
use mobile::{Bearer, Input, Output, Station, StationConfig, applet::memory::Flight};
use uicc::files::EF_ADN;

use crate::{
    rig::{CENTRE, Rig, bob, deliver_from, hex, home, message, office},
    world::World,
};

const SUCCESS: [u8; 4] = [0x10, 0, 1, 0];

/// Covers: S2-AK-06
#[test]
fn late_answers_are_counted_by_sends() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.polls(66);
    assert_eq!(rig.sent.len(), 2, "the repeat of D-36");
    rig.receive(&SUCCESS);
    assert!(!rig.station.pending());
    rig.edit(1, &home());
    rig.polls(5);
    rig.receive(&SUCCESS);
    assert!(rig.station.pending(), "that was the answer to the repeat");
    rig.receive(&SUCCESS);
    assert!(!rig.station.pending());
    assert!(rig.station.eeprom().in_flight.is_empty());
}

#[test]
fn the_count_of_late_answers_is_forgotten_in_time() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(71);
    rig.receive(&SUCCESS);
    assert!(matches!(rig.station.eeprom().in_flight[0].state, Flight::Settled { .. }));
    rig.polls(60);
    assert!(rig.station.eeprom().in_flight.is_empty());
}

/// Covers: S2-AK-06
#[test]
fn a_refusal_that_overtakes_an_older_success_is_heard() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.edit(1, &home());
    rig.polls(5);
    rig.receive(&[0x10, 0, 1, 1]);
    rig.receive(&SUCCESS);
    rig.polls(70);
    assert_eq!(rig.sent.len(), 3, "the newest version is sent again");
    assert_eq!(rig.sent[2], rig.sent[1]);
    rig.receive(&SUCCESS);
    assert!(!rig.station.pending());
}

#[test]
fn forced_repeats_are_not_compared() {
    let newest = message(&[&[0x0A, 0, 1], &bob(), &[0xD0, 0x26]]);
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.polls(66);
    assert_eq!(rig.sent, [newest.clone(), newest.clone()], "D-36");
    rig.receive(&[0x10, 0, 1, 2]);
    rig.polls(6);
    assert_eq!(rig.sent.len(), 3, "D-37");
    rig.receive(&SUCCESS);
    rig.receive(&SUCCESS);
    rig.polls(100);
    rig.sent.clear();
    rig.receive(&hex("30 0AFF"));
    rig.polls(2);
    rig.receive(&SUCCESS);
    rig.polls(10);
    assert!(rig.sent.contains(&newest), "CID 0A, whatever late answer comes between");
}

/// CID 0A asks for everything: the success of a repeat that coincides does not take that back.
#[test]
fn a_resynchronisation_outlives_a_late_success() {
    let mut rig = Rig::new();
    rig.edit(1, &bob());
    rig.polls(5);
    rig.network_ok = false;
    // No place in the message, so that the event of record 1 stays to be seen.
    (2..=5).for_each(|number| rig.edit(number, &bob()));
    rig.receive(&hex("30 0AFF"));
    rig.polls(70);
    let is_repeat_queued = |rig: &Rig| rig.station.eeprom().in_flight.iter().any(|each| each.state == Flight::Queued);
    assert!(is_repeat_queued(&rig) && rig.station.eeprom().events.len() == 1);
    rig.receive(&SUCCESS);
    assert!(!is_repeat_queued(&rig));
    rig.sent.clear();
    rig.network_ok = true;
    rig.polls(30);
    let newest = message(&[&[0, 1], &bob()]);
    assert!(rig.sent.iter().any(|sent| sent.windows(30).any(|octets| octets == newest)));
}

/// More repeats than the event buffer holds are no reason to send the whole row.
#[test]
fn repeats_without_room_wait_for_it() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    // All forty in one message.
    rig.receive(&hex("30 0C32"));
    rig.polls(4);
    for first in [1, 41] {
        (first..first + 40).for_each(|number| rig.edit(number, &bob()));
        rig.polls(60);
        let answers: Vec<u8> = (1..=40).flat_map(|number| [0, number, 0]).collect();
        rig.input(Input::IpPayload(message(&[&[0x10], &answers]).into()));
    }
    rig.sent_on_ip.clear();
    rig.polls(200);
    let repeated: Vec<u8> =
        rig.sent_on_ip.iter().flat_map(|sent| sent[1..].chunks_exact(30)).map(|each| each[1]).collect();
    assert!((41..=80).all(|number| repeated.contains(&number)));
    assert!(repeated.iter().all(|number| *number > 40), "{repeated:?}");
}

/// Covers: S2-CF-02
#[test]
fn off_keeps_what_waits_and_on_sends_it() {
    let mut rig = Rig::new();
    for (number, entry) in [(1, bob()), (2, home()), (3, office())] {
        rig.edit(number, &entry);
    }
    rig.polls(3);
    rig.receive(&message(&[&SUCCESS, &[0, 2, 0]]));
    rig.sent.clear();
    // Placed in the outbound message and sent without an answer: record 3; placed: the deletion of record 2.
    rig.edit(2, &[0xFF; 28]);
    rig.receive(&hex("30 0100"));
    rig.polls(4);
    assert!(!rig.station.eeprom().configuration.service_on);
    assert_eq!(rig.station.eeprom().outbound.len(), 1);
    rig.sent.clear();
    rig.edit(1, &[0xFF; 28]);
    rig.polls(100);
    assert!(rig.sent.is_empty() && !rig.station.pending());
    rig.receive(&hex("30 0101"));
    rig.polls(15);
    let backup = rig.sent.iter().find(|sent| sent[0] == 0x0A).unwrap();
    let records: Vec<_> = backup[1..backup.len() - 2].chunks(30).collect();
    for expected in [(1, vec![0xFF; 28]), (2, vec![0xFF; 28]), (3, office())] {
        assert!(records.contains(&&message(&[&[0, expected.0], &expected.1])[..]), "{expected:?}");
    }
}

#[test]
fn a_deletion_that_waits_outlives_the_clearing_of_the_checksums() {
    let mut rig = Rig::new();
    (1..=5).for_each(|number| rig.edit(number, &bob()));
    rig.polls(20);
    let all: Vec<u8> = (1..=5).flat_map(|number| [0, number, 0]).collect();
    rig.receive(&message(&[&[0x10], &all]));
    rig.sent.clear();
    // The fifth does not fit the message, its deletion is only an event yet.
    rig.network_ok = false;
    (1..=5).for_each(|number| rig.edit(number, &[0xFF; 28]));
    rig.receive(&hex("30 09FF"));
    rig.polls(3);
    let left: Vec<u8> = rig.station.eeprom().checksums.rows().map(|row| row.record_number).collect();
    assert_eq!(left, [5], "as the centre has it: D-20");
    rig.network_ok = true;
    rig.polls(30);
    assert!(rig.station.eeprom().checksums.is_empty());
    let told: Vec<u8> = rig
        .sent
        .iter()
        .filter(|sent| sent[0] & 0xF8 == 8)
        .flat_map(|sent| sent[1..].chunks(30).map(|each| *each.get(1).unwrap_or(&0)).collect::<Vec<_>>())
        .collect();
    assert!((1..=5).all(|number| told.contains(&number)), "{told:?}");
}

/// More deletions wait than the event buffer holds when the centre clears the checksums and asks for everything (D-62).
#[test]
fn deletions_beyond_the_event_buffer_outlive_the_clearing_of_the_checksums() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    (1..=100).for_each(|number| rig.edit(number, &bob()));
    let mut book = BTreeSet::new();
    exchange(&mut rig, &mut book);
    assert_eq!(book.len(), 100);
    rig.receive(&hex("30 0400"));
    rig.polls(5);
    rig.network_ok = false;
    (1..=100).for_each(|number| rig.edit(number, &[0xFF; 28]));
    rig.receive(&hex("30 09FF 0AFF"));
    rig.polls(5);
    rig.network_ok = true;
    exchange(&mut rig, &mut book);
    assert!(book.is_empty(), "{} deletions were never sent: {book:?}", book.len());
    assert!(rig.station.eeprom().checksums.is_empty() && !rig.station.pending());
}

/// The centre's part until nothing waits: it keeps the numbers of the records that are not empty, and acknowledges.
fn exchange(rig: &mut Rig, book: &mut BTreeSet<u8>) {
    for _ in 0..1000 {
        let sent: Vec<_> = rig.sent.drain(..).chain(rig.sent_on_ip.drain(..)).collect();
        for payload in sent {
            let monitor = rig.station.eeprom().monitor.clone();
            let Ok(Message::Backup { records, .. }) = Message::decode(&payload, &monitor) else { continue };
            let mut acknowledgement = vec![0x10];
            for record in records {
                acknowledgement.extend([record.monitor_index, record.record_number, 0]);
                if record.is_empty() {
                    book.remove(&record.record_number);
                } else {
                    book.insert(record.record_number);
                }
            }
            rig.input(Input::IpPayload(acknowledgement.into()));
        }
        if !rig.station.pending() {
            return;
        }
        rig.poll();
    }
}

#[test]
fn a_long_acknowledgement_is_split() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0502 0600 7F106F3A 0064 0000 04"));
    rig.polls(10);
    rig.sent.clear();
    let records: Vec<u8> = (1..=23).flat_map(|number| [0, number, 0xAA, number, 3, 4]).collect();
    rig.receive(&message(&[&[0x18], &records]));
    rig.polls(40);
    let results: Vec<u8> = rig.sent.iter().flat_map(|sent| sent[1..].chunks(7).map(|each| each[4])).collect();
    assert_eq!(results, (1..=23).collect::<Vec<u8>>());
    assert_eq!(rig.sent.iter().map(Vec::len).collect::<Vec<_>>(), [1 + 19 * 7, 1 + 4 * 7]);
    assert!(rig.sent.iter().all(|sent| sent[0] == 0x20));
    assert!(!rig.station.pending());
}

/// The network takes nothing, and there are more changes than one message holds: a configuration gets through.
#[test]
fn events_without_a_place_do_not_keep_out_a_configuration() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    (1..=10).for_each(|number| rig.edit(number, &bob()));
    rig.polls(30);
    rig.receive(&hex("30 0401"));
    rig.polls(4);
    assert_eq!(rig.station.bearer(), Bearer::Ip);
    rig.polls(10);
    let records: usize = rig.sent_on_ip.iter().map(|sent| (sent.len() - 3) / 30).sum();
    assert_eq!(records, 10);
}

/// The other way round: IP is dead, everything that was sent there is lost.
#[test]
fn a_dead_ip_link_is_left_by_configuration() {
    let mut rig = Rig::with(StationConfig { bearer: Bearer::Ip, ..StationConfig::default() });
    (1..=40).for_each(|number| rig.edit(number, &bob()));
    rig.polls(5);
    rig.receive(&hex("30 0400"));
    rig.polls(4);
    assert_eq!(rig.station.bearer(), Bearer::Sms);
    rig.polls(70);
    assert!(!rig.sent.is_empty(), "repeated on SMS (D-36)");
}

#[test]
fn a_restore_wins_over_a_change_that_waits() {
    let mut rig = Rig::new();
    rig.network_ok = false;
    // In the outbound message: 1 to 4; among the events: 5.
    (1..=5).for_each(|number| rig.edit(number, &bob()));
    rig.receive(&message(&[&[0x18, 0, 1], &home(), &[0, 5], &home()]));
    rig.polls(3);
    rig.network_ok = true;
    rig.polls(40);
    assert_eq!(rig.station.read_record(EF_ADN, 1), Some(home()));
    assert_eq!(rig.station.read_record(EF_ADN, 5), Some(home()));
    let backups: Vec<_> = rig.sent.iter().filter(|sent| sent[0] == 0x0A).collect();
    assert_eq!(backups.len(), 1);
    let numbers: Vec<u8> = backups[0][1..].chunks_exact(30).map(|each| each[1]).collect();
    assert_eq!(numbers, [2, 3, 4], "nothing stale, no echo");
    rig.receive(&[0x10, 0, 2, 0, 0, 3, 0, 0, 4, 0]);
    assert!(!rig.station.pending());
}

/// Two rows over one file: a restore through one leaves a change that waits for the other alone.
#[test]
fn a_restore_of_other_octets_leaves_a_change_alone() {
    let mut rig = Rig::new();
    rig.receive(&hex("30 0600 7F106F3A 0064 0000 0E 0601 7F106F3A 0064 000E 0E"));
    rig.polls(10);
    rig.sent.clear();
    rig.edit(1, &bob());
    rig.receive(&message(&[&[0x18, 0, 1], &home()[..14]]));
    rig.polls(20);
    assert_eq!(rig.station.read_record(EF_ADN, 1), Some(message(&[&home()[..14], &bob()[14..]])));
    let backups: Vec<_> = rig.sent.iter().filter(|sent| sent[0] == 0x0A).collect();
    assert_eq!(backups.len(), 1);
    assert_eq!(backups[0][1..17], message(&[&[1, 1], &bob()[14..]]));
    // Part of a row: the change that waits goes out with what is around it now; without one there is no echo.
    rig.receive(&[0x10, 1, 1, 0]);
    rig.sent.clear();
    rig.receive(&hex("28 7F10 6F3A 01 0003 02 4142"));
    rig.polls(10);
    assert_eq!(rig.sent, [hex("20 7F106F3A 01 0000")]);
    rig.sent.clear();
    rig.edit(2, &bob());
    rig.receive(&hex("28 7F10 6F3A 02 0003 02 4142"));
    rig.polls(10);
    let backup = rig.sent.iter().find(|sent| sent[0] == 0x0A).unwrap();
    assert_eq!(backup[1..8], hex("0002 42 4F 42 41 42"));
}

/// D-111: the centre writes the restored content into its book when the acknowledgement comes; a change that was backed up
/// before that must come again.
#[test]
fn what_overtakes_the_acknowledgement_is_sent_once_more() {
    let mut world = World::new(Bearer::Sms, vec![]).with_book([(1, [1; 28])]);
    world.centre.restore([(0, 1)]);
    world.poll();
    assert!(world.station.eeprom().acknowledgement_flag());
    // The acknowledgement fails and pauses; when the network is back the change's interval ends first.
    world.coverage = false;
    world.edit(1, 7);
    world.poll();
    assert!(world.station.eeprom().acknowledgement_flag());
    world.coverage = true;
    (0..4).for_each(|_| world.poll());
    assert_eq!(world.centre.backups.len(), 1);
    world.come_to_rest(false);
    world.assert_equal();
}

#[test]
fn a_restore_while_the_phone_is_sending_leaves_nothing_to_repeat() {
    let mut station = Station::new(StationConfig::default());
    assert!(station.update_record(EF_ADN, 1, &bob()));
    let mut now = Duration::ZERO;
    let mut sent: Vec<u8> = vec![];
    let mut turn = |station: &mut Station, input: Input| {
        now += Duration::from_secs(5);
        station.handle_input(input, now);
        while let Some(output) = station.poll_output() {
            if let Output::SmsSubmit { reference, .. } = output {
                sent.push(reference);
            }
        }
        sent.last().copied()
    };
    let reference = (0..9).find_map(|_| turn(&mut station, Input::Tick)).unwrap();
    let restore = message(&[&[0x18, 0, 1], &home()]);
    turn(&mut station, Input::SmsDeliver(deliver_from(CENTRE, &restore)));
    assert_eq!(station.read_record(EF_ADN, 1), Some(home()));
    turn(&mut station, Input::SmsSubmitResult { reference, ok: true });
    assert!(station.eeprom().acknowledgement_flag());
    let reference = turn(&mut station, Input::Tick).unwrap();
    turn(&mut station, Input::SmsSubmitResult { reference, ok: true });
    assert!(!station.pending(), "no answer is awaited, for none would be about what is there now");
    for _ in 0..100 {
        assert_eq!(turn(&mut station, Input::Tick), Some(reference));
    }
}
