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
mod service;
mod types;

#[cfg(test)]
mod committer_tests;
#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod service_tests;

pub use command::{
    Action, BookSeats, Command, Drawn, Fingerprint, IdempotencyKey, IdempotencyKeyError, KeyName, PreparedCommand,
    Scope,
};
pub use committer::{CommandError, CommandQueue, Committer, CommitterLimits, CommitterParts, command_queue};
pub use decide::{Answer, Decision, Refusal, decide};
pub use meter::{BookingMeter, NoMeter, Rerun, Settled};
pub use ports::{
    AnswerEncoder, BatchState, BatchStore, BookingFilter, BookingIdBlock, BookingPlace, BookingStore, Changes,
    ClaimRow, ExpectedHold, KeyRow, Named, NewClaim, NewKey, NewOutboxEvent, OutboxKind, SeatOffer, ShowGuard,
    ShowOffer, StoredAnswer, UserGuard, UserRow, WriteError,
};
#[cfg(feature = "mock")]
pub use ports::{MockBatchStore, MockBookingStore};
#[cfg(feature = "mock")]
pub use replays::MockReplayCache;
pub use replays::{Replay, ReplayCache};
pub use service::{BookRequest, BookedAnswer, BookingService, ReadBookingError};
pub use types::{Booking, BookingStatus, BookingStatusError, SoldSeat, When};
