//! Whether the store's disk can be written, by what the last write said and by the free space.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use domain::health::Degradation;

use crate::failure::Failure;

/// Less free space than this is likely to fail the next writes: the log of changes grows to four megabytes before it is folded into the
/// file.
const FREE_MIN: u64 = 8 * 1024 * 1024;
/// Less than this is reported, while there is time to do something.
const FREE_LOW: u64 = 256 * 1024 * 1024;
/// How much is written to find out whether the disk takes it.
static PROBE: [u8; 64 * 1024] = [0; 64 * 1024];
/// How often: a megabyte, more than a batch of bookings.
const PROBES: u32 = 16;

/// The disk of the store's file.
pub(crate) struct Disk {
    directory: PathBuf,
    file: PathBuf,
    log: PathBuf,
    probe: PathBuf,
    /// What the last write said, if the disk failed it.
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

    /// Remembers whether a write succeeded, or failed by the disk. Other failures say nothing about it.
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

    /// What the last write said, if the disk failed it.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether so little is free that only a trial tells whether writes succeed.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.free().is_some_and(|free| free < FREE_MIN)
    }

    /// Returns the bytes that are free, where the system tells.
    pub(crate) fn free(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            let found = rustix::fs::statvfs(&self.directory).ok()?;
            Some(found.f_bavail.saturating_mul(found.f_frsize))
        }
        #[cfg(not(unix))]
        None
    }

    /// Returns how long the store's file and its log are together.
    pub(crate) fn bytes(&self) -> u64 {
        [&self.file, &self.log].into_iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
    }

    /// Writes a megabyte beside the store, and removes it.
    pub(crate) fn try_to_write(&self) -> io::Result<()> {
        let written = File::create(&self.probe).and_then(|mut file| {
            (0..PROBES).try_for_each(|_| file.write_all(&PROBE))?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(&self.probe);
        written.and(removed)
    }

    /// What to tell an operator of a disk that is nearly full.
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
