//! `simvault all` as a process of its own, started from a configuration file and stopped as an operator stops it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use testkit::Folder;

/// Everything on free ports; the SMSC of the links is away.
const SETTINGS: &str = r#"
[telemetry]
metrics_listen = "127.0.0.1:METRICS"
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
    let (file, metrics) = settings(&folder);
    let mut process = simvault(&["all", "--config", &file.display().to_string()]).spawn().expect("simvault starts");
    let mut log = BufReader::new(process.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    // Ends too when the process does.
    let started: Vec<String> = log.by_ref().take_while(|line| !line.contains("all services run")).collect();
    let serving = started.iter().filter(|line| line.contains("serving gRPC on")).count();
    let [shown, index, alive, ready] = ["/metrics", "/", "/healthz", "/readyz"].map(|path| get(metrics, path));
    let stopped = testkit::signal("TERM", &[process.id()]);
    let after: Vec<String> = log.collect();
    let status = process.wait().expect("it ends");
    assert!(stopped);
    assert!(status.success(), "{started:#?} {after:#?}");
    assert!(index.contains("/readyz") && alive.starts_with("HTTP/1.1 200") && ready.starts_with("HTTP/1.1 200"));
    let build = format!("simvault_build_info{{version=\"{}\",role=\"all\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(shown.contains(&build), "{shown}");
    let described = |name: &str| shown.contains(&format!("# HELP {name} "));
    let families: Vec<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 10 && families.iter().all(|name| described(name)), "{shown}");
    let first = started.first().map(String::as_str).unwrap_or_default();
    for says in ["all starts", env!("CARGO_PKG_VERSION"), "simvault.toml", "sqlite:", "in memory"] {
        assert!(first.contains(says), "{says} in {first}");
    }
    // Inbound SMPP, inbound IP, inbound data, outbound action, outbound SMPP, outbound IP, application server.
    assert_eq!(serving, 7, "{started:#?}");
}

/// Phonebooks are in it: nobody else on the machine reads them, nor what SQLite keeps beside it.
#[test]
fn the_embedded_store_is_for_its_user_alone() {
    let folder = Folder::new("private");
    let (file, _) = settings(&folder);
    let mut process = simvault(&["all", "--config", &file.display().to_string()]).spawn().expect("simvault starts");
    let mut log = BufReader::new(process.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    let runs = log.by_ref().any(|line| line.contains("all services run"));
    let modes: Vec<u32> = ["simvault.db", "simvault.db-wal", "simvault.db-shm"]
        .iter()
        .map(|name| std::fs::metadata(folder.join(name)).map_or(0, |file| file.permissions().mode() & 0o777))
        .collect();
    assert!(testkit::signal("TERM", &[process.id()]));
    log.for_each(drop);
    process.wait().expect("it ends");
    assert!(runs);
    assert_eq!(modes, [0o600; 3]);
}

/// Else it would run on defaults, at no address that others know and on a store that nobody meant.
#[test]
fn a_role_of_a_network_needs_a_file() {
    let folder = Folder::new("nofile");
    let output = simvault(&["inbound-data"]).current_dir(folder.path()).output().expect("simvault starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said, "simvault: inbound-data needs --config FILE; deploy/local/inbound-data.toml is a sample\n");
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0, "nothing was made");
}

/// A file of [`SETTINGS`], and the port of its metrics.
fn settings(folder: &Folder) -> (PathBuf, u16) {
    let (file, port) = (folder.join("simvault.toml"), testkit::free_port());
    let settings = SETTINGS.replace("STORE", &folder.join("simvault.db").display().to_string());
    std::fs::write(&file, settings.replace("METRICS", &port.to_string())).expect("written");
    (file, port)
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("metrics are served");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

fn simvault(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simvault"));
    command.args(arguments).env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_file_of_another_role_is_recognised() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/inbound-smpp.toml");
    let file = file.display().to_string();
    let output = simvault(&["inbound-data", "--config", &file]).output().expect("simvault starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, format!("simvault: {file}: this looks like a file for inbound-smpp, not for inbound-data\n"));
}
