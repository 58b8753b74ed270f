//! Signing up, logging in, staying logged in, logging out.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{
    AccessTokens, Caller, Email, Name, NewRefreshToken, NewUser, Password, PasswordHasher, PasswordHasherError,
    RefreshToken, RefreshTokens, Role, Rotation, SessionStore, User, UserStore, UserStoreError,
};
use crate::error::StoreError;
use crate::limits::{Limit, RateLimiter};

/// How long tokens work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdentityTtl {
    /// How long an access token works. Until then it can't be called back, except by its generation.
    pub access_token: Duration,
    /// How long a refresh token works if it is not used.
    pub refresh_token: Duration,
}

/// How often a login may fail, for each account and address together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthenticationLimit(pub Option<Limit>);

/// What a client needs to stay signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionTokens {
    /// The access token.
    pub access_token: String,
    /// How long the access token works.
    pub expires_in: Duration,
    /// The refresh token: works once.
    pub refresh_token: RefreshToken,
}

/// A user who has just proven who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The tokens of the session.
    pub tokens: SessionTokens,
}

/// Why nobody was signed up.
#[derive(Debug, Clone, Error)]
pub enum RegisterError {
    /// Another account has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nobody was logged in.
#[derive(Debug, Clone, Error)]
pub enum LoginError {
    /// No such account, or not its password: not told which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// Too many failures of this account from this address.
    #[error("too many failed logins")]
    TooManyFailures {
        /// How long until it may be tried again.
        retry_in: Duration,
        /// The limit that was passed.
        limit: Limit,
    },
    /// The password could not be compared.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session was not continued.
#[derive(Debug, Clone, Error)]
pub enum RefreshError {
    /// The token is not known, ran out, was used before, or its session ended: not told which.
    #[error("the refresh token is not valid")]
    Refused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a caller was not told who they are.
#[derive(Debug, Clone, Error)]
pub enum WhoAmIError {
    /// The session of the access token was ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Accounts and sessions.
pub struct IdentityService {
    /// The accounts.
    pub users: Arc<dyn UserStore>,
    /// Their sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Hashes passwords.
    pub passwords: Arc<dyn PasswordHasher>,
    /// Makes and checks access tokens.
    pub access_tokens: Arc<dyn AccessTokens>,
    /// Draws refresh tokens.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Counts failed logins.
    pub failures: Arc<dyn RateLimiter>,
    /// How many failed logins are allowed.
    pub limit: AuthenticationLimit,
    /// How long tokens work.
    pub ttl: IdentityTtl,
}

impl IdentityService {
    /// Makes a customer's account and its first session.
    pub async fn register(&self, name: Name, email: Email, password: &Password) -> Result<SignedIn, RegisterError> {
        let password_hash = self.passwords.hash(password).await?;
        let (refresh_token, stored) = self.draw_refresh_token();
        let new = NewUser { name, email, password_hash, role: Role::Customer };
        let user = self.users.create(&new, Some(&stored)).await.map_err(|error| match error {
            UserStoreError::EmailTaken => RegisterError::EmailTaken,
            UserStoreError::Store(error) => RegisterError::Store(error),
        })?;
        Ok(self.signed_in(user, refresh_token)?)
    }

    /// Begins a session for whoever knows the account's password. `address` is where the call came from.
    ///
    /// Takes as long for an address without an account as for a wrong password.
    pub async fn login(&self, email: &Email, password: &Password, address: &str) -> Result<SignedIn, LoginError> {
        let counter = format!("login:{}:{address}", email.folded());
        self.count_attempt(&counter).await?;
        let account = self.users.by_email(email).await?;
        let hash = account.as_ref().map(|account| &account.password_hash);
        let verified = self.passwords.verify(password, hash).await?;
        let Some(account) = account.filter(|_| verified) else { return Err(LoginError::InvalidCredentials) };
        self.take_back_attempt(&counter).await;
        let (refresh_token, stored) = self.draw_refresh_token();
        self.sessions.open(account.user.id, &stored).await?;
        Ok(self.signed_in(account.user, refresh_token)?)
    }

    /// Continues a session: the presented token is used up, the next one is given.
    pub async fn refresh(&self, presented: &RefreshToken) -> Result<SignedIn, RefreshError> {
        let (refresh_token, stored) = self.draw_refresh_token();
        match self.sessions.rotate(&self.refresh_tokens.digest(presented), &stored).await? {
            Rotation::Rotated(user) => Ok(self.signed_in(user, refresh_token)?),
            Rotation::Reused | Rotation::Refused => Err(RefreshError::Refused),
        }
    }

    /// Ends the session of the presented token. A token that means nothing is no error: the session is not there.
    pub async fn logout(&self, presented: &RefreshToken) -> Result<(), StoreError> {
        self.sessions.end(&self.refresh_tokens.digest(presented)).await
    }

    /// The caller's profile as it is stored now.
    pub async fn who_am_i(&self, caller: &Caller) -> Result<User, WhoAmIError> {
        let user = self.users.by_id(caller.user_id).await?;
        user.filter(|user| user.session_generation == caller.session_generation).ok_or(WhoAmIError::SessionEnded)
    }

    /// Counts the attempt before it is made, so that attempts made at once are limited too; one that
    /// succeeds is taken back. A limiter that can't be reached limits nothing: it must not lock everybody out.
    async fn count_attempt(&self, counter: &str) -> Result<(), LoginError> {
        let AuthenticationLimit(Some(limit)) = self.limit else { return Ok(()) };
        match self.failures.count(counter, limit).await {
            Ok(allowance) if !allowance.allowed => {
                Err(LoginError::TooManyFailures { retry_in: allowance.resets_in, limit })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn take_back_attempt(&self, counter: &str) {
        if self.limit.0.is_some() {
            // A count that stays too high costs a user some tries of this minute, no more.
            let _ = self.failures.take_back(counter).await;
        }
    }

    fn draw_refresh_token(&self) -> (RefreshToken, NewRefreshToken) {
        let token = self.refresh_tokens.draw();
        let stored = NewRefreshToken { hash: self.refresh_tokens.digest(&token), ttl: self.ttl.refresh_token };
        (token, stored)
    }

    fn signed_in(&self, user: User, refresh_token: RefreshToken) -> Result<SignedIn, StoreError> {
        let expires_in = self.ttl.access_token;
        let access_token = self.access_tokens.issue(&user.caller(), expires_in)?;
        Ok(SignedIn { user, tokens: SessionTokens { access_token, expires_in, refresh_token } })
    }
}
