//! Whether the database answers.

use async_trait::async_trait;
use diesel::{RunQueryDsl as _, sql_query};
use domain::StoreError;
use domain::health::{Degradation, Dependency, PoolUse};

use crate::store::SqliteStore;

#[async_trait]
impl Dependency for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn pools(&self) -> Vec<PoolUse> {
        self.workers_use()
    }

    async fn check(&self) -> Result<Vec<Degradation>, StoreError> {
        self.read(|connection| {
            // Naming the schema makes SQLite look at the file; a bare `SELECT 1` would not.
            sql_query("SELECT 1 FROM sqlite_master LIMIT 1").execute(connection)?;
            Ok(())
        })
        .await?;
        Ok(Vec::new())
    }
}
