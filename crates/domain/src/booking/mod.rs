//! Booking seats: a seat is never sold twice, and a retry never books twice.
//!
//! Every write to claims is a [`Command`] in a bounded queue. The [`Committer`] takes those that wait and runs
//! **read, decide, write**: [`BatchStore::read`] reads the rows that the commands name, [`decide()`] returns the answers and the changes,
//! and [`BatchStore::write`] writes all changes or none. If a row has changed since it was read, nothing is written and the batch starts
//! again. The client's idempotency key is a row of the same transaction, with the body of the response.

mod cancelled_shows;
mod command;
mod committer;
mod counter;
mod decide;
mod events;
mod history;
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
mod counter_tests;
#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod ticket_type_tests;

#[cfg(feature = "mock")]
pub use cancelled_shows::MockCancelledShowStore;
pub use cancelled_shows::{CancelledShowStore, CancelledShows};
pub use command::{
    Action, BookSeats, BookingOfCancelledShow, Command, Fingerprint, GeneratedIds, HoldSeats, IdempotencyKey,
    IdempotencyKeyError, KeyName, PreparedCommand, Scope, ShowBooking, StaffAct, WantedSeats,
};
pub use committer::{Committer, CommitterParts, command_queue};
pub use counter::{
    CorrectedSeats, CounterSale, HouseSeats, Override, OverrideError, PaymentKind, PaymentKindError, ReasonRequired,
    Sale, SaleError, SaleTerms,
};
pub use decide::{Answer, Decision, Policy, Success, decide};
pub use events::{BookingEvent, BookingEventKind, EventActor, NewBookingEvent};
#[cfg(feature = "mock")]
pub use history::MockHistorySource;
pub use history::{History, HistorySource};
pub use meter::{BookingMeter, CommandResult, NoMeter, RetryReason};
pub use ports::{
    AnswerEncoder, BatchStore, BookingCursor, BookingFilter, BookingIdBlock, BookingStore, HoldStore, WriteError,
};
#[cfg(feature = "mock")]
pub use ports::{MockBatchStore, MockBookingStore, MockHoldStore};
pub use queue::{CommandError, CommandQueue, CommitterLimits};
pub use refusal::Refusal;
#[cfg(feature = "mock")]
pub use replays::MockReplayCache;
pub use replays::{Replay, ReplayCache};
pub use rules::{Rules, SeatGapRule};
pub use service::{BookingAction, BookingService, CommandRequest, ReadBookingError};
pub use snapshot::{Claim, ClaimError, ReadSet, ShowOffer, Snapshot, StoredKey, StoredUser, Subject, TenureKey};
pub use state::{
    BookingState, BookingStateError, BookingStatus, BookingStatusError, Cancelled, Confirmed, Expired, PendingPayment,
    Refunded,
};
pub use types::{Booking, HOLDS_LISTED_MAX, Hold, HoldId, HoldIdError, SoldSeat, Tenure, When};
pub use write_set::{
    CancellationGuard, ChangedBooking, ChangedHold, EndedTenure, HeldGuard, NewAuditEntry, NewBlock, NewClaim,
    NewOutboxEvent, OutboxKind, RemovedClaim, RowGuard, ShowGuard, UserGuard, WriteSet,
};
