//! The reasons for which a command is refused.

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::types::HoldId;
use crate::ids::SeatId;
use crate::money::Money;

/// The reason why a command was refused. Nothing was written, and its key is free.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The caller's session has ended, or the account is deleted.
    #[error("the session has ended")]
    SessionEnded,
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The show does not exist.
    #[error("there is no such show")]
    ShowNotFound,
    /// Some seats do not belong to the hall of the show, or are not sold.
    #[error("some seats are not of the show's hall")]
    SeatNotFound {
        /// In the order of the request.
        seat_ids: Vec<SeatId>,
    },
    /// Some tickets are not sold: the show has no price for the category of the seat and the ticket type.
    #[error("some ticket types are not sold for these seats")]
    TicketTypeNotSold {
        /// In the order of the request.
        seat_ids: Vec<SeatId>,
    },
    /// The ticket types of a hold's seats were given, but not for exactly these seats.
    #[error("the hold has other seats")]
    NotTheHeldSeats {
        /// The seats of the hold.
        seat_ids: Vec<SeatId>,
    },
    /// The hold does not exist, belongs to another user, or was released or redeemed.
    #[error("there is no such hold")]
    HoldNotFound,
    /// The booking does not exist or belongs to another user.
    #[error("there is no such booking")]
    BookingNotFound,
    /// The sale has more seats than a booking may have.
    #[error("a booking cannot have so many seats")]
    TooManySeats {
        /// The number of seats of the request.
        asked: usize,
        /// The limit.
        max: usize,
    },
    /// The show is cancelled or has started, or its sale has ended.
    #[error("the show takes no more bookings")]
    SalesClosed,
    /// The sale has not begun.
    #[error("the show takes no bookings yet")]
    SalesNotOpen { open_at: DateTime<Utc> },
    /// The hold has expired.
    #[error("the hold ran out")]
    HoldExpired,
    /// The caller would hold more seats of the show than one booking may have.
    #[error("too many seats are held")]
    TooManyHeld {
        /// The number that the caller holds already.
        held: usize,
        /// The limit.
        max: usize,
    },
    /// The caller would hold too many seats over all shows.
    #[error("too many seats are held over all shows")]
    HeldSeatsLimit {
        /// The number that the caller holds already.
        held: usize,
        /// The limit.
        max: usize,
        /// The time until enough holds have expired.
        retry_in: TimeDelta,
    },
    /// The caller has held some seats for the maximum time, and released them only recently.
    #[error("some seats were held for as long as one may")]
    SeatHoldTimeUsed {
        /// In the order of the request.
        seat_ids: Vec<SeatId>,
        /// The time until all of them can be held again.
        retry_in: TimeDelta,
    },
    /// The caller has reached the limit of cancellations.
    #[error("too many bookings were cancelled lately")]
    CancellationLimit {
        /// The limit within [`Rules::CANCELLATIONS_COUNTED`](super::rules::Rules::CANCELLATIONS_COUNTED).
        max: usize,
        /// The time until the next cancellation is allowed.
        retry_in: TimeDelta,
    },
    /// Some seats are claimed. The list is empty if the best seats were requested and not enough are left.
    #[error("some seats are claimed")]
    SeatUnavailable {
        /// In the order of the request.
        seat_ids: Vec<SeatId>,
        /// The caller's own hold of some of them.
        hold_id: Option<HoldId>,
    },
    /// The selection leaves single seats empty, which the rules forbid.
    #[error("the selection leaves single seats empty")]
    SeatsLeaveGap { seat_ids: Vec<SeatId> },
    /// Some seats are halves of love seats, which are sold whole.
    #[error("some seats are halves of love seats")]
    SeatsSplitPair {
        /// The other halves, in the order of the request.
        seat_ids: Vec<SeatId>,
    },
    /// The booking cannot be cancelled, or not any more.
    #[error("the booking cannot be cancelled")]
    NotCancellable,
    /// The seats of the booking cannot be changed.
    #[error("the booking cannot be changed")]
    NotChangeable,
    /// A change must keep the number of seats.
    #[error("a booking is given as many seats as it has")]
    WrongSeatCount {
        /// The number of seats of the booking.
        seats: usize,
    },
    /// The new seats cost more than the old ones.
    #[error("the new seats cost more")]
    PriceDiffers {
        /// The price of the old seats.
        sold: Money,
        /// The price of the new seats.
        asked: Money,
    },
}
