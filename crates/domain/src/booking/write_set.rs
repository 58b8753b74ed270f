//! What a decided batch writes.

use chrono::{DateTime, Utc};

use super::command::KeyName;
use super::snapshot::{Claim, StoredKey, TenureKey};
use super::state::BookingStatus;
use super::types::{Booking, Hold, HoldId, Tenure};
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};

/// A show that must still be as it was read: it takes place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShowGuard {
    pub show_id: ShowId,
}

/// A user's live holds, on all shows, that must still have as many seats until the batch is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeldGuard {
    pub user_id: UserId,
    /// How many seats.
    pub seats: i64,
}

/// A user who must still have cancelled as many bookings within [`Rules::CANCELLATIONS_COUNTED`] until the batch is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CancellationGuard {
    pub user_id: UserId,
    /// How many.
    pub bookings: i64,
}

/// A row of seats that must still be taken as it was read, until the batch is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowGuard {
    pub show_id: ShowId,
    /// The show's layout.
    pub layout_id: LayoutId,
    /// The row's letters.
    pub row: String,
    /// The seats of the row whose claims are live, by id.
    pub taken: Vec<SeatId>,
}

/// An account that must still be as it was read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserGuard {
    /// The account.
    pub user_id: UserId,
    pub session_generation: i64,
}

/// A hold that must still be as it was read, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedHold {
    pub id: HoldId,
    /// When it was to run out.
    pub expires_at: DateTime<Utc>,
    /// When it will; `None` is a hold that goes.
    pub next: Option<DateTime<Utc>>,
}

/// A booking that must still be as it was read, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedBooking {
    /// What has become of it so far.
    pub status: BookingStatus,
    /// The seats that it has so far, if it gets others.
    pub old_seats: Vec<SeatId>,
    /// As it will be.
    pub booking: Booking,
}

/// A claim to be deleted, which must still be as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    pub claim: Claim,
}

/// A claim to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    /// The show's layout, which the seat must be of.
    pub layout_id: LayoutId,
    pub claim: Claim,
}

/// A tenure that ends, in place of the one that the user had of the seat before.
///
/// Nothing guards the row itself: only whoever ends the hold or the booking that has the seat writes it, and those are guarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTenure {
    /// Whose, of which seat.
    pub place: TenureKey,
    pub tenure: Tenure,
}

/// What others must be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboxKind {
    /// A booking was made.
    BookingConfirmed,
    /// A booking was cancelled.
    BookingCancelled,
    /// A booking has other seats.
    BookingChanged,
    /// Seats are held, or held for longer.
    SeatsHeld,
    /// A hold was released.
    SeatsReleased,
}

impl OutboxKind {
    /// The name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingConfirmed => "booking_confirmed",
            Self::BookingCancelled => "booking_cancelled",
            Self::BookingChanged => "booking_changed",
            Self::SeatsHeld => "seats_held",
            Self::SeatsReleased => "seats_released",
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
    /// The booking, if it is of one.
    pub booking_id: Option<BookingId>,
}

/// All that a batch writes, all of it or none. Lists are in lock order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteSet {
    /// The store's clock when the batch was read: when its rows were made.
    pub at: DateTime<Utc>,
    /// Shows that must still take place, by id. They stay so until the batch is written.
    pub shows: Vec<ShowGuard>,
    /// Users who must still hold as many seats, by id. Nobody else changes that until the batch is written.
    pub held: Vec<HeldGuard>,
    /// Users who must still have cancelled as many bookings, by id. Nobody else changes that until the batch is written.
    pub cancellations: Vec<CancellationGuard>,
    /// Rows that must still be taken as they were, by show and row. Nobody else changes that until the batch is written.
    pub rows: Vec<RowGuard>,
    /// Accounts that must still be as they were read, by id.
    pub users: Vec<UserGuard>,
    /// Sessions that must still last, by id.
    pub sessions: Vec<SessionId>,
    /// Keys that must be new, by name.
    pub keys: Vec<(KeyName, StoredKey)>,
    /// Holds that end or last longer, by id.
    pub changed_holds: Vec<ChangedHold>,
    /// Holds to be made, by id, each with its seats.
    pub holds: Vec<Hold>,
    /// Bookings that change, by id.
    pub changed_bookings: Vec<ChangedBooking>,
    /// Bookings to be made, by id, each with its seats in the order they were asked for.
    pub bookings: Vec<Booking>,
    /// Bookings whose cancellation counts towards their owner's limit from now on, by id: their owner cancels them, and their show takes
    /// place. What the house cancels is never among them.
    pub counted_cancellations: Vec<BookingId>,
    /// Claims that go, by show and seat.
    pub removed_claims: Vec<RemovedClaim>,
    /// Claims that must be new, by show and seat.
    pub claims: Vec<NewClaim>,
    /// Tenures that end, by show, user and seat.
    pub tenures: Vec<EndedTenure>,
    /// Events for others, in the order of the commands.
    pub outbox: Vec<NewOutboxEvent>,
}

impl WriteSet {
    /// Whether there is nothing to write: each command that changes something writes its key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
