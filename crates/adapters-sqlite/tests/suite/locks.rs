//! Who may be beside whom.

use adapters_sqlite::{BackupError, ServeLock, ServeLockError, SqliteStore};
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
