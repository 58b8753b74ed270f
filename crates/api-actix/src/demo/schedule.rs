//! What is shown when.
//!
//! A hall's programme for a day is a function of the hall and the date, and of nothing else: two plans made on
//! different days have the same shows on the days they share.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::Tz;
use domain::money::Currency;
use domain::pricing::{TicketType, TicketTypeCode, TicketTypeNames};
use domain::seating::CategoryPrice;
use domain::seed::ShowSeed;

use super::movies::{MOVIES, Movie, Prints};
use super::theatres::{Category, Hall, Screen, THEATRES, Theatre};

/// How many days before today have shows.
const DAYS_BEFORE: u64 = 3;
/// How many days there are shows on: those before today, today and the fourteen after.
const DAYS: u64 = DAYS_BEFORE + 1 + 14;
/// How long adverts and trailers take before a movie.
const ADVERTS: TimeDelta = TimeDelta::minutes(15);
/// The minutes for which a hall is cleaned.
pub(super) const CLEANING_MINUTES: i32 = 15;
/// Shows begin on the quarters of the hour. The offsets of the theatres' timezones are whole quarters, so that these
/// are the same in UTC as on the local clock.
const QUARTER_SECONDS: i64 = 15 * 60;
/// The hour and minute after which no show begins: the last one is over hours before the next day's first.
const LATEST: (u32, u32) = (22, 45);
/// The hour at which evening prices begin, and children have gone home.
const EVENING: u32 = 17;

// Steps through the movies. The number of movies has no factor in common with the step of a slot, so that a hall shows
// no movie twice a day, nor with the step of a day, so that every movie comes to every hall.
const STEP_PER_SLOT: usize = 3;
const STEP_PER_DAY: usize = 5;
const STEP_PER_HALL: usize = 2;

/// A hall, with what all its shows have in common.
struct Venue {
    theatre: &'static Theatre,
    hall: &'static Hall,
    /// Which of all halls it is.
    place: usize,
    currency: Currency,
    categories: BTreeSet<Category>,
}

/// Returns the shows of all halls, from three days before today to fourteen days after it; today is the theatre's own.
pub(super) fn shows(now: DateTime<Utc>) -> Vec<ShowSeed> {
    let halls = THEATRES.iter().flat_map(|theatre| theatre.halls.iter().map(move |hall| (theatre, hall)));
    let mut shows = Vec::new();
    for (place, (theatre, hall)) in halls.enumerate() {
        // A test has every currency parse.
        let Ok(currency) = theatre.currency() else { continue };
        let today = now.with_timezone(&theatre.timezone).date_naive();
        let Some(first) = today.checked_sub_days(Days::new(DAYS_BEFORE)) else { continue };
        let venue = Venue { theatre, hall, place, currency, categories: hall.categories() };
        for date in (0..DAYS).filter_map(|days| first.checked_add_days(Days::new(days))) {
            shows.extend(day(&venue, date));
        }
    }
    shows
}

/// Returns the shows of a day in a hall.
fn day(venue: &Venue, date: NaiveDate) -> Vec<ShowSeed> {
    let Venue { theatre, hall, place, currency, .. } = *venue;
    let mut free_at = DateTime::<Utc>::MIN_UTC;
    let mut shows = Vec::with_capacity(hall.slots.len());
    for ((slot, time), movie) in hall.slots.iter().enumerate().zip(programme(hall, place, date)) {
        // None is left out but at the ends of the calendar.
        let Some(times) = times(theatre.timezone, date, *time, free_at, movie) else { continue };
        if times.local.date() != date || (times.local.hour(), times.local.minute()) > LATEST {
            break;
        }
        free_at = times.hall_free_at;
        let format = format(movie, hall, date, slot);
        shows.push(ShowSeed {
            movie_title: movie.title.into(),
            theatre_name: theatre.name.into(),
            hall_name: hall.name.into(),
            start_time: times.start,
            end_time: times.end,
            hall_free_at: times.hall_free_at,
            format: format.as_str().into(),
            language: language(movie, theatre, times.local),
            currency,
            prices: prices(venue, format, times.local),
        });
    }
    shows
}

