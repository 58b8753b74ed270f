//! The types of the catalog.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use thiserror::Error;

use crate::ids::{HallId, MovieId, ShowId, TheatreId};
use crate::money::{Currency, Money, TaxRate};

/// A movie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Movie {
    pub id: MovieId,
    pub title: String,
    pub description: String,
    pub duration_minutes: i32,
    /// The main genre comes first.
    pub genres: Vec<String>,
    /// The spoken language.
    pub language: String,
    /// The age rating as printed: `PG-13`, `16`.
    pub certificate: String,
    pub poster_url: Option<String>,
    /// The date of its release in cinemas.
    pub release_date: NaiveDate,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The time at which staff retired it. A retired movie is in no public list and gets no shows.
    pub retired_at: Option<DateTime<Utc>>,
    /// Increased by every change.
    pub version: i64,
}

/// A hall in the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallSummary {
    pub id: HallId,
    pub name: String,
    /// The number of seats of its newest layout.
    pub seats_total: i64,
}

/// A hall as staff see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hall {
    pub id: HallId,
    pub theatre_id: TheatreId,
    pub name: String,
    /// The number of seats of its newest layout; 0 if it has none.
    pub seats_total: i64,
    /// The time at which staff retired it. A retired hall gets no shows.
    pub retired_at: Option<DateTime<Utc>>,
    /// Increased by every change.
    pub version: i64,
}

/// A theatre with its halls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Theatre {
    pub id: TheatreId,
    pub name: String,
    pub location: String,
    /// The time zone of its days and clocks.
    pub timezone: Tz,
    /// The currency of its prices.
    pub currency: Currency,
    /// The rate of the tax that its prices include.
    pub tax_rate: TaxRate,
    /// The minutes for which a hall is cleaned after a show.
    pub cleaning_minutes: i32,
    /// The time at which staff retired it. A retired theatre is in no public list and gets no shows.
    pub retired_at: Option<DateTime<Utc>>,
    /// Increased by every change.
    pub version: i64,
    /// Ordered by name. Without retired halls.
    pub halls: Vec<HallSummary>,
}

/// The status of a show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShowStatus {
    Scheduled,
    /// Cancelled. It cannot be booked.
    Cancelled,
}

/// The error of a text that is not a status of a show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a show's status is scheduled or cancelled")]
pub struct ShowStatusError;

impl ShowStatus {
    /// Returns the name in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ShowStatusError> {
        match text {
            "scheduled" => Ok(Self::Scheduled),
            "cancelled" => Ok(Self::Cancelled),
            _ => Err(ShowStatusError),
        }
    }
}

/// A show, with the names for a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Show {
    pub id: ShowId,
    pub movie_id: MovieId,
    pub movie_title: String,
    pub theatre_id: TheatreId,
    pub theatre_name: String,
    pub hall_id: HallId,
    pub hall_name: String,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    /// For example `2D`, `3D` or `IMAX`.
    pub format: String,
    /// The language of this show, including subtitles: `Japanese (English subtitles)`.
    pub language: String,
    /// The price of its cheapest seat.
    pub price_from: Money,
    /// The number of seats of its layout.
    pub seats_total: i64,
    /// The number of seats that are neither held, booked nor blocked by the cinema.
    pub seats_available: i64,
    pub status: ShowStatus,
}

/// Returns the instants at which `date` begins and ends in `timezone`: the first instant of that date, and the first of the next.
///
/// If clocks go forward over midnight, the day begins at the first minute that exists. Returns `None` at the ends of the calendar.
pub fn day_in(timezone: Tz, date: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    Some((first_instant(timezone, date)?, first_instant(timezone, date.checked_add_days(Days::new(1))?)?))
}

fn first_instant(timezone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    let mut local = date.and_time(NaiveTime::MIN);
    // No time zone skips more than a day (Samoa skipped one in 2011), and transitions are multiples of a quarter of an hour.
    for _ in 0..=24 * 4 {
        match timezone.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => return Some(instant.to_utc()),
            LocalResult::None => local = local.checked_add_signed(TimeDelta::minutes(15))?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(timezone: Tz, date: &str) -> (String, String) {
        let (from, to) = day_in(timezone, date.parse().unwrap()).unwrap();
        (from.to_rfc3339(), to.to_rfc3339())
    }

    #[test]
    fn a_day_is_the_theatres_own() {
        assert_eq!(
            day(chrono_tz::Asia::Tokyo, "2026-03-01"),
            ("2026-02-28T15:00:00+00:00".into(), "2026-03-01T15:00:00+00:00".into())
        );
    }

    #[test]
    fn a_day_on_which_clocks_change_is_longer_or_shorter() {
        assert_eq!(
            day(chrono_tz::Europe::Berlin, "2026-03-29"),
            ("2026-03-28T23:00:00+00:00".into(), "2026-03-29T22:00:00+00:00".into())
        );
        assert_eq!(
            day(chrono_tz::Europe::Berlin, "2026-10-25"),
            ("2026-10-24T22:00:00+00:00".into(), "2026-10-25T23:00:00+00:00".into())
        );
        // In Beirut the clocks go from 00:00 to 01:00, so the day begins at 01:00.
        assert_eq!(
            day(chrono_tz::Asia::Beirut, "2022-03-27"),
            ("2022-03-26T22:00:00+00:00".into(), "2022-03-27T21:00:00+00:00".into())
        );
    }

    #[test]
    fn the_ends_of_the_calendar_are_no_days() {
        assert_eq!(day_in(chrono_tz::UTC, NaiveDate::MAX), None);
    }
}
