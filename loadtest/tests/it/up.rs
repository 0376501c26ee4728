//! `up` and `down` as a developer calls them.

use std::{path::Path, process::Command};

use crate::faults::simvault;

/// Columns of a terminal that is not small.
const WIDTH: usize = 120;

fn loadtest(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let done = command.current_dir(folder).args(arguments).output().expect("loadtest starts");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The demonstration on the processes, both replicas of everything: every card is as its book says at the end.
#[test]
fn up_starts_once_and_down_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let simvault = simvault().display().to_string();
    assert_eq!(loadtest(folder.path(), &["down"]), "Nothing runs.\n");
    let up = ["up", "--cards", "20", "--speed", "60", "--simvault", &simvault];
    let table = loadtest(folder.path(), &up);
    assert!(table.contains("identical 20 of 20"), "{table}");
    let line = table.lines().find(|line| line.starts_with("inbound-data-2")).expect("a line for each replica");
    let pid = line.split_whitespace().nth(1).expect("a process id").to_owned();
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    assert!(table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
    let again = loadtest(folder.path(), &up);
    assert!(again.starts_with("It runs already"), "{again}");
    assert!(again.contains(&pid), "{again}");
    assert!(loadtest(folder.path(), &["down"]).starts_with("Stopped and drained"));
    // Nothing but logs stays: no process id, no password, no key.
    let left = std::fs::read_dir(folder.path().join("target/up")).expect("the folder of logs");
    let left: Vec<_> = left.flatten().map(|entry| entry.path()).collect();
    assert!(left.iter().all(|path| path.extension().is_some_and(|extension| extension == "log")), "{left:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(loadtest(folder.path(), &["down"]), "Nothing runs.\n");
}