/// Returns the movies of a day in a hall, one for each slot: those for children first.
fn programme(hall: &Hall, place: usize, date: NaiveDate) -> Vec<&'static Movie> {
    let day = usize::try_from(date.num_days_from_ce()).unwrap_or_default();
    let first = (day * STEP_PER_DAY + place * STEP_PER_HALL) % MOVIES.len();
    let mut movies: Vec<_> = MOVIES.iter().cycle().skip(first).step_by(STEP_PER_SLOT).take(hall.slots.len()).collect();
    movies.sort_by_key(|movie| !movie.family);
    movies
}

/// When a show begins and ends.
struct Times {
    start: DateTime<Utc>,
    /// The start by the theatre's clock.
    local: NaiveDateTime,
    end: DateTime<Utc>,
    hall_free_at: DateTime<Utc>,
}

/// Returns the times of a show of `movie`: it begins at `time`, or once the hall is free.
fn times(timezone: Tz, date: NaiveDate, time: (u32, u32), free_at: DateTime<Utc>, movie: &Movie) -> Option<Times> {
    let (hour, minute) = time;
    let slot = instant(timezone, date.and_time(NaiveTime::from_hms_opt(hour, minute, 0)?))?;
    let start = if slot < free_at { next_quarter(free_at)? } else { slot };
    let end = start.checked_add_signed(ADVERTS)?.checked_add_signed(TimeDelta::minutes(movie.minutes.into()))?;
    let hall_free_at = end.checked_add_signed(TimeDelta::minutes(i64::from(CLEANING_MINUTES)))?;
    Some(Times { start, local: start.with_timezone(&timezone).naive_local(), end, hall_free_at })
}

/// Returns the instant at which clocks show `local`: the earlier one if they do so twice, and the next quarter of an hour that
/// exists if they skip it.
fn instant(timezone: Tz, mut local: NaiveDateTime) -> Option<DateTime<Utc>> {
    // No timezone skips more than a day.
    for _ in 0..=24 * 4 {
        match timezone.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => return Some(instant.to_utc()),
            LocalResult::None => local = local.checked_add_signed(TimeDelta::seconds(QUARTER_SECONDS))?,
        }
    }
    None
}

/// Returns the first quarter of an hour that is not before `instant`.
fn next_quarter(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let over = instant.timestamp().rem_euclid(QUARTER_SECONDS);
    if over == 0 { Some(instant) } else { instant.checked_add_signed(TimeDelta::seconds(QUARTER_SECONDS - over)) }
}

/// How a movie is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    TwoD,
    ThreeD,
    Imax,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::TwoD => "2D",
            Self::ThreeD => "3D",
            Self::Imax => "IMAX",
        }
    }
}

/// How `movie` is shown in `hall`: the best way both can, but every other time in 2D where it would be 3D.
fn format(movie: &Movie, hall: &Hall, date: NaiveDate, slot: usize) -> Format {
    match (hall.screen, movie.prints) {
        (Screen::Imax, Prints::Imax | Prints::ThreeDAndImax) => Format::Imax,
        (Screen::ThreeD, Prints::ThreeDAndImax) => {
            let slot = i32::try_from(slot).unwrap_or_default();
            if (date.num_days_from_ce() ^ slot) & 1 == 0 { Format::ThreeD } else { Format::TwoD }
        }
        (Screen::Flat | Screen::ThreeD | Screen::Imax, _) => Format::TwoD,
    }
}

/// Returns the language of a show: what is spoken, and the subtitles if most visitors don't speak it. For children it is dubbed
/// until the evening.
fn language(movie: &Movie, theatre: &Theatre, start: NaiveDateTime) -> String {
    if movie.language == theatre.language {
        theatre.language.into()
    } else if movie.family && start.hour() < EVENING {
        format!("{} (dubbed)", theatre.language)
    } else {
        format!("{} ({} subtitles)", movie.language, theatre.language)
    }
}

