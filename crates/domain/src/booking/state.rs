//! The states of a booking. A state is a type, and a transition is a method of the state that it begins at, so a wrong transition does not
//! compile. Payments are not in this version: of the stored states only `Confirmed` and `Cancelled` come about.

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
    /// Cancels the booking before it is paid.
    pub fn cancel(self, at: DateTime<Utc>) -> Cancelled {
        Cancelled { at }
    }
}

impl Confirmed {
    /// Returns the state of a booking that is sold at once.
    pub fn sold() -> Self {
        Self(())
    }

    /// Cancels the booking.
    pub fn cancel(self, at: DateTime<Utc>) -> Cancelled {
        Cancelled { at }
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
    fn states_are_read_as_they_are_stored() {
        let stored = [
            (BookingStatus::PendingPayment, None),
            (BookingStatus::Confirmed, None),
            (BookingStatus::Cancelled, Some(now())),
            (BookingStatus::Expired, None),
            (BookingStatus::Refunded, Some(now())),
        ];
        for (status, cancelled_at) in stored {
            let state = BookingState::from_stored(status, cancelled_at).unwrap();
            assert_eq!((state.status(), state.cancelled_at()), (status, cancelled_at));
            let wrong = if cancelled_at.is_some() { None } else { Some(now()) };
            assert_eq!(BookingState::from_stored(status, wrong), Err(BookingStateError));
            assert_eq!(state.is_live(), matches!(status, BookingStatus::PendingPayment | BookingStatus::Confirmed));
        }
    }

    #[test]
    fn cancelled_booking_has_its_instant() {
        let state = BookingState::Cancelled(Confirmed::sold().cancel(now()));
        assert_eq!(BookingState::from_stored(BookingStatus::Cancelled, Some(now())), Ok(state));
    }
}
