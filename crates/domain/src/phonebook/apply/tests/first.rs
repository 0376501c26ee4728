//! Cards of the first embodiment.

use link::first::{Entry, Message};

use super::*;
use crate::delivery::Request;

fn entry(record_number: u8, name: &str) -> Entry {
    let data = if name.is_empty() { empty() } else { adn(name) };
    Entry { record_number, data: data.as_ref().try_into().unwrap() }
}

fn backup_of(entries: &[Entry]) -> Vec<u8> {
    Message::Backup { entries: entries.to_vec(), is_checked: false }.encode()
}

/// Covers: SC-E1-03
#[test]
fn entries_overwrite_the_matching_records_and_empty_places_do_nothing() {
    let mut centre = Centre::of(Profile::E1);
    let message = backup_of(&[entry(1, "BOB"), entry(2, "HOME"), entry(3, "OFFICE")]);
    assert_eq!(message.len(), 117);
    assert_eq!(centre.receive(&message), Verdict::stored());
    assert_eq!(centre.acknowledgements, [Bytes::from_static(&[0, 1, 0, 0, 2, 0, 0, 3, 0])]);
    centre.receive(&backup_of(&[entry(2, "HOUSE")]));
    assert_eq!(centre.record(2), Some(adn("HOUSE")));
    // A deletion is FF (D-22).
    centre.receive(&backup_of(&[entry(1, "")]));
    assert_eq!((centre.record(1), centre.book().len()), (None, 2));
    let kinds = centre.journal.iter().map(|change| change.records.len()).collect::<Vec<_>>();
    assert_eq!(kinds, [3, 1, 1]);
}

#[test]
fn a_repeat_gets_the_first_answer_and_changes_nothing() {
    let mut centre = Centre::of(Profile::E1);
    let message = backup_of(&[entry(1, "BOB")]);
    centre.receive(&message);
    assert_eq!(centre.receive(&message).outcome, Outcome::Duplicate);
    assert_eq!(centre.acknowledgements.len(), 2);
    assert_eq!(centre.acknowledgements[0], centre.acknowledgements[1]);
    assert_eq!(centre.journal.len(), 1);
}

#[test]
fn a_record_outside_the_file_fails_alone() {
    let mut centre = Centre::of(Profile::E1);
    centre.receive(&backup_of(&[entry(100, "LAST"), entry(101, "BEYOND")]));
    assert_eq!(centre.acknowledgements, [Bytes::from_static(&[0, 100, 0, 0, 101, 2])]);
    assert_eq!(centre.kinds(), ["not-under-backup"]);
}

/// Covers: SC-ID-11
#[test]
fn damaged_data_is_not_stored_and_the_card_sends_it_again() {
    let mut centre = Centre::of(Profile::E1);
    let sound = Message::Backup { entries: vec![entry(1, "BOB"), entry(2, "HOME")], is_checked: true }.encode();
    assert_eq!(sound.len(), 119);
    let mut damaged = sound.clone();
    damaged[5] ^= 1;
    let verdict = centre.receive(&damaged);
    assert_eq!(verdict, Verdict { outcome: Outcome::Refused(Reason::ChecksumMismatch), reply: None });
    assert!(centre.book().is_empty() && centre.journal.is_empty());
    assert_eq!(centre.acknowledgements, [Bytes::from_static(&[0, 1, 1, 0, 2, 1])]);
    assert_eq!(centre.receive(&sound), Verdict::stored());
    assert_eq!(centre.book().len(), 2);
}

#[test]
fn any_other_length_is_refused() {
    let mut centre = Centre::of(Profile::E1);
    let verdict = centre.receive(&backup_of(&[entry(1, "BOB")])[..116]);
    assert_eq!(verdict.outcome, Outcome::Refused(Reason::Malformed));
    assert_eq!(verdict.reply.unwrap().octets, [0x07, 0x01, 0x0B]);
    // What only the centre sends.
    assert_eq!(centre.receive(&[0x06]).reply.unwrap().octets, [0x07, 0x06, 0x0C]);
    // An error is noted and never answered.
    let verdict = centre.receive(&[0x07, 0x02, 0x08]);
    assert_eq!(verdict, Verdict::stored());
    assert_eq!(centre.notes.last().unwrap().text, "message 02: reason 08");
}

#[test]
fn a_restore_is_settled_by_its_receipts_and_is_the_books_then() {
    let mut centre = Centre::of(Profile::E1);
    for number in 1..=6 {
        centre.receive(&backup_of(&[entry(number, &format!("N{number}"))]));
    }
    let book = centre.book();
    for number in 1..=6 {
        centre.receive(&backup_of(&[entry(number, "")]));
    }
    centre.receive(&backup_of(&[entry(9, "SURPLUS")]));
    let (changes, acknowledged) = (centre.journal.len(), centre.acknowledgements.len());
    centre.restore(&book, &restore::Selection::All);
    assert_eq!(centre.launch().len(), 119);
    assert_eq!(centre.book().len(), 1, "nothing before the receipt");
    let launches = centre.queued.len();
    centre.receipt();
    assert_eq!(centre.book().len(), 5);
    let action = centre.card.open.first().unwrap();
    assert_eq!((action.state, action.due, action.attempts), (State::Queued, centre.now, 0));
    assert_eq!(centre.queued.len(), launches + 1, "the next message's turn");
    centre.launch();
    centre.receipt();
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.book(), book, "surplus records are emptied");
    assert_eq!(centre.card.view.state.checksums.len(), 6);
    let sources: Vec<Source> = centre.journal.iter().skip(changes).map(|change| change.source).collect();
    assert_eq!(sources, [Source::Restore; 2]);
    assert_eq!(centre.acknowledgements.len(), acknowledged, "nothing to acknowledge");
}

