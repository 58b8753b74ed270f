//! Threads that each own a connection and run jobs from a bounded queue. All access to the database goes through them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use domain::health::PoolUse;
use futures::channel::oneshot;

use crate::failure::{ConnectionFate, Failure};

/// Opens the connections of a worker: the first one, and one after each discarded connection.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) open: Open,
}

type Open = Box<dyn Fn(&Path) -> Result<SqliteConnection, Failure> + Send + Sync>;

/// A connection, and the identity of the file on which it was opened.
struct Opened {
    connection: SqliteConnection,
    file: FileId,
}

/// The identity of a file, independent of its name.
type FileId = (u64, u64);

impl Source {
    fn open(&self, file: FileId) -> Result<Opened, Failure> {
        Ok(Opened { connection: (self.open)(&self.path)?, file })
    }

    /// Returns the identity of the file at the path.
    fn file(&self) -> Result<FileId, Failure> {
        let found = std::fs::metadata(&self.path).map_err(Failure::FileMissing)?;
        #[cfg(unix)]
        let id = (std::os::unix::fs::MetadataExt::dev(&found), std::os::unix::fs::MetadataExt::ino(&found));
        #[cfg(not(unix))]
        let id = (0, u64::from(found.is_file()));
        Ok(id)
    }
}

type Work = Box<dyn FnOnce(Result<&mut SqliteConnection, Failure>) -> ConnectionFate + Send>;

struct Job {
    deadline: Instant,
    work: Work,
}

/// The next message to a thread.
enum Next {
    Job(Job),
    /// Closes the thread's connection and ends the thread.
    End,
}

/// The number of threads, the number of waiting jobs, and their longest wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkersLimits {
    pub(crate) threads: usize,
    pub(crate) jobs_max: usize,
    pub(crate) patience: Duration,
}

/// The numbers of waiting jobs and of running jobs.
#[derive(Default)]
struct Load {
    waiting: AtomicUsize,
    working: AtomicUsize,
}

/// Threads that share a queue. They end when this is closed or dropped and all waiting jobs are done.
pub(crate) struct Workers {
    queue: SyncSender<Next>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    size: usize,
    load: Arc<Load>,
    patience: Duration,
}

impl Workers {
    pub(crate) fn start(name: &str, limits: WorkersLimits, source: Source) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(limits.jobs_max);
        let load = Arc::new(Load::default());
        let shared = Arc::new((Mutex::new(jobs), source, Arc::clone(&load)));
        let threads = (0..limits.threads).map(|_| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(name.to_owned()).spawn(move || work_off(&shared.0, &shared.1, &shared.2))
        });
        let threads = Mutex::new(threads.collect::<Result<_, _>>()?);
        Ok(Self { queue, threads, size: limits.threads, load, patience: limits.patience })
    }

    /// Runs `work` on one of the connections. Dropping the future before the job starts cancels it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run_within(self.patience, work).await
    }

    /// Runs `work` like [`Workers::run`], but fails if the job does not start within `patience`.
    pub(crate) async fn run_within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answered) = oneshot::channel();
        let work: Work = Box::new(move |turn| {
            if reply.is_canceled() {
                return ConnectionFate::Keep;
            }
            let outcome = turn.and_then(work);
            let aftermath = outcome.as_ref().err().map_or(ConnectionFate::Keep, Failure::aftermath);
            // A caller that has dropped its future does not need the result.
            let _ = reply.send(outcome);
            aftermath
        });
        self.hand_in(Job { deadline: Instant::now() + patience, work })?;
        answered.await.unwrap_or(Err(Failure::Lost))
    }

    fn hand_in(&self, job: Job) -> Result<(), Failure> {
        // Counted before a worker can take the job; otherwise the count could become negative.
        self.load.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(Next::Job(job)).map_err(|error| {
            self.load.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => Failure::QueueFull,
                TrySendError::Disconnected(_) => Failure::Closed,
            }
        })
    }

    /// Returns the use of the threads, each of which has a connection.
    pub(crate) fn pool_use(&self, name: &'static str) -> PoolUse {
        PoolUse {
            name,
            size_max: self.size,
            in_use: self.load.working.load(Ordering::Relaxed),
            waiting: self.load.waiting.load(Ordering::Relaxed),
        }
    }

    /// Finishes waiting jobs, closes the connections, and waits until that is done. Jobs submitted later fail.
    pub(crate) fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in &threads {
            // Fails only if all threads have ended.
            let _ = self.queue.send(Next::End);
        }
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                // Panics are caught and logged in the thread.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

fn work_off(queue: &Mutex<Receiver<Next>>, source: &Source, load: &Load) {
    let mut opened = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Next::Job(job)) = next else { return };
        load.working.fetch_add(1, Ordering::Relaxed);
        load.waiting.fetch_sub(1, Ordering::Relaxed);
        // A panic discards the connection, and the next job opens a new one.
        let served = catch_unwind(AssertUnwindSafe(|| serve(job, opened.take(), source)));
        opened = served.unwrap_or_else(|_| {
            tracing::error!("a database job panicked");
            None
        });
        load.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs the job, and returns the connection if it is still usable.
fn serve(job: Job, opened: Option<Opened>, source: &Source) -> Option<Opened> {
    if job.deadline <= Instant::now() {
        (job.work)(Err(Failure::Late));
        return opened;
    }
    let mut opened = match on_its_file(opened, source) {
        Ok(opened) => opened,
        Err(failure) => {
            (job.work)(Err(failure));
            return None;
        }
    };
    match (job.work)(Ok(&mut opened.connection)) {
        ConnectionFate::Keep => Some(opened),
        ConnectionFate::Settle => is_settled(&mut opened.connection).then_some(opened),
        ConnectionFate::Reopen => None,
    }
}

/// Returns a connection to the file that is at the path now. SQLite would continue to write to a removed or replaced file, and acknowledged
/// writes would be lost with it.
fn on_its_file(opened: Option<Opened>, source: &Source) -> Result<Opened, Failure> {
    let file = source.file()?;
    match opened {
        Some(opened) if opened.file == file => Ok(opened),
        other => {
            drop(other);
            source.open(file)
        }
    }
}

/// Leaves a transaction if there is one, and returns whether the connection is outside a transaction.
///
/// After some failures (a full disk) SQLite ends a transaction by itself, after others it does not. A rollback works for both: it succeeds,
/// or fails because no transaction is active.
fn is_settled(connection: &mut SqliteConnection) -> bool {
    let outside = match connection.batch_execute("ROLLBACK") {
        Ok(()) => true,
        Err(error) => error.to_string().contains("no transaction is active"),
    };
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    outside && matches!(status.transaction_depth(), Ok(None))
}

/// Runs `work` in one transaction that excludes other writers, and commits it.
pub(crate) fn in_transaction<T, E: From<Failure>>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E> {
    AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN IMMEDIATE").map_err(Failure::Statement)?;
    match work(connection) {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(connection).map_err(Failure::Commit)?;
            Ok(value)
        }
        Err(error) => {
            roll_back(connection);
            Err(error)
        }
    }
}

/// Runs `work` in one read-only transaction, so that it sees a single snapshot.
pub(crate) fn in_snapshot<T>(
    connection: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN DEFERRED")?;
    let outcome = work(connection);
    roll_back(connection);
    outcome
}

fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = AnsiTransactionManager::rollback_transaction(connection) {
        // The failure that caused the rollback is reported to the caller. The worker checks whether the connection is still usable.
        tracing::debug!(%error, "a rollback failed");
    }
}
