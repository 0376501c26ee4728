//! Postgres over TLS: who is believed, and what is said of whom is not.

use std::path::PathBuf;

use runtime::config::Validate;
use store::{ApplicationStore, StoreConfig, StoreError, StoreTls, TlsMode, postgres::PostgresStore};
use testkit::{postgres::Server, tls::Authority};

/// Nobody comes in unencrypted, and this role only with a certificate.
const ADMITTED: &str = "hostssl all simvault_application 127.0.0.1/32 trust clientcert=verify-ca\n\
                        hostssl all all 127.0.0.1/32 trust";

struct Rig {
    server: Server,
    folder: testkit::Folder,
    authority: Authority,
}

impl Rig {
    fn start() -> Self {
        let (authority, folder) = (Authority::new(), testkit::Folder::new("store-tls"));
        let server = Server::with_tls(&authority.identity(&["127.0.0.1"]), &authority.certificate_pem(), ADMITTED);
        Self { server, folder, authority }
    }

    fn file(&self, name: &str, text: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    }

    fn config(&self, tls: Option<StoreTls>) -> StoreConfig {
        StoreConfig { tls, ..StoreConfig::at(self.server.url()) }
    }

    fn verifying(&self) -> StoreTls {
        StoreTls { ca: self.file("ca.pem", &self.authority.certificate_pem()), ..StoreTls::default() }
    }
}

/// Why it is not connected.
async fn refusal(config: &StoreConfig) -> String {
    match PostgresStore::connect(config).await.map(drop) {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("expected no connection, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_reached_encrypted_and_the_server_proven() {
    let rig = tokio::task::spawn_blocking(Rig::start).await.unwrap();
    let plain = store::migrate::postgres(&rig.config(None)).await.unwrap_err();
    assert!(plain.to_string().contains("no encryption"), "{plain}");
    let config = rig.config(Some(rig.verifying()));
    assert_eq!(config.problems(), []);
    store::migrate::postgres(&config).await.unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                     WHERE a.application_name = 'simvault' AND s.ssl AND s.version IN ('TLSv1.2', 'TLSv1.3')";
    let store = PostgresStore::connect(&config).await.unwrap();
    ApplicationStore::ping(&*store).await.unwrap();
    assert_ne!(rig.server.sql("postgres", encrypted), "0");

    // Another authority's server, and a server under another name.
    let stranger = rig.file("stranger.pem", &Authority::new().certificate_pem());
    let refused = refusal(&rig.config(Some(StoreTls { ca: stranger, ..StoreTls::default() }))).await;
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let mut elsewhere = config.clone();
    elsewhere.url = elsewhere.url.replace("127.0.0.1", "localhost");
    let refused = refusal(&elsewhere).await;
    assert!(refused.contains("not valid for"), "{refused}");
    // Encrypted is enough where this is what is asked for.
    elsewhere.tls = Some(StoreTls { mode: TlsMode::Require, ..StoreTls::default() });
    assert_eq!(elsewhere.problems(), []);
    PostgresStore::connect(&elsewhere).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_shows_its_certificate_where_it_is_asked_for() {
    let rig = tokio::task::spawn_blocking(Rig::start).await.unwrap();
    store::migrate::postgres(&rig.config(Some(rig.verifying()))).await.unwrap();
    let as_role = |tls| {
        let mut config = rig.config(Some(tls));
        config.url = config.url.replace("postgres@", "simvault_application@");
        config
    };
    let refused = refusal(&as_role(rig.verifying())).await;
    assert!(refused.contains("valid client certificate"), "{refused}");
    let identity = rig.authority.identity(&["simvault"]);
    let shown = StoreTls {
        certificate: rig.file("client.pem", &identity.certificate_pem),
        key: rig.file("client.key", &identity.private_key_pem),
        ..rig.verifying()
    };
    let config = as_role(shown.clone());
    assert_eq!(config.problems(), []);
    let store = PostgresStore::connect(&config).await.unwrap();
    ApplicationStore::ping(&*store).await.unwrap();

    let broken = as_role(StoreTls { key: rig.file("no.key", "no key"), ..shown.clone() });
    let refused = PostgresStore::connect(&broken).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("private key")), "{refused:?}");
    let missing = as_role(StoreTls { ca: Some(rig.folder.join("nowhere.pem")), ..shown.clone() });
    let refused = PostgresStore::connect(&missing).await.map(drop);
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("nowhere.pem")), "{refused:?}");
    let keys = |tls: StoreTls| as_role(tls).problems().into_iter().map(|problem| problem.key).collect::<Vec<_>>();
    assert_eq!(keys(StoreTls::default()), ["tls.ca"]);
    assert_eq!(keys(StoreTls { key: None, ..shown.clone() }), ["tls.certificate"]);
    assert_eq!(keys(StoreTls { mode: TlsMode::Require, ..shown }), ["tls.certificate"]);
}
