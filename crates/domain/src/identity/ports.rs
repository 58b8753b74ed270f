//! The ports of identity.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::{
    Account, AccountChange, Bearer, CreatedUser, Email, NewUser, Password, PasswordHash, RefreshToken,
    RefreshTokenHash, Session, SessionCursor, User,
};
use crate::admin::ChangeOrigin;
use crate::error::{Cause, StoreError};
use crate::ids::{SessionId, UserId};
use crate::limits::ClientNetwork;
use crate::page::PageRequest;

/// The reason why an account was not created.
#[derive(Debug, Clone, Error)]
pub enum UserStoreError {
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why an account was not changed.
#[derive(Debug, Clone, Error)]
pub enum ChangeAccountError {
    /// The bearer's session has ended, or the account was deleted.
    #[error("the session has ended")]
    SessionEnded,
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why an account was not anonymised.
#[derive(Debug, Clone, Error)]
pub enum AnonymiseError {
    /// The bearer's session has ended, or the account was deleted.
    #[error("the session has ended")]
    SessionEnded,
    /// The account is the only administrator's.
    #[error("the account is the only administrator's")]
    LastAdmin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A refresh token to store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewRefreshToken {
    /// The digest by which it is found.
    pub hash: RefreshTokenHash,
    /// The time until it expires, from now by the store's clock.
    pub ttl: Duration,
}

/// Stores accounts.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Creates an account and, if `session` is given, its first session, atomically.
    ///
    /// MUST return `EmailTaken` if an account has an address that folds to the same text, also under concurrent calls.
    async fn create<'a>(
        &self,
        user: &NewUser,
        session: Option<&'a NewRefreshToken>,
    ) -> Result<CreatedUser, UserStoreError>;

    /// Creates an account for the operator, who works on the command line, with its entry of the audit log, atomically.
    ///
    /// MUST return `EmailTaken` in the same cases as `create`.
    async fn create_by_operator(&self, user: &NewUser, origin: &ChangeOrigin) -> Result<User, UserStoreError>;

    /// Returns the account with this address. Addresses are compared folded.
    async fn by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;

    /// Returns the user with this id.
    async fn by_id(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// Returns the user with this id and the password hash.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Sets a new password for the account with this address, increases its session generation, ends all its sessions and writes an entry
    /// of the audit log, atomically. Returns `None` if there is no such account.
    async fn reset_password(
        &self,
        email: &Email,
        password: &PasswordHash,
        origin: &ChangeOrigin,
    ) -> Result<Option<User>, StoreError>;

    /// Replaces the account's password hash by another hash of the same password. Sessions continue.
    ///
    /// MUST change nothing if the account's hash is not `old`.
    async fn replace_hash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError>;

    /// Changes the bearer's account atomically and returns the changed user. A new password increases its session generation and ends all
    /// its sessions except the bearer's; if the bearer has none, all of them.
    ///
    /// MUST change nothing and return `SessionEnded` if the account's session generation differs from the bearer's, or the bearer's session
    /// was ended. MUST return `EmailTaken` if another account has an address that folds to the same text, also under concurrent calls.
    async fn change(&self, bearer: &Bearer, change: &AccountChange) -> Result<User, ChangeAccountError>;

    /// Anonymises the bearer's account atomically: no name, a value that cannot be an address, a hash that no password matches, and the
    /// role of a customer. Its session generation is increased and all its sessions end. Its address becomes free. Its bookings stay
    /// unchanged.
    ///
    /// MUST change nothing and return `SessionEnded` in the same cases as `change`. MUST return `LastAdmin` if the account is the only
    /// administrator's, also under concurrent calls.
    async fn anonymise(&self, bearer: &Bearer) -> Result<(), AnonymiseError>;
}

/// The outcome of presenting a refresh token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// The token was valid and is now used. The next one is stored.
    Rotated {
        /// The user at the time of the rotation.
        user: User,
        session_id: SessionId,
    },
    /// The token had been used before. Its whole session was ended.
    Reused { session_id: SessionId },
    /// The token is unknown, has expired, or belongs to an ended session.
    Refused,
}

/// Stores sessions and their refresh tokens.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session of the user with its first refresh token.
    ///
    /// MUST begin no session and return `None` if the account's session generation differs from that of `user`: a login that is concurrent
    /// with a change of password gets no session that outlives the change.
    async fn open(&self, user: &User, token: &NewRefreshToken) -> Result<Option<SessionId>, StoreError>;

    /// Marks the presented token as used and stores the next one of its session, atomically.
    ///
    /// MUST rotate a token at most once, also under concurrent calls. A second presentation ends the session.
    async fn rotate(&self, presented: &RefreshTokenHash, next: &NewRefreshToken) -> Result<Rotation, StoreError>;

