//! Accounts, their sessions, and the proof of a caller's identity.
//!
//! A **session** begins with a sign-up or a login and is a family of refresh tokens: each works once and yields the next. An **access
//! token** names the session that it was issued for and carries the account's *session generation*, which is increased when all sessions of
//! the account must end at once (a new password, a deleted account). Every booking compares the two generations in its own transaction.
//! Whether the session is live is answered by a [`SessionGuard`], which is at most a second late.

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
