//! Sign-up, login, refresh, logout, and the management of the own account.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use thiserror::Error;

use super::{
    AccessTokens, Account, AccountChange, AnonymiseError, Bearer, Caller, ChangeAccountError, Email, KnownSites, Name,
    NewRefreshToken, NewUser, Password, PasswordHasher, PasswordHasherError, PasswordMatch, RefreshToken,
    RefreshTokens, Requester, Role, Rotation, Session, SessionCursor, SessionGuard, SessionStore, User, UserStore,
    UserStoreError,
};
use crate::error::StoreError;
use crate::ids::SessionId;
use crate::limits::{ClientNetwork, Limit, RateLimiter};
use crate::page::{Page, PageRequest};
use crate::text::fold;

/// The lifetimes of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdentityTtl {
    /// The lifetime of an access token, unless its session ends earlier.
    pub access_token: Duration,
    /// The lifetime of a refresh token that is not used.
    pub refresh_token: Duration,
}

/// The allowed number of failed logins for each pair of account and client network. `None` switches off all limits on failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthenticationLimit(pub Option<Limit>);

impl AuthenticationLimit {
    /// The limit of one account over all networks, as a multiple. It bounds guesses from many addresses.
    pub const ACCOUNT_FACTOR: u32 = 3;
    /// The limit of one network over all accounts, as a multiple. It bounds guesses against a list of accounts.
    pub const NETWORK_FACTOR: u32 = 5;
}

/// The allowed number of sign-up attempts of a client network, successful or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignUpLimit(pub Option<Limit>);

/// The tokens with which a client stays signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionTokens {
    pub access_token: String,
    /// The lifetime of the access token.
    pub expires_in: Duration,
    /// Works once.
    pub refresh_token: RefreshToken,
}

/// A user who has just been authenticated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    pub user: User,
    pub tokens: SessionTokens,
}

