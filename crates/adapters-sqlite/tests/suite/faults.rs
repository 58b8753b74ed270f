//! The store's behaviour during and after failures of its file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use adapters_sqlite::{Redated, SqliteStore};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use domain::StoreError;
use domain::booking::{BatchStore, ReadSet, StoredKey, WriteError, WriteSet};
use domain::booking::{Fingerprint, IdempotencyKey, KeyName, Scope, Subject};
use domain::clock::Clock;
use domain::health::{Degradation, Dependency as _};
use domain::identity::UserStore as _;
use domain::ids::{BookingId, UserId};
use domain::random::OperationId;
use domain::seed::{SeedPlan, Seeder as _};

use crate::support::{Database, micros_from_now};

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn a_file_that_is_gone_is_unavailable_and_back_when_it_is_back() {
    let database = Database::migrated().await;
    database.store.check().await.unwrap();
    let (file, away) = (database.file(), database.file().with_extension("away"));
    std::fs::rename(&file, &away).unwrap();
    assert!(is_unavailable(&database.store.check().await));
    assert!(is_unavailable(&database.store.read(&ReadSet::default()).await));
    assert!(is_unavailable(&database.store.seed(&SeedPlan::default()).await));
    assert!(!file.exists(), "no empty store is made in its place");
    std::fs::rename(&away, &file).unwrap();
    database.store.check().await.unwrap();
    database.store.reserve_booking_ids().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_is_gone_is_unavailable() {
    let database = Database::new();
    assert!(is_unavailable(&database.store.check().await));
    std::fs::remove_dir_all(database.file().parent().unwrap()).unwrap();
    assert!(database.store.migrate().await.is_err());
    assert!(is_unavailable(&database.store.schema_state().await));
}

#[tokio::test]
async fn garbage_is_unavailable() {
    let database = Database::migrated().await;
    database.replace_by_garbage();
    assert!(is_unavailable(&database.store.check().await));
    assert!(is_unavailable(&database.store.is_empty().await));
    assert!(is_unavailable(&database.store.reserve_booking_ids().await));
}

fn one_key(body_bytes: usize) -> WriteSet {
    let name = KeyName {
        user_id: UserId(1),
        scope: Scope("POST /api/bookings".into()),
        key: IdempotencyKey::parse("k").unwrap(),
    };
    let key = StoredKey {
        fingerprint: Fingerprint([1; 32]),
        operation_id: OperationId([1; 16]),
        subject: Subject::Booking(BookingId(1)),
        body: Some(Arc::from(vec![0; body_bytes])),
    };
    WriteSet { keys: vec![(name, key)], ..WriteSet::default() }
}

#[tokio::test]
async fn another_writer_delays_a_batch_and_does_not_block_it() {
    let database = Database::migrated().await;
    let mut beside = database.connect();
    beside.batch_execute("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let writes = (0..3).map(|_| async {
        let changes = one_key(6);
        BatchStore::write(&database.store, &changes).await
    });
    let outcomes = futures::future::join_all(writes).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    for outcome in outcomes {
        let told = matches!(outcome, Err(WriteError::Stale(_) | WriteError::Store(StoreError::Unavailable(_))));
        assert!(told, "{outcome:?}");
    }
    // Readers do not wait for the writer.
    database.store.check().await.unwrap();
    beside.batch_execute("ROLLBACK").unwrap();
    BatchStore::write(&database.store, &one_key(6)).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_passes() {
    let database = Database::migrated().await;
    // SQLite reports the same error for a file that may not grow as for a full disk.
    let outcome = {
        let changes = one_key(4_000_000);
        database.store.limit_pages(100).await.unwrap();
        BatchStore::write(&database.store, &changes).await
    };
    assert!(matches!(outcome, Err(WriteError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    assert_eq!(database.count("SELECT count(*) FROM idempotency_keys"), 0);
    BatchStore::write(&database.store, &one_key(6)).await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM idempotency_keys"), 1);
}

#[tokio::test]
async fn a_commit_over_a_failed_statement_leaves_the_writer_usable() {
    let database = Database::migrated().await;
    BatchStore::write(&database.store, &one_key(6)).await.unwrap();
    for _ in 0..3 {
        let again = BatchStore::write(&database.store, &one_key(6)).await;
        assert!(matches!(again, Err(WriteError::Stale(_))), "{again:?}");
    }
    database.store.reserve_booking_ids().await.unwrap();
}

/// The system's clock, moved ahead by a number of minutes.
struct Shifted(AtomicI64);

impl Clock for Shifted {
    fn now(&self) -> DateTime<Utc> {
        let now: DateTime<Utc> = std::time::SystemTime::now().into();
        now + TimeDelta::minutes(self.0.load(Ordering::Relaxed))
    }
}

const YEAR: i64 = 365 * 24 * 60;

async fn now(store: &SqliteStore) -> i64 {
    BatchStore::read(store, &ReadSet::default()).await.unwrap().now.timestamp_micros()
}

#[tokio::test]
async fn the_clock_goes_on_from_what_is_stored() {
    let database = Database::migrated().await;
    let ahead = micros_from_now(240);
    database
        .execute(&format!("INSERT INTO outbox (kind, show_id, created_at) VALUES ('booking_confirmed', 1, {ahead})"));
    let reopened = SqliteStore::open(&database.file()).unwrap();
    assert!(now(&reopened).await >= ahead);
    assert_eq!(reopened.check_clock().await, Ok(()));
    assert_eq!(clock_degradation(&reopened).await, None);
}

async fn clock_degradation(store: &SqliteStore) -> Option<Degradation> {
    store.check().await.unwrap().into_iter().find(|degradation| degradation.name == "clock")
}

#[tokio::test]
async fn instants_more_than_five_minutes_ahead_are_refused_until_they_are_accepted() {
    let database = Database::new();
    // Written while the clock was a year ahead.
    let ahead = SqliteStore::open_with_clock(&database.file(), Arc::new(Shifted(YEAR.into()))).unwrap();
    ahead.migrate().await.unwrap();
    let plan = SeedPlan { movies: vec![port_contracts::world::movie("Solaris", "", &[], "ru")], ..SeedPlan::default() };
    ahead.seed(&plan).await.unwrap();
    let email = port_contracts::world::new_user("ana@example.org");
    let user = ahead.create(&email, Some(&port_contracts::world::token(1))).await.unwrap().user;
    let (user, wrong) = (user.id, now(&ahead).await);
    let hold = format!(
        "INSERT INTO holds VALUES ('1-00000000000000000000000001', {user}, 1, {wrong}, {})",
        wrong + 600_000_000
    );
    database.connect().batch_execute(&format!("PRAGMA foreign_keys = OFF; {hold}")).unwrap();
    ahead.close();

    let store = SqliteStore::open(&database.file()).unwrap();
    let error = store.check_clock().await.unwrap_err();
    assert!((error.stored - error.system).num_days() >= 364, "{error}");
    assert!(error.to_string().contains("accept-clock"), "{error}");
    assert!(now(&store).await < micros_from_now(60), "the time is not the wrong one");
    assert_eq!(clock_degradation(&store).await.map(|degradation| degradation.state), Some("behind"));

    let later = store.dated_later().await.unwrap();
    assert!(
        ["users", "sessions", "refresh_tokens", "movies", "holds"].iter().all(|table| later.rows.contains_key(*table)),
        "{later:?}"
    );
    assert_eq!(store.date_now().await.unwrap(), later);
    assert_eq!(store.dated_later().await.unwrap(), Redated::default());
    let soon = micros_from_now(660);
    assert_eq!(database.count(&format!("SELECT count(*) FROM holds WHERE expires_at < {soon}")), 1, "it ends in time");
    let day = micros_from_now(24 * 3600);
    assert_eq!(database.count(&format!("SELECT count(*) FROM refresh_tokens WHERE expires_at > {day}")), 0);
    let reopened = SqliteStore::open(&database.file()).unwrap();
    assert_eq!(reopened.check_clock().await, Ok(()));
    assert_eq!(clock_degradation(&reopened).await, None);
}

#[tokio::test]
async fn a_clock_that_is_set_back_while_it_is_served_freezes_nothing_and_is_told() {
    let database = Database::new();
    let system = Arc::new(Shifted(0.into()));
    let store = SqliteStore::open_with_clock(&database.file(), system.clone()).unwrap();
    store.migrate().await.unwrap();
    let before = now(&store).await;
    system.0.store(-3, Ordering::Relaxed);
    assert!(now(&store).await >= before, "never back");
    assert_eq!(clock_degradation(&store).await, None, "small steps are absorbed");
    system.0.store(-60, Ordering::Relaxed);
    let degradation = clock_degradation(&store).await.unwrap();
    assert!(
        degradation.message.contains("59 minutes later") || degradation.message.contains("60 minutes later"),
        "{degradation:?}"
    );
    let began = Instant::now();
    let first = now(&store).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let passed = now(&store).await - first;
    assert!(passed >= 1_300_000, "it advances: {passed} of {:?}", began.elapsed());
    system.0.store(0, Ordering::Relaxed);
    assert_eq!(clock_degradation(&store).await, None);
}

#[tokio::test]
async fn a_disk_that_fails_a_write_is_unavailable_until_it_takes_writes() {
    let database = Database::migrated().await;
    let store = &database.store;
    store.check().await.unwrap();
    // A directory with the name of the trial file makes the trial write fail.
    let probe = database.file().with_extension("db-probe");
    std::fs::create_dir(&probe).unwrap();
    store.check().await.expect("nothing is tried while writes succeed");
    let big = one_key(4_000_000);
    store.limit_pages(100).await.unwrap();
    assert!(BatchStore::write(store, &big).await.is_err());
    for _ in 0..3 {
        let checked = store.check().await;
        let Err(error @ StoreError::Unavailable(_)) = checked else { panic!("{checked:?}") };
        let told = domain::error::with_sources(&error);
        assert!(told.contains("the disk of the database cannot be written: "), "{told}");
    }
    store.is_empty().await.expect("reads succeed");
    std::fs::remove_dir(&probe).unwrap();
    store.check().await.unwrap();
    assert!(!probe.exists(), "a trial leaves nothing");
    BatchStore::write(store, &one_key(6)).await.unwrap();
    std::fs::create_dir(&probe).unwrap();
    store.check().await.expect("nothing is tried any more");
}
