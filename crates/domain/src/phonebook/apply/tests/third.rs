//! Cards of the third embodiment.

use link::third::{FILE_CHECK, FileCheck, Message, Request as Asked, Set, check_data};

use super::*;

/// A card by the book: its file, and the messages of a backup.
#[derive(Clone, Default)]
struct File(std::collections::BTreeMap<u8, Bytes>);

impl File {
    fn sets(&self) -> Vec<Set> {
        self.0.iter().filter_map(|(number, octets)| Set::of_record(*number, octets)).collect()
    }

    fn check_data(&self) -> u16 {
        check_data(&self.sets())
    }

    /// An empty name deletes.
    fn edit(&mut self, number: u8, name: &str) -> Set {
        if name.is_empty() {
            self.0.remove(&number);
            return Set { record_number: number, is_deleted: true, ..Set::default() };
        }
        self.0.insert(number, adn(name));
        Set::of_record(number, &adn(name)).unwrap()
    }

    /// A Change for each set but the last, which the Change Complete carries.
    fn backup(&self, sets: &[Set]) -> Vec<Vec<u8>> {
        let (last, others) = sets.split_last().unwrap();
        let mut messages: Vec<_> =
            others.iter().map(|set| Message::Change { sets: vec![set.clone()] }.encode()).collect();
        messages.push(Message::ChangeComplete { check_data: self.check_data(), sets: vec![last.clone()] }.encode());
        messages
    }

    /// Everything, as after a Control request 0x02: empty records too.
    fn resynchronise(&self) -> Vec<Vec<u8>> {
        let empty = (1..=40).filter(|number| !self.0.contains_key(number));
        let empty = empty.map(|record_number| Set { record_number, is_deleted: true, ..Set::default() });
        let mut sets = self.sets();
        sets.extend(empty);
        sets.sort_by_key(|set| set.record_number);
        self.backup(&sets)
    }
}

const CONFIRMED: &[u8] = &[0, 0, 0];

fn asked(centre: &Centre) -> usize {
    let is_control = |action: &&Action| matches!(action.content, Content::Control { .. });
    centre.card.open.iter().filter(is_control).count()
}

/// A centre and a card that are equal, three entries each.
fn equal() -> (Centre, File) {
    let (mut centre, mut file) = (Centre::of(Profile::E3), File::default());
    let sets = [file.edit(1, "BOB"), file.edit(2, "HOME"), file.edit(3, "OFFICE")];
    for message in file.backup(&sets) {
        assert_eq!(centre.receive(&message), Verdict::stored());
    }
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
    centre.acknowledgements.clear();
    (centre, file)
}

fn is_same(centre: &Centre, file: &File) -> bool {
    centre.book().into_iter().map(|((_, number), octets)| (number, octets)).eq(file.0.clone())
}

/// Covers: S3-SV-02, S3-SV-03
#[test]
fn records_are_written_as_they_come_and_the_whole_file_is_compared() {
    let (mut centre, mut file) = equal();
    let sets = [file.edit(2, "HOUSE"), file.edit(7, "NEW"), file.edit(3, "")];
    let messages = file.backup(&sets);
    centre.receive(&messages[0]);
    assert_eq!(centre.record(2), Some(adn("HOUSE")), "before the Change Complete");
    // The second Change is lost.
    centre.receive(&messages[2]);
    assert!(centre.acknowledgements.is_empty());
    assert!(centre.card.view.state.mismatch_since.is_some());
}

/// Covers: S3-SV-04, S3-MF-04
#[test]
fn check_data_of_the_whole_file_is_confirmed() {
    let (mut centre, mut file) = equal();
    let set = file.edit(2, "HOUSE");
    let [message] = file.backup(&[set]).try_into().unwrap();
    centre.receive(&message);
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
    assert!(is_same(&centre, &file));
    assert_eq!(centre.card.view.state.mismatch_since, None);
    // A repeat is confirmed again, for the confirmation may be what was lost.
    assert_eq!(centre.receive(&message).outcome, Outcome::Duplicate);
    assert_eq!(centre.acknowledgements, [CONFIRMED, CONFIRMED]);
}

