//! A collection goes from one phone to the centre and from there to the same or another phone.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use domain::{phonebook::EF_ADN, transfer::collection::COLLECTIONS_MAX};
use link::{
    configuration::Bearer,
    transfer::{Kind, Message, Wish, entry::Entry},
};

use crate::transfer_world::{ANNA, ANNA_NUMBER, BOB, Network, World, contact, phone};

const STORE: Wish = Wish { fetch: false, data: true, settings: true, moves: false };
const FETCH: Wish = Wish { fetch: true, ..STORE };
const GOOD: Network = Network { lost_percent: 0, repeated_percent: 0, delay_max: Duration::from_millis(200) };
const BAD: Network = Network { lost_percent: 15, repeated_percent: 20, delay_max: Duration::from_secs(20) };
const LONG_NUMBER: &str = "+3161234567890123456789012345";

/// Anna's old phone with something of everything, and her new one, whose model does not know the vibrator.
fn world(network: Network, seed: u64, bearer: Bearer) -> World {
    let mut world = World::new(network, seed);
    let old = world.add(ANNA, phone(&["volume", "language", "vibrator"]), 14, bearer);
    world.add(ANNA, phone(&["volume", "language"]), 20, bearer);
    let device = &mut world.devices[old];
    for (record_number, name, number) in [(1, "Anna", "+31201234567"), (2, "Bob", LONG_NUMBER), (40, "Zoë", "112")] {
        device.station.write_contact(record_number, &contact(name, number)).expect("it fits");
    }
    let data = &mut device.app.phone.data;
    data.insert("ring/1".to_owned(), (0..3000_u32).map(|at| at.to_le_bytes()[0]).collect());
    data.insert("ring/2".to_owned(), Bytes::from_static(b"beep"));
    for (key, value) in [("volume", "7"), ("language", "nl"), ("vibrator", "on")] {
        device.app.phone.settings.insert(key.to_owned(), Bytes::from_static(value.as_bytes()));
    }
    world
}

fn names(contacts: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    contacts.iter().map(|(name, number)| ((*name).to_owned(), (*number).to_owned())).collect()
}

fn all_contacts() -> BTreeSet<(String, String)> {
    names(&[("Anna", "+31201234567"), ("Bob", LONG_NUMBER), ("Zoë", "112")])
}

#[test]
fn a_collection_comes_whole_to_another_phone_and_what_its_model_lacks_is_named() {
    // Nothing overtakes anything: the order of the messages is looked at.
    let mut world = world(Network::default(), 1, Bearer::Sms);
    world.select(0, STORE, "main");
    assert_eq!(world.run(0), "main: stored, 8 items");
    // The device never opens the session: initiation, the centre's session message, a request, data.
    assert!(matches!(
        world.trace[..4],
        [
            (true, Message::Initiation { .. }),
            (false, Message::SessionOpen { .. }),
            (false, Message::ItemRequest { item: 1, .. }),
            (true, Message::Item { item: 1, .. }),
        ]
    ));
    world.select(1, FETCH, "main");
    assert_eq!(world.run(1), "main: fetched, 7 items; not known to this phone: vibrator");
    assert_eq!(world.contacts(1), all_contacts());
    let (old, new) = (&world.devices[0].app.phone, &world.devices[1].app.phone);
    assert_eq!(new.data, old.data);
    assert_eq!(
        (&new.settings["volume"], &new.settings["language"]),
        (&old.settings["volume"], &old.settings["language"])
    );
    assert_eq!(new.settings.len(), 2);
    // Copied: the old phone has it all still; and the entries are in the centre's book of the old phone.
    assert_eq!(world.contacts(0), all_contacts());
    let entries = world.book.iter().filter(|change| change.file == EF_ADN);
    assert_eq!(entries.map(|change| change.record_number).collect::<Vec<_>>(), [1, 2, 40]);
    // Once more: no entry is there twice.
    world.select(1, FETCH, "main");
    world.run(1);
    assert_eq!(world.devices[1].station.contacts().len(), 3);
}

