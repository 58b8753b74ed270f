//! People's accounts, their sessions, and what proves who is calling.
//!
//! A **session** begins with a sign-up or a login and is a family of refresh tokens: each works once, and gives
//! the next. An **access token** is checked without I/O; it carries the account's *session generation*, which is raised
//! when all sessions of the account must end (a new password). Every write compares the two.

mod account;
mod ports;
mod service;

pub use account::{
    Account, Caller, Email, Name, NewUser, Password, PasswordHash, RefreshToken, RefreshTokenHash, Role, RoleError,
    User,
};
pub use ports::{
    AccessTokenError, AccessTokens, NewRefreshToken, PasswordHasher, PasswordHasherError, RefreshTokens, Rotation,
    SessionStore, UserStore, UserStoreError,
};
#[cfg(feature = "mock")]
pub use ports::{MockPasswordHasher, MockSessionStore, MockUserStore};
pub use service::{
    AuthenticationLimit, IdentityService, IdentityTtl, LoginError, RefreshError, RegisterError, SessionTokens,
    SignedIn, WhoAmIError,
};