/// Fletcher's sums, in the place of the checksum.
fn sums(file: &[Set]) -> u16 {
    let mut octets = Vec::new();
    file.iter().filter(|set| !set.is_deleted).for_each(|set| set.append_to(&mut octets));
    let (low, high) = octets.iter().fold((1_u16, 0_u16), |(low, high), octet| {
        let low = (low + u16::from(*octet)) % 255;
        (low, (low + high) % 255)
    });
    high << 8 | low
}

/// Covers: S3-SV-05
#[test]
fn another_error_detection_takes_the_place_of_the_checksum() {
    let (mut centre, mut file) = (Centre::of(Profile::E3), File::default());
    centre.policy.third_check = sums;
    let complete = |file: &File, set: &Set, check: FileCheck| {
        Message::ChangeComplete { check_data: check(&file.sets()), sets: vec![set.clone()] }.encode()
    };
    let bob = file.edit(1, "BOB");
    centre.receive(&complete(&file, &bob, sums));
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
    // What the checksum says of the same file is no match any more.
    let home = file.edit(2, "HOME");
    centre.receive(&complete(&file, &home, FILE_CHECK));
    assert!(centre.acknowledgements.len() == 1 && centre.card.view.state.mismatch_since.is_some());
    centre.receive(&complete(&file, &home, sums));
    assert_eq!(centre.acknowledgements, [CONFIRMED, CONFIRMED]);
    // A lost Change is found and mended as ever.
    file.edit(3, "LOST");
    let last = file.edit(4, "LAST");
    centre.receive(&complete(&file, &last, sums));
    centre.pass(31);
    assert!(centre.sweep());
    assert_eq!(centre.launch(), [0x83, 0x01, 0x02]);
    centre.receipt();
    let sets = file.sets();
    for set in &sets[..3] {
        centre.receive(&Message::Change { sets: vec![set.clone()] }.encode());
    }
    centre.receive(&complete(&file, &sets[3], sums));
    assert!(is_same(&centre, &file));
    let state = &centre.card.view.state;
    assert_eq!((&state.resynchronisation, state.mismatch_since, state.awaited_check_data), (&None, None, None));
    // A restore tells the card what its file is to be, in the same way.
    let book = centre.book();
    let restored = plan(&centre, &book, &book, &restore::Selection::All);
    let content = restore::content(Profile::E3, &book, restored, centre.policy.third_check);
    assert!(matches!(content, Content::Restore { check_data: Some(told), .. } if told == sums(&file.sets())));
}

#[test]
fn a_change_that_is_only_late_costs_no_resynchronisation() {
    let (mut centre, mut file) = equal();
    let sets = [file.edit(4, "LATE"), file.edit(5, "LAST")];
    let messages = file.backup(&sets);
    centre.receive(&messages[1]);
    centre.pass(20);
    assert!(!centre.sweep() && centre.acknowledgements.is_empty());
    centre.receive(&messages[0]);
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
    centre.pass(3600);
    assert!(!centre.sweep());
    assert!(is_same(&centre, &file) && asked(&centre) == 0);
}

/// D-61, and S3-RY-01 at the centre.
#[test]
fn a_lost_change_is_found_after_the_grace_and_a_resynchronisation_mends_it() {
    let (mut centre, mut file) = equal();
    let sets = [file.edit(4, "LOST"), file.edit(5, "LAST")];
    centre.receive(&file.backup(&sets)[1]);
    centre.pass(29);
    assert!(!centre.sweep());
    centre.pass(2);
    assert!(centre.sweep());
    assert_eq!(asked(&centre), 1);
    assert_eq!(centre.launch(), [0x83, 0x01, 0x02]);
    centre.receipt();
    for message in file.resynchronise() {
        centre.receive(&message);
    }
    assert_eq!(centre.acknowledgements, [CONFIRMED, CONFIRMED], "what was awaited, and the whole");
    assert!(is_same(&centre, &file));
    let state = &centre.card.view.state;
    assert_eq!((&state.resynchronisation, state.mismatch_since, state.awaited_check_data), (&None, None, None));
}

