//! Migrates the schema, and refuses one that is newer than this program.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use diesel::migration::{Migration, MigrationSource as _};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use domain::StoreError;
use thiserror::Error;

use crate::failure::Failure;
use crate::store::{SqliteStore, reset_busy_timeout, set_busy_timeout};
use crate::workers::{in_snapshot, in_transaction};
use crate::written::has_table;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// The longest wait of a migration for another process that migrates.
const MIGRATION_BUSY: Duration = Duration::from_secs(30);

/// The store's schema compared with this program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemaState {
    /// Some migrations have not run, as in a new store.
    Older,
    /// The schemas are equal.
    Current,
    /// A newer program has migrated the store.
    Newer,
}

/// The reason why a store is refused.
#[derive(Debug, Clone, Error)]
pub enum SchemaError {
    /// A newer program has migrated the store.
    #[error("the store's schema is newer than this program: use the program that migrated it, or a newer one")]
    Newer,
    /// Some migrations have not run.
    #[error("the store's schema is older than this program: migrate it first")]
    Older,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqliteStore {
    /// Creates the file if it does not exist, runs all pending migrations or none, and returns their number. Two concurrent processes run
    /// them only once.
    pub async fn migrate(&self) -> Result<usize, SchemaError> {
        make_file(self.path()).map_err(StoreError::unavailable)?;
        let migrated = self.on_writer(|connection| {
            patiently(connection, |connection| {
                if compared(connection)? == SchemaState::Newer {
                    return Ok(None);
                }
                let run = connection.run_pending_migrations(MIGRATIONS).map_err(Failure::migration)?;
                Ok(Some(run.len()))
            })
        });
        migrated.await.map_err(StoreError::from)?.ok_or(SchemaError::Newer)
    }

    /// Compares the store's schema with this program's. Changes nothing.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        Ok(self.on_writer(|connection| in_snapshot(connection, compared)).await?)
    }

    /// Fails if the store's schema differs from this program's.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        match self.schema_state().await? {
            SchemaState::Current => Ok(()),
            SchemaState::Older => Err(SchemaError::Older),
            SchemaState::Newer => Err(SchemaError::Newer),
        }
    }

    /// Reverts all migrations, which deletes all data. For tests of the migrations.
    #[doc(hidden)]
    pub async fn revert_all_migrations(&self) -> Result<usize, SchemaError> {
        let reverted = self.on_writer(|connection| {
            patiently(connection, |connection| {
                Ok(connection.revert_all_migrations(MIGRATIONS).map_err(Failure::migration)?.len())
            })
        });
        Ok(reverted.await.map_err(StoreError::from)?)
    }
}

/// Creates the file readable only by the server's account, because it contains all users' addresses.
fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// Runs all migrations in one transaction. A second process waits, and then finds them applied.
fn patiently<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    set_busy_timeout(connection, MIGRATION_BUSY)?;
    let outcome = in_transaction(connection, work);
    reset_busy_timeout(connection)?;
    outcome
}

/// Compares the applied migrations with those of this program.
fn compared(connection: &mut SqliteConnection) -> Result<SchemaState, Failure> {
    let ours: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations().map_err(Failure::migration)?;
    let ours: BTreeSet<String> = ours.iter().map(|migration| migration.name().version().to_string()).collect();
    let run: BTreeSet<String> = versions_run(connection)?.into_iter().collect();
    if run == ours {
        Ok(SchemaState::Current)
    } else if run.is_subset(&ours) {
        Ok(SchemaState::Older)
    } else {
        Ok(SchemaState::Newer)
    }
}

fn versions_run(connection: &mut SqliteConnection) -> Result<Vec<String>, Failure> {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }
    if !has_table(connection, "__diesel_schema_migrations")? {
        return Ok(Vec::new());
    }
    let rows: Vec<Version> = diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(connection)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}
