//! The values of movies, theatres and halls that staff set. Each type has one constructor, which refuses invalid values.

use chrono::{Datelike as _, NaiveDate};
use chrono_tz::Tz;
use thiserror::Error;

use super::{Hall, Movie, Theatre};
use crate::ids::TheatreId;
use crate::money::{Currency, TaxRate};
use crate::text::{Line, Prose, TextError, fold, shown_line};

/// The title of a movie. Unique.
pub type Title = Line<1, 200>;
/// The description of a movie.
pub type Description = Prose<5_000>;
/// The spoken language, as people read it.
pub type LanguageName = Line<1, 100>;
/// An age rating as printed; empty if there is none.
pub type Certificate = Line<0, 20>;
/// The name of a theatre or a hall. Unique among the theatres, or among the halls of a theatre.
pub type PlaceName = Line<1, 100>;
/// The address or the city of a theatre.
pub type Location = Line<0, 200>;

/// The error of a number that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an integer from {min} to {max}")]
pub struct OutOfBounds {
    pub min: i32,
    pub max: i32,
}

/// A number of minutes from `MIN` to `MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Minutes<const MIN: i32, const MAX: i32>(i32);

impl<const MIN: i32, const MAX: i32> Minutes<MIN, MAX> {
    /// Parses a number of minutes.
    pub fn parse(minutes: i64) -> Result<Self, OutOfBounds> {
        let fits = |minutes: &i32| (MIN..=MAX).contains(minutes);
        i32::try_from(minutes).ok().filter(fits).map(Self).ok_or(OutOfBounds { min: MIN, max: MAX })
    }

    /// Returns the number.
    pub fn minutes(self) -> i32 {
        self.0
    }

    /// Returns a number that a store has kept.
    pub fn from_stored(minutes: i32) -> Self {
        Self(minutes)
    }
}

/// The duration of a movie: at most a day. The longest films that cinemas have shown take about fifteen hours.
pub type Duration = Minutes<1, 1_440>;
/// The time for which a hall is cleaned after a show.
pub type CleaningTime = Minutes<0, 240>;

/// The genres of a movie, the main one first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Genres(Vec<String>);

/// The reason why texts are not the genres of a movie.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenresError {
    #[error("must have at most {} genres", Genres::MAX)]
    TooMany,
    #[error("{source}")]
    Genre {
        /// The index of the invalid genre.
        at: usize,
        source: TextError,
    },
    /// Two genres differ at most in case.
    #[error("repeats a genre")]
    Repeated {
        /// The index of the second one.
        at: usize,
    },
}

impl Genres {
    /// The maximum number of genres.
    pub const MAX: usize = 10;
    /// The maximum number of characters of a genre.
    pub const GENRE_MAX: usize = 50;

    /// Parses genres.
    pub fn parse(texts: &[&str]) -> Result<Self, GenresError> {
        if texts.len() > Self::MAX {
            return Err(GenresError::TooMany);
        }
        let (mut genres, mut folded) = (Vec::new(), Vec::new());
        for (at, text) in texts.iter().enumerate() {
            let genre = shown_line(text, 1, Self::GENRE_MAX).map_err(|source| GenresError::Genre { at, source })?;
            if folded.contains(&fold(&genre)) {
                return Err(GenresError::Repeated { at });
            }
            folded.push(fold(&genre));
            genres.push(genre);
        }
        Ok(Self(genres))
    }

    /// Returns the genres.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// The address of a picture: an absolute HTTP or HTTPS address of at most 2 000 ASCII characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PosterUrl(String);

/// The error of a text that is not the address of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an address like https://example.org/poster.jpg of at most {} ASCII characters", PosterUrl::MAX)]
pub struct PosterUrlError;

impl PosterUrl {
    /// The maximum number of characters.
    pub const MAX: usize = 2_000;

    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, PosterUrlError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(PosterUrlError)?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
        // A user or a password in an address misleads people about its host.
        let fits = text.len() <= Self::MAX && is_plain && !host.is_empty() && !host.contains('@');
        if fits { Ok(Self(text.to_owned())) } else { Err(PosterUrlError) }
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The date of a movie's release: between the first public films and a century from the introduction of this rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReleaseDate(NaiveDate);

/// The error of a date at which no movie is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a date from 1888 to 2126, like 2026-12-24")]
pub struct ReleaseDateError;

impl ReleaseDate {
    /// Parses a date.
    pub fn parse(date: NaiveDate) -> Result<Self, ReleaseDateError> {
        if (1888..=2126).contains(&date.year()) { Ok(Self(date)) } else { Err(ReleaseDateError) }
    }

