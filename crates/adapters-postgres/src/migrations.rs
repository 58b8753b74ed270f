//! The schema: embedded in the program, migrated by an explicit command.

use std::time::{Duration, Instant};

use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use thiserror::Error;

use crate::connect_error::ConnectError;
use crate::store::PostgresStore;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The key of the advisory lock that is held while migrating or seeding. It serialises two servers that start at once.
const SCHEMA_LOCK: i64 = 0x6d6f_7669_6573;
/// The interval at which the lock is polled.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// The interval at which the holder of the lock is logged.
const LOCK_REPORT_EVERY: Duration = Duration::from_secs(10);
/// The longest wait for the lock. Half an hour, because a large migration takes long.
const LOCK_MAX: Duration = Duration::from_secs(30 * 60);

/// The database's schema compared with the program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemaState {
    /// The schemas are equal.
    Current,
    /// Some migrations have not run.
    Older,
    /// The database has migrations that this program does not know.
    Newer,
}

/// The reason why the schema cannot be used.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A newer program has migrated the database.
    #[error("the database's schema is newer than this program: use the program that migrated it, or a newer one")]
    Newer,
    /// Another program holds the schema lock for too long.
    #[error("another program has been migrating or seeding the database for half an hour: see what it waits for")]
    Busy,
    /// A migration failed and was rolled back, unless it runs outside a transaction.
    #[error("a migration failed: {0}")]
    Failed(String),
    /// The schema cannot be read.
    #[error("the state of the schema cannot be read: {0}")]
    Unreadable(String),
    /// The role may not change the schema.
    #[error(
        "a migration failed: {0}. Run `migrate` with the role that owns the tables; `serve` needs only SELECT, INSERT, UPDATE and DELETE"
    )]
    NotPermitted(String),
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

impl PostgresStore {
    /// Compares the schemas. Reads only, so the role needs no other permission than to read.
    pub async fn schema_state(&self) -> Result<SchemaState, MigrateError> {
        state(&mut self.settings().establish_one().await?).await
    }

    /// Runs the pending migrations, and returns their number. Concurrent calls are safe.
    pub async fn migrate(&self) -> Result<usize, MigrateError> {
        let mut connection = self.locked_connection().await?;
        let (connection, outcome) = match state(&mut connection).await {
            Ok(SchemaState::Older) => {
                let mut harness = Harness::new(connection);
                let ran = harness.run_pending_migrations(MIGRATIONS).map(|versions| versions.len()).map_err(failed);
                (harness.into_inner(), ran)
            }
            Ok(SchemaState::Current) => (connection, Ok(0)),
            Ok(SchemaState::Newer) => (connection, Err(MigrateError::Newer)),
            Err(error) => (connection, Err(error)),
        };
        unlock(connection).await;
        outcome
    }

    /// Reverts every migration, which deletes all data.
    #[cfg(feature = "testing")]
    pub async fn revert_migrations(&self) -> Result<(), MigrateError> {
        let mut harness = Harness::new(self.locked_connection().await?);
        let reverted = harness.revert_all_migrations(MIGRATIONS).map(drop).map_err(failed);
        unlock(harness.into_inner()).await;
        reverted
    }

    /// Returns a connection that holds the schema lock.
    async fn locked_connection(&self) -> Result<AsyncPgConnection, MigrateError> {
        let mut connection = self.settings().establish_one().await?;
        // A large migration takes longer than the limits of other statements.
        let patient = "SET statement_timeout = 0; SET lock_timeout = 0";
        connection.batch_execute(patient).await.map_err(|error| failed(error.into()))?;
        let began = Instant::now();
        let mut report_at = began;
        while began.elapsed() < LOCK_MAX {
            let locked = try_schema_lock(&mut connection, "pg_try_advisory_lock").await;
            if locked.map_err(|error| failed(error.into()))? {
                return Ok(connection);
            }
            if Instant::now() >= report_at {
                report_at = Instant::now() + LOCK_REPORT_EVERY;
                report_holders(&mut connection).await;
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(MigrateError::Busy)
    }
}

/// Releases the lock. Closing the connection does so only without a pooler, because a pooler keeps the session.
async fn unlock(mut connection: AsyncPgConnection) {
    let unlocked = diesel::select(diesel::dsl::sql::<Bool>(&format!("pg_advisory_unlock({SCHEMA_LOCK})")));
    if let Err(error) = unlocked.get_result::<bool>(&mut connection).await {
        tracing::warn!(%error, "the schema lock is not given back before its connection ends");
    }
}

/// Logs the holders of the lock.
async fn report_holders(connection: &mut AsyncPgConnection) {
    // pg_locks splits a 64-bit key into two halves, and marks it by objsubid = 1.
    let sql = format!(
        "SELECT l.pid, coalesce(a.application_name, '') AS program, coalesce(host(a.client_addr), '') AS address
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
             AND l.classid = {high} AND l.objid = {low}
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        high = SCHEMA_LOCK >> 32,
        low = SCHEMA_LOCK & 0xffff_ffff,
    );
    match diesel::sql_query(sql).load::<Holder>(connection).await {
        Ok(holders) => {
            for Holder { pid, program, address } in holders {
                tracing::warn!(program, address, "waiting for the schema lock held by pid {pid}");
            }
        }
        Err(error) => tracing::warn!(%error, "waiting for the schema lock"),
    }
}

#[derive(diesel::QueryableByName)]
struct Holder {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Text)]
    program: String,
    #[diesel(sql_type = Text)]
    address: String,
}

/// Tries to take the lock by one of PostgreSQL's functions. Callers poll instead of blocking, because CREATE INDEX CONCURRENTLY waits for
/// every running statement, including one that waits for this lock.
pub(crate) async fn try_schema_lock(connection: &mut AsyncPgConnection, function: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(&format!("{function}({SCHEMA_LOCK})"))).get_result(connection).await
}

/// Compares the schemas without diesel's harness, which would create its table: a serving role may lack the permission.
async fn state(connection: &mut AsyncPgConnection) -> Result<SchemaState, MigrateError> {
    let unreadable = |error: diesel::result::Error| MigrateError::Unreadable(error.to_string());
    let exists = diesel::dsl::sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL");
    let exists: bool = diesel::select(exists).get_result(connection).await.map_err(unreadable)?;
    let mut applied = Vec::new();
    if exists {
        let sql = "SELECT version::text AS version FROM __diesel_schema_migrations";
        applied = diesel::sql_query(sql).load::<Applied>(connection).await.map_err(unreadable)?;
    }
    let known: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(failed)?;
    let known: Vec<_> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    if !applied.iter().all(|migration| known.contains(&migration.version)) {
        Ok(SchemaState::Newer)
    } else if applied.len() < known.len() {
        Ok(SchemaState::Older)
    } else {
        Ok(SchemaState::Current)
    }
}

/// A migration that has run.
#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> MigrateError {
    let text = error.to_string();
    // If the server's errors are not in English, only the advice is lost.
    if text.contains("permission denied") || text.contains("must be owner of") {
        MigrateError::NotPermitted(text)
    } else {
        MigrateError::Failed(text)
    }
}
