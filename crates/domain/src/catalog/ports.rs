//! What the catalog needs of a store.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Movie, Show, Theatre};
use crate::error::StoreError;
use crate::ids::{MovieId, ShowId, TheatreId};
use crate::page::PageRequest;

/// A span of time in one theatre: from the first instant to before the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DayWindow {
    pub theatre_id: TheatreId,
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after.
    pub to: DateTime<Utc>,
}

/// Which movies. Texts are folded ([`crate::text::fold`]); all that is given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MovieFilter {
    /// A part of title or description; no character of it is special.
    pub search: Option<String>,
    /// One of its genres, whole.
    pub genre: Option<String>,
    /// Its language, whole.
    pub language: Option<String>,
    /// Has an upcoming scheduled show in this theatre.
    pub shown_in: Option<TheatreId>,
    /// Has a scheduled show that starts in one of these windows.
    pub shown_during: Option<Vec<DayWindow>>,
}

/// A movie's place in the list of movies, which is ordered by title (code point by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovieCursor {
    pub title: String,
    pub id: MovieId,
}

/// Which shows. All that is given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShowFilter {
    /// Shows this movie.
    pub movie_id: Option<MovieId>,
    /// In this theatre.
    pub theatre_id: Option<TheatreId>,
    /// Starts in one of these windows.
    pub during: Option<Vec<DayWindow>>,
    /// Starts then or later.
    pub from: Option<DateTime<Utc>>,
    /// Starts before then.
    pub to: Option<DateTime<Utc>>,
    /// Has not started, by the store's clock.
    pub upcoming: bool,
}

/// A show's place in lists of shows, which are ordered by start, then id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShowCursor {
    /// When it begins.
    pub start_time: DateTime<Utc>,
    pub id: ShowId,
}

/// A theatre's place in the list of theatres, which is ordered by name (code point by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TheatreCursor {
    pub name: String,
    pub id: TheatreId,
}

/// Reads the catalog.
///
/// Lists MUST return the first [`PageRequest::rows`] items after the place that is given, in the list's order. A row that is not as it
/// should be (an unknown time zone, a show without prices) MUST be left out of lists and logged; asked for alone it is an error.
/// `seats_available` MUST count at the time of the call, with holds that ran out as free.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// Movies by title, then id.
    async fn movies(&self, filter: &MovieFilter, page: &PageRequest<MovieCursor>) -> Result<Vec<Movie>, StoreError>;

    /// Returns one movie.
    async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError>;

    /// Shows that take place, by start, then id. Cancelled ones are in no list.
    async fn shows(&self, filter: &ShowFilter, page: &PageRequest<ShowCursor>) -> Result<Vec<Show>, StoreError>;

    /// Returns one show, cancelled or not.
    async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError>;

    /// Theatres by name, then id, each with its halls by name, then id.
    async fn theatres(&self, page: &PageRequest<TheatreCursor>) -> Result<Vec<Theatre>, StoreError>;

    /// Returns one theatre.
    async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError>;
}
