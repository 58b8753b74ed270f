//! Cases of accounts and sessions.

use std::time::Duration;

use domain::identity::{
    AccountChange, AnonymiseError, Bearer, ChangeAccountError, CreatedUser, Email, Name, NewRefreshToken, NewUser,
    Role, Rotation, Session, SessionCursor, User, UserStoreError,
};
use domain::ids::{SessionId, UserId};
use domain::page::{PageLimit, PageRequest};
use futures::future::join_all;

use crate::Fixture;
use crate::world::{new_user, now, on_command_line, password_hash, token};

async fn sign_up(fixture: &dyn Fixture, email: &str, first: Option<u8>) -> User {
    let session = first.map(token);
    fixture.stores().users.create(&new_user(email), session.as_ref()).await.unwrap().user
}

async fn rotate(fixture: &dyn Fixture, presented: u8, next: u8) -> Rotation {
    fixture.stores().sessions.rotate(&token(presented).hash, &token(next)).await.unwrap()
}

/// Rotates a token, which must succeed, and returns the user.
async fn rotated(fixture: &dyn Fixture, presented: u8, next: u8) -> User {
    match rotate(fixture, presented, next).await {
        Rotation::Rotated { user, .. } => user,
        other => panic!("token {presented}: {other:?}"),
    }
}

async fn rows(fixture: &dyn Fixture, table: &str) -> i64 {
    fixture.count(&format!("SELECT count(*) FROM {table}")).await
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// The returned account has the requested fields, and is found by id and address.
pub async fn new_account_has_the_requested_fields(fixture: &dyn Fixture) {
    let users = &fixture.stores().users;
    let asked = NewUser { role: Role::Staff, ..new_user("Ana.Núñez@Example.ORG") };
    let CreatedUser { user, session_id } = users.create(&asked, None).await.unwrap();
    assert_eq!(session_id, None);
    assert_eq!((user.name.as_str(), user.email.as_str()), ("Ana Núñez", "Ana.Núñez@Example.ORG"));
    assert_eq!(user.role, Role::Staff);
    assert!((user.created_at - now()).num_seconds().abs() < 60, "made now: {}", user.created_at);
    assert_eq!(users.by_id(user.id).await.unwrap(), Some(user.clone()));
    let account = users.by_email(&asked.email).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (user, asked.password_hash));
}

/// Two addresses that differ only in case are the same address, in any script.
pub async fn taken_address_is_refused_in_any_case(fixture: &dyn Fixture) {
    sign_up(fixture, "Ana@Example.org", None).await;
    sign_up(fixture, "Émile@example.org", None).await;
    for taken in ["Ana@Example.org", "aNA@EXAMPLE.ORG", "éMILE@example.org", "e\u{301}mile@example.org"] {
        let outcome = fixture.stores().users.create(&new_user(taken), Some(&token(1))).await;
        assert!(matches!(outcome, Err(UserStoreError::EmailTaken)), "{taken}: {outcome:?}");
    }
    sign_up(fixture, "emile@example.org", None).await;
    assert_eq!(rows(fixture, "users").await, 3);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (0, 0));
}

/// One of ten concurrent sign-ups with the same address succeeds.
pub async fn ten_concurrent_sign_ups_create_one_account(fixture: &dyn Fixture) {
    let sign_up = async |number: u8| {
        let asked = new_user(if number.is_multiple_of(2) { "ana@example.org" } else { "ANA@example.org" });
        fixture.stores().users.create(&asked, Some(&token(number))).await
    };
    let outcomes = join_all((0..10).map(sign_up)).await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Err(UserStoreError::EmailTaken))).count();
    assert_eq!((made, taken), (1, 9), "{outcomes:?}");
    assert_eq!(rows(fixture, "users").await, 1);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (1, 1));
}

