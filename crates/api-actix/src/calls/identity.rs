//! Sign-up, login, logout, and the caller's profile.

use actix_web::web::Data;
use domain::identity::{Email, LoginError, Name, Password, RefreshToken, SignedIn, User};
use domain::limits::ClientNetwork;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use super::{instant, one_of};
use crate::http::body::{Body, body};
use crate::http::call::calls;
use crate::http::problem::Problem;
use crate::http::reply::{Created, Json, NoContent};
use crate::http::session::{Anyone, Caller};
use crate::wiring::state::AppState;

calls! { "identity"
    /// Sign up.
    POST "/api/auth/register" => register: "The new customer, logged in",
        or [EmailTaken, TooManySignUps, Overloaded, Unavailable];

    /// Log in.
    POST "/api/auth/login" => login: "The user, with the tokens of a new session",
        or [InvalidCredentials, AccountDisabled, Overloaded, Unavailable];

    /// Get new tokens.
    ///
    /// A refresh token works once. Its second use ends the session.
    POST "/api/auth/refresh" => refresh: "The user, with new tokens", or [Unauthenticated, Unavailable];

    /// Log out: end the session.
    POST "/api/auth/logout" => logout: "The session has ended", or [Unavailable];

    /// Your profile.
    GET "/api/me" => me: "The caller", or [Unavailable];
}

body! {
    /// A sign-up.
    pub struct Register as "Register" {
        /// 1 to 100 characters, at least one of them visible.
        #[example = "Ana Costa"]
        pub name: Name,
        #[example = "ana@example.org"]
        pub email: Email,
        /// 8 to 128 characters, any characters.
        #[example = "correct horse battery"]
        pub password: Password,
    }

    /// A login.
    pub struct Login as "Login" {
        #[example = "ana@example.org"]
        pub email: String,
        #[example = "correct horse battery"]
        pub password: String,
    }

    /// A refresh token.
    pub struct Refresh as "RefreshToken" {
        pub refresh_token: RefreshToken,
    }
}

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    id: i64,
    name: String,
    email: String,
    #[schema(schema_with = role)]
    role: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            role: user.role.as_str(),
            created_at: instant(user.created_at),
        }
    }
}

/// A user with the tokens of the session.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub struct SignedInView {
    id: i64,
    name: String,
    email: String,
    #[schema(schema_with = role)]
    role: &'static str,
    /// The access token.
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// How long the access token works, in seconds.
    expires_in: u64,
    /// Works once, for a new pair of tokens.
    refresh_token: String,
}

impl From<SignedIn> for SignedInView {
    fn from(SignedIn { user, tokens }: SignedIn) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            role: user.role.as_str(),
            token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
            refresh_token: tokens.refresh_token.0,
        }
    }
}

/// Returns the schema of a role.
pub fn role() -> Object {
    one_of(["customer", "staff", "admin"])
}

async fn register(
    _: Anyone,
    network: ClientNetwork,
    Body(Register { name, email, password }): Body<Register>,
    state: Data<AppState>,
) -> Result<Created<SignedInView>, Problem> {
    let signed_in = state.identity.register(name, email, &password, network).await?;
    Ok(Created { view: signed_in.into(), location: "/api/me" })
}

async fn login(
    _: Anyone,
    network: ClientNetwork,
    Body(Login { email, password }): Body<Login>,
    state: Data<AppState>,
) -> Result<Json<SignedInView>, Problem> {
    // A text that cannot be an address or a password belongs to no account: wrong credentials, not an invalid form.
    let (Ok(email), Some(password)) = (Email::attempt(&email), Password::attempt(&password)) else {
        return Err(LoginError::InvalidCredentials.into());
    };
    Ok(Json::secret(state.identity.login(&email, &password, network).await?.into()))
}

async fn refresh(
    _: Anyone,
    network: ClientNetwork,
    Body(Refresh { refresh_token }): Body<Refresh>,
    state: Data<AppState>,
) -> Result<Json<SignedInView>, Problem> {
    Ok(Json::secret(state.identity.refresh(&refresh_token, network).await?.into()))
}

async fn logout(
    _: Anyone,
    Body(Refresh { refresh_token }): Body<Refresh>,
    state: Data<AppState>,
) -> Result<NoContent, Problem> {
    state.identity.logout(&refresh_token).await?;
    Ok(NoContent)
}

async fn me(Caller(bearer): Caller, state: Data<AppState>) -> Result<Json<UserView>, Problem> {
    Ok(Json::private(state.identity.who_am_i(&bearer.caller).await?.into()))
}
