//! When a backup of the third embodiment starts, and in which slots its messages leave.

use std::time::Duration;

use mobile::{Input, Output, StationConfig, applet::third::Trigger};
use uicc::files::EF_ADN;

use crate::{
    rig::{bob, home, office},
    third_backup::{CONFIRMATION, POLL, changes, current, eeprom, named, numbers, third},
};

/// Covers: S3-BK-01
#[test]
fn trigger_a_is_a_set_time_or_a_full_message() {
    let mut rig = third(Trigger::default(), StationConfig::default());
    rig.polls(3);
    rig.now += Duration::from_secs(2);
    rig.edit(1, &bob());
    let begun = rig.now;
    rig.polls(2);
    rig.edit(2, &home());
    while rig.sent.is_empty() {
        rig.poll();
    }
    let waited = rig.now - begun;
    assert!((60..=65).contains(&waited.as_secs()), "since the first edit: {waited:?}");
    assert_eq!(numbers(&rig.sent[0]), [1, 2]);
    rig.receive_stored(&CONFIRMATION);

    // Enough edits to fill: at once.
    rig.sent.clear();
    let mut edits = 0;
    while rig.sent.is_empty() {
        edits += 1;
        rig.edit(edits, &named(9, edits));
        assert!(edits < 20);
    }
    assert!(edits > 4, "{edits}");
    assert!(eeprom(&rig).window.is_none());

    // The time that the phone grants counts (D-34).
    let poll_minimum = Duration::from_secs(30);
    let mut rig = third(Trigger::default(), StationConfig { poll_minimum, ..StationConfig::default() });
    rig.edit(1, &bob());
    rig.polls(2);
    assert!(rig.sent.is_empty());
    rig.polls(1);
    assert_eq!(rig.sent.len(), 1);
    // Another window can be set.
    let mut rig = third(Trigger::Window(Duration::from_secs(10)), StationConfig::default());
    rig.edit(1, &bob());
    rig.polls(3);
    assert_eq!(rig.sent.len(), 1);
}

/// Covers: S3-BK-02
#[test]
fn trigger_b_is_a_number_of_changes() {
    let mut rig = third(Trigger::Changes(4), StationConfig::default());
    for number in 1..=3 {
        rig.edit(number, &bob());
        rig.polls(100);
        assert!(rig.sent.is_empty(), "no timer");
    }
    rig.power_cycle();
    rig.edit(4, &bob());
    assert_eq!(numbers(&rig.sent[0]), [1, 2, 3, 4], "right after the fourth edit");
}

/// Covers: S3-BK-03
#[test]
fn trigger_c_is_the_centre() {
    let mut rig = third(Trigger::CentrePolls, StationConfig::default());
    (1..=5).for_each(|number| rig.edit(number, &office()));
    rig.polls(100);
    assert!(rig.sent.is_empty());
    rig.receive_stored(&POLL);
    assert_eq!(numbers(&rig.sent[0]), [1, 2, 3, 4, 5]);
    // The other triggers know it too.
    for trigger in [Trigger::default(), Trigger::Changes(9)] {
        let mut rig = third(trigger, StationConfig::default());
        rig.edit(1, &bob());
        rig.receive_stored(&POLL);
        assert_eq!(numbers(&rig.sent[0]), [1]);
        rig.receive_stored(&CONFIRMATION);
        rig.receive_stored(&POLL);
        rig.polls(20);
        assert_eq!(rig.sent.len(), 1, "nothing is pending");
    }
}

/// Covers: S3-BK-04
#[test]
fn many_changes_go_in_several_messages() {
    let mut rig = third(Trigger::Changes(30), StationConfig::default());
    (1..=30).for_each(|number| rig.edit(number, &named(10, number % 20)));
    rig.polls(30);
    let (complete, changes) = rig.sent.split_last().unwrap();
    assert!(changes.len() > 3);
    assert!(changes.iter().all(|payload| payload[0] == 0x81));
    assert_eq!(complete[0], 0x82);
    let told: Vec<u8> = rig.sent.iter().flat_map(|payload| numbers(payload)).collect();
    assert_eq!(told, (1..=30).collect::<Vec<_>>());
    assert!(rig.sent.iter().all(|payload| payload.len() <= 140));
}

