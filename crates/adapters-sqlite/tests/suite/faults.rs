//! What the store does when its file fails, and afterwards.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use domain::StoreError;
use domain::booking::{BatchStore, Changes, Named, NewKey, WriteError};
use domain::booking::{Fingerprint, IdempotencyKey, KeyName, Made, Scope};
use domain::health::Dependency as _;
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
    assert!(is_unavailable(&database.store.read(&Named::default()).await));
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

fn one_key() -> Changes {
    let name = KeyName {
        user_id: UserId(1),
        scope: Scope("POST /api/bookings".into()),
        key: IdempotencyKey::parse("k").unwrap(),
    };
    let key = NewKey {
        name,
        fingerprint: Fingerprint([1; 32]),
        operation_id: OperationId([1; 16]),
        made: Made::Booking(BookingId(1)),
        answer: b"answer"[..].into(),
    };
    Changes { keys: vec![key], ..Changes::default() }
}

#[tokio::test]
async fn a_writer_beside_delays_a_batch_for_less_than_five_seconds() {
    let database = Database::migrated().await;
    let mut beside = database.connect();
    beside.batch_execute("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let writes = (0..3).map(|_| async {
        let changes = one_key();
        BatchStore::write(&database.store, &changes).await
    });
    let outcomes = futures::future::join_all(writes).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for outcome in outcomes {
        let told = matches!(outcome, Err(WriteError::Stale(_) | WriteError::Store(StoreError::Unavailable(_))));
        assert!(told, "{outcome:?}");
    }
    // Readers wait for nobody.
    database.store.check().await.unwrap();
    beside.batch_execute("ROLLBACK").unwrap();
    BatchStore::write(&database.store, &one_key()).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_passes() {
    let database = Database::migrated().await;
    // What SQLite says when the file may not grow is what it says when the disk is full.
    let outcome = {
        let changes = Changes {
            keys: one_key().keys.into_iter().map(|key| NewKey { answer: vec![0; 4_000_000].into(), ..key }).collect(),
            ..Changes::default()
        };
        database.store.limit_pages(100).await.unwrap();
        BatchStore::write(&database.store, &changes).await
    };
    assert!(matches!(outcome, Err(WriteError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    assert_eq!(database.count("SELECT count(*) FROM idempotency_keys"), 0);
    BatchStore::write(&database.store, &one_key()).await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM idempotency_keys"), 1);
}

#[tokio::test]
async fn a_commit_over_a_failed_statement_leaves_the_writer_usable() {
    let database = Database::migrated().await;
    BatchStore::write(&database.store, &one_key()).await.unwrap();
    for _ in 0..3 {
        let again = BatchStore::write(&database.store, &one_key()).await;
        assert!(matches!(again, Err(WriteError::Stale(_))), "{again:?}");
    }
    database.store.reserve_booking_ids().await.unwrap();
}

#[tokio::test]
async fn the_clock_goes_on_from_what_is_stored() {
    let database = Database::migrated().await;
    let ahead = micros_from_now(3_600);
    database
        .execute(&format!("INSERT INTO outbox (kind, show_id, created_at) VALUES ('booking_confirmed', 1, {ahead})"));
    let reopened = adapters_sqlite::SqliteStore::open(&database.file()).unwrap();
    let state = BatchStore::read(&reopened, &Named::default()).await.unwrap();
    assert!(state.now.timestamp_micros() >= ahead);
}