/// The awaited check data is part of the state, so that a restart in between forgets nothing.
#[test]
fn what_is_awaited_survives_a_restart() {
    let (mut centre, mut file) = equal();
    let sets = [file.edit(4, "LATE"), file.edit(5, "LAST")];
    let messages = file.backup(&sets);
    centre.receive(&messages[1]);
    let state = &centre.card.view.state;
    let stored = DeviceState::from_octets(state.to_octets(), 0, 0).unwrap();
    assert_eq!(stored.awaited_check_data, Some(file.check_data()));
    let late = LateAnswers { action: ActionId(7), attempts: 1, hash: 2, left: 3, until: Timestamp(4) };
    for late_answers in [None, Some(late)] {
        let both = DeviceState { late_answers, ..stored.clone() };
        assert_eq!(DeviceState::from_octets(both.to_octets(), 0, 0), Ok(both));
    }
    centre.card.view.state = stored;
    centre.receive(&messages[0]);
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
}

#[test]
fn a_resynchronisation_empties_what_the_card_does_not_have_any_more() {
    let (mut centre, mut file) = equal();
    // The deletion never came.
    file.edit(1, "");
    let set = file.edit(2, "HOUSE");
    centre.receive(&file.backup(&[set])[0]);
    centre.pass(31);
    assert!(centre.sweep());
    centre.launch();
    centre.receipt();
    for message in file.resynchronise() {
        centre.receive(&message);
    }
    assert!(is_same(&centre, &file), "record 1 is empty");
    assert_eq!(centre.acknowledgements, [CONFIRMED, CONFIRMED], "what was awaited, and the whole");
}

/// D-112: much of the book would go.
#[test]
fn a_resynchronisation_that_empties_the_book_is_held() {
    let (mut centre, mut file) = (Centre::of(Profile::E3), File::default());
    let sets: Vec<Set> = (1..=20).map(|number| file.edit(number, &format!("N{number}"))).collect();
    for message in file.backup(&sets) {
        centre.receive(&message);
    }
    let mut blank = File::default();
    let set = blank.edit(1, "ALONE");
    centre.receive(&blank.backup(&[set])[0]);
    centre.pass(31);
    assert!(centre.sweep());
    centre.launch();
    centre.receipt();
    for message in blank.resynchronise() {
        centre.receive(&message);
    }
    assert_eq!(centre.book().len(), 20);
    assert!(centre.kinds().contains(&"resynchronisation-held"));
    let held = |centre: &Centre| centre.card.view.state.resynchronisation.as_ref().is_some_and(|it| it.held);
    assert!(held(&centre));
    // What the card edits meanwhile is stored and confirmed, and asked for no more.
    let confirmed = centre.acknowledgements.len();
    let set = blank.edit(2, "TWO");
    centre.receive(&blank.backup(&[set])[0]);
    assert_eq!(centre.acknowledgements.len(), confirmed + 1);
    centre.pass(24 * 3600);
    assert!(!centre.sweep() && held(&centre));
    let mut keys = Vec::new();
    book_pages(&centre.card.view, &mut keys);
    let decided = centre.step(keys, |card, pages, context, effects| decide_held(card, pages, true, context, effects));
    assert_eq!(decided, Some(18));
    assert!(is_same(&centre, &blank));
}

/// D-62: not more than three in 24 h, ten minutes apart.
#[test]
fn a_card_that_never_agrees_is_not_asked_for_ever() {
    let (mut centre, _) = equal();
    let wrong = |at: u8| {
        let set = Set::of_record(9, &adn(&format!("W{at}"))).unwrap();
        Message::ChangeComplete { check_data: u16::from(at), sets: vec![set] }.encode()
    };
    let mut times = Vec::new();
    for at in 0..200 {
        centre.receive(&wrong(at));
        centre.pass(60);
        let before = asked(&centre);
        centre.sweep();
        if asked(&centre) > before {
            times.push(centre.now);
            centre.launch();
            centre.receipt();
        }
    }
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_secs(600)));
    assert_eq!(centre.kinds(), ["resynchronisation-limit"]);
}

