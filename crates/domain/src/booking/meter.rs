//! What is measured of the booking path, as a port.

use std::time::Duration;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CommandResult {
    /// It did what it asked for.
    Done,
    /// An earlier request with its key had; the replay cache knew.
    ReplayedFromCache,
    /// An earlier request with its key had; the store knew.
    ReplayedFromStore,
    /// Somebody has a seat already.
    Conflict,
    /// It was refused for another reason.
    Refused,
    /// It was not taken in time, or too many waited.
    Overloaded,
    /// The store failed, and nothing was written.
    Unavailable,
    /// It may have done it; its key tells.
    OutcomeUnknown,
}

impl CommandResult {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::ReplayedFromCache,
        Self::ReplayedFromStore,
        Self::Conflict,
        Self::Refused,
        Self::Overloaded,
        Self::Unavailable,
        Self::OutcomeUnknown,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ReplayedFromCache => "replayed_from_cache",
            Self::ReplayedFromStore => "replayed_from_store",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// Why a batch was run again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RetryReason {
    /// A row was not as it was read, or a lock was not to be had in time.
    Stale,
    /// The connection was lost while the batch was written.
    UnknownOutcome,
}

impl RetryReason {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Stale, Self::UnknownOutcome];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }
}

/// Measures the booking path. Each method does nothing by default. Must not block: it is called between commits.
pub trait BookingMeter: Send + Sync {
    /// Counts a response. `action` is one of [`Action::NAMES`](super::Action::NAMES).
    fn settled(&self, action: &'static str, what: CommandResult) {
        let _ = (action, what);
    }

    /// Measures the time that a command waited in the queue.
    fn taken(&self, waited: Duration) {
        let _ = waited;
    }

    /// Measures the number of commands in a batch.
    fn batch(&self, commands: usize) {
        let _ = commands;
    }

    /// Counts a batch that is run again.
    fn rerun(&self, why: RetryReason) {
        let _ = why;
    }
}

/// Measures nothing.
pub struct NoMeter;

impl BookingMeter for NoMeter {}
