//! The states of a booking. Each state is a type, and each transition a method of the state that it begins at, so an invalid transition
//! does not compile. This version has no payments: bookings are only `Confirmed` or `Cancelled`.

use chrono::{DateTime, Utc};
use thiserror::Error;

/// The status of a booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookingStatus {
    /// Not paid yet. Its seats are kept.
    PendingPayment,
    Confirmed,
    /// Cancelled by its owner or the cinema.
    Cancelled,
    /// Not paid in time.
    Expired,
    /// Cancelled, and the money is paid back.
    Refunded,
}

/// The error for an unknown status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a booking's status is pending_payment, confirmed, cancelled, expired or refunded")]
pub struct BookingStatusError;

impl BookingStatus {
    /// All statuses.
    pub const ALL: [Self; 5] = [Self::PendingPayment, Self::Confirmed, Self::Cancelled, Self::Expired, Self::Refunded];

    /// Returns the name in the store and in responses.
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

/// Not paid yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingPayment(());

/// Paid, or free of charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Confirmed(());

/// Cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled {
    at: DateTime<Utc>,
}

/// Not paid in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired(());

/// Cancelled, and the money is paid back.
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

/// The state of a booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookingState {
    PendingPayment(PendingPayment),
    Confirmed(Confirmed),
    Cancelled(Cancelled),
    Expired(Expired),
    Refunded(Refunded),
}

/// The stored columns contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a booking that is cancelled or refunded, and no other, has an instant at which it was cancelled")]
pub struct BookingStateError;

impl BookingState {
    /// Returns the state that a store has kept.
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

    /// Returns the status.
    pub fn status(self) -> BookingStatus {
        match self {
            Self::PendingPayment(_) => BookingStatus::PendingPayment,
            Self::Confirmed(_) => BookingStatus::Confirmed,
            Self::Cancelled(_) => BookingStatus::Cancelled,
            Self::Expired(_) => BookingStatus::Expired,
            Self::Refunded(_) => BookingStatus::Refunded,
        }
    }

    /// Returns the time of the cancellation, if it was cancelled.
    pub fn cancelled_at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Cancelled(Cancelled { at }) => Some(at),
            Self::Refunded(Refunded { cancelled_at }) => Some(cancelled_at),
            Self::PendingPayment(_) | Self::Confirmed(_) | Self::Expired(_) => None,
        }
    }

    /// Returns whether the booking keeps its seats.
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
