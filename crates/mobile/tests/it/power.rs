//! Wherever the power goes and whatever the network does, in the end card and book hold the same.

use mobile::Bearer;
use proptest::prelude::*;

use crate::world::{Act, Cut, Fate, RECORDS, World};

fn acts() -> impl Strategy<Value = Act> {
    let record = || 1..=RECORDS;
    prop_oneof![
        8 => (record(), 0..4u8).prop_map(|(record, content)| Act::Edit { record, content }),
        8 => (0..20u8).prop_map(Act::Polls),
        2 => Just(Act::Polls(70)),
        2 => Just(Act::PowerCycle),
        2 => prop_oneof![Just(Cut::BeforeSending), Just(Cut::BeforeResult)].prop_map(Act::Cut),
        2 => record().prop_map(|record| Act::Restore { record }),
        1 => Just(Act::RestoreAll),
        1 => any::<bool>().prop_map(Act::Coverage),
        1 => (0..2u8).prop_map(Act::Bearer),
        1 => (0..2u8).prop_map(Act::Service),
    ]
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate =
        prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Twice), 1 => Just(Fate::Late)];
    prop::collection::vec(fate, 0..60)
}

fn bearers() -> impl Strategy<Value = Bearer> {
    prop_oneof![Just(Bearer::Sms), Just(Bearer::Ip)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was lost, came twice or late, and whenever the power went: after one more edit, whose checksum lets the
    /// centre compare (D-36, D-20), card and book are equal.
    #[test]
    fn card_and_book_become_equal(
        bearer in bearers(),
        acts in prop::collection::vec(acts(), 1..40),
        fates in fates(),
    ) {
        let mut world = World::new(bearer, fates);
        acts.iter().for_each(|act| world.act(act));
        world.come_to_rest(false);
        world.edit(RECORDS + 1, 0x55);
        world.come_to_rest(true);
        world.assert_equal();
    }

    /// On a network that loses nothing no help of the centre is needed, wherever the power goes.
    #[test]
    fn power_cycles_alone_lose_nothing(bearer in bearers(), acts in prop::collection::vec(acts(), 1..40)) {
        let mut world = World::new(bearer, vec![]);
        let goes_by_itself = |act: &&Act| !matches!(act, Act::Restore { .. } | Act::RestoreAll | Act::Coverage(_));
        for act in acts.iter().filter(goes_by_itself) {
            world.act(act);
        }
        world.come_to_rest(false);
        world.assert_equal();
    }
}

/// Covers: S2-RS-14, S2-BF-04
#[test]
fn a_power_cycle_at_any_step_of_a_backup_and_of_a_restore() {
    for bearer in [Bearer::Sms, Bearer::Ip] {
        for step in 0..60 {
            let mut world = World::new(bearer, vec![]);
            (1..=6).for_each(|record| world.edit(record, record));
            world.steps_to_cut = Some(step);
            world.come_to_rest(true);
            world.assert_equal();

            (1..=6).for_each(|record| world.edit(record, 0));
            world.come_to_rest(true);
            let mut world = world.with_book((1..=6).map(|record| (record, [record; 28])));
            world.steps_to_cut = Some(step);
            world.act(&Act::RestoreAll);
            world.come_to_rest(false);
            assert_eq!(world.card().len(), 6, "{bearer:?}, step {step}");
            world.edit(RECORDS + 1, 1);
            world.come_to_rest(true);
            world.assert_equal();
        }
    }
}
