//! The store that the settings name, behind the domain's ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adapters_postgres::{ConnectError, MigrateError, PostgresStore};
use adapters_sqlite::{ClockError, OpenError, SchemaError, ServeLock, ServeLockError, SqliteStore};
use domain::StoreError;
use domain::booking::BatchStore;
use domain::stores::Stores;
use thiserror::Error;

use crate::settings::secrets::{DEMO_ACCOUNTS_FILE, JWT_SECRET_FILE};
use crate::settings::{Config, StoreConfig};

/// How many committers write to PostgreSQL, each on a connection of its own. Two use two cores of the database; a third
/// only waits. SQLite has one writer.
const POSTGRES_COMMITTERS: usize = 2;
/// The file of the embedded store.
pub const DATABASE_FILE: &str = "movie-booking.db";
/// The file that says that there is an embedded store, so that one that is gone is not replaced by an empty one unnoticed.
const MADE_FILE: &str = "database-made";
/// The log of changes of the embedded store, which SQLite keeps next to it.
const WAL_FILE: &str = "movie-booking.db-wal";

/// The reason why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreStartError {
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    InUse(#[from] ServeLockError),
    #[error(
        "the store is PostgreSQL, which is backed up by its own tools: `pg_dump --format=custom --file=FILE DATABASE_URL`"
    )]
    NotEmbedded,
    #[error("the store is PostgreSQL, which has the clock of its own machine: correct that one")]
    NotEmbeddedClock,
    #[error("there is no store in {}: set DATA_DIR to where it is", path.display())]
    Missing { path: PathBuf },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}")]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(
        "the database's schema is older than this program: run `movie-booking migrate`, or start with `serve --migrate`"
    )]
    Older,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(
        "the database {} is missing or empty, but {trace} next to it shows that there was one. Restore it: put a copy \
         (`movie-booking backup` makes them) there. To begin with a new store instead, set DATA_DIR to an empty directory, or remove {trace}",
        database.display()
    )]
    Vanished { database: PathBuf, trace: &'static str },
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To serve. On the embedded store: as the only server, after migrating the schema.
    Serve,
    /// To serve, bringing PostgreSQL's schema up to date as well.
    ServeAndMigrate,
    /// To bring the schema up to date.
    Migrate,
    /// To do something while a server may run.
    Administer,
}

/// A store that is open.
pub struct OpenStore {
    /// The domain's ports on it.
    pub ports: Stores,
    /// The directory of the embedded store.
    pub data_dir: Option<PathBuf>,
    /// How many migrations have run.
    pub migrated: usize,
    embedded: Option<Arc<SqliteStore>>,
    // Kept while the server serves.
    _lock: Option<ServeLock>,
}

impl OpenStore {
    /// Opens the store that the settings name.
    pub async fn open(config: &Config, purpose: Purpose) -> Result<Self, StoreStartError> {
        match &config.store {
            StoreConfig::Embedded { data_dir } => Self::open_embedded(data_dir, purpose).await,
            StoreConfig::Postgres(settings) => {
                let store =
                    PostgresStore::connect_within(settings.as_ref().clone(), config.values.db_start_timeout).await?;
                let migrated = match purpose {
                    Purpose::ServeAndMigrate | Purpose::Migrate => store.migrate().await?,
                    Purpose::Serve | Purpose::Administer => check_schema(&store).await?,
                };
                let batch_store = || -> Arc<dyn BatchStore> { Arc::new(store.batch_store()) };
                let batches = (0..POSTGRES_COMMITTERS).map(|_| batch_store()).collect();
                let ports = Stores::of(Arc::new(store), batches);
                Ok(Self { ports, data_dir: None, migrated, embedded: None, _lock: None })
            }
        }
    }

    /// Asks PostgreSQL once whether it can be served from, for `check-config`: what is found, or `None` for the embedded store. A
    /// database that is not there at the moment is no mistake in the settings.
    pub async fn probe(config: &Config) -> Result<Option<String>, StoreStartError> {
        let StoreConfig::Postgres(settings) = &config.store else { return Ok(None) };
        let store = match PostgresStore::connect_within(settings.as_ref().clone(), Duration::ZERO).await {
            Ok(store) => store,
            Err(error) if error.may_pass() => return Ok(Some(format!("The database was not checked: {error}"))),
            Err(error) => return Err(error.into()),
        };
        let found = match store.schema_state().await? {
            adapters_postgres::SchemaState::Current => "The database can be used, and its schema is up to date",
            adapters_postgres::SchemaState::Older => {
                "The database can be used once its schema is up to date: run `movie-booking migrate`"
            }
            adapters_postgres::SchemaState::Newer => return Err(MigrateError::Newer.into()),
        };
        Ok(Some(found.to_owned()))
    }