/// An account is found by its address in any case, and not by similar addresses.
pub async fn account_is_found_by_its_address_in_any_case(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "Ana@Example.org", None).await;
    let emile = sign_up(fixture, "Émile@example.org", None).await;
    let found =
        async |text: &str| fixture.stores().users.by_email(&email(text)).await.unwrap().map(|account| account.user);
    assert_eq!(found("aNa@eXample.org").await, Some(ana));
    assert_eq!(found("ÉMILE@EXAMPLE.ORG").await, Some(emile));
    assert_eq!(found("an_@example.org").await, None);
    assert_eq!(found("emile@example.org").await, None);
}

/// An unknown id or address is not found.
pub async fn unknown_user_is_not_found(fixture: &dyn Fixture) {
    let users = &fixture.stores().users;
    assert_eq!(users.by_id(UserId(1)).await.unwrap(), None);
    assert_eq!(users.by_email(&email("nobody@example.org")).await.unwrap(), None);
    let somebody = sign_up(fixture, "ana@example.org", None).await;
    assert_eq!(users.by_id(UserId(somebody.id.0 + 1)).await.unwrap(), None);
}

/// Account and first session are created together or not at all.
pub async fn account_and_first_session_are_created_atomically(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    // The token's digest exists already: neither the session nor the account may be created.
    let outcome = fixture.stores().users.create(&new_user("eve@example.org"), Some(&token(1))).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!((rows(fixture, "users").await, rows(fixture, "sessions").await), (1, 1));
    assert_eq!(rotated(fixture, 1, 2).await, ana);
}

/// Each token of a chain works once, and its rotation returns the current user.
pub async fn refresh_token_works_once_and_returns_its_successor(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", None).await;
    let eve = sign_up(fixture, "eve@example.org", Some(100)).await;
    fixture.stores().sessions.open(&ana, &token(1)).await.unwrap();
    assert_eq!(rotated(fixture, 1, 2).await, ana.clone());
    assert_eq!(rotated(fixture, 2, 3).await, ana);
    assert_eq!(rotated(fixture, 100, 101).await, eve);
}

/// One of ten rotations succeeds. The others are reuses, which end the session, so the new token is refused as well.
pub async fn of_ten_concurrent_rotations_one_succeeds_and_the_session_ends(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", Some(1)).await;
    let outcomes = join_all((10..20).map(|next| rotate(fixture, 1, next))).await;
    let rotated = outcomes.iter().filter(|outcome| matches!(outcome, Rotation::Rotated { .. })).count();
    assert_eq!(rotated, 1, "{outcomes:?}");
    let reused = outcomes.iter().filter(|outcome| matches!(outcome, Rotation::Reused { .. })).count();
    assert!(reused > 0, "{outcomes:?}");
    for next in 10..20 {
        assert_eq!(rotate(fixture, next, next + 100).await, Rotation::Refused, "token {next}");
    }
}

/// A second use of a token ends its session, and no other session.
pub async fn second_use_of_a_token_ends_only_its_session(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    fixture.stores().sessions.open(&ana, &token(50)).await.unwrap();
    assert_eq!(rotated(fixture, 1, 2).await, ana.clone());
    assert!(matches!(rotate(fixture, 1, 3).await, Rotation::Reused { .. }));
    assert_eq!(rotate(fixture, 2, 4).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 3, 5).await, Rotation::Refused, "a reuse stores no next token");
    assert_eq!(rotated(fixture, 50, 51).await, ana);
}

/// Expiry is judged by the store's clock, and a token is already expired at the instant of its expiry.
pub async fn expired_refresh_token_is_refused(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    let now_over = NewRefreshToken { ttl: Duration::ZERO, ..token(2) };
    fixture.stores().sessions.open(&ana, &now_over).await.unwrap();
    assert_eq!(rotate(fixture, 2, 3).await, Rotation::Refused);
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {}", fixture.instant(-1))).await;
    assert_eq!(rotate(fixture, 1, 4).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 4, 5).await, Rotation::Refused, "a refusal stores no next token");
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {}", fixture.instant(60))).await;
    assert_eq!(rotated(fixture, 1, 6).await, ana, "a refusal uses nothing up");
}

/// An unknown token is refused.
pub async fn an_unknown_token_is_refused_and_stores_nothing(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", Some(1)).await;
    assert_eq!(rotate(fixture, 9, 10).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 10, 11).await, Rotation::Refused);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (1, 1));
}

