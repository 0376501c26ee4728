//! Messages of the third embodiment from the centre: requests, restores, and what a card refuses.

use std::collections::BTreeMap;

use link::third::{Direction, Message, Set, check_data, messages};
use mobile::{Bearer, Input, Station, StationConfig, applet::third::Trigger};
use proptest::prelude::*;
use uicc::files::{EF_ADN, EF_SMS};

use crate::{
    rig::{Rig, bob, deliver_to_store, hex, home, office},
    third_backup::{
        CONFIRMATION, POLL, RESYNCHRONISE, card, changes, current, eeprom, file_check_data, named, numbers, sets, third,
    },
};

fn set(record_number: u8, octets: &[u8]) -> Set {
    Set::of_record(record_number, octets).unwrap()
}

fn records(rig: &mut Rig, numbers: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(|number| rig.station.read_record(EF_ADN, number).unwrap()).collect()
}

/// Covers: S3-MF-07
#[test]
fn control_messages_go_both_ways() {
    let mut rig = third(Trigger::CentrePolls, StationConfig { adn_records: 10, ..StationConfig::default() });
    // Card to centre: restore.
    rig.input(Input::MenuSelection(mobile::applet::MENU_RESTORE));
    rig.polls(1);
    assert_eq!(rig.sent, [hex("83 01 01")]);
    rig.sent.clear();
    // Centre to card: resynchronise, and poll.
    rig.edit(1, &bob());
    rig.receive_stored(&RESYNCHRONISE);
    assert_eq!(numbers(&rig.sent[0]), (1..=10).collect::<Vec<_>>());
    rig.receive_stored(&CONFIRMATION);
    rig.edit(2, &home());
    rig.receive_stored(&POLL);
    assert_eq!(numbers(&rig.sent[1]), [2]);
    // Without meaning in this direction, or at all.
    for request in [0x01, 0x00, 0x04, 0xFF] {
        rig.sent.clear();
        rig.receive_stored(&[0x83, 0x01, request]);
        assert_eq!(rig.sent, [hex("84 01 0C")]);
    }
}

/// Covers: S3-MF-09
#[test]
fn an_unknown_version_or_type_is_refused() {
    let good = messages(Direction::Restore, &[set(1, &bob())], 0xE34C, 140).unwrap().remove(0);
    let with = |at: usize, octet: u8| {
        let mut bad = good.clone();
        bad[at] = octet;
        bad
    };
    let cases = [
        (with(1, 0x02), "84 01 0C"),
        (with(2, 0x02), "84 01 0C"),
        (hex("83 02 02"), "84 01 0C"),
        (hex("85 02 01 00"), "84 01 0C"),
        (hex("81 01 01 01 01 01 07 00"), "84 01 0C"),
        (hex("82 01 01 FF FF"), "84 01 0C"),
        (hex("02"), "84 01 0C"),
        (hex("87 01"), "84 01 0B"),
        (good[..good.len() - 1].to_vec(), "84 01 0B"),
        (hex("86 01 01 02 01 41"), "84 01 0B"),
    ];
    for (payload, answer) in cases {
        let mut rig = card(10);
        rig.edit(5, &home());
        rig.sent.clear();
        rig.receive_stored(&payload);
        assert_eq!(rig.sent, [hex(answer)], "{payload:02X?}");
        assert_eq!((rig.station.contacts().len(), current(&rig)), (1, vec![5]), "nothing stored, nothing cleared");
        rig.polls(50);
        assert_eq!(rig.sent.len(), 1);
    }
    // An error is counted and never answered (D-115).
    let mut rig = card(10);
    for payload in [hex("84 01 0C"), hex("84 02"), hex("84")] {
        rig.receive_stored(&payload);
    }
    assert_eq!((rig.sent.len(), rig.station.statistics().errors_received), (0, 3));
}

/// Covers: S3-RS-01
#[test]
fn restored_data_comes_without_an_echo() {
    for bearer in [Bearer::Sms, Bearer::Ip] {
        let mut rig = third(Trigger::Changes(1), StationConfig { bearer, ..StationConfig::default() });
        rig.input(Input::MenuSelection(mobile::applet::MENU_RESTORE));
        rig.polls(1);
        let (sent, limit) = match bearer {
            Bearer::Sms => (std::mem::take(&mut rig.sent), link::SMS_OCTETS),
            Bearer::Ip => (std::mem::take(&mut rig.sent_on_ip), link::ip::PAYLOAD_OCTETS_MAX),
        };
        assert_eq!(sent, [hex("83 01 01")]);
        let book: Vec<Set> = (1..=100).map(|number| set(number, &named(5, number % 20))).collect();
        for payload in messages(Direction::Restore, &book, check_data(&book), limit).unwrap() {
            rig.input(match bearer {
                Bearer::Sms => Input::SmsDeliver(deliver_to_store(&payload)),
                Bearer::Ip => Input::IpPayload(payload.into()),
            });
        }
        assert_eq!(rig.station.contacts().len(), 100);
        assert_eq!(file_check_data(&mut rig), check_data(&book));
        rig.polls(100);
        assert!(rig.sent.is_empty() && rig.sent_on_ip.is_empty() && !rig.station.pending());
        assert_eq!((changes(&rig), current(&rig)), (vec![], vec![]));
        let card = records(&mut rig, 1..=100);
        assert_eq!(rig.station.copy_of(EF_ADN), card, "the phone was told");
        // An edit is backed up as ever.
        rig.edit(7, &bob());
        rig.polls(1);
        assert_eq!(rig.sent.len() + rig.sent_on_ip.len(), 1);
    }
}

