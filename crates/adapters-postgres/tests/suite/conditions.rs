//! Database states other than up and down, on real servers: the errors that callers get, and the connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use adapters_postgres::{ConnectError, PostgresBatchStore, PostgresSettings, PostgresStore};
use domain::StoreError;
use domain::booking::{BatchStore, WriteError, WriteSet};
use domain::identity::UserStore as _;
use domain::ids::UserId;
use domain::retention::RetentionRule;
use port_contracts::Fixture as _;
use port_contracts::tools::{RULES, UniqueRandom, book, decided, tally};
use port_contracts::world::{World, customer};

use crate::contracts::{PostgresFixture, fixture_on, make_fixture};
use crate::server::Server;

async fn connect(url: &str) -> Result<PostgresStore, ConnectError> {
    PostgresStore::connect(PostgresSettings::parse(url, 2).unwrap()).await
}

/// Returns a batch that books a seat, decided on the committed state.
async fn one_booking(fixture: &PostgresFixture) -> WriteSet {
    let world = World::build(fixture).await;
    let caller = customer(fixture).await;
    let commands = [book(caller, world.soon, &[world.main[0].id], "k")];
    decided(&fixture.stores, &RULES, &UniqueRandom::new(), &commands).await.changes
}

fn batch_store(fixture: &PostgresFixture) -> Arc<dyn BatchStore> {
    fixture.stores.batches[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_reports_in_german_is_refused_with_the_command_that_helps() {
    let server = Server::start_in_german();
    let database = server.database();
    let Err(error) = connect(&database.url).await else { panic!("accepted") };
    let text = error.to_string();
    assert!(matches!(error, ConnectError::MessageLanguage { .. }), "{text}");
    let command = r#"ALTER DATABASE "postgres" SET lc_messages = 'C'"#;
    assert!(text.contains("de_DE.UTF-8") && text.contains(command), "{text}");
    // A plain session, without the check of the language, runs the command that the message suggests.
    let (client, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(command).await.unwrap();
    connect(&database.url).await.unwrap();
}

/// A statement that is invalid on this schema fails in every call and at every retry, so it is not a conflict.
#[tokio::test(flavor = "multi_thread")]
async fn sql_mistakes_are_internal_errors_and_name_the_sqlstate() {
    for (mistake, code) in [
        ("ALTER TABLE outbox RENAME COLUMN kind TO sort", "42703"),
        ("ALTER TABLE outbox RENAME TO mail", "42P01"),
        ("ALTER TABLE outbox ADD CONSTRAINT never CHECK (id < 0)", "23514"),
        ("CREATE UNIQUE INDEX no_two_bookings_of_a_status ON bookings (status)", "23505"),
    ] {
        let fixture = make_fixture().await;
        let changes = one_booking(&fixture).await;
        if code == "23505" {
            let booking = "INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at)
                SELECT 9000, 'AAAAAAAAAA', u.id, s.id, 'confirmed', 'EUR', now() FROM users u, shows s LIMIT 1";
            fixture.execute(booking).await;
        }
        let store = batch_store(&fixture);
        fixture.execute(mistake).await;
        let before = fixture.count("SELECT count(*) FROM bookings").await;
        let written = store.write(&changes).await;
        let Err(WriteError::Store(StoreError::Internal(cause))) = &written else { panic!("{mistake}: {written:?}") };
        assert!(cause.to_string().contains(&format!("SQLSTATE {code}")), "{mistake}: {cause}");
        assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_an_internal_error() {
    let fixture = make_fixture().await;
    let changes = one_booking(&fixture).await;
    let role = fixture.database.name.replace("test", "role");
    fixture
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await;
    let (_, rest) = fixture.database.url.split_once('@').unwrap();
    let store = connect(&format!("postgres://{role}@{rest}")).await.unwrap().batch_store();
    let written = store.write(&changes).await;
    let Err(WriteError::Store(StoreError::Internal(cause))) = &written else { panic!("{written:?}") };
    assert!(cause.to_string().contains("SQLSTATE 42501"), "{cause}");
}

/// A deferred check fails at COMMIT. Nothing is written, and the outcome is certain.
#[tokio::test(flavor = "multi_thread")]
async fn conflict_reported_by_commit_is_stale_and_not_unknown() {
    for code in ["40001", "40P01", "23505", "23503"] {
        let fixture = make_fixture().await;
        let changes = one_booking(&fixture).await;
        fixture
            .execute(&format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'late' USING ERRCODE = '{code}', CONSTRAINT = 'seat_claims_pkey'; END $$;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON seat_claims DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION refuse()"
            ))
            .await;
        let store = batch_store(&fixture);
        let written = store.write(&changes).await;
        assert!(matches!(written, Err(WriteError::Stale(_))), "{code}: {written:?}");
        assert_eq!(tally(&fixture).await.bookings, 0);
        fixture.execute("DROP TRIGGER late ON seat_claims").await;
        store.write(&changes).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constraints_by_which_errors_are_classified_exist() {
    let fixture = make_fixture().await;
    for name in PostgresBatchStore::EXPECTED_CONSTRAINTS.into_iter().flatten() {
        let found = fixture.count(&format!("SELECT count(*) FROM pg_constraint WHERE conname = '{name}'")).await;
        assert_eq!(found, 1, "{name}");
    }
}

/// Terminates every connection to a database except the caller's.
async fn end_sessions(server: &tokio_postgres::Client) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()";
    server.execute(end, &[]).await.unwrap();
}

async fn client_of(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn is_unavailable<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

/// Checks the pool, a committer and readiness while the database cannot write.
async fn must_be_unavailable(fixture: &PostgresFixture, changes: &WriteSet) {
    // Reads first, because the outcome of a write on a lost connection is unknown.
    let ids = batch_store(fixture).reserve_booking_ids().await;
    assert!(is_unavailable(&ids), "{ids:?}");
    let written = batch_store(fixture).write(changes).await;
    assert!(matches!(written, Err(WriteError::Store(StoreError::Unavailable(_)))), "{written:?}");
    let checked = fixture.stores.dependency.check().await;
    assert!(is_unavailable(&checked), "{checked:?}");
    let swept = fixture.stores.retention.sweep(RetentionRule::RefreshTokens, Duration::from_secs(1), 1).await;
    assert!(is_unavailable(&swept), "{swept:?}");
    let swept = fixture.stores.retention.sweep(RetentionRule::Events, Duration::from_secs(1), 1).await;
    assert!(is_unavailable(&swept), "{swept:?}");
}

/// Simulates a switchover: connections that were opened while the database was read-only stay read-only, and must not be reused.
#[tokio::test(flavor = "multi_thread")]
async fn database_that_was_read_only_for_a_moment_is_used_again_at_once() {
    let fixture = make_fixture().await;
    let changes = one_booking(&fixture).await;
    let client = client_of(&fixture.database.url).await;
    let set = format!("ALTER DATABASE {} SET default_transaction_read_only = on", fixture.database.name);
    client.batch_execute(&set).await.unwrap();
    end_sessions(&client).await;
    must_be_unavailable(&fixture, &changes).await;
    // Reads continue, and fill the pool with read-only sessions.
    let reads = (0..8).map(|_| fixture.stores.users.by_id(UserId(1)));
    futures::future::try_join_all(reads).await.unwrap();
    must_be_unavailable(&fixture, &changes).await;
    let reads = (0..8).map(|_| fixture.stores.users.by_id(UserId(1)));
    futures::future::try_join_all(reads).await.unwrap();
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    let reset = format!("ALTER DATABASE {} RESET default_transaction_read_only", fixture.database.name);
    client.batch_execute(&reset).await.unwrap();
    // The very next call of each store succeeds: no stale connection is handed out first.
    batch_store(&fixture).reserve_booking_ids().await.unwrap();
    batch_store(&fixture).write(&changes).await.unwrap();
    fixture.stores.retention.sweep(RetentionRule::RefreshTokens, Duration::from_secs(1), 1).await.unwrap();
    fixture.stores.retention.sweep(RetentionRule::Events, Duration::from_secs(1), 1).await.unwrap();
    assert_eq!(fixture.stores.dependency.check().await.unwrap(), []);
}

/// The server lacks a resource or cancels a statement. An operator or time may fix this; an immediate retry of the statement does not.
#[tokio::test(flavor = "multi_thread")]
async fn exhausted_server_is_unavailable_and_the_connection_is_kept() {
    for code in ["53100", "53200", "57014", "58030"] {
        let fixture = make_fixture().await;
        let changes = one_booking(&fixture).await;
        let store = fixture.store.batch_store();
        store.reserve_booking_ids().await.unwrap();
        let backend = store.lines("SELECT pg_backend_pid()::text").await.unwrap();
        fixture
            .execute(&format!(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'the text does not matter' USING ERRCODE = '{code}'; END $$;
                CREATE TRIGGER fail BEFORE INSERT ON seat_claims FOR EACH ROW EXECUTE FUNCTION fail()"
            ))
            .await;
        let written = store.write(&changes).await;
        let Err(WriteError::Store(StoreError::Unavailable(cause))) = &written else { panic!("{code}: {written:?}") };
        assert!(cause.to_string().contains(code), "{cause}");
        assert_eq!(tally(&fixture).await.bookings, 0);
        fixture.execute("DROP TRIGGER fail ON seat_claims").await;
        store.write(&changes).await.unwrap();
        assert_eq!(store.lines("SELECT pg_backend_pid()::text").await.unwrap(), backend, "{code}: kept");
    }
}

/// The pool recognises a full disk and a lack of memory only by the error text, wherever it occurs in the message.
#[tokio::test(flavor = "multi_thread")]
async fn exhausted_server_is_unavailable_for_the_pool_too() {
    for message in [
        "could not extend file \"base/1/2\": No space left on device",
        "out of shared memory",
        "deadlock detected",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        "sorry, too many clients already",
    ] {
        let fixture = make_fixture().await;
        fixture
            .execute(&format!(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = '53000'; END $$;
                CREATE TRIGGER fail BEFORE DELETE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION fail()"
            ))
            .await;
        let swept = fixture.stores.retention.sweep(RetentionRule::Events, Duration::from_secs(1), 1).await;
        assert!(is_unavailable(&swept), "{message}: {swept:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_ended_are_replaced_unnoticed() {
    let fixture = make_fixture().await;
    let changes = one_booking(&fixture).await;
    let reads = (0..8).map(|_| fixture.stores.users.by_id(UserId(1)));
    futures::future::try_join_all(reads).await.unwrap();
    batch_store(&fixture).reserve_booking_ids().await.unwrap();
    end_sessions(&client_of(&fixture.database.url).await).await;
    batch_store(&fixture).reserve_booking_ids().await.unwrap();
    batch_store(&fixture).write(&changes).await.unwrap();
    fixture.stores.users.by_id(UserId(1)).await.unwrap();
    end_sessions(&client_of(&fixture.database.url).await).await;
    fixture.stores.retention.sweep(RetentionRule::RefreshTokens, Duration::from_secs(1), 1).await.unwrap();
    assert_eq!(fixture.stores.dependency.check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_free_connections_is_unavailable_until_one_is_free() {
    let fixture = make_fixture().await;
    let role = fixture.database.name.replace("test", "few");
    fixture
        .execute(&format!(
            "CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
            GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await;
    let (_, rest) = fixture.database.url.split_once('@').unwrap();
    let store = connect(&format!("postgres://{role}@{rest}")).await.unwrap();
    // The server is closing the connection of the check at the start, or has closed it.
    let mut found = store.by_id(UserId(1)).await;
    while is_unavailable(&found) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = store.by_id(UserId(1)).await;
    }
    found.unwrap();
    let ids = store.batch_store().reserve_booking_ids().await;
    let Err(StoreError::Unavailable(cause)) = &ids else { panic!("{ids:?}") };
    assert!(cause.to_string().contains("too many connections"), "{cause}");
    fixture.execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 2")).await;
    store.batch_store().reserve_booking_ids().await.unwrap();
}

/// A standby that refuses every connection is treated like a starting server. A standby that answers reads cannot write.
#[tokio::test(flavor = "multi_thread")]
async fn standby_and_starting_server_are_unavailable_and_a_promoted_one_is_used() {
    let primary = Server::start(&[]);
    connect(&primary.database().url).await.unwrap().migrate().await.unwrap();
    let on_primary = fixture_on(primary.database()).await;
    let changes = one_booking(&on_primary).await;
    let standby = primary.standby("standby");
    wait_until_replayed(&primary, &standby).await;
    let fixture = fixture_on(standby.database()).await;
    fixture.stores.users.by_id(UserId(1)).await.unwrap();
    must_be_unavailable(&fixture, &changes).await;
    drop(primary);
    standby.promote();
    batch_store(&fixture).write(&changes).await.unwrap();
    assert_eq!(fixture.stores.dependency.check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_server_is_used_again() {
    let mut server = Server::start(&[]);
    connect(&server.database().url).await.unwrap().migrate().await.unwrap();
    let fixture = fixture_on(server.database()).await;
    let changes = one_booking(&fixture).await;
    server.kill();
    must_be_unavailable(&fixture, &changes).await;
    server.restart();
    batch_store(&fixture).write(&changes).await.unwrap();
    assert_eq!(fixture.stores.dependency.check().await.unwrap(), []);
    server.restart();
    batch_store(&fixture).reserve_booking_ids().await.unwrap();
    fixture.stores.users.by_id(UserId(1)).await.unwrap();
}

/// Waits until the standby has replayed everything that the primary has committed.
pub async fn wait_until_replayed(primary: &Server, standby: &Server) {
    let (primary, standby) = (client_of(&primary.database().url).await, client_of(&standby.database().url).await);
    let at: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn");
    while !standby.query_one(&reached, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
