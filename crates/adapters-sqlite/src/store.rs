//! The store: one file, a thread that writes and some that read.

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

/// One writer: SQLite has one write lock. A job that finds another process holding it waits as long as `BUSY` says, one
/// that waits in the queue as long as its `patience`: both together stay under the five seconds that a batch has.
const WRITER: WorkersLimits = WorkersLimits { threads: 1, jobs_max: 1024, patience: Duration::from_millis(2_000) };
/// Readers wait for nobody but each other, and are short. Both together stay under the two seconds of a health check.
const READERS: WorkersLimits = WorkersLimits { threads: 4, jobs_max: 1024, patience: Duration::from_millis(900) };

/// How long a statement of the writer waits for another process.
const WRITER_BUSY: Duration = Duration::from_millis(2_500);
/// How long a statement of a reader does: only while another process recovers the log.
const READER_BUSY: Duration = Duration::from_millis(900);

/// How often the switch to write-ahead logging is tried: SQLite doesn't wait for other processes there.
const OPEN_TRIES: u32 = 50;
/// How long to wait between those tries.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// Why there is no store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The path means nothing to the system.
    #[error("the path of the database is not valid: {0}")]
    Path(#[source] std::io::Error),
    /// The system gives no threads.
    #[error("the threads of the database cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file with this name is there already.
    #[error("{} is there already", file.display())]
    Exists { file: PathBuf },
    /// The file can't be made or written.
    #[error("{} cannot be written: {source}", file.display())]
    File {
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The copy fails, and the file's disk is not why.
    #[error("the store cannot be copied to {}", file.display())]
    Store {
        file: PathBuf,
        /// Why.
        source: StoreError,
    },
}

/// A file that is not whole yet. Removed when it is dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    /// Makes it, readable by its owner alone.
    fn create(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }

    /// Gives it its name, which nothing else may have.
    fn publish(self, file: &Path) -> std::io::Result<()> {
        // Unlike a rename, a second link never takes the place of another file.
        match std::fs::hard_link(&self.0, file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
            // A file system without links.
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
        // After a rename it is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Every store port on one SQLite file. Clones are the same store.
///
/// Connections are opened when they are first needed, and again after the file or the disk failed: a store that can't be
/// reached answers `Unavailable`, and answers again once it can.
#[derive(Clone)]
pub struct SqliteStore(Arc<Parts>);

struct Parts {
    path: PathBuf,
    clock: Arc<StoreClock>,
    disk: Arc<Disk>,
    // In the order of `close`.
    readers: Workers,
    writer: Workers,
}

impl SqliteStore {
    /// Returns the store in the file at `path`. Makes no file and changes none: [`SqliteStore::migrate`] does.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// Returns the same, where `system` is the clock of the system.
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

    /// Does what waits, closes the file and folds its log into it, whoever else has the store: to all of them it can't be reached
    /// any more.
    ///
    /// Blocks until that is done.
    pub fn close(&self) {
        // Readers go first: the last connection to be closed folds the log into the file, and only the writer may.
        self.0.readers.close();
        self.0.writer.close();
    }

    /// Copies the store to `file`, which must not be there, as it is at one instant, and tells how many bytes that are. Others go
    /// on working. The copy is its owner's alone, and on the disk when this returns; until then there is no `file`, only one with
    /// `.unfinished` in its name beside it.
    ///
    /// Blocks for as long as copying takes.
    pub fn backup(&self, file: &Path) -> Result<u64, BackupError> {
        // Told now and not after the copying; `publish` has the last word.
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
            // SQLite does not pass on what the system says. The system says it again where the file is as long as the copy would be.
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

    /// Copies into a file that is there, and empty.
    fn copy_to(&self, file: &Path) -> Result<(), Failure> {
        let mut connection = connect(&self.0.path, READER_BUSY)?;
        // As a URI, as the store's own name is: a name that is not UTF-8 is a name.
        let target = format!("file:{}", percent_encoded(file));
        diesel::sql_query("VACUUM INTO ?").bind::<diesel::sql_types::Text, _>(target).execute(&mut connection)?;
        Ok(())
    }

    /// Refuses a store that has instants more than five minutes later than the system's clock.
    pub async fn check_clock(&self) -> Result<(), ClockError> {
        // Opens a connection, if none is open yet: with it the newest stored instant is read. A store that fails is reported elsewhere.
        let _ = self.on_writer(|_| Ok(())).await;
        self.0.clock.check()
    }

    /// Keeps the writer's connection from making the file longer than `pages`, until it is opened again. For tests: it fails as
    /// it would on a full disk.
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

    /// Reads, all of it as of one instant.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.readers.run(|connection| in_snapshot(connection, work)).await
    }

    /// Reads where writes are made: behind those that were handed in before, and never behind slow lists.
    pub(crate) async fn read_on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.0.writer.run(|connection| in_snapshot(connection, work)).await
    }

    /// Writes, all of it or nothing.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.on_writer(|connection| in_transaction(connection, work)).await
    }

    /// Has the writer's connection, outside of a transaction.
    pub(crate) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.0.writer.run(work).await;
        self.0.disk.note(&done);
        done
    }

    /// Returns the same, for work that must begin within `patience`, and whose failure is no news.
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

/// Opens the file, which must be there: a store whose file is gone must not go on with an empty one.
fn connect(path: &Path, busy: Duration) -> Result<SqliteConnection, Failure> {
    let url = format!("file:{}?mode=rw", percent_encoded(path));
    let mut connection = SqliteConnection::establish(&url).map_err(Failure::Connect)?;
    set_busy_timeout(&mut connection, busy)?;
    // What a statement sets aside stays in memory: the store's own directory may be the only one that can be written.
    connection.batch_execute("PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

pub(crate) fn set_busy_timeout(connection: &mut SqliteConnection, busy: Duration) -> Result<(), Failure> {
    connection.batch_execute(&format!("PRAGMA busy_timeout = {}", busy.as_millis()))?;
    Ok(())
}

/// Gives the writer its usual patience back.
pub(crate) fn reset_busy_timeout(connection: &mut SqliteConnection) -> Result<(), Failure> {
    set_busy_timeout(connection, WRITER_BUSY)
}

/// The characters of a path that mean nothing else in a URI, which SQLite takes the name as.
const NOT_ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

fn percent_encoded(path: &Path) -> PercentEncode<'_> {
    percent_encode(path.as_os_str().as_encoded_bytes(), &NOT_ENCODED)
}

/// Switches to write-ahead logging, so that readers and the writer don't wait for each other.
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

/// Returns the clock goes on from the newest of what is stored, even if the machine's clock was set back meanwhile.
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
