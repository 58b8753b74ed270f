//! Signing up, logging in, staying logged in, logging out.

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

/// How long tokens work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdentityTtl {
    /// How long an access token works, unless its session ends before.
    pub access_token: Duration,
    /// How long a refresh token works if it is not used.
    pub refresh_token: Duration,
}

/// How often a login may fail, for each account and client network together. `None` switches all limits on failures off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthenticationLimit(pub Option<Limit>);

impl AuthenticationLimit {
    /// How many times the limit one account may fail over all networks: guesses from many addresses come to no more.
    pub const ACCOUNT_FACTOR: u32 = 3;
    /// How many times the limit one network may fail over all accounts: a list of accounts is tried no faster.
    pub const NETWORK_FACTOR: u32 = 5;
}

/// How many sign-ups a client network may try, whether they succeed or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignUpLimit(pub Option<Limit>);

/// What a client needs to stay signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionTokens {
    pub access_token: String,
    /// How long the access token works.
    pub expires_in: Duration,
    /// The refresh token: works once.
    pub refresh_token: RefreshToken,
}

/// A user who has just proven who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
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
    /// Too many sign-ups of the client network.
    #[error("too many sign-ups")]
    TooManySignUps {
        /// How long until the next one is allowed.
        retry_in: Duration,
        /// The limit that was passed.
        limit: Limit,
    },
    /// The password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Too many wrong passwords: for one account from one network, for one account, or from one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many failed logins")]
pub struct TooManyFailures {
    /// How long until it may be tried again.
    pub retry_in: Duration,
    /// The limit that was passed.
    pub limit: Limit,
}

/// Why nobody was logged in.
#[derive(Debug, Clone, Error)]
pub enum LoginError {
    /// No such account, or not its password: not told which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// Too many failures of this account from this address.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
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

/// Why a caller with a token has not proven to be who the account is of.
#[derive(Debug, Clone, Error)]
pub enum ProofError {
    /// The session of the access token was ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The password was not given.
    #[error("the current password is needed")]
    PasswordMissing,
    /// It is not the account's password. Counted as a failed login.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Too many failures of this account from this address.
    #[error(transparent)]
    TooManyFailures(#[from] TooManyFailures),
    /// The password could not be compared.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a profile was not changed.
#[derive(Debug, Clone, Error)]
pub enum UpdateProfileError {
    /// The caller was not proven.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    /// Another account has the address.
    #[error("the e-mail address is taken")]
    EmailTaken,
}

/// Why an account was not deleted.
#[derive(Debug, Clone, Error)]
pub enum DeleteAccountError {
    /// The caller was not proven.
    #[error(transparent)]
    Unproven(#[from] ProofError),
    /// It is the only administrator's.
    #[error("the account is the only administrator's")]
    LastAdmin,
}

/// Why a session was not ended.
#[derive(Debug, Clone, Error)]
pub enum EndSessionError {
    /// The caller has no such session, or it has ended already.
    #[error("there is no such session")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a user wants to be another in the profile. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new address.
    pub email: Option<Email>,
    /// The new password.
    pub password: Option<Password>,
}

/// An access token, and how long it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessToken {
    pub token: String,
    /// How long it works.
    pub expires_in: Duration,
}

/// A profile after a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdatedProfile {
    /// The profile.
    pub user: User,
    /// What the caller's session goes on with: a new password ends the token that it was given with.
    pub token: Option<AccessToken>,
}

/// Accounts and sessions.
pub struct IdentityService {
    /// The accounts.
    pub users: Arc<dyn UserStore>,
    pub sessions: Arc<dyn SessionStore>,
    /// Knows which sessions last.
    pub guard: Arc<dyn SessionGuard>,
    /// Hashes passwords.
    pub passwords: Arc<dyn PasswordHasher>,
    /// Makes and checks access tokens.
    pub access_tokens: Arc<dyn AccessTokens>,
    /// Draws refresh tokens.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Counts failed logins and sign-ups.
    pub failures: Arc<dyn RateLimiter>,
    /// Remembers from where accounts are used.
    pub sites: Arc<dyn KnownSites>,
    /// How many failed logins are allowed.
    pub limit: AuthenticationLimit,
    /// How many sign-ups are allowed.
    pub sign_up_limit: SignUpLimit,
    /// How long tokens work.
    pub ttl: IdentityTtl,
}

impl IdentityService {
    /// Creates a customer's account and its first session. `network` is the source of the call.
    ///
    /// Every try counts towards the sign-up limit of the network, a taken address included: only a try that a failure of this
    /// server ended is taken back.
    pub async fn register(
        &self,
        name: Name,
        email: Email,
        password: &Password,
        network: ClientNetwork,
    ) -> Result<SignedIn, RegisterError> {
        let counter = format!("sign-up:{network}");
        if let SignUpLimit(Some(limit)) = self.sign_up_limit {
            // A limiter that cannot be reached limits nothing: it must not keep everybody out.
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
            // A count that stays too high costs the network one sign-up of this hour.
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

    /// Begins a session for a caller who knows the account's password. `network` is the source of the call.
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
        let (refresh_token, stored) = self.draw_refresh_token();
        // None where the password was changed meanwhile: it is the wrong one by now.
        let opened = self.sessions.open(&account.user, &stored).await?;
        let session_id = opened.ok_or(LoginError::InvalidCredentials)?;
        if matched == PasswordMatch::Typed {
            self.renew_hash(&account, password, requester).await;
        }
        Ok(self.signed_in(account.user, Some(session_id), refresh_token)?)
    }

    /// Replaces a hash of the password as it was typed by one of it as it is prepared, so that other keyboards work as well. If
    /// that fails, the next login does it.
    async fn renew_hash(&self, account: &Account, password: &Password, requester: &Requester) {
        if let Ok(renewed) = self.passwords.hash(requester, password).await {
            let _ = self.users.replace_hash(account.user.id, &account.password_hash, &renewed).await;
        }
    }

    /// Continues a session: the presented token is used up, the next one is given. `network` is the source of the call.
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

    /// Ends the session of the presented token. A token that means nothing is no error: the session is not there.
    pub async fn logout(&self, presented: &RefreshToken) -> Result<(), StoreError> {
        if let Some(session_id) = self.sessions.end(&self.refresh_tokens.digest(presented)).await? {
            self.guard.ended(session_id).await;
        }
        Ok(())
    }

    /// Returns whether the bearer's session lasts, as far as this server knows: what was ended elsewhere less than a second ago may not
    /// have come to its ears.
    pub async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        self.guard.lasts(bearer).await
    }

