//! Movies, for staff.

use actix_web::web::Data;
use domain::admin::ChangeRequest;
use domain::catalog::{
    Certificate, Description, Duration, Genres, LanguageName, Movie, MovieChange, MovieCursor, MovieDetails,
    ReleaseDate, Title,
};
use domain::ids::MovieId;
use domain::page::PageRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::SearchParameter;
use crate::calls::catalog::MovieView;
use crate::calls::instant;
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::preconditions::{OptionalIfMatch, RequiredIfMatch};
use crate::http::problem::Problem;
use crate::http::query::{Path, Query};
use crate::http::reply::{CreatedByChange, Page, RetiredByChange, UpdatedByChange, Versioned};
use crate::http::session::{Admin, Staff};
use crate::http::values::OptionalPosterUrl;
use crate::wiring::state::AppState;

calls! { "staff"
    /// List all movies by title, for staff.
    ///
    /// Includes retired movies. `search` looks in titles and descriptions.
    GET "/api/admin/movies" => list_staff_movies: "A page of movies";

    /// Add a movie.
    POST "/api/admin/movies" => create_movie: "The movie", or [NameTaken];

    /// Get a movie, for staff.
    GET "/api/admin/movies/{movie_id}" => staff_movie: "The movie", or [MovieNotFound];

    /// Change a movie.
    ///
    /// Absent members stay as they are. Shows that exist keep their times and languages.
    PATCH "/api/admin/movies/{movie_id}" => update_movie: "The changed movie", or [MovieNotFound, NameTaken];

    /// Retire a movie.
    ///
    /// It leaves the public lists and gets no shows. Bookings keep it. A movie with upcoming shows is not retired.
    DELETE "/api/admin/movies/{movie_id}" => retire_movie: "The movie is retired", or [MovieNotFound, MovieInUse];
}

body! {
    /// A movie to add.
    pub struct NewMovie as "NewMovie" {
        /// 1 to 200 characters. Unique.
        #[example = "Stalker"]
        pub title: Title,
        /// Up to 5 000 characters, with line breaks.
        pub description: Option<Description>,
        #[example = 161]
        pub duration_minutes: Duration,
        /// Up to ten genres of up to 50 characters, the main one first.
        pub genres: Option<Genres>,
        /// The spoken language.
        #[example = "Russian"]
        pub language: LanguageName,
        /// The age rating as printed.
        #[example = "12"]
        pub certificate: Option<Certificate>,
        /// The absolute address of a picture, by HTTP or HTTPS; empty for none.
        pub poster_url: Option<OptionalPosterUrl>,
        #[example = "1979-05-25"]
        pub release_date: ReleaseDate,
    }

    /// A change of a movie. Absent members stay as they are.
    pub struct UpdateMovie as "UpdateMovie" {
        /// 1 to 200 characters. Unique.
        pub title: Option<Title>,
        /// Up to 5 000 characters, with line breaks.
        pub description: Option<Description>,
        pub duration_minutes: Option<Duration>,
        /// Up to ten genres of up to 50 characters, the main one first.
        pub genres: Option<Genres>,
        /// The spoken language.
        pub language: Option<LanguageName>,
        /// The age rating as printed; empty for none.
        pub certificate: Option<Certificate>,
        /// The absolute address of a picture, by HTTP or HTTPS; empty for none.
        pub poster_url: Option<OptionalPosterUrl>,
        pub release_date: Option<ReleaseDate>,
    }
}

/// A movie as staff see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffMovie)]
pub struct StaffMovieView {
    #[serde(flatten)]
    movie: MovieView,
    /// When it was retired.
    #[schema(format = DateTime)]
    retired_at: Option<String>,
    /// Increased by every change; the number in the `ETag`.
    version: i64,
}

impl From<Movie> for StaffMovieView {
    fn from(movie: Movie) -> Self {
        let (retired_at, version) = (movie.retired_at.map(instant), movie.version);
        Self { movie: movie.into(), retired_at, version }
    }
}

impl NewMovie {
    fn details(self) -> MovieDetails {
        MovieDetails {
            title: self.title,
            description: self.description.unwrap_or_default(),
            duration: self.duration_minutes,
            genres: self.genres.unwrap_or_default(),
            language: self.language,
            certificate: self.certificate.unwrap_or_default(),
            poster_url: self.poster_url.and_then(|url| url.0),
            release_date: self.release_date,
        }
    }
}

impl UpdateMovie {
    fn change(self) -> MovieChange {
        MovieChange {
            title: self.title,
            description: self.description,
            duration: self.duration_minutes,
            genres: self.genres,
            language: self.language,
            certificate: self.certificate,
            poster_url: self.poster_url.map(|url| url.0),
            release_date: self.release_date,
        }
    }
}

async fn list_staff_movies(
    _: Staff,
    Query((search, page)): Query<(SearchParameter, PageRequest<MovieCursor>)>,
    state: Data<AppState>,
) -> Result<Page<StaffMovieView>, Problem> {
    let movies = state.admin.movies(search.into_filter().as_deref(), &page).await?;
    Ok(Page::new(movies, StaffMovieView::from).private())
}

async fn create_movie(
    _: Admin,
    request: ChangeRequest,
    Body(movie): Body<NewMovie>,
    state: Data<AppState>,
) -> Result<CreatedByChange<StaffMovieView>, Problem> {
    Ok(state.admin.create_movie(&request, movie.details()).await?.into())
}

async fn staff_movie(
    _: Staff,
    Path(id): Path<MovieId>,
    state: Data<AppState>,
) -> Result<Versioned<StaffMovieView>, Problem> {
    let movie = state.admin.movie(id).await?;
    Ok(Versioned { version: movie.version, view: movie.into() })
}

async fn update_movie(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<MovieId>,
    RequiredIfMatch(precondition): RequiredIfMatch,
    Body(change): Body<UpdateMovie>,
    state: Data<AppState>,
) -> Result<UpdatedByChange<StaffMovieView>, Problem> {
    Ok(state.admin.update_movie(&request, id, change.change(), &precondition).await?.into())
}

async fn retire_movie(
    _: Admin,
    request: ChangeRequest,
    Path(id): Path<MovieId>,
    OptionalIfMatch(precondition): OptionalIfMatch,
    state: Data<AppState>,
) -> Result<RetiredByChange, Problem> {
    Ok(RetiredByChange(state.admin.retire_movie(&request, id, &precondition).await?))
}
