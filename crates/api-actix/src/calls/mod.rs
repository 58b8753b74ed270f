//! The calls: parse, call the domain, render. A module for each feature.

pub mod account;
pub mod booking;
pub mod catalog;
pub mod docs;
pub mod holds;
pub mod identity;
pub mod operations;
pub mod seating;
pub mod views;

use actix_web::http::header::{self, EntityTag, Header as _, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use domain::page::Page;
use serde::Serialize;
use utoipa::IntoParams;

use crate::http::cursor::Cursor;
use crate::http::problem::Problem;

/// What a call answers.
pub type Answer = Result<HttpResponse, Problem>;

/// Which part of a list. Only described here: `Query::page` reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used, by the OpenAPI document")]
pub struct PageParameters {
    /// 1 to 100; 50 if it is not given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// From the `Link` header of the page before.
    cursor: Option<String>,
}

/// Which movies.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used, by the OpenAPI document")]
pub struct MovieParameters {
    /// A part of title or description; case is ignored, no character is special.
    search: Option<String>,
    /// One of the movie's genres.
    genre: Option<String>,
    /// The spoken language.
    language: Option<String>,
    /// Is shown in this theatre.
    theatre_id: Option<i64>,
    /// Has a show on this day, by the clock of the theatre: YYYY-MM-DD.
    #[param(format = Date)]
    date: Option<String>,
}

/// Which shows.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used, by the OpenAPI document")]
pub struct ShowParameters {
    /// In this theatre.
    theatre_id: Option<i64>,
    /// On this day, by the clock of the theatre: YYYY-MM-DD.
    #[param(format = Date)]
    date: Option<String>,
    /// Starts then or later (RFC 3339).
    #[param(format = DateTime)]
    from: Option<String>,
    /// Starts before then (RFC 3339).
    #[param(format = DateTime)]
    to: Option<String>,
    /// Shows that have started too; a `date` or a `from` asks for them as well.
    include_past: Option<bool>,
}

/// Adds every call to the app.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/api/auth/register").post(identity::register))
        .service(web::resource("/api/auth/login").post(identity::login))
        .service(web::resource("/api/auth/refresh").post(identity::refresh))
        .service(web::resource("/api/auth/logout").post(identity::logout))
        .service(web::resource("/api/me").get(identity::me).patch(account::update).delete(account::delete))
        .service(web::resource("/api/me/sessions").get(account::sessions))
        .service(web::resource("/api/me/sessions/{session_id}").delete(account::end_session))
        .service(web::resource("/api/me/export").get(account::export))
        .service(web::resource("/api/movies").get(catalog::movies))
        .service(web::resource("/api/movies/{movie_id}").get(catalog::movie))
        .service(web::resource("/api/movies/{movie_id}/shows").get(catalog::movie_shows))
        .service(web::resource("/api/shows").get(catalog::shows))
        .service(web::resource("/api/shows/{show_id}").get(catalog::show))
        .service(web::resource("/api/shows/{show_id}/seats").get(seating::seats))
        .service(web::resource("/api/shows/{show_id}/holds").post(holds::make))
        .service(web::resource("/api/theatres").get(catalog::theatres))
        .service(web::resource("/api/theatres/{theatre_id}").get(catalog::theatre))
        .service(web::resource("/api/bookings").get(booking::history).post(booking::book))
        .service(web::resource("/api/bookings/{booking_id}").get(booking::booking))
        .service(web::resource("/api/bookings/{booking_id}/cancel").post(booking::cancel))
        .service(web::resource("/api/bookings/{booking_id}/seats").post(booking::change_seats))
        .service(web::resource("/api/holds").get(holds::holds))
        .service(web::resource("/api/holds/{hold_id}").get(holds::hold).delete(holds::release))
        .service(web::resource("/api/holds/{hold_id}/extend").post(holds::extend))
        .service(web::resource("/healthz").get(operations::healthz))
        .service(web::resource("/readyz").get(operations::readyz))
        .service(web::resource("/api/openapi.json").get(docs::document))
        .service(web::resource("/").get(docs::home))
        .service(web::resource("/docs").get(docs::redirect))
        .service(web::resource("/docs/{file:.*}").get(docs::file))
        .default_service(web::to(nothing_here));
}

/// Adds what tells how the server is doing.
pub fn configure_metrics(config: &mut web::ServiceConfig) {
    config.service(web::resource("/metrics").get(operations::metrics));
}

/// Adds all that a port for the metrics alone answers.
pub fn configure_metrics_port(config: &mut web::ServiceConfig) {
    config.service(web::resource("/healthz").get(operations::healthz)).default_service(web::to(nothing_here));
    configure_metrics(config);
}

async fn nothing_here() -> Answer {
    Err(Problem::of_status(actix_web::http::StatusCode::NOT_FOUND))
}

/// A page of a list: a bare array, and the way to the next page in `Link` (RFC 8288).
fn page<Item, View, Place>(request: &HttpRequest, page: Page<Item, Place>) -> HttpResponse
where
    View: From<Item> + Serialize,
    Place: Cursor,
{
    let mut response = HttpResponse::Ok();
    if let Some(next) = &page.next {
        response.insert_header((header::LINK, next_link(request, &next.encode())));
    }
    json(&mut response, &page.items.into_iter().map(View::from).collect::<Vec<_>>())
}

/// The same query with another cursor.
fn next_link(request: &HttpRequest, cursor: &str) -> String {
    // A parameter's name is compared as `Query` reads it: `%63ursor` is `cursor`, and would be given twice.
    let kept = request.query_string().split('&').filter(|pair| !pair.is_empty() && !is_cursor(pair));
    let query: Vec<_> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    format!("<{}?{}>; rel=\"next\"", request.path(), query.join("&"))
}

/// Whether the client has what it would get (RFC 9110, 13.1.2): compared weakly, `*` fits anything.
fn client_has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

/// Whether a pair of a query, still encoded, is the cursor.
fn is_cursor(pair: &str) -> bool {
    web::Query::<Vec<(String, String)>>::from_query(pair)
        .is_ok_and(|pairs| pairs.iter().any(|(name, _)| name == "cursor"))
}

fn json(response: &mut HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    response.json(body)
}
