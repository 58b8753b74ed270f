//! One serving process for one data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Held by the one server that works on a data directory; the system lets go of it when the process ends, however it ends.
///
/// Two servers on one directory would not see each other's events. Commands beside a server don't take it.
#[derive(Debug)]
pub struct ServeLock {
    // Locked as long as it is open.
    _file: File,
}

/// Why a directory is not served.
#[derive(Debug, Error)]
pub enum ServeLockError {
    /// Another process serves it.
    #[error("another server already uses the data directory {}", directory.display())]
    InUse { directory: PathBuf },
    /// The lock file can't be made or locked.
    #[error("the data directory {} cannot be locked: {source}", directory.display())]
    Io {
        directory: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl ServeLock {
    /// The lock's file in the data directory.
    const FILE: &'static str = "serve.lock";

    /// Takes the lock of `directory`, which must be there, without waiting.
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
