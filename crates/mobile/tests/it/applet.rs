//! The applet without a phone: which commands it gives, in which order.

use std::time::Duration;

use link::{
    configuration::IsdnAddress,
    monitor::{MonitorRow, MonitorTable},
};
use mobile::applet::{
    BackupApplet, default_monitor_table,
    memory::{Configuration, Results, Work},
};
use sms::Submit;
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_EXT1, FileSystem},
    proactive::{ProactiveCommand, TerminalResponse},
};

use crate::rig::{CENTRE, Rig, bob, deliver_from, hex, home, message, office};

fn card() -> (FileSystem, BackupApplet) {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 28, 100);
    files.add_linear(EF_EXT1, 13, 10);
    let centre_isdn = IsdnAddress::new(0x91, CENTRE);
    let configuration = Configuration { centre_isdn, ..Configuration::default() };
    let mut applet = BackupApplet::new(configuration, default_monitor_table(&files));
    assert_eq!(commands(&mut applet, &mut files, true).len(), 2, "menu and poll interval");
    (files, applet)
}

/// All that the applet wants now, each answered.
fn commands(applet: &mut BackupApplet, files: &mut FileSystem, ok: bool) -> Vec<ProactiveCommand> {
    let mut seen = Vec::new();
    while let Some(command) = applet.next_command(files) {
        let result = if ok { 0x00 } else { 0x35 };
        applet.terminal_response(files, &TerminalResponse::to(1, &command, result));
        seen.push(command);
    }
    seen
}

fn payload(command: &ProactiveCommand) -> Vec<u8> {
    let ProactiveCommand::SendShortMessage { tpdu, .. } = command else { panic!("{command:?} is no message") };
    Submit::decode(tpdu).unwrap().user_data.body().to_vec()
}

/// Covers: S2-RS-02, S2-RS-05, S2-RS-13, S2-BK-13
#[test]
fn fast_polls_then_normal_ones_then_the_acknowledgement() {
    let (mut files, mut applet) = card();
    let restore = message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home()]);
    applet.sms_pp_download(&mut files, &deliver_from(CENTRE, &restore));
    let fast = ProactiveCommand::PollInterval(Duration::from_secs(1));
    assert_eq!(commands(&mut applet, &mut files, true), [fast]);
    match &applet.eeprom().job.as_ref().unwrap().work {
        Work::Restore { records, .. } => {
            let data: Vec<_> = records.iter().map(|record| (record.record_number, record.data.to_vec())).collect();
            assert_eq!(data, [(1, bob()), (2, home())]);
        }
        other => panic!("{other:?}"),
    }
    applet.status(&mut files);
    let refresh = commands(&mut applet, &mut files, true);
    assert!(matches!(&refresh[..], [ProactiveCommand::Refresh { files, .. }] if *files == [EF_ADN]));
    assert!(applet.eeprom().acknowledgement_flag());
    applet.status(&mut files);
    let last = commands(&mut applet, &mut files, true);
    assert_eq!(last[0], ProactiveCommand::PollInterval(Duration::from_secs(5)));
    assert_eq!(payload(&last[1]), hex("20 7F106F3A 01 0000 7F106F3A 02 0000"));
    assert!(!applet.eeprom().acknowledgement_flag());
}

#[test]
fn a_failed_acknowledgement_is_kept() {
    let (mut files, mut applet) = card();
    applet.sms_pp_download(&mut files, &deliver_from(CENTRE, &message(&[&[0x18, 0, 1], &bob()])));
    applet.status(&mut files);
    assert_eq!(commands(&mut applet, &mut files, false).len(), 4);
    assert!(applet.eeprom().acknowledgement_flag());
    (0..5).for_each(|_| applet.status(&mut files));
    assert_eq!(payload(&commands(&mut applet, &mut files, true)[1]), hex("20 7F106F3A 01 0000"));
    assert!(!applet.pending());
}

/// The network takes nothing, again and again: the phone is asked for its interval once.
#[test]
fn the_poll_interval_is_asked_for_once() {
    let (mut files, mut applet) = card();
    applet.sms_pp_download(&mut files, &deliver_from(CENTRE, &message(&[&[0x18, 0, 1], &bob()])));
    let mut asked = vec![];
    let mut tries = 0;
    for _ in 0..30 {
        applet.status(&mut files);
        while let Some(command) = applet.next_command(&mut files) {
            let is_message = matches!(command, ProactiveCommand::SendShortMessage { .. });
            tries += u32::from(is_message);
            let result = if is_message { 0x35 } else { 0x00 };
            applet.terminal_response(&mut files, &TerminalResponse::to(1, &command, result));
            if let ProactiveCommand::PollInterval(interval) = command {
                asked.push(interval.as_secs());
            }
        }
    }
    assert_eq!(asked, [1, 5], "in {tries} tries");
    assert!(tries > 3 && applet.eeprom().acknowledgement_flag());
}

