//! The port for metrics of the booking path.

use std::time::Duration;

/// The result of a command, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CommandResult {
    Done,
    /// A replay from the replay cache.
    ReplayedFromCache,
    /// A replay from the store.
    ReplayedFromStore,
    /// A seat is claimed by another user.
    Conflict,
    /// Refused for another reason.
    Refused,
    /// Not taken in time, or the queue was full.
    Overloaded,
    /// The store failed. Nothing was written.
    Unavailable,
    /// It may be written. A retry with the same key finds out.
    OutcomeUnknown,
}

impl CommandResult {
    /// All variants.
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

    /// Returns the name.
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

/// The reason why a batch was run again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RetryReason {
    /// A row has changed, or a lock was not granted in time.
    Stale,
    /// The connection was lost while the batch was written.
    UnknownOutcome,
}

impl RetryReason {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Stale, Self::UnknownOutcome];

    /// Returns the name.
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
