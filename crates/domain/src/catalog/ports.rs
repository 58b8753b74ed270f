//! The ports of the catalog.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Hall, Movie, Show, Theatre};
use crate::error::StoreError;
use crate::ids::{HallId, MovieId, ShowId, TheatreId};
use crate::page::PageRequest;

/// A half-open span of time in one theatre.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayWindow {
    pub theatre_id: TheatreId,
    /// The inclusive start.
    pub from: DateTime<Utc>,
    /// The exclusive end.
    pub to: DateTime<Utc>,
}

/// Selects movies. Texts are folded ([`crate::text::fold`]). A movie must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MovieFilter {
    /// A substring of the title or description, taken literally.
    pub search: Option<String>,
    /// One of the movie's genres, compared in full.
    pub genre: Option<String>,
    /// The movie's language, compared in full.
    pub language: Option<String>,
    /// Only movies with an upcoming scheduled show in this theatre.
    pub shown_in: Option<TheatreId>,
    /// Only movies with a scheduled show that starts in one of these windows.
    pub shown_during: Option<Vec<DayWindow>>,
    /// Includes retired movies.
    pub retired: bool,
}

/// The position of a movie in the list of movies, which is ordered by title (by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovieCursor {
    pub title: String,
    pub id: MovieId,
}

/// Selects shows. A show must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShowFilter {
    pub movie_id: Option<MovieId>,
    pub theatre_id: Option<TheatreId>,
    /// Only shows that start in one of these windows.
    pub during: Option<Vec<DayWindow>>,
    /// The inclusive earliest start.
    pub from: Option<DateTime<Utc>>,
    /// The exclusive latest start.
    pub to: Option<DateTime<Utc>>,
    /// Only shows that have not started, by the store's clock.
    pub upcoming: bool,
}

/// The position of a show in a list of shows, which is ordered by start, then id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShowCursor {
    pub start_time: DateTime<Utc>,
    pub id: ShowId,
}

/// Selects theatres. A theatre must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TheatreFilter {
    /// A substring of the name, folded.
    pub search: Option<String>,
    /// Only these theatres.
    pub among: Option<Vec<TheatreId>>,
    /// Includes retired theatres.
    pub retired: bool,
}

/// Selects halls. A hall must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HallFilter {
    /// Only halls of these theatres.
    pub theatres: Option<Vec<TheatreId>>,
    /// A substring of the name, folded.
    pub search: Option<String>,
}

/// The position of a hall in the list of halls, which is ordered by name (by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HallCursor {
    pub name: String,
    pub id: HallId,
}

/// The position of a theatre in the list of theatres, which is ordered by name (by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreCursor {
    pub name: String,
    pub id: TheatreId,
}

/// Reads the catalog.
///
/// Lists MUST return the first [`PageRequest::rows`] items after the given position, in the order of the list. An invalid row (an unknown
/// time zone, a show without prices) MUST be left out of lists and logged; a read of this row alone is an error. `seats_available` MUST be
/// counted at the time of the call, with expired holds as free.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// Returns movies, ordered by title, then id.
    async fn movies(&self, filter: &MovieFilter, page: &PageRequest<MovieCursor>) -> Result<Vec<Movie>, StoreError>;

    /// Returns one movie, retired or not.
    async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError>;

    /// Returns scheduled shows, ordered by start, then id. Lists never contain cancelled shows.
    async fn shows(&self, filter: &ShowFilter, page: &PageRequest<ShowCursor>) -> Result<Vec<Show>, StoreError>;

    /// Returns one show, cancelled or not.
    async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError>;

    /// Returns theatres, ordered by name, then id, each with its halls, ordered by name, then id.
    async fn theatres(
        &self,
        filter: &TheatreFilter,
        page: &PageRequest<TheatreCursor>,
    ) -> Result<Vec<Theatre>, StoreError>;

    /// Returns one theatre, retired or not.
    async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError>;

    /// Returns halls, retired or not, ordered by name, then id.
    async fn halls(&self, filter: &HallFilter, page: &PageRequest<HallCursor>) -> Result<Vec<Hall>, StoreError>;

    /// Returns one hall, retired or not.
    async fn hall(&self, id: HallId) -> Result<Option<Hall>, StoreError>;
}
