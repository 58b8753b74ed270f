//! A real PgBouncer between the program and the database.

use adapters_postgres::testing::{PgBouncer, PoolMode, TestDatabase};
use adapters_postgres::{ConnectError, PostgresSettings, PostgresStore};

async fn connect(text: &str) -> Result<PostgresStore, ConnectError> {
    PostgresStore::connect(PostgresSettings::parse(text, 2).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_in_session_mode() {
    let database = TestDatabase::create().await.unwrap();
    let bouncer = PgBouncer::start(PoolMode::Session, &[]).unwrap();
    let sql = "SELECT name || '=' || setting AS line FROM pg_settings
        WHERE name IN ('statement_timeout', 'lock_timeout', 'plan_cache_mode') ORDER BY name";
    // The second store reuses the sessions of the first.
    for _ in 0..2 {
        let store = connect(&bouncer.url(&database).unwrap()).await.unwrap();
        let batches = [store.batch_store(), store.batch_store()];
        for batch in &batches {
            let lines = batch.lines(sql).await.unwrap();
            assert_eq!(lines, ["lock_timeout=1000", "plan_cache_mode=force_generic_plan", "statement_timeout=5000"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_is_refused() {
    let database = TestDatabase::create().await.unwrap();
    for settings in [&["default_pool_size = 1"][..], &[], &["server_round_robin = 1"]] {
        let bouncer = PgBouncer::start(PoolMode::Transaction, settings).unwrap();
        let url = bouncer.url(&database).unwrap();
        // The second start must be refused too: the first refusal must leave no trace in the session.
        for _ in 0..2 {
            let Err(error) = connect(&url).await else { panic!("accepted: {settings:?}") };
            assert!(matches!(error, ConnectError::Pooler(_)) && !error.may_pass(), "{settings:?}: {error}");
            assert!(error.to_string().contains("pool_mode=session"), "{error}");
        }
    }
    let unreset = PgBouncer::start(PoolMode::Session, &["server_reset_query ="]).unwrap();
    let url = unreset.url(&database).unwrap();
    connect(&url).await.unwrap();
    let Err(error) = connect(&url).await else { panic!("accepted") };
    assert!(error.to_string().contains("server_reset_query=DISCARD ALL"), "{error}");
}

/// Every connection of the program is checked, not only the first ones, because a pooler's mode may change while the program runs.
#[tokio::test(flavor = "multi_thread")]
async fn new_connections_to_a_used_session_are_refused() {
    let database = TestDatabase::create().await.unwrap();
    let store = connect(&database.url).await.unwrap();
    store.schema_state().await.unwrap();
    // From now on, a new session looks like one that a pooler reuses without a reset.
    let sql = format!("ALTER DATABASE {} SET movie_booking.connection = 'of another'", database.name);
    database.execute(&sql).await.unwrap();
    let error = store.schema_state().await.unwrap_err().to_string();
    assert!(error.contains("shares PostgreSQL sessions"), "{error}");
    let error = store.batch_store().lines("SELECT 1::text AS line").await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("shares PostgreSQL sessions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_pgbouncer_does_not_pass_on_are_refused_with_advice() {
    let database = TestDatabase::create_empty().await.unwrap();
    let bouncer = PgBouncer::start(PoolMode::Session, &[]).unwrap();
    let url = format!("{}?options=-c%20geqo%3Doff", bouncer.url(&database).unwrap());
    let Err(error) = connect(&url).await else { panic!("accepted") };
    assert!(matches!(error, ConnectError::Refused(_)) && error.to_string().contains("ALTER ROLE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_gives_its_lock_back_to_sessions_that_a_pooler_keeps() {
    let database = TestDatabase::create_empty().await.unwrap();
    // Resets everything that this program needs to be reset, but not the advisory locks.
    let bouncer = PgBouncer::start(PoolMode::Session, &["server_reset_query = RESET ALL; DEALLOCATE ALL"]).unwrap();
    let store = connect(&bouncer.url(&database).unwrap()).await.unwrap();
    assert!(store.migrate().await.unwrap() > 0);
    assert_eq!(store.migrate().await.unwrap(), 0);
    let direct = connect(&database.url).await.unwrap();
    let sql = "SELECT count(*)::text AS line FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(direct.batch_store().lines(sql).await.unwrap(), ["0"]);
    assert_eq!(direct.migrate().await.unwrap(), 0);
}
