//! Which of the four tasks a status event does (Fig. 29).

use link::{file_result::FileResult, monitor::MonitorTable, record::Record};
use mobile::applet::{
    BackupApplet, default_monitor_table,
    memory::{Acknowledgement, Cause, Configuration, Eeprom, Event, Job, Key, Results, Route, Work},
};
use sms::Submit;
use uicc::{
    applet::Applet,
    files::{EF_ADN, EF_EXT1, FileSystem},
    proactive::{ProactiveCommand, TerminalResponse},
};

use crate::rig::{CENTRE, bob, home, office};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    Outgoing,
    Event,
    Restore,
    Acknowledgement,
}

const TASKS: [Task; 4] = [Task::Outgoing, Task::Event, Task::Restore, Task::Acknowledgement];

fn configuration() -> Configuration {
    let centre_isdn = link::configuration::IsdnAddress::new(0x91, CENTRE);
    Configuration { centre_isdn, ..Configuration::default() }
}

/// A card for which exactly these tasks wait: record 1 in the outbound message, an event of record 2, a restore of
/// record 3, and the acknowledgement of an earlier restore of record 9.
fn card(files: &mut FileSystem, waiting: &[Task]) -> BackupApplet {
    files.add_linear(EF_ADN, 28, 10);
    files.add_linear(EF_EXT1, 13, 2);
    let monitor: MonitorTable = default_monitor_table(files);
    let mut eeprom = Eeprom { configuration: configuration(), monitor, ..Eeprom::default() };
    let route = Route { bearer: mobile::Bearer::Sms, centre_isdn: configuration().centre_isdn, centre_ip: None };
    for task in waiting {
        match task {
            Task::Outgoing => {
                files.set_record(EF_ADN, 1, &bob()).unwrap();
                eeprom.outbound.push(Key { monitor_index: 0, record_number: 1 });
                eeprom.counter = eeprom.configuration.retry_preset - 1;
            }
            Task::Event => {
                files.set_record(EF_ADN, 2, &home()).unwrap();
                let key = Key { monitor_index: 0, record_number: 2 };
                eeprom.events.push_back(Event::Record { key, cause: Cause::Change });
            }
            Task::Restore => {
                let record = Record { monitor_index: 0, record_number: 3, data: office().into() };
                let work = Work::Restore { records: vec![record], refused: None };
                let acknowledgement = Acknowledgement { results: Results::Restore(vec![]), route: route.clone() };
                eeprom.job = Some(Job { work, pointer: 0, acknowledgement });
            }
            Task::Acknowledgement => {
                let results = Results::Restore(vec![FileResult::success(EF_ADN.df, EF_ADN.ef, 9)]);
                eeprom.acknowledgement = Some(Acknowledgement { results, route: route.clone() });
            }
        }
    }
    let mut applet = BackupApplet::with_eeprom(eeprom);
    assert!(sent(&mut applet, files).is_empty(), "menu and poll interval only");
    applet
}

/// Answers the card's commands; the first octets of the messages among them.
fn sent(applet: &mut BackupApplet, files: &mut FileSystem) -> Vec<u8> {
    let mut sent = vec![];
    while let Some(command) = applet.next_command(files) {
        applet.terminal_response(files, &TerminalResponse::to(1, &command, 0));
        if let ProactiveCommand::SendShortMessage { tpdu, .. } = command {
            sent.push(Submit::decode(&tpdu).unwrap().user_data.body()[0]);
        }
    }
    sent
}

/// What one status event has done.
fn done(applet: &mut BackupApplet, files: &mut FileSystem) -> Vec<Task> {
    let events = applet.eeprom().events.len();
    let restored = applet.eeprom().counts.records_restored;
    applet.status(files);
    let sent = sent(applet, files);
    let mut done = vec![];
    done.extend(sent.contains(&0x0A).then_some(Task::Outgoing));
    done.extend((applet.eeprom().events.len() < events).then_some(Task::Event));
    done.extend((applet.eeprom().counts.records_restored > restored).then_some(Task::Restore));
    done.extend(sent.contains(&0x20).then_some(Task::Acknowledgement));
    done
}

/// Covers: S2-PR-01
#[test]
fn all_four_take_four_status_events_in_their_order() {
    let mut files = FileSystem::new();
    let mut applet = card(&mut files, &TASKS);
    for task in TASKS {
        assert_eq!(done(&mut applet, &mut files), [task]);
    }
}

/// Covers: S2-PR-03
#[test]
fn sixteen_combinations() {
    for mask in 0..16_u8 {
        let waiting: Vec<Task> = (0..4).filter(|bit| mask & (1 << bit) != 0).map(|bit| TASKS[bit]).collect();
        let mut files = FileSystem::new();
        let mut applet = card(&mut files, &waiting);
        for task in &waiting {
            assert_eq!(done(&mut applet, &mut files), [*task], "{waiting:?}");
        }
        // What is left follows from these: the event's record leaves after its interval, the restore is acknowledged.
        let left: Vec<Task> = (0..6).flat_map(|_| done(&mut applet, &mut files)).collect();
        assert_eq!(left.contains(&Task::Acknowledgement), waiting.contains(&Task::Restore), "{waiting:?}");
        assert_eq!(left.contains(&Task::Outgoing), waiting.contains(&Task::Event), "{waiting:?}");
        assert!(!left.contains(&Task::Event) && !left.contains(&Task::Restore), "{waiting:?}");
        assert!(applet.eeprom().job.is_none() && !applet.eeprom().acknowledgement_flag());
    }
}
