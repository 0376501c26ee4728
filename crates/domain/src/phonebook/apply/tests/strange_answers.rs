//! Answers of a card that are late, partial, or refuse what the centre thought possible.

use super::{configurations::configure, restores::acknowledge_restore, *};

fn order(centre: &mut Centre, content: Content) {
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(&centre.card, content, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
}

fn restore_of(monitor_index: u8, record_number: u8, name: &str) -> RestoreRecord {
    let data = adn(name);
    RestoreRecord { monitor_index, file: EF_ADN, record_number, data_offset: 0, data, progress: Progress::Open }
}

fn progresses(centre: &Centre) -> Vec<Progress> {
    centre.card.open[0].content.progresses().collect()
}

/// What the applet answers when its table has no row 1 (D-17): the record number behind an empty path.
#[test]
fn a_record_of_a_row_that_the_card_does_not_have_ends_and_those_behind_it_go_again() {
    let mut centre = Centre::new(vec![row(0, 10, 0, 28), row(10, 10, 0, 28), row(20, 10, 0, 28)]);
    let records = vec![restore_of(0, 1, "A"), restore_of(1, 11, "B"), restore_of(1, 12, "C"), restore_of(2, 21, "D")];
    order(&mut centre, Content::Restore { records, check_data: None });
    centre.launch();
    let answer = [0x20, 0x7F, 0x10, 0x6F, 0x3A, 1, 0, 0, 0, 0, 0, 0, 11, 2, 4];
    centre.receive(&answer);
    assert_eq!(progresses(&centre), [Progress::Done, Progress::Failed(4), Progress::Failed(4), Progress::Again]);
    assert_eq!(centre.card.open[0].state, State::Queued);
    assert_eq!(centre.launch()[1..3], [2, 21]);
    centre.receive(&acknowledge_restore(&[(21, 0, 0)]));
    assert!(centre.card.open.is_empty(), "the action ends, the next one's turn comes");
    assert_eq!((centre.record(1), centre.record(11), centre.kinds()), (Some(adn("A")), None, vec!["restore-refused"]));
}

#[test]
fn only_what_was_launched_can_be_answered() {
    let mut centre = Centre::adn();
    let records = (1_u8..=6).map(|number| restore_of(0, number, "A")).collect();
    order(&mut centre, Content::Restore { records, check_data: None });
    centre.launch();
    centre.receive(&acknowledge_restore(&[(5, 0, 0)]));
    assert_eq!((centre.kinds(), centre.record(5)), (vec!["unmatched-acknowledgement"], None));
    // Launched, unanswered, about to be launched again: a late answer counts.
    centre.policy.ladder.overdue(&mut centre.card.open[0], "silence", centre.now);
    assert_eq!(progresses(&centre)[3..5], [Progress::Again, Progress::Open]);
    centre.receive(&acknowledge_restore(&[(4, 0, 0)]));
    assert_eq!(progresses(&centre)[3..5], [Progress::Done, Progress::Open]);
    let mut centre = Centre::adn();
    let item = ConfigurationItem { cid: 4, data: Bytes::from_static(&[1]), progress: Progress::Open };
    order(&mut centre, Content::Configuration { items: vec![item; 80] });
    centre.launch();
    let launched = progresses(&centre).iter().filter(|progress| **progress == Progress::InFlight).count();
    centre.receive(&[vec![0x38], [4, 0].repeat(80)].concat());
    assert_eq!(progresses(&centre).iter().filter(|progress| **progress == Progress::Done).count(), launched);
}

#[test]
fn rows_that_overlap_stay_equal_after_a_restore_by_one_of_them() {
    let rows = vec![row(0, 10, 0, 28), row(0, 10, 14, 7)];
    let mut centre = Centre::new(rows.clone());
    let mut card = ModelCard::new(rows);
    for part in card.edit(1, &adn("OLD")) {
        centre.receive(&card.message(&[part]));
    }
    let mut new = adn("NEW").to_vec();
    new[16] = 0x55;
    let record = RestoreRecord { data: new.clone().into(), ..restore_of(0, 1, "") };
    order(&mut centre, Content::Restore { records: vec![record], check_data: None });
    centre.launch();
    card.edit(1, &new.into());
    centre.receive(&acknowledge_restore(&[(1, 0, 0)]));
    assert_eq!(centre.card.view.state.checksums, card.table);
}

#[test]
fn a_record_refused_for_now_for_ever_waits_for_the_card_after_the_last_attempt() {
    let mut centre = Centre::adn();
    order(&mut centre, Content::Restore { records: vec![restore_of(0, 1, "A")], check_data: None });
    for attempts in 0..12 {
        let action = &centre.card.open[0];
        assert_eq!((action.state, action.attempts), (State::Queued, attempts));
        centre.now = centre.card.open[0].due;
        centre.launch();
        // Not a repeat of the message before, within the window.
        centre.receive(&[0x48, 0, 0, 0, 0, 0, 1, 7]);
        centre.receive(&acknowledge_restore(&[(1, 1, 5)]));
    }
    assert_eq!((centre.card.open[0].state, centre.kinds().last()), (State::Waiting, Some(&"refused-too-often")));
}

/// SC-DB-07 within one batch: what was cut by the old table before the new one was known is cut again.
#[test]
fn a_message_behind_the_one_that_shows_the_new_table_is_read_with_it() {
    let mut centre = Centre::adn();
    configure(&mut centre, &[(0, row(0, 100, 0, 20))]);
    let mut card = ModelCard::new(vec![row(0, 100, 0, 20)]);
    let short = |name: &str| adn(name).slice(..20);
    let messages = [card.backup(1, &short("A")), card.backup(2, &short("B"))];
    let open = std::mem::take(&mut centre.card.open);
    centre.card.set_actions(open);
    let incoming = messages.map(|octets| Incoming {
        octets: octets.into(),
        bearer: Bearer::Sms,
        reference: None,
        stamp: None,
        trace: Bytes::new(),
    });
    let parsed = incoming.clone().map(|incoming| parse(&incoming.octets, &centre.card.view.state.monitor));
    let verdicts = centre.step(Vec::new(), |card, pages, context, effects| {
        let both = incoming.iter().zip(parsed);
        both.map(|(incoming, parsed)| apply(incoming, parsed, card, pages, context, effects)).collect::<Vec<_>>()
    });
    assert!(verdicts.iter().all(|verdict| verdict.outcome == Outcome::Stored));
    assert_eq!((centre.record(1), centre.record(2)), (Some(short("A")), Some(short("B"))));
    assert_eq!(centre.card.view.state.checksums, card.table);
}

#[test]
fn a_card_that_asks_again_and_again_does_not_fill_the_table() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=20 {
        centre.receive(&card.backup(number, &adn("A")));
    }
    for _ in 0..3 {
        centre.receive(&[0x40, 0, 1, 10]);
        centre.receive(&[0x40, 0, 2, 3]);
        centre.pass(700);
    }
    assert_eq!(centre.card.open.len(), 1, "all of it is on its way");
    let mut replies: Vec<_> = (11..=20).filter_map(|first| centre.receive(&[0x40, 0, first, 1]).reply).collect();
    assert_eq!((centre.card.open.len(), replies.len()), (4, 7));
    assert_eq!(replies.remove(0).octets, [0x48, 0, 0, 0, 0, 0, 1, 7]);
    // Edited since: that is something else.
    centre.card.open.truncate(1);
    centre.receive(&card.backup(5, &adn("NEWER")));
    centre.receive(&[0x40, 0, 5, 1]);
    assert_eq!(centre.card.open.len(), 2);
}

/// Two launches of one restore are answered twice; the second answer looks like that to the next restore of the record.
#[test]
fn a_late_answer_does_not_complete_the_next_action() {
    let mut centre = Centre::adn();
    order(&mut centre, Content::Restore { records: vec![restore_of(0, 1, "A")], check_data: None });
    centre.launch();
    centre.pass(300);
    centre.policy.ladder.overdue(&mut centre.card.open[0], "silence", centre.now);
    centre.launch();
    let answer = acknowledge_restore(&[(1, 0, 0)]);
    centre.receive(&answer);
    order(&mut centre, Content::Restore { records: vec![restore_of(0, 1, "B")], check_data: None });
    centre.launch();
    // Another message in between: it is not the last one any more.
    centre.receive(&ModelCard::adn().backup(9, &adn("C")));
    assert_eq!(centre.receive(&answer).outcome, Outcome::Duplicate);
    assert_eq!((centre.card.open[0].state, centre.record(1)), (State::Sent, Some(adn("A"))));
    assert_eq!(centre.receive(&answer).outcome, Outcome::Stored);
    assert_eq!((centre.card.open.len(), centre.record(1)), (0, Some(adn("B"))));
}
