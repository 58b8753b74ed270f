//! What identity needs of the outside.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::{
    Account, AccountChange, Bearer, CreatedUser, Email, NewUser, Password, PasswordHash, RefreshToken,
    RefreshTokenHash, Session, SessionCursor, User,
};
use crate::error::{Cause, StoreError};
use crate::ids::{SessionId, UserId};
use crate::limits::ClientNetwork;
use crate::page::PageRequest;

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

/// Why an account was not changed.
#[derive(Debug, Clone, Error)]
pub enum ChangeAccountError {
    /// The bearer's session has ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// Another account has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not made anonymous.
#[derive(Debug, Clone, Error)]
pub enum AnonymiseError {
    /// The bearer's session has ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// It is the only administrator's.
    #[error("the account is the only administrator's")]
    LastAdmin,
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
    async fn create<'a>(
        &self,
        user: &NewUser,
        session: Option<&'a NewRefreshToken>,
    ) -> Result<CreatedUser, UserStoreError>;

    /// Returns the account with this address, compared folded.
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;

    /// Returns the user with this id.
    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// Returns the user with this id, with what proves the password.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Gives the account with this address a new password, raises its session generation and ends all its sessions, in one
    /// act. `None` if there is no such account.
    async fn reset_password(&self, email: &Email, password: &PasswordHash) -> Result<Option<User>, StoreError>;

    /// Replaces the account's password hash by another one of the same password: sessions go on.
    ///
    /// MUST change nothing if the account has another hash than `old`.
    async fn replace_hash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError>;

    /// Changes the bearer's account, in one act, and tells what it is then. A new password raises its session generation and ends
    /// all its sessions but the bearer's; where the bearer has none, all of them.
    ///
    /// MUST change nothing and return `SessionEnded` if the account has another session generation than the bearer, or the
    /// bearer's session was ended; `EmailTaken` if another account has an address that folds the same, however many ask at once.
    async fn change(&self, bearer: &Bearer, change: &AccountChange) -> Result<User, ChangeAccountError>;

    /// Makes the bearer's account nobody's, in one act: no name, an address that can't be one, a password that nobody has, no
    /// special role; its session generation is raised and all its sessions are ended. Its address is free from then on. Its
    /// bookings stay as they are.
    ///
    /// MUST change nothing and return `SessionEnded` as `change` does; `LastAdmin` if the account is an administrator's and no
    /// other one is, however many ask at once.
    async fn anonymise(&self, bearer: &Bearer) -> Result<(), AnonymiseError>;
}

/// What became of a refresh token that was presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// It was good, and is used up now; the next one is stored.
    Rotated {
        /// The user as of now.
        user: User,
        session_id: SessionId,
    },
    /// It had been used before. Its whole session is ended.
    Reused { session_id: SessionId },
    /// It is not known, ran out, or belongs to a session that ended.
    Refused,
}

/// The sessions and their refresh tokens.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session of the user with its first refresh token.
    ///
    /// MUST begin none and return `None` if the account's session generation is not the user's any more: whoever logs in with a
    /// password while it is changed gets no session that outlives the change.
    async fn open(&self, user: &User, token: &NewRefreshToken) -> Result<Option<SessionId>, StoreError>;

    /// Uses up the presented token and stores the next one of its session, in one act.
    ///
    /// MUST rotate at most once however many present the token at once; whoever comes second ends the session.
    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError>;

    /// Ends the session that the token belongs to, and tells which one that is, if there is one.
    async fn end(&self, presented: &RefreshTokenHash) -> Result<Option<SessionId>, StoreError>;

    /// Ends this session of the user, and tells whether it did: not if it is another user's, has ended or never was.
    async fn end_one(&self, user: UserId, id: SessionId) -> Result<bool, StoreError>;

    /// Returns the sessions of the user that last, newest first.
    async fn sessions(&self, user: UserId, page: &PageRequest<SessionCursor>) -> Result<Vec<Session>, StoreError>;

    /// Returns whether the bearer's account is there, with the bearer's session generation, and the bearer's session, if it has one, is
    /// that account's and was not ended.
    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError>;
}

/// Knows whether sessions last, without asking the store each time.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SessionGuard: Send + Sync {
    /// Returns whether the bearer's session lasts, as the store had it at most a second ago.
    ///
    /// MUST say no at once to what it was told to have ended, whatever the store has said meanwhile.
    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError>;

    /// Is told that a session has ended, after that was committed.
    async fn ended(&self, session: SessionId);

    /// Is told that the sessions of the account have ended whose tokens have a lower generation, after that was committed.
    async fn ended_before(&self, user: UserId, generation: i64);
}

/// Why a password was neither hashed nor compared.
#[derive(Debug, Clone, Error)]
pub enum PasswordHasherError {
    /// Too many wait already, most of them of this caller's network.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The hasher failed.
    #[error("the password hasher failed")]
    Internal(#[source] Cause),
}

/// The caller that a password is hashed for. Callers with few passwords in the queue wait behind few.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requester {
    /// The source of the call.
    pub network: ClientNetwork,
    /// The folded address of the account that the password is for, whether or not there is one.
    pub account: String,
}

impl Requester {
    /// The operator of this server: its command line, and what it does by itself.
    pub const OPERATOR: Self = Self { network: ClientNetwork::Unknown, account: String::new() };
}

/// Whether a password is the hashed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordMatch {
    /// It is not.
    No,
    /// It is, as it was prepared.
    Prepared,
    /// It is, but only as it was typed: the hash is of version 0.2.0 or before.
    Typed,
}

/// Hashes passwords, slowly on purpose, beside the threads that serve requests, and only so many at once.
///
/// Passwords that wait MUST be taken in turn: one of each network, and within a network one of each account. If too many wait, those
/// of the network with the most MUST be refused first.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a new password with a salt of its own.
    async fn hash(&self, requester: &Requester, password: &Password) -> Result<PasswordHash, PasswordHasherError>;

    /// Compares the password with the hashed one: as it was prepared, and if that is another text as it was typed.
    ///
    /// With `None`, that is for an account that does not exist, MUST take as long as with a hash of another password, and return
    /// `No`. How often it hashes MUST depend on the password alone.
    async fn verify<'a>(
        &self,
        requester: &Requester,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<PasswordMatch, PasswordHasherError>;
}

/// Remembers from where the owners of accounts have logged in. It is a hint: it may forget, but never knows more than it was told.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait KnownSites: Send + Sync {
    /// Remembers, for some weeks from now, that the account with this folded address was used from this site by its owner.
    async fn remember(&self, account: &str, site: ClientNetwork);

    /// Returns whether that is remembered.
    async fn is_known(&self, account: &str, site: ClientNetwork) -> bool;
}

/// Why an access token was refused: malformed, of another maker, expired or not yet valid. No more is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the access token is not valid")]
pub struct AccessTokenError;

/// Makes and checks access tokens, without I/O.
pub trait AccessTokens: Send + Sync {
    /// Returns a token that says who is calling, for `ttl`.
    fn issue(&self, bearer: &Bearer, ttl: Duration) -> Result<String, StoreError>;

    /// Who is calling, if the token is ours and valid now.
    fn verify(&self, token: &str) -> Result<Bearer, AccessTokenError>;
}

/// Draws refresh tokens and digests them.
pub trait RefreshTokens: Send + Sync {
    /// Returns a new, unguessable token.
    fn draw(&self) -> RefreshToken;

    /// What the token is stored as.
    fn digest(&self, token: &RefreshToken) -> RefreshTokenHash;
}