    /// Closes the embedded store's file, even if something still refers to the store, and releases the directory. Blocks until
    /// that is done.
    pub fn close(self) {
        if let Some(store) = &self.embedded {
            store.close();
        }
    }

    /// Returns the embedded store, which no server has meanwhile, whatever the clock says.
    pub async fn with_any_clock(config: &Config) -> Result<(Arc<SqliteStore>, ServeLock), StoreStartError> {
        let StoreConfig::Embedded { data_dir } = &config.store else { return Err(StoreStartError::NotEmbeddedClock) };
        let file = data_dir.join(DATABASE_FILE);
        if !file.is_file() {
            return Err(StoreStartError::Missing { path: data_dir.clone() });
        }
        let lock = ServeLock::acquire(data_dir)?;
        let store = Arc::new(SqliteStore::open(&file)?);
        store.check_schema().await?;
        Ok((store, lock))
    }

    /// Returns the embedded store as it is, to be copied, and its directory: nothing is made, migrated or locked.
    pub async fn to_be_copied(config: &Config) -> Result<(SqliteStore, &Path), StoreStartError> {
        let StoreConfig::Embedded { data_dir } = &config.store else { return Err(StoreStartError::NotEmbedded) };
        let file = data_dir.join(DATABASE_FILE);
        if !file.is_file() {
            return Err(StoreStartError::Missing { path: data_dir.clone() });
        }
        let store = SqliteStore::open(&file)?;
        match store.schema_state().await? {
            // An older one too: this is what is done before it is migrated.
            adapters_sqlite::SchemaState::Current | adapters_sqlite::SchemaState::Older => Ok((store, data_dir)),
            adapters_sqlite::SchemaState::Newer => Err(SchemaError::Newer.into()),
        }
    }

    async fn open_embedded(data_dir: &Path, purpose: Purpose) -> Result<Self, StoreStartError> {
        let unusable = |source| StoreStartError::Directory { path: data_dir.to_owned(), source };
        make_private_directory(data_dir).map_err(unusable)?;
        let serves = matches!(purpose, Purpose::Serve | Purpose::ServeAndMigrate);
        let lock = serves.then(|| ServeLock::acquire(data_dir)).transpose()?;
        refuse_vanished(data_dir).map_err(unusable)?.map_or(Ok(()), Err)?;
        let store = Arc::new(SqliteStore::open(&data_dir.join(DATABASE_FILE))?);
        // One file and one program: there is no other version that a migration could be in the way of.
        let migrated = store.migrate().await?;
        if serves {
            store.check_clock().await?;
        }
        remember_made(data_dir).map_err(unusable)?;
        let ports = Stores::of(Arc::clone(&store), vec![store.clone()]);
        Ok(Self { ports, data_dir: Some(data_dir.to_owned()), migrated, embedded: Some(store), _lock: lock })
    }
}

/// Finds out whether the directory had a database that is gone: one of the files is there that are made after it.
fn refuse_vanished(data_dir: &Path) -> std::io::Result<Option<StoreStartError>> {
    let database = data_dir.join(DATABASE_FILE);
    let is_there = match std::fs::metadata(&database) {
        Ok(found) => found.len() > 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if is_there {
        return Ok(None);
    }
    for trace in [MADE_FILE, WAL_FILE, JWT_SECRET_FILE, DEMO_ACCOUNTS_FILE] {
        if data_dir.join(trace).try_exists()? {
            return Ok(Some(StoreStartError::Vanished { database, trace }));
        }
    }
    Ok(None)
}

fn remember_made(data_dir: &Path) -> std::io::Result<()> {
    let path = data_dir.join(MADE_FILE);
    if path.try_exists()? {
        return Ok(());
    }
    std::fs::write(
        path,
        format!("{DATABASE_FILE} was made. While this file is here, a missing one is reported and not replaced.\n"),
    )
}

async fn check_schema(store: &PostgresStore) -> Result<usize, StoreStartError> {
    match store.schema_state().await? {
        adapters_postgres::SchemaState::Current => Ok(0),
        adapters_postgres::SchemaState::Older => Err(StoreStartError::Older),
        adapters_postgres::SchemaState::Newer => Err(MigrateError::Newer.into()),
    }
}

/// Returns a directory that only its owner reads: it holds accounts and secrets.
fn make_private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