    /// Returns the caller's profile as it is stored now.
    pub async fn who_am_i(&self, caller: &Caller) -> Result<User, WhoAmIError> {
        let user = self.users.by_id(caller.user_id).await?;
        user.filter(|user| user.session_generation == caller.session_generation).ok_or(WhoAmIError::SessionEnded)
    }

    /// Changes the bearer's profile. Another address or password needs the current password; a new password ends all other
    /// sessions of the account. `network` is the source of the call.
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
        // Whoever sends the whole profile back changes no address.
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
        // A token that names no session was of none that could be kept.
        let token = match bearer.session_id {
            Some(session_id) => Some(self.access_token(&user, Some(session_id)).map_err(ProofError::Store)?),
            None => None,
        };
        Ok(UpdatedProfile { user, token })
    }

    /// Deletes the bearer's account: what is left of it is nobody's, and has its bookings. `network` is the source of the call.
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

    /// Returns a page of the caller's sessions that last, newest first.
    pub async fn sessions(
        &self,
        caller: &Caller,
        page: &PageRequest<SessionCursor>,
    ) -> Result<Page<Session, SessionCursor>, StoreError> {
        let rows = self.sessions.sessions(caller.user_id, page).await?;
        Ok(page.cut(rows, |session| SessionCursor { created_at: session.created_at, id: session.id }))
    }

    /// Ends one of the caller's sessions, maybe the one it calls in.
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

    /// Has the caller prove the password once more: a token may be stolen. What is wrong counts as a failed login, or whoever has
    /// the token could try passwords without end.
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

    /// Counts a login before it is tried: by account and network together, by account alone, and by network alone. The last two
    /// hold up nobody at a site that the account's owner is known to use, so that guesses from elsewhere do not lock the owner
    /// out.
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

    /// Counts a proof of the password by a caller with a token before it is tried: by account and network together, as logins are, and
    /// by account alone, apart from logins, because a caller with a token is not to be held up by callers without.
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

    /// Counts the attempt before it is made, so that attempts made at once are limited too; one that
    /// doesn't fail for its password is taken back. A limiter that can't be reached limits nothing: it must not lock everybody out.
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
        // A count that stays too high costs a user some tries of this minute, no more.
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

/// The counts that an attempt was added to: taken back if it does not fail for its password.
#[derive(Default)]
struct Attempt(Vec<String>);

/// Returns the name that counts failures of this account from this network.
fn failure_counter(email_folded: &str, network: ClientNetwork) -> String {
    format!("login:{email_folded}:{network}")
}

#[cfg(test)]
mod tests;
