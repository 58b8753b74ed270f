//! The reasons for which a command is refused.

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::types::HoldId;
use crate::ids::SeatId;
use crate::money::Money;

/// Why a command was refused. It has changed nothing, and its key is free.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The caller's session was ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// There is no such show.
    #[error("there is no such show")]
    ShowNotFound,
    /// Some seats are not of the show's hall.
    #[error("some seats are not of the show's hall")]
    SeatNotFound {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
    },
    /// There is no such hold, or it is someone else's, or it was released or redeemed.
    #[error("there is no such hold")]
    HoldNotFound,
    /// There is no such booking, or it is someone else's.
    #[error("there is no such booking")]
    BookingNotFound,
    /// The show is cancelled, has started, or its sale has ended before.
    #[error("the show takes no more bookings")]
    SalesClosed,
    /// The show is not sold yet.
    #[error("the show takes no bookings yet")]
    SalesNotOpen {
        /// From when on it is.
        open_at: DateTime<Utc>,
    },
    /// The hold ran out.
    #[error("the hold ran out")]
    HoldExpired,
    /// The caller would hold more seats of the show than a booking may have.
    #[error("too many seats are held")]
    TooManyHeld {
        /// How many the caller holds already.
        held: usize,
        /// How many may be held.
        max: usize,
    },
    /// The caller would hold more seats over all shows than one may.
    #[error("too many seats are held over all shows")]
    HeldSeatsLimit {
        /// How many the caller holds already.
        held: usize,
        /// How many may be held.
        max: usize,
        /// After how long enough of them will have run out.
        retry_in: TimeDelta,
    },
    /// The caller has had some seats for as long as one may, and let go of them too short a time ago.
    #[error("some seats were held for as long as one may")]
    SeatHoldTimeUsed {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
        /// After how long they can all be held again.
        retry_in: TimeDelta,
    },
    /// The caller has cancelled as many bookings lately as one may.
    #[error("too many bookings were cancelled lately")]
    CancellationLimit {
        /// How many may be cancelled within [`Rules::CANCELLATIONS_COUNTED`].
        max: usize,
        /// After how long the next one may.
        retry_in: TimeDelta,
    },
    /// Some seats are claimed. None is named where the best were asked for and not as many are left.
    #[error("some seats are claimed")]
    SeatUnavailable {
        /// Those seats, in the order they were asked for.
        seat_ids: Vec<SeatId>,
        /// The caller's own hold, if it has some of them.
        hold_id: Option<HoldId>,
    },
    /// The selection leaves single seats empty, and the house forbids it.
    #[error("the selection leaves single seats empty")]
    SeatsLeaveGap {
        /// Those seats.
        seat_ids: Vec<SeatId>,
    },
    /// The booking can't be cancelled, or not any more.
    #[error("the booking cannot be cancelled")]
    NotCancellable,
    /// The booking is not one that can have other seats.
    #[error("the booking cannot be changed")]
    NotChangeable,
    /// A booking is given as many seats as it has.
    #[error("a booking is given as many seats as it has")]
    WrongSeatCount {
        /// How many it has.
        seats: usize,
    },
    /// The new seats cost more than the old ones did.
    #[error("the new seats cost more")]
    PriceDiffers {
        /// What the old ones cost.
        sold: Money,
        /// What the new ones would.
        asked: Money,
    },
}
