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

/// The ports of a service under test. A port without expectations panics if it is called.
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

    /// Expects at most one use of another counter.
    fn allowing_beside(mut self, counter: &'static str, allowed: bool) -> Self {
        let allowance = Allowance { allowed, remaining: 0, resets_in: Duration::from_secs(7) };
        let counted = self.failures.expect_count().withf(move |name, _| name == counter).times(..=1);
        counted.returning(move |_, _| Ok(allowance));
        self
    }

    /// Expects that the attempt is taken back.
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

    /// Expects that the hasher compares with this hash, and returns this result.
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
    Account { user: ana(), password_hash: PasswordHash("hash".into()), disabled: false }
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
        let mut parts = parts.matching(Some("hash"), PasswordMatch::Outdated).hashing();
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

/// Expects that a sign-up of the network is counted, and taken back `taken_back` times.
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

/// Expects that one of the wider counters refuses, and that the others are taken back.
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
            // Its access tokens end too.
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
    /// Expects that the account is read.
    fn owning(mut self) -> Self {
        self.users.expect_account().with(eq(UserId(7))).returning(|_| Ok(Some(account())));
        self
    }

    fn hashing(mut self) -> Self {
        self.passwords.expect_hash().times(1).returning(|_, _| Ok(PasswordHash("new hash".into())));
        self
    }

    /// Expects exactly this change in the store.
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
    // A password that the change does not require is not compared: the response would disclose whether it is right.
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
        let outcome = Parts::default().owning().allowing(true).update(bearer(), change.clone(), Some(&"x".repeat(513)));
        assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::WrongPassword))), "{outcome:?}");
        let outcome = Parts::default().owning().allowing(false).update(bearer(), change, Some("password"));
        assert!(matches!(outcome, Err(UpdateProfileError::Unproven(ProofError::TooManyFailures(_)))), "{outcome:?}");
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
    let delete =
        |parts: Parts, current: Option<&str>| block_on(parts.service().delete_account(&bearer(), current, network()));
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
