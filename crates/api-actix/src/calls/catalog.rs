//! Movies, shows and theatres.

use actix_web::web::Data;
use chrono::{DateTime, NaiveDate, Utc};
use domain::catalog::{
    HallSummary, Movie, MovieCursor, MovieQuery, Show, ShowCursor, ShowQuery, Theatre, TheatreCursor,
};
use domain::ids::{MovieId, ShowId, TheatreId};
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use super::{instant, one_of};
use crate::http::call::calls;
use crate::http::problem::{Code, Problem};
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{Json, Page};
use crate::http::session::Anyone;
use crate::http::values::FilterText;
use crate::wiring::state::AppState;

calls! { "catalog"
    /// List the movies by title.
    GET "/api/movies" => movies: "A page of movies", or [Unavailable];

    /// Get a movie.
    GET "/api/movies/{movie_id}" => movie: "The movie", or [MovieNotFound, Unavailable];

    /// List the shows of a movie by start.
    ///
    /// Upcoming shows, unless the query asks for others. Cancelled shows are never listed.
    GET "/api/movies/{movie_id}/shows" => movie_shows: "A page of shows", or [MovieNotFound, Unavailable];

    /// List the shows by start.
    ///
    /// Upcoming shows, unless the query asks for others. Cancelled shows are never listed.
    GET "/api/shows" => shows: "A page of shows", or [Unavailable];

    /// Get a show.
    GET "/api/shows/{show_id}" => show: "The show", or [ShowNotFound, Unavailable];

    /// List the theatres by name.
    GET "/api/theatres" => theatres: "A page of theatres", or [Unavailable];

    /// Get a theatre.
    GET "/api/theatres/{theatre_id}" => theatre: "The theatre", or [TheatreNotFound, Unavailable];
}

parameters! {
    /// Which movies.
    pub struct MovieParameters {
        /// A part of title or description. Case is ignored, and no character is special.
        pub search: Option<FilterText>,
        /// One of the movie's genres.
        pub genre: Option<FilterText>,
        /// The spoken language.
        pub language: Option<FilterText>,
        /// Movies with a show in this theatre.
        pub theatre_id: Option<TheatreId>,
        /// Movies with a show on this day, in the theatre's time zone: YYYY-MM-DD.
        pub date: Option<NaiveDate>,
    }

    /// Which shows of a movie.
    pub struct MovieShowParameters {
        /// Shows in this theatre.
        pub theatre_id: Option<TheatreId>,
        /// Shows on this day, in the theatre's time zone: YYYY-MM-DD.
        pub date: Option<NaiveDate>,
        /// Shows that start then or later (RFC 3339).
        pub from: Option<DateTime<Utc>>,
        /// Shows that start before then (RFC 3339).
        pub to: Option<DateTime<Utc>>,
        /// Includes shows that have started. `date` and `from` include them as well.
        pub include_past: Option<bool>,
    }

    /// Which movie's shows.
    pub struct MovieParameter {
        /// Shows of this movie.
        pub movie_id: Option<MovieId>,
    }
}

impl MovieParameters {
    fn query(self) -> MovieQuery {
        MovieQuery {
            search: self.search.and_then(FilterText::into_filter),
            genre: self.genre.and_then(FilterText::into_filter),
            language: self.language.and_then(FilterText::into_filter),
            theatre_id: self.theatre_id,
            date: self.date,
        }
    }
}

impl MovieShowParameters {
    fn query(self, movie_id: Option<MovieId>) -> ShowQuery {
        let Self { theatre_id, date, from, to, include_past } = self;
        ShowQuery { movie_id, theatre_id, date, from, to, include_past: include_past.unwrap_or(false) }
    }
}

