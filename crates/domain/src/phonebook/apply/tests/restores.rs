//! Restores: their acknowledgements, and the card's own request.

use super::*;

pub(super) fn restore_action(centre: &mut Centre, selection: &restore::Selection) {
    let book = centre.book();
    let records = plan(centre, &book, &book, selection);
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action =
        new_action(&centre.card, Content::Restore { records, check_data: None }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
}

pub(super) fn acknowledge_restore(results: &[(u8, u8, u8)]) -> Vec<u8> {
    let records = results.iter().map(|&(record_number, result, reason)| FileResult {
        df: 0x7F10,
        ef: 0x6F3A,
        record_number,
        result,
        reason,
    });
    Message::RestoreAcknowledgement { records: records.collect() }.encode()
}

/// Covers: SC-ID-12, SC-ID-13
#[test]
fn a_restore_goes_on_until_every_record_is_answered() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in 1..=6 {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    restore_action(&mut centre, &restore::Selection::All);
    // Unmatched: logged, harmless.
    centre.receive(&acknowledge_restore(&[(77, 0, 0)]));
    assert_eq!(centre.kinds(), ["unmatched-acknowledgement"]);
    assert_eq!(centre.launch().len(), 1 + 4 * 30);
    centre.receive(&acknowledge_restore(&[(1, 0, 0), (2, 0, 0), (3, 1, 5), (4, 0, 0)]));
    let action = centre.card.open[0].clone();
    assert_eq!((action.state, action.due.since(centre.now)), (State::Queued, Duration::from_secs(300)));
    // Only what failed, and what was never sent, goes again.
    let again = centre.launch();
    assert_eq!((again.len(), again[2]), (1 + 3 * 30, 3));
    centre.receive(&acknowledge_restore(&[(3, 1, 5), (5, 0, 0), (6, 0, 0)]));
    assert_eq!(centre.card.open[0].due.since(centre.now), Duration::from_secs(600));
    centre.launch();
    centre.receive(&acknowledge_restore(&[(3, 0, 0)]));
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.journal.last().unwrap().source, Source::Restore);
}

#[test]
fn a_restore_acknowledgement_writes_the_book_and_a_refusal_is_reported() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    centre.receive(&card.backup(1, &adn("OLD")));
    let before = centre.now;
    centre.receive(&card.backup(1, &empty()));
    assert_eq!(centre.record(1), None);
    let (book, past) = (centre.book(), history::as_of(&centre.book(), &centre.newest_first(), before));
    let records = plan(&centre, &past, &book, &restore::Selection::All);
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action =
        new_action(&centre.card, Content::Restore { records, check_data: None }, Bearer::Sms, &Bytes::new(), context);
    centre.card.open.push(action);
    centre.launch();
    centre.receive(&acknowledge_restore(&[(1, 0, 0)]));
    assert_eq!(centre.record(1), Some(adn("OLD")));
    card.edit(1, &adn("OLD"));
    assert_eq!(centre.card.view.state.checksums, card.table);
    restore_action(&mut centre, &restore::Selection::All);
    centre.launch();
    centre.receive(&acknowledge_restore(&[(1, 2, 4)]));
    assert!(centre.card.open.is_empty());
    assert_eq!(centre.kinds(), ["restore-refused"]);
}

/// Covers: SC-ID-16
#[test]
fn a_card_may_ask_for_its_data() {
    let mut centre = Centre::adn();
    let mut card = ModelCard::adn();
    for number in [2, 5, 40] {
        centre.receive(&card.backup(number, &adn(&format!("N{number}"))));
    }
    centre.receive(&[0x40, 0, 1, 10]);
    assert_eq!(centre.queued.last().map(|entry| entry.action), centre.card.open.first().map(|action| action.id));
    let message = centre.launch();
    assert_eq!((message.len(), message[2], message[32]), (1 + 2 * 30, 2, 5));
    centre.card.open.clear();
    centre.receive(&[0x40]);
    assert_eq!(centre.launch().len(), 1 + 3 * 30);
    let refused = centre.receive(&[0x40, 3, 1, 1]);
    assert_eq!(refused.reply.unwrap().octets, [0x48, 0, 0, 0, 0, 0, 2, 2]);
}
