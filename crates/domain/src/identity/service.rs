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
        let outcome = self.prove(email, password).await;
        if !matches!(outcome, Err(LoginError::InvalidCredentials)) {
            self.take_back_attempt(&counter).await;
        }
        outcome
    }

    async fn prove(&self, email: &Email, password: &Password) -> Result<SignedIn, LoginError> {
        let account = self.users.by_email(email).await?;
        let hash = account.as_ref().map(|account| &account.password_hash);
        let verified = self.passwords.verify(password, hash).await?;
        let Some(account) = account.filter(|_| verified) else { return Err(LoginError::InvalidCredentials) };
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
    /// doesn't fail for its password is taken back. A limiter that can't be reached limits nothing: it must not lock everybody out.
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures::executor::block_on;
    use mockall::predicate::eq;

    use super::*;
    use crate::identity::{
        AccessTokenError, Account, MockPasswordHasher, MockSessionStore, MockUserStore, PasswordHash, RefreshTokenHash,
    };
    use crate::ids::UserId;
    use crate::limits::{Allowance, MockRateLimiter};

    struct Tokens;

    impl AccessTokens for Tokens {
        fn issue(&self, caller: &Caller, _: Duration) -> Result<String, StoreError> {
            Ok(format!("{caller:?}"))
        }

        fn verify(&self, _: &str) -> Result<Caller, AccessTokenError> {
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
        passwords: MockPasswordHasher,
        failures: MockRateLimiter,
    }

    impl Parts {
        fn service(self) -> IdentityService {
            let hour = Duration::from_secs(3600);
            IdentityService {
                users: Arc::new(self.users),
                sessions: Arc::new(self.sessions),
                passwords: Arc::new(self.passwords),
                access_tokens: Arc::new(Tokens),
                refresh_tokens: Arc::new(Tokens),
                failures: Arc::new(self.failures),
                limit: AuthenticationLimit(Some(Limit { tries: 10, window: Duration::from_secs(60) })),
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
            self
        }

        /// Counts the attempt as a failure no more.
        fn taking_back(mut self) -> Self {
            self.failures.expect_take_back().times(1).returning(|_| Ok(()));
            self
        }

        fn knowing(mut self, account: Option<Account>) -> Self {
            self.users.expect_by_email().returning(move |_| Ok(account.clone()));
            self
        }

        /// The hasher is asked about this hash, and answers so.
        fn verifying(mut self, hash: Option<&'static str>, verified: bool) -> Self {
            self.passwords
                .expect_verify()
                .withf(move |_, asked| asked.map(|hash| hash.0.as_str()) == hash)
                .times(1)
                .returning(move |_, _| Ok(verified));
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

    fn login(parts: Parts) -> Result<SignedIn, LoginError> {
        let (email, password) = (Email::parse("Ana@Example.org").unwrap(), Password::parse("password").unwrap());
        block_on(parts.service().login(&email, &password, "192.0.2.1"))
    }

    #[test]
    fn who_knows_the_password_gets_a_session_and_no_failure_is_counted() {
        let mut parts =
            Parts::default().allowing(true).taking_back().knowing(Some(account())).verifying(Some("hash"), true);
        let stored = NewRefreshToken { hash: RefreshTokenHash([5; 32]), ttl: Duration::from_secs(3600) };
        parts.sessions.expect_open().with(eq(UserId(7)), eq(stored)).times(1).returning(|_, _| Ok(()));
        let signed_in = login(parts).unwrap();
        assert_eq!(signed_in.user, ana());
        assert!(signed_in.tokens.access_token.contains("session_generation: 3"));
        assert_eq!(signed_in.tokens.refresh_token, RefreshToken("drawn".into()));
    }

    #[test]
    fn a_wrong_password_and_no_account_are_refused_the_same_after_the_same_work() {
        let wrong = Parts::default().allowing(true).knowing(Some(account())).verifying(Some("hash"), false);
        assert!(matches!(login(wrong), Err(LoginError::InvalidCredentials)));
        let nobody = Parts::default().allowing(true).knowing(None).verifying(None, false);
        assert!(matches!(login(nobody), Err(LoginError::InvalidCredentials)));
    }

    #[test]
    fn after_too_many_failures_nothing_is_even_compared() {
        let outcome = login(Parts::default().allowing(false));
        assert!(matches!(outcome, Err(LoginError::TooManyFailures { retry_in, .. }) if retry_in.as_secs() == 9));
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
        for rotation in [Rotation::Reused, Rotation::Refused] {
            let mut parts = Parts::default();
            parts.sessions.expect_rotate().returning(move |_, _| Ok(rotation.clone()));
            let outcome = block_on(parts.service().refresh(&RefreshToken("presented".into())));
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
}