#[test]
fn over_a_bad_network_every_kind_of_transfer_ends_as_over_a_good_one() {
    for seed in 1..=60 {
        let bearer = if seed % 2 == 0 { Bearer::Sms } else { Bearer::Ip };
        let mut world = world(BAD, seed, bearer);
        world.restarts = true;
        let moves = seed % 3 == 0;
        let target = usize::from(seed % 5 != 0);
        let source = world.devices[0].app.phone.clone();
        world.select(0, Wish { moves, ..STORE }, "main");
        assert_eq!(world.run(0), "main: stored, 8 items", "seed {seed}");
        if moves {
            assert!(world.contacts(0).is_empty(), "seed {seed}");
            assert!(world.devices[0].app.phone.data.is_empty());
            assert_eq!(world.devices[0].app.phone.settings["volume"], "new");
        }
        world.select(target, Wish { moves, ..FETCH }, "main");
        let text = world.run(target);
        assert!(text.starts_with("main: fetched, "), "seed {seed}: {text}");
        assert_eq!(world.contacts(target), all_contacts(), "seed {seed}");
        assert_eq!(world.devices[target].app.phone.data, source.data, "seed {seed}");
        if target == 0 {
            assert_eq!(world.devices[0].app.phone, source, "seed {seed}");
        }
        // Moved only where the target has all of it: the new model lacks a setting.
        assert_eq!(world.desk.shelf(ANNA).get("main").is_none(), moves && target == 0, "seed {seed}");
        assert!(!world.desk.shelf(ANNA).has_staged(), "seed {seed}");
    }
}

#[test]
fn data_only_or_settings_only() {
    for (data, settings, items) in [(true, false, 5), (false, true, 3), (true, true, 8)] {
        let mut world = world(GOOD, 1, Bearer::Ip);
        world.select(0, Wish { data, settings, ..STORE }, "main");
        assert_eq!(world.run(0), format!("main: stored, {items} items"));
        world.select(1, FETCH, "main");
        world.run(1);
        assert_eq!(world.contacts(1).len(), if data { 3 } else { 0 });
        assert_eq!(world.devices[1].app.phone.data.len(), if data { 2 } else { 0 });
        assert_eq!(world.devices[1].app.phone.settings["volume"], if settings { "7" } else { "new" });
    }
}

#[test]
fn a_cut_session_goes_on_at_the_first_item_that_was_not_confirmed() {
    for events in 1..60 {
        let mut world = world(GOOD, 3, Bearer::Sms);
        world.restarts = true;
        world.select(0, STORE, "main");
        world.run(0);
        world.trace.clear();
        world.select(1, FETCH, "main");
        world.steps(events);
        world.is_cut = true;
        world.run_for(Duration::from_secs(3 * 3600));
        let trace = std::mem::take(&mut world.trace);
        let confirmed = trace.iter().filter_map(|(at_centre, message)| match message {
            Message::ItemResult { item, .. } if *at_centre => Some(*item),
            _ => None,
        });
        let confirmed = confirmed.max().unwrap_or(0);
        world.is_cut = false;
        if world.devices[1].app.next_call().is_some() {
            let text = world.run(1);
            assert!(text.starts_with("main: fetched, 7 items"), "cut after {events}: {text}");
        }
        assert_eq!(world.contacts(1), all_contacts(), "cut after {events}");
        let again = world.trace.iter().filter_map(|(at_centre, message)| match message {
            Message::Item { item, .. } if !at_centre => Some(*item),
            _ => None,
        });
        assert!(again.min().is_none_or(|item| item == confirmed + 1), "cut after {events}");
    }
}

#[test]
fn a_phone_that_loses_its_power_at_any_point_ends_its_transfer() {
    for events in 0..40 {
        let mut world = world(GOOD, 4, Bearer::Sms);
        world.select(0, Wish { moves: true, ..STORE }, "main");
        world.steps(events);
        world.devices[0].is_on = false;
        world.run_for(Duration::from_secs(1800));
        world.devices[0].is_on = true;
        world.power_cycle(0);
        assert_eq!(world.run(0), "main: stored, 8 items", "off after {events}");
        assert!(world.contacts(0).is_empty());
    }
}