/// A session is ended by any of its tokens, used or not. Ending an ended or unknown session is no error.
pub async fn ending_a_session_is_idempotent(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    let sessions = &fixture.stores().sessions;
    sessions.open(&ana, &token(50)).await.unwrap();
    sessions.open(&ana, &token(60)).await.unwrap();
    for _ in 0..2 {
        sessions.end(&token(1).hash).await.unwrap();
    }
    sessions.end(&token(99).hash).await.unwrap();
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    // A used token still identifies its session.
    assert_eq!(rotated(fixture, 50, 51).await, ana.clone());
    sessions.end(&token(50).hash).await.unwrap();
    assert_eq!(rotate(fixture, 51, 52).await, Rotation::Refused);
    assert_eq!(rotated(fixture, 60, 61).await, ana);
}

/// The generation is raised, the password is replaced and the sessions are ended. Other accounts are unchanged.
pub async fn a_new_password_ends_every_session_of_its_account(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "Ana@example.org", Some(1)).await;
    let eve = sign_up(fixture, "eve@example.org", Some(100)).await;
    let (users, sessions) = (&fixture.stores().users, &fixture.stores().sessions);
    sessions.open(&ana, &token(50)).await.unwrap();
    let reset = users
        .reset_password(&email("aNA@example.org"), &password_hash("second"), &on_command_line())
        .await
        .unwrap()
        .unwrap();
    assert!(reset.session_generation > ana.session_generation, "{reset:?}");
    assert_eq!(User { session_generation: ana.session_generation, ..reset.clone() }, ana);
    let account = users.by_email(&email("ana@example.org")).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (reset.clone(), password_hash("second")));
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 50, 51).await, Rotation::Refused);
    sessions.open(&reset, &token(60)).await.unwrap();
    assert_eq!(rotated(fixture, 60, 61).await, reset);
    let account = users.by_email(&email("eve@example.org")).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (eve.clone(), password_hash("first")));
    assert_eq!(rotated(fixture, 100, 101).await, eve);
}

/// A reset for an unknown address returns `None`.
pub async fn password_reset_of_an_unknown_address_does_nothing(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", None).await;
    let outcome = fixture
        .stores()
        .users
        .reset_password(&email("eve@example.org"), &password_hash("second"), &on_command_line())
        .await;
    assert_eq!(outcome.unwrap(), None);
}

/// Only the hash is replaced. If it has been changed in the meantime, nothing is.
pub async fn replaced_hash_ends_no_session(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    let eve = sign_up(fixture, "eve@example.org", Some(100)).await;
    let users = &fixture.stores().users;
    users.replace_hash(ana.id, &password_hash("first"), &password_hash("second")).await.unwrap();
    let account = users.by_email(&email("ana@example.org")).await.unwrap().unwrap();
    assert_eq!((&account.user, account.password_hash), (&ana, password_hash("second")));
    users.replace_hash(ana.id, &password_hash("first"), &password_hash("third")).await.unwrap();
    let account = users.by_email(&email("ana@example.org")).await.unwrap().unwrap();
    assert_eq!(account.password_hash, password_hash("second"));
    assert_eq!(rotated(fixture, 1, 2).await, ana);
    let account = users.by_email(&email("eve@example.org")).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (eve, password_hash("first")));
}

/// Signs up with a session, and returns the bearer of that session.
async fn sign_up_as_bearer(fixture: &dyn Fixture, email: &str, first: u8) -> (User, Bearer) {
    let CreatedUser { user, session_id } =
        fixture.stores().users.create(&new_user(email), Some(&token(first))).await.unwrap();
    let bearer = Bearer { caller: user.caller(), session_id };
    assert!(bearer.session_id.is_some());
    (user, bearer)
}

/// Opens another session of the user.
async fn bearer_of(fixture: &dyn Fixture, user: &User, first: u8) -> Bearer {
    let opened = fixture.stores().sessions.open(user, &token(first)).await.unwrap();
    Bearer { caller: user.caller(), session_id: Some(opened.expect("the user is as it is stored")) }
}

