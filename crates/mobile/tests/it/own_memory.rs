//! Devices with an address book of their own: phones with and without a card, PDAs; and the card alone (AS-GN-03, AS-GN-04).

use std::{collections::BTreeSet, time::Duration};

use link::asynchronous::Variant;
use mobile::{
    Bearer, Contact, Input, Output, OwnMemoryConfig, Profile, StationConfig,
    applet::{
        MENU_BACKUP, MENU_BACKUP_ASK, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL, asynchronous::Settings, first,
        third,
    },
};
use proptest::prelude::*;

use crate::{
    asynchronous_centre::Centre,
    asynchronous_phone::{SMS, Scene, seconds},
    rig::{bob, hex},
};

/// Three entries of it fill a message.
const ALPHA_OCTETS: u8 = 20;

fn own(variant: Variant) -> Option<OwnMemoryConfig> {
    let backup = Settings { variant, delay_seconds: 90, ..Settings::default() };
    Some(OwnMemoryConfig { alpha_octets: ALPHA_OCTETS, backup })
}

fn write(scene: &mut Scene, record: u8, name: &str) {
    let contact = Contact { name: name.to_owned(), number: format!("+4930{record}") };
    assert_eq!(scene.station.write_own(record, Some(&contact)), Ok(true));
}

fn device(config: StationConfig) -> Scene {
    let mut scene = Scene::of(config);
    (1..=10).for_each(|record| write(&mut scene, record, &format!("Somebody number {record}")));
    scene
}

/// What the centre has of the device's own book, against what the device has.
fn assert_stored(scene: &Scene) {
    let head = hex("00 0000 0001");
    let expected: Vec<Vec<u8>> = scene
        .station
        .own_records()
        .into_iter()
        .map(|(number, octets)| [&head[..], &[number], &octets].concat())
        .collect();
    assert_eq!(scene.centre.blocks.values().cloned().collect::<Vec<_>>(), expected);
    assert!(!scene.station.pending());
}

/// Covers: AS-GN-03
#[test]
fn a_phones_own_entries_leave_in_blocks_of_its_own_sessions() {
    for variant in [Variant::ServerCountdown, Variant::MobileTimer, Variant::Status] {
        let mut scene = device(StationConfig { own_memory: own(variant), ..StationConfig::default() });
        scene.run(seconds(300));
        assert!(scene.sent.is_empty(), "they wait for the user");
        scene.input(Input::OwnMenuSelection(MENU_BACKUP_ASYNCHRONOUS));
        scene.run(seconds(1200));
        assert_eq!((scene.blocks(), scene.centre.ends), (vec![1, 4, 7, 10], 1), "{variant:?}");
        assert!(scene.pauses().iter().all(|pause| (90..=125).contains(pause)), "{:?}", scene.pauses());
        assert_eq!(scene.station.statistics().longest_blocked, SMS);
        assert_stored(&scene);
        // Then one entry and one deletion.
        scene.centre = Centre::default();
        write(&mut scene, 3, "Another");
        assert_eq!(scene.station.write_own(4, None), Ok(true));
        scene.input(Input::OwnMenuSelection(MENU_BACKUP));
        scene.run(seconds(2400));
        let numbers: Vec<u8> = scene.centre.blocks.values().map(|block| block[5]).collect();
        assert_eq!(numbers, [3, 4]);
        assert!(scene.centre.blocks[&2][6..].iter().all(|octet| *octet == 0xFF), "deleted");
    }
}

/// The card's messages and the device's own: one at a time, and none is lost for the other.
#[test]
fn a_device_sends_one_message_at_a_time_its_cards_or_its_own() {
    // The device's first message leaves at each second of the card's interval, so that some meet the card's.
    for start in 15..40 {
        let mut scene = device(StationConfig { own_memory: own(Variant::MobileTimer), ..StationConfig::default() });
        for record in 1..=10 {
            assert!(scene.station.update_record(uicc::files::EF_ADN, record, &bob()));
        }
        scene.run(seconds(start));
        scene.input(Input::OwnMenuSelection(MENU_BACKUP_NORMAL));
        scene.run(seconds(600));
        assert_eq!(scene.blocks(), [1, 4, 7, 10], "from {start} s on");
        let backups = scene.others.iter().filter(|message| message[0] & 0xF8 == 0x08);
        let records: BTreeSet<u8> =
            backups.flat_map(|message| message[1..].as_chunks::<30>().0.iter().map(|record| record[1])).collect();
        assert_eq!(records, (1..=10).collect(), "from {start} s on");
    }
}

