//! The store: one file, one thread that writes and several that read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use domain::StoreError;
use domain::clock::Clock;
use domain::health::PoolUse;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use thiserror::Error;

use crate::clock::{ClockError, StoreClock, SystemClock};
use crate::disk::Disk;
use crate::failure::Failure;
use crate::workers::{Source, Workers, WorkersLimits, in_snapshot, in_transaction};
use crate::written::newest_instant;

/// One writer, because SQLite has one write lock. A job in the queue waits at most `patience`, and a running job waits at most
/// [`WRITER_BUSY`] for another process. The sum is below the five seconds of a batch.
const WRITER: WorkersLimits = WorkersLimits { threads: 1, jobs_max: 1024, patience: Duration::from_millis(2_000) };
/// Readers wait only for each other, and their jobs are short. The sum of `patience` and [`READER_BUSY`] is below the two seconds of a
/// health check.
const READERS: WorkersLimits = WorkersLimits { threads: 4, jobs_max: 1024, patience: Duration::from_millis(900) };

/// The longest wait of a writer's statement for another process.
const WRITER_BUSY: Duration = Duration::from_millis(2_500);
/// The longest wait of a reader's statement, which only occurs while another process recovers the log.
const READER_BUSY: Duration = Duration::from_millis(900);

/// The number of attempts to switch to write-ahead logging, because SQLite does not wait for other processes there.
const OPEN_TRIES: u32 = 50;
/// The pause between those attempts.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// The reason why the store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The path is invalid.
    #[error("the path of the database is not valid: {0}")]
    Path(#[source] std::io::Error),
    /// The system cannot start the threads.
    #[error("the threads of the database cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// The reason why a backup failed.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file with this name exists already.
    #[error("{} is there already", file.display())]
    Exists { file: PathBuf },
    /// The file cannot be created or written.
    #[error("{} cannot be written: {source}", file.display())]
    File {
        file: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The copy failed for another reason than the disk of the file.
    #[error("the store cannot be copied to {}", file.display())]
    Store {
        file: PathBuf,
        /// The error of the store.
        source: StoreError,
    },
}

/// An incomplete file. Removed on drop.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Creates the file, readable only by its owner.
    fn create(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }

    /// Gives the file its final name. Fails if another file has that name.
    fn publish(self, file: &Path) -> std::io::Result<()> {
        // Unlike a rename, a second link never replaces another file.
        match std::fs::hard_link(&self.0, file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // The file system does not support links.
            Err(_) if file.try_exists()? => return Err(ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(&self.0, file)?,
        }
        #[cfg(unix)]
        if let Some(directory) = file.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename the file does not exist any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Every store port on one SQLite file. Clones share the store.
///
/// Connections are opened at first use, and reopened after the file or the disk failed. While the store cannot be reached, calls return
/// `Unavailable`; they succeed again once it can be reached.
#[derive(Clone)]
pub struct SqliteStore(Arc<Parts>);

struct Parts {
    path: PathBuf,
    clock: Arc<StoreClock>,
    disk: Arc<Disk>,
    // In the order in which `close` closes them.
    readers: Workers,
    writer: Workers,
}

impl SqliteStore {
    /// Opens the store in the file at `path`. Neither creates nor changes the file: [`SqliteStore::migrate`] does.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// Opens the store like [`SqliteStore::open`], with `system` as the system's clock.
    pub fn open_with_clock(path: &Path, system: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(OpenError::Path)?;
        let clock = Arc::new(StoreClock::new(system));
        let disk = Arc::new(Disk::of(&path));
        let source = |open: fn(&Path, &StoreClock) -> Result<SqliteConnection, Failure>| {
            let clock = Arc::clone(&clock);
            Source { path: path.clone(), open: Box::new(move |path| open(path, &clock)) }
        };
        let writer = Workers::start("sqlite-writer", WRITER, source(open_writer)).map_err(OpenError::Threads)?;
        let readers = Workers::start("sqlite-reader", READERS, source(open_reader)).map_err(OpenError::Threads)?;
        Ok(Self(Arc::new(Parts { path, clock, disk, readers, writer })))
    }

    /// Finishes waiting jobs, closes the file and checkpoints its log into it. All clones are closed too: their calls then return
    /// `Unavailable`.
    ///
    /// Blocks until that is done.
    pub fn close(&self) {
        // The readers are closed first: the last connection to be closed checkpoints the log, and only the writer may write.
        self.0.readers.close();
        self.0.writer.close();
    }

    /// Copies the store to `file`, which must not exist, in one consistent snapshot, and returns the size in bytes. Other jobs continue.
    /// The copy is readable only by its owner, and is on disk when this returns. Until then `file` does not exist; the copy has
    /// `.unfinished` in its name in the same directory.
    ///
    /// Blocks for as long as copying takes.
    pub fn backup(&self, file: &Path) -> Result<u64, BackupError> {
        // Checked early, before the copying. `publish` makes the decisive check.
        if file.try_exists().unwrap_or(false) {
            return Err(BackupError::Exists { file: file.to_owned() });
        }
        let failed = |source| BackupError::File { file: file.to_owned(), source };
        let absolute = std::path::absolute(file).map_err(failed)?;
        let mut name = absolute.clone().into_os_string();
        name.push(format!(".{}.unfinished", std::process::id()));
        let unfinished = Unfinished(PathBuf::from(name));
        let mut copy = unfinished.create().map_err(failed)?;
        if let Err(failure) = self.copy_to(&unfinished.0) {
            // SQLite does not pass on the error of the system. Filling the file to the length of the copy reproduces it.
            fill(&mut copy, self.0.disk.bytes()).map_err(failed)?;
            return Err(BackupError::Store { file: file.to_owned(), source: failure.into() });
        }
        copy.sync_all().map_err(failed)?;
        let bytes = copy.metadata().map_err(failed)?.len();
        unfinished.publish(&absolute).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => BackupError::Exists { file: file.to_owned() },
            _ => failed(source),
        })?;
        Ok(bytes)
    }

    /// Copies into an existing, empty file.
    fn copy_to(&self, file: &Path) -> Result<(), Failure> {
        let mut connection = connect(&self.0.path, READER_BUSY)?;
        // A URI, like the store's own name, so that a name need not be UTF-8.
        let target = format!("file:{}", percent_encoded(file));
        diesel::sql_query("VACUUM INTO ?").bind::<diesel::sql_types::Text, _>(target).execute(&mut connection)?;
        Ok(())
    }

    /// Fails if the store contains instants more than five minutes later than the system's clock.
    pub async fn check_clock(&self) -> Result<(), ClockError> {
        // Opens a connection if none is open yet, which reads the newest stored instant. A failing store is reported elsewhere.
        let _ = self.on_writer(|_| Ok(())).await;
        self.0.clock.check()
    }

    /// Limits the file to `pages` for the writer's connection until it is reopened. For tests: writes then fail as on a full disk.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        let limited = self.on_writer(move |connection| {
            connection.batch_execute(&format!("PRAGMA max_page_count = {pages}"))?;
            Ok(())
        });
        Ok(limited.await?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn clock(&self) -> Arc<StoreClock> {
        Arc::clone(&self.0.clock)
    }

    pub(crate) fn disk(&self) -> Arc<Disk> {
        Arc::clone(&self.0.disk)
    }

    pub(crate) fn workers_use(&self) -> Vec<PoolUse> {
        vec![self.0.readers.pool_use("sqlite_readers"), self.0.writer.pool_use("sqlite_writer")]
    }

    /// Reads in one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.readers.run(|connection| in_snapshot(connection, work)).await
    }

    /// Reads on the writer's connection: after the writes that were submitted before, and without waiting for slow lists.
    pub(crate) async fn read_on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.writer.run(|connection| in_snapshot(connection, work)).await
    }

    /// Writes in one transaction.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.on_writer(|connection| in_transaction(connection, work)).await
    }

    /// Runs `work` on the writer's connection, outside a transaction.
    pub(crate) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.0.writer.run(work).await;
        self.0.disk.note(&done);
        done
    }

    /// Runs `work` on the writer's connection if it can begin within `patience`. Does not record the result in [`Disk`].
    pub(crate) async fn on_writer_within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.writer.run_within(patience, work).await
    }
}