async fn lasts(fixture: &dyn Fixture, bearer: &Bearer) -> bool {
    fixture.stores().sessions.lasts(bearer).await.unwrap()
}

fn new_password(text: &str) -> AccountChange {
    AccountChange { password_hash: Some(password_hash(text)), ..AccountChange::default() }
}

fn new_address(text: &str) -> AccountChange {
    AccountChange { email: Some(email(text)), ..AccountChange::default() }
}

/// Only the requested fields change, and no other account does.
pub async fn account_change_replaces_only_the_requested_fields(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "Ana@example.org", 1).await;
    let eve = sign_up(fixture, "eve@example.org", None).await;
    let users = &fixture.stores().users;
    assert_eq!(users.change(&bearer, &AccountChange::default()).await.unwrap(), ana);
    let name = Some(Name::parse("Ana Costa").unwrap());
    let renamed = users.change(&bearer, &AccountChange { name, ..AccountChange::default() }).await.unwrap();
    assert_eq!(renamed, User { name: "Ana Costa".into(), ..ana.clone() });
    let moved = users.change(&bearer, &new_address("Costa@Example.org")).await.unwrap();
    assert_eq!(moved, User { email: "Costa@Example.org".into(), ..renamed });
    let account = users.by_email(&email("costa@example.org")).await.unwrap().unwrap();
    assert_eq!((&account.user, account.password_hash.clone()), (&moved, password_hash("first")));
    assert_eq!(users.account(ana.id).await.unwrap(), Some(account));
    assert_eq!(users.by_email(&email("ana@example.org")).await.unwrap(), None);
    assert_eq!(users.by_id(eve.id).await.unwrap(), Some(eve));
    assert!(lasts(fixture, &bearer).await);
    // Its own address in another case does not count as taken.
    users.change(&bearer, &new_address("COSTA@example.org")).await.unwrap();
    assert_eq!(users.account(UserId(ana.id.0 + 100)).await.unwrap(), None);
}

/// A change to another account's address is refused, and its other fields are not changed either.
pub async fn change_to_a_taken_address_is_refused_completely(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    sign_up(fixture, "Émile@example.org", None).await;
    let change = AccountChange {
        name: Some(Name::parse("Eve").unwrap()),
        email: Some(email("éMILE@example.org")),
        password_hash: Some(password_hash("second")),
    };
    let outcome = fixture.stores().users.change(&bearer, &change).await;
    assert!(matches!(outcome, Err(ChangeAccountError::EmailTaken)), "{outcome:?}");
    let account = fixture.stores().users.account(ana.id).await.unwrap().unwrap();
    assert_eq!((&account.user, account.password_hash), (&ana, password_hash("first")));
    assert!(lasts(fixture, &bearer).await);
    assert_eq!(rotated(fixture, 1, 2).await, ana);
}

/// One of ten concurrent changes to the same address succeeds.
pub async fn of_ten_concurrent_changes_to_one_address_one_succeeds(fixture: &dyn Fixture) {
    let mut bearers = Vec::new();
    for number in 0..10 {
        bearers.push(sign_up_as_bearer(fixture, &format!("customer{number}@example.org"), number).await.1);
    }
    let change = new_address("wanted@example.org");
    let outcomes = join_all(bearers.iter().map(|bearer| fixture.stores().users.change(bearer, &change))).await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Err(ChangeAccountError::EmailTaken))).count();
    assert_eq!((made, taken), (1, 9), "{outcomes:?}");
}