    /// Ends the session of this token and returns its id, if there is such a session.
    async fn end(&self, presented: &RefreshTokenHash) -> Result<Option<SessionId>, StoreError>;

    /// Ends this session of the user. Returns `false` if it is another user's, has ended or never existed.
    async fn end_one(&self, user: UserId, id: SessionId) -> Result<bool, StoreError>;

    /// Returns the live sessions of the user, newest first.
    async fn sessions(&self, user: UserId, page: &PageRequest<SessionCursor>) -> Result<Vec<Session>, StoreError>;

    /// Returns whether the bearer is valid: the account exists with the bearer's session generation, and the bearer's session, if it has
    /// one, belongs to that account and was not ended.
    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError>;
}

/// Checks whether sessions are live, without a call to the store each time.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SessionGuard: Send + Sync {
    /// Returns whether the bearer's session is live, from a state of the store that is at most a second old.
    ///
    /// MUST return `false` at once for sessions that were reported as ended, whatever the store has returned since.
    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError>;

    /// Records that a session has ended. Called after the end is committed.
    async fn ended(&self, session: SessionId);

    /// Records that the sessions of the account whose tokens have a lower generation have ended. Called after the end is committed.
    async fn ended_before(&self, user: UserId, generation: i64);
}

/// The reason why a password was neither hashed nor compared.
#[derive(Debug, Clone, Error)]
pub enum PasswordHasherError {
    /// Too many passwords wait already, most of them from this caller's network.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    #[error("the password hasher failed")]
    Internal(#[source] Cause),
}

/// The caller for whom a password is hashed. The queue is fair: a caller with few passwords in it waits for few others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requester {
    pub network: ClientNetwork,
    /// The folded address of the account of the password, whether or not the account exists.
    pub account: String,
}

impl Requester {
    /// The operator of this server: its command line, and its own tasks.
    pub const OPERATOR: Self = Self { network: ClientNetwork::Unknown, account: String::new() };
}

/// The result of comparing a password with a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasswordMatch {
    No,
    /// The prepared password matches.
    Prepared,
    /// The password matches, and its hash must be replaced: it is of the password as typed, because version 0.2.0 or earlier created it, or
    /// it has an algorithm of the system that this one replaces.
    Outdated,
}

/// Hashes passwords. This is slow on purpose, so it runs outside the threads that serve requests, with a bounded concurrency.
///
/// Waiting passwords MUST be taken in turn: one of each network, and within a network one of each account. If too many wait, those of the
/// network with the most MUST be refused first.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a new password with a fresh salt.
    async fn hash(&self, requester: &Requester, password: &Password) -> Result<PasswordHash, PasswordHasherError>;

    /// Compares the password with the hashed one: as prepared and, if that is a different text, as typed.
    ///
    /// With `None`, which stands for an account that does not exist, MUST take as long as with a hash of another password and return `No`.
    /// The number of hash computations of a wrong password MUST depend on the password only, as soon as the hasher has seen the algorithms of
    /// the stored hashes.
    async fn verify<'a>(
        &self,
        requester: &Requester,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<PasswordMatch, PasswordHasherError>;
}

/// Stores the sites from which the owners of accounts have logged in. A hint: entries may be lost, but MUST NOT be invented.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait KnownSites: Send + Sync {
    /// Records that the owner of the account with this folded address used it from this site. The record lasts for some weeks from now.
    async fn remember(&self, account: &str, site: ClientNetwork);

    /// Returns whether the site is recorded for the account.
    async fn is_known(&self, account: &str, site: ClientNetwork) -> bool;
}

/// The access token was refused: malformed, of another issuer, expired or not yet valid. The cause is not disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the access token is not valid")]
pub struct AccessTokenError;

/// Issues and verifies access tokens, without I/O.
pub trait AccessTokens: Send + Sync {
    /// Returns a token that identifies the bearer and expires after `ttl`.
    fn issue(&self, bearer: &Bearer, ttl: Duration) -> Result<String, StoreError>;

    /// Returns the bearer of a token, if this system issued it and it is valid now.
    fn verify(&self, token: &str) -> Result<Bearer, AccessTokenError>;
}

/// Draws refresh tokens and computes their digests.
pub trait RefreshTokens: Send + Sync {
    /// Returns a new, unguessable token.
    fn draw(&self) -> RefreshToken;

    /// Returns the digest under which the token is stored.
    fn digest(&self, token: &RefreshToken) -> RefreshTokenHash;
}
