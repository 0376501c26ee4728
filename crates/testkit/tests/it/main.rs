//! The servers that tests rely on: they start, survive a kill -9 with their data, and leave nothing behind.

mod fuzz;

use std::{
    io::{Read, Write},
    path::Path,
};

use testkit::{postgres, redis};

fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn postgres_keeps_what_was_committed_over_a_kill() {
    let mut server = postgres::Server::start();
    server.sql("postgres", "CREATE TABLE kept (it int); INSERT INTO kept VALUES (7)");
    server.kill9();
    assert!(!is_running(server.pid()));
    server.restart();
    assert_eq!(server.sql("postgres", "SELECT it FROM kept"), "7");
    let pid = server.pid();
    drop(server);
    assert!(!is_running(pid));
}

#[test]
fn each_test_gets_a_database_of_its_own() {
    let server = postgres::shared();
    let make = || {
        server.database("template_of_this_test", |url| {
            let name = url.rsplit('/').next().expect("a name");
            server.sql(name, "CREATE TABLE kept (it int); INSERT INTO kept VALUES (1)");
        })
    };
    let (one, two) = (make(), make());
    let name = |url: &String| url.rsplit('/').next().expect("a name").to_owned();
    server.sql(&name(&one), "INSERT INTO kept VALUES (2)");
    assert_eq!(server.sql(&name(&one), "SELECT count(*) FROM kept"), "2");
    assert_eq!(server.sql(&name(&two), "SELECT count(*) FROM kept"), "1");
}

#[test]
fn redis_keeps_its_data_over_a_restart() {
    let mut server = redis::Server::start();
    let send = |port: u16, command: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
        write!(stream, "{command}\r\nQUIT\r\n").expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reads");
        answer
    };
    assert!(send(server.port(), "SET kept 7").starts_with("+OK"));
    server.restart();
    assert!(send(server.port(), "GET kept").starts_with("$1\r\n7"));
    server.kill9();
    server.restart();
    let pid = server.pid();
    drop(server);
    assert!(!is_running(pid));
}

#[test]
fn a_folder_goes_with_its_owner() {
    let folder = testkit::Folder::new("test");
    let path = folder.path().to_owned();
    std::fs::write(folder.join("file"), b"x").expect("writes");
    drop(folder);
    assert!(!Path::new(&path).exists());
}

#[test]
fn an_authority_signs_certificates() {
    let authority = testkit::tls::Authority::new();
    let identity = authority.identity(&["localhost"]);
    assert!(identity.certificate_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(identity.private_key_pem.contains("PRIVATE KEY"));
    assert!(testkit::tls::self_signed().certificate_pem.contains("CERTIFICATE"));
}
