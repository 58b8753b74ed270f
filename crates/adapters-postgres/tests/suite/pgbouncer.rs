//! PgBouncer, the real one, between the program and the database.

use adapters_postgres::testing::{PgBouncer, PoolMode, TestDatabase};
use tokio_postgres::NoTls;

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_the_test_server_are_reached_through_pgbouncer() {
    let database = TestDatabase::create_empty().await.unwrap();
    let bouncer = PgBouncer::start(PoolMode::Session, &[]).unwrap();
    let (client, connection) = tokio_postgres::connect(&bouncer.url(&database).unwrap(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SELECT current_database()::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), database.name);
}