/// Covers: S3-MF-09
#[test]
fn an_unknown_version_or_data_type_is_answered_with_an_error_and_not_stored() {
    let mut centre = Centre::of(Profile::E3);
    let set = Set::of_record(1, &adn("BOB")).unwrap();
    let sound = Message::Change { sets: vec![set] }.encode();
    for (place, octet) in [(1, 0x02), (2, 0x07)] {
        let mut strange = sound.clone();
        strange[place] = octet;
        let verdict = centre.receive(&strange);
        assert_eq!(verdict.outcome, Outcome::Refused(Reason::Unsupported));
        assert_eq!(verdict.reply.unwrap().octets, [0x84, 0x01, 0x0C]);
    }
    assert!(centre.book().is_empty());
    assert_eq!(centre.receive(&[0x83, 1, 0x09]).reply.unwrap().octets, [0x84, 1, 0x0C], "an unknown request");
    assert_eq!(centre.receive(&[0x85, 1, 1, 0]).reply.unwrap().octets, [0x84, 1, 0x0C], "the centre's own");
    assert_eq!(centre.receive(&[0x84, 1, 8]), Verdict::stored());
    assert_eq!(centre.notes.last().unwrap().text, "reason 08");
}

#[test]
fn a_set_that_has_no_place_is_reported_and_the_others_are_stored() {
    let mut centre = Centre::of(Profile::E3);
    let long = Set { record_number: 2, alpha: Some(Bytes::from(vec![b'x'; 15])), ..Set::default() };
    let sets = vec![Set::of_record(1, &adn("BOB")).unwrap(), long, Set::of_record(3, &adn("HOME")).unwrap()];
    let verdict = centre.receive(&Message::Change { sets }.encode());
    assert_eq!(verdict.reply.unwrap().octets, [0x84, 1, 0x03]);
    assert_eq!((centre.book().len(), centre.kinds()), (2, vec!["incompatible-data"]));
    let beyond = Set::of_record(101, &adn("BOB")).unwrap();
    let verdict = centre.receive(&Message::Change { sets: vec![beyond] }.encode());
    assert_eq!(verdict.reply.unwrap().octets, [0x84, 1, 0x04]);
}

/// Covers: S3-MF-07
#[test]
fn a_card_asks_for_its_data_and_the_receipts_settle_the_restore() {
    let (mut centre, file) = equal();
    centre.receive(&Message::Control { request: Asked::Restore }.encode());
    let message = Message::decode(&centre.launch());
    assert_eq!(message, Ok(Message::RestoreComplete { check_data: file.check_data(), sets: file.sets() }));
    let changes = centre.journal.len();
    centre.receipt();
    assert!(centre.card.open.is_empty() && is_same(&centre, &file));
    assert_eq!(centre.journal.len(), changes, "the book is what it was");
    assert!(centre.acknowledgements.is_empty());
}

#[test]
fn a_restore_of_some_records_tells_the_check_data_of_the_whole_file() {
    let (mut centre, mut file) = equal();
    let book = centre.book();
    let sets = [file.edit(1, ""), file.edit(2, "HOUSE")];
    for message in file.backup(&sets) {
        centre.receive(&message);
    }
    let range = restore::Range { monitor_index: 0, first: 1, last: 1 };
    centre.restore(&book, &restore::Selection::Ranges(vec![range]));
    let set = file.edit(1, "BOB");
    let expected = Message::RestoreComplete { check_data: file.check_data(), sets: vec![set] };
    assert_eq!(Message::decode(&centre.launch()), Ok(expected));
    centre.receipt();
    assert!(is_same(&centre, &file));
    // A card that finds its file to be another says so, and is asked for all of it.
    centre.receive(&Message::Error { reason: 8 }.encode());
    centre.pass(31);
    assert!(centre.sweep() && asked(&centre) == 1);
}

