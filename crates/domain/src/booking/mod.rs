//! Selling seats: never twice, and never twice for a retry.
//!
//! Every write to claims is a [`Command`] in a bounded queue. The [`Committer`] takes those that wait and runs
//! **read, decide, write**: it reads what they name ([`BatchStore::read`]), [`decide()`] says what is answered and
//! written, and [`BatchStore::write`] writes all of it or nothing, and nothing if a row isn't as it was read; then all begins
//! again. The client's idempotency key is a row of the same transaction, with the bytes of the answer.

mod command;
mod committer;
mod decide;
mod meter;
mod ports;
mod queue;
mod refusal;
mod replays;
mod rules;
mod service;
mod snapshot;
mod state;
mod types;
mod write_set;

#[cfg(test)]
mod after_sale_tests;
#[cfg(test)]
mod committer_tests;
#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod service_tests;

pub use command::{
    Action, BookSeats, Command, Fingerprint, GeneratedIds, HoldSeats, IdempotencyKey, IdempotencyKeyError, KeyName,
    PreparedCommand, Scope, ShowBooking, WantedSeats,
};
pub use committer::{Committer, CommitterParts, command_queue};
pub use decide::{Answer, Decision, Policy, Success, decide};
pub use meter::{BookingMeter, CommandResult, NoMeter, RetryReason};
pub use ports::{
    AnswerEncoder, BatchStore, BookingCursor, BookingFilter, BookingIdBlock, BookingStore, HoldStore, WriteError,
};
#[cfg(feature = "mock")]
pub use ports::{MockBatchStore, MockBookingStore, MockHoldStore};
pub use queue::{CommandError, CommandQueue, CommitterLimits};
pub use refusal::Refusal;
pub use replays::{History, HistorySource, Replay, ReplayCache};
#[cfg(feature = "mock")]
pub use replays::{MockHistorySource, MockReplayCache};
pub use rules::{Rules, SeatGapRule};
pub use service::{BookingAction, BookingService, CommandRequest, ReadBookingError};
pub use snapshot::{Claim, ClaimError, ReadSet, ShowOffer, Snapshot, StoredKey, StoredUser, Subject, TenureKey};
pub use state::{
    BookingState, BookingStateError, BookingStatus, BookingStatusError, Cancelled, Confirmed, Expired, PendingPayment,
    Refunded,
};
pub use types::{Booking, HOLDS_LISTED_MAX, Hold, HoldId, HoldIdError, SoldSeat, Tenure, When};
pub use write_set::{
    CancellationGuard, ChangedBooking, ChangedHold, EndedTenure, HeldGuard, NewClaim, NewOutboxEvent, OutboxKind,
    RemovedClaim, RowGuard, ShowGuard, UserGuard, WriteSet,
};
