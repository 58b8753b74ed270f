//! One's own account: profile, sessions, and all that is stored about one.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::booking::{Booking, BookingCursor, BookingFilter};
use domain::identity::{Bearer, Email, Name, Password, ProfileChange, Session, SessionCursor};
use domain::ids::SessionId;
use domain::page::{Page, PageLimit, PageRequest};
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::identity::private;
use super::{Answer, PageParameters, next_link};
use crate::calls::views::{
    BookingView, DeleteUserBody, ExportView, HoldView, ProblemView, SessionView, UpdateUserBody, UpdatedUserView,
    UserView,
};
use crate::http::cursor::Cursor as _;
use crate::http::fields::Fields;
use crate::http::problem::Problem;
use crate::http::request::{bearer, client_network, idempotency_key_if_given, path_id, query, receive};
use crate::wiring::state::AppState;

/// Change the profile. Another address or password needs the current password.
///
/// A new password ends all other sessions at once, and the token of this call: the answer has the next one, and the refresh token
/// goes on working. A token of version 0.1.0 names no session: with it all sessions end, and the answer has no token. Sending the
/// same again changes nothing more, so an `Idempotency-Key` makes no difference.
#[utoipa::path(patch, path = "/api/me", tag = "identity", security(("bearer" = [])), params(
    ("Idempotency-Key" = Option<String>, Header, description = "Checked for its form; the call needs none")),
    request_body = UpdateUserBody, responses(
    (status = 200, description = "The profile as it is now; with a new password, a token", body = UpdatedUserView),
    (status = 400, description = "`idempotency_key_invalid`, `malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 403, description = "`forbidden`: `current_password` is missing or wrong", body = ProblemView),
    (status = 409, description = "`email_taken`", body = ProblemView),
    (status = 429, description = "`rate_limited`: too many wrong passwords, failed logins included", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`", body = ProblemView)))]
pub async fn update(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let bearer = bearer(&request)?;
    idempotency_key_if_given(&request)?;
    let mut fields = Fields::of(body.json(&request)?)?;
    let change = ProfileChange {
        name: fields.text_if_given("name", Name::parse),
        email: fields.text_if_given("email", Email::parse),
        password: fields.text_if_given("password", Password::parse),
    };
    let current = fields.text_if_given("current_password", |text| Ok(text.to_owned()));
    fields.finish()?;
    let updated = state.identity.update_profile(&bearer, change, current.as_deref(), client_network(&request)).await?;
    Ok(HttpResponse::Ok().insert_header(no_store()).json(UpdatedUserView::from(updated)))
}

/// Delete the account: name and address go, the address is free again, all sessions end at once.
///
/// Bookings stay, with what was paid for them: their seats stay sold, upcoming shows included. The last administrator can't go.
#[utoipa::path(delete, path = "/api/me", tag = "identity", security(("bearer" = [])), params(
    ("Idempotency-Key" = Option<String>, Header, description = "Checked for its form; the call needs none")),
    request_body = DeleteUserBody, responses(
    (status = 204, description = "The account is gone"),
    (status = 400, description = "`idempotency_key_invalid`, `malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 403, description = "`forbidden`: `current_password` is missing or wrong", body = ProblemView),
    (status = 409, description = "`conflict`: it is the only administrator's", body = ProblemView),
    (status = 429, description = "`rate_limited`: too many wrong passwords, failed logins included", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`", body = ProblemView)))]
pub async fn delete(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let bearer = bearer(&request)?;
    idempotency_key_if_given(&request)?;
    let mut fields = Fields::of(body.json_if_any(&request)?)?;
    let current = fields.text_if_given("current_password", |text| Ok(text.to_owned()));
    fields.finish()?;
    state.identity.delete_account(&bearer, current.as_deref(), client_network(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The caller's sessions that last, newest first.
#[utoipa::path(get, path = "/api/me/sessions", tag = "identity", security(("bearer" = [])), params(PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<SessionView>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn sessions(request: HttpRequest, state: Data<AppState>) -> Answer {
    let Bearer { caller, session_id } = bearer(&request)?;
    let mut query = query(&request)?;
    let part = query.page();
    query.finish()?;
    let Page { items, next } = state.identity.sessions(&caller, &part).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(private());
    if let Some(next) = next {
        response.insert_header((header::LINK, next_link(&request, &next.encode())));
    }
    Ok(response.json(items.iter().map(|session| SessionView::new(session, session_id)).collect::<Vec<_>>()))
}

/// End one of the caller's sessions, with its tokens. Ending the one that the call is made in is a logout.
///
/// On other servers its access token may work for a second more. One that has ended is not found, so an `Idempotency-Key` makes no
/// difference.
#[utoipa::path(delete, path = "/api/me/sessions/{session_id}", tag = "identity", security(("bearer" = [])), params(
    ("session_id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "Checked for its form; the call needs none")), responses(
    (status = 204, description = "The session has ended"),
    (status = 400, description = "`idempotency_key_invalid`; `validation_failed`: the id is none", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`not_found`: there is none, it has ended, or it is someone else's", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn end_session(request: HttpRequest, state: Data<AppState>) -> Answer {
    let caller = bearer(&request)?.caller;
    idempotency_key_if_given(&request)?;
    let id = SessionId(path_id(&request, "session_id")?);
    state.identity.end_session(&caller, id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// All that is stored about the caller, as a file: profile, sessions that last, live holds, all bookings.
#[utoipa::path(get, path = "/api/me/export", tag = "identity", security(("bearer" = [])), responses(
    (status = 200, description = "The document. One that breaks off before its end is not whole: ask again", body = ExportView<'_>),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn export(request: HttpRequest, state: Data<AppState>) -> Answer {
    let bearer = bearer(&request)?;
    let state = state.into_inner();
    let user = state.identity.who_am_i(&bearer.caller).await?;
    // The first pages before the answer begins: what fails later can only break it off.
    let sessions = session_page(&state, &bearer, None).await?;
    let bookings = booking_page(&state, &bearer, None).await?;
    let holds = state.booking.holds(&bearer).await?;
    let holds: Vec<_> = holds.iter().map(HoldView::from).collect();
    let holds = serde_json::to_string(&holds).map_err(Problem::internal)?;
    let profile = serde_json::to_string(&UserView::from(user)).map_err(Problem::internal)?;
    let body = text(format!("{{\"profile\":{profile},\"sessions\":["))
        .chain(session_parts(Arc::clone(&state), bearer, sessions))
        .chain(text(format!("],\"holds\":{holds},\"bookings\":[")))
        .chain(booking_parts(state, bearer, bookings))
        .chain(text("]}".to_owned()))
        .map_err(|problem| {
            tracing::warn!(code = problem.code().as_str(), cause = problem.cause(), "export.broken_off");
            std::io::Error::other("the export broke off")
        });
    Ok(HttpResponse::Ok()
        .insert_header(no_store())
        .insert_header((header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"my-data.json\"")))
        .content_type("application/json")
        .streaming(body))
}

/// A part of the export's text.
type Part = Result<Bytes, Problem>;

fn text(text: String) -> impl Stream<Item = Part> {
    stream::iter([Ok(Bytes::from(text))])
}

fn all<Place>(after: Option<Place>) -> PageRequest<Place> {
    PageRequest { limit: PageLimit::DEFAULT, after }
}

async fn session_page(
    state: &AppState,
    bearer: &Bearer,
    after: Option<SessionCursor>,
) -> Result<Page<Session, SessionCursor>, Problem> {
    Ok(state.identity.sessions(&bearer.caller, &all(after)).await?)
}

async fn booking_page(
    state: &AppState,
    bearer: &Bearer,
    after: Option<BookingCursor>,
) -> Result<Page<Booking, BookingCursor>, Problem> {
    Ok(state.booking.history(bearer, &BookingFilter::default(), &all(after)).await?)
}

/// The sessions, a page at a time: at most two pages are in memory, however many there are.
fn session_parts(
    state: Arc<AppState>,
    bearer: Bearer,
    first: Page<Session, SessionCursor>,
) -> impl Stream<Item = Part> {
    let pages = stream::try_unfold((Some(first), true), move |(page, is_first)| {
        let state = Arc::clone(&state);
        async move {
            let Some(Page { items, next }) = page else { return Ok(None) };
            let views = items.iter().map(|session| SessionView::new(session, bearer.session_id));
            let part = members(views, is_first)?;
            let next = match next {
                Some(place) => Some(session_page(&state, &bearer, Some(place)).await?),
                None => None,
            };
            Ok(Some((part, (next, false))))
        }
    });
    pages.boxed()
}

/// The same of the bookings.
fn booking_parts(
    state: Arc<AppState>,
    bearer: Bearer,
    first: Page<Booking, BookingCursor>,
) -> impl Stream<Item = Part> {
    let pages = stream::try_unfold((Some(first), true), move |(page, is_first)| {
        let state = Arc::clone(&state);
        async move {
            let Some(Page { items, next }) = page else { return Ok(None) };
            let part = members(items.iter().map(BookingView::from), is_first)?;
            let next = match next {
                Some(place) => Some(booking_page(&state, &bearer, Some(place)).await?),
                None => None,
            };
            Ok(Some((part, (next, false))))
        }
    });
    pages.boxed()
}

/// Some members of a JSON array, after others unless they are the first.
fn members(views: impl Iterator<Item = impl Serialize>, are_first: bool) -> Part {
    let mut bytes = Vec::new();
    for (at, view) in views.enumerate() {
        if at > 0 || !are_first {
            bytes.push(b',');
        }
        serde_json::to_writer(&mut bytes, &view).map_err(Problem::internal)?;
    }
    Ok(Bytes::from(bytes))
}

fn no_store() -> (header::HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