#[test]
fn a_service_message_leaves_its_slot_free() {
    let mut rig = card(10);
    for payload in [&POLL[..], &CONFIRMATION, &hex("86 01 01"), &hex("FF")] {
        rig.receive_stored(payload);
        assert_eq!(rig.station.read_record(EF_SMS, 1).unwrap()[0], 0x00);
        assert_eq!(rig.station.copy_of(EF_SMS)[0][0], 0x00);
    }
    assert_eq!(rig.station.statistics().sms_refused, 0);
    // A stranger's stays.
    let mut tpdu = deliver_to_store(&POLL);
    tpdu[3] ^= 0x10;
    rig.input(Input::SmsDeliver(tpdu));
    assert_eq!(rig.station.read_record(EF_SMS, 1).unwrap()[0], 0x03);
}

#[test]
fn a_restore_wins_over_what_waits() {
    let mut rig = card(10);
    rig.network_ok = false;
    rig.edit(1, &bob());
    rig.edit(2, &home());
    assert_eq!(current(&rig), [1, 2]);
    let payload = Message::Restore { sets: vec![set(1, &office())] }.encode();
    rig.receive_stored(&payload);
    assert_eq!(current(&rig), [2]);
    rig.network_ok = true;
    rig.polls(20);
    assert_eq!(rig.sent.iter().flat_map(|payload| sets(payload)).collect::<Vec<_>>(), [set(2, &home())]);
    // With the check data of the file as it is now.
    let check = file_check_data(&mut rig);
    assert_eq!(rig.sent[0][3..5], check.to_be_bytes());
}

/// Restore Complete says what the whole file should be; a card that has changes of its own cannot say.
#[test]
fn a_restore_that_leaves_another_file_is_told() {
    let complete =
        |check_data, number| Message::RestoreComplete { check_data, sets: vec![set(number, &bob())] }.encode();
    let mut rig = card(10);
    rig.receive_stored(&complete(0xE34C, 1));
    assert!(rig.sent.is_empty());
    rig.receive_stored(&complete(0xE34C, 2));
    assert_eq!(rig.sent, [hex("84 01 08")], "checksum mismatch");
    rig.sent.clear();
    let mut rig = third(Trigger::CentrePolls, StationConfig::default());
    rig.edit(3, &home());
    rig.receive_stored(&complete(0xE34C, 1));
    rig.polls(5);
    assert!(rig.sent.is_empty());
}

#[test]
fn a_set_without_a_place_is_told() {
    let mut rig = card(10);
    let mut long = set(2, &bob());
    long.alpha = Some(vec![b'x'; 15].into());
    let sets = vec![set(11, &bob()), long, set(3, &home())];
    rig.receive_stored(&Message::Restore { sets }.encode());
    rig.polls(3);
    assert_eq!(rig.sent, [hex("84 01 02"), hex("84 01 03")]);
    assert_eq!(rig.station.contacts().len(), 1);
}

proptest! {
    #[test]
    fn any_octets_are_taken(
        messages in prop::collection::vec(
            (0x80..0x89u8, prop::collection::vec(any::<u8>(), 0..100)), 1..20),
        is_first in any::<bool>(),
    ) {
        let profile = if is_first {
            mobile::Profile::First(mobile::applet::first::Settings::default())
        } else {
            mobile::Profile::Third(mobile::applet::third::Settings::default())
        };
        let mut station = Station::new(StationConfig { profile, ..StationConfig::default() });
        for (id, body) in messages {
            let payload = if is_first { [&[id & 0x0F], &body[..]].concat() } else { [&[id, 1, 1], &body[..]].concat() };
            station.handle_input(Input::SmsDeliver(deliver_to_store(&payload)), std::time::Duration::ZERO);
            station.handle_input(Input::IpPayload(payload.into()), std::time::Duration::ZERO);
            while station.poll_output().is_some() {}
        }
        let errors = match is_first {
            true => station.first().unwrap().eeprom().errors.len(),
            false => station.third().unwrap().eeprom().errors.len(),
        };
        prop_assert!(errors <= 4);
    }
}

