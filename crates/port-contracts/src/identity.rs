//! Accounts and sessions.

use std::time::Duration;

use domain::identity::{Email, NewRefreshToken, NewUser, RefreshTokenHash, Role, Rotation, User, UserStoreError};
use domain::ids::UserId;
use futures::future::join_all;

use crate::Fixture;
use crate::world::{new_user, now, password_hash};

fn token(number: u8) -> NewRefreshToken {
    NewRefreshToken { hash: RefreshTokenHash([number; 32]), ttl: Duration::from_secs(3600) }
}

async fn sign_up(fixture: &dyn Fixture, email: &str, first: Option<u8>) -> User {
    let session = first.map(token);
    fixture.stores().users.create(&new_user(email), session.as_ref()).await.unwrap()
}

async fn rotate(fixture: &dyn Fixture, presented: u8, next: u8) -> Rotation {
    fixture.stores().sessions.rotate(&token(presented).hash, &token(next)).await.unwrap()
}

async fn rows(fixture: &dyn Fixture, table: &str) -> i64 {
    fixture.count(&format!("SELECT count(*) FROM {table}")).await
}

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// What is returned is what was asked for, and is found again.
pub async fn a_new_account_is_as_it_was_asked_for(fixture: &dyn Fixture) {
    let users = &fixture.stores().users;
    let asked = NewUser { role: Role::Staff, ..new_user("Ana.Núñez@Example.ORG") };
    let user = users.create(&asked, None).await.unwrap();
    assert_eq!((user.name.as_str(), user.email.as_str()), ("Ana Núñez", "Ana.Núñez@Example.ORG"));
    assert_eq!(user.role, Role::Staff);
    assert!((user.created_at - now()).num_seconds().abs() < 60, "made now: {}", user.created_at);
    assert_eq!(users.by_id(user.id).await.unwrap(), Some(user.clone()));
    let account = users.by_email(&asked.email).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (user, asked.password_hash));
}

/// Case makes no other address, in any script.
pub async fn an_address_is_taken_however_it_is_written(fixture: &dyn Fixture) {
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

/// However many ask at once, one has the address.
pub async fn ten_sign_ups_at_once_make_one_account(fixture: &dyn Fixture) {
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

/// An account is found however its address is written, and no other is.
pub async fn an_account_is_found_by_its_address_folded(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "Ana@Example.org", None).await;
    let emile = sign_up(fixture, "Émile@example.org", None).await;
    let found =
        async |text: &str| fixture.stores().users.by_email(&email(text)).await.unwrap().map(|account| account.user);
    assert_eq!(found("aNa@eXample.org").await, Some(ana));
    assert_eq!(found("ÉMILE@EXAMPLE.ORG").await, Some(emile));
    assert_eq!(found("an_@example.org").await, None);
    assert_eq!(found("emile@example.org").await, None);
}

/// No user, no account.
pub async fn who_is_not_there_is_none(fixture: &dyn Fixture) {
    let users = &fixture.stores().users;
    assert_eq!(users.by_id(UserId(1)).await.unwrap(), None);
    assert_eq!(users.by_email(&email("nobody@example.org")).await.unwrap(), None);
    let somebody = sign_up(fixture, "ana@example.org", None).await;
    assert_eq!(users.by_id(UserId(somebody.id.0 + 1)).await.unwrap(), None);
}

/// The session is there with the account, and not without it.
pub async fn an_account_and_its_first_session_are_one_act(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    // The token's digest is there already: neither session nor account may be made.
    let outcome = fixture.stores().users.create(&new_user("eve@example.org"), Some(&token(1))).await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert_eq!((rows(fixture, "users").await, rows(fixture, "sessions").await), (1, 1));
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Rotated(ana));
}

/// Each token of a chain works, and tells the user as of now.
pub async fn a_refresh_token_works_once_and_gives_the_next(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", None).await;
    let eve = sign_up(fixture, "eve@example.org", Some(100)).await;
    fixture.stores().sessions.open(ana.id, &token(1)).await.unwrap();
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Rotated(ana.clone()));
    assert_eq!(rotate(fixture, 2, 3).await, Rotation::Rotated(ana));
    assert_eq!(rotate(fixture, 100, 101).await, Rotation::Rotated(eve));
}