    /// Returns the date.
    pub fn date(self) -> NaiveDate {
        self.0
    }
}

/// The error of a text that is not the name of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be the name of an IANA time zone, like Europe/Berlin")]
pub struct TimeZoneError;

/// Parses the name of an IANA time zone. Case matters.
pub fn time_zone(name: &str) -> Result<Tz, TimeZoneError> {
    name.parse().map_err(|_| TimeZoneError)
}

/// What staff set of a movie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovieDetails {
    pub title: Title,
    pub description: Description,
    pub duration: Duration,
    pub genres: Genres,
    pub language: LanguageName,
    pub certificate: Certificate,
    pub poster_url: Option<PosterUrl>,
    pub release_date: ReleaseDate,
}

impl MovieDetails {
    /// Returns the text in which movies are searched: title and description, folded.
    pub fn search_folded(&self) -> String {
        movie_search_folded(self.title.as_str(), self.description.as_str())
    }
}

/// Returns the text in which a movie is searched.
pub fn movie_search_folded(title: &str, description: &str) -> String {
    format!("{}\n{}", fold(title), fold(description))
}

/// Changes of a movie. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MovieChange {
    pub title: Option<Title>,
    pub description: Option<Description>,
    pub duration: Option<Duration>,
    pub genres: Option<Genres>,
    pub language: Option<LanguageName>,
    pub certificate: Option<Certificate>,
    /// `Some(None)` removes the address.
    pub poster_url: Option<Option<PosterUrl>>,
    pub release_date: Option<ReleaseDate>,
}

impl MovieChange {
    /// Returns the details of `movie` after the change.
    pub fn apply(self, movie: &Movie) -> MovieDetails {
        let poster_url = || movie.poster_url.clone().map(PosterUrl);
        MovieDetails {
            title: self.title.unwrap_or_else(|| Title::from_stored(movie.title.clone())),
            description: self.description.unwrap_or_else(|| Description::from_stored(movie.description.clone())),
            duration: self.duration.unwrap_or(Minutes(movie.duration_minutes)),
            genres: self.genres.unwrap_or_else(|| Genres(movie.genres.clone())),
            language: self.language.unwrap_or_else(|| LanguageName::from_stored(movie.language.clone())),
            certificate: self.certificate.unwrap_or_else(|| Certificate::from_stored(movie.certificate.clone())),
            poster_url: self.poster_url.unwrap_or_else(poster_url),
            release_date: self.release_date.unwrap_or(ReleaseDate(movie.release_date)),
        }
    }
}

impl Theatre {
    /// The cleaning time of a theatre for which staff give none.
    pub const CLEANING_TIME: CleaningTime = Minutes(15);
}

/// What staff set of a theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreDetails {
    pub name: PlaceName,
    pub location: Location,
    /// The time zone of its days and clocks.
    pub timezone: Tz,
    pub currency: Currency,
    pub tax_rate: TaxRate,
    pub cleaning_time: CleaningTime,
}

impl TheatreDetails {
    /// Returns whether the theatre must have no upcoming shows for this change: another time zone would move their local times, and another
    /// currency would differ from that of their prices.
    pub fn needs_no_shows(&self, before: &Theatre) -> bool {
        self.timezone != before.timezone || self.currency != before.currency
    }
}

impl TheatreDetails {
    /// Returns whether the change is possible only without price lists: their amounts are in the currency of before.
    pub fn needs_no_price_lists(&self, before: &Theatre) -> bool {
        self.currency != before.currency
    }
}

