//! Checks whether the database can be read and written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::{RunQueryDsl as _, sql_query};
use domain::StoreError;
use domain::health::{Degradation, Dependency, PoolUse};

use crate::failure::Failure;
use crate::store::{SqliteStore, reset_busy_timeout, set_busy_timeout};
use crate::workers::in_transaction;

/// The longest wait of a trial write for the writer thread, and again for another process. The sum is below the two seconds of a health
/// check.
const TRIAL_PATIENCE: Duration = Duration::from_millis(900);

#[async_trait]
impl Dependency for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn pools(&self) -> Vec<PoolUse> {
        self.workers_use()
    }

    /// Reads once, and reports the known state of the disk. Tries a write only if the last one failed or the disk is nearly full.
    async fn check(&self) -> Result<Vec<Degradation>, StoreError> {
        self.read(|connection| {
            // Naming the schema makes SQLite read the file; a bare `SELECT 1` would not.
            sql_query("SELECT 1 FROM sqlite_master LIMIT 1").execute(connection)?;
            Ok(())
        })
        .await?;
        let disk = self.disk();
        if disk.failed().is_some() || disk.is_nearly_full() {
            self.try_to_write().await?;
        }
        Ok(disk.degradation().into_iter().chain(self.clock().degradation()).collect())
    }
}

impl SqliteStore {
    async fn try_to_write(&self) -> Result<(), StoreError> {
        let disk = self.disk();
        let trial = {
            let disk = Arc::clone(&disk);
            self.on_writer_within(TRIAL_PATIENCE, move |connection| {
                disk.try_to_write().map_err(Failure::Disk)?;
                set_busy_timeout(connection, TRIAL_PATIENCE)?;
                let written = in_transaction(connection, |connection| {
                    // Changes no value, but is written to disk.
                    sql_query("UPDATE id_blocks SET next = next WHERE name = 'bookings'").execute(connection)?;
                    Ok(())
                });
                reset_busy_timeout(connection)?;
                written
            })
            .await
        };
        disk.note(&trial);
        match trial {
            // The writer thread is busy with writes, so writes succeed.
            Err(failure) if !failure.is_of_the_disk() && disk.failed().is_none() => Ok(()),
            trial => Ok(trial?),
        }
    }
}
