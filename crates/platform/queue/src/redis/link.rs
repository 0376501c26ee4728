//! A connection that is opened when it is needed and again when it broke. Nothing is sent twice by it: whether to repeat is
//! for the caller, who knows what a repeat does.

use std::{path::Path, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind,
    TlsCertificates, Value, aio::MultiplexedConnection, cmd,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::absence::Absence;
use crate::QueueError;

/// After a failed attempt the next waits this long; calls in between fail at once.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Link {
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
    present: Mutex<Present>,
    /// One for all connections to the same Redis.
    absence: Arc<Absence>,
}

#[derive(Default)]
struct Present {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure of an old one does not close the new one.
    number: u64,
    failed: Option<Instant>,
}

impl Link {
    pub(super) fn new(
        url: &str,
        tls_ca: &Path,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Self, QueueError> {
        // Refused when the process has chosen one before: then that one holds.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = if tls_ca.as_os_str().is_empty() { Client::open(url) } else { trusting(url, tls_ca)? };
        // The text of the error does not repeat the address, which holds the password.
        let client = client.map_err(|error| QueueError::Address(error.to_string()))?;
        let absence = Arc::new(Absence::new(client.get_connection_info().addr().to_string()));
        Ok(Self::with(client, absence, connect_timeout, response_timeout))
    }

    fn with(client: Client, absence: Arc<Absence>, connect_timeout: Duration, response_timeout: Duration) -> Self {
        Self { client, connect_timeout, response_timeout, present: Mutex::default(), absence }
    }

    /// A second connection to the same Redis.
    pub(super) fn another(&self) -> Self {
        Self::with(self.client.clone(), Arc::clone(&self.absence), self.connect_timeout, self.response_timeout)
    }

    /// Runs the commands; `wait` is how long they block by intent.
    pub(super) async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline, wait: Duration) -> RedisResult<T> {
        let (mut connection, number) = self.connection().await?;
        let limit = self.response_timeout.saturating_add(wait);
        connection.set_response_timeout(limit);
        let result = match timeout(limit.saturating_add(RETRY_PAUSE), pipeline.query_async(&mut connection)).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::from((ErrorKind::Io, "no answer in time"))),
        };
        if let Err(error) = &result
            && is_fatal(error)
        {
            self.close(number, error).await;
        }
        result
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        let mut present = self.present.lock().await;
        if let Some(connection) = &present.connection {
            return Ok((connection.clone(), present.number));
        }
        if present.failed.is_some_and(|failed| failed.elapsed() < RETRY_PAUSE) {
            return Err(RedisError::from((ErrorKind::Io, "not connected")));
        }
        match self.open().await {
            Ok(connection) => {
                present.number = present.number.wrapping_add(1);
                present.failed = None;
                present.connection = Some(connection.clone());
                self.absence.over();
                Ok((connection, present.number))
            }
            Err(error) => {
                present.failed = Some(Instant::now());
                self.absence.seen(&error);
                Err(error)
            }
        }
    }

    async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // After a failover the old primary may still answer: what is written there is lost.
        let role: Value = cmd("ROLE").query_async(&mut connection).await?;
        let is_primary = matches!(&role, Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(name)) if name == b"master"));
        if is_primary { Ok(connection) } else { Err(RedisError::from((ErrorKind::Io, "connected to a replica"))) }
    }

    async fn close(&self, number: u64, error: &RedisError) {
        let mut present = self.present.lock().await;
        if present.number == number && present.connection.take().is_some() {
            self.absence.seen(error);
        }
    }
}

/// A client of a server whose certificate this authority signed.
fn trusting(url: &str, tls_ca: &Path) -> Result<RedisResult<Client>, QueueError> {
    let pem = std::fs::read(tls_ca)
        .map_err(|error| QueueError::Authority { file: tls_ca.to_owned(), cause: error.to_string() })?;
    Ok(Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

/// The connection is of no use any more.
fn is_fatal(error: &RedisError) -> bool {
    let is_demoted = matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading)
    );
    is_demoted
        || error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
}
