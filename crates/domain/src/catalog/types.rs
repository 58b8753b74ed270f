//! The catalog as callers see it.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use thiserror::Error;

use crate::ids::{HallId, MovieId, ShowId, TheatreId};
use crate::money::Money;

/// A movie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Movie {
    /// The movie's id.
    pub id: MovieId,
    pub title: String,
    /// What it is about.
    pub description: String,
    /// How long it runs, in minutes.
    pub duration_minutes: i32,
    /// Its genres, the main one first.
    pub genres: Vec<String>,
    /// The language that is spoken.
    pub language: String,
    /// The age rating, as it is printed: `PG-13`, `16`.
    pub certificate: String,
    /// Where its poster is.
    pub poster_url: Option<String>,
    /// When it came to cinemas.
    pub release_date: NaiveDate,
    /// When it was added to the catalog.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A hall, as far as the catalog shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallSummary {
    /// The hall's id.
    pub id: HallId,
    pub name: String,
    /// How many seats its newest layout has.
    pub seats_total: i64,
}

/// A theatre with its halls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Theatre {
    /// The theatre's id.
    pub id: TheatreId,
    pub name: String,
    /// Where it is.
    pub location: String,
    /// The timezone of its days and clocks.
    pub timezone: Tz,
    /// Its halls, by name.
    pub halls: Vec<HallSummary>,
}

/// Whether a show takes place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShowStatus {
    /// It takes place.
    Scheduled,
    /// It was called off. It takes no booking.
    Cancelled,
}

/// A text that is not a show's status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a show's status is scheduled or cancelled")]
pub struct ShowStatusError;

impl ShowStatus {
    /// Returns the name in the store and on the wire.
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

/// A show, with the names a list needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Show {
    /// The show's id.
    pub id: ShowId,
    /// The movie that is shown.
    pub movie_id: MovieId,
    pub movie_title: String,
    /// The theatre it is shown in.
    pub theatre_id: TheatreId,
    /// The theatre's name.
    pub theatre_name: String,
    /// The hall it is shown in.
    pub hall_id: HallId,
    /// The hall's name.
    pub hall_name: String,
    /// When it begins.
    pub start_time: DateTime<Utc>,
    /// When it ends.
    pub end_time: DateTime<Utc>,
    /// `2D`, `3D`, `IMAX`.
    pub format: String,
    /// The language of this show, subtitles included: `Japanese (English subtitles)`.
    pub language: String,
    /// The price of its cheapest seat.
    pub price_from: Money,
    /// How many seats its layout has.
    pub seats_total: i64,
    /// How many of them are neither held, nor booked, nor kept by the house.
    pub seats_available: i64,
    /// Whether it takes place.
    pub status: ShowStatus,
}

/// Returns the instants at which `date` begins and ends in `timezone`: the first instant with that date, and the first of the next.
///
/// Where clocks go forward over midnight the day begins at the first minute that exists. `None` at the ends of the calendar.
pub fn day_in(timezone: Tz, date: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    Some((first_instant(timezone, date)?, first_instant(timezone, date.checked_add_days(Days::new(1))?)?))
}

fn first_instant(timezone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    let mut local = date.and_time(NaiveTime::MIN);
    // No timezone skips more than a day (Samoa skipped one in 2011), in quarters of an hour.
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
        // In Beirut the clocks go from 00:00 to 01:00: the day begins at one.
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
