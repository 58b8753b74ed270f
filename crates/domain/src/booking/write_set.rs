//! What a decided batch writes.

use chrono::{DateTime, Utc};

use super::command::KeyName;
use super::events::NewBookingEvent;
use super::snapshot::{Claim, StoredKey, TenureKey};
use super::state::BookingStatus;
use super::types::{Booking, Hold, HoldId, Tenure};
use crate::admin::{AuditRecord, ChangeOrigin};
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};

/// Requires that a show is still scheduled, and that staff have not changed it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShowGuard {
    pub show_id: ShowId,
    pub version: i64,
}

/// Requires that a user's live holds on all shows still have this number of seats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HeldGuard {
    pub user_id: UserId,
    pub seats: i64,
}

/// Requires that a user still has this number of counted cancellations within
/// [`Rules::CANCELLATIONS_COUNTED`](super::rules::Rules::CANCELLATIONS_COUNTED).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CancellationGuard {
    pub user_id: UserId,
    pub bookings: i64,
}

/// Requires that the same seats of a row are taken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowGuard {
    pub show_id: ShowId,
    pub layout_id: LayoutId,
    pub row: String,
    /// The seats of the row with live claims, by id.
    pub taken: Vec<SeatId>,
}

/// Requires that an account is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UserGuard {
    pub user_id: UserId,
    pub session_generation: i64,
}

/// Changes a hold. Requires that it still expires at `expires_at`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedHold {
    pub id: HoldId,
    pub expires_at: DateTime<Utc>,
    /// The new expiry; `None` deletes the hold.
    pub next: Option<DateTime<Utc>>,
}

/// Changes a booking. Requires that it still has `status` and, if they change, `old_seats`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangedBooking {
    pub status: BookingStatus,
    /// The present seats; empty if they do not change.
    pub old_seats: Vec<SeatId>,
    /// The new state.
    pub booking: Booking,
}

/// Deletes a claim. Requires that it is unchanged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    pub claim: Claim,
}

/// Inserts a claim. Requires that the seat has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewClaim {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    /// The layout of the show, which must have the seat.
    pub layout_id: LayoutId,
    pub claim: Claim,
}

/// Stores why a seat is blocked, in place of an earlier reason for the same seat.
///
/// The row has no guard of its own: the claim decides whether the seat is blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBlock {
    pub show_id: ShowId,
    pub seat_id: SeatId,
    pub reason: String,
    /// The member of staff.
    pub blocked_by: UserId,
}

/// Stores a tenure that ends, in place of the user's earlier tenure of the seat.
///
/// The row has no guard of its own: it is written only together with a guarded change of its hold or booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTenure {
    pub place: TenureKey,
    pub tenure: Tenure,
}

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboxKind {
    BookingConfirmed,
    BookingCancelled,
    BookingChanged,
    /// The show of a booking begins or ends at another time.
    BookingMoved,
    /// Seats are held, or a hold was extended.
    SeatsHeld,
    SeatsReleased,
    /// Seats are blocked for the house. `SeatsReleased` follows when they are free again.
    SeatsBlocked,
}

impl OutboxKind {
    /// Returns the name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BookingConfirmed => "booking_confirmed",
            Self::BookingCancelled => "booking_cancelled",
            Self::BookingChanged => "booking_changed",
            Self::BookingMoved => "booking_moved",
            Self::SeatsHeld => "seats_held",
            Self::SeatsReleased => "seats_released",
            Self::SeatsBlocked => "seats_blocked",
        }
    }
}

/// An event for consumers of the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewOutboxEvent {
    pub kind: OutboxKind,
    /// The show whose seats changed.
    pub show_id: ShowId,
    /// The booking, if the event is about one.
    pub booking_id: Option<BookingId>,
}

/// An entry for the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAuditEntry {
    /// The member of staff.
    pub actor_id: UserId,
    pub origin: ChangeOrigin,
    pub record: AuditRecord,
}

/// The changes of a batch, written all or none. Each list is in lock order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteSet {
    /// The store's time when the batch was read. New rows have this time.
    pub at: DateTime<Utc>,
    /// By id. Locked until the batch is written.
    pub shows: Vec<ShowGuard>,
    /// By id. Locked until the batch is written.
    pub held: Vec<HeldGuard>,
    /// By id. Locked until the batch is written.
    pub cancellations: Vec<CancellationGuard>,
    /// By show and row. Locked until the batch is written.
    pub rows: Vec<RowGuard>,
    /// By id.
    pub users: Vec<UserGuard>,
    /// Sessions that must still be live, by id.
    pub sessions: Vec<SessionId>,
    /// New keys, by name.
    pub keys: Vec<(KeyName, StoredKey)>,
    /// Holds that end or are extended, by id.
    pub changed_holds: Vec<ChangedHold>,
    /// New holds, by id.
    pub holds: Vec<Hold>,
    /// By id.
    pub changed_bookings: Vec<ChangedBooking>,
    /// New bookings, by id.
    pub bookings: Vec<Booking>,
    /// Bookings whose cancellation counts towards their owner's limit, by id. The cinema's own cancellations do not count.
    pub counted_cancellations: Vec<BookingId>,
    /// By show and seat.
    pub removed_claims: Vec<RemovedClaim>,
    /// New claims, by show and seat.
    pub claims: Vec<NewClaim>,
    /// Seats that are blocked no more, by show and seat. Deleted before `blocks` are written.
    pub removed_blocks: Vec<(ShowId, SeatId)>,
    /// By show and seat.
    pub blocks: Vec<NewBlock>,
    /// By show, user and seat.
    pub tenures: Vec<EndedTenure>,
    /// In the order of the commands.
    pub outbox: Vec<NewOutboxEvent>,
    /// The events of bookings, in the order of the commands.
    pub booking_events: Vec<NewBookingEvent>,
    /// In the order of the commands.
    pub audit: Vec<NewAuditEntry>,
}

impl WriteSet {
    /// Returns whether there is nothing to write. Each command that changes something writes its key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