/// The reason why a sign-up failed.
#[derive(Debug, Clone, Error)]
pub enum RegisterError {
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Too many sign-ups from the client network.
    #[error("too many sign-ups")]
    TooManySignUps {
        /// The time until the next one is allowed.
        retry_in: Duration,
        /// The limit that was exceeded.
        limit: Limit,
    },
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Too many wrong passwords: for one account from one network, for one account, or from one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many failed logins")]
pub struct TooManyFailures {
    /// The time until the next attempt is allowed.
    pub retry_in: Duration,
    /// The limit that was exceeded.
    pub limit: Limit,
}

/// The reason why a login failed.
#[derive(Debug, Clone, Error)]
pub enum LoginError {
    /// No such account, or a wrong password. Which of the two is not disclosed.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The password is right, but an administrator has disabled the account.
    #[error("the account is disabled")]
    Disabled,
    /// Too many failed logins.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
    /// The password could not be compared.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why a session was not continued.
#[derive(Debug, Clone, Error)]
pub enum RefreshError {
    /// The token is unknown, has expired, was used before, or its session has ended. Which of these is not disclosed.
    #[error("the refresh token is not valid")]
    Refused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why the caller's profile was not returned.
#[derive(Debug, Clone, Error)]
pub enum WhoAmIError {
    /// The session of the access token was ended, or the account was deleted.
    #[error("the session has ended")]
    SessionEnded,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why a caller with a token could not be authenticated again.
#[derive(Debug, Clone, Error)]
pub enum ProofError {
    /// The session of the access token was ended, or the account was deleted.
    #[error("the session has ended")]
    SessionEnded,
    #[error("the current password is needed")]
    PasswordMissing,
    /// Not the account's password. Counted as a failed login.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Too many failed attempts.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why a profile was not changed.
#[derive(Debug, Clone, Error)]
pub enum UpdateProfileError {
    /// The caller could not be authenticated.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    #[error("the e-mail address is taken")]
    EmailTaken,
}

/// The reason why an account was not deleted.
#[derive(Debug, Clone, Error)]
pub enum DeleteAccountError {
    /// The caller could not be authenticated.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    /// The account is the only administrator's.
    #[error("the account is the only administrator's")]
    LastAdmin,
}

/// The reason why a session was not ended.
#[derive(Debug, Clone, Error)]
pub enum EndSessionError {
    /// The caller has no such session, or it has already ended.
    #[error("there is no such session")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The requested changes to a profile. A `None` field stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    pub name: Option<Name>,
    pub email: Option<Email>,
    pub password: Option<Password>,
}

/// An access token with its lifetime.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    pub token: String,
    pub expires_in: Duration,
}

/// A profile after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdatedProfile {
    pub user: User,
    /// A new token for the caller's session if the password changed, which invalidates the token of the request.
    pub token: Option<AccessToken>,
}

/// Manages accounts and sessions.
pub struct IdentityService {
    pub users: Arc<dyn UserStore>,
    pub sessions: Arc<dyn SessionStore>,
    /// Checks whether sessions are live.
    pub guard: Arc<dyn SessionGuard>,
    pub passwords: Arc<dyn PasswordHasher>,
    pub access_tokens: Arc<dyn AccessTokens>,
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Counts failed logins and sign-ups.
    pub failures: Arc<dyn RateLimiter>,
    /// The sites from which accounts are used.
    pub sites: Arc<dyn KnownSites>,
    /// The limit on failed logins.
    pub limit: AuthenticationLimit,
    /// The limit on sign-ups.
    pub sign_up_limit: SignUpLimit,
    /// The lifetimes of tokens.
    pub ttl: IdentityTtl,
}

impl IdentityService {
    /// Creates a customer's account and its first session. `network` is the source of the request.
    ///
    /// Every attempt counts towards the sign-up limit of the network, also one with a taken address. Only an attempt that failed because of
    /// this server is taken back.
    pub async fn register(
        &self,
        name: Name,
        email: Email,
        password: &Password,
        network: ClientNetwork,
    ) -> Result<SignedIn, RegisterError> {
        let counter = format!("sign-up:{network}");
        if let SignUpLimit(Some(limit)) = self.sign_up_limit {
            // If the limiter is unavailable, no limit applies: its failure must not block all sign-ups.
            let allowance = self.failures.count(&counter, limit).await.ok();
            if let Some(refused) = allowance.filter(|allowance| !allowance.allowed) {
                return Err(RegisterError::TooManySignUps { retry_in: refused.resets_in, limit });
            }
        }
        let requester = Requester { network, account: email.folded().to_owned() };
        let outcome = self.create_customer(name, email, password, &requester).await;
        if outcome.is_ok() {
            self.sites.remember(&requester.account, network.site()).await;
        }
        let has_failed = matches!(outcome, Err(RegisterError::Password(_) | RegisterError::Store(_)));
        if has_failed && self.sign_up_limit.0.is_some() {
            // Harmless if this fails: the network loses one sign-up of this hour.
            let _ = self.failures.take_back(&counter).await;
        }
        outcome
    }

    async fn create_customer(
        &self,
        name: Name,
        email: Email,
        password: &Password,
        requester: &Requester,
    ) -> Result<SignedIn, RegisterError> {
        let password_hash = self.passwords.hash(requester, password).await?;
        let (refresh_token, stored) = self.draw_refresh_token();
        let new = NewUser { name, email, password_hash, role: Role::Customer };
        let created = self.users.create(&new, Some(&stored)).await.map_err(|error| match error {
            UserStoreError::EmailTaken => RegisterError::EmailTaken,
            UserStoreError::Store(error) => RegisterError::Store(error),
        })?;
        Ok(self.signed_in(created.user, created.session_id, refresh_token)?)
    }

    /// Begins a session for a caller who knows the account's password. `network` is the source of the request.
    ///
    /// Takes as long for an address without an account as for a wrong password.
    pub async fn login(
        &self,
        email: &Email,
        password: &Password,
        network: ClientNetwork,
    ) -> Result<SignedIn, LoginError> {
        let requester = Requester { network, account: email.folded().to_owned() };
        let attempt = self.count_login(&requester).await?;
        let outcome = self.prove(email, password, &requester).await;
        if !matches!(outcome, Err(LoginError::InvalidCredentials)) {
            self.take_back(attempt).await;
        }
        if outcome.is_ok() {
            self.sites.remember(&requester.account, network.site()).await;
        }
        outcome
    }

