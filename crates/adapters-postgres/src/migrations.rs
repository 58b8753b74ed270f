//! The schema: embedded in the program, run by an explicit command.

use std::time::{Duration, Instant};

use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel::result::QueryResult;
use diesel::sql_types::Bool;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use thiserror::Error;

use crate::connect::ConnectError;
use crate::store::PostgresStore;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Whoever migrates or seeds holds this advisory lock: two servers that start at once do it one after the other.
const SCHEMA_LOCK: i64 = 0x6d6f_7669_6573;
/// How often whoever waits for it asks.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// How long it is waited for: a large migration takes its time.
const LOCK_MAX: Duration = Duration::from_secs(30 * 60);

/// How the database's schema compares with the program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemaState {
    /// They are the same.
    Current,
    /// Some migrations have not run.
    Older,
    /// It has migrations that this program does not know.
    Newer,
}

/// Why the schema is not as it should be.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The database can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A newer program has migrated the database.
    #[error("the database's schema is newer than this program: use the program that migrated it, or a newer one")]
    Newer,
    /// Another program migrates, and does not end.
    #[error("another program has been migrating or seeding the database for half an hour: see what it waits for")]
    Busy,
    /// A migration failed. Nothing of it stays, but of one that runs outside a transaction.
    #[error("a migration failed: {0}")]
    Failed(String),
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

impl PostgresStore {
    /// Compares the schemas. Needs a multi-threaded runtime, like the other methods here.
    pub async fn schema_state(&self) -> Result<SchemaState, MigrateError> {
        let mut harness = AsyncMigrationHarness::new(self.settings().establish_one().await?);
        state(&mut harness)
    }

    /// Runs the migrations that have not run, and says how many. Two at once do no harm.
    pub async fn migrate(&self) -> Result<usize, MigrateError> {
        let mut harness = self.locked_harness().await?;
        match state(&mut harness)? {
            SchemaState::Newer => Err(MigrateError::Newer),
            SchemaState::Current => Ok(0),
            SchemaState::Older => Ok(harness.run_pending_migrations(MIGRATIONS).map_err(failed)?.len()),
        }
    }

    /// Takes every migration back, with all data.
    #[cfg(feature = "testing")]
    pub async fn revert_migrations(&self) -> Result<(), MigrateError> {
        self.locked_harness().await?.revert_all_migrations(MIGRATIONS).map_err(failed)?;
        Ok(())
    }

    /// The lock goes with the connection, at the end of the harness.
    async fn locked_harness(&self) -> Result<Harness, MigrateError> {
        let mut connection = self.settings().establish_one().await?;
        // A large migration takes its time.
        let patient = "SET statement_timeout = 0; SET lock_timeout = 0";
        connection.batch_execute(patient).await.map_err(|error| failed(error.into()))?;
        let began = Instant::now();
        while began.elapsed() < LOCK_MAX {
            let locked = try_schema_lock(&mut connection, "pg_try_advisory_lock").await;
            if locked.map_err(|error| failed(error.into()))? {
                return Ok(AsyncMigrationHarness::new(connection));
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(MigrateError::Busy)
    }
}

/// Takes the lock by one of PostgreSQL's functions if nobody has it. Whoever wants it asks again: an index that is made CONCURRENTLY
/// waits for every statement that runs, one that waits for this lock included.
pub(crate) async fn try_schema_lock(connection: &mut AsyncPgConnection, function: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(&format!("{function}({SCHEMA_LOCK})"))).get_result(connection).await
}

fn state(harness: &mut Harness) -> Result<SchemaState, MigrateError> {
    let applied = harness.applied_migrations().map_err(failed)?;
    let known: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(failed)?;
    let is_known = |version: &diesel::migration::MigrationVersion<'_>| {
        known.iter().any(|migration| migration.name().version() == *version)
    };
    if !applied.iter().all(is_known) {
        Ok(SchemaState::Newer)
    } else if applied.len() < known.len() {
        Ok(SchemaState::Older)
    } else {
        Ok(SchemaState::Current)
    }
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> MigrateError {
    MigrateError::Failed(error.to_string())
}
