//! The service that reads the catalog.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use thiserror::Error;

use super::{
    CatalogStore, DayWindow, Movie, MovieCursor, MovieFilter, Show, ShowCursor, ShowFilter, Theatre, TheatreCursor,
    TheatreFilter, day_in,
};
use crate::error::StoreError;
use crate::ids::{MovieId, ShowId, TheatreId};
use crate::page::{Page, PageLimit, PageRequest};
use crate::text::fold;

/// A query for movies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MovieQuery {
    /// A substring of the title or description. Case is ignored.
    pub search: Option<String>,
    /// A genre. Case is ignored.
    pub genre: Option<String>,
    /// A language. Case is ignored.
    pub language: Option<String>,
    /// Only movies with an upcoming show in this theatre or, if `date` is given, with a show there on that day.
    pub theatre_id: Option<TheatreId>,
    /// Only movies with a show on that day, in the time zone of the show's theatre.
    pub date: Option<NaiveDate>,
}

/// A query for shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShowQuery {
    pub movie_id: Option<MovieId>,
    pub theatre_id: Option<TheatreId>,
    /// Only shows on that day, in the time zone of the show's theatre.
    pub date: Option<NaiveDate>,
    /// The inclusive earliest start.
    pub from: Option<DateTime<Utc>>,
    /// The exclusive latest start.
    pub to: Option<DateTime<Utc>>,
    /// Includes shows that have started. A query with `date` or `from` includes them in any case.
    pub include_past: bool,
}

/// The reason why the shows of a movie were not listed.
#[derive(Debug, Clone, Error)]
pub enum MovieShowsError {
    #[error("there is no such movie")]
    MovieNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the catalog.
pub struct CatalogService {
    pub store: Arc<dyn CatalogStore>,
}

impl CatalogService {
    /// Returns a page of the matching movies.
    pub async fn movies(
        &self,
        query: MovieQuery,
        page: &PageRequest<MovieCursor>,
    ) -> Result<Page<Movie, MovieCursor>, StoreError> {
        let shown_during = self.windows(query.date, query.theatre_id).await?;
        let filter = MovieFilter {
            search: query.search.as_deref().map(fold),
            genre: query.genre.as_deref().map(fold),
            language: query.language.as_deref().map(fold),
            shown_in: query.theatre_id.filter(|_| shown_during.is_none()),
            shown_during,
            retired: false,
        };
        let rows = self.store.movies(&filter, page).await?;
        Ok(page.cut(rows, |movie| MovieCursor { title: movie.title.clone(), id: movie.id }))
    }

    /// Returns one movie.
    pub async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError> {
        self.store.movie(id).await
    }