#[test]
fn a_store_that_is_not_resumed_within_a_day_leaves_the_previous_version_and_the_source() {
    let mut world = world(GOOD, 5, Bearer::Ip);
    world.select(0, STORE, "main");
    world.run(0);
    world.devices[0].station.write_contact(3, &contact("Cees", "113")).expect("it fits");
    world.select(0, Wish { moves: true, ..STORE }, "main");
    world.steps(6);
    world.is_cut = true;
    assert_eq!(world.run(0), "main: failed");
    assert_eq!(world.contacts(0).len(), 4);
    world.is_cut = false;
    world.select(1, FETCH, "main");
    world.run(1);
    assert_eq!(world.contacts(1), all_contacts());
}

#[test]
fn initiated_by_sms_held_over_ip_and_a_large_item_waits_for_it() {
    let mut world = world(GOOD, 6, Bearer::Sms);
    world.devices[0].app.phone.data.insert("ring/9".to_owned(), vec![7; 40_000].into());
    world.select(0, STORE, "main");
    world.run_for(Duration::from_secs(7200));
    assert_eq!(world.devices[0].texts, ["main: an item is too large for SMS, it waits for IP"]);
    assert!(world.desk.shelf(ANNA).get("main").is_none());
    world.devices[0].app.bearer = Bearer::Ip;
    assert_eq!(world.run(0), "main: stored, 9 items");
}

#[test]
fn quotas_are_told_to_the_user_and_nothing_is_stored_in_part() {
    let mut world = world(GOOD, 7, Bearer::Ip);
    world.devices[0].app.phone.data.insert("zz".to_owned(), vec![7; 70_000].into());
    world.select(0, STORE, "main");
    assert_eq!(world.run(0), "main: failed, an item is too large");
    assert!(world.desk.shelf(ANNA).iter().next().is_none() && world.book.is_empty());
    world.devices[0].app.phone.data.remove("zz");
    for number in 1..=COLLECTIONS_MAX {
        world.select(0, STORE, &format!("c{number}"));
        assert!(world.run(0).contains("stored"));
    }
    world.select(0, STORE, "sixth");
    assert_eq!(world.run(0), "sixth: failed, there is no room");
    assert_eq!(world.desk.shelf(ANNA).iter().count(), COLLECTIONS_MAX);
}

#[test]
fn another_user_reads_why_not_and_with_consent_gets_a_copy() {
    let mut world = world(GOOD, 8, Bearer::Ip);
    let foreign = world.add(BOB, phone(&["volume"]), 14, Bearer::Ip);
    world.select(0, STORE, "main");
    world.run(0);
    let theirs = format!("{ANNA_NUMBER}/main");
    world.select(foreign, FETCH, "main");
    assert_eq!(world.run(foreign), "main: failed, there is no such collection");
    world.select(foreign, FETCH, &theirs);
    assert_eq!(world.run(foreign), format!("{theirs}: failed, it is not yours"));
    world.desk.shelf(ANNA).consent("main", BOB);
    world.select(foreign, FETCH, &theirs);
    let text = world.run(foreign);
    assert_eq!(text, format!("{theirs}: fetched, 6 items; not known to this phone: language, vibrator"));
    assert_eq!(world.contacts(foreign), all_contacts());
}

#[test]
fn what_does_not_fit_the_target_is_named_and_nothing_of_it_is_overwritten() {
    let mut world = world(GOOD, 9, Bearer::Ip);
    world.select(0, STORE, "main");
    world.run(0);
    let small = phone(&["volume", "language", "vibrator"]);
    let target = world.add(ANNA, small, 2, Bearer::Ip);
    world.devices[target].app.phone.data_max = 1;
    world.devices[target].station.write_contact(40, &contact("X", "1")).expect("it fits");
    world.select(target, Wish { moves: true, ..FETCH }, "main");
    let text = world.run(target);
    assert_eq!(text, "main: fetched in part, 4 items; not applied: entry 1, entry 2, entry 40, ring/2");
    assert_eq!(world.contacts(target), names(&[("X", "1")]));
    let shelf = world.desk.shelf(ANNA);
    let version = shelf.get("main").expect("not moved").version;
    let stored: Vec<_> = shelf.items(version).cloned().collect();
    assert_eq!(stored.iter().filter_map(Entry::from_item).count(), 3);
    assert_eq!(stored.iter().filter(|item| item.kind == Kind::Setting).count(), 3);
}
