//! The port contracts, on SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use domain::booking::BatchStore;
use port_contracts::{Fixture, Stores};

use crate::support::{Database, micros_from_now};

struct SqliteFixture {
    stores: Stores,
    database: Database,
}

async fn make_fixture() -> SqliteFixture {
    let database = Database::migrated().await;
    let store = Arc::new(database.store.clone());
    // All stores write through the same thread. Two committers must not interfere with each other there either.
    let batches: Vec<Arc<dyn BatchStore>> = vec![store.clone(), store.clone()];
    let stores = Stores::of(store, batches);
    SqliteFixture { stores, database }
}

#[async_trait]
impl Fixture for SqliteFixture {
    fn stores(&self) -> &Stores {
        &self.stores
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql);
    }

    async fn count(&self, sql: &str) -> i64 {
        self.database.count(sql)
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        self.database.texts(sql)
    }

    fn instant(&self, seconds: i64) -> String {
        micros_from_now(seconds).to_string()
    }

    async fn break_backend(&self) {
        self.database.replace_by_garbage();
    }
}

port_contracts::contract_tests!(make_fixture);