/// One of ten wins, and because the others came second even the winner's next token is dead.
pub async fn ten_rotations_at_once_are_one_and_the_session_is_dead(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", Some(1)).await;
    let outcomes = join_all((10..20).map(|next| rotate(fixture, 1, next))).await;
    let rotated = outcomes.iter().filter(|outcome| matches!(outcome, Rotation::Rotated(_))).count();
    assert_eq!(rotated, 1, "{outcomes:?}");
    assert!(outcomes.contains(&Rotation::Reused), "{outcomes:?}");
    for next in 10..20 {
        assert_eq!(rotate(fixture, next, next + 100).await, Rotation::Refused, "token {next}");
    }
}

/// A second use ends the whole chain, and no other session.
pub async fn a_second_use_ends_that_session_alone(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    fixture.stores().sessions.open(ana.id, &token(50)).await.unwrap();
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Rotated(ana.clone()));
    assert_eq!(rotate(fixture, 1, 3).await, Rotation::Reused);
    assert_eq!(rotate(fixture, 2, 4).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 3, 5).await, Rotation::Refused, "a reuse stores no next token");
    assert_eq!(rotate(fixture, 50, 51).await, Rotation::Rotated(ana));
}

/// By the store's clock, and at the very instant it runs out.
pub async fn a_token_that_ran_out_is_refused(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    let now_over = NewRefreshToken { ttl: Duration::ZERO, ..token(2) };
    fixture.stores().sessions.open(ana.id, &now_over).await.unwrap();
    assert_eq!(rotate(fixture, 2, 3).await, Rotation::Refused);
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {}", fixture.instant(-1))).await;
    assert_eq!(rotate(fixture, 1, 4).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 4, 5).await, Rotation::Refused, "a refusal stores no next token");
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {}", fixture.instant(60))).await;
    assert_eq!(rotate(fixture, 1, 6).await, Rotation::Rotated(ana), "a refusal uses nothing up");
}

/// A token that nobody was given.
pub async fn an_unknown_token_is_refused_and_stores_nothing(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", Some(1)).await;
    assert_eq!(rotate(fixture, 9, 10).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 10, 11).await, Rotation::Refused);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (1, 1));
}

/// By any token of it, used or not; ending what has ended or never was is no error.
pub async fn a_session_ends_however_often_it_is_ended(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "ana@example.org", Some(1)).await;
    let sessions = &fixture.stores().sessions;
    sessions.open(ana.id, &token(50)).await.unwrap();
    sessions.open(ana.id, &token(60)).await.unwrap();
    for _ in 0..2 {
        sessions.end(&token(1).hash).await.unwrap();
    }
    sessions.end(&token(99).hash).await.unwrap();
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    // The session that a used token belongs to.
    assert_eq!(rotate(fixture, 50, 51).await, Rotation::Rotated(ana.clone()));
    sessions.end(&token(50).hash).await.unwrap();
    assert_eq!(rotate(fixture, 51, 52).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 60, 61).await, Rotation::Rotated(ana));
}

/// The generation is raised, the password is the new one, the sessions are dead; other accounts stay as they are.
pub async fn a_new_password_ends_every_session_of_its_account(fixture: &dyn Fixture) {
    let ana = sign_up(fixture, "Ana@example.org", Some(1)).await;
    let eve = sign_up(fixture, "eve@example.org", Some(100)).await;
    let (users, sessions) = (&fixture.stores().users, &fixture.stores().sessions);
    sessions.open(ana.id, &token(50)).await.unwrap();
    let reset = users.reset_password(&email("aNA@example.org"), &password_hash("second")).await.unwrap().unwrap();
    assert!(reset.session_generation > ana.session_generation, "{reset:?}");
    assert_eq!(User { session_generation: ana.session_generation, ..reset.clone() }, ana);
    let account = users.by_email(&email("ana@example.org")).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (reset.clone(), password_hash("second")));
    assert_eq!(rotate(fixture, 1, 2).await, Rotation::Refused);
    assert_eq!(rotate(fixture, 50, 51).await, Rotation::Refused);
    sessions.open(ana.id, &token(60)).await.unwrap();
    assert_eq!(rotate(fixture, 60, 61).await, Rotation::Rotated(reset));
    let account = users.by_email(&email("eve@example.org")).await.unwrap().unwrap();
    assert_eq!((account.user, account.password_hash), (eve.clone(), password_hash("first")));
    assert_eq!(rotate(fixture, 100, 101).await, Rotation::Rotated(eve));
}

/// No account, nothing reset.
pub async fn a_new_password_for_nobody_is_none(fixture: &dyn Fixture) {
    sign_up(fixture, "ana@example.org", None).await;
    let outcome = fixture.stores().users.reset_password(&email("eve@example.org"), &password_hash("second")).await;
    assert_eq!(outcome.unwrap(), None);
}