#[test]
fn a_backup_that_meets_a_restore_is_compared_after_it() {
    let (mut centre, mut file) = equal();
    let book = centre.book();
    // Deleted on the card, restored from before, and edited before the receipt came.
    let set = file.edit(1, "");
    centre.receive(&file.backup(&[set])[0]);
    centre.acknowledgements.clear();
    centre.restore(&book, &restore::Selection::All);
    centre.launch();
    file.edit(1, "BOB");
    let set = file.edit(5, "NEW");
    centre.receive(&file.backup(&[set])[0]);
    assert!(centre.acknowledgements.is_empty(), "record 1 is not in the book yet");
    centre.pass(31);
    assert!(centre.sweep() && asked(&centre) == 0, "the comparison pauses");
    centre.receipt();
    assert_eq!(centre.acknowledgements, [CONFIRMED]);
    assert!(is_same(&centre, &file));
}

/// D-111: what a set cannot say is FF on the card, and so in the book.
#[test]
fn a_restore_from_another_profile_carries_the_fields_and_refuses_what_is_no_entry() {
    let mut centre = Centre::of(Profile::E3);
    let mut odd = adn("ODD").to_vec();
    odd[22] = 0x77;
    let broken = Bytes::from(vec![0x20; 28]);
    let book = restore::Book::from([((EF_ADN, 1), adn("BOB")), ((EF_ADN, 2), odd.into()), ((EF_ADN, 3), broken)]);
    centre.restore(&book, &restore::Selection::All);
    centre.launch();
    centre.receipt();
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.book(), restore::Book::from([((EF_ADN, 1), adn("BOB")), ((EF_ADN, 2), adn("ODD"))]));
    assert_eq!(centre.kinds(), ["restore-refused"]);
}

proptest! {
    /// SC-RY-01: whatever the network loses, doubles and swaps, the end is equal.
    #[test]
    fn any_disorder_ends_equal(edits in proptest::collection::vec((1_u8..=30, 0_u8..4), 1..30), fates in proptest::collection::vec(0_u8..4, 40)) {
        let (mut centre, mut file) = equal();
        let mut fates = fates.into_iter().cycle();
        let mut held_back: Vec<Vec<u8>> = Vec::new();
        for edits in edits.chunks(3) {
            let sets: Vec<Set> = edits.iter().map(|(number, name)| {
                file.edit(*number, if *name == 0 { "" } else { ["A", "B", "C"][usize::from(name - 1)] })
            }).collect();
            let messages = file.backup(&sets);
            for message in messages {
                match fates.next() {
                    Some(0) => {}
                    Some(1) => { centre.receive(&message); centre.receive(&message); }
                    Some(2) => held_back.push(message),
                    _ => { centre.receive(&message); }
                }
            }
            for late in held_back.drain(..) {
                centre.receive(&late);
            }
            centre.pass(5);
        }
        // At rest: a day's limit later at the most, every mark has led to a resynchronisation.
        let last = file.edit(31, "LAST");
        for message in file.backup(&[last]) {
            centre.receive(&message);
        }
        for _ in 0..4 {
            centre.pass(24 * 3600);
            centre.sweep();
            if asked(&centre) > 0 {
                centre.launch();
                centre.receipt();
                for message in file.resynchronise() {
                    centre.receive(&message);
                }
            }
            if let Some(held) = centre.card.view.state.resynchronisation.as_ref().filter(|it| it.held) {
                prop_assert!(!held.reported.is_empty());
                let mut keys = Vec::new();
                book_pages(&centre.card.view, &mut keys);
                centre.step(keys, |card, pages, context, effects| decide_held(card, pages, true, context, effects));
            }
        }
        prop_assert!(is_same(&centre, &file));
    }
}
