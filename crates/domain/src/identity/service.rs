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

    /// Whether the bearer's session lasts, as far as this server knows: what was ended elsewhere less than a second ago may not
    /// have come to its ears.
    pub async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        self.guard.lasts(bearer).await
    }

    /// The caller's profile as it is stored now.
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

    /// A page of the caller's sessions that last, newest first.
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

/// The name that counts failures of this account from this network.
fn failure_counter(email_folded: &str, network: ClientNetwork) -> String {
    format!("login:{email_folded}:{network}")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures::executor::block_on;
    use mockall::predicate::eq;

    use super::*;
    use crate::identity::{
        AccessTokenError, MockKnownSites, MockPasswordHasher, MockSessionGuard, MockSessionStore, MockUserStore,
        PasswordHash, RefreshTokenHash,
    };
    use crate::ids::UserId;
    use crate::limits::{Allowance, MockRateLimiter};

    struct Tokens;

    impl AccessTokens for Tokens {
        fn issue(&self, bearer: &Bearer, _: Duration) -> Result<String, StoreError> {
            Ok(format!("{bearer:?}"))
        }

        fn verify(&self, _: &str) -> Result<Bearer, AccessTokenError> {
            Err(AccessTokenError)
        }
    }

    impl RefreshTokens for Tokens {
        fn draw(&self) -> RefreshToken {
            RefreshToken("drawn".into())
        }

        fn digest(&self, token: &RefreshToken) -> RefreshTokenHash {
            RefreshTokenHash([u8::try_from(token.0.len()).unwrap(); 32])
        }
    }

    /// What a service under test is made of; what is not expected to be called panics if it is.
    #[derive(Default)]
    struct Parts {
        users: MockUserStore,
        sessions: MockSessionStore,
        guard: MockSessionGuard,
        passwords: MockPasswordHasher,
        failures: MockRateLimiter,
        sites: MockKnownSites,
    }

    impl Parts {
        fn service(mut self) -> IdentityService {
            self.sites.expect_remember().returning(|_, _| ());
            let hour = Duration::from_secs(3600);
            IdentityService {
                users: Arc::new(self.users),
                sessions: Arc::new(self.sessions),
                guard: Arc::new(self.guard),
                passwords: Arc::new(self.passwords),
                access_tokens: Arc::new(Tokens),
                refresh_tokens: Arc::new(Tokens),
                failures: Arc::new(self.failures),
                sites: Arc::new(self.sites),
                limit: AuthenticationLimit(Some(Limit { tries: 10, window: Duration::from_secs(60) })),
                sign_up_limit: SignUpLimit(Some(Limit { tries: 60, window: hour })),
                ttl: IdentityTtl { access_token: hour, refresh_token: hour },
            }
        }

        fn allowing(mut self, allowed: bool) -> Self {
            let allowance = Allowance { allowed, remaining: 0, resets_in: Duration::from_secs(9) };
            self.failures
                .expect_count()
                .withf(|name, _| name == "login:ana@example.org:192.0.2.1")
                .times(1)
                .returning(move |_, _| Ok(allowance));
            self.allowing_beside("login-account:ana@example.org", true)
                .allowing_beside("login-network:192.0.2.1", true)
                .allowing_beside("proof-account:ana@example.org", true)
        }

        /// The count by another name, if it is asked for.
        fn allowing_beside(mut self, counter: &'static str, allowed: bool) -> Self {
            let allowance = Allowance { allowed, remaining: 0, resets_in: Duration::from_secs(7) };
            let counted = self.failures.expect_count().withf(move |name, _| name == counter).times(..=1);
            counted.returning(move |_, _| Ok(allowance));
            self
        }

        /// Counts the attempt as a failure no more.
        fn taking_back(mut self) -> Self {
            let own = self.failures.expect_take_back().withf(|name| name == "login:ana@example.org:192.0.2.1");
            own.times(1).returning(|_| Ok(()));
            self.failures.expect_take_back().times(1..=2).returning(|_| Ok(()));
            self
        }

        fn taking_one_back(mut self) -> Self {
            let own = self.failures.expect_take_back().withf(|name| name == "login:ana@example.org:192.0.2.1");
            own.times(1).returning(|_| Ok(()));
            self
        }

        fn knowing(mut self, account: Option<Account>) -> Self {
            self.users.expect_by_email().returning(move |_| Ok(account.clone()));
            self
        }

        /// The hasher is asked about this hash, and answers so.
        fn verifying(self, hash: Option<&'static str>, verified: bool) -> Self {
            self.matching(hash, if verified { PasswordMatch::Prepared } else { PasswordMatch::No })
        }

        fn matching(mut self, hash: Option<&'static str>, matched: PasswordMatch) -> Self {
            self.passwords
                .expect_verify()
                .withf(move |requester, _, asked| {
                    assert_eq!(*requester, Requester { network: network(), account: "ana@example.org".into() });
                    asked.map(|hash| hash.0.as_str()) == hash
                })
                .times(1)
                .returning(move |_, _, _| Ok(matched));
            self
        }
    }

    fn ana() -> User {
        User {
            id: UserId(7),
            name: "Ana".into(),
            email: "Ana@example.org".into(),
            role: Role::Customer,
            session_generation: 3,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn account() -> Account {
        Account { user: ana(), password_hash: PasswordHash("hash".into()) }
    }

    fn network() -> ClientNetwork {
        ClientNetwork::V4([192, 0, 2, 1].into())
    }

    fn login(parts: Parts) -> Result<SignedIn, LoginError> {
        let (email, password) = (Email::parse("Ana@Example.org").unwrap(), Password::parse("password").unwrap());
        block_on(parts.service().login(&email, &password, network()))
    }

    #[test]
    fn who_knows_the_password_gets_a_session_and_no_failure_is_counted() {
        let mut parts =
            Parts::default().allowing(true).taking_back().knowing(Some(account())).verifying(Some("hash"), true);
        let stored = NewRefreshToken { hash: RefreshTokenHash([5; 32]), ttl: Duration::from_secs(3600) };
        parts.sessions.expect_open().with(eq(ana()), eq(stored)).times(1).returning(|_, _| Ok(Some(SessionId(9))));
        let signed_in = login(parts).unwrap();
        assert_eq!(signed_in.user, ana());
        let bearer = Bearer { caller: ana().caller(), session_id: Some(SessionId(9)) };
        assert_eq!(signed_in.tokens.access_token, format!("{bearer:?}"));
        assert_eq!(signed_in.tokens.refresh_token, RefreshToken("drawn".into()));
    }

    #[test]
    fn hash_of_a_password_as_it_was_typed_is_replaced_at_login() {
        for stored in [Ok(()), Err(StoreError::unavailable("down"))] {
            let parts = Parts::default().allowing(true).taking_back().knowing(Some(account()));
            let mut parts = parts.matching(Some("hash"), PasswordMatch::Typed).hashing();
            parts.sessions.expect_open().times(1).returning(|_, _| Ok(Some(SessionId(9))));
            parts
                .users
                .expect_replace_hash()
                .withf(|user, old, new| (*user, old.0.as_str(), new.0.as_str()) == (UserId(7), "hash", "new hash"))
                .times(1)
                .returning(move |_, _, _| stored.clone());
            login(parts).unwrap();
        }
    }

    #[test]
    fn a_wrong_password_and_no_account_are_refused_the_same_after_the_same_work() {
        let wrong = Parts::default().allowing(true).knowing(Some(account())).verifying(Some("hash"), false);
        assert!(matches!(login(wrong), Err(LoginError::InvalidCredentials)));
        let nobody = Parts::default().allowing(true).knowing(None).verifying(None, false);
        assert!(matches!(login(nobody), Err(LoginError::InvalidCredentials)));
    }

    fn register(parts: Parts) -> Result<SignedIn, RegisterError> {
        let (name, email) = (Name::parse("Ana").unwrap(), Email::parse("ana@example.org").unwrap());
        let password = Password::parse("password").unwrap();
        block_on(parts.service().register(name, email, &password, network()))
    }

    /// Counts a sign-up of the network, and takes it back `taken_back` times.
    fn counting_sign_ups(allowed: bool, taken_back: usize) -> Parts {
        let mut parts = Parts::default();
        let allowance = Allowance { allowed, remaining: 0, resets_in: Duration::from_secs(9) };
        let counter = parts.failures.expect_count().withf(|name, _| name == "sign-up:192.0.2.1").times(1);
        counter.returning(move |_, _| Ok(allowance));
        let counter = parts.failures.expect_take_back().withf(|name| name == "sign-up:192.0.2.1").times(taken_back);
        counter.returning(|_| Ok(()));
        parts
    }

    #[test]
    fn sign_ups_beyond_the_limit_hash_nothing() {
        let outcome = register(counting_sign_ups(false, 0));
        assert!(
            matches!(&outcome, Err(RegisterError::TooManySignUps { retry_in, .. }) if retry_in.as_secs() == 9),
            "{outcome:?}"
        );
    }

    #[test]
    fn taken_address_counts_as_a_sign_up_and_a_failing_store_does_not() {
        let mut taken = counting_sign_ups(true, 0).hashing();
        taken.users.expect_create().times(1).returning(|_, _| Err(UserStoreError::EmailTaken));
        assert!(matches!(register(taken), Err(RegisterError::EmailTaken)));
        let mut down = counting_sign_ups(true, 1).hashing();
        let unavailable = || UserStoreError::Store(StoreError::unavailable("down"));
        down.users.expect_create().times(1).returning(move |_, _| Err(unavailable()));
        assert!(matches!(register(down), Err(RegisterError::Store(_))));
    }

    #[test]
    fn after_too_many_failures_nothing_is_even_compared() {
        let outcome = login(Parts::default().allowing(false));
        assert!(matches!(outcome, Err(LoginError::TooManyFailures(told)) if told.retry_in.as_secs() == 9));
    }

    /// Refuses by one of the wider counts, and takes back the others.
    fn refusing_beside(counter: &'static str, is_known: bool) -> Parts {
        let parts = Parts::default().allowing_beside(counter, false).allowing(true);
        let mut parts = if is_known { parts } else { parts.taking_back() };
        let site = ClientNetwork::V4([192, 0, 2, 0].into());
        parts
            .sites
            .expect_is_known()
            .withf(move |account, asked| account == "ana@example.org" && *asked == site)
            .times(1)
            .returning(move |_, _| is_known);
        parts
    }

    #[test]
    fn guesses_from_elsewhere_hold_up_unknown_sites_alone() {
        for counter in ["login-account:ana@example.org", "login-network:192.0.2.1"] {
            let outcome = login(refusing_beside(counter, false));
            assert!(matches!(outcome, Err(LoginError::TooManyFailures(told)) if told.retry_in.as_secs() == 7));
            let known = refusing_beside(counter, true).knowing(Some(account())).verifying(Some("hash"), false);
            assert!(matches!(login(known), Err(LoginError::InvalidCredentials)));
        }
    }

    #[test]
    fn site_of_a_login_is_remembered() {
        let mut parts =
            Parts::default().allowing(true).taking_back().knowing(Some(account())).verifying(Some("hash"), true);
        parts.sessions.expect_open().times(1).returning(|_, _| Ok(Some(SessionId(9))));
        let site = ClientNetwork::V4([192, 0, 2, 0].into());
        let remembered =
            parts.sites.expect_remember().withf(move |account, it| account == "ana@example.org" && *it == site);
        remembered.times(1).returning(|_, _| ());
        login(parts).unwrap();
    }

    #[test]
    fn site_of_a_new_address_is_remembered() {
        let change = AccountChange { email: Email::parse("eve@example.org").ok(), ..AccountChange::default() };
        let parts = Parts::default().owning().allowing(true).taking_back().verifying(Some("hash"), true);
        let mut parts = parts.changing(change, Ok(ana()));
        let site = ClientNetwork::V4([192, 0, 2, 0].into());
        for account in ["ana@example.org", "eve@example.org"] {
            let remembered = parts.sites.expect_remember().withf(move |it, at| it == account && *at == site);
            remembered.times(1).returning(|_, _| ());
        }
        parts.update(bearer(), new_email("eve@example.org"), Some("password")).unwrap();
    }

    #[test]
    fn guesses_with_a_token_are_limited_for_the_account() {
        let parts = Parts::default().owning().allowing_beside("proof-account:ana@example.org", false).allowing(true);
        let outcome = parts.taking_one_back().update(bearer(), new_password(), Some("password"));
        assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::TooManyFailures(_)))), "{outcome:?}");
    }

    #[test]
    fn a_store_that_is_down_is_no_failed_login() {
        let mut parts = Parts::default().allowing(true).taking_back();
        parts.users.expect_by_email().returning(|_| Err(StoreError::unavailable("down")));
        assert!(matches!(login(parts), Err(LoginError::Store(StoreError::Unavailable(_)))));
    }

    #[test]
    fn a_limiter_that_is_down_limits_nobody() {
        let mut parts = Parts::default().knowing(None).verifying(None, false);
        parts.failures.expect_count().returning(|_, _| Err(StoreError::unavailable("down")));
        assert!(matches!(login(parts), Err(LoginError::InvalidCredentials)));
    }

    #[test]
    fn a_refresh_token_that_is_reused_or_unknown_is_refused_the_same() {
        for rotation in [Rotation::Reused { session_id: SessionId(9) }, Rotation::Refused] {
            let mut parts = Parts::default();
            if let Rotation::Reused { session_id } = rotation {
                // Its access tokens are over too.
                parts.guard.expect_ended().with(eq(session_id)).times(1).returning(|_| ());
            }
            parts.sessions.expect_rotate().returning(move |_, _| Ok(rotation.clone()));
            let outcome = block_on(parts.service().refresh(&RefreshToken("presented".into()), network()));
            assert!(matches!(outcome, Err(RefreshError::Refused)));
        }
    }

    #[test]
    fn a_token_of_an_earlier_generation_is_nobodys() {
        for (generation, known) in [(3, true), (2, false), (4, false)] {
            let mut parts = Parts::default();
            parts.users.expect_by_id().returning(|_| Ok(Some(ana())));
            let caller = Caller { session_generation: generation, ..ana().caller() };
            assert_eq!(block_on(parts.service().who_am_i(&caller)).is_ok(), known, "{generation}");
        }
    }

    fn bearer() -> Bearer {
        Bearer { caller: ana().caller(), session_id: Some(SessionId(9)) }
    }

    impl Parts {
        /// The account is there.
        fn owning(mut self) -> Self {
            self.users.expect_account().with(eq(UserId(7))).returning(|_| Ok(Some(account())));
            self
        }

        fn hashing(mut self) -> Self {
            self.passwords.expect_hash().times(1).returning(|_, _| Ok(PasswordHash("new hash".into())));
            self
        }

        /// The store changes just this.
        fn changing(mut self, change: AccountChange, outcome: Result<User, ChangeAccountError>) -> Self {
            self.users
                .expect_change()
                .withf(move |_, asked| *asked == change)
                .times(1)
                .returning(move |_, _| outcome.clone());
            self
        }

        fn update(
            self,
            bearer: Bearer,
            change: ProfileChange,
            current: Option<&str>,
        ) -> Result<UpdatedProfile, UpdateProfileError> {
            block_on(self.service().update_profile(&bearer, change, current, network()))
        }
    }

    fn new_email(text: &str) -> ProfileChange {
        ProfileChange { email: Email::parse(text).ok(), ..ProfileChange::default() }
    }

    fn new_password() -> ProfileChange {
        ProfileChange { password: Password::parse("another password").ok(), ..ProfileChange::default() }
    }

    #[test]
    fn a_login_that_a_new_password_overtakes_is_refused() {
        let mut parts = Parts::default().allowing(true).knowing(Some(account())).verifying(Some("hash"), true);
        parts.sessions.expect_open().times(1).returning(|_, _| Ok(None));
        assert!(matches!(login(parts), Err(LoginError::InvalidCredentials)));
    }

    #[test]
    fn a_name_needs_no_password_and_an_empty_change_no_write() {
        let name = Name::parse("Eve").ok();
        let renamed = User { name: "Eve".into(), ..ana() };
        let change = AccountChange { name: name.clone(), ..AccountChange::default() };
        let parts = Parts::default().owning().changing(change, Ok(renamed.clone()));
        let updated = parts.update(bearer(), ProfileChange { name, ..ProfileChange::default() }, None).unwrap();
        assert_eq!(updated, UpdatedProfile { user: renamed, token: None });
        // A password that nothing needs is not even compared: it would tell whether it is right.
        for (change, current) in [(ProfileChange::default(), Some("guess")), (new_email("Ana@example.org"), None)] {
            let updated = Parts::default().owning().update(bearer(), change, current).unwrap();
            assert_eq!(updated, UpdatedProfile { user: ana(), token: None });
        }
    }

    #[test]
    fn an_address_or_a_password_needs_the_current_password() {
        for change in [new_email("eve@example.org"), new_email("ana@example.org"), new_password()] {
            let outcome = Parts::default().owning().update(bearer(), change.clone(), None);
            assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::PasswordMissing))), "{outcome:?}");
            // Counted, and not taken back.
            let wrong = Parts::default().owning().allowing(true).verifying(Some("hash"), false);
            let outcome = wrong.update(bearer(), change.clone(), Some("wrong"));
            assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::WrongPassword))), "{outcome:?}");
            let outcome =
                Parts::default().owning().allowing(true).update(bearer(), change.clone(), Some(&"x".repeat(513)));
            assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::WrongPassword))), "{outcome:?}");
            let outcome = Parts::default().owning().allowing(false).update(bearer(), change, Some("password"));
            assert!(
                matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::TooManyFailures(_)))),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn a_new_password_ends_what_came_before_and_the_callers_session_goes_on() {
        let change = AccountChange { password_hash: Some(PasswordHash("new hash".into())), ..AccountChange::default() };
        let changed = User { session_generation: 4, ..ana() };
        for session_id in [Some(SessionId(9)), None] {
            let mut parts = Parts::default().owning().allowing(true).taking_back().verifying(Some("hash"), true);
            parts.guard.expect_ended_before().with(eq(UserId(7)), eq(4)).times(1).returning(|_, _| ());
            let parts = parts.hashing().changing(change.clone(), Ok(changed.clone()));
            let bearer = Bearer { session_id, ..bearer() };
            let updated = parts.update(bearer, new_password(), Some("password")).unwrap();
            assert_eq!(updated.user, changed);
            let next = session_id.map(|_| format!("{:?}", Bearer { caller: changed.caller(), session_id }));
            assert_eq!(updated.token.map(|token| token.token), next, "without a session there is none to go on with");
        }
    }

    #[test]
    fn what_the_store_refuses_is_told() {
        let change = || AccountChange { email: Email::parse("eve@example.org").ok(), ..AccountChange::default() };
        let proven = || Parts::default().owning().allowing(true).taking_back().verifying(Some("hash"), true);
        let taken = proven().changing(change(), Err(ChangeAccountError::EmailTaken));
        let outcome = taken.update(bearer(), new_email("eve@example.org"), Some("password"));
        assert!(matches!(outcome, Err(UpdateProfileError::EmailTaken)), "{outcome:?}");
        let ended = proven().changing(change(), Err(ChangeAccountError::SessionEnded));
        let outcome = ended.update(bearer(), new_email("eve@example.org"), Some("password"));
        assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::SessionEnded))), "{outcome:?}");
    }

    #[test]
    fn a_token_of_an_earlier_generation_changes_and_deletes_nothing() {
        let earlier = Bearer { caller: Caller { session_generation: 2, ..ana().caller() }, ..bearer() };
        let outcome = Parts::default().owning().update(earlier, new_password(), Some("password"));
        assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::SessionEnded))), "{outcome:?}");
        let service = Parts::default().owning().service();
        let outcome = block_on(service.delete_account(&earlier, Some("password"), network()));
        assert!(matches!(outcome, Err(DeleteAccountError::Unproven(ProofError::SessionEnded))), "{outcome:?}");
    }

    #[test]
    fn an_account_is_deleted_by_its_password_alone() {
        let delete = |parts: Parts, current: Option<&str>| {
            block_on(parts.service().delete_account(&bearer(), current, network()))
        };
        let outcome = delete(Parts::default().owning(), None);
        assert!(matches!(outcome, Err(DeleteAccountError::Unproven(ProofError::PasswordMissing))), "{outcome:?}");
        let wrong = Parts::default().owning().allowing(true).verifying(Some("hash"), false);
        let outcome = delete(wrong, Some("wrong"));
        assert!(matches!(outcome, Err(DeleteAccountError::Unproven(ProofError::WrongPassword))), "{outcome:?}");
        let proven = || Parts::default().owning().allowing(true).taking_back().verifying(Some("hash"), true);
        let mut last = proven();
        last.users.expect_anonymise().times(1).returning(|_| Err(AnonymiseError::LastAdmin));
        let outcome = delete(last, Some("password"));
        assert!(matches!(outcome, Err(DeleteAccountError::LastAdmin)), "{outcome:?}");
        let mut right = proven();
        right.users.expect_anonymise().with(eq(bearer())).times(1).returning(|_| Ok(()));
        right.guard.expect_ended_before().with(eq(UserId(7)), eq(4)).times(1).returning(|_, _| ());
        delete(right, Some("password")).unwrap();
    }

    #[test]
    fn only_a_session_that_was_ended_is_told_to_the_guard() {
        for (known, ended) in [(true, 1), (false, 0)] {
            let mut parts = Parts::default();
            let asked = (eq(UserId(7)), eq(SessionId(9)));
            parts.sessions.expect_end_one().with(asked.0, asked.1).times(1).returning(move |_, _| Ok(known));
            parts.guard.expect_ended().with(eq(SessionId(9))).times(ended).returning(|_| ());
            let outcome = block_on(parts.service().end_session(&ana().caller(), SessionId(9)));
            assert_eq!(outcome.is_ok(), known, "{outcome:?}");
        }
    }

    #[test]
    fn a_logout_ends_the_access_tokens_of_its_session() {
        for session_id in [Some(SessionId(9)), None] {
            let mut parts = Parts::default();
            parts.sessions.expect_end().times(1).returning(move |_| Ok(session_id));
            parts.guard.expect_ended().times(usize::from(session_id.is_some())).returning(|_| ());
            block_on(parts.service().logout(&RefreshToken("presented".into()))).unwrap();
        }
    }
}