/// Writes zeros up to `length` bytes.
fn fill(file: &mut File, length: u64) -> std::io::Result<()> {
    static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];
    file.rewind()?;
    let mut written = 0;
    while written < length {
        file.write_all(&CHUNK)?;
        written = written.saturating_add(u64::try_from(CHUNK.len()).unwrap_or(u64::MAX));
    }
    file.sync_all()
}

fn open_writer(path: &Path, clock: &StoreClock) -> Result<SqliteConnection, Failure> {
    let mut connection = connect(path, WRITER_BUSY)?;
    log_ahead(&mut connection)?;
    connection.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000;")?;
    raise_clock(&mut connection, clock)?;
    Ok(connection)
}

fn open_reader(path: &Path, clock: &StoreClock) -> Result<SqliteConnection, Failure> {
    let mut connection = connect(path, READER_BUSY)?;
    connection.batch_execute("PRAGMA query_only = ON;")?;
    raise_clock(&mut connection, clock)?;
    Ok(connection)
}

/// Opens the file, which must exist: a store whose file was deleted must not continue with an empty one.
fn connect(path: &Path, busy: Duration) -> Result<SqliteConnection, Failure> {
    let url = format!("file:{}?mode=rw", percent_encoded(path));
    let mut connection = SqliteConnection::establish(&url).map_err(Failure::Connect)?;
    set_busy_timeout(&mut connection, busy)?;
    // Temporary data stays in memory, because the store's own directory may be the only writable one.
    connection.batch_execute("PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

pub(crate) fn set_busy_timeout(connection: &mut SqliteConnection, busy: Duration) -> Result<(), Failure> {
    connection.batch_execute(&format!("PRAGMA busy_timeout = {}", busy.as_millis()))?;
    Ok(())
}

/// Restores the writer's usual timeout.
pub(crate) fn reset_busy_timeout(connection: &mut SqliteConnection) -> Result<(), Failure> {
    set_busy_timeout(connection, WRITER_BUSY)
}

/// The characters of a path that have no special meaning in a URI, in which form SQLite gets the name.
const NOT_ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

fn percent_encoded(path: &Path) -> PercentEncode<'_> {
    percent_encode(path.as_os_str().as_encoded_bytes(), &NOT_ENCODED)
}

/// Switches to write-ahead logging, so that readers and the writer do not wait for each other.
fn log_ahead(connection: &mut SqliteConnection) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL").map_err(Failure::Statement) {
            Err(failure) if failure.is_busy() && tries < OPEN_TRIES => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            other => return other,
        }
    }
}

/// Makes the clock continue from the newest stored instant, even if the machine's clock was set back meanwhile.
fn raise_clock(connection: &mut SqliteConnection, clock: &StoreClock) -> Result<(), Failure> {
    if let Some(newest) = newest_instant(connection)? {
        clock.continue_from(newest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_itself_and_nothing_else() {
        assert_eq!(percent_encoded(Path::new("/a b/ü?x=1#y%.db")).to_string(), "/a%20b/%C3%BC%3Fx%3D1%23y%25.db");
    }
}
