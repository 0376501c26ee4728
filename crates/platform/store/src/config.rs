//! Where the store is and how it is used; [`open`] makes it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use runtime::config::{Problem, Secret, Validate, duration, without_secret};
use serde::{Deserialize, Serialize};

use crate::{ApplicationStore, InboundStore, OutboundStore, Result, postgres::PostgresStore, sqlite::SqliteStore};

/// What stands before the path of an embedded store.
const SQLITE: &str = "sqlite:";

/// The store of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:PATH` for the embedded store (default `sqlite:simvault.db`), otherwise a Postgres URL or key-value string.
    /// Several hosts may be named (`postgres://user@one,two/simvault`): the one that takes writes is used.
    #[serde(serialize_with = "runtime::config::hide_password")]
    pub url: String,
    /// Password for Postgres, if it is not in the URL (default none).
    pub password: Secret,
    /// TLS to Postgres (default none: what goes over the network can be read there).
    pub tls: Option<StoreTls>,
    /// Connections that write (default 3, 1 to 64). Postgres is at its best with two or three for a process.
    pub writers: usize,
    /// Connections that read (default 2, 1 to 64).
    pub readers: usize,
    /// Time in which the server accepts a connection (default 2s, 100ms to 60s).
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Time after which a statement is given up (default 10s, 100ms to 10min).
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
    /// Age at which a connection is replaced, so that a moved server is found again (default 10min, 10s to 1d).
    #[serde(with = "duration")]
    pub connection_age_max: Duration,
    /// Whether each connection asks for its settings (plan_cache_mode, statement_timeout and others) when it starts
    /// (default true). False behind PgBouncer, which refuses them: there `ALTER ROLE` sets them, as the migrations do for
    /// the three roles.
    pub session_settings: bool,
}

/// How Postgres is reached by TLS. Certificates and keys are PEM files, read at the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreTls {
    /// `verify-full` (default): the server's certificate is of the authority `ca` and names the host of the URL.
    /// `require`: encrypted, whoever the server is.
    pub mode: TlsMode,
    /// The authority whose servers are trusted; needed by `verify-full`.
    pub ca: Option<PathBuf>,
    /// What we show the server (default none), with `verify-full`.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`.
    pub key: Option<PathBuf>,
}

/// What of the server is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    #[default]
    VerifyFull,
    Require,
}

impl Validate for StoreTls {
    fn problems(&self) -> Vec<Problem> {
        let verifies = self.mode == TlsMode::VerifyFull;
        let ca = (verifies && self.ca.is_none())
            .then(|| Problem::new("ca", "nothing", "the file of an authority, or mode = \"require\""));
        let half = (self.certificate.is_some() != self.key.is_some())
            .then(|| Problem::new("certificate", "one without the other", "both certificate and key, or none"));
        let shown = (!verifies && self.certificate.is_some())
            .then(|| Problem::new("certificate", "a file", "none with mode = \"require\": the server is not proven"));
        [ca, half, shown].into_iter().flatten().collect()
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: format!("{SQLITE}simvault.db"),
            password: Secret::default(),
            tls: None,
            writers: 3,
            readers: 2,
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            connection_age_max: Duration::from_secs(600),
            session_settings: true,
        }
    }
}

impl StoreConfig {
    /// The defaults with this URL.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The file of an embedded store; `None`: it is Postgres.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&Path> {
        self.url.strip_prefix(SQLITE).map(Path::new)
    }
}

impl Validate for StoreConfig {
    fn problems(&self) -> Vec<Problem> {
        let millis = Duration::from_millis;
        let mut problems: Vec<Problem> = [
            Problem::range("writers", self.writers, 1..=64),
            Problem::range("readers", self.readers, 1..=64),
            Problem::duration_range("connect_timeout", self.connect_timeout, millis(100)..=millis(60_000)),
            Problem::duration_range("statement_timeout", self.statement_timeout, millis(100)..=millis(600_000)),
            Problem::duration_range("connection_age_max", self.connection_age_max, millis(10_000)..=millis(86_400_000)),
        ]
        .into_iter()
        .flatten()
        .collect();
        problems.extend(self.tls.iter().flat_map(|tls| Problem::under("tls", tls.problems())));
        match self.sqlite_path() {
            Some(path) if path.as_os_str().is_empty() => {
                problems.push(Problem::new("url", "sqlite: without a path", "sqlite:PATH"));
            }
            None if self.url.parse::<tokio_postgres::Config>().is_err() => {
                problems.push(Problem::new(
                    "url",
                    without_secret(&self.url),
                    "sqlite:PATH or postgres://USER@HOST/DATABASE",
                ));
            }
            _ => {}
        }
        problems
    }
}

/// One store in its three roles.
#[derive(Clone)]
pub struct Stores {
    pub inbound: Arc<dyn InboundStore>,
    pub outbound: Arc<dyn OutboundStore>,
    pub application: Arc<dyn ApplicationStore>,
}

/// Opens what the configuration names. An embedded store is migrated; a Postgres must have been (`simvault migrate`).
///
/// # Errors
/// `Unavailable` when it does not answer or its schema is older than this program; `Refused` for a URL that is none.
pub async fn open(config: &StoreConfig) -> Result<Stores> {
    if let Some(path) = config.sqlite_path() {
        let store = SqliteStore::open(path)?;
        return Ok(Stores { inbound: store.clone(), outbound: store.clone(), application: store });
    }
    let store = PostgresStore::connect(config).await?;
    Ok(Stores { inbound: store.clone(), outbound: store.clone(), application: store })
}