/// A movie.
#[derive(Serialize, ToSchema)]
#[schema(as = Movie)]
pub struct MovieView {
    id: i64,
    title: String,
    description: String,
    duration_minutes: i32,
    genres: Vec<String>,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    #[schema(format = Date, example = "2001-07-20")]
    release_date: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Movie> for MovieView {
    fn from(movie: Movie) -> Self {
        Self {
            id: movie.id.0,
            title: movie.title,
            description: movie.description,
            duration_minutes: movie.duration_minutes,
            genres: movie.genres,
            language: movie.language,
            certificate: movie.certificate,
            poster_url: movie.poster_url,
            release_date: movie.release_date.to_string(),
            created_at: instant(movie.created_at),
            updated_at: instant(movie.updated_at),
        }
    }
}

/// A show.
#[derive(Serialize, ToSchema)]
#[schema(as = Show)]
pub struct ShowView {
    id: i64,
    movie_id: i64,
    movie_title: String,
    theatre_id: i64,
    theatre_name: String,
    hall_id: i64,
    hall_name: String,
    #[schema(format = DateTime)]
    start_time: String,
    #[schema(format = DateTime)]
    end_time: String,
    /// `2D`, `3D`, …
    format: String,
    language: String,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// The price of the cheapest seat, in major units.
    #[schema(example = "12.50")]
    price_from: String,
    seats_total: i64,
    /// Neither held nor booked nor blocked.
    seats_available: i64,
    #[schema(schema_with = show_status)]
    status: &'static str,
}

impl From<Show> for ShowView {
    fn from(show: Show) -> Self {
        Self {
            id: show.id.0,
            movie_id: show.movie_id.0,
            movie_title: show.movie_title,
            theatre_id: show.theatre_id.0,
            theatre_name: show.theatre_name,
            hall_id: show.hall_id.0,
            hall_name: show.hall_name,
            start_time: instant(show.start_time),
            end_time: instant(show.end_time),
            format: show.format,
            language: show.language,
            currency: show.price_from.currency.code().to_owned(),
            price_from: show.price_from.to_string(),
            seats_total: show.seats_total,
            seats_available: show.seats_available,
            status: show.status.as_str(),
        }
    }
}

/// A hall of a theatre.
#[derive(Serialize, ToSchema)]
#[schema(as = Hall)]
pub struct HallView {
    id: i64,
    name: String,
    seats_total: i64,
}

impl From<HallSummary> for HallView {
    fn from(hall: HallSummary) -> Self {
        Self { id: hall.id.0, name: hall.name, seats_total: hall.seats_total }
    }
}

/// A theatre.
#[derive(Serialize, ToSchema)]
#[schema(as = Theatre)]
pub struct TheatreView {
    id: i64,
    name: String,
    location: String,
    /// An IANA name, like `Europe/Berlin`.
    timezone: &'static str,
    halls: Vec<HallView>,
}

impl From<Theatre> for TheatreView {
    fn from(theatre: Theatre) -> Self {
        Self {
            id: theatre.id.0,
            name: theatre.name,
            location: theatre.location,
            timezone: theatre.timezone.name(),
            halls: theatre.halls.into_iter().map(HallView::from).collect(),
        }
    }
}

fn show_status() -> Object {
    one_of(["scheduled", "cancelled"])
}

async fn movies(
    _: Anyone,
    Query((parameters, page)): Query<(MovieParameters, PageRequest<MovieCursor>)>,
    state: Data<AppState>,
) -> Result<Page<MovieView>, Problem> {
    Ok(Page::new(state.catalog.movies(parameters.query(), &page).await?, MovieView::from))
}

async fn movie(_: Anyone, Path(id): Path<MovieId>, state: Data<AppState>) -> Result<Json<MovieView>, Problem> {
    let movie = state.catalog.movie(id).await?;
    let movie = movie.ok_or_else(|| Problem::new(Code::MovieNotFound, "This movie does not exist."))?;
    Ok(Json::new(movie.into()))
}

async fn movie_shows(
    _: Anyone,
    Path(id): Path<MovieId>,
    Query((parameters, page)): Query<(MovieShowParameters, PageRequest<ShowCursor>)>,
    state: Data<AppState>,
) -> Result<Page<ShowView>, Problem> {
    Ok(Page::new(state.catalog.movie_shows(id, parameters.query(None), &page).await?, ShowView::from))
}

async fn shows(
    _: Anyone,
    Query((MovieParameter { movie_id }, (parameters, page))): Query<(
        MovieParameter,
        (MovieShowParameters, PageRequest<ShowCursor>),
    )>,
    state: Data<AppState>,
) -> Result<Page<ShowView>, Problem> {
    Ok(Page::new(state.catalog.shows(parameters.query(movie_id), &page).await?, ShowView::from))
}

async fn show(_: Anyone, Path(id): Path<ShowId>, state: Data<AppState>) -> Result<Json<ShowView>, Problem> {
    let show = state.catalog.show(id).await?;
    let show = show.ok_or_else(|| Problem::new(Code::ShowNotFound, "This show does not exist."))?;
    Ok(Json::new(show.into()))
}

async fn theatres(
    _: Anyone,
    Query(page): Query<PageRequest<TheatreCursor>>,
    state: Data<AppState>,
) -> Result<Page<TheatreView>, Problem> {
    Ok(Page::new(state.catalog.theatres(&page).await?, TheatreView::from))
}

async fn theatre(_: Anyone, Path(id): Path<TheatreId>, state: Data<AppState>) -> Result<Json<TheatreView>, Problem> {
    let theatre = state.catalog.theatre(id).await?;
    let theatre = theatre.ok_or_else(|| Problem::new(Code::TheatreNotFound, "This theatre does not exist."))?;
    Ok(Json::new(theatre.into()))
}
