//! Schema migrations: SQL files inside the program, one row of `schema_version` each, applied in order.
//!
//! Migrations only add; what release N makes works with the code of N-1 (`docs`: removal comes one release later).

use rusqlite::{Connection, OptionalExtension};

use crate::{Result, StoreConfig, StoreError, postgres::pool};

/// Number and text of each migration, ascending.
type Migrations = &'static [(i32, &'static str)];

const POSTGRES: Migrations = &[
    (1, include_str!("../migrations/postgres/0001_schema.sql")),
    (2, include_str!("../migrations/postgres/0002_roles.sql")),
    (3, include_str!("../migrations/postgres/0003_logins.sql")),
    (4, include_str!("../migrations/postgres/0004_retention.sql")),
    (5, include_str!("../migrations/postgres/0005_due.sql")),
    (6, include_str!("../migrations/postgres/0006_inbound.sql")),
    (7, include_str!("../migrations/postgres/0007_erasure.sql")),
    (8, include_str!("../migrations/postgres/0008_audit.sql")),
    (9, include_str!("../migrations/postgres/0009_listing.sql")),
    (10, include_str!("../migrations/postgres/0010_audit_subscriber.sql")),
    (12, include_str!("../migrations/postgres/0012_secured.sql")),
    (14, include_str!("../migrations/postgres/0014_transfer.sql")),
    (15, include_str!("../migrations/postgres/0015_left.sql")),
];
const SQLITE: Migrations = &[
    (1, include_str!("../migrations/sqlite/0001_schema.sql")),
    (2, include_str!("../migrations/sqlite/0002_logins.sql")),
    (3, include_str!("../migrations/sqlite/0003_retention.sql")),
    (4, include_str!("../migrations/sqlite/0004_due.sql")),
    (5, include_str!("../migrations/sqlite/0005_inbound.sql")),
    (6, include_str!("../migrations/sqlite/0006_erasure.sql")),
    (7, include_str!("../migrations/sqlite/0007_audit.sql")),
    (8, include_str!("../migrations/sqlite/0008_listing.sql")),
    (9, include_str!("../migrations/sqlite/0009_audit_subscriber.sql")),
    (11, include_str!("../migrations/sqlite/0011_secured.sql")),
    (13, include_str!("../migrations/sqlite/0013_transfer.sql")),
];

/// Oldest schema of Postgres that this program works with.
pub const POSTGRES_MIN: i32 = 15;

/// Any number, the same in every release: only one process migrates at a time.
const ADVISORY_LOCK: i64 = 0x5349_4D56_4155_4C54;

/// Brings a Postgres up to date and answers its schema's version. Connect as the owner of the database, not through
/// PgBouncer. Roles and grants are made when the user may.
///
/// # Errors
/// `Unavailable` when it does not answer, or what the database said to a statement.
pub async fn postgres(config: &StoreConfig) -> Result<i32> {
    let client = pool::single(config).await?;
    let mut version = 0;
    for (number, sql) in POSTGRES {
        let guard = format!(
            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL client_min_messages = warning;
             SELECT pg_advisory_xact_lock({ADVISORY_LOCK});
             CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now());"
        );
        client.batch_execute(&guard).await.map_err(pool::explain)?;
        let row = client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await;
        version = row.map_err(pool::explain)?.try_get(0).map_err(pool::explain)?;
        if version < *number {
            client.batch_execute(sql).await.map_err(pool::explain)?;
            let insert = "INSERT INTO schema_version (version) VALUES ($1)";
            client.execute(insert, &[number]).await.map_err(pool::explain)?;
            version = *number;
            tracing::info!(version, "schema migrated");
        }
        client.batch_execute("COMMIT").await.map_err(pool::explain)?;
    }
    Ok(version)
}

/// Brings an embedded store up to date and answers its schema's version.
///
/// # Errors
/// As SQLite says.
pub fn sqlite(connection: &mut Connection) -> Result<i32> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT",
    )?;
    let read = "SELECT max(version) FROM schema_version";
    let mut version =
        transaction.query_row(read, [], |row| row.get::<_, Option<i32>>(0)).optional()?.flatten().unwrap_or(0);
    for (number, sql) in SQLITE.iter().filter(|(number, _)| *number > version).collect::<Vec<_>>() {
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", [number])?;
        version = *number;
    }
    transaction.commit()?;
    Ok(version)
}

/// Whether this program works with that schema.
pub(crate) fn accept(version: i32) -> Result<()> {
    if version >= POSTGRES_MIN {
        return Ok(());
    }
    let text = format!("the schema has version {version}, this program needs {POSTGRES_MIN}: run `simvault migrate`");
    Err(StoreError::Unavailable(text))
}