/// Changes of a theatre. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TheatreChange {
    pub name: Option<PlaceName>,
    pub location: Option<Location>,
    pub timezone: Option<Tz>,
    pub currency: Option<Currency>,
    pub tax_rate: Option<TaxRate>,
    pub cleaning_time: Option<CleaningTime>,
}

impl TheatreChange {
    /// Returns the details of `theatre` after the change.
    pub fn apply(self, theatre: &Theatre) -> TheatreDetails {
        TheatreDetails {
            name: self.name.unwrap_or_else(|| PlaceName::from_stored(theatre.name.clone())),
            location: self.location.unwrap_or_else(|| Location::from_stored(theatre.location.clone())),
            timezone: self.timezone.unwrap_or(theatre.timezone),
            currency: self.currency.unwrap_or(theatre.currency),
            tax_rate: self.tax_rate.unwrap_or(theatre.tax_rate),
            cleaning_time: self.cleaning_time.unwrap_or(Minutes(theatre.cleaning_minutes)),
        }
    }
}

/// What staff set of a hall. Its seats are in its layouts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallDetails {
    pub theatre_id: TheatreId,
    pub name: PlaceName,
}

/// Changes of a hall. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HallChange {
    pub name: Option<PlaceName>,
}

impl HallChange {
    /// Returns the details of `hall` after the change.
    pub fn apply(self, hall: &Hall) -> HallDetails {
        HallDetails {
            theatre_id: hall.theatre_id,
            name: self.name.unwrap_or_else(|| PlaceName::from_stored(hall.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genres_are_at_most_ten_and_different() {
        assert_eq!(Genres::parse(&["Drama", " Sci-Fi "]).unwrap().as_slice(), ["Drama", "Sci-Fi"]);
        assert_eq!(Genres::parse(&["Drama", "DRAMA"]), Err(GenresError::Repeated { at: 1 }));
        assert_eq!(Genres::parse(&["x"; 11]), Err(GenresError::TooMany));
        let source = TextError::TooShort { min: 1 };
        assert_eq!(Genres::parse(&["Drama", " "]), Err(GenresError::Genre { at: 1, source }));
        assert!(Genres::parse(&[]).is_ok());
    }

    #[test]
    fn poster_addresses_are_absolute_and_plain() {
        for good in ["https://example.org/a.jpg", "http://example.org?x=1", "https://[::1]:8080/x"] {
            assert_eq!(PosterUrl::parse(good).unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "example.org/a.jpg",
            "javascript:alert(1)",
            "https://",
            "https:///a",
            "https://user@example.org/a",
            "https://example.org/a b",
            "https://example.org/\"x",
            "https://example.org/ä",
        ] {
            assert_eq!(PosterUrl::parse(wrong), Err(PosterUrlError), "{wrong}");
        }
        assert!(PosterUrl::parse(&format!("https://example.org/{}", "a".repeat(2_000))).is_err());
    }

    #[test]
    fn durations_are_at_most_a_day() {
        assert_eq!(Duration::parse(1).unwrap().minutes(), 1);
        assert!(Duration::parse(1_440).is_ok());
        for wrong in [0, -1, 1_441, 1_800, i64::MAX] {
            assert_eq!(Duration::parse(wrong), Err(OutOfBounds { min: 1, max: 1_440 }), "{wrong}");
        }
    }

    #[test]
    fn release_dates_and_time_zones_exist() {
        assert!(ReleaseDate::parse("1888-10-14".parse().unwrap()).is_ok());
        assert_eq!(ReleaseDate::parse("0026-01-01".parse().unwrap()), Err(ReleaseDateError));
        assert_eq!(time_zone("Europe/Berlin"), Ok(chrono_tz::Europe::Berlin));
        for wrong in ["", "Europe/Bonn", "europe/berlin", "CEST", "+02:00"] {
            assert_eq!(time_zone(wrong), Err(TimeZoneError), "{wrong}");
        }
    }
}
