//! The idle processor of the first embodiment (Fig. 12): one entry per poll, four entries or twenty sessions.

use std::time::Duration;

use mobile::{
    StationConfig,
    applet::first::{Settings, Slot, memory::empty_checksum},
};

use crate::{
    first_centre::{Centre, EMPTY, both, buffered, card, eeprom, entries, entry, first, flags, slot},
    rig::{bob, home, office},
};

/// Covers: S1-ID-01, S1-ID-04
#[test]
fn a_full_pass_examines_each_entry_once() {
    let mut rig = card(100);
    let begun = rig.now;
    for number in 1..=100 {
        rig.poll();
        assert_eq!(slot(&rig), Slot::Idle { examined: number });
    }
    assert_eq!(rig.now - begun, Duration::from_secs(500));
    rig.poll();
    assert_eq!(slot(&rig), Slot::Idle { examined: 1 });
    // A message comes: no entry is examined in its slot.
    rig.receive_stored(&[0x03, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(slot(&rig), Slot::Message);
    rig.poll();
    assert_eq!(slot(&rig), Slot::Idle { examined: 2 });
}

/// Covers: S1-ID-03, S1-ID-05
#[test]
fn one_change_leaves_on_the_twenty_first_poll_after_it_was_found() {
    let mut rig = card(100);
    rig.polls(100);
    assert_eq!(eeprom(&rig).sessions, 0, "nothing waits");
    rig.edit(1, &bob());
    rig.poll();
    let found = rig.now;
    assert_eq!((buffered(&rig), eeprom(&rig).sessions), (vec![1], 0));
    for sessions in 1..=20 {
        rig.poll();
        assert_eq!((eeprom(&rig).sessions, rig.sent.len()), (sessions, 0));
        assert!(matches!(slot(&rig), Slot::Idle { .. }));
    }
    rig.poll();
    assert_eq!((rig.sent.len(), slot(&rig)), (1, Slot::Backup));
    assert_eq!(rig.now - found, Duration::from_secs(105));
}

/// The counts are of polls, whatever their interval (D-34).
#[test]
fn the_counts_follow_the_interval_that_the_phone_grants() {
    for (asked, minimum, expected) in [(2, 1, 42), (2, 7, 147)] {
        let settings = Settings { poll_seconds: asked, ..Settings::default() };
        let config = StationConfig { poll_minimum: Duration::from_secs(minimum), ..StationConfig::default() };
        let mut rig = first(settings, config);
        rig.edit(1, &bob());
        rig.poll();
        let found = rig.now;
        while rig.sent.is_empty() {
            rig.poll();
        }
        assert_eq!((rig.now - found).as_secs(), expected);
    }
}

/// Covers: S1-ID-02
#[test]
fn a_full_message_leaves_on_the_next_poll() {
    let mut rig = card(100);
    (1..=7).for_each(|number| rig.edit(number, &entry(number, 1)));
    for waiting in 1..=4 {
        rig.poll();
        assert_eq!((buffered(&rig).len(), rig.sent.len()), (waiting, 0));
    }
    rig.poll();
    assert_eq!((rig.sent.len(), slot(&rig)), (1, Slot::Backup));
    assert_eq!(entries(&rig.sent[0]), (1..=4).map(|number| (number, entry(number, 1))).collect::<Vec<_>>());
    for _ in 0..200 {
        rig.poll();
        assert!(buffered(&rig).len() <= 4);
    }
    // The network takes nothing, the phone does not even answer: the buffer stays at four.
    let mut rig = card(100);
    (1..=7).for_each(|number| rig.edit(number, &entry(number, 1)));
    for _ in 0..20 {
        let due = rig.station.next_timeout().unwrap();
        rig.station.handle_input(mobile::Input::Tick, due);
        assert!(buffered(&rig).len() <= 4);
    }
}

/// Covers: S1-ID-06
#[test]
fn the_last_entry_is_scanned() {
    for entries_of_file in [100, 254, 1] {
        let mut rig = card(entries_of_file);
        let mut centre = Centre::default();
        rig.edit(entries_of_file, &bob());
        centre.polls(&mut rig, usize::from(entries_of_file) + 21);
        assert_eq!(centre.messages, [[entries_of_file]]);
        assert_eq!(centre.book[&entries_of_file].to_vec(), bob());
    }
}

/// Covers: S1-ID-07
#[test]
fn a_deletion_is_a_change_and_an_entry_never_used_is_none() {
    for mut rig in both(20) {
        let mut centre = Centre::default();
        for number in [3, 7] {
            rig.edit(number, &entry(number, 1));
        }
        centre.polls(&mut rig, 60);
        assert_eq!(centre.messages, [[3, 7]], "never-used entries produce no message");
        rig.edit(7, &EMPTY);
        centre.polls(&mut rig, 60);
        assert_eq!(centre.messages[1..], [[7]]);
        assert_eq!(centre.book.keys().collect::<Vec<_>>(), [&3]);
        assert_eq!(eeprom(&rig).backup_record(7).unwrap().checksum, empty_checksum());
        assert!(!rig.station.pending());
        centre.polls(&mut rig, 60);
        assert_eq!(centre.messages.len(), 2);
    }
}

/// Covers: S1-ID-08
#[test]
fn an_unchanged_book_sends_nothing() {
    let mut rig = card(30);
    let mut centre = Centre::default();
    (1..=30).for_each(|number| rig.edit(number, &entry(number, 1)));
    centre.polls(&mut rig, 100);
    assert_eq!(centre.book.len(), 30);
    let messages = centre.messages.len();
    // Written again with the same content: no change.
    (1..=30).for_each(|number| rig.edit(number, &entry(number, 1)));
    centre.polls(&mut rig, 3 * 30);
    assert_eq!(centre.messages.len(), messages);
}

/// Covers: S1-ID-09
#[test]
fn a_difference_sets_the_flag_and_fills_the_buffer() {
    let mut rig = card(100);
    rig.edit(1, &bob());
    assert_eq!((flags(&rig), buffered(&rig)), (vec![], vec![]));
    rig.poll();
    assert_eq!(flags(&rig), [1]);
    let eeprom = eeprom(&rig);
    assert_eq!(eeprom.buffer.len(), 1, "j");
    assert_eq!((eeprom.buffer[0].record_number, eeprom.buffer[0].data.to_vec()), (1, bob()));
    assert_eq!(eeprom.backup_record(1).unwrap().checksum, empty_checksum(), "until it is acknowledged");
}

/// Covers: S1-ID-10
#[test]
fn an_entry_that_waits_or_was_sent_is_not_doubled() {
    let mut rig = card(3);
    rig.edit(2, &home());
    rig.polls(2);
    assert_eq!(buffered(&rig), [2]);
    // Buffered: replaced by what the scan finds.
    rig.edit(2, &office());
    rig.polls(3);
    assert_eq!((buffered(&rig), eeprom(&rig).buffer[0].data.to_vec()), (vec![2], office()));
    rig.polls(18);
    assert_eq!(entries(&rig.sent[0]), [(2, office().try_into().unwrap())]);
    // In flight and unchanged: not for 20 polls, then when the scan reaches it, and 21 more in the buffer.
    rig.polls(20);
    assert_eq!((rig.sent.len(), flags(&rig)), (1, vec![2]));
    rig.polls(3 + 21);
    assert_eq!(entries(&rig.sent[1]), entries(&rig.sent[0]));
    // In flight and changed: queued at once.
    rig.edit(2, &bob());
    rig.polls(3);
    assert_eq!((buffered(&rig), eeprom(&rig).buffer[0].data.to_vec()), (vec![2], bob()));
    assert_eq!(rig.sent.len(), 2);
}

/// Covers: S1-ID-11
#[test]
fn the_first_activation_sends_the_whole_book() {
    for is_said_twice in [true, false] {
        let config = StationConfig { adn_records: 30, service_on: false, ..StationConfig::default() };
        let mut rig = first(Settings::default(), config);
        let mut centre = Centre::default();
        (1..=30).for_each(|number| rig.edit(number, &entry(number, 1)));
        centre.polls(&mut rig, 100);
        assert!(centre.messages.is_empty(), "off");
        rig.receive_stored(&[0x04]);
        if is_said_twice {
            rig.receive_stored(&[0x04]);
        }
        centre.polls(&mut rig, 100);
        assert_eq!(centre.messages.len(), 8);
        assert_eq!(centre.book, (1..=30).map(|number| (number, entry(number, 1))).collect());
        assert!(!rig.station.pending() && flags(&rig).is_empty());
    }
}
