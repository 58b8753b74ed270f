//! The caller's account: changes, sessions, and the export of everything stored about the caller.

use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use domain::booking::{Booking, BookingCursor, BookingFilter};
use domain::identity::{
    AccessToken, Bearer, Email, Name, Password, ProfileChange, Session, SessionCursor, UpdatedProfile,
};
use domain::ids::SessionId;
use domain::limits::ClientNetwork;
use domain::page::{Page, PageLimit, PageRequest};
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::{BookingView, HoldView};
use super::identity::UserView;
use super::instant;
use crate::http::body::{Body, OptionalBody, body};
use crate::http::call::calls;
use crate::http::keys::UnusedKey;
use crate::http::problem::Problem;
use crate::http::query::{Path, Query};
use crate::http::reply::{self, Download, Json, NoContent};
use crate::http::session::Caller;
use crate::wiring::state::AppState;

calls! { "identity"
    /// Change your profile.
    ///
    /// Another e-mail address or password needs the current password. A new password ends all other sessions at once, and the token of
    /// this request: the response has the next token, and the refresh token stays valid. A token of version 0.1.0 names no session: with
    /// it all sessions end, and the response has no token.
    PATCH "/api/me" => update: "The changed profile; with a new password, the next token",
        or [Forbidden, EmailTaken, Overloaded, Unavailable];

    /// Delete your account.
    ///
    /// Name and e-mail address are erased, the address is free again, and all sessions end at once. Bookings stay, and their seats stay
    /// sold. The only administrator cannot be deleted.
    DELETE "/api/me" => delete: "The account is deleted", or [Forbidden, Conflict, Overloaded, Unavailable];

    /// List your live sessions, newest first.
    GET "/api/me/sessions" => sessions: "A page of sessions", or [Unavailable];

    /// End one of your sessions.
    ///
    /// Ending the session of this request is a logout. On other servers its access token may work for a second more.
    DELETE "/api/me/sessions/{session_id}" => end_session: "The session has ended", or [NotFound, Unavailable];

    /// Download everything stored about you.
    ///
    /// A JSON file with the profile, live sessions, live holds and all bookings. A file without its end is incomplete: retry.
    GET "/api/me/export" => export: "The file", or [Unavailable];
}

body! {
    /// A change of the profile. Absent members stay as they are.
    pub struct UpdateUser as "UpdateUser" {
        /// 1 to 100 characters, at least one of them visible.
        #[example = "Ana Costa"]
        pub name: Option<Name>,
        #[example = "ana@example.org"]
        pub email: Option<Email>,
        /// 8 to 128 characters, any characters.
        #[example = "another correct horse"]
        pub password: Option<Password>,
        /// Required for another e-mail address or password.
        #[example = "correct horse battery"]
        pub current_password: Option<String>,
    }

    /// The owner's proof for deleting an account.
    pub struct DeleteUser as "DeleteUser" {
        /// Without it the request is refused with `forbidden`.
        #[example = "correct horse battery"]
        pub current_password: Option<String>,
    }
}

/// A user's profile after a change. A new password ends the caller's token, so the response has the next one.
#[derive(Serialize, ToSchema)]
#[schema(as = UpdatedUser)]
pub struct UpdatedUserView {
    #[serde(flatten)]
    profile: UserView,
    /// With a new password: the next access token. The refresh token stays valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
    /// With `token`: always `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_type: Option<&'static str>,
    /// With `token`: how long it works, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_in: Option<u64>,
}

impl From<UpdatedProfile> for UpdatedUserView {
    fn from(UpdatedProfile { user, token }: UpdatedProfile) -> Self {
        let (token, expires_in) = match token {
            Some(AccessToken { token, expires_in }) => (Some(token), Some(expires_in.as_secs())),
            None => (None, None),
        };
        let token_type = token.is_some().then_some("Bearer");
        Self { profile: user.into(), token, token_type, expires_in }
    }
}