/// Covers: S3-BK-05
#[test]
fn a_call_set_up_is_not_disturbed() {
    for bearer in [mobile::Bearer::Sms, mobile::Bearer::Ip] {
        let mut rig = third(Trigger::Changes(2), StationConfig { bearer, ..StationConfig::default() });
        let left = |rig: &crate::rig::Rig| rig.sent.len() + rig.sent_on_ip.len();
        rig.edit(1, &bob());
        rig.input(Input::CallSetUp(true));
        rig.edit(2, &home());
        rig.polls(5);
        assert_eq!((left(&rig), current(&rig)), (0, vec![1, 2]), "built, and held back");
        rig.input(Input::CallSetUp(false));
        rig.polls(1);
        assert_eq!(left(&rig), 1);
    }
    // Between the messages of one backup too.
    let mut rig = third(Trigger::Changes(30), StationConfig::default());
    (1..=30).for_each(|number| rig.edit(number, &named(10, number % 20)));
    rig.polls(2);
    let before = rig.sent.len();
    rig.input(Input::CallSetUp(true));
    rig.polls(10);
    assert_eq!(rig.sent.len(), before);
    rig.input(Input::CallSetUp(false));
    rig.polls(20);
    assert_eq!(rig.sent.last().unwrap()[0], 0x82);
}

/// A phone that answers "busy on a call" (TS 102 223 8.12.2) is given the message again in the next slot.
#[test]
fn busy_is_tried_again_in_the_next_slot() {
    use mobile::applet::{
        memory::Route,
        third::{Settings, ThirdApplet},
    };
    use uicc::{
        applet::Applet,
        files::FileSystem,
        proactive::{ProactiveCommand, TerminalResponse},
    };
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 10);
    let centre_isdn = link::configuration::IsdnAddress::new(0x91, crate::rig::CENTRE);
    let route = Route { bearer: mobile::Bearer::Sms, centre_isdn, centre_ip: None };
    let settings = Settings { trigger: Trigger::Changes(1), ..Settings::default() };
    let mut applet = ThirdApplet::new(settings, true, route, &files);
    files.set_record(EF_ADN, 1, &bob()).unwrap();
    applet.file_updated(&mut files, EF_ADN, 1);
    let mut tries = vec![];
    for result in [0x20, 0x20, 0x35, 0x00] {
        let mut polls = 0;
        let command = loop {
            match applet.next_command(&mut files) {
                Some(command @ ProactiveCommand::SendShortMessage { .. }) => break command,
                Some(other) => applet.terminal_response(&mut files, &TerminalResponse::to(1, &other, 0)),
                None => {
                    applet.status(&mut files);
                    polls += 1;
                }
            }
        };
        tries.push(polls);
        applet.terminal_response(&mut files, &TerminalResponse::to(1, &command, result));
    }
    assert_eq!(tries, [0, 1, 1, 12], "a network that did not take it has its pause");
    assert!(applet.eeprom().outbox.is_empty());
}

/// One message in each slot, so that the phone is free between them.
#[test]
fn one_message_per_slot() {
    let mut rig = third(Trigger::CentrePolls, StationConfig { immediate_result: true, ..StationConfig::default() });
    (1..=40).for_each(|number| assert!(rig.station.update_record(EF_ADN, number, &named(14, number % 20))));
    rig.input(Input::SmsDeliver(crate::rig::deliver_to_store(&POLL)));
    while rig.station.pending() && changes(&rig).is_empty() && !eeprom(&rig).outbox.is_empty() {
        rig.now = rig.station.next_timeout().unwrap();
        rig.station.handle_input(Input::Tick, rig.now);
        let outputs: Vec<Output> = std::iter::from_fn(|| rig.station.poll_output()).collect();
        assert_eq!(outputs.len(), 1);
    }
}
