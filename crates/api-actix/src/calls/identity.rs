//! Signing up, logging in and out, who one is.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::identity::{Email, Name, Password, RefreshToken, SignedIn};
use domain::text::{TextError, check_length};

use super::Answer;
use crate::calls::views::{LoginBody, ProblemView, RefreshTokenBody, RegisterBody, SignedInView, UserView};
use crate::http::problem::{Code, Problem};
use crate::http::request::{caller, client_network, fields};
use crate::wiring::state::AppState;

/// The longest text that can be a refresh token.
const REFRESH_TOKEN_MAX: usize = 512;

/// Sign up.
#[utoipa::path(post, path = "/api/auth/register", tag = "identity", request_body = RegisterBody, responses(
    (status = 201, description = "The new customer, logged in", body = SignedInView),
    (status = 400, description = "`malformed_json`, `validation_failed`", body = ProblemView),
    (status = 409, description = "`email_taken`", body = ProblemView),
    (status = 429, description = "`rate_limited`; `too_many_sign_ups`: of this address, in this hour", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`", body = ProblemView)))]
pub async fn register(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let mut fields = fields(&request, payload).await?;
    let name = fields.text("name", Name::parse);
    let email = fields.text("email", Email::parse);
    let password = fields.text("password", Password::parse);
    fields.finish()?;
    let (Some(name), Some(email), Some(password)) = (name, email, password) else { return Err(unread()) };
    let signed_in = state.identity.register(name, email, &password, client_network(&request)).await?;
    Ok(tokens(HttpResponse::Created().insert_header((header::LOCATION, "/api/me")), signed_in))
}

/// Log in.
#[utoipa::path(post, path = "/api/auth/login", tag = "identity", request_body = LoginBody, responses(
    (status = 200, description = "The user, with the tokens of a new session", body = SignedInView),
    (status = 400, description = "`malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`invalid_credentials`", body = ProblemView),
    (status = 429, description = "`rate_limited`: too many failed logins", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`", body = ProblemView)))]
pub async fn login(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let mut fields = fields(&request, payload).await?;
    // What can't be an address or a password is no account's: it is told as such, not as a mistake in the form.
    let email = fields.text("email", |text| Ok(Email::attempt(text).ok()));
    let password = fields.text("password", |text| Ok(Password::attempt(text)));
    fields.finish()?;
    let (Some(Some(email)), Some(Some(password))) = (email, password) else {
        return Err(domain::identity::LoginError::InvalidCredentials.into());
    };
    let signed_in = state.identity.login(&email, &password, client_network(&request)).await?;
    Ok(tokens(&mut HttpResponse::Ok(), signed_in))
}

/// Continue a session: the refresh token works once, and its second use ends the session.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "identity", request_body = RefreshTokenBody, responses(
    (status = 200, description = "The user, with new tokens", body = SignedInView),
    (status = 400, description = "`malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`: not known, used before, expired or ended", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn refresh(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let token = refresh_token(&request, payload).await?;
    Ok(tokens(&mut HttpResponse::Ok(), state.identity.refresh(&token, client_network(&request)).await?))
}

/// End a session.
#[utoipa::path(post, path = "/api/auth/logout", tag = "identity", request_body = RefreshTokenBody, responses(
    (status = 204, description = "The session is not there any more"),
    (status = 400, description = "`malformed_json`, `validation_failed`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn logout(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let token = refresh_token(&request, payload).await?;
    state.identity.logout(&token).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The caller's profile.
#[utoipa::path(get, path = "/api/me", tag = "identity", security(("bearer" = [])), responses(
    (status = 200, description = "The caller", body = UserView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn me(request: HttpRequest, state: Data<AppState>) -> Answer {
    let caller = caller(&request)?;
    let user = state.identity.who_am_i(&caller).await?;
    Ok(HttpResponse::Ok().insert_header(private()).json(UserView::from(user)))
}

async fn refresh_token(request: &HttpRequest, payload: Payload) -> Result<RefreshToken, Problem> {
    let mut fields = fields(request, payload).await?;
    let parse = |text: &str| -> Result<RefreshToken, TextError> {
        check_length(text, 1, REFRESH_TOKEN_MAX)?;
        Ok(RefreshToken(text.to_owned()))
    };
    let token = fields.text("refresh_token", parse);
    fields.finish()?;
    token.ok_or_else(unread)
}

fn tokens(response: &mut actix_web::HttpResponseBuilder, signed_in: SignedIn) -> HttpResponse {
    response
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .json(SignedInView::from(signed_in))
}

/// What is one user's is nobody else's to keep.
pub fn private() -> (header::HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))
}

/// Fields are there or told as mistakes: this is neither.
pub fn unread() -> Problem {
    Problem::new(Code::ValidationFailed, "The request is not valid.")
}
