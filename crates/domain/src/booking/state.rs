//! What becomes of a booking: a state is a type, and a move is a method of the state that it begins at. A move that is not there
//! can't be written down.
//!
//! ```text
//! PendingPayment ── pay ──► Confirmed ── cancel ──► Cancelled ── refund ──► Refunded
//!       │  └───────────────── cancel ──────────────────▲
//!       └── expire ──► Expired
//! ```

use chrono::{DateTime, Utc};
use thiserror::Error;

/// What has become of a booking, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookingStatus {
    /// Waits for its payment; its seats are kept.
    PendingPayment,
    /// Sold.
    Confirmed,
    /// Given back by its owner or the house.
    Cancelled,
    /// Not paid in time.
    Expired,
    /// Cancelled, and its money given back.
    Refunded,
}

/// A text that is not a booking's status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a booking's status is pending_payment, confirmed, cancelled, expired or refunded")]
pub struct BookingStatusError;

impl BookingStatus {
    /// Every status, in the order of a booking's life.
    pub const ALL: [Self; 5] = [Self::PendingPayment, Self::Confirmed, Self::Cancelled, Self::Expired, Self::Refunded];

    /// The name in the store and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Refunded => "refunded",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, BookingStatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(BookingStatusError)
    }
}

/// Waits for its payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingPayment(());

/// Sold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmed(());

/// Given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled {
    at: DateTime<Utc>,
}

/// Not paid in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired(());

/// Cancelled, and its money given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refunded {
    cancelled_at: DateTime<Utc>,
}

impl PendingPayment {
    /// The seats are kept until it is paid.
    pub fn reserved() -> Self {
        Self(())
    }

    /// It is paid.
    pub fn pay(self) -> Confirmed {
        Confirmed(())
    }

    /// It was not paid in time.
    pub fn expire(self) -> Expired {
        Expired(())
    }

    /// It is given back before it was paid.
    pub fn cancel(self, at: DateTime<Utc>) -> Cancelled {
        Cancelled { at }
    }
}

impl Confirmed {
    /// Sold at once.
    pub fn sold() -> Self {
        Self(())
    }

    /// It is given back.
    pub fn cancel(self, at: DateTime<Utc>) -> Cancelled {
        Cancelled { at }
    }
}

impl Cancelled {
    /// Its money is given back.
    pub fn refund(self) -> Refunded {
        Refunded { cancelled_at: self.at }
    }
}

/// A booking's state, whichever it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookingState {
    /// Waits for its payment.
    PendingPayment(PendingPayment),
    /// Sold.
    Confirmed(Confirmed),
    /// Given back.
    Cancelled(Cancelled),
    /// Not paid in time.
    Expired(Expired),
    /// Cancelled, and its money given back.
    Refunded(Refunded),
}

/// Columns that are no state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a booking that is cancelled or refunded, and no other, has an instant at which it was cancelled")]
pub struct BookingStateError;

impl BookingState {
    /// The state that a store has kept.
    pub fn from_stored(status: BookingStatus, cancelled_at: Option<DateTime<Utc>>) -> Result<Self, BookingStateError> {
        match (status, cancelled_at) {
            (BookingStatus::PendingPayment, None) => Ok(Self::PendingPayment(PendingPayment(()))),
            (BookingStatus::Confirmed, None) => Ok(Self::Confirmed(Confirmed(()))),
            (BookingStatus::Cancelled, Some(at)) => Ok(Self::Cancelled(Cancelled { at })),
            (BookingStatus::Expired, None) => Ok(Self::Expired(Expired(()))),
            (BookingStatus::Refunded, Some(cancelled_at)) => Ok(Self::Refunded(Refunded { cancelled_at })),
            _ => Err(BookingStateError),
        }
    }

    /// The state in a word.
    pub fn status(self) -> BookingStatus {
        match self {
            Self::PendingPayment(_) => BookingStatus::PendingPayment,
            Self::Confirmed(_) => BookingStatus::Confirmed,
            Self::Cancelled(_) => BookingStatus::Cancelled,
            Self::Expired(_) => BookingStatus::Expired,
            Self::Refunded(_) => BookingStatus::Refunded,
        }
    }

    /// When it was cancelled, if it was.
    pub fn cancelled_at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Cancelled(Cancelled { at }) => Some(at),
            Self::Refunded(Refunded { cancelled_at }) => Some(cancelled_at),
            Self::PendingPayment(_) | Self::Confirmed(_) | Self::Expired(_) => None,
        }
    }

    /// Whether its seats are its own: it waits for its payment, or is sold.
    pub fn is_live(self) -> bool {
        matches!(self, Self::PendingPayment(_) | Self::Confirmed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    #[test]
    fn statuses_read_as_they_are_written() {
        for status in BookingStatus::ALL {
            assert_eq!(BookingStatus::parse(status.as_str()), Ok(status));
        }
        assert_eq!(BookingStatus::parse("paid"), Err(BookingStatusError));
    }

    #[test]
    fn every_move_ends_where_its_name_says() {
        let cancelled = Confirmed::sold().cancel(now());
        let states = [
            (BookingState::PendingPayment(PendingPayment::reserved()), BookingStatus::PendingPayment, None),
            (BookingState::Confirmed(PendingPayment::reserved().pay()), BookingStatus::Confirmed, None),
            (BookingState::Expired(PendingPayment::reserved().expire()), BookingStatus::Expired, None),
            (BookingState::Cancelled(PendingPayment::reserved().cancel(now())), BookingStatus::Cancelled, Some(now())),
            (BookingState::Cancelled(cancelled), BookingStatus::Cancelled, Some(now())),
            (BookingState::Refunded(cancelled.refund()), BookingStatus::Refunded, Some(now())),
        ];
        for (state, status, cancelled_at) in states {
            assert_eq!((state.status(), state.cancelled_at()), (status, cancelled_at));
            assert_eq!(BookingState::from_stored(status, cancelled_at), Ok(state));
            let wrong = if cancelled_at.is_some() { None } else { Some(now()) };
            assert_eq!(BookingState::from_stored(status, wrong), Err(BookingStateError));
            assert_eq!(state.is_live(), matches!(status, BookingStatus::PendingPayment | BookingStatus::Confirmed));
        }
    }
}