    async fn prove(&self, email: &Email, password: &Password, requester: &Requester) -> Result<SignedIn, LoginError> {
        let account = self.users.by_email(email).await?;
        let hash = account.as_ref().map(|account| &account.password_hash);
        let matched = self.passwords.verify(requester, password, hash).await?;
        let Some(account) = account.filter(|_| matched != PasswordMatch::No) else {
            return Err(LoginError::InvalidCredentials);
        };
        // Only the owner learns that the account is disabled.
        if account.disabled {
            return Err(LoginError::Disabled);
        }
        let (refresh_token, stored) = self.draw_refresh_token();
        // `None` if the password was changed concurrently: the given one is no longer right.
        let opened = self.sessions.open(&account.user, &stored).await?;
        let session_id = opened.ok_or(LoginError::InvalidCredentials)?;
        if matched == PasswordMatch::Outdated {
            self.renew_hash(&account, password, requester).await;
        }
        Ok(self.signed_in(account.user, Some(session_id), refresh_token)?)
    }

    /// Replaces an outdated hash by one of the prepared password, so that it also matches from other keyboards, and has the present
    /// algorithm. If that fails, the next login tries again.
    async fn renew_hash(&self, account: &Account, password: &Password, requester: &Requester) {
        if let Ok(renewed) = self.passwords.hash(requester, password).await {
            let _ = self.users.replace_hash(account.user.id, &account.password_hash, &renewed).await;
        }
    }

    /// Continues a session: marks the presented token as used and returns the next one. `network` is the source of the request.
    pub async fn refresh(&self, presented: &RefreshToken, network: ClientNetwork) -> Result<SignedIn, RefreshError> {
        let (refresh_token, stored) = self.draw_refresh_token();
        match self.sessions.rotate(&self.refresh_tokens.digest(presented), &stored).await? {
            Rotation::Rotated { user, session_id } => {
                self.sites.remember(&fold(&user.email), network.site()).await;
                Ok(self.signed_in(user, Some(session_id), refresh_token)?)
            }
            Rotation::Reused { session_id } => {
                self.guard.ended(session_id).await;
                Err(RefreshError::Refused)
            }
            Rotation::Refused => Err(RefreshError::Refused),
        }
    }

    /// Ends the session of the presented token. An unknown token is no error: it has no session to end.
    pub async fn logout(&self, presented: &RefreshToken) -> Result<(), StoreError> {
        if let Some(session_id) = self.sessions.end(&self.refresh_tokens.digest(presented)).await? {
            self.guard.ended(session_id).await;
        }
        Ok(())
    }

    /// Returns whether the bearer's session is live, as far as this server knows. A session that another server ended less than a second
    /// ago may still count as live.
    pub async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        self.guard.lasts(bearer).await
    }

    /// Returns the caller's profile as it is stored now.
    pub async fn who_am_i(&self, caller: &Caller) -> Result<User, WhoAmIError> {
        let user = self.users.by_id(caller.user_id).await?;
        user.filter(|user| user.session_generation == caller.session_generation).ok_or(WhoAmIError::SessionEnded)
    }

    /// Changes the bearer's profile. A new address or password requires the current password. A new password ends all other sessions of the
    /// account. `network` is the source of the request.
    pub async fn update_profile(
        &self,
        bearer: &Bearer,
        change: ProfileChange,
        current_password: Option<&str>,
        network: ClientNetwork,
    ) -> Result<UpdatedProfile, UpdateProfileError> {
        let ProfileChange { name, email, password } = change;
        let account = self.own_account(&bearer.caller).await?;
        let requester = Requester { network, account: fold(&account.user.email) };
        // An unchanged address is no change, so that a client may send the whole profile back.
        let email = email.filter(|email| email.as_str() != account.user.email);
        if name.is_none() && email.is_none() && password.is_none() {
            return Ok(UpdatedProfile { user: account.user, token: None });
        }
        if email.is_some() || password.is_some() {
            self.prove_again(&account, current_password, &requester).await?;
        }
        let password_hash = match &password {
            Some(password) => Some(self.passwords.hash(&requester, password).await.map_err(ProofError::Password)?),
            None => None,
        };
        let change = AccountChange { name, email, password_hash };
        let user = self.users.change(bearer, &change).await.map_err(|error| match error {
            ChangeAccountError::SessionEnded => UpdateProfileError::Unproven(ProofError::SessionEnded),
            ChangeAccountError::EmailTaken => UpdateProfileError::EmailTaken,
            ChangeAccountError::Store(error) => UpdateProfileError::Unproven(ProofError::Store(error)),
        })?;
        if let Some(email) = &change.email {
            self.sites.remember(email.folded(), network.site()).await;
        }
        if password.is_none() {
            return Ok(UpdatedProfile { user, token: None });
        }
        self.guard.ended_before(user.id, user.session_generation).await;
        // A token without a session belongs to no session that could continue.
        let token = match bearer.session_id {
            Some(session_id) => Some(self.access_token(&user, Some(session_id)).map_err(ProofError::Store)?),
            None => None,
        };
        Ok(UpdatedProfile { user, token })
    }

