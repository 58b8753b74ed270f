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
mod replays;
mod rules;
mod service;
mod state;
mod types;

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
pub use committer::{CommandError, CommandQueue, Committer, CommitterLimits, CommitterParts, command_queue};
pub use decide::{Answer, Decision, Policy, Refusal, decide};
pub use meter::{BookingMeter, CommandResult, NoMeter, RetryReason};
pub use ports::{
    AnswerEncoder, BatchStore, BookingCursor, BookingFilter, BookingIdBlock, BookingStore, CancellationGuard,
    ChangedBooking, ChangedHold, Claim, ClaimError, EndedTenure, HeldGuard, HoldStore, NewClaim, NewKey,
    NewOutboxEvent, OutboxKind, ReadSet, RemovedClaim, RowGuard, ShowGuard, ShowOffer, Snapshot, StoredAnswer,
    StoredKey, StoredUser, Subject, TenureKey, UserGuard, WriteError, WriteSet,
};
#[cfg(feature = "mock")]
pub use ports::{MockBatchStore, MockBookingStore, MockHoldStore};
pub use replays::{History, HistorySource, Replay, ReplayCache};
#[cfg(feature = "mock")]
pub use replays::{MockHistorySource, MockReplayCache};
pub use rules::{Rules, SeatGapRule};
pub use service::{BookingAction, BookingService, CommandAnswer, CommandRequest, ReadBookingError};
pub use state::{
    BookingState, BookingStateError, BookingStatus, BookingStatusError, Cancelled, Confirmed, Expired, PendingPayment,
    Refunded,
};
pub use types::{Booking, HOLDS_LISTED_MAX, Hold, HoldId, HoldIdError, SoldSeat, Tenure, When};
