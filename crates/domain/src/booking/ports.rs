//! The ports of booking: the store that batches are read from and written to, and the encoder of answers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::snapshot::{ReadSet, Snapshot};
use super::state::BookingStatus;
use super::types::{Booking, Hold, HoldId, When};
use super::write_set::WriteSet;
use crate::error::{Cause, StoreError};
use crate::ids::{BookingId, SeatId, ShowId, UserId};
use crate::page::PageRequest;

/// The reason why a batch was not written.
#[derive(Debug, Clone, Error)]
pub enum WriteError {
    /// A row has changed, a new row exists already, or a lock was not granted in time. Nothing was written.
    #[error("a row has changed since it was read")]
    Stale(#[source] Cause),
    /// A generated id or reference is in use. Nothing was written; new ones may be free.
    #[error("a generated id is in use already")]
    UsedId(#[source] Cause),
    /// The connection was lost after the batch was sent. The batch may be written now, later or never.
    #[error("the connection was lost while the batch was written")]
    Unknown(#[source] Cause),
    /// The store failed. Nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A block of reserved booking ids that begins at `first`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingIdBlock {
    pub first: i64,
    /// The number of ids, at least one.
    pub count: u32,
}

/// Reads and writes batches of commands. Each method is atomic and MUST end within five seconds.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// Reserves booking ids. Unused ids are lost, which does no harm.
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError>;

    /// Reads every row in `named`, in one snapshot and without locks.
    ///
    /// MUST read committed rows only, and MUST NOT wait for writes in progress.
    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError>;

    /// Writes all changes or none. Takes locks in one order: the names of held seats, cancellations and rows first, then the rows in the
    /// order of the other fields of [`WriteSet`].
    ///
    /// MUST return `Stale` if a row is not as `changes` expects it, `UsedId` if a generated id is in use, and `Unknown` if it cannot find
    /// out whether the batch was written. MUST wait for the outcome of an earlier write of the same key.
    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError>;

    /// Returns when every row that an earlier read has seen is as durable as a write that has returned.
    ///
    /// A commit can become visible before it is durable, while it waits for a standby. MUST fail if the store cannot find out in time.
    async fn confirm(&self) -> Result<(), StoreError>;
}

/// Encodes response bodies. They are stored with the key, and a retry gets the same bytes.
pub trait AnswerEncoder: Send + Sync {
    /// Encodes the response to a new booking.
    fn encode_booked(&self, booking: &Booking) -> Vec<u8>;

    /// Encodes the present state of a booking.
    fn encode_booking(&self, booking: &Booking) -> Vec<u8>;

    /// Encodes the response to a sale at the box office.
    fn encode_sale(&self, booking: &Booking) -> Vec<u8>;

    /// Encodes the blocked seats of a show, ordered by id.
    fn encode_blocks(&self, show_id: ShowId, blocked: &[SeatId]) -> Vec<u8>;

    /// Encodes a hold.
    fn encode_hold(&self, hold: &Hold) -> Vec<u8>;
}

/// Selects bookings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BookingFilter {
    /// Only bookings whose show has started, or has not, by the store's clock.
    pub when: Option<When>,
    /// Only bookings of this status.
    pub status: Option<BookingStatus>,
}

/// The position of a booking in a history, which is ordered by `booked_at`, then id, both descending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingCursor {
    pub booked_at: DateTime<Utc>,
    pub id: BookingId,
}

/// Reads bookings.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BookingStore: Send + Sync {
    /// Returns a user's bookings, newest first: at most [`PageRequest::rows`] after the cursor.
    async fn bookings(
        &self,
        user_id: UserId,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<Booking>, StoreError>;

    /// Returns a booking of this user; `None` for another user's.
    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError>;
}

/// Reads holds.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait HoldStore: Send + Sync {
    /// Returns a user's holds that are live by the store's clock, the first to expire first; [`super::types::HOLDS_LISTED_MAX`] at most.
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError>;

    /// Returns a live hold of this user; `None` if it has expired or belongs to another user.
    async fn hold(&self, user_id: UserId, id: &HoldId) -> Result<Option<Hold>, StoreError>;
}
