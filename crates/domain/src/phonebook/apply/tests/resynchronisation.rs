//! The comparison of database checksums, its grace, and resynchronisation.

use super::{equality::restore_to, *};

/// Covers: SC-ID-10
#[test]
fn a_mismatch_is_given_its_grace_then_the_card_is_asked_once() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    let (first, delayed) = (card.backup(1, &adn("A")), card.backup(2, &adn("B")));
    let third = card.backup(3, &adn("C"));
    centre.receive(&first);
    // Merely overtaken: heals by itself.
    centre.receive(&third);
    assert!(centre.card.view.state.mismatch_since.is_some());
    centre.pass(300);
    assert!(!centre.sweep());
    centre.receive(&delayed);
    let last = card.backup(4, &adn("D"));
    centre.receive(&last);
    assert_eq!(centre.card.view.state.mismatch_since, None);
    // A row deleted behind the centre's back does not.
    centre.card.view.state.checksums.remove(0, 2);
    centre.receive(&card.backup(5, &adn("E")));
    centre.pass(359);
    assert!(!centre.sweep());
    centre.pass(1);
    assert!(centre.sweep());
    assert_eq!(centre.launch(), [0x30, 0x09, 0xFF, 0x0A, 0xFF]);
    for message in card.resynchronise() {
        centre.receive(&message);
    }
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    assert_eq!(centre.card.view.state.checksums, card.table);
    assert!(!centre.sweep(), "not before the card is quiet");
    centre.pass(361);
    let changes = centre.journal.len();
    assert!(centre.sweep());
    assert_eq!(centre.journal.len(), changes, "nothing was surplus");
    assert!(centre.card.view.state.resynchronisation.is_none() && centre.card.open.is_empty());
    assert_eq!(centre.card.view.state.mismatch_since, None);
}

#[test]
fn the_grace_follows_the_devices_poll_interval_and_three_a_day_are_enough() {
    let mut centre = Centre::adn();
    centre.card.view.state.settings.insert(0x0B, Bytes::from_static(&[10, 1]));
    let mut card = ModelCard::adn();
    card.backup(1, &adn("LOST"));
    centre.receive(&card.backup(2, &adn("B")));
    centre.pass(719);
    assert!(!centre.sweep());
    let mut asked = 0;
    for _ in 0..10 {
        centre.pass(721);
        centre.sweep();
        asked += usize::from(!centre.card.open.is_empty());
        centre.card.open.clear();
        let octets = adn(&format!("{}", centre.now.0 % 97));
        centre.receive(&card.backup(3, &octets));
    }
    assert_eq!(asked, 3);
    assert_eq!(centre.kinds(), ["resynchronisation-limit"]);
}

fn surplus_scenario(surplus: u8) -> (Centre, ModelCard) {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=20 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    // Deletions whose messages and checksum rows were lost on the way.
    for number in 1..=surplus {
        card.backup(number, &empty());
    }
    centre.receive(&card.backup(30, &adn("NEW")));
    centre.pass(361);
    assert!(centre.sweep());
    centre.launch();
    for message in card.resynchronise() {
        centre.receive(&message);
    }
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    assert!(!centre.sweep(), "not before the card is quiet");
    centre.pass(361);
    assert!(centre.sweep());
    (centre, card)
}

#[test]
fn what_a_resynchronising_card_does_not_report_is_emptied() {
    let (centre, card) = surplus_scenario(5);
    assert_eq!(centre.card.view.state.checksums, card.table);
    assert_eq!(centre.book().len(), 16);
    assert!(centre.card.view.state.resynchronisation.is_none());
    assert_eq!(centre.journal.last().unwrap().records.len(), 5);
}

#[test]
fn a_record_without_a_checksum_row_is_surplus_when_the_card_does_not_report_it() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=20 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    // The deletion and the row are both lost: no checksum tells. Another row is lost: that one does.
    card.backup(7, &empty());
    centre.card.view.state.checksums.remove(0, 7);
    centre.card.view.state.checksums.remove(0, 8);
    centre.receive(&card.backup(30, &adn("NEW")));
    centre.pass(361);
    assert!(centre.sweep());
    centre.launch();
    for message in card.resynchronise() {
        centre.receive(&message);
    }
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    assert_eq!(centre.card.view.state.checksums, card.table);
    // A restore meanwhile is no report, but what it wrote is the card's too, and no surplus.
    let one = restore::Selection::Records { monitor_index: 0, records: vec![50] };
    restore_to(&mut centre, &mut card, &[((EF_ADN, 50), adn("BACK"))].into(), &one);
    assert_eq!(centre.record(7), Some(adn("N7")));
    centre.pass(361);
    assert!(centre.sweep());
    assert_eq!(centre.record(7), None);
    assert_eq!((centre.book().len(), centre.record(50)), (21, Some(adn("BACK"))));
    let entry = &centre.journal.last().unwrap().records[0];
    assert_eq!((entry.record_number, &entry.old, &entry.new), (7, &Some(adn("N7")), &None));
    assert_eq!(centre.card.view.state.mismatch_since, None);
}

#[test]
fn a_resynchronisation_that_would_empty_too_much_is_held() {
    let (mut centre, mut card) = surplus_scenario(6);
    assert_eq!(centre.book().len(), 21);
    assert_eq!(centre.kinds(), ["resynchronisation-held"]);
    assert!(centre.card.view.state.resynchronisation.as_ref().is_some_and(|held| held.held));
    // Held, but the service goes on, and nothing is asked again.
    centre.receive(&card.backup(31, &adn("LATER")));
    assert_eq!(centre.record(31), Some(adn("LATER")));
    centre.pass(3600);
    assert!(!centre.sweep() && centre.card.open.is_empty());
}