/// The generation is raised. The session of the request continues in the new generation, the others end.
pub async fn password_change_keeps_the_requesting_session(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let other = bearer_of(fixture, &ana, 50).await;
    let (eve, eves) = sign_up_as_bearer(fixture, "eve@example.org", 100).await;
    let changed = fixture.stores().users.change(&bearer, &new_password("second")).await.unwrap();
    assert!(changed.session_generation > ana.session_generation);
    assert_eq!(User { session_generation: ana.session_generation, ..changed.clone() }, ana);
    let account = fixture.stores().users.account(ana.id).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (changed.clone(), password_hash("second")));
    assert_eq!(rotated(fixture, 1, 2).await, changed);
    assert_eq!(rotate(fixture, 50, 51).await, Rotation::Refused);
    let next = Bearer { caller: changed.caller(), ..bearer };
    assert!(lasts(fixture, &next).await);
    assert!(!lasts(fixture, &bearer).await, "its token is of the generation before");
    assert!(!lasts(fixture, &other).await);
    assert!(!lasts(fixture, &Bearer { caller: changed.caller(), ..other }).await, "the session itself is over");
    assert!(lasts(fixture, &eves).await);
    assert_eq!(rotated(fixture, 100, 101).await, eve);
    // The access token from before the change can change nothing more.
    let outcome = fixture.stores().users.change(&bearer, &new_password("third")).await;
    assert!(matches!(outcome, Err(ChangeAccountError::SessionEnded)), "{outcome:?}");
}

/// If the token names no session, every session ends.
pub async fn password_change_without_a_session_ends_all_sessions(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let nameless = Bearer { session_id: None, ..bearer };
    assert!(lasts(fixture, &nameless).await);
    let changed = fixture.stores().users.change(&nameless, &new_password("second")).await.unwrap();
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    assert!(!lasts(fixture, &Bearer { caller: changed.caller(), ..bearer }).await);
    assert!(!lasts(fixture, &nameless).await);
    assert_eq!(changed.id, ana.id);
}

/// One of ten concurrent changes succeeds, and the others are refused with `SessionEnded`.
pub async fn of_ten_concurrent_password_changes_one_succeeds(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let changes: Vec<_> = (0..10).map(|number| new_password(&format!("number{number}"))).collect();
    let outcomes = join_all(changes.iter().map(|change| fixture.stores().users.change(&bearer, change))).await;
    let made: Vec<_> = (0..10).filter(|number| outcomes[*number].is_ok()).collect();
    let ended = outcomes.iter().filter(|outcome| matches!(outcome, Err(ChangeAccountError::SessionEnded))).count();
    assert_eq!((made.len(), ended), (1, 9), "{outcomes:?}");
    let account = fixture.stores().users.account(ana.id).await.unwrap().unwrap();
    assert_eq!(account.password_hash, password_hash(&format!("number{}", made[0])));
    assert_eq!(account.user.session_generation, ana.session_generation + 1);
}

/// A session that has ended, or belongs to another user, changes and deletes nothing.
pub async fn an_ended_session_changes_nothing(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let (_, eves) = sign_up_as_bearer(fixture, "eve@example.org", 100).await;
    fixture.stores().sessions.end(&token(1).hash).await.unwrap();
    let crossed = Bearer { session_id: eves.session_id, ..bearer };
    for bearer in [bearer, crossed] {
        let outcome = fixture.stores().users.change(&bearer, &new_address("new@example.org")).await;
        assert!(matches!(outcome, Err(ChangeAccountError::SessionEnded)), "{outcome:?}");
        let outcome = fixture.stores().users.anonymise(&bearer).await;
        assert!(matches!(outcome, Err(AnonymiseError::SessionEnded)), "{outcome:?}");
        assert!(!lasts(fixture, &bearer).await);
    }
    assert_eq!(fixture.stores().users.by_id(ana.id).await.unwrap(), Some(ana));
}

/// No session is opened for a user as read before a password change.
pub async fn login_from_before_a_password_change_opens_no_session(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    fixture.stores().users.change(&bearer, &new_password("second")).await.unwrap();
    assert_eq!(fixture.stores().sessions.open(&ana, &token(2)).await.unwrap(), None);
    let nobody = User { id: UserId(ana.id.0 + 100), ..ana };
    assert_eq!(fixture.stores().sessions.open(&nobody, &token(3)).await.unwrap(), None);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (1, 1));
}

