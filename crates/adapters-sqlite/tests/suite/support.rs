//! A store for one test, and direct access to its file.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use adapters_sqlite::SqliteStore;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

pub struct Database {
    pub store: SqliteStore,
    directory: tempfile::TempDir,
}

impl Database {
    /// Creates a store whose file does not exist yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&file_in(directory.path())).unwrap();
        Self { store, directory }
    }

    pub async fn migrated() -> Self {
        let database = Self::new();
        database.store.migrate().await.unwrap();
        database
    }

    pub fn file(&self) -> PathBuf {
        file_in(self.directory.path())
    }

    /// Opens a connection in addition to the store's own.
    pub fn connect(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(self.file().to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON").unwrap();
        connection
    }

    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap();
    }

    pub fn try_execute(&self, sql: &str) -> QueryResult<()> {
        self.connect().batch_execute(sql)
    }

    /// Returns the first column of the first row.
    pub fn count(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            value: i64,
        }
        // A common table expression gives the column a name that is independent of the query.
        let named = format!("WITH answer(value) AS ({sql}) SELECT value FROM answer LIMIT 1");
        diesel::sql_query(named).get_result::<Count>(&mut self.connect()).unwrap().value
    }

    /// Returns the texts in the first column.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            value: String,
        }
        let named = format!("WITH answer(value) AS ({sql}) SELECT value FROM answer");
        let rows = diesel::sql_query(named).load::<Row>(&mut self.connect()).unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    /// Replaces the file by one that is not a database.
    pub fn replace_by_garbage(&self) {
        let file = self.file();
        std::fs::rename(&file, self.directory.path().join("moved.db")).unwrap();
        for ending in ["-wal", "-shm"] {
            let mut name = file.clone().into_os_string();
            name.push(ending);
            let _ = std::fs::remove_file(name);
        }
        std::fs::write(&file, b"this is no database. ".repeat(400)).unwrap();
    }
}

fn file_in(directory: &Path) -> PathBuf {
    directory.join("cinema.db")
}

pub fn micros_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    i64::try_from(now).unwrap() + seconds * 1_000_000
}
