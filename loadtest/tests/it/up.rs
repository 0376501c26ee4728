//! `up` and `down` as a developer calls them.

use std::{path::Path, process::Command};

use crate::faults::simvault;

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
    assert!(loadtest(folder.path(), &up).starts_with("It runs already"));
    assert!(loadtest(folder.path(), &["down"]).starts_with("Stopped and drained"));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(loadtest(folder.path(), &["down"]), "Nothing runs.\n");
}
