//! What the booking path needs of a store, and of whoever writes the answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::command::{Action, Fingerprint, KeyName, PreparedCommand};
use super::types::{Booking, BookingStatus, When};
use crate::catalog::ShowStatus;
use crate::error::{Cause, StoreError};
use crate::ids::{BookingId, LayoutId, SeatId, ShowId, UserId};
use crate::money::Currency;
use crate::page::PageRequest;
use crate::random::OperationId;
use crate::seating::ClaimStatus;

/// What a batch of commands names: what must be read to decide it. Sorted, and each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// The keys.
    pub keys: BTreeSet<KeyName>,
    /// The callers.
    pub users: BTreeSet<UserId>,
    /// The shows.
    pub shows: BTreeSet<ShowId>,
    /// The seats, each with the show it is wanted for.
    pub seats: BTreeSet<(ShowId, SeatId)>,
}

impl Named {
    /// What these commands name.
    pub fn by<'a>(commands: impl IntoIterator<Item = &'a PreparedCommand>) -> Self {
        let mut named = Self::default();
        for PreparedCommand { command, .. } in commands {
            named.users.insert(command.caller.user_id);
            named.keys.insert(command.key.clone());
            match &command.action {
                Action::Book(book) => {
                    named.shows.insert(book.show_id);
                    named.seats.extend(book.seats.seats().iter().map(|seat| (book.show_id, *seat)));
                }
            }
        }
        named
    }
}

/// The answer that a key remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAnswer {
    /// The bytes of the answer's body.
    pub body: Arc<[u8]>,
}

/// A key that was used: its command succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// The digest of the request that it was used with.
    pub fingerprint: Fingerprint,
    /// The run of the command that wrote it.
    pub operation_id: OperationId,
    /// The booking that was made.
    pub booking_id: BookingId,
    /// The answer. `None` once its time is over; the key stays used.
    pub answer: Option<StoredAnswer>,
}

/// A caller's account, as far as a write depends on it. An account that is gone has no row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserRow {
    /// The generation of its sessions.
    pub session_generation: i64,
}

/// A show, as far as selling it goes, with the names that a ticket shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowOffer {
    /// The layout it is seated by.
    pub layout_id: LayoutId,
    /// Whether it takes place.
    pub status: ShowStatus,
    /// When it begins.
    pub start_time: DateTime<Utc>,
    /// The currency of its prices.
    pub currency: Currency,
    /// The title of the movie.
    pub movie_title: String,
    /// The theatre's name.
    pub theatre_name: String,
    /// The hall's name.
    pub hall_name: String,
}

/// A seat at a show. A seat that isn't of the show's layout has no row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatOffer {
    /// Its row.
    pub row: String,
    /// Its number in the row.
    pub number: i32,
    /// Its category.
    pub category: String,
    /// Its price at the show, in minor units.
    pub price_minor: i64,
}

/// A claim as it is stored, a hold that ran out included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimRow {
    /// Why the seat is not free.
    pub status: ClaimStatus,
    /// The hold it belongs to, if it is held.
    pub hold_id: Option<String>,
    /// When the hold runs out, if it is held.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Every row that a batch names, as committed at one instant. What isn't there has no entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchState {
    /// The store's clock at that instant.
    pub now: DateTime<Utc>,
    /// The keys that were used.
    pub keys: HashMap<KeyName, KeyRow>,
    /// The accounts.
    pub users: HashMap<UserId, UserRow>,
    /// The shows.
    pub shows: HashMap<ShowId, ShowOffer>,
    /// The seats of the shows' layouts.
    pub seats: HashMap<(ShowId, SeatId), SeatOffer>,
    /// The claims.
    pub claims: HashMap<(ShowId, SeatId), ClaimRow>,
}

/// A show that must still be as it was read: it takes place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShowGuard {
    /// The show.
    pub show_id: ShowId,
}

/// An account that must still be as it was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserGuard {
    /// The account.
    pub user_id: UserId,
    /// Its session generation.
    pub session_generation: i64,
}

/// A key to be remembered with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// The key.
    pub name: KeyName,
    /// The digest of its request.
    pub fingerprint: Fingerprint,
    /// The run of the command.
    pub operation_id: OperationId,
    /// The booking that is made.
    pub booking_id: BookingId,
    /// The bytes of the answer's body.
    pub answer: Arc<[u8]>,
}

/// A claim of a booking to be made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NewClaim {
    /// The show.
    pub show_id: ShowId,
    /// The seat.
    pub seat_id: SeatId,
    /// The show's layout, which the seat must be of.
    pub layout_id: LayoutId,
    /// The booking that claims it.
    pub booking_id: BookingId,
    /// The booking's owner.
    pub user_id: UserId,
}

/// A claim that must still be held by a hold that ran out, and is deleted to make room.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExpectedHold {
    /// The show.
    pub show_id: ShowId,
    /// The seat.
    pub seat_id: SeatId,
    /// The hold.
    pub hold_id: String,
}

/// What others must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboxKind {
    /// A booking was made.
    BookingConfirmed,
}

impl OutboxKind {
    /// The name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingConfirmed => "booking_confirmed",
        }
    }
}

/// Something that others must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOutboxEvent {
    /// What happened.
    pub kind: OutboxKind,
    /// The show whose seats changed.
    pub show_id: ShowId,
    /// The booking.
    pub booking_id: BookingId,
}

/// All that a batch writes, all of it or none. Lists are in lock order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// The store's clock when the batch was read: when its rows were made.
    pub at: DateTime<Utc>,
    /// Shows that must still take place, by id. They stay so until the batch is written.
    pub shows: Vec<ShowGuard>,
    /// Accounts that must still be as they were read, by id.
    pub users: Vec<UserGuard>,
    /// Keys that must be new, by name.
    pub keys: Vec<NewKey>,
    /// Bookings to be made, by id, each with its seats in the order they were asked for.
    pub bookings: Vec<Booking>,
    /// Claims of holds that ran out, by show and seat: deleted.
    pub expired_holds: Vec<ExpectedHold>,
    /// Claims that must be new, by show and seat.
    pub claims: Vec<NewClaim>,
    /// Events for others, in the order of the commands.
    pub outbox: Vec<NewOutboxEvent>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.bookings.is_empty() && self.claims.is_empty() && self.expired_holds.is_empty()
    }
}

/// Why a batch was not written.
#[derive(Debug, Clone, Error)]
pub enum WriteError {
    /// A row was not as the changes expect it, a new row was there already, or a lock was not to be had in time. Nothing was
    /// written.
    #[error("a row has changed since it was read")]
    Stale(#[source] Cause),
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
    /// The first id.
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
    async fn read(&self, named: &Named) -> Result<BatchState, StoreError>;

    /// Writes all changes or none, taking locks in the order of the fields of [`Changes`].
    ///
    /// MUST return `Stale`, having written nothing, if any row is not as `changes` expects it; `Unknown` if it can't tell whether
    /// it was written. If an earlier write of the same key is still on its way, MUST wait for that one's outcome.
    async fn write(&self, changes: &Changes) -> Result<(), WriteError>;
}

/// Writes the answers that keys remember. What it makes is stored, and sent again to the byte.
pub trait AnswerEncoder: Send + Sync {
    /// The body that answers a booking.
    fn encode_booking(&self, booking: &Booking) -> Vec<u8>;
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
pub struct BookingPlace {
    /// When it was made.
    pub booked_at: DateTime<Utc>,
    /// The id.
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
        page: &PageRequest<BookingPlace>,
    ) -> Result<Vec<Booking>, StoreError>;

    /// One booking of this user. Someone else's is `None`.
    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError>;
}
