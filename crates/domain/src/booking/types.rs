//! Bookings as callers see them.

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::ids::{BookingId, SeatId, ShowId, UserId};
use crate::money::{Currency, Money};
use crate::random::Reference;

/// What has become of a booking.
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

/// Which part of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Shows that have not started.
    Upcoming,
    /// Shows that have.
    Past,
}

/// A seat of a booking, with its price as it was sold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoldSeat {
    /// The seat.
    pub id: SeatId,
    /// Its row.
    pub row: String,
    /// Its number in the row.
    pub number: i32,
    /// Its category.
    pub category: String,
    /// Its price in minor units of the booking's currency.
    pub price_minor: i64,
}

/// A booking, with what a ticket shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    /// The booking's id.
    pub id: BookingId,
    /// What is printed on the ticket.
    pub reference: Reference,
    /// Whose it is.
    pub user_id: UserId,
    /// The show.
    pub show_id: ShowId,
    /// The seats, in the order they were asked for. At least one.
    pub seats: Vec<SoldSeat>,
    /// What has become of it.
    pub status: BookingStatus,
    /// The currency of its prices.
    pub currency: Currency,
    /// When it was made.
    pub booked_at: DateTime<Utc>,
    /// When it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// The title of the movie.
    pub movie_title: String,
    /// The theatre's name.
    pub theatre_name: String,
    /// The hall's name.
    pub hall_name: String,
    /// When the show begins.
    pub start_time: DateTime<Utc>,
}

impl Booking {
    /// What the seats cost together, as sold.
    pub fn total(&self) -> Money {
        let minor = self.seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(seat.price_minor));
        Money::new(minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_as_they_are_written() {
        for status in BookingStatus::ALL {
            assert_eq!(BookingStatus::parse(status.as_str()), Ok(status));
        }
        assert_eq!(BookingStatus::parse("paid"), Err(BookingStatusError));
    }
}