/// Covers: S2-RS-03, S2-RS-04, S2-RS-06, S2-CG-02
#[test]
fn the_flag_tells_restore_from_configuration() {
    let (mut files, mut applet) = card();
    let fast = ProactiveCommand::PollInterval(Duration::from_secs(1));
    let restore = message(&[&[0x18, 0, 1], &bob(), &[0, 2], &home()]);
    applet.sms_pp_download(&mut files, &deliver_from(CENTRE, &restore));
    assert!(applet.eeprom().restore_flag());
    commands(&mut applet, &mut files, true);
    applet.sms_pp_download(&mut files, &deliver_from(CENTRE, &hex("30 0C05 0B0501")));
    assert_eq!(applet.eeprom().inbound.len(), 1, "waits (D-38)");
    assert!(applet.eeprom().restore_flag());
    applet.status(&mut files);
    let job = applet.eeprom().job.as_ref().unwrap();
    assert!(!applet.eeprom().restore_flag(), "the restore is done, the configuration in its place");
    assert_eq!(job.acknowledgement.results, Results::Configuration(vec![]));
    assert_eq!(commands(&mut applet, &mut files, true).last(), Some(&fast));
    (0..2).for_each(|_| applet.status(&mut files));
    applet.status(&mut files);
    let sent = commands(&mut applet, &mut files, true);
    assert_eq!(payload(&sent[1]), hex("20 7F106F3A 01 0000 7F106F3A 02 0000"));
    applet.status(&mut files);
    let sent = commands(&mut applet, &mut files, true);
    assert_eq!(sent.iter().map(payload).collect::<Vec<_>>(), [hex("38 0C00 0B00")], "the interval is normal already");
    assert!(!applet.pending());
}

#[test]
fn the_four_tasks_have_their_order() {
    let mut rig = Rig::new();
    for (number, entry) in [(1, bob()), (2, home()), (3, office()), (4, bob()), (5, home())] {
        rig.edit(number, &entry);
    }
    assert_eq!((rig.station.eeprom().outbound.len(), rig.station.eeprom().events.len()), (4, 1));
    rig.receive(&message(&[&[0x18, 0, 9], &bob()]));
    assert_eq!(rig.sent.len(), 1, "1: the outgoing message");
    assert_eq!((rig.station.eeprom().events.len(), rig.station.contacts().len()), (1, 5));
    rig.poll();
    assert_eq!(rig.station.eeprom().events.len(), 0, "2: the event");
    assert_eq!(rig.station.contacts().len(), 5);
    rig.poll();
    assert_eq!(rig.station.contacts().len(), 6, "3: the restore");
    assert_eq!(rig.sent.len(), 1);
    rig.poll();
    assert_eq!(rig.sent[1], hex("20 7F106F3A 09 0000"), "4: the acknowledgement");
}

/// What no message takes is not in the book of the centre: nor is its checksum in the table (D-20).
#[test]
fn a_record_too_long_for_a_message_leaves_no_checksum() {
    let mut files = FileSystem::new();
    files.add_linear(EF_ADN, 200, 2);
    let row = MonitorRow { df: EF_ADN.df, ef: EF_ADN.ef, record_count: 2, data_octets: 200, ..MonitorRow::default() };
    let centre_isdn = IsdnAddress::new(0x91, CENTRE);
    let configuration = Configuration { centre_isdn, ..Configuration::default() };
    let mut applet = BackupApplet::new(configuration, MonitorTable::new(vec![row]));
    commands(&mut applet, &mut files, true);
    files.set_record(EF_ADN, 1, &[0x41; 200]).unwrap();
    applet.file_updated(&mut files, EF_ADN, 1);
    (0..6).for_each(|_| applet.status(&mut files));
    let sent = commands(&mut applet, &mut files, true);
    assert_eq!(sent.iter().map(payload).collect::<Vec<_>>(), [hex("48 7F106F3A 01 0203")]);
    assert!(applet.eeprom().checksums.is_empty() && !applet.pending());
}