    /// Deletes the bearer's account. Its anonymised row keeps the bookings. `network` is the source of the request.
    pub async fn delete_account(
        &self,
        bearer: &Bearer,
        current_password: Option<&str>,
        network: ClientNetwork,
    ) -> Result<(), DeleteAccountError> {
        let account = self.own_account(&bearer.caller).await?;
        let requester = Requester { network, account: fold(&account.user.email) };
        self.prove_again(&account, current_password, &requester).await?;
        self.users.anonymise(bearer).await.map_err(|error| match error {
            AnonymiseError::SessionEnded => DeleteAccountError::Unproven(ProofError::SessionEnded),
            AnonymiseError::LastAdmin => DeleteAccountError::LastAdmin,
            AnonymiseError::Store(error) => DeleteAccountError::Unproven(ProofError::Store(error)),
        })?;
        self.guard.ended_before(account.user.id, account.user.session_generation.saturating_add(1)).await;
        Ok(())
    }

    /// Returns a page of the caller's live sessions, newest first.
    pub async fn sessions(
        &self,
        caller: &Caller,
        page: &PageRequest<SessionCursor>,
    ) -> Result<Page<Session, SessionCursor>, StoreError> {
        let rows = self.sessions.sessions(caller.user_id, page).await?;
        Ok(page.cut(rows, |session| SessionCursor { created_at: session.created_at, id: session.id }))
    }

    /// Ends one of the caller's sessions, possibly the one of the request.
    pub async fn end_session(&self, caller: &Caller, id: SessionId) -> Result<(), EndSessionError> {
        if !self.sessions.end_one(caller.user_id, id).await? {
            return Err(EndSessionError::NotFound);
        }
        self.guard.ended(id).await;
        Ok(())
    }

    async fn own_account(&self, caller: &Caller) -> Result<Account, ProofError> {
        let account = self.users.account(caller.user_id).await?;
        let lasts = |account: &Account| account.user.session_generation == caller.session_generation;
        account.filter(lasts).ok_or(ProofError::SessionEnded)
    }

    /// Requires the password again, because the token may be stolen. A wrong password counts as a failed login, so that the holder of a
    /// stolen token cannot try passwords without limit.
    async fn prove_again(
        &self,
        account: &Account,
        given: Option<&str>,
        requester: &Requester,
    ) -> Result<(), ProofError> {
        let Some(given) = given else { return Err(ProofError::PasswordMissing) };
        let attempt = self.count_proof(requester).await?;
        let outcome = match Password::attempt(given) {
            Some(password) => self.passwords.verify(requester, &password, Some(&account.password_hash)).await,
            None => Ok(PasswordMatch::No),
        };
        if matches!(outcome, Ok(PasswordMatch::No)) {
            return Err(ProofError::WrongPassword);
        }
        self.take_back(attempt).await;
        outcome?;
        self.sites.remember(&requester.account, requester.network.site()).await;
        Ok(())
    }

