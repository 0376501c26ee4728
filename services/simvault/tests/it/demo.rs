//! The demonstration as a process: its own check, the same check with a damaged store, and its SMPP on the wire as
//! Wireshark reads it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use link::{
    message::Message,
    monitor::{MonitorRow, MonitorTable},
};
use testkit::Folder;
use uicc::files::{EF_ADN, EF_EXT1};

use crate::rig::CENTRE;

fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simvault"));
    command.args(["demo", "--speed", "60", "--plain"]).args(arguments).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command.output().expect("simvault starts")
}

fn lines(octets: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(octets).lines().map(str::to_owned).collect()
}

/// Every service on one machine, in one process; cards of every profile on both bearers (G-12).
///
/// Covers: SC-AR-05, PF-11, G-12
#[test]
fn the_demonstration_ends_identical_and_logs_no_personal_data() {
    let output = demo(&["--cards", "8", "--log", "info"]);
    let (shown, logged) = (lines(&output.stdout), lines(&output.stderr));
    assert!(output.status.success(), "{shown:#?} {logged:#?}");
    assert_eq!(shown.last().map(String::as_str), Some("identical 8 of 8"));
    assert!(!logged.is_empty());
    for line in &logged {
        assert!(!line.contains("4917000010"), "a subscriber's number: {line}");
        for name in ["Alice", "Jürgen", "Иван", "Subscriber "] {
            assert!(!line.contains(name), "a name: {line}");
        }
    }
}

/// A card of every profile and of every way to back up, on both bearers; the table says what each cost.
///
/// Covers: G-12, AS-GN-02
#[test]
fn every_way_to_back_up_meets_on_one_centre_and_the_table_compares_them() {
    const WIDTH: usize = 100;
    let output = demo(&["--cards", "32"]);
    let shown = lines(&output.stdout);
    assert!(output.status.success(), "{shown:#?} {:#?}", lines(&output.stderr));
    assert_eq!(shown.last().map(String::as_str), Some("identical 32 of 32"));
    assert!(shown.iter().all(|line| line.chars().count() <= WIDTH), "{shown:#?}");
    // Columns are two spaces or more apart.
    let rows: Vec<Vec<&str>> =
        shown.iter().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    let common = ["plain", "secured", "asynchronous", "normal mode"];
    let modes =
        [("E1", &common[..]), ("E2", &["compact", "plain", "secured", "asynchronous", "normal mode"]), ("E3", &common)];
    let mut blocked = BTreeMap::new();
    for (card, modes) in modes {
        for mode in modes {
            for bearer in ["SMS", "IP"] {
                let row = rows.iter().find(|row| row.starts_with(&[card, mode, bearer]));
                let row = row.unwrap_or_else(|| panic!("{card} {mode} {bearer} {shown:#?}"));
                let [.., stored, _, _, a_book, _, longest] = row[..] else { panic!("{row:?}") };
                assert!(stored != "0" && a_book != "0", "{row:?}");
                let seconds = longest.strip_suffix(" s").map(|seconds| seconds.parse::<f64>().expect("seconds"));
                assert_eq!(seconds.is_some(), bearer == "SMS", "{row:?}");
                blocked.extend(seconds.map(|seconds| ((card, *mode), seconds)));
            }
        }
    }
    // One message after the other against one at a time.
    for card in ["E1", "E2", "E3"] {
        let (asynchronous, normal) = (blocked[&(card, "asynchronous")], blocked[&(card, "normal mode")]);
        assert!(asynchronous >= 4.0 && normal > 3.0 * asynchronous, "{card}: {asynchronous} s against {normal} s");
    }
}