#[test]
fn a_receipt_that_comes_twice_or_for_a_second_launch_writes_once() {
    let mut centre = Centre::of(Profile::E1);
    centre.receive(&backup_of(&[entry(1, "BOB")]));
    let book = centre.book();
    centre.receive(&backup_of(&[entry(1, "")]));
    centre.restore(&book, &restore::Selection::All);
    centre.launch();
    // The network lost it: launched again.
    let overdue = centre.card.open[0].due;
    let ladder = centre.policy.ladder;
    ladder.overdue(&mut centre.card.open[0], "no answer", overdue);
    assert_eq!(centre.launch().len(), 119);
    let sent = centre.card.open[0].clone();
    centre.receipt();
    let changes = centre.journal.len();
    centre.card.open.push(Action { state: State::Done, ..sent });
    centre.receipt();
    assert_eq!((centre.journal.len(), centre.record(1)), (changes, Some(adn("BOB"))));
}

/// The whole of it: asked for after a week, quiet, and what the card does not have any more goes.
#[test]
fn a_resynchronisation_a_week_finds_what_a_late_redelivery_overwrote() {
    let mut centre = Centre::of(Profile::E1);
    for number in 1..=6 {
        centre.receive(&backup_of(&[entry(number, &format!("N{number}"))]));
    }
    // A redelivery brings back what the card has deleted and changed since.
    centre.receive(&backup_of(&[entry(9, "GHOST"), entry(2, "OLD")]));
    centre.pass(6 * 24 * 3600);
    assert!(!centre.sweep());
    centre.pass(2 * 24 * 3600);
    assert!(centre.sweep());
    let asked = |centre: &Centre| {
        let is_asked =
            |action: &&Action| matches!(action.content, Content::Control { request: Request::Resynchronise, .. });
        centre.card.open.iter().filter(is_asked).count()
    };
    assert_eq!(asked(&centre), 1);
    assert_eq!(centre.launch(), [0x06]);
    centre.receipt();
    for number in 1..=6 {
        centre.receive(&backup_of(&[entry(number, &format!("N{number}"))]));
    }
    assert_eq!(centre.record(2), Some(adn("N2")));
    centre.pass(29 * 60);
    assert!(!centre.sweep(), "it may go on");
    centre.pass(61);
    // Its phone may be off in the middle of the scan: one more message, then quiet again.
    assert!(centre.sweep());
    assert_eq!(centre.book().len(), 7);
    centre.receive(&backup_of(&[entry(20, "NEW")]));
    centre.pass(31 * 60);
    assert!(centre.sweep());
    let numbers: Vec<u8> = centre.book().keys().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 20]);
    assert_eq!(centre.card.view.state.resynchronisation, None);
    // Not again before another week is over.
    centre.pass(6 * 24 * 3600);
    assert!(!centre.sweep());
    centre.pass(2 * 24 * 3600);
    assert!(centre.sweep());
    assert_eq!(asked(&centre), 1);
}

#[test]
fn without_an_interval_nothing_is_asked() {
    let mut centre = Centre::of(Profile::E1);
    centre.policy.first_interval = None;
    centre.receive(&backup_of(&[entry(1, "BOB")]));
    centre.pass(365 * 24 * 3600);
    assert!(!centre.sweep());
}

#[test]
fn the_service_state_of_the_card_is_known_by_the_receipt() {
    let mut centre = Centre::of(Profile::E1);
    for (request, octets, known) in [(Request::ServiceOff, [0x05], 0), (Request::ServiceOn, [0x04], 1)] {
        let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
        let content = Content::Control { request, progress: Progress::Open };
        let action = new_action(&centre.card, content, Bearer::Sms, &Bytes::new(), context);
        centre.card.open.push(action);
        assert_eq!(centre.launch(), octets);
        centre.receipt();
        assert!(centre.card.open.is_empty());
        assert_eq!(centre.card.view.state.settings[&0x01].as_ref(), [known]);
    }
}

#[test]
fn a_message_that_is_set_aside_is_refused_for_now() {
    let mut centre = Centre::of(Profile::E1);
    let octets = Bytes::from(backup_of(&[entry(1, "BOB"), entry(2, "HOME")]));
    let incoming =
        Incoming { octets: octets.clone(), bearer: Bearer::Sms, reference: None, stamp: None, trace: Bytes::new() };
    let parsed = parse(&octets, &centre.card.view.state.monitor);
    centre.step(Vec::new(), |card, _, context, effects| refuse_for_now(&incoming, &parsed, card, context, effects));
    assert_eq!(centre.acknowledgements, [Bytes::from_static(&[0, 1, 1, 0, 2, 1])]);
}
