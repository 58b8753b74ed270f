//! Holds and bookings as callers see them.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use super::state::{BookingState, BookingStatus};
use crate::ids::{BookingId, SeatId, ShowId, UserId};
use crate::money::{Currency, Money};
use crate::random::{Random, Reference, draw_crockford, is_crockford};

/// Which part of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Shows that have not started.
    Upcoming,
    /// Shows that have.
    Past,
}

/// A seat of a hold or a booking, with its price as it was when it was held or sold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoldSeat {
    pub id: SeatId,
    pub row: String,
    /// Its number in the row.
    pub number: i32,
    pub category: String,
    /// Its price in minor units of the show's currency.
    pub price_minor: i64,
}

/// What seats cost together.
fn total(seats: &[SoldSeat], currency: Currency) -> Money {
    let minor = seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(seat.price_minor));
    Money::new(minor, currency)
}

/// A hold's id: the show it is for, and 130 random bits. Whoever knows it has been told it, and a hold is its owner's alone
/// besides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(String);

/// A text that is no hold's id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a hold's id is a show's id, a dash and 26 characters of Crockford's base 32")]
pub struct HoldIdError;

/// The most holds of a user that are listed. A user's limits allow far fewer.
pub const HOLDS_LISTED_MAX: i64 = 100;

impl HoldId {
    /// How many characters are drawn: 130 bits.
    const DRAWN: usize = 26;

    /// Draws an id.
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

    /// The show that the hold is for.
    pub fn show_id(&self) -> ShowId {
        // Parsed and drawn ids begin so.
        ShowId(self.0.split_once('-').and_then(|(show, _)| show.parse().ok()).unwrap_or_default())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HoldId {
    /// Without what was drawn: it stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HoldId({}-…)", self.show_id())
    }
}

/// Seats of a show that are kept for a user until the hold runs out, is released, or becomes a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub id: HoldId,
    pub user_id: UserId,
    pub show_id: ShowId,
    /// The seats, in the order they were asked for; the best seats by row, then number. At least one.
    pub seats: Vec<SoldSeat>,
    /// The currency of the prices.
    pub currency: Currency,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it runs out: at that very instant the seats are anybody's.
    pub expires_at: DateTime<Utc>,
}

impl Hold {
    /// How long a hold may last in all, however often it is extended (API: "30 minutes after it was made at most").
    pub const LIFE_MAX: TimeDelta = TimeDelta::minutes(30);

    /// Whether it keeps its seats at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.expires_at > now
    }

    /// What its booking will cost.
    pub fn total(&self) -> Money {
        total(&self.seats, self.currency)
    }
}

/// A time during which a user kept a seat of a show from others, by a hold or a booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tenure {
    /// When it began.
    pub since: DateTime<Utc>,
    /// When the seat was let go of.
    pub until: DateTime<Utc>,
}

impl Tenure {
    /// A seat that is held again before it was let go of for this long was never given a chance to be somebody else's: the earlier
    /// tenure counts on towards [`Hold::LIFE_MAX`].
    pub const GAP: TimeDelta = TimeDelta::minutes(10);
    /// How long a tenure that has ended can shorten a later hold. One that ended longer ago joins only a tenure whose own beginning is
    /// `Hold::LIFE_MAX` ago, and whose time is used up without it.
    pub const COUNTED: TimeDelta = TimeDelta::minutes(40);

    /// Returns when a tenure that begins at `from` began if those before it that count on are included.
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

/// A booking, with what a ticket shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    /// The booking's id.
    pub id: BookingId,
    /// What is printed on the ticket.
    pub reference: Reference,
    pub user_id: UserId,
    pub show_id: ShowId,
    /// The seats, in the order they were asked for. At least one.
    pub seats: Vec<SoldSeat>,
    /// What has become of it.
    pub state: BookingState,
    /// The currency of its prices.
    pub currency: Currency,
    /// When it was made.
    pub booked_at: DateTime<Utc>,
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
    /// What has become of it, in a word.
    pub fn status(&self) -> BookingStatus {
        self.state.status()
    }

    /// What the seats cost together, as sold.
    pub fn total(&self) -> Money {
        total(&self.seats, self.currency)
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