/// A session: a login, with the tokens that followed.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionView {
    id: i64,
    #[schema(format = DateTime)]
    created_at: String,
    /// When its refresh token was last used, or its creation.
    #[schema(format = DateTime)]
    last_used_at: String,
    /// When it expires if its refresh token is not used.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whether it is the session of this request.
    current: bool,
}

impl SessionView {
    /// Renders a session for a caller whose own session is `current`.
    pub fn new(session: &Session, current: Option<SessionId>) -> Self {
        Self {
            id: session.id.0,
            created_at: instant(session.created_at),
            last_used_at: instant(session.last_used_at),
            expires_at: instant(session.expires_at),
            current: current == Some(session.id),
        }
    }
}

/// Everything stored about the caller.
#[derive(ToSchema)]
#[schema(as = Export)]
#[expect(dead_code, reason = "only its schema is used: the response is written part by part")]
pub struct ExportView {
    profile: UserView,
    /// Live sessions, newest first.
    sessions: Vec<SessionView>,
    /// Live holds.
    holds: Vec<HoldView>,
    /// All bookings, newest first.
    bookings: Vec<BookingView>,
}

async fn update(
    Caller(bearer): Caller,
    network: ClientNetwork,
    _: UnusedKey,
    Body(UpdateUser { name, email, password, current_password }): Body<UpdateUser>,
    state: Data<AppState>,
) -> Result<Json<UpdatedUserView>, Problem> {
    let change = ProfileChange { name, email, password };
    let updated = state.identity.update_profile(&bearer, change, current_password.as_deref(), network).await?;
    Ok(Json::secret(updated.into()))
}

async fn delete(
    Caller(bearer): Caller,
    network: ClientNetwork,
    _: UnusedKey,
    OptionalBody(DeleteUser { current_password }): OptionalBody<DeleteUser>,
    state: Data<AppState>,
) -> Result<NoContent, Problem> {
    state.identity.delete_account(&bearer, current_password.as_deref(), network).await?;
    Ok(NoContent)
}

async fn sessions(
    Caller(Bearer { caller, session_id }): Caller,
    Query(page): Query<PageRequest<SessionCursor>>,
    state: Data<AppState>,
) -> Result<reply::Page<SessionView>, Problem> {
    let sessions = state.identity.sessions(&caller, &page).await?;
    Ok(reply::Page::new(sessions, |session| SessionView::new(&session, session_id)).private())
}

async fn end_session(
    Caller(bearer): Caller,
    _: UnusedKey,
    Path(id): Path<SessionId>,
    state: Data<AppState>,
) -> Result<NoContent, Problem> {
    state.identity.end_session(&bearer.caller, id).await?;
    Ok(NoContent)
}

async fn export(
    Caller(bearer): Caller,
    state: Data<AppState>,
) -> Result<Download<ExportView, impl Stream<Item = Result<Bytes, std::io::Error>>>, Problem> {
    let state = state.into_inner();
    let user = state.identity.who_am_i(&bearer.caller).await?;
    // The first pages are read before the response begins: a later failure can only break it off.
    let sessions = session_page(&state, &bearer, None).await?;
    let bookings = booking_page(&state, &bearer, None).await?;
    let holds = state.booking.holds(&bearer).await?;
    let holds: Vec<_> = holds.iter().map(HoldView::from).collect();
    let holds = serde_json::to_string(&holds).map_err(Problem::internal)?;
    let profile = serde_json::to_string(&UserView::from(user)).map_err(Problem::internal)?;
    let parts = text(format!("{{\"profile\":{profile},\"sessions\":["))
        .chain(session_parts(Arc::clone(&state), bearer, sessions))
        .chain(text(format!("],\"holds\":{holds},\"bookings\":[")))
        .chain(booking_parts(state, bearer, bookings))
        .chain(text("]}".to_owned()))
        .map_err(|problem| {
            tracing::warn!(code = problem.code().as_str(), cause = problem.cause(), "export.broken_off");
            std::io::Error::other("the export broke off")
        });
    Ok(Download { name: "my-data.json", parts, view: PhantomData })
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

/// Returns the sessions, a page at a time: at most two pages are in memory, however many there are.
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

/// Returns the same of the bookings.
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
