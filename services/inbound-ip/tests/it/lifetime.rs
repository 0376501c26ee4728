//! TLS, limits, time-outs, and the drain.

use std::time::Duration;

use inbound_ip::config::Tls;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    Set,
    card::{Card, within},
    centre::{key, msisdn},
};

struct Certificate {
    certificate: String,
    key: String,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["centre.test".to_owned()]).expect("certificate");
    Certificate { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

async fn exchange_over_tls(set: &Set, certificate: &str) {
    let config = net::tls::client_config(certificate.as_bytes(), None).expect("configuration");
    let name = ServerName::try_from("centre.test").expect("name");
    let stream = TcpStream::connect(set.edge).await.expect("connected");
    let stream = within(TlsConnector::from(config).connect(name, stream)).await.expect("TLS");
    let mut card = Card::on(stream, msisdn(1), key(1)).await;
    card.send(b"over TLS").await;
    card.alive().await;
    assert!(set.centre.payloads(1).await.iter().all(|payload| payload == b"over TLS"));
}

#[tokio::test]
async fn cards_connect_over_tls() {
    let Certificate { certificate, key } = certificate();
    let tls = Tls { certificate: certificate.clone(), key: runtime::config::Secret::new(key) };
    let set = Set::with(|config| config.tls = Some(tls)).await;
    exchange_over_tls(&set, &certificate).await;
    // Who does not speak TLS gets no nonce.
    let mut plain = TcpStream::connect(set.edge).await.expect("connected");
    tokio::io::AsyncWriteExt::write_all(&mut plain, &[0; 64]).await.expect("written");
    let mut octets = Vec::new();
    drop(within(tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut octets)).await);
    assert!(octets.first().is_none_or(|first| *first == 0x15), "a TLS alert at most");
    exchange_over_tls(&set, &certificate).await;
    assert_eq!(set.centre.payloads(2).await.len(), 2);
}

#[tokio::test]
async fn certificate_and_key_may_be_files_and_mistakes_are_told() {
    let folder = tempfile::tempdir().expect("folder");
    let Certificate { certificate, key } = certificate();
    let path = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let files =
        Tls { certificate: path("tls.crt", &certificate), key: runtime::config::Secret::new(path("tls.key", &key)) };
    let set = Set::with(|config| config.tls = Some(files.clone())).await;
    exchange_over_tls(&set, &certificate).await;
    for wrong in [
        Tls { certificate: "nowhere.pem".to_owned(), ..files.clone() },
        Tls { certificate: path("empty.crt", ""), ..files.clone() },
        Tls { key: runtime::config::Secret::new(self::certificate().key), ..files },
    ] {
        let config = inbound_ip::Config {
            listen: "127.0.0.1:0".parse().expect("address"),
            tls: Some(wrong),
            ..inbound_ip::Config::default()
        };
        assert!(inbound_ip::start(config, Default::default()).await.is_err());
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_closed() {
    let set = Set::with(|config| {
        config.opening = Duration::from_millis(50);
        config.idle = Duration::from_millis(50);
    })
    .await;
    let mut silent = set.card(1).await;
    silent.closed().await;
    let mut idle = set.card(1).await;
    idle.alive().await;
    idle.closed().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let set = Set::with(|config| config.connections_max = 1).await;
    let mut first = set.card(1).await;
    first.alive().await;
    let mut second = TcpStream::connect(set.edge).await.expect("connected");
    let mut octets = Vec::new();
    drop(within(tokio::io::AsyncReadExt::read_to_end(&mut second, &mut octets)).await);
    assert!(octets.is_empty(), "no nonce");
    first.alive().await;
}

#[tokio::test]
async fn without_an_inbound_data_processor_the_card_is_asked_to_come_again() {
    let set = Set::with(|config| {
        config.inbound_data = rpc::EndpointsConfig::default();
        config.opening = Duration::from_millis(200);
    })
    .await;
    let mut card = set.card(1).await;
    card.send(b"payload").await;
    card.closed().await;
}

#[tokio::test]
async fn a_stop_hands_over_what_was_received_and_takes_the_sessions_out() {
    let mut set = Set::start().await;
    set.centre.state.hold.send_replace(true);
    let mut card = set.card(1).await;
    card.send(b"first").await;
    card.send(b"second").await;
    card.alive().await;
    set.centre.payloads(1).await;
    set.stop.cancel();
    card.closed().await;
    assert!(TcpStream::connect(set.edge).await.is_err() || !set.task.is_finished());
    set.centre.state.hold.send_replace(false);
    assert_eq!(set.centre.payloads(2).await, [b"first".to_vec(), b"second".to_vec()]);
    within(&mut set.task).await.expect("no panic").expect("ended well");
    let last = set.centre.until(|inner| inner.registrations.last().cloned()).await;
    assert!(last.snapshot && last.opened.is_empty());
}

#[test]
fn the_settings_say_what_is_out_of_range() {
    use runtime::config::Validate;
    assert_eq!(inbound_ip::Config::default().problems(), []);
    let wrong = inbound_ip::Config { window: 0, idle: Duration::ZERO, link: String::new(), ..Default::default() };
    let keys: Vec<String> = wrong.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["link", "window", "idle"]);
}
