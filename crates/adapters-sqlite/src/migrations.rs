//! The schema: bringing it up to date, and refusing one that is newer than this program.

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

/// How long a migration waits for another process that migrates.
const MIGRATION_BUSY: Duration = Duration::from_secs(30);

/// How a store's schema compares with this program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SchemaState {
    /// Migrations are to be run, as on a store that is new.
    Older,
    /// They are the same.
    Current,
    /// A newer program has migrated the store.
    Newer,
}

/// Why a store is not worked on.
#[derive(Debug, Clone, Error)]
pub enum SchemaError {
    /// A newer program has migrated it.
    #[error("the store's schema is newer than this program: use the program that migrated it, or a newer one")]
    Newer,
    /// Migrations are to be run.
    #[error("the store's schema is older than this program: migrate it first")]
    Older,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SqliteStore {
    /// Makes the file if it is not there, and runs the migrations that were not run, all or none. Two processes at once run
    /// them once. Tells how many were run.
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

    /// How the store's schema compares with this program's. Changes nothing.
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        Ok(self.on_writer(|connection| in_snapshot(connection, compared)).await?)
    }

    /// Refuses a store whose schema isn't this program's.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        match self.schema_state().await? {
            SchemaState::Current => Ok(()),
            SchemaState::Older => Err(SchemaError::Older),
            SchemaState::Newer => Err(SchemaError::Newer),
        }
    }

    /// Takes all migrations back, and with them all that is stored. For tests of the migrations.
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

/// Only whoever runs the server may read the file: it has everybody's addresses.
fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// Returns one transaction around all migrations: whoever comes second waits, and finds them run.
fn patiently<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    set_busy_timeout(connection, MIGRATION_BUSY)?;
    let outcome = in_transaction(connection, work);
    reset_busy_timeout(connection)?;
    outcome
}

/// Compares the migrations that were run with those of this program.
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
