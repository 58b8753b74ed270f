//! The port contracts, on PostgreSQL.

use std::sync::Arc;

use adapters_postgres::testing::TestDatabase;
use adapters_postgres::{PostgresSettings, PostgresStore};
use domain::booking::BatchStore;
use port_contracts::{Fixture, Stores};
use tokio_postgres::NoTls;

/// A separate database with the stores on it.
pub struct PostgresFixture {
    pub database: TestDatabase,
    /// The store that implements the ports.
    pub store: Arc<PostgresStore>,
    /// The ports.
    pub stores: Stores,
}

/// Returns a fixture on an empty database.
pub async fn make_fixture() -> PostgresFixture {
    fixture_on(TestDatabase::create().await.unwrap()).await
}

/// Returns a fixture on a migrated database.
pub async fn fixture_on(database: TestDatabase) -> PostgresFixture {
    let settings = PostgresSettings::parse(&database.url, 4).unwrap();
    let store = Arc::new(PostgresStore::connect(settings).await.unwrap());
    let batches: Vec<Arc<dyn BatchStore>> = vec![Arc::new(store.batch_store()), Arc::new(store.batch_store())];
    let stores = Stores::of(store.clone(), batches);
    PostgresFixture { database, store, stores }
}

#[async_trait::async_trait]
impl Fixture for PostgresFixture {
    fn stores(&self) -> &Stores {
        &self.stores
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql).await.unwrap();
    }

    async fn count(&self, sql: &str) -> i64 {
        let (client, connection) = tokio_postgres::connect(&self.database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        let (client, connection) = tokio_postgres::connect(&self.database.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    fn instant(&self, seconds: i64) -> String {
        format!("(now() + interval '{seconds} seconds')")
    }

    async fn break_backend(&self) {
        self.database.take_down().await.unwrap();
    }
}

port_contracts::contract_tests!(make_fixture);