    /// Counts a login before it is tried: by account and network together, by account alone, and by network alone. The last two do not
    /// refuse logins from a site that the account's owner is known to use, so that guesses from elsewhere do not lock the owner out.
    async fn count_login(&self, requester: &Requester) -> Result<Attempt, TooManyFailures> {
        let AuthenticationLimit(Some(limit)) = self.limit else { return Ok(Attempt::default()) };
        let Requester { network, account } = requester;
        let mut attempt = Attempt::default();
        self.count_attempt(&mut attempt, failure_counter(account, *network), limit, 1).await?;
        let (mut by_account, mut by_network) = (Attempt::default(), Attempt::default());
        let (account_limited, network_limited) = futures::join!(
            self.count_attempt(
                &mut by_account,
                format!("login-account:{account}"),
                limit,
                AuthenticationLimit::ACCOUNT_FACTOR
            ),
            self.count_attempt(
                &mut by_network,
                format!("login-network:{network}"),
                limit,
                AuthenticationLimit::NETWORK_FACTOR
            ),
        );
        attempt.0.extend(by_account.0.into_iter().chain(by_network.0));
        let refused = account_limited.err().into_iter().chain(network_limited.err());
        match refused.max_by_key(|refused| refused.retry_in) {
            Some(refused) if !self.sites.is_known(account, network.site()).await => {
                self.take_back(attempt).await;
                Err(refused)
            }
            _ => Ok(attempt),
        }
    }

    /// Counts a password proof of a caller with a token before it is tried: by account and network together, with the same count as logins,
    /// and by account alone. The count by account is separate from that of logins, because callers without a token must not lock out a
    /// caller with one.
    async fn count_proof(&self, requester: &Requester) -> Result<Attempt, TooManyFailures> {
        let AuthenticationLimit(Some(limit)) = self.limit else { return Ok(Attempt::default()) };
        let Requester { network, account } = requester;
        let mut attempt = Attempt::default();
        self.count_attempt(&mut attempt, failure_counter(account, *network), limit, 1).await?;
        let name = format!("proof-account:{account}");
        let counted = self.count_attempt(&mut attempt, name, limit, AuthenticationLimit::ACCOUNT_FACTOR).await;
        match counted {
            Ok(()) => Ok(attempt),
            Err(refused) => {
                self.take_back(attempt).await;
                Err(refused)
            }
        }
    }

    /// Counts an attempt before it runs, so that concurrent attempts are limited too. An attempt that does not fail for its password is
    /// taken back. If the limiter is unavailable, no limit applies: its failure must not lock out all users.
    async fn count_attempt(
        &self,
        attempt: &mut Attempt,
        name: String,
        limit: Limit,
        factor: u32,
    ) -> Result<(), TooManyFailures> {
        let limit = Limit { tries: limit.tries.saturating_mul(factor), ..limit };
        match self.failures.count(&name, limit).await {
            Ok(allowance) if !allowance.allowed => Err(TooManyFailures { retry_in: allowance.resets_in, limit }),
            Ok(_) => {
                attempt.0.push(name);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    async fn take_back(&self, Attempt(names): Attempt) {
        // Harmless if this fails: the user loses some attempts of this minute.
        join_all(names.iter().map(|name| self.failures.take_back(name))).await;
    }

    fn draw_refresh_token(&self) -> (RefreshToken, NewRefreshToken) {
        let token = self.refresh_tokens.draw();
        let stored = NewRefreshToken { hash: self.refresh_tokens.digest(&token), ttl: self.ttl.refresh_token };
        (token, stored)
    }

    fn signed_in(
        &self,
        user: User,
        session_id: Option<SessionId>,
        refresh_token: RefreshToken,
    ) -> Result<SignedIn, StoreError> {
        let AccessToken { token: access_token, expires_in } = self.access_token(&user, session_id)?;
        Ok(SignedIn { user, tokens: SessionTokens { access_token, expires_in, refresh_token } })
    }

    fn access_token(&self, user: &User, session_id: Option<SessionId>) -> Result<AccessToken, StoreError> {
        let expires_in = self.ttl.access_token;
        let token = self.access_tokens.issue(&Bearer { caller: user.caller(), session_id }, expires_in)?;
        Ok(AccessToken { token, expires_in })
    }
}

/// The counters to which an attempt was added. Taken back unless it fails for its password.
#[derive(Default)]
struct Attempt(Vec<String>);

/// Returns the counter of failures of this account from this network.
fn failure_counter(email_folded: &str, network: ClientNetwork) -> String {
    format!("login:{email_folded}:{network}")
}

#[cfg(test)]
mod tests;