/// What each category of the hall costs at a show that begins at `start` by the local clock.
fn prices(venue: &Venue, format: Format, start: NaiveDateTime) -> Vec<CategoryPrice> {
    let tariff = &venue.theatre.tariff;
    let evening = start.hour() >= EVENING;
    let standard = match (start.weekday(), evening) {
        (Weekday::Mon | Weekday::Tue | Weekday::Wed | Weekday::Thu | Weekday::Fri, false) => tariff.matinee,
        (Weekday::Mon | Weekday::Tue | Weekday::Wed | Weekday::Thu, true) => tariff.regular,
        (Weekday::Sat | Weekday::Sun, false) => tariff.regular,
        (Weekday::Fri | Weekday::Sat | Weekday::Sun, true) => tariff.peak,
    };
    let format = match format {
        Format::TwoD => 0,
        Format::ThreeD => tariff.three_d,
        Format::Imax => tariff.imax,
    };
    let price = |category: Category| standard + format + tariff.surcharge(category);
    let prices = venue.categories.iter().flat_map(|category| {
        let adult = CategoryPrice::adult(category.as_str(), price(*category));
        let child =
            child().map(|code| CategoryPrice { ticket_type: code, minor: for_child(adult.minor), ..adult.clone() });
        std::iter::once(adult).chain(child)
    });
    prices.collect()
}

/// Returns two thirds of a price, rounded down to a multiple of fifty minor units.
fn for_child(adult: i64) -> i64 {
    adult * 2 / 3 / 50 * 50
}

/// Returns the ticket types. The one for adults exists in every store.
pub fn ticket_types() -> Vec<TicketType> {
    let names = [("en", "Child (under 14)"), ("de", "Kind (unter 14)"), ("ja", "子ども（14歳未満）")];
    let names = TicketTypeNames::parse(names.map(|(tag, name)| (tag.to_owned(), name.to_owned()))).ok();
    let child =
        child().zip(names).map(|(code, names)| TicketType { id: None, code, names, needs_proof: false, position: 10 });
    child.into_iter().collect()
}

fn child() -> Option<TicketTypeCode> {
    TicketTypeCode::parse("child").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(timezone: Tz, local: &str) -> String {
        instant(timezone, local.parse().unwrap()).unwrap().format("%F %R").to_string()
    }

    #[test]
    fn a_time_that_clocks_skip_is_the_next_quarter_and_one_they_show_twice_is_the_earlier() {
        let (berlin, new_york) = (chrono_tz::Europe::Berlin, chrono_tz::America::New_York);
        assert_eq!(utc(berlin, "2026-03-28T11:00:00"), "2026-03-28 10:00");
        assert_eq!(utc(berlin, "2026-03-29T11:00:00"), "2026-03-29 09:00");
        assert_eq!(utc(berlin, "2026-03-29T02:30:00"), "2026-03-29 01:00");
        assert_eq!(utc(berlin, "2026-10-25T02:30:00"), "2026-10-25 00:30");
        assert_eq!(utc(new_york, "2026-03-08T02:15:00"), "2026-03-08 07:00");
        assert_eq!(utc(new_york, "2026-11-01T01:30:00"), "2026-11-01 05:30");
        // Samoa had no 30 December 2011.
        assert_eq!(utc(chrono_tz::Pacific::Apia, "2011-12-30T00:00:00"), "2011-12-30 10:00");
    }

    #[test]
    fn a_show_waits_for_the_one_before_until_the_next_quarter() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap();
        let movie = &MOVIES[0];
        let start = |free_at: &str| {
            times(chrono_tz::UTC, date, (14, 0), free_at.parse().unwrap(), movie)
                .unwrap()
                .start
                .format("%R")
                .to_string()
        };
        assert_eq!(start("2026-01-05T13:59:00Z"), "14:00");
        assert_eq!(start("2026-01-05T14:00:00Z"), "14:00");
        assert_eq!(start("2026-01-05T14:01:00Z"), "14:15");
        assert_eq!(start("2026-01-05T14:30:00Z"), "14:30");
    }
}
