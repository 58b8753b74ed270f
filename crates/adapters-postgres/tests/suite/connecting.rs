//! Connecting: several hosts, silent hosts, unusable databases, and waiting for databases that may become ready.

use std::time::{Duration, Instant};

use adapters_postgres::testing::{PgBouncer, PoolMode, TestDatabase};
use adapters_postgres::{ConnectError, PostgresSettings, PostgresStore};
use tokio::net::TcpListener;

async fn connect(text: &str) -> Result<PostgresStore, ConnectError> {
    PostgresStore::connect(PostgresSettings::parse(text, 2).unwrap()).await
}

async fn refusal(text: &str) -> ConnectError {
    match connect(text).await {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    }
}

/// Returns the `host:port` of the test server.
fn server_of(database: &TestDatabase) -> String {
    database.url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_first_host_leaves_time_for_the_second() {
    let database = TestDatabase::create().await.unwrap();
    // The operating system accepts connections, but the listener never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let (server, name) = (server_of(&database), &database.name);
    for hosts in [format!("{silent},{server}"), format!("{silent},{silent},{silent},{server}")] {
        // One attempt may take longer than the start waits, because each address has its own time limit.
        let store = connect(&format!("postgres://booking@{hosts}/{name}?connect_timeout=60")).await.unwrap();
        store.schema_state().await.unwrap();
    }
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_timeout_has_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let began = Instant::now();
    let error = refusal(&format!("postgres://booking@{silent}/d?connect_timeout=1")).await;
    assert!(error.may_pass() && error.to_string().contains("no answer within 1 s"), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_that_failed_is_named() {
    let error = refusal("postgres://u@127.0.0.1:1,[::1]:2/d").await.to_string();
    assert!(error.contains("127.0.0.1 port 1: ") && error.contains("::1 port 2: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_only_one_that_can_be_written_to_is_used() {
    let database = TestDatabase::create().await.unwrap();
    let (server, name) = (server_of(&database), &database.name);
    let several = connect(&format!("postgres://booking@{server},{server}/{name}")).await.unwrap();
    let any = connect(&format!("postgres://booking@{server},{server}/{name}?target_session_attrs=any")).await.unwrap();
    let single = connect(&database.url).await.unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    let error = several.schema_state().await.unwrap_err().to_string();
    assert!(error.contains("read-only"), "{error}");
    any.schema_state().await.unwrap();
    single.schema_state().await.unwrap();
    // A start requires a writable database, whatever the hosts are.
    let settings = PostgresSettings::parse(&database.url, 1).unwrap();
    let error = PostgresStore::connect_within(settings, Duration::ZERO).await.err().unwrap();
    assert!(error.may_pass() && error.to_string().contains("default_transaction_read_only"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused() {
    let server = TestDatabase::create_empty().await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = server.sibling(&format!("ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")).await.unwrap();
        let error = refusal(&database.url).await;
        assert!(!error.may_pass(), "{error}");
        let text = error.to_string();
        assert!(text.contains(encoding) && text.contains("must have UTF8") && text.contains(&database.name), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_database_ends_the_start_at_once() {
    let database = TestDatabase::create_empty().await.unwrap();
    // The test server requires no password; this PgBouncer does.
    let strict = PgBouncer::start(PoolMode::Session, &["auth_type = plain"]).unwrap();
    let url = strict.url(&database).unwrap().replacen('@', ":Pa55word@", 1);
    let missing = database.url.replace(&database.name, "no_such_database");
    for (url, advice) in [(url, "Check the user and the password"), (missing, "CREATE DATABASE")] {
        let settings = PostgresSettings::parse(&url, 1).unwrap();
        // If `connect_within` waited this long, the test runner would end the test.
        let connected = PostgresStore::connect_within(settings, Duration::from_secs(3_000)).await;
        let Err(error) = connected else { panic!("accepted: {url}") };
        let text = error.to_string();
        assert!(matches!(error, ConnectError::Refused(_)) && text.contains(advice), "{text}");
        assert!(!text.contains("Pa55word"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_a_database_that_is_not_ready_and_then_gives_up() {
    let database = TestDatabase::create_empty().await.unwrap();
    let settings = PostgresSettings::parse(&database.url, 1).unwrap();
    database
        .execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name))
        .await
        .unwrap();
    let error = PostgresStore::connect_within(settings.clone(), Duration::from_secs(2)).await.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, ConnectError::NotInTime { .. }), "{text}");
    assert!(text.contains("read-only") && text.contains("DB_START_TIMEOUT"), "{text}");
    let waiting = tokio::spawn(PostgresStore::connect_within(settings, Duration::from_secs(60)));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!waiting.is_finished());
    let other = TestDatabase::create_empty().await.unwrap();
    other.execute(&format!("ALTER DATABASE {} RESET default_transaction_read_only", database.name)).await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_on_every_connection_and_options_go_before_them() {
    let database = TestDatabase::create().await.unwrap();
    let sql =
        "SELECT name || '=' || setting AS line FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
        'idle_in_transaction_session_timeout', 'plan_cache_mode', 'enable_seqscan', 'application_name') ORDER BY name";
    let lines = |text: String| async move { connect(&text).await.unwrap().batch_store().lines(sql).await.unwrap() };
    let ours = [
        "application_name=movie-booking",
        "enable_seqscan=off",
        "idle_in_transaction_session_timeout=10000",
        "lock_timeout=1000",
        "plan_cache_mode=force_generic_plan",
        "statement_timeout=5000",
    ];
    assert_eq!(lines(database.url.clone()).await, ours);
    let options = "application_name=x&options=-c%20statement_timeout%3D7000%20--enable-seqscan%3Don";
    let own = lines(format!("{}?{options}", database.url)).await;
    assert_eq!(own[0], "application_name=x");
    assert_eq!(own[1], "enable_seqscan=on");
    assert_eq!(own[5], "statement_timeout=7000");
    let error = refusal(&format!("{}?options=-c%20no_such_setting%3D1", database.url)).await;
    assert!(!error.may_pass() && error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_that_is_required_and_not_offered_is_an_error() {
    let database = TestDatabase::create_empty().await.unwrap();
    let error = refusal(&format!("{}?channel_binding=require", database.url)).await;
    assert!(matches!(error, ConnectError::Refused(_)) && error.to_string().contains("channel binding"), "{error}");
}