/// A resynchronisation of a book that is restored meanwhile tells the book as it is then.
#[test]
fn a_restore_between_the_messages_of_a_backup() {
    let mut rig = third(Trigger::CentrePolls, StationConfig { adn_records: 40, ..StationConfig::default() });
    (1..=40).for_each(|number| rig.edit(number, &named(10, number % 20)));
    rig.receive_stored(&POLL);
    rig.polls(1);
    assert_eq!(rig.sent.len(), 2);
    rig.receive_stored(&Message::Restore { sets: vec![set(40, &bob())] }.encode());
    rig.polls(40);
    let check = file_check_data(&mut rig);
    let last = rig.sent.last().unwrap();
    assert_eq!((last[0], &last[3..5]), (0x82, &check.to_be_bytes()[..]));
    assert!(eeprom(&rig).outbox.is_empty());
}

#[derive(Clone, Debug)]
enum Act {
    Edit(u8, u8),
    Polls(u8),
    PowerCycle,
    Coverage(bool),
    /// The next so many messages of the card are lost.
    LoseFromCard(usize),
    /// The next so many messages of the centre are lost.
    LoseFromCentre(usize),
    Restore(u8, u8),
    Resynchronise,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..8u8, 0..4u8).prop_map(|(number, version)| Act::Edit(number, version)),
        4 => (1..40u8).prop_map(Act::Polls),
        1 => Just(Act::PowerCycle),
        1 => any::<bool>().prop_map(Act::Coverage),
        1 => (1..3usize).prop_map(Act::LoseFromCard),
        1 => (1..3usize).prop_map(Act::LoseFromCentre),
        1 => (1..8u8, 1..4u8).prop_map(|(number, version)| Act::Restore(number, version)),
        1 => Just(Act::Resynchronise),
    ]
}

/// Stores what comes and confirms a Change Complete whose check data is that of its book.
#[derive(Default)]
struct Centre {
    book: BTreeMap<u8, Set>,
    lost_up: usize,
    lost_down: usize,
}

impl Centre {
    fn take(&mut self, rig: &mut Rig) {
        for payload in std::mem::take(&mut rig.sent) {
            if self.lost_up > 0 {
                self.lost_up -= 1;
                continue;
            }
            for set in sets(&payload) {
                if set.is_deleted {
                    self.book.remove(&set.record_number);
                } else {
                    self.book.insert(set.record_number, set);
                }
            }
            match Message::decode(&payload).unwrap() {
                Message::ChangeComplete { check_data: told, .. } if told == check_data(self.book.values()) => {
                    self.send(rig, &CONFIRMATION);
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, rig: &mut Rig, payload: &[u8]) {
        if self.lost_down > 0 {
            self.lost_down -= 1;
        } else {
            rig.receive_stored(payload);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is lost and whenever the power goes: after a poll the centre has all that the card has.
    #[test]
    fn nothing_is_lost_for_good(acts in prop::collection::vec(act(), 1..40), trigger in 0..2u8) {
        let trigger = if trigger == 0 { Trigger::default() } else { Trigger::Changes(2) };
        let mut rig = third(trigger, StationConfig { adn_records: 10, ..StationConfig::default() });
        let mut centre = Centre::default();
        for act in acts {
            match act {
                Act::Edit(number, 0) => rig.edit(number, &[0xFF; 28]),
                Act::Edit(number, version) => rig.edit(number, &named(usize::from(number), version)),
                Act::Polls(count) => for _ in 0..count {
                    rig.poll();
                    centre.take(&mut rig);
                },
                Act::PowerCycle => rig.power_cycle(),
                Act::Coverage(is_there) => rig.network_ok = is_there,
                Act::LoseFromCard(count) => centre.lost_up = count,
                Act::LoseFromCentre(count) => centre.lost_down = count,
                Act::Restore(number, version) => {
                    let set = set(number, &named(usize::from(number), version));
                    centre.book.insert(number, set.clone());
                    rig.receive_stored(&Message::Restore { sets: vec![set] }.encode());
                }
                Act::Resynchronise => centre.send(&mut rig, &RESYNCHRONISE),
            }
            centre.take(&mut rig);
        }
        rig.network_ok = true;
        (centre.lost_up, centre.lost_down) = (0, 0);
        centre.send(&mut rig, &POLL);
        for _ in 0..100 {
            centre.take(&mut rig);
            rig.poll();
        }
        let card: Vec<Set> = (1..=10).map(|number| set(number, &records(&mut rig, [number])[0])).collect();
        let card: Vec<&Set> = card.iter().filter(|set| !set.is_deleted).collect();
        prop_assert_eq!(centre.book.values().collect::<Vec<_>>(), card);
        prop_assert!(!rig.station.pending());
    }
}
