//! The backup and acknowledgement managers of the first embodiment (Figs 13 and 14), and resynchronisation.

use link::{checksum::crc16, first::Message};
use mobile::{
    Bearer, Input, StationConfig,
    applet::first::{Settings, Slot},
};
use uicc::files::EF_SMS;

use crate::{
    first_centre::{
        Centre, EMPTY, acknowledgement, buffered, card, eeprom, entries, entry, first, flags, restore, slot,
    },
    rig::{Rig, bob, hex, home, message, office},
};

/// A card that has just sent entries 1 to `count`.
fn sent(adn_records: u8, count: u8) -> Rig {
    let mut rig = card(adn_records);
    (1..=count).for_each(|number| rig.edit(number, &entry(number, 1)));
    while rig.sent.is_empty() {
        rig.poll();
    }
    rig
}

/// Covers: S1-BK-01, S1-BK-02, S1-BK-03, S1-ST-08
#[test]
fn the_backup_manager_sends_the_buffer_and_clears_it() {
    let mut rig = card(100);
    for (number, data) in [(1, bob()), (2, home()), (3, office())] {
        rig.edit(number, &data);
    }
    rig.polls(21);
    assert_eq!(buffered(&rig), [1, 2, 3]);
    let held = eeprom(&rig).buffer.clone();
    assert!(!eeprom(&rig).ack_pending);
    rig.polls(1);
    // Vector 2.
    let expected = message(&[&[1, 1], &bob(), &[2], &home(), &[3], &office(), &[0], &[0xFF; 28]]);
    assert_eq!((rig.sent.clone(), crc16(&rig.sent[0])), (vec![expected.clone()], 0xC1BE));
    assert_eq!(Message::Backup { entries: held, is_checked: false }.encode(), expected, "the buffer as it was");
    let eeprom = eeprom(&rig);
    assert!(eeprom.buffer.is_empty() && eeprom.sessions == 0 && eeprom.ack_pending);
    assert_eq!(flags(&rig), [1, 2, 3]);
    rig.receive_stored(&acknowledgement(&[(1, 0), (2, 0), (3, 0)]));
    assert_eq!(flags(&rig), []);
}

#[test]
fn with_the_option_a_backup_has_its_checksum() {
    let mut rig = first(Settings { with_checksum: true, ..Settings::default() }, StationConfig::default());
    rig.edit(1, &bob());
    rig.polls(22);
    assert_eq!(rig.sent[0].len(), 119);
    assert_eq!(rig.sent[0][117..], [0x68, 0x8A], "vector 2");
}

/// Covers: S1-AK-01, S1-AK-02, S1-AK-03, S1-AK-04, S1-ST-08
#[test]
fn the_acknowledgement_manager_clears_what_was_stored() {
    let mut rig = sent(100, 3);
    assert_eq!((flags(&rig), eeprom(&rig).ack_pending), (vec![1, 2, 3], true));
    let refreshes = rig.station.statistics().refreshes;
    // Vector 4: 1 and 2 stored, 3 refused, the fourth pair empty.
    rig.receive_stored(&hex("03 01 00 02 00 03 02 00 00"));
    assert_eq!(slot(&rig), Slot::Message, "all in one slot");
    assert_eq!((flags(&rig), eeprom(&rig).ack_pending), (vec![3], false));
    assert_eq!(rig.station.statistics().records_backed_up, 2);
    assert_eq!(eeprom(&rig).backup_record(1).unwrap().checksum, crc16(&entry(1, 1)));
    let record = rig.station.read_record(EF_SMS, 1).unwrap();
    assert_eq!(record[0], 0x00, "the slot is free");
    assert_eq!(rig.station.statistics().refreshes, refreshes + 1);
    assert_eq!(rig.station.copy_of(EF_SMS), [record], "and the phone knows");
    // The slots do not fill up.
    (0..50).for_each(|_| rig.receive_stored(&acknowledgement(&[])));
    assert_eq!(rig.station.statistics().sms_refused, 0);
}

/// Covers: S1-AK-05
#[test]
fn a_lost_message_is_sent_again() {
    for (lost, number) in [(Lost::Message, 1), (Lost::Message, 60), (Lost::Acknowledgement, 100), (Lost::Refused, 3)] {
        let mut rig = card(100);
        let mut centre = Centre::default();
        rig.edit(number, &entry(number, 1));
        while rig.sent.is_empty() {
            rig.poll();
        }
        rig.sent.clear();
        match lost {
            Lost::Message | Lost::Acknowledgement => {}
            Lost::Refused => rig.receive_stored(&acknowledgement(&[(number, 1)])),
        }
        assert_eq!(flags(&rig), [number]);
        // Within one pass and 41 polls; the slot in which a message leaves is not one of the pass.
        let mut polls = 0;
        while centre.book.is_empty() {
            centre.polls(&mut rig, 1);
            polls += 1;
            assert!(polls <= 100 + 41, "{lost:?} {number}");
        }
        assert!(polls > 41, "not before the wait is over: {polls}");
        assert_eq!((flags(&rig), centre.book[&number]), (vec![], entry(number, 1)));
    }
}

#[derive(Clone, Copy, Debug)]
enum Lost {
    Message,
    Acknowledgement,
    /// It was damaged, and the centre says so.
    Refused,
}

#[test]
fn what_the_network_does_not_take_is_found_by_the_next_pass() {
    let mut rig = card(10);
    rig.network_ok = false;
    rig.edit(1, &bob());
    rig.polls(60);
    assert!(rig.sent.is_empty() && !eeprom(&rig).ack_pending);
    assert!(rig.station.statistics().sms_failed >= 2);
    rig.network_ok = true;
    let mut centre = Centre::default();
    centre.polls(&mut rig, 40);
    assert_eq!(centre.book.len(), 1);
    assert!(!rig.station.pending());
}

