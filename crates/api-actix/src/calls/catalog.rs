//! Movies, shows and theatres.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::catalog::{MovieQuery, ShowQuery};
use domain::ids::{MovieId, ShowId, TheatreId};

use super::{Answer, MovieParameters, PageParameters, ShowParameters, page};
use crate::calls::views::{MovieView, ProblemView, ShowView, TheatreView};
use crate::http::fields::Query;
use crate::http::problem::{Code, Problem};
use crate::http::request::{path_id, query};
use crate::wiring::state::AppState;

/// The movies, by title.
#[utoipa::path(get, path = "/api/movies", tag = "catalog", params(
    MovieParameters, PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<MovieView>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn movies(request: HttpRequest, state: Data<AppState>) -> Answer {
    let mut query = query(&request)?;
    let asked = MovieQuery {
        search: query.text("search"),
        genre: query.text("genre"),
        language: query.text("language"),
        theatre_id: query.id("theatre_id").map(TheatreId),
        date: query.date("date"),
    };
    let part = query.page();
    query.finish()?;
    Ok(page::<_, MovieView, _>(&request, state.catalog.movies(asked, &part).await?))
}

/// One movie.
#[utoipa::path(get, path = "/api/movies/{movie_id}", tag = "catalog", params(("movie_id" = i64, Path)), responses(
    (status = 200, description = "The movie", body = MovieView),
    (status = 400, description = "`validation_failed`: the id is none", body = ProblemView),
    (status = 404, description = "`movie_not_found`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn movie(request: HttpRequest, state: Data<AppState>) -> Answer {
    let id = MovieId(path_id(&request, "movie_id")?);
    let movie = state.catalog.movie(id).await?;
    let movie = movie.ok_or_else(|| Problem::new(Code::MovieNotFound, "There is no such movie."))?;
    Ok(HttpResponse::Ok().json(MovieView::from(movie)))
}

/// A movie's shows, by start: upcoming ones unless others are asked for. Cancelled ones are in no list.
#[utoipa::path(get, path = "/api/movies/{movie_id}/shows", tag = "catalog", params(
    ("movie_id" = i64, Path),
    ShowParameters, PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<ShowView>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 404, description = "`movie_not_found`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn movie_shows(request: HttpRequest, state: Data<AppState>) -> Answer {
    let id = MovieId(path_id(&request, "movie_id")?);
    let mut query = query(&request)?;
    let asked = show_query(&mut query);
    let part = query.page();
    query.finish()?;
    Ok(page::<_, ShowView, _>(&request, state.catalog.movie_shows(id, asked, &part).await?))
}

/// The shows, by start: upcoming ones unless others are asked for. Cancelled ones are in no list.
#[utoipa::path(get, path = "/api/shows", tag = "catalog", params(
    ("movie_id" = Option<i64>, Query, description = "Shows this movie"),
    ShowParameters, PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<ShowView>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn shows(request: HttpRequest, state: Data<AppState>) -> Answer {
    let mut query = query(&request)?;
    let movie_id = query.id("movie_id").map(MovieId);
    let asked = ShowQuery { movie_id, ..show_query(&mut query) };
    let part = query.page();
    query.finish()?;
    Ok(page::<_, ShowView, _>(&request, state.catalog.shows(asked, &part).await?))
}

/// One show.
#[utoipa::path(get, path = "/api/shows/{show_id}", tag = "catalog", params(("show_id" = i64, Path)), responses(
    (status = 200, description = "The show", body = ShowView),
    (status = 400, description = "`validation_failed`: the id is none", body = ProblemView),
    (status = 404, description = "`show_not_found`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Answer {
    let id = ShowId(path_id(&request, "show_id")?);
    let show = state.catalog.show(id).await?;
    let show = show.ok_or_else(|| Problem::new(Code::ShowNotFound, "There is no such show."))?;
    Ok(HttpResponse::Ok().json(ShowView::from(show)))
}

/// The theatres, by name.
#[utoipa::path(get, path = "/api/theatres", tag = "catalog", params( PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<TheatreView>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn theatres(request: HttpRequest, state: Data<AppState>) -> Answer {
    let mut query = query(&request)?;
    let part = query.page();
    query.finish()?;
    Ok(page::<_, TheatreView, _>(&request, state.catalog.theatres(&part).await?))
}

/// One theatre.
#[utoipa::path(get, path = "/api/theatres/{theatre_id}", tag = "catalog", params(("theatre_id" = i64, Path)), responses(
    (status = 200, description = "The theatre", body = TheatreView),
    (status = 400, description = "`validation_failed`: the id is none", body = ProblemView),
    (status = 404, description = "`theatre_not_found`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn theatre(request: HttpRequest, state: Data<AppState>) -> Answer {
    let id = TheatreId(path_id(&request, "theatre_id")?);
    let theatre = state.catalog.theatre(id).await?;
    let theatre = theatre.ok_or_else(|| Problem::new(Code::TheatreNotFound, "There is no such theatre."))?;
    Ok(HttpResponse::Ok().json(TheatreView::from(theatre)))
}

fn show_query(query: &mut Query) -> ShowQuery {
    ShowQuery {
        movie_id: None,
        theatre_id: query.id("theatre_id").map(TheatreId),
        date: query.date("date"),
        from: query.instant("from"),
        to: query.instant("to"),
        include_past: query.flag("include_past"),
    }
}
