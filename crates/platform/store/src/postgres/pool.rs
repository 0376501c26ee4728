//! Connections: how they are made, when they are given up, and what an error means.
//!
//! A connection on which something went wrong that may be its own fault, or that is left within a transaction, is closed
//! rather than handed to the next caller.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use runtime::config::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{
    Client, NoTls, Row, Socket,
    config::{SslMode, TargetSessionAttrs},
    error::SqlState,
    types::ToSql,
};

use super::tls;
use crate::{Result, StoreConfig, StoreError};

pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What every connection asks for; the three roles have the same (`0002_roles.sql`). Plans are made once and by index:
/// a plan made while a table was still small would otherwise read the whole of it for ever.
const SETTINGS: &str = "-c plan_cache_mode=force_generic_plan -c jit=off -c enable_seqscan=off -c enable_hashjoin=off \
                        -c enable_mergejoin=off -c enable_bitmapscan=off -c enable_memoize=off -c lock_timeout=2s";
/// Octets sent and not confirmed for so long: the server is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than the server's own time limit, which gives the better answer.
const GRACE: Duration = Duration::from_secs(2);

fn settings(config: &StoreConfig) -> Result<tokio_postgres::Config> {
    let parsed = config.url.parse::<tokio_postgres::Config>();
    let mut settings = parsed.map_err(|_| StoreError::Refused("the store's URL is not one of Postgres".into()))?;
    if config.password != Secret::default() {
        settings.password(config.password.expose());
    }
    settings.connect_timeout(config.connect_timeout).tcp_user_timeout(TCP_USER_TIMEOUT);
    settings.keepalives(true).keepalives_idle(Duration::from_secs(10));
    settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.tls.is_some() {
        settings.ssl_mode(SslMode::Require);
    }
    if settings.get_application_name().is_none() {
        settings.application_name("simvault");
    }
    if config.session_settings {
        let given = settings.get_options().unwrap_or_default();
        let timeout = config.statement_timeout.as_millis();
        let options = format!("{SETTINGS} -c statement_timeout={timeout} {given}");
        settings.options(options.trim());
    }
    Ok(settings)
}

/// One connection of its own, for migrations.
pub async fn single(config: &StoreConfig) -> Result<Client> {
    let settings = settings(config)?;
    match &config.tls {
        None => connected(settings.connect(NoTls).await),
        Some(tls) => connected(settings.connect(tls::connector(tls)?).await),
    }
}

fn connected<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    made: std::result::Result<(Client, tokio_postgres::Connection<Socket, S>), tokio_postgres::Error>,
) -> Result<Client> {
    let (client, connection) = made.map_err(explain)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = %explain(error), "a connection ended");
        }
    });
    Ok(client)
}

#[derive(Clone)]
pub struct Pool {
    pool: deadpool_postgres::Pool,
    deadline: Duration,
}

impl Pool {
    pub fn new(config: &StoreConfig, size: usize) -> Result<Self> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let settings = settings(config)?;
        let manager = match &config.tls {
            None => Manager::from_config(settings, NoTls, recycling),
            Some(tls) => Manager::from_config(settings, tls::connector(tls)?, recycling),
        };
        let age_max = config.connection_age_max;
        let not_old = Hook::sync_fn(
            move |_, metrics| {
                if metrics.age() < age_max { Ok(()) } else { Err(HookError::message("old")) }
            },
        );
        let wait = config.statement_timeout + GRACE;
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(wait))
            .create_timeout(Some(config.connect_timeout * 4))
            .pre_recycle(not_old)
            .build();
        let pool = pool.map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Self { pool, deadline: wait })
    }

    pub async fn get(&self) -> Result<Connection> {
        let object = self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => StoreError::Unavailable(text(&error)),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        let broken = AtomicBool::new(false);
        Ok(Connection { object: Some(object), broken, deadline: self.deadline })
    }
}

/// A connection lent from the pool.
pub struct Connection {
    /// Always there until dropped.
    object: Option<Object>,
    /// Not to be used again: it failed, or a transaction is open on it.
    broken: AtomicBool,
    deadline: Duration,
}

impl Connection {
    /// Runs a statement, prepared once for each connection, and answers all its rows.
    pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let client = self.client();
        self.bounded(async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        })
        .await
    }

    /// Runs a statement; how many rows it touched.
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let client = self.client();
        self.bounded(async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, params).await
        })
        .await
    }

    /// From here to [`Self::commit`] all statements are one transaction. Leaving in between undoes it, by closing the
    /// connection: whatever the reason, nothing of it can leak into another caller's.
    pub async fn begin(&self) -> Result<()> {
        self.bounded(self.client().batch_execute("BEGIN")).await?;
        self.broken.store(true, Relaxed);
        Ok(())
    }

    /// Call only when every statement since [`Self::begin`] went well: a failed transaction answers its COMMIT without
    /// an error, by rolling back.
    pub async fn commit(self) -> Result<()> {
        self.bounded(self.client().batch_execute("COMMIT")).await?;
        self.broken.store(false, Relaxed);
        Ok(())
    }

    fn client(&self) -> &Object {
        self.object.as_ref().expect("held until dropped")
    }

    async fn bounded<T>(&self, work: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
        let Ok(done) = tokio::time::timeout(self.deadline, work).await else {
            self.broken.store(true, Relaxed);
            return Err(StoreError::Unavailable(format!("no answer within {} s", self.deadline.as_secs())));
        };
        done.map_err(|error| {
            if spoils_connection(&error) {
                self.broken.store(true, Relaxed);
            }
            explain(error)
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && self.broken.load(Relaxed)
        {
            // Taken out of the pool and closed; the pool makes another when it needs one.
            drop(Object::take(object));
        }
    }
}

/// The server moved, became read-only, is shutting down, has forgotten a statement, or is not there.
fn spoils_connection(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| {
        let code = code.code();
        let forgotten = ["26000", "42P05", "0A000"].contains(&code);
        code == "25006" || code.starts_with("57P") || code.starts_with("08") || forgotten
    })
}

/// The kind of an error. Only the guard of a commit divides, and by zero when a row changed meanwhile.
pub fn explain(error: tokio_postgres::Error) -> StoreError {
    let text = text(&error);
    let Some(code) = error.code() else {
        // A value of another type than this program expects, or no connection.
        let converts = text.contains("deserializing");
        return if converts { StoreError::Corrupt(text) } else { StoreError::Unavailable(text) };
    };
    if [&SqlState::DIVISION_BY_ZERO, &SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED]
        .contains(&code)
    {
        return StoreError::Conflict(text);
    }
    match code.code().get(..2) {
        // Data and integrity exceptions: the values are at fault. Not class 42 (no permission, no such table, column or
        // prepared statement): that is the database's set-up, the same for every message, and an operator mends it.
        Some("22" | "23") => StoreError::Refused(text),
        Some("XX") if code.code() != "XX000" => StoreError::Corrupt(text),
        _ => StoreError::Unavailable(text),
    }
}

/// Without the detail, which holds values of the row.
fn text(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || {
            let source = std::error::Error::source(error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        },
        |error| format!("{} ({})", error.message(), error.code().code()),
    )
}