/// What happens behind somebody's back.
#[derive(Clone, Debug)]
enum Damage {
    /// A checksum row of the centre goes, or is another one.
    Row {
        number: u8,
        to: Option<u16>,
    },
    /// A record of the centre goes or changes, and its checksum with it.
    Record {
        number: u8,
        name: Option<u8>,
    },
    /// The card changed and its message never arrived.
    Edit {
        number: u8,
        name: u8,
    },
    Deletion {
        number: u8,
    },
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let number = 1_u8..30;
    let damage = prop_oneof![
        (number.clone(), any::<Option<u16>>()).prop_map(|(number, to)| Damage::Row { number, to }),
        (number.clone(), any::<Option<u8>>()).prop_map(|(number, name)| Damage::Record { number, name }),
        (number.clone(), any::<u8>()).prop_map(|(number, name)| Damage::Edit { number, name }),
        number.prop_map(|number| Damage::Deletion { number }),
    ];
    proptest::collection::vec(damage, 1..5)
}

fn damage(centre: &mut Centre, card: &mut ModelCard, damage: &Damage) {
    match *damage {
        Damage::Row { number, to: Some(checksum) } => {
            centre.card.view.state.checksums.set(0, number, checksum);
        }
        Damage::Row { number, to: None } => {
            centre.card.view.state.checksums.remove(0, number);
        }
        Damage::Record { number, name } => {
            let (key, slot) = PageKey::of(KEY, EF_ADN, number).unwrap();
            let octets = name.map(|name| adn(&name.to_string()));
            let checksums = &mut centre.card.view.state.checksums;
            match &octets {
                Some(octets) => {
                    checksums.set(0, number, crc16(octets));
                }
                None => {
                    checksums.remove(0, number);
                }
            }
            let page = centre.pages.entry(key).or_insert_with(|| Page { slot_octets: 28, ..Page::default() });
            page.slots[slot] = octets;
        }
        Damage::Edit { number, name } => {
            card.edit(number, &adn(&name.to_string()));
        }
        Damage::Deletion { number } => {
            card.edit(number, &empty());
        }
    }
}

proptest! {
    /// Covers: SC-RY-01
    #[test]
    fn a_resynchronisation_ends_with_equal_data_whatever_was_damaged(filled in 20_u8..30, damages in damages()) {
        let mut centre = Centre::adn();
        let mut card = ModelCard::adn();
        for number in 1..=filled {
            centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
        }
        // Damages of one record may cancel out for the checksum: a lost row and a lost deletion leave equal tables. This
        // one makes sure that a resynchronisation takes place.
        let visible = Damage::Edit { number: 91, name: 1 };
        for each in damages.iter().chain([&visible]) {
            damage(&mut centre, &mut card, each);
        }
        centre.receive(&card.backup(90, &adn("LATER")));
        // One case in 65 536: other tables with the same checksum of 16 bits. Nothing can tell them apart.
        let centres = &centre.card.view.state.checksums;
        prop_assume!(*centres == card.table || centres.database_checksum() != card.table.database_checksum());
        for _ in 0..3 {
            centre.pass(700);
            centre.sweep();
            if centre.card.open.is_empty() {
                continue;
            }
            prop_assert_eq!(centre.card.open.len(), 1, "one at a time");
            centre.launch();
            for message in card.resynchronise() {
                centre.receive(&message);
            }
            centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
            centre.pass(700);
            centre.sweep();
        }
        prop_assert_eq!(&centre.card.view.state.checksums, &card.table);
        let on_card = card.records.iter().filter(|(_, octets)| octets.iter().any(|octet| *octet != 0xFF));
        let on_card: restore::Book = on_card.map(|(number, octets)| ((EF_ADN, *number), octets.clone())).collect();
        prop_assert_eq!(centre.book(), on_card);
        prop_assert_eq!(centre.card.view.state.mismatch_since, None);
    }
}

/// A book of 20 records whose checksum row 1 is lost, and the messages of the card that resynchronises.
fn resynchronising(lost: &[u8]) -> (Centre, ModelCard, Vec<Vec<u8>>) {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=20 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    for number in lost {
        card.backup(*number, &empty());
    }
    centre.card.view.state.checksums.remove(0, 1);
    centre.receive(&card.backup(2, &adn("NEW")));
    centre.pass(361);
    assert!(centre.sweep());
    centre.launch();
    centre.receive(&[0x38, 0x09, 0, 0x0A, 0]);
    let messages = card.resynchronise();
    (centre, card, messages)
}

#[test]
fn a_phone_that_is_switched_off_during_its_scan_loses_nothing() {
    let (mut centre, card, messages) = resynchronising(&[]);
    for message in &messages[..16] {
        centre.receive(message);
    }
    centre.pass(361);
    assert!(centre.sweep());
    assert_eq!(centre.book().len(), 20, "what the card has not come to is no surplus");
    for message in &messages[16..] {
        centre.receive(message);
    }
    centre.pass(361);
    centre.sweep();
    assert_eq!((centre.book().len(), &centre.card.view.state.checksums), (20, &card.table));
    assert!(centre.card.view.state.resynchronisation.is_none() && centre.kinds().is_empty());
}

#[test]
fn what_is_missing_at_the_end_is_emptied_once_the_card_speaks_of_something_else() {
    let (mut centre, mut card, messages) = resynchronising(&[19, 20]);
    for message in &messages {
        centre.receive(message);
    }
    centre.pass(361);
    assert!(centre.sweep());
    assert_eq!((centre.book().len(), centre.sweep()), (20, false));
    centre.pass(3600);
    centre.receive(&card.backup(40, &adn("LATER")));
    assert!(!centre.sweep());
    centre.pass(361);
    assert!(centre.sweep());
    assert_eq!((centre.book().len(), &centre.card.view.state.checksums), (19, &card.table));
}