/// What a PDA sends over IP, and the centre's answers.
fn over_ip(scene: &mut Scene, until: Duration) -> Vec<Vec<u8>> {
    let (mut sent, mut centre) = (Vec::new(), Centre::default());
    while scene.now < until {
        let mut arriving = Vec::new();
        while let Some(output) = scene.station.poll_output() {
            if let Output::IpPayload(payload) = output {
                sent.push(payload.to_vec());
                arriving.push(payload.to_vec());
            }
        }
        for answer in centre.take(&mut arriving, true) {
            scene.station.handle_input(Input::IpPayload(answer.into()), scene.now);
        }
        scene.now = scene.station.next_timeout().unwrap().max(scene.now);
        scene.station.handle_input(Input::Tick, scene.now);
    }
    scene.centre = centre;
    sent
}

/// Each kind of device backs up what it holds, by whatever it has to send with.
///
/// Covers: AS-GN-04
#[test]
fn phones_with_and_without_a_card_pdas_and_cards_all_back_up() {
    let variant = Variant::ServerCountdown;
    // A phone with a card, and one without: by short message.
    for has_card in [true, false] {
        let mut scene = device(StationConfig { has_card, own_memory: own(variant), ..StationConfig::default() });
        assert_eq!(scene.station.read_record(uicc::files::EF_ADN, 1).is_some(), has_card);
        scene.input(Input::OwnMenuSelection(MENU_BACKUP_NORMAL));
        scene.run(seconds(300));
        assert_eq!(scene.blocks(), [1, 4, 7, 10], "with a card: {has_card}");
        assert_stored(&scene);
    }
    // A PDA: by IP, and it has no card.
    let pda =
        StationConfig { has_card: false, bearer: Bearer::Ip, own_memory: own(variant), ..StationConfig::default() };
    let mut scene = device(pda);
    scene.station.handle_input(Input::OwnMenuSelection(MENU_BACKUP_ASYNCHRONOUS), scene.now);
    let sent = over_ip(&mut scene, seconds(300));
    assert_eq!(sent.len(), 4);
    while scene.station.poll_output().is_some() {}
    assert_stored(&scene);
    // The card itself, of each profile.
    let asynchronous = Some(Settings { variant, ..Settings::default() });
    let profiles = [
        Profile::First(first::Settings { asynchronous, ..first::Settings::default() }),
        Profile::Second,
        Profile::Third(third::Settings { asynchronous, ..third::Settings::default() }),
    ];
    for profile in profiles {
        let mut scene = Scene::of(StationConfig { profile: profile.clone(), ..StationConfig::default() });
        if profile == Profile::Second {
            scene.deliver(&hex("30 0D 00 03 00 00"));
            scene.run(seconds(60));
        }
        scene.fill();
        scene.menu(MENU_BACKUP_NORMAL);
        scene.run(seconds(600));
        assert_eq!((scene.blocks(), scene.centre.blocks.len()), (vec![1, 4, 7, 10], 10), "{profile:?}");
        assert_eq!(scene.station.write_own(1, None), Ok(false), "no memory of its own");
    }
}

#[test]
fn the_user_is_asked_and_may_refuse_both() {
    let mut scene = device(StationConfig { own_memory: own(Variant::MobileTimer), ..StationConfig::default() });
    [false, false].into_iter().for_each(|agrees| scene.station.user_will(agrees));
    scene.station.handle_input(Input::OwnMenuSelection(MENU_BACKUP_ASK), seconds(1));
    let shown: Vec<Output> = std::iter::from_fn(|| scene.station.poll_output()).collect();
    let texts = ["Normal now?", "Asynchronous now?"];
    assert_eq!(shown.len(), texts.len());
    for (output, text) in shown.iter().zip(texts) {
        assert!(matches!(output, Output::Display(shown) if shown.ends_with(text)), "{output:?}");
    }
    assert!(!scene.station.pending());
}

/// Covers: AS-GN-07
#[test]
fn a_device_that_is_switched_off_goes_on_where_it_was() {
    for cut in (1..400).step_by(19) {
        let mut scene = device(StationConfig { own_memory: own(Variant::MobileTimer), ..StationConfig::default() });
        scene.input(Input::OwnMenuSelection(MENU_BACKUP_ASYNCHRONOUS));
        scene.run(seconds(cut));
        scene.input(Input::PowerOff);
        scene.input(Input::PowerOn);
        scene.run(seconds(3600));
        assert_stored(&scene);
    }
}

proptest! {
    /// Whatever comes from the centre's number, a device without a card and one with a card take it.
    #[test]
    fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 1..140), has_card: bool) {
        let config = StationConfig { has_card, own_memory: own(Variant::ServerCountdown), ..StationConfig::default() };
        let mut scene = device(config);
        scene.input(Input::OwnMenuSelection(MENU_BACKUP_ASYNCHRONOUS));
        scene.deliver(&octets);
        scene.station.handle_input(Input::IpPayload(octets.into()), scene.now);
    }
}
