//! Holds and bookings as callers see them.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::counter::Sale;
use super::state::{BookingState, BookingStatus};
use crate::ids::{BookingId, SeatId, ShowId, UserId};
use crate::money::{Currency, Money, TaxRate};
use crate::pricing::{TicketTypeCode, tax_included};
use crate::random::{Random, Reference, draw_crockford, is_crockford};

/// A part of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Shows that have not started.
    Upcoming,
    /// Shows that have started.
    Past,
}

/// A seat of a hold or booking, with its ticket type and its price at that time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoldSeat {
    pub id: SeatId,
    pub row: String,
    pub number: i32,
    pub category: String,
    pub ticket_type: TicketTypeCode,
    /// In minor units of the show's currency.
    pub price_minor: i64,
}

/// Returns the total price.
fn total(seats: &[SoldSeat], currency: Currency) -> Money {
    let minor = seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(seat.price_minor));
    Money::new(minor, currency)
}

/// The id of a hold: the id of its show and 130 random bits. It is unguessable; ownership is checked as well.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(String);

/// The error for an invalid id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a hold's id is a show's id, a dash and 26 characters of Crockford's base 32")]
pub struct HoldIdError;

/// The maximum number of listed holds. The limits of an account allow far fewer.
pub const HOLDS_LISTED_MAX: i64 = 100;

impl HoldId {
    /// The number of random characters: 130 bits.
    const DRAWN: usize = 26;

    /// Generates an id.
    pub fn draw(show_id: ShowId, random: &dyn Random) -> Self {
        Self(format!("{show_id}-{}", draw_crockford::<{ Self::DRAWN }>(random)))
    }

    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, HoldIdError> {
        let (show, drawn) = text.split_once('-').ok_or(HoldIdError)?;
        let show_id: i64 = show.parse().map_err(|_| HoldIdError)?;
        let fits = show_id > 0 && show_id.to_string() == show && is_crockford(drawn, Self::DRAWN);
        if fits { Ok(Self(text.to_owned())) } else { Err(HoldIdError) }
    }

    /// Returns the show of the hold.
    pub fn show_id(&self) -> ShowId {
        // All ids begin with it.
        ShowId(self.0.split_once('-').and_then(|(show, _)| show.parse().ok()).unwrap_or_default())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HoldId {
    /// Hides the random part, which must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HoldId({}-…)", self.show_id())
    }
}

/// Seats of a show that are kept for a user until the hold expires, is released, or becomes a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub id: HoldId,
    pub user_id: UserId,
    pub show_id: ShowId,
    /// In the order of the request; the best seats by row, then number. At least one.
    pub seats: Vec<SoldSeat>,
    pub currency: Currency,
    pub created_at: DateTime<Utc>,
    /// The time at which the seats are free again.
    pub expires_at: DateTime<Utc>,
}

impl Hold {
    /// The maximum total time of a hold with all extensions (API: "30 minutes after it was made at most").
    pub const LIFE_MAX: TimeDelta = TimeDelta::minutes(30);

    /// Returns whether it keeps its seats at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at > now
    }

    /// Returns the price of its booking.
    pub fn total(&self) -> Money {
        total(&self.seats, self.currency)
    }
}

/// A time during which a user had a seat of a show, by a hold or a booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tenure {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Tenure {
    /// The minimum pause between two tenures. After a shorter one, other users had no real chance to get the seat, so the earlier tenure
    /// counts towards [`Hold::LIFE_MAX`].
    pub const GAP: TimeDelta = TimeDelta::minutes(10);
    /// The time for which an ended tenure can shorten a later hold. An older one could continue only a tenure that began `Hold::LIFE_MAX` ago,
    /// whose hold time is used up anyway.
    pub const COUNTED: TimeDelta = TimeDelta::minutes(40);

    /// Returns the beginning of a tenure from `from`, including earlier tenures that it continues.
    ///
    /// For example, a seat held from 12:00 to 12:08 and from 12:15 to 12:20 and again from 12:25 has been held since 12:00.
    pub fn begin(earlier: &[Self], from: DateTime<Utc>) -> DateTime<Utc> {
        let mut since = from;
        loop {
            let joined = earlier.iter().filter(|tenure| tenure.since < since && tenure.until + Self::GAP > since);
            match joined.map(|tenure| tenure.since).min() {
                Some(earlier) => since = earlier,
                None => return since,
            }
        }
    }
}

/// A booking, with the texts for the ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    pub id: BookingId,
    /// Printed on the ticket.
    pub reference: Reference,
    pub user_id: UserId,
    pub show_id: ShowId,
    /// In the order of the request. At least one.
    pub seats: Vec<SoldSeat>,
    pub state: BookingState,
    pub sale: Sale,
    pub currency: Currency,
    /// The rate of the tax that the prices include, at the time of the sale.
    pub tax_rate: TaxRate,
    pub booked_at: DateTime<Utc>,
    pub movie_title: String,
    pub theatre_name: String,
    pub hall_name: String,
    /// The time at which the show begins.
    pub start_time: DateTime<Utc>,
}

impl Booking {
    /// Returns the status.
    pub fn status(&self) -> BookingStatus {
        self.state.status()
    }

    /// Returns the total of the prices at the time of the sale.
    pub fn total(&self) -> Money {
        total(&self.seats, self.currency)
    }

    /// Returns the tax in [`Booking::total`]: the sum of the tax of each seat.
    pub fn tax(&self) -> Money {
        let rate = u32::try_from(self.tax_rate.basis_points()).unwrap_or_default();
        let minor = self.seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(tax_included(seat.price_minor, rate)));
        Money::new(minor, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Random for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }

    #[test]
    fn a_holds_id_names_its_show_and_is_parsed_strictly() {
        let id = HoldId::draw(ShowId(42), &Ones);
        assert_eq!(id.as_str(), "42-11111111111111111111111111");
        assert_eq!(id.show_id(), ShowId(42));
        assert_eq!(HoldId::parse(id.as_str()), Ok(id.clone()));
        assert_eq!(format!("{id:?}"), "HoldId(42-…)");
        let drawn = "1".repeat(26);
        let texts = ["", "42", "42-", &drawn, "42-1", "42-l1111111111111111111111111", "x-11111111111111111111111111"];
        for wrong in
            texts.into_iter().map(str::to_owned).chain(["0-", "-1-", "+1-", "042-"].map(|at| format!("{at}{drawn}")))
        {
            assert_eq!(HoldId::parse(&wrong), Err(HoldIdError), "{wrong}");
        }
    }
}