#[test]
fn a_damaged_store_is_noticed() {
    let output = demo(&["--cards", "4", "--damage"]);
    let shown = lines(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown:#?}");
    assert_eq!(shown.last().map(String::as_str), Some("identical 3 of 4"));
}

#[test]
fn wireshark_reads_every_pdu_and_every_message_says_what_it_is() {
    let folder = Folder::new("capture");
    let (file, port) = (folder.join("demo.pcapng"), testkit::free_port().to_string());
    let mut capture = tool("dumpcap")
        .args(["-q", "-i", "lo", "-f", &format!("tcp port {port}"), "-w"])
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .expect("dumpcap (package tshark) is needed; `cargo xtask test` installs it");
    let started = Instant::now();
    while std::fs::metadata(&file).map_or(0, |file| file.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "dumpcap does not capture: it needs the right to");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = demo(&["--cards", "4", "--smsc-port", &port]);
    // SIGINT makes it write what it holds.
    assert!(testkit::signal("INT", &[capture.id()]));
    capture.wait().expect("dumpcap ends");
    assert!(output.status.success(), "{:#?}", lines(&output.stdout));

    assert_eq!(dissect(&file, &port, &["-Y", "_ws.malformed"]), Vec::<String>::new());
    let fields =
        ["smpp.source_addr", "smpp.destination_addr", "smpp.data_coding", "smpp.esm.submit.msg_type", "smpp.message"];
    let mut arguments = vec!["-Y", "smpp.sm_length", "-T", "fields", "-E", "separator=;", "-E", "aggregator=,"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let frames = dissect(&file, &port, &arguments);
    let messages: Vec<[String; 5]> = frames.iter().flat_map(|line| in_frame(line)).collect();
    let table = monitor_table();
    let (mut up, mut down) = (0, 0);
    for [source, destination, data_coding, message_type, payload] in &messages {
        if message_type == DELIVERY_RECEIPT {
            continue;
        }
        let octets = octets(payload);
        assert!((1..=140).contains(&octets.len()), "{} octets", octets.len());
        let message = Message::decode(&octets, &table);
        if destination == CENTRE {
            up += 1;
            assert!(source.starts_with("49170"));
        } else {
            down += 1;
            assert_eq!((source.as_str(), data_coding.as_str()), (CENTRE, "0xf6"));
        }
        let message = message.unwrap_or_else(|error| panic!("{payload}: {error}"));
        assert!(records(&message) > 0, "{message:?}");
    }
    assert!(up > 20 && down > 20, "{up} from cards, {down} to cards");
}

/// `esm_class` bits 5 to 2 of a receipt from the SMSC.
const DELIVERY_RECEIPT: &str = "0x01";

/// What the operation is about: records or items.
fn records(message: &Message) -> usize {
    match message {
        Message::Backup { records, .. } | Message::Restore { records, .. } => records.len(),
        Message::BackupAcknowledgement { records } => records.len(),
        Message::RestoreAcknowledgement { records } | Message::Error { records } => records.len(),
        Message::Configuration { items, .. } => items.len(),
        Message::ConfigurationAcknowledgement { records } => records.len(),
        other => panic!("the demonstration has no {other:?}"),
    }
}

/// The messages of one frame, which may hold several PDUs.
fn in_frame(line: &str) -> Vec<[String; 5]> {
    let columns: Vec<Vec<&str>> = line.split(';').map(|column| column.split(',').collect()).collect();
    let [sources, destinations, codings, types, payloads] = columns.as_slice() else { panic!("five columns: {line}") };
    assert!([destinations, codings, types, payloads].iter().all(|column| column.len() == sources.len()), "{line}");
    let message = |at: usize| [sources[at], destinations[at], codings[at], types[at], payloads[at]].map(str::to_owned);
    (0..sources.len()).map(message).collect()
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal
        .chars()
        .filter(|character| *character != ':')
        .map(|character| u8::try_from(character.to_digit(16).expect("hexadecimal")).expect("a digit"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Of the demonstration's cards.
fn monitor_table() -> MonitorTable {
    let row = |path: uicc::files::Path, record_count, data_octets| MonitorRow {
        df: path.df,
        ef: path.ef,
        record_offset: 0,
        record_count,
        data_offset: 0,
        data_octets,
    };
    MonitorTable::new(vec![row(EF_ADN, 110, 28), row(EF_EXT1, 30, 13)])
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

fn dissect(file: &Path, port: &str, arguments: &[&str]) -> Vec<String> {
    let output = tool("tshark")
        .arg("-r")
        .arg(file)
        .args(["-d", &format!("tcp.port=={port},smpp")])
        .args(arguments)
        .output()
        .expect("tshark is needed; `cargo xtask test` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&output.stdout)
}

#[test]
fn a_signal_ends_the_demonstration_and_leaves_nothing_behind() {
    let folder = Folder::new("stopped");
    let mut process = Command::new(env!("CARGO_BIN_EXE_simvault"))
        .args(["demo", "--cards", "4", "--speed", "1", "--plain"])
        .env("TMPDIR", folder.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("simvault starts");
    let mut said = BufReader::new(process.stderr.take().expect("standard error")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.starts_with("1/4")), "the first act begins");
    let made: Vec<_> = std::fs::read_dir(folder.path()).expect("folder").flatten().collect();
    let modes: Vec<u32> =
        made.iter().map(|made| made.metadata().map_or(0, |made| made.permissions().mode() & 0o777)).collect();
    assert_eq!(modes, [0o700]);
    assert!(testkit::signal("TERM", &[process.id()]));
    assert_eq!(process.wait().expect("it ends").code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn a_number_that_is_none_is_told_its_range() {
    let output = demo(&["--lost", "abc"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(lines(&output.stderr).iter().any(|line| line.contains("a whole number, 1 to 50")), "{output:?}");
}
