//! Card and centre stay equal over any order of edits, deletions, losses and restores; so does the past.

use super::{restores::acknowledge_restore, *};

#[derive(Clone, Debug)]
enum Step {
    Edit { number: u8, octets: Vec<u8> },
    Delete { number: u8 },
    Lose { number: u8 },
    Restore { to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 1_u8..40;
    let step = prop_oneof![
        4 => (number.clone(), proptest::collection::vec(any::<u8>(), 28)).prop_map(|(number, mut octets)| {
            octets[14] %= 12;
            Step::Edit { number, octets }
        }),
        2 => number.clone().prop_map(|number| Step::Delete { number }),
        1 => number.prop_map(|number| Step::Lose { number }),
        1 => (0_usize..30).prop_map(|to| Step::Restore { to }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Restores what is selected of the book of an earlier moment to the card, message by message.
pub(super) fn restore_to(
    centre: &mut Centre,
    card: &mut ModelCard,
    source: &restore::Book,
    selection: &restore::Selection,
) {
    let target = centre.book();
    let plan = plan(centre, source, &target, selection);
    if plan.is_empty() {
        return;
    }
    let context = Context { now: centre.now, ids: &centre.ids, policy: &centre.policy };
    let action = new_action(
        &centre.card,
        Content::Restore { records: plan, check_data: None },
        Bearer::Sms,
        &Bytes::new(),
        context,
    );
    centre.card.open.push(action);
    while !centre.card.open.is_empty() {
        let message = Message::decode(&centre.launch(), &centre.card.view.state.monitor).unwrap();
        let Message::Restore { records, .. } = message else { panic!("a restore") };
        let numbers: Vec<_> = records.iter().map(|record| (record.record_number, 0, 0)).collect();
        for record in records {
            card.edit(record.record_number, &record.data);
        }
        centre.receive(&acknowledge_restore(&numbers));
    }
}

proptest! {
    /// Covers: S2-CF-07
    #[test]
    fn card_and_centre_compute_equal_tables_from_equal_data(steps in steps()) {
        let mut centre = Centre::adn();
        let mut card = ModelCard::adn();
        let mut kept = vec![(centre.now, centre.book())];
        for step in steps {
            match step {
                Step::Edit { number, octets } => { centre.receive(&card.backup(number, &octets.into())); }
                Step::Delete { number } => { centre.receive(&card.backup(number, &empty())); }
                // Lost, and sent again by the card later.
                Step::Lose { number } => {
                    let lost = card.backup(number, &adn("LOST"));
                    centre.pass(300);
                    centre.receive(&lost);
                }
                Step::Restore { to } => {
                    let source = kept[to % kept.len()].1.clone();
                    restore_to(&mut centre, &mut card, &source, &restore::Selection::All);
                }
            }
            prop_assert_eq!(&centre.card.view.state.checksums, &card.table);
            prop_assert_eq!(centre.card.view.state.mismatch_since, None);
            kept.push((centre.now, centre.book()));
        }
        let held: restore::Book = card.records.iter()
            .filter(|(_, octets)| octets.iter().any(|octet| *octet != 0xFF))
            .map(|(number, octets)| ((FilePath { df: 0x7F10, ef: 0x6F3A }, *number), octets.clone())).collect();
        prop_assert_eq!(centre.book(), held);
        // The book as of any moment equals the copy that was kept then.
        let journal = centre.newest_first();
        for (at, copy) in kept {
            prop_assert_eq!(history::as_of(&centre.book(), &journal, at), copy);
        }
    }
}
