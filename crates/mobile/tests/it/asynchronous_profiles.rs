//! Backups in blocks by cards of the first and third embodiment (G-12): set at provisioning, asked for in the menu.

use link::asynchronous::Variant;
use mobile::{
    Bearer, Input, Output, Profile, Station, StationConfig,
    applet::{
        MENU_BACKUP, MENU_BACKUP_ASYNCHRONOUS, MENU_BACKUP_NORMAL,
        asynchronous::{CarriedBackup, Settings},
        first, third,
    },
};
use uicc::files::EF_ADN;

use crate::{
    asynchronous_centre::Centre,
    asynchronous_phone::{SMS, Scene, seconds},
    rig::{bob, hex, home},
};

const VARIANTS: [Variant; 3] = [Variant::ServerCountdown, Variant::MobileTimer, Variant::Status];

/// A card of each of the two profiles, with this mode.
fn profiles(variant: Variant) -> [Profile; 2] {
    let asynchronous = Some(Settings { variant, delay_seconds: 90, ..Settings::default() });
    [
        Profile::First(first::Settings { asynchronous, ..first::Settings::default() }),
        Profile::Third(third::Settings { asynchronous, ..third::Settings::default() }),
    ]
}

fn scene(profile: Profile) -> Scene {
    let mut scene = Scene::of(StationConfig { profile, ..StationConfig::default() });
    scene.fill();
    scene
}

fn mode(station: &Station) -> &CarriedBackup {
    let first = station.first().map(|applet| &applet.eeprom().asynchronous);
    let third = station.third().map(|applet| &applet.eeprom().asynchronous);
    first.or(third).and_then(Option::as_ref).expect("the card has the mode")
}

/// Covers: G-12, AS-GN-01, AS-GN-02
#[test]
fn changes_wait_for_the_backup_which_keeps_the_phone_busy_for_one_message() {
    for variant in VARIANTS {
        for profile in profiles(variant) {
            let mut scene = scene(profile.clone());
            scene.run(seconds(600));
            assert!(scene.sent.is_empty() && scene.others.is_empty(), "{profile:?}: the entries wait");
            assert!(!scene.station.pending());
            scene.menu(MENU_BACKUP_ASYNCHRONOUS);
            scene.run(seconds(1800));
            assert_eq!(scene.blocks(), [1, 4, 7, 10], "{profile:?}");
            assert!(scene.pauses().iter().all(|pause| (85..=125).contains(pause)), "{profile:?} {:?}", scene.pauses());
            assert_eq!((scene.centre.ends, scene.station.pending()), (1, false), "{profile:?}");
            assert!(scene.others.is_empty(), "nothing of it leaves another way too");
            let statistics = scene.station.statistics();
            assert_eq!((statistics.backups_completed, statistics.records_backed_up), (1, 10));
            assert_eq!(statistics.longest_blocked, SMS);
        }
    }
}

/// Covers: AS-GN-02, AS-GN-06
#[test]
fn normal_mode_sends_one_after_the_other_and_later_only_what_has_changed() {
    for profile in profiles(Variant::ServerCountdown) {
        let mut scene = scene(profile.clone());
        scene.menu(MENU_BACKUP_NORMAL);
        scene.run(seconds(600));
        assert_eq!((scene.blocks(), scene.centre.ends), (vec![1, 4, 7, 10], 1), "{profile:?}");
        assert_eq!(scene.station.statistics().longest_blocked, 4 * SMS);
        assert!(scene.station.update_record(EF_ADN, 5, &home()));
        scene.centre = Centre::default();
        scene.menu(MENU_BACKUP);
        scene.run(seconds(1200));
        assert_eq!(scene.blocks()[4..], [1], "one entry in one message");
        let expected = [&[5], home().as_slice()].concat();
        assert_eq!(scene.centre.blocks.into_values().collect::<Vec<_>>(), [expected]);
        assert!(!scene.station.pending());
    }
}

/// Covers: AS-GN-07
#[test]
fn a_power_cycle_at_any_point_loses_nothing() {
    for variant in VARIANTS {
        for profile in profiles(variant) {
            for cut in (1..500).step_by(23) {
                let mut scene = scene(profile.clone());
                scene.menu(MENU_BACKUP_ASYNCHRONOUS);
                scene.run(seconds(cut));
                scene.input(Input::PowerOff);
                scene.input(Input::PowerOn);
                scene.run(seconds(3600));
                assert_eq!(scene.centre.blocks.len(), 10, "{profile:?}, off at {cut} s");
                assert!(!scene.station.pending(), "{profile:?}, off at {cut} s");
            }
        }
    }
}

/// What the centre asks for leaves by the profile's own messages, whatever waits for the user.
#[test]
fn a_resynchronisation_is_answered_while_changes_wait() {
    for (profile, request) in profiles(Variant::MobileTimer).into_iter().zip([hex("06"), hex("83 01 02")]) {
        let mut scene = scene(profile);
        scene.deliver(&request);
        assert!(scene.station.pending());
        scene.run(seconds(1200));
        assert!(!scene.others.is_empty() && scene.sent.is_empty());
        let ids = [0x01, 0x81, 0x82];
        assert!(scene.others.iter().all(|message| ids.contains(&message[0])), "{:02X?}", scene.others);
    }
}

/// The mode is an option of the profile: without it the card is what it was.
#[test]
fn without_the_mode_there_is_no_menu_and_its_messages_are_unsupported() {
    let plain = [Profile::First(first::Settings::default()), Profile::Third(third::Settings::default())];
    for (profile, error) in plain.into_iter().zip([hex("07 A2 0C"), hex("84 01 0C")]) {
        let mut scene = scene(profile);
        scene.menu(MENU_BACKUP_ASYNCHRONOUS);
        scene.deliver(&hex("A2 07 0A 01 04 0A"));
        scene.run(seconds(30));
        assert!(scene.others.contains(&error), "{:02X?}", scene.others);
        assert!(scene.sent.is_empty());
    }
}

/// Over IP nothing is waited for: blocks of a normal backup leave at once, in messages as long as the setting wants.
#[test]
fn over_ip_a_normal_backup_leaves_at_once() {
    for profile in profiles(Variant::ServerCountdown) {
        let config = StationConfig { profile, bearer: Bearer::Ip, ..StationConfig::default() };
        let mut scene = Scene::of(config);
        scene.fill();
        scene.station.handle_input(Input::MenuSelection(MENU_BACKUP_NORMAL), seconds(1));
        scene.station.handle_input(Input::Tick, seconds(10));
        let mut centre = Centre::default();
        let mut sent = Vec::new();
        while let Some(output) = scene.station.poll_output() {
            let Output::IpPayload(payload) = output else { continue };
            sent.push(payload.to_vec());
        }
        assert_eq!(sent.len(), 4);
        let [end] = centre.take(&mut sent, false).try_into().expect("the end");
        scene.station.handle_input(Input::IpPayload(end.into()), seconds(11));
        assert_eq!(centre.blocks.get(&1).map(|block| block[2..].to_vec()), Some(bob()[1..].to_vec()));
        assert!(matches!(scene.station.poll_output(), Some(Output::Display(text)) if text == "Backup complete"));
        assert!(!scene.station.pending());
        assert_eq!(mode(&scene.station).backup.completed, 1);
    }
}