/// Covers: S1-AK-06
#[test]
fn an_acknowledgement_of_an_older_version_hides_nothing() {
    // Edited between sending and acknowledgement.
    let mut rig = sent(10, 1);
    rig.edit(1, &entry(1, 2));
    rig.sent.clear();
    rig.receive_stored(&acknowledgement(&[(1, 0)]));
    let mut centre = Centre::default();
    centre.polls(&mut rig, 40);
    assert_eq!(centre.book[&1], entry(1, 2));
    assert!(!rig.station.pending());

    // The newer version is sent, and lost, before the acknowledgement of the older one comes.
    let mut rig = sent(10, 1);
    rig.edit(1, &entry(1, 2));
    rig.polls(32);
    assert_eq!(entries(&rig.sent[1]), [(1, entry(1, 2))]);
    rig.sent.clear();
    rig.receive_stored(&acknowledgement(&[(1, 0)]));
    assert_eq!(flags(&rig), [1]);
    let mut centre = Centre::default();
    centre.polls(&mut rig, 100);
    assert_eq!((centre.book[&1], flags(&rig)), (entry(1, 2), vec![]));

    // Edited back while the change is on its way, and that is lost: the centre may have it nevertheless.
    let mut rig = card(10);
    let mut centre = Centre::default();
    rig.edit(1, &entry(1, 1));
    centre.polls(&mut rig, 40);
    rig.edit(1, &entry(1, 2));
    rig.polls(40);
    assert_eq!(entries(&rig.sent[0]), [(1, entry(1, 2))]);
    rig.edit(1, &entry(1, 1));
    centre.polls(&mut rig, 100);
    assert_eq!(centre.book[&1], entry(1, 1));
}

/// Three times refused for good: told to the centre, and not sent again until it changes (D-37).
#[test]
fn a_version_refused_for_good_is_given_up() {
    let mut rig = card(5);
    rig.edit(1, &entry(1, 1));
    for sends in 1..=3 {
        while rig.sent.len() < sends {
            rig.poll();
        }
        rig.receive_stored(&acknowledgement(&[(1, 2)]));
    }
    assert_eq!(rig.sent[3..], [hex("07 01 00")]);
    rig.polls(200);
    assert_eq!((rig.sent.len(), rig.station.pending()), (4, false));
    rig.edit(1, &entry(1, 2));
    rig.polls(30);
    assert_eq!(entries(&rig.sent[4]), [(1, entry(1, 2))]);
}

/// The card's half of S1-RY-01: every entry in use and every deletion not yet told, whatever was acknowledged.
#[test]
fn a_resynchronisation_sends_all_that_is_used() {
    for bearer in [Bearer::Sms, Bearer::Ip] {
        let config = StationConfig { bearer, adn_records: 20, ..StationConfig::default() };
        let mut rig = first(Settings::default(), config);
        let mut centre = Centre::default();
        (1..=10).for_each(|number| rig.edit(number, &entry(number, 1)));
        centre.polls(&mut rig, 60);
        assert_eq!(centre.book.len(), 10);
        rig.edit(4, &EMPTY);
        let request = [0x06];
        match bearer {
            Bearer::Sms => rig.receive_stored(&request),
            Bearer::Ip => rig.input(Input::IpPayload(request.to_vec().into())),
        }
        let mut other = Centre::default();
        other.book.insert(4, entry(4, 1));
        other.polls(&mut rig, 60);
        assert_eq!(other.messages, [vec![1, 2, 3, 4], vec![5, 6, 7, 8], vec![9, 10]]);
        let card: Vec<u8> = (1..=10).filter(|number| *number != 4).collect();
        assert_eq!(other.book.into_keys().collect::<Vec<_>>(), card);
        assert!(!rig.station.pending());
    }
}

#[test]
fn buffer_flags_and_flights_survive_power_off() {
    let mut rig = sent(10, 2);
    rig.edit(3, &entry(3, 1));
    rig.polls(10);
    assert_eq!(buffered(&rig), [3]);
    let before = eeprom(&rig).clone();
    rig.power_cycle();
    let after = eeprom(&rig);
    assert_eq!(
        (&after.buffer, &after.backup_file, &after.in_flight),
        (&before.buffer, &before.backup_file, &before.in_flight)
    );
    rig.sent.clear();
    let mut centre = Centre::default();
    centre.polls(&mut rig, 60);
    assert_eq!(centre.book.len(), 3);

    // Power goes while the message is with the phone: it is in flight like one that was lost.
    let mut rig = card(10);
    rig.edit(1, &bob());
    while rig.station.first().unwrap().last_slot() != Slot::Backup {
        rig.now = rig.station.next_timeout().unwrap();
        rig.station.handle_input(Input::Tick, rig.now);
    }
    rig.power_cycle();
    let mut centre = Centre::default();
    centre.polls(&mut rig, 60);
    assert_eq!(centre.book[&1].to_vec(), bob());
}

/// A restore wins over what waits for the same entry, and a late answer to that clears no newer change.
#[test]
fn a_restore_voids_what_waits() {
    let mut rig = sent(10, 1);
    rig.receive_stored(&restore(&[(1, entry(1, 5))]));
    assert_eq!(flags(&rig), []);
    rig.edit(1, &entry(1, 6));
    rig.polls(40);
    assert_eq!(entries(&rig.sent[1]), [(1, entry(1, 6))]);
    // The answer to the version before the restore.
    rig.receive_stored(&acknowledgement(&[(1, 0)]));
    assert_eq!(flags(&rig), [1]);
    rig.receive_stored(&acknowledgement(&[(1, 0)]));
    assert_eq!(flags(&rig), []);
}
