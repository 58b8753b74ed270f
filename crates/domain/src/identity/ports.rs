//! What identity needs of the outside.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::{Account, Caller, Email, NewUser, Password, PasswordHash, RefreshToken, RefreshTokenHash, User};
use crate::error::{Cause, StoreError};
use crate::ids::UserId;

/// Why an account was not made.
#[derive(Debug, Clone, Error)]
pub enum UserStoreError {
    /// Another account has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A refresh token to be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRefreshToken {
    /// The digest it is found by.
    pub hash: RefreshTokenHash,
    /// How long it works, from now by the store's clock.
    pub ttl: Duration,
}

/// The accounts.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Makes an account, and where `session` is given its first session, in one act.
    ///
    /// MUST return `EmailTaken` if an account has an address that folds the same, however many ask at once.
    async fn create<'a>(&self, user: &NewUser, session: Option<&'a NewRefreshToken>) -> Result<User, UserStoreError>;

    /// The account with this address, compared folded.
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;

    /// The user with this id.
    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// Gives the account with this address a new password, raises its session generation and ends all its sessions, in one
    /// act. `None` if there is no such account.
    async fn reset_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<User>, StoreError>;
}

/// What became of a refresh token that was presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// It was good, and is used up now; the next one is stored. The user as of now.
    Rotated(User),
    /// It had been used before. Its whole session is ended.
    Reused,
    /// It is not known, ran out, or belongs to a session that ended.
    Refused,
}

/// The sessions and their refresh tokens.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session of the user with its first refresh token.
    async fn open(&self, user: UserId, token: &NewRefreshToken) -> Result<(), StoreError>;

    /// Uses up the presented token and stores the next one of its session, in one act.
    ///
    /// MUST rotate at most once however many present the token at once; whoever comes second ends the session.
    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError>;

    /// Ends the session that the token belongs to, if there is one.
    async fn end(&self, presented: &RefreshTokenHash) -> Result<(), StoreError>;
}

/// Why a password was neither hashed nor compared.
#[derive(Debug, Clone, Error)]
pub enum PasswordHasherError {
    /// Too many wait already.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The hasher failed.
    #[error("the password hasher failed")]
    Internal(#[source] Cause),
}

/// Hashes passwords, slowly on purpose, beside the threads that serve requests, and only so many at once.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a new password with a salt of its own.
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordHasherError>;

    /// Whether the password is the hashed one.
    ///
    /// With `None`, that is for an account that doesn't exist, MUST take as long as with a hash, and answer no.
    async fn verify<'a>(
        &self,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<bool, PasswordHasherError>;
}

/// Why an access token was refused: malformed, of another maker, expired or not yet valid. No more is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the access token is not valid")]
pub struct AccessTokenError;

/// Makes and checks access tokens, without I/O.
pub trait AccessTokens: Send + Sync {
    /// A token that says who is calling, for `ttl`.
    fn issue(&self, caller: &Caller, ttl: Duration) -> Result<String, StoreError>;

    /// Who is calling, if the token is ours and valid now.
    fn verify(&self, token: &str) -> Result<Caller, AccessTokenError>;
}

/// Draws refresh tokens and digests them.
pub trait RefreshTokens: Send + Sync {
    /// A new, unguessable token.
    fn draw(&self) -> RefreshToken;

    /// What the token is stored as.
    fn digest(&self, token: &RefreshToken) -> RefreshTokenHash;
}
