//! Which processes may use a store concurrently.

use adapters_sqlite::{BackupError, ServeLock, ServeLockError, SqliteStore};
use domain::StoreError;
use domain::seed::Seeder as _;

use crate::support::Database;

#[test]
fn one_server_at_a_time_uses_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let lock = ServeLock::acquire(directory.path()).unwrap();
    let error = ServeLock::acquire(directory.path()).unwrap_err();
    assert!(matches!(error, ServeLockError::InUse { .. }));
    assert!(error.to_string().starts_with("another server already uses the data directory"));
    drop(lock);
    ServeLock::acquire(directory.path()).unwrap();
    assert!(matches!(ServeLock::acquire(&directory.path().join("none")), Err(ServeLockError::Io { .. })));
}

#[tokio::test]
async fn a_backup_is_a_store_of_its_own() {
    let database = Database::migrated().await;
    database.execute("INSERT INTO theatres (name, location, timezone, created_at) VALUES ('T', '', 'UTC', 0)");
    let file = database.file().with_file_name("backup.db");
    database.store.backup(&file).unwrap();
    assert!(matches!(database.store.backup(&file), Err(BackupError::Exists { .. })));
    let copy = SqliteStore::open(&file).unwrap();
    copy.check_schema().await.unwrap();
    assert!(!copy.is_empty().await.unwrap());
}

/// A store can be closed while clones of it exist, such as those of a server's threads at shutdown.
#[tokio::test]
async fn a_store_that_is_closed_is_one_whole_file() {
    let database = Database::new();
    let another_hand = database.store.clone();
    database.store.migrate().await.unwrap();
    assert!(another_hand.is_empty().await.unwrap());
    let log = database.file().with_extension("db-wal");
    assert!(log.exists());
    database.store.close();
    assert!(!log.exists(), "what is written is in the file itself");
    assert!(matches!(another_hand.is_empty().await, Err(StoreError::Unavailable(_))));
    another_hand.close();
    SqliteStore::open(&database.file()).unwrap().check_schema().await.unwrap();
}
