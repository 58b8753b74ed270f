//! Ensures that only one process serves a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The lock of the one server that serves a data directory. The system releases it when the process ends, however it ends.
///
/// Without it, two servers on one directory would not see each other's events. Commands that run while a server runs do not take it.
#[derive(Debug)]
pub struct ServeLock {
    // The file is locked as long as it is open.
    _file: File,
}

/// The reason why a directory cannot be served.
#[derive(Debug, Error)]
pub enum ServeLockError {
    /// Another process serves the directory.
    #[error("another server already uses the data directory {}", directory.display())]
    InUse { directory: PathBuf },
    /// The lock file cannot be created or locked.
    #[error("the data directory {} cannot be locked: {source}", directory.display())]
    Io {
        directory: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

impl ServeLock {
    /// The name of the lock file in the data directory.
    const FILE: &'static str = "serve.lock";

    /// Takes the lock of `directory`, which must exist, without waiting.
    pub fn acquire(directory: &Path) -> Result<Self, ServeLockError> {
        let io = |source| ServeLockError::Io { directory: directory.to_owned(), source };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(directory.join(Self::FILE)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ServeLockError::InUse { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}