/// The personal data is removed, the sessions end, the address is free, and no other account changes.
pub async fn anonymised_account_keeps_no_personal_data(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "Ana@example.org", 1).await;
    let other = bearer_of(fixture, &ana, 50).await;
    let (eve, eves) = sign_up_as_bearer(fixture, "eve@example.org", 100).await;
    let users = &fixture.stores().users;
    users.anonymise(&bearer).await.unwrap();
    let left = users.account(ana.id).await.unwrap().unwrap();
    assert!(left.user.session_generation > ana.session_generation);
    assert!(Email::parse(&left.user.email).is_err(), "no account can be made with {}", left.user.email);
    assert_ne!(left.user.name, ana.name);
    assert_ne!(left.password_hash, password_hash("first"));
    assert_eq!(left.user.created_at, ana.created_at);
    for bearer in [bearer, other, Bearer { caller: left.user.caller(), ..bearer }] {
        assert!(!lasts(fixture, &bearer).await);
    }
    assert_eq!((rotate(fixture, 1, 2).await, rotate(fixture, 50, 51).await), (Rotation::Refused, Rotation::Refused));
    assert_eq!(users.by_email(&email("ana@example.org")).await.unwrap(), None);
    let again = sign_up(fixture, "ana@example.org", None).await;
    assert_ne!(again.id, ana.id);
    assert!(lasts(fixture, &eves).await);
    assert_eq!(users.by_id(eve.id).await.unwrap(), Some(eve));
    let outcome = users.anonymise(&bearer).await;
    assert!(matches!(outcome, Err(AnonymiseError::SessionEnded)), "{outcome:?}");
}

/// One of ten concurrent deletions succeeds.
pub async fn of_ten_concurrent_deletions_one_succeeds(fixture: &dyn Fixture) {
    let (_, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let outcomes = join_all((0..10).map(|_| fixture.stores().users.anonymise(&bearer))).await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let ended = outcomes.iter().filter(|outcome| matches!(outcome, Err(AnonymiseError::SessionEnded))).count();
    assert_eq!((done, ended), (1, 9), "{outcomes:?}");
}

/// If all administrators delete their accounts concurrently, one is refused and stays.
pub async fn last_administrator_cannot_be_deleted(fixture: &dyn Fixture) {
    let mut bearers = Vec::new();
    for number in 0..5 {
        let (_, bearer) = sign_up_as_bearer(fixture, &format!("admin{number}@example.org"), number).await;
        bearers.push(bearer);
    }
    fixture.execute("UPDATE users SET role = 'admin'").await;
    sign_up(fixture, "customer@example.org", None).await;
    let outcomes = join_all(bearers.iter().map(|bearer| fixture.stores().users.anonymise(bearer))).await;
    let gone = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let last: Vec<_> = (0..5).filter(|number| matches!(outcomes[*number], Err(AnonymiseError::LastAdmin))).collect();
    assert_eq!((gone, last.len()), (4, 1), "{outcomes:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM users WHERE role = 'admin'").await, 1);
    assert!(lasts(fixture, &bearers[last[0]]).await, "whoever stays stays logged in");
    let outcome = fixture.stores().users.anonymise(&bearers[last[0]]).await;
    assert!(matches!(outcome, Err(AnonymiseError::LastAdmin)), "{outcome:?}");
}

async fn sessions_of(fixture: &dyn Fixture, user: &User, limit: i64, after: Option<SessionCursor>) -> Vec<Session> {
    let page = PageRequest { limit: PageLimit::parse(limit).unwrap(), after };
    let rows = fixture.stores().sessions.sessions(user.id, &page).await.unwrap();
    page.cut(rows, |session| SessionCursor { created_at: session.created_at, id: session.id }).items
}

fn session_ids(sessions: &[Session]) -> Vec<SessionId> {
    sessions.iter().map(|session| session.id).collect()
}

