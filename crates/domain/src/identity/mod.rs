//! People's accounts, their sessions, and what proves who is calling.
//!
//! A **session** begins with a sign-up or a login and is a family of refresh tokens: each works once, and gives
//! the next. An **access token** says which session it was given to, and carries the account's *session generation*, which is
//! raised when sessions of the account must end everywhere at once (a new password, a deleted account). Every booking compares
//! the two in its own transaction; whether the session lasts a [`SessionGuard`] knows, at most a second late.

mod account;
mod ports;
mod service;

pub use account::{
    Account, AccountChange, AnonymousAccount, Bearer, Caller, CreatedUser, Email, Name, NewUser, Password,
    PasswordHash, RefreshToken, RefreshTokenHash, Role, RoleError, Session, SessionCursor, User,
};
pub use ports::{
    AccessTokenError, AccessTokens, AnonymiseError, ChangeAccountError, KnownSites, NewRefreshToken, PasswordHasher,
    PasswordHasherError, PasswordMatch, RefreshTokens, Requester, Rotation, SessionGuard, SessionStore, UserStore,
    UserStoreError,
};
#[cfg(feature = "mock")]
pub use ports::{MockKnownSites, MockPasswordHasher, MockSessionGuard, MockSessionStore, MockUserStore};
pub use service::{
    AccessToken, AuthenticationLimit, DeleteAccountError, EndSessionError, IdentityService, IdentityTtl, LoginError,
    ProfileChange, ProofError, RefreshError, RegisterError, SessionTokens, SignUpLimit, SignedIn, TooManyFailures,
    UpdateProfileError, UpdatedProfile, WhoAmIError,
};
