//! The ports of booking: the store that batches are read from and written to, and the encoder of answers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::snapshot::{ReadSet, Snapshot};
use super::state::BookingStatus;
use super::types::{Booking, Hold, HoldId, When};
use super::write_set::WriteSet;
use crate::error::{Cause, StoreError};
use crate::ids::{BookingId, UserId};
use crate::page::PageRequest;

/// Why a batch was not written.
#[derive(Debug, Clone, Error)]
pub enum WriteError {
    /// A row was not as the changes expect it, a new row was there already, or a lock was not to be had in time. Nothing was
    /// written.
    #[error("a row has changed since it was read")]
    Stale(#[source] Cause),
    /// An id or a reference that was generated for the batch is in use already. Nothing was written; others may be free.
    #[error("a generated id is in use already")]
    UsedId(#[source] Cause),
    /// The connection was lost after the batch was sent: it may be written, now or in a moment, or never.
    #[error("the connection was lost while the batch was written")]
    Unknown(#[source] Cause),
    /// The store failed before anything was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Ids for bookings that nobody else gets: `first` and those that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingIdBlock {
    pub first: i64,
    /// How many there are. At least one.
    pub count: u32,
}

/// Reads what a batch of commands names, and writes what was decided. Each method is one atomic act, and MUST end
/// within five seconds whatever the store does.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// Booking ids that are nobody else's. Ids that are never used are no loss.
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError>;

    /// Every row that the batch names, as committed at one instant, without locks.
    ///
    /// MUST wait for the outcome of writes by the same keys no more than a plain read does: it sees committed rows only.
    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError>;

    /// Writes all changes or none, taking locks in one order: the names of held seats, cancellations and rows first, then the rows in the
    /// order of the other fields of [`WriteSet`].
    ///
    /// MUST return `Stale`, having written nothing, if any row is not as `changes` expects it; `UsedId` if an id that the caller
    /// generated is taken; `Unknown` if it can't tell whether it was written. If an earlier write of the same key is still on its way, MUST wait for that one's outcome.
    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError>;

    /// Returns once everything that an earlier read has seen is as durable as a write that has returned.
    ///
    /// A commit can become visible before it is durable: while it waits for a standby its connection may break. MUST fail if the
    /// store cannot tell in time.
    async fn confirm(&self) -> Result<(), StoreError>;
}

/// Writes the answers that keys remember. What it makes is stored, and sent again to the byte.
pub trait AnswerEncoder: Send + Sync {
    /// The body that answers a booking that was made.
    fn encode_booked(&self, booking: &Booking) -> Vec<u8>;

    /// The body that shows a booking as it is.
    fn encode_booking(&self, booking: &Booking) -> Vec<u8>;

    /// The body that shows a hold.
    fn encode_hold(&self, hold: &Hold) -> Vec<u8>;
}

/// Which bookings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BookingFilter {
    /// Only those whose show has started or not, by the store's clock.
    pub when: Option<When>,
    /// Only those of this status.
    pub status: Option<BookingStatus>,
}

/// A booking's place in a history, which is ordered newest first: by `booked_at`, then id, both descending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BookingCursor {
    /// When it was made.
    pub booked_at: DateTime<Utc>,
    pub id: BookingId,
}

/// Reads bookings.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait BookingStore: Send + Sync {
    /// A user's bookings, newest first: the first [`PageRequest::rows`] after the place that is given.
    async fn bookings(
        &self,
        user_id: UserId,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<Booking>, StoreError>;

    /// One booking of this user. Someone else's is `None`.
    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError>;
}

/// Reads holds.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait HoldStore: Send + Sync {
    /// A user's holds that are live by the store's clock, the first to expire first; [`super::types::HOLDS_LISTED_MAX`] at most.
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError>;

    /// One live hold of this user. Someone else's is `None`, and so is one that ran out.
    async fn hold(&self, user_id: UserId, id: &HoldId) -> Result<Option<Hold>, StoreError>;
}