/// Lists the live sessions of one user, newest first, in pages.
pub async fn sessions_are_listed_newest_first_and_paged(fixture: &dyn Fixture) {
    let (ana, first) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    sign_up_as_bearer(fixture, "eve@example.org", 100).await;
    let mut expected = vec![first.session_id.unwrap()];
    for number in 2..8 {
        expected.insert(0, bearer_of(fixture, &ana, number).await.session_id.unwrap());
    }
    // Sessions that began in the same instant are ordered by id.
    let at = fixture.instant(-60);
    let pair = format!("({}, {})", expected[5], expected[6]);
    fixture.execute(&format!("UPDATE sessions SET created_at = {at} WHERE id IN {pair}")).await;
    assert_eq!(session_ids(&sessions_of(fixture, &ana, 100, None).await), expected);
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = sessions_of(fixture, &ana, 2, after).await;
        let Some(last) = page.last() else { break };
        after = Some(SessionCursor { created_at: last.created_at, id: last.id });
        paged.extend(session_ids(&page));
    }
    assert_eq!(paged, expected);
    // Ended and expired sessions are not listed.
    assert!(fixture.stores().sessions.end_one(ana.id, expected[1]).await.unwrap());
    let past = fixture.instant(-1);
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {past} WHERE session_id = {}", expected[3])).await;
    let left = [0, 2, 4, 5, 6].map(|at: usize| expected[at]);
    assert_eq!(session_ids(&sessions_of(fixture, &ana, 100, None).await), left);
}

/// A session has the times of its beginning, its last use and its expiry.
pub async fn session_lists_its_last_use(fixture: &dyn Fixture) {
    let (ana, bearer) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let [fresh] = sessions_of(fixture, &ana, 10, None).await.try_into().unwrap();
    assert_eq!(Some(fresh.id), bearer.session_id);
    assert_eq!(fresh.created_at, fresh.last_used_at);
    assert_eq!(fresh.expires_at - fresh.last_used_at, chrono::TimeDelta::hours(1));
    fixture.execute(&format!("UPDATE sessions SET created_at = {}", fixture.instant(-600))).await;
    fixture.execute(&format!("UPDATE refresh_tokens SET created_at = {}", fixture.instant(-600))).await;
    rotated(fixture, 1, 2).await;
    let [used] = sessions_of(fixture, &ana, 10, None).await.try_into().unwrap();
    assert_eq!(used.id, fresh.id);
    assert!(used.created_at < fresh.created_at, "{used:?}");
    assert!(used.last_used_at >= fresh.last_used_at && used.expires_at >= fresh.expires_at, "{used:?} {fresh:?}");
}

/// A session is ended by its owner only, and once. Other sessions continue.
pub async fn session_is_ended_only_by_its_owner(fixture: &dyn Fixture) {
    let (ana, first) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let second = bearer_of(fixture, &ana, 50).await;
    let (eve, eves) = sign_up_as_bearer(fixture, "eve@example.org", 100).await;
    let sessions = &fixture.stores().sessions;
    let id = first.session_id.unwrap();
    assert!(!sessions.end_one(eve.id, id).await.unwrap(), "it is somebody else's");
    assert!(!sessions.end_one(ana.id, SessionId(i64::MAX)).await.unwrap(), "it never was");
    assert!(lasts(fixture, &first).await);
    assert!(sessions.end_one(ana.id, id).await.unwrap());
    assert!(!sessions.end_one(ana.id, id).await.unwrap(), "it has ended");
    assert!(!lasts(fixture, &first).await);
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    assert!(lasts(fixture, &second).await && lasts(fixture, &eves).await);
    assert_eq!(rotated(fixture, 50, 51).await, ana);
}

/// Ending a session by its token, and a second use of a token, return the id of the session.
pub async fn ending_a_session_returns_its_id(fixture: &dyn Fixture) {
    let (ana, first) = sign_up_as_bearer(fixture, "ana@example.org", 1).await;
    let second = bearer_of(fixture, &ana, 50).await;
    let sessions = &fixture.stores().sessions;
    let rotation = rotate(fixture, 1, 2).await;
    assert_eq!(rotation, Rotation::Rotated { user: ana.clone(), session_id: first.session_id.unwrap() });
    assert_eq!(rotate(fixture, 1, 3).await, Rotation::Reused { session_id: first.session_id.unwrap() });
    assert!(!lasts(fixture, &first).await);
    assert_eq!(sessions.end(&token(50).hash).await.unwrap(), second.session_id);
    assert_eq!(sessions.end(&token(99).hash).await.unwrap(), None);
    assert!(!lasts(fixture, &second).await);
}
