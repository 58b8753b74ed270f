//! Determines whether the store's disk can be written, from the result of the last write and the free space.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use domain::health::Degradation;

use crate::failure::Failure;

/// With less free space than this, the next writes are likely to fail: the write-ahead log grows to four megabytes before a checkpoint.
const FREE_MIN: u64 = 8 * 1024 * 1024;
/// Less free space than this is reported, early enough to react.
const FREE_LOW: u64 = 256 * 1024 * 1024;
/// The block that is written to test whether the disk accepts writes.
static PROBE: [u8; 64 * 1024] = [0; 64 * 1024];
/// The number of blocks to write: a megabyte in total, more than a batch of bookings.
const PROBES: u32 = 16;

/// The disk of the store's file.
pub(crate) struct Disk {
    directory: PathBuf,
    file: PathBuf,
    log: PathBuf,
    probe: PathBuf,
    /// The error of the last write, if the disk caused it.
    failed: Mutex<Option<String>>,
}

impl Disk {
    pub(crate) fn of(file: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = file.to_owned().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let directory = file.parent().unwrap_or(Path::new(".")).to_owned();
        Self {
            directory,
            file: file.to_owned(),
            log: beside("-wal"),
            probe: beside("-probe"),
            failed: Mutex::default(),
        }
    }

    /// Records whether a write succeeded or the disk made it fail. Other failures change nothing.
    pub(crate) fn note<T>(&self, outcome: &Result<T, Failure>) {
        let failed = match outcome {
            Ok(_) => None,
            Err(failure) if failure.is_of_the_disk() => Some(failure.with_cause()),
            Err(_) => return,
        };
        let mut known = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.is_some(), &failed) {
            (false, Some(cause)) => tracing::error!(%cause, free_bytes = self.free(), "store.cannot_be_written"),
            (true, None) => tracing::info!("store.can_be_written_again"),
            _ => {}
        }
        *known = failed;
    }

    /// Returns the error of the last write, if the disk caused it.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether so little space is free that only a trial shows whether writes succeed.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.free().is_some_and(|free| free < FREE_MIN)
    }

    /// Returns the number of free bytes, if the system reports it.
    pub(crate) fn free(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let found = rustix::fs::statvfs(&self.directory).ok()?;
            Some(found.f_bavail.saturating_mul(found.f_frsize))
        }
        #[cfg(not(unix))]
        None
    }

    /// Returns the total size of the store's file and its log, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        [&self.file, &self.log].into_iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
    }

    /// Writes a megabyte to a file next to the store, and removes the file.
    pub(crate) fn try_to_write(&self) -> io::Result<()> {
        let written = File::create(&self.probe).and_then(|mut file| {
            (0..PROBES).try_for_each(|_| file.write_all(&PROBE))?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(&self.probe);
        written.and(removed)
    }

    /// Returns the warning for an operator if the disk is nearly full.
    pub(crate) fn degradation(&self) -> Option<Degradation> {
        let free = self.free().filter(|free| *free < FREE_LOW)?;
        let megabytes = free / 1024 / 1024;
        let message = format!(
            "{} has {megabytes} MB of free space: make room before bookings fail. Below {} MB nothing may be stored",
            self.directory.display(),
            FREE_MIN / 1024 / 1024
        );
        Some(Degradation { name: "disk", state: "low", message })
    }
}
