//! `simvault all` as a process of its own, started from a configuration file and stopped as an operator stops it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use testkit::Folder;

/// Everything on free ports; the SMSC of the links is away.
const SETTINGS: &str = r#"
[store]
url = "sqlite:STORE"
[inbound_ip]
listen = "127.0.0.1:0"
[[inbound_smpp.links]]
name = "north-receiver"
addresses = ["127.0.0.1:1"]
bind = "receiver"
system_id = "simvault"
[[outbound_smpp.links]]
name = "north-transmitter"
addresses = ["127.0.0.1:1"]
bind = "transmitter"
system_id = "simvault"
source_address = "49170900000"
"#;

/// Covers: G-13
#[test]
fn all_services_start_from_a_file_and_stop_in_order() {
    let folder = Folder::new("all");
    let file = folder.join("simvault.toml");
    let settings = SETTINGS.replace("STORE", &folder.join("simvault.db").display().to_string());
    std::fs::write(&file, settings).expect("written");
    let mut process = Command::new(env!("CARGO_BIN_EXE_simvault"))
        .args(["all", "--config"])
        .arg(&file)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .expect("simvault starts");
    let mut log = BufReader::new(process.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    // Ends too when the process does.
    let started: Vec<String> = log.by_ref().take_while(|line| !line.contains("all services run")).collect();
    let serving = started.iter().filter(|line| line.contains("serving gRPC on")).count();
    let stopped = testkit::signal("TERM", &[process.id()]);
    let after: Vec<String> = log.collect();
    let status = process.wait().expect("it ends");
    assert!(stopped);
    assert!(status.success(), "{started:#?} {after:#?}");
    // Inbound SMPP, inbound IP, inbound data, outbound action, outbound SMPP, outbound IP, application server.
    assert_eq!(serving, 7, "{started:#?}");
}
