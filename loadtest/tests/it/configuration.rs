//! What `simvault` says about its configuration.

use std::{fs, path::Path};

use crate::program::run;

/// Five mistakes in one file are told at once, each with its line, its key and what is accepted.
#[test]
fn five_mistakes_are_told_at_once() {
    let folder = testkit::Folder::new("mistakes");
    let file = folder.join("bad.toml");
    let text = r#"[service]
window = 0
even_buffer = 5
slot_ttl = "soon"
[service.inbound_data]
endpoints = ["nowhere"]
[[service.links]]
name = "a"
addresses = ["smsc:2775"]
password = "hush"
"#;
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    for arguments in [vec!["inbound-smpp", "--config", path], vec!["inbound-smpp", "-c", path, "--check-config"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = [
            ("2: service.window: ", "found 0, accepted: 1 to 10000"),
            ("3: service.even_buffer: ", "expected one of `server`"),
            ("4: service.slot_ttl: ", "accepted: a whole number with its unit"),
            ("6: service.inbound_data.endpoints: ", "\"host:port\" or \"dns:host:port\""),
            ("10: service.links.0.password: ", "{ file = \"PATH\" }"),
        ];
        for (place, accepted) in expected {
            let line = said.lines().find(|line| line.contains(place));
            assert!(line.is_some_and(|line| line.contains(path) && line.contains(accepted)), "{place}: {said}");
        }
        assert!(said.contains("configuration: 5 mistakes"), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn what_an_edge_cannot_be_without_is_asked_for() {
    for (role, keys) in [
        ("inbound-smpp", &["service.links", "service.inbound_data.endpoints"][..]),
        ("outbound-smpp", &["service.links"]),
        ("inbound-ip", &["service.inbound_data.endpoints", "service.application_server.endpoints"]),
        ("outbound-ip", &["service.application_server.endpoints"]),
    ] {
        let output = run(&[role, "--check-config"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1 + keys.len()), "{said}");
        assert!(keys.iter().all(|key| said.contains(&format!("{key}: found none, accepted: at least one"))), "{said}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let folder = testkit::Folder::new("secrets");
    let (password, smpp, core) = (folder.join("password"), folder.join("smpp.toml"), folder.join("core.toml"));
    fs::write(&password, "hush\n").unwrap();
    let link = format!(
        "[service.inbound_data]\nendpoints = [\"one:1\"]\n[[service.links]]\nname = \"a\"\naddresses = [\"smsc:2775\"]\n\
         password = {{ file = {password:?} }}\n"
    );
    fs::write(&smpp, link).unwrap();
    let urls = "[store]\nurl = \"postgres://vault:hush@one/simvault\"\n[queue]\nurl = \"redis://:hush@one:6379/\"\n";
    fs::write(&core, urls).unwrap();
    for (role, file) in [("inbound-smpp", &smpp), ("inbound-data", &core)] {
        let output = run(&[role, "--config", file.to_str().unwrap(), "--print-config"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(said.contains("(hidden)") && !said.contains("hush"), "{said}");
    }
}

/// The sample of every role is read as it is, so that samples and settings cannot drift apart.
#[test]
fn the_sample_configurations_are_in_order() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local");
    let mut roles = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let role = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let output = run(&[&role, "--config", path.to_str().unwrap(), "--check-config"]);
        assert!(output.status.success(), "{role}: {}", String::from_utf8_lossy(&output.stderr));
        roles.push(role);
    }
    roles.sort();
    let every = [
        "all",
        "application-server",
        "inbound-data",
        "inbound-ip",
        "inbound-smpp",
        "migrate",
        "outbound-action",
        "outbound-ip",
        "outbound-smpp",
    ];
    assert_eq!(roles, every);
}
