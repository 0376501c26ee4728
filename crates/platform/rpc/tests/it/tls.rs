use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rpc::{Balancer, ClientTls, EndpointsConfig, ServerConfig, ServerTls, stream::BatchClient};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, call_all};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("signed")
}

/// Writes `name.pem` and `name.key`.
fn certificate(folder: &Path, name: &str, authority: &Authority) {
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(vec!["simvault.test".to_owned()]).expect("names");
    let certificate = params.signed_by(&key, authority).expect("signed");
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("written");
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("written");
}

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let (ours, other) = (authority(), authority());
    std::fs::write(path("ca.pem"), ours.pem()).expect("written");
    certificate(folder.path(), "server", &ours);
    certificate(folder.path(), "client", &ours);
    certificate(folder.path(), "stranger", &other);
    let tls = ServerTls { certificate: path("server.pem"), key: path("server.key"), client_ca: path("ca.pem") };
    // An address of its own, so that no other test takes the port meanwhile.
    let reserved = std::net::TcpListener::bind("127.0.0.78:0").expect("bound");
    let probe = reserved.local_addr().expect("address");
    drop(reserved);
    let server = Server::start(ServerConfig { tls: Some(tls), probe_listen: Some(probe), ..ServerConfig::default() });
    let endpoints = |name: &str| EndpointsConfig {
        tls: Some(ClientTls {
            ca: path("ca.pem"),
            certificate: path(&format!("{name}.pem")),
            key: path(&format!("{name}.key")),
            domain: Some("simvault.test".to_owned()),
        }),
        ..EndpointsConfig::new([server.address().to_string()])
    };
    let stop = CancellationToken::new();
    let balancer = Balancer::new(endpoints("client"), stop.clone()).expect("endpoints");
    let client = BatchClient::new(&balancer, rpc::stream::BatchClientConfig::default(), stop.clone());
    call_all(&client, 0..100, 10).await;

    let stranger = Balancer::new(endpoints("stranger"), stop.clone()).expect("endpoints");
    let plain = Balancer::new(EndpointsConfig::new([server.address().to_string()]), stop.clone()).expect("endpoints");
    let wait = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(wait, stranger.wait_healthy(1)).await.is_err());
    assert!(tokio::time::timeout(wait, plain.wait_healthy(1)).await.is_err());
    let probes = Balancer::new(EndpointsConfig::new([probe.to_string()]), stop.clone()).expect("endpoints");
    let wait = std::time::Duration::from_secs(20);
    tokio::time::timeout(wait, probes.wait_healthy(1)).await.expect("probes need no certificate");
    stop.cancel();
}