    /// Returns a page of the matching shows.
    pub async fn shows(
        &self,
        query: ShowQuery,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Page<Show, ShowCursor>, StoreError> {
        let filter = ShowFilter {
            movie_id: query.movie_id,
            theatre_id: query.theatre_id,
            during: self.windows(query.date, query.theatre_id).await?,
            from: query.from,
            to: query.to,
            upcoming: !query.include_past && query.date.is_none() && query.from.is_none(),
        };
        let rows = self.store.shows(&filter, page).await?;
        Ok(page.cut(rows, |show| ShowCursor { start_time: show.start_time, id: show.id }))
    }

    /// Returns a page of a movie's shows. A movie without shows has an empty page; an unknown movie is an error.
    pub async fn movie_shows(
        &self,
        movie_id: MovieId,
        query: ShowQuery,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Page<Show, ShowCursor>, MovieShowsError> {
        let found = self.shows(ShowQuery { movie_id: Some(movie_id), ..query }, page).await?;
        if found.items.is_empty() && self.store.movie(movie_id).await?.is_none() {
            return Err(MovieShowsError::MovieNotFound);
        }
        Ok(found)
    }

    /// Returns one show.
    pub async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError> {
        self.store.show(id).await
    }

    /// Returns a page of the theatres.
    pub async fn theatres(
        &self,
        page: &PageRequest<TheatreCursor>,
    ) -> Result<Page<Theatre, TheatreCursor>, StoreError> {
        let rows = self.store.theatres(&TheatreFilter::default(), page).await?;
        Ok(page.cut(rows, |theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id }))
    }

    /// Returns one theatre.
    pub async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError> {
        self.store.theatre(id).await
    }

    async fn windows(
        &self,
        date: Option<NaiveDate>,
        theatre: Option<TheatreId>,
    ) -> Result<Option<Vec<DayWindow>>, StoreError> {
        match date {
            Some(date) => windows_of(self.store.as_ref(), date, theatre).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Returns the window of `date` in each theatre, or in one of them. A day begins and ends at different instants in different time zones.
pub async fn windows_of(
    store: &dyn CatalogStore,
    date: NaiveDate,
    theatre: Option<TheatreId>,
) -> Result<Vec<DayWindow>, StoreError> {
    let theatres = match theatre {
        Some(id) => match store.theatre(id).await {
            Ok(found) => found.into_iter().collect(),
            // The row may be invalid. Lists leave such a theatre out, so it is left out here too; if the store itself failed, the list
            // fails as well.
            Err(StoreError::Internal(_)) => {
                all_theatres(store).await?.into_iter().filter(|theatre| theatre.id == id).collect()
            }
            Err(error) => return Err(error),
        },
        None => all_theatres(store).await?,
    };
    let window = |theatre: &Theatre| {
        day_in(theatre.timezone, date).map(|(from, to)| DayWindow { theatre_id: theatre.id, from, to })
    };
    Ok(theatres.iter().filter_map(window).collect())
}

/// Returns all theatres. Retired ones are included, because their past shows stay.
pub async fn all_theatres(store: &dyn CatalogStore) -> Result<Vec<Theatre>, StoreError> {
    let limit = PageLimit::parse(i64::from(PageLimit::MAX)).unwrap_or(PageLimit::DEFAULT);
    let mut page = PageRequest { limit, after: None };
    let filter = TheatreFilter { retired: true, ..TheatreFilter::default() };
    let mut all = Vec::new();
    loop {
        let rows = store.theatres(&filter, &page).await?;
        let found = page.cut(rows, |theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id });
        all.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use futures::executor::block_on;

    use super::*;
    use crate::catalog::MockCatalogStore;
    use crate::money::{Currency, TaxRate};

    fn theatre(id: i64, timezone: Tz) -> Theatre {
        Theatre {
            id: TheatreId(id),
            name: format!("T{id}"),
            location: String::new(),
            timezone,
            currency: Currency::parse("EUR").unwrap(),
            tax_rate: TaxRate::from_basis_points(700).unwrap(),
            cleaning_minutes: 15,
            retired_at: None,
            version: 1,
            halls: Vec::new(),
        }
    }

    fn first_page<Place>() -> PageRequest<Place> {
        PageRequest { limit: PageLimit::DEFAULT, after: None }
    }

    #[test]
    fn a_date_is_another_window_in_each_theatre() {
        let mut store = MockCatalogStore::new();
        store
            .expect_theatres()
            .returning(|_, _| Ok(vec![theatre(1, chrono_tz::Europe::Berlin), theatre(2, chrono_tz::Asia::Tokyo)]));
        store
            .expect_shows()
            .withf(|filter, _| {
                let windows = filter.during.as_deref().unwrap();
                let starts: Vec<_> = windows.iter().map(|w| (w.theatre_id.0, w.from.to_rfc3339())).collect();
                !filter.upcoming
                    && starts
                        == [(1, "2026-01-01T23:00:00+00:00".to_owned()), (2, "2026-01-01T15:00:00+00:00".to_owned())]
            })
            .times(1)
            .returning(|_, _| Ok(Vec::new()));
        let catalog = CatalogService { store: Arc::new(store) };
        let query = ShowQuery { date: "2026-01-02".parse().ok(), ..ShowQuery::default() };
        assert!(block_on(catalog.shows(query, &first_page())).unwrap().items.is_empty());
    }

    #[test]
    fn a_theatre_with_a_bad_row_has_no_days_and_fails_no_list() {
        let mut store = MockCatalogStore::new();
        store.expect_theatre().returning(|_| Err(StoreError::internal("bad row")));
        store.expect_theatres().returning(|_, _| Ok(vec![theatre(1, chrono_tz::Europe::Berlin)]));
        store.expect_shows().withf(|filter, _| filter.during.as_deref() == Some(&[])).returning(|_, _| Ok(Vec::new()));
        let catalog = CatalogService { store: Arc::new(store) };
        let date = "2026-01-02".parse().ok();
        let query = ShowQuery { date, theatre_id: Some(TheatreId(2)), ..ShowQuery::default() };
        assert!(block_on(catalog.shows(query, &first_page())).unwrap().items.is_empty());
    }

    #[test]
    fn a_movie_without_shows_is_an_empty_list_and_no_movie_an_error() {
        let mut store = MockCatalogStore::new();
        store.expect_shows().returning(|_, _| Ok(Vec::new()));
        store.expect_movie().returning(|_| Ok(None));
        let catalog = CatalogService { store: Arc::new(store) };
        let outcome = block_on(catalog.movie_shows(MovieId(1), ShowQuery::default(), &first_page()));
        assert!(matches!(outcome, Err(MovieShowsError::MovieNotFound)));
    }

    #[test]
    fn texts_are_folded_before_they_are_compared() {
        let mut store = MockCatalogStore::new();
        store
            .expect_movies()
            .withf(|filter, _| filter.search.as_deref() == Some("amélie") && filter.genre.as_deref() == Some("drama"))
            .times(1)
            .returning(|_, _| Ok(Vec::new()));
        let catalog = CatalogService { store: Arc::new(store) };
        let query = MovieQuery { search: Some("AMÉLIE".into()), genre: Some("Drama".into()), ..MovieQuery::default() };
        assert!(block_on(catalog.movies(query, &first_page())).is_ok());
    }
}
