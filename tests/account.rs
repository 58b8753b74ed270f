//! The caller's account: changing, deleting and exporting it, and its sessions.

use api_actix::wiring::server::RunningServer;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, JWT_SECRET, NOBODY, PASSWORD, TestApp, User};
use crate::openapi::calls_with_a_session;

/// The password that tests change to.
const NEW_PASSWORD: &str = "another correct horse";

on_both_stores!(
    a_name_is_changed_and_needs_no_password,
    an_empty_change_changes_nothing,
    another_address_needs_the_password,
    change_to_a_taken_address_is_refused,
    all_mistakes_of_a_change_are_reported_together,
    a_new_password_ends_every_other_session,
    password_change_by_a_token_without_a_session_ends_all_sessions,
    of_ten_concurrent_password_requests_one_succeeds,
    wrong_passwords_are_limited_like_failed_logins
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    deleted_account_is_anonymous_and_keeps_its_bookings,
    deleting_needs_the_password,
    of_two_concurrent_deletions_one_succeeds,
    deleting_the_last_administrator_is_refused,
    sessions_are_listed_newest_first,
    sessions_are_paged,
    ending_a_session_ends_its_tokens,
    session_is_visible_only_to_its_owner,
    ending_the_current_session_is_a_logout,
    a_logout_ends_the_access_token_too,
    a_second_use_ends_the_access_tokens_too,
    export_contains_all_data_of_the_caller_and_nothing_else,
    long_export_is_complete,
    keys_are_checked_and_change_nothing,
    ended_session_does_not_mark_its_seats,
);

mod two_servers {
    on_postgres!(
        a_new_password_at_one_server_ends_sessions_at_the_other,
        deleted_account_is_refused_at_the_other_server,
        session_ended_at_one_server_ends_at_the_other_within_a_second,
    );

    use super::{
        a_new_password_at_one_server_ends_sessions_at_the_other, deleted_account_is_refused_at_the_other_server,
        session_ended_at_one_server_ends_at_the_other_within_a_second,
    };
}

async fn update(app: &TestApp, user: &User, body: &Value) -> Answer {
    app.call(Method::PATCH, "/api/me").by(user).json(body).send().await
}

async fn delete(app: &TestApp, user: &User, password: &str) -> Answer {
    app.call(Method::DELETE, "/api/me").by(user).json(&json!({ "current_password": password })).send().await
}

async fn end_session(app: &TestApp, user: &User, id: i64) -> Answer {
    app.call(Method::DELETE, &format!("/api/me/sessions/{id}")).by(user).send().await
}

async fn sessions(app: &TestApp, user: &User) -> Vec<Value> {
    app.get("/api/me/sessions").by(user).send().await.ok(200).list()
}

/// Returns the id of the user's current session.
async fn current(app: &TestApp, user: &User) -> i64 {
    let sessions = sessions(app, user).await;
    let current: Vec<_> = sessions.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1, "{sessions:?}");
    current[0]["id"].as_i64().unwrap()
}

fn seat(app: &TestApp, at: usize) -> Value {
    json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 })
}

/// Checks that every call that shows or changes the caller's own data is refused, and so is the refresh token.
async fn is_over(app: &TestApp, user: &User) {
    for call in calls_with_a_session(app) {
        call.by(user).send().await.problem(401, "unauthenticated").snapshot("session_ended");
    }
    app.refresh(&user.refresh_token).await.problem(401, "unauthenticated");
}

/// Checks that the session continues, with its token and with its refresh token.
async fn goes_on(app: &TestApp, user: &User) -> User {
    app.me(&user.token).await.ok(200);
    app.get("/api/bookings").by(user).send().await.ok(200);
    let next = app.refresh(&user.refresh_token).await.user();
    app.me(&next.token).await.ok(200);
    next
}

async fn a_name_is_changed_and_needs_no_password(app: &TestApp) {
    let user = app.sign_up().await;
    let answer = update(app, &user, &json!({ "name": "  Ana Costa " })).await.ok(200).snapshot("me_renamed");
    let me = app.me(&user.token).await.ok(200).json();
    assert_eq!(answer.json(), me, "the profile as GET has it");
    assert_eq!(me["name"], "Ana Costa");
    goes_on(app, &user).await;
}

async fn an_empty_change_changes_nothing(app: &TestApp) {
    let user = app.sign_up().await;
    let before = app.me(&user.token).await.ok(200).json();
    let bodies = [
        json!({}),
        json!({ "name": null, "email": null, "password": null }),
        json!({ "current_password": "a guess that must not be told from a hit" }),
        json!({ "role": "admin", "id": 1, "session_generation": 9, "created_at": "2020-01-01T00:00:00Z" }),
        // The account's own address is not a change.
        json!({ "email": user.email }),
    ];
    for body in bodies {
        let answer = update(app, &user, &body).await.ok(200);
        assert_eq!(answer.json(), before, "{body}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(app.me(&user.token).await.json(), before);
    goes_on(app, &user).await;
}

async fn another_address_needs_the_password(app: &TestApp) {
    let user = app.sign_up().await;
    let without = update(app, &user, &json!({ "email": "ana@example.org", "name": "Eve" })).await;
    without.problem(403, "forbidden").snapshot("current_password_missing");
    for wrong in ["", "wrong password", &format!("{PASSWORD} "), &"x".repeat(10_000)] {
        let body = json!({ "email": "ana@example.org", "current_password": wrong });
        update(app, &user, &body).await.problem(403, "forbidden").snapshot("current_password_wrong");
    }
    let me = app.me(&user.token).await.ok(200).json();
    assert_eq!((me["email"].as_str(), me["name"].as_str()), (Some(user.email.as_str()), Some("Ana Núñez")));
    let body = json!({ "email": " Ana@Example.org", "current_password": PASSWORD });
    let answer = update(app, &user, &body).await.ok(200).json();
    assert_eq!(answer["email"], "Ana@Example.org");
    assert_eq!(answer.get("token"), None);
    app.login("ana@example.org", PASSWORD).await.ok(200);
    app.login(&user.email, PASSWORD).await.problem(401, "invalid_credentials");
    let next = goes_on(app, &user).await;
    // A change of case is a change too.
    let body = json!({ "email": "ana@example.org", "current_password": PASSWORD });
    assert_eq!(update(app, &next, &body).await.ok(200).json()["email"], "ana@example.org");
    // The former address is free.
    app.register("Eve", &user.email, PASSWORD).await.ok(201);
}

async fn change_to_a_taken_address_is_refused(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    let body = json!({ "name": "Eve", "email": other.email.to_uppercase(), "password": NEW_PASSWORD, "current_password": PASSWORD });
    update(app, &user, &body).await.problem(409, "email_taken").snapshot("email_taken_by_another");
    let me = app.me(&user.token).await.ok(200).json();
    assert_eq!((me["name"].as_str(), me["email"].as_str()), (Some("Ana Núñez"), Some(user.email.as_str())));
    app.login(&user.email, PASSWORD).await.ok(200);
    // Without the password, a caller cannot find out whether an address is taken.
    let body = json!({ "email": other.email, "current_password": "wrong password" });
    update(app, &user, &body).await.problem(403, "forbidden");
}

async fn all_mistakes_of_a_change_are_reported_together(app: &TestApp) {
    let user = app.sign_up().await;
    let body = json!({ "name": " ", "email": "nobody", "password": "short", "current_password": 7 });
    let told = update(app, &user, &body).await.mistakes();
    assert_eq!(told, ["name too_short", "email invalid", "password too_short", "current_password wrong_type"]);
    let body = json!({ "name": 1, "email": [], "password": {}, "current_password": true });
    let told = update(app, &user, &body).await.mistakes();
    let fields = ["name", "email", "password", "current_password"];
    assert_eq!(told, fields.map(|field| format!("{field} wrong_type")));
    for body in [json!([]), json!("x"), json!(null)] {
        assert_eq!(update(app, &user, &body).await.mistakes(), ["body wrong_type"]);
    }
    let call = || app.call(Method::PATCH, "/api/me").by(&user);
    call().body("application/json", "{").send().await.problem(400, "malformed_json");
    call().body("application/json", r#"{"name":"Ana","name":"Eve"}"#).send().await.problem(400, "malformed_json");
    call().body("text/plain", "{}").send().await.problem(415, "unsupported_media_type");
    assert_eq!(app.me(&user.token).await.json()["name"], "Ana Núñez");
}

async fn a_new_password_ends_every_other_session(app: &TestApp) {
    let user = app.sign_up().await;
    let (phone, tablet) =
        (app.login(&user.email, PASSWORD).await.user(), app.login(&user.email, PASSWORD).await.user());
    let somebody = app.sign_up().await;
    for user in [&user, &phone, &tablet] {
        app.me(&user.token).await.ok(200);
    }
    let body = json!({ "password": NEW_PASSWORD, "current_password": PASSWORD });
    let answer = update(app, &phone, &body).await.ok(200).snapshot("me_with_a_new_password");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    is_over(app, &user).await;
    is_over(app, &tablet).await;
    // The token used for the change is invalid as well. The response contains its successor.
    app.me(&phone.token).await.problem(401, "unauthenticated").snapshot("session_ended");
    app.book(&phone, "k", &seat(app, 0)).await.problem(401, "unauthenticated").snapshot("session_ended");
    let phone = User { token: answer.json()["token"].as_str().unwrap().to_owned(), ..phone };
    assert_eq!(answer.json()["expires_in"], 3600);
    app.book(&phone, "k", &seat(app, 0)).await.ok(201);
    let phone = goes_on(app, &phone).await;
    assert_eq!(sessions(app, &phone).await.len(), 1);
    app.login(&user.email, PASSWORD).await.problem(401, "invalid_credentials");
    app.login(&user.email, NEW_PASSWORD).await.ok(200);
    goes_on(app, &somebody).await;
}

/// Creates a token as version 0.1.0 did.
fn token_without_a_session(user: &User) -> String {
    let now = chrono::Utc::now().timestamp();
    let claims = json!({
        "iss": "movie-booking", "aud": "movie-booking-api", "sub": user.id.to_string(), "role": "customer", "gen": 1,
        "iat": now, "nbf": now, "exp": now + 600,
    });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes())).unwrap()
}

async fn password_change_by_a_token_without_a_session_ends_all_sessions(app: &TestApp) {
    let user = app.sign_up().await;
    let former = User { token: token_without_a_session(&user), ..user.clone() };
    app.me(&former.token).await.ok(200);
    app.book(&former, "k", &seat(app, 0)).await.ok(201);
    assert!(sessions(app, &former).await.iter().all(|session| session["current"] == false));
    let body = json!({ "password": NEW_PASSWORD, "current_password": PASSWORD });
    let answer = update(app, &former, &body).await.ok(200).json();
    assert_eq!(answer.get("token"), None);
    is_over(app, &former).await;
    is_over(app, &user).await;
    app.login(&user.email, NEW_PASSWORD).await.ok(200);
}

async fn of_ten_concurrent_password_requests_one_succeeds(app: &TestApp) {
    let user = app.sign_up().await;
    let change = async |number: usize| {
        let body = json!({ "password": format!("{NEW_PASSWORD} {number}"), "current_password": PASSWORD });
        update(app, &user, &body).await
    };
    let answers = join_all((0..10).map(change)).await;
    let made: Vec<_> = (0..10).filter(|number| answers[*number].status == 200).collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.clone().problem(401, "unauthenticated");
    }
    app.login(&user.email, &format!("{NEW_PASSWORD} {}", made[0])).await.ok(200);
}

async fn wrong_passwords_are_limited_like_failed_logins(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    let guess = json!({ "password": NEW_PASSWORD, "current_password": "wrong password" });
    // Changes that need no password, changes without one and changes with the right one are not counted.
    for _ in 0..5 {
        update(app, &user, &json!({ "name": "Ana", "current_password": "wrong password" })).await.ok(200);
        update(app, &user, &json!({ "password": NEW_PASSWORD })).await.problem(403, "forbidden");
        let same = json!({ "email": user.email.to_uppercase(), "current_password": PASSWORD });
        update(app, &user, &same).await.ok(200);
    }
    update(app, &user, &guess).await.problem(403, "forbidden");
    delete(app, &user, "wrong password").await.problem(403, "forbidden");
    app.login(&user.email, "wrong password").await.problem(401, "invalid_credentials");
    // All of them share one limit, and the right password is refused too, so that guessing reveals nothing.
    let right = json!({ "password": NEW_PASSWORD, "current_password": PASSWORD });
    for answer in [
        update(app, &user, &guess).await,
        update(app, &user, &right).await,
        delete(app, &user, PASSWORD).await,
        app.login(&user.email, PASSWORD).await,
    ] {
        let answer = answer.problem(429, "rate_limited");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=60"));
    }
    update(app, &other, &json!({ "email": "eve@example.org", "current_password": PASSWORD })).await.ok(200);
    app.me(&user.token).await.ok(200);
}

async fn deleted_account_is_anonymous_and_keeps_its_bookings(app: &TestApp) {
    let user = app.sign_up().await;
    let elsewhere = app.login(&user.email, PASSWORD).await.user();
    let somebody = app.sign_up().await;
    app.book(&user, "k", &seat(app, 0)).await.ok(201);
    let before = app.footprint().await;
    let gone = delete(app, &user, PASSWORD).await.ok(204).snapshot("me_deleted");
    assert!(gone.bytes.is_empty());
    is_over(app, &user).await;
    is_over(app, &elsewhere).await;
    app.book(&user, "k", &seat(app, 0)).await.problem(401, "unauthenticated").snapshot("session_ended");
    app.login(&user.email, PASSWORD).await.problem(401, "invalid_credentials");
    assert_eq!(app.footprint().await, before, "no row is gone, none is new");
    // No column identifies the former owner.
    for column in ["name", "email", "email_folded", "password_hash"] {
        let told = format!("SELECT count(*) FROM users WHERE id = {} AND {column} LIKE '%customer%'", user.id);
        assert_eq!(app.backend.count(&told).await, 0, "{column}");
    }
    let named = format!("SELECT count(*) FROM users WHERE id = {} AND name = 'Ana Núñez'", user.id);
    assert_eq!(app.backend.count(&named).await, 0);
    // The sold seat stays booked, and another user does not see it as their own.
    let sold = app.seat(app.world.soon.0, app.world.main[0].id.0, Some(&somebody)).await;
    assert_eq!((sold["status"].as_str(), sold.get("mine")), (Some("booked"), None));
    let kept = format!("SELECT count(*) FROM bookings WHERE user_id = {} AND status = 'confirmed'", user.id);
    assert_eq!(app.backend.count(&kept).await, 1);
    // The address is free, and a new account with it starts empty.
    let again = app.register("Ana", &user.email, PASSWORD).await.user();
    assert_ne!(again.id, user.id);
    assert!(app.get("/api/bookings").by(&again).send().await.ok(200).list().is_empty());
    is_over(app, &user).await;
    goes_on(app, &somebody).await;
    // The remaining row cannot be used to sign up or log in.
    let left = format!("deleted-{}", user.id);
    assert_eq!(app.register("Eve", &left, PASSWORD).await.mistakes(), ["email invalid"]);
    app.login(&left, PASSWORD).await.problem(401, "invalid_credentials");
}

async fn deleting_needs_the_password(app: &TestApp) {
    let user = app.sign_up().await;
    let call = || app.call(Method::DELETE, "/api/me").by(&user);
    call().send().await.problem(403, "forbidden").snapshot("current_password_missing");
    for body in [json!({}), json!({ "current_password": null }), json!({ "password": PASSWORD })] {
        call().json(&body).send().await.problem(403, "forbidden").snapshot("current_password_missing");
    }
    delete(app, &user, "wrong password").await.problem(403, "forbidden").snapshot("current_password_wrong");
    assert_eq!(call().json(&json!({ "current_password": 7 })).send().await.mistakes(), ["current_password wrong_type"]);
    assert_eq!(call().json(&json!([PASSWORD])).send().await.mistakes(), ["body wrong_type"]);
    call().body("application/json", "{").send().await.problem(400, "malformed_json");
    goes_on(app, &user).await;
}

async fn of_two_concurrent_deletions_one_succeeds(app: &TestApp) {
    for _ in 0..5 {
        let user = app.sign_up().await;
        let answers = join_all((0..2).map(|_| delete(app, &user, PASSWORD))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 401], "{answers:?}");
        is_over(app, &user).await;
    }
}

async fn deleting_the_last_administrator_is_refused(app: &TestApp) {
    let (first, second) = (app.sign_up().await, app.sign_up().await);
    app.backend.execute(&format!("UPDATE users SET role = 'admin' WHERE id IN ({}, {})", first.id, second.id)).await;
    delete(app, &first, PASSWORD).await.ok(204);
    delete(app, &second, PASSWORD).await.problem(409, "conflict").snapshot("last_administrator");
    let second = goes_on(app, &second).await;
    let third = app.sign_up().await;
    app.backend.execute(&format!("UPDATE users SET role = 'admin' WHERE id = {}", third.id)).await;
    let both = join_all([delete(app, &second, PASSWORD), delete(app, &third, PASSWORD)]).await;
    let mut statuses: Vec<_> = both.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409], "{both:?}");
}

async fn sessions_are_listed_newest_first(app: &TestApp) {
    let user = app.sign_up().await;
    app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    let answer = app.get("/api/me/sessions").by(&user).send().await.ok(200).snapshot("sessions");
    let listed = answer.list();
    assert_eq!(listed.iter().map(|session| session["current"].clone()).collect::<Vec<_>>(), [false, true]);
    assert!(listed[0]["created_at"].as_str() >= listed[1]["created_at"].as_str());
    assert_eq!(listed[0]["id"], current(app, &phone).await);
    // Refreshing continues the same session.
    let next = app.refresh(&user.refresh_token).await.user();
    let used = sessions(app, &next).await;
    assert_eq!((&used[1]["id"], &used[1]["created_at"]), (&listed[1]["id"], &listed[1]["created_at"]));
    assert!(used[1]["last_used_at"].as_str() >= listed[1]["last_used_at"].as_str());
    assert_eq!(used[1]["current"], true);
    // Expired sessions are not listed.
    let past = app.backend.instant(-60);
    let phone_id = listed[0]["id"].as_i64().unwrap();
    app.backend.execute(&format!("UPDATE refresh_tokens SET expires_at = {past} WHERE session_id = {phone_id}")).await;
    assert_eq!(sessions(app, &next).await.len(), 1);
}

async fn sessions_are_paged(app: &TestApp) {
    let user = app.sign_up().await;
    for _ in 0..4 {
        app.login(&user.email, PASSWORD).await.ok(200);
    }
    let whole = app.get("/api/me/sessions").by(&user).send().await.column("id");
    assert_eq!(whole.len(), 5);
    let (mut paged, mut path) = (Vec::new(), Some("/api/me/sessions?limit=2".to_owned()));
    while let Some(next) = path {
        let page = app.get(&next).by(&user).send().await.ok(200);
        assert!(page.list().len() <= 2);
        paged.extend(page.column("id"));
        path = page.next_page();
    }
    assert_eq!(paged, whole);
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=W10"] {
        let answer = app.get(&format!("/api/me/sessions?{wrong}")).by(&user).send().await;
        let field = wrong.split('=').next().unwrap();
        assert_eq!(answer.mistakes(), [format!("{field} invalid")]);
    }
}

async fn ending_a_session_ends_its_tokens(app: &TestApp) {
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    let id = current(app, &phone).await;
    let ended = end_session(app, &user, id).await.ok(204).snapshot("session_deleted");
    assert!(ended.bytes.is_empty());
    is_over(app, &phone).await;
    assert_eq!(sessions(app, &user).await.len(), 1);
    end_session(app, &user, id).await.problem(404, "not_found").snapshot("session_not_found");
    assert_eq!(app.rows("bookings").await, 0);
    goes_on(app, &user).await;
}

async fn session_is_visible_only_to_its_owner(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    let id = current(app, &user).await;
    end_session(app, &other, id).await.problem(404, "not_found").snapshot("session_not_found");
    end_session(app, &other, NOBODY).await.problem(404, "not_found").snapshot("session_not_found");
    for wrong in ["0", "-1", "abc", "9223372036854775808"] {
        let answer = app.call(Method::DELETE, &format!("/api/me/sessions/{wrong}")).by(&user).send().await;
        assert_eq!(answer.mistakes(), ["session_id invalid"], "{wrong}");
    }
    goes_on(app, &user).await;
    assert_eq!(sessions(app, &other).await.len(), 1);
}

async fn ending_the_current_session_is_a_logout(app: &TestApp) {
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    end_session(app, &phone, current(app, &phone).await).await.ok(204);
    is_over(app, &phone).await;
    goes_on(app, &user).await;
}

async fn a_logout_ends_the_access_token_too(app: &TestApp) {
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    app.me(&phone.token).await.ok(200);
    app.post("/api/auth/logout").json(&json!({ "refresh_token": phone.refresh_token })).send().await.ok(204);
    is_over(app, &phone).await;
    goes_on(app, &user).await;
}

async fn a_second_use_ends_the_access_tokens_too(app: &TestApp) {
    let user = app.sign_up().await;
    let next = app.refresh(&user.refresh_token).await.user();
    app.me(&next.token).await.ok(200);
    app.refresh(&user.refresh_token).await.problem(401, "unauthenticated");
    is_over(app, &user).await;
    is_over(app, &next).await;
}

async fn export_contains_all_data_of_the_caller_and_nothing_else(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    app.login(&user.email, PASSWORD).await.ok(200);
    app.book(&user, "one", &seat(app, 0)).await.ok(201);
    app.book(&user, "two", &seat(app, 1)).await.ok(201);
    app.book(&other, "one", &seat(app, 2)).await.ok(201);
    let holds = format!("/api/shows/{}/holds", app.world.soon);
    for user in [&user, &other] {
        app.post(&holds).by(user).key("a-hold").json(&json!({ "quantity": 1 })).send().await.ok(201);
    }
    let answer = app.get("/api/me/export").by(&user).send().await.ok(200);
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"my-data.json\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // The export uses the same representation as the rest of the API.
    let expected = json!({
        "profile": app.me(&user.token).await.ok(200).json(),
        "sessions": sessions(app, &user).await,
        "holds": app.get("/api/holds").by(&user).send().await.ok(200).list(),
        "bookings": app.get("/api/bookings").by(&user).send().await.ok(200).list(),
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(
        (expected["sessions"].as_array().unwrap().len(), expected["bookings"].as_array().unwrap().len()),
        (2, 2)
    );
    for secret in [&user.token, &user.refresh_token, &"argon2".to_owned(), &other.email] {
        assert!(!answer.text().contains(secret.as_str()), "{secret}");
    }
    let nothing = app.get("/api/me/export").by(&app.sign_up().await).send().await.ok(200).json();
    assert_eq!(nothing["bookings"], json!([]));
    let head = app.call(Method::HEAD, "/api/me/export").by(&user).send().await.ok(200);
    assert!(head.bytes.is_empty());
}

async fn long_export_is_complete(app: &TestApp) {
    let user = app.sign_up().await;
    // Bookings and holds both fill more than two pages.
    let book = async |at: usize| app.book(&user, &format!("key-{at}"), &seat_anywhere(app, at)).await.ok(201);
    join_all((0..110).map(book)).await;
    let rows = (0..110).map(|_| format!("({}, {})", user.id, app.backend.instant(-60))).collect::<Vec<_>>().join(", ");
    app.backend.execute(&format!("INSERT INTO sessions (user_id, created_at) VALUES {rows}")).await;
    let hash = if app.is_on_postgres() { "decode(md5(id::text) || md5('x' || id), 'hex')" } else { "randomblob(32)" };
    let (made, over) = (app.backend.instant(-60), app.backend.instant(600));
    let tokens = format!(
        "INSERT INTO refresh_tokens (token_hash, session_id, created_at, expires_at)
         SELECT {hash}, id, {made}, {over} FROM sessions
         WHERE id NOT IN (SELECT session_id FROM refresh_tokens)"
    );
    app.backend.execute(&tokens).await;
    let export = app.get("/api/me/export").by(&user).send().await.ok(200).json();
    let ids = |list: &str| -> Vec<i64> {
        export[list].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    };
    for (list, count, path) in [("bookings", 110, "/api/bookings"), ("sessions", 111, "/api/me/sessions")] {
        let (mut paged, mut next) = (Vec::new(), Some(format!("{path}?limit=100")));
        while let Some(page) = next {
            let page = app.get(&page).by(&user).send().await.ok(200);
            paged.extend(page.column("id").iter().map(|id| id.as_i64().unwrap()));
            next = page.next_page();
        }
        assert_eq!(ids(list).len(), count, "{list}");
        assert_eq!(ids(list), paged, "{list}");
    }
}

/// Returns a seat of one of two shows with sixty seats each.
fn seat_anywhere(app: &TestApp, at: usize) -> Value {
    if at < 60 {
        seat(app, at)
    } else {
        json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[at - 60].id.0 })
    }
}

async fn keys_are_checked_and_change_nothing(app: &TestApp) {
    let user = app.sign_up().await;
    let calls = |user: &User| -> Vec<Call> {
        vec![
            app.call(Method::PATCH, "/api/me").by(user).json(&json!({ "name": "Eve" })),
            app.call(Method::DELETE, "/api/me").by(user).json(&json!({ "current_password": PASSWORD })),
            app.call(Method::DELETE, &format!("/api/me/sessions/{NOBODY}")).by(user),
        ]
    };
    for call in calls(&user) {
        call.key("  ").send().await.problem(400, "idempotency_key_invalid");
    }
    for call in calls(&user) {
        call.key("one").key("two").send().await.problem(400, "idempotency_key_invalid");
    }
    for call in calls(&user) {
        call.key(&"x".repeat(256)).send().await.problem(400, "idempotency_key_invalid");
    }
    // The caller is checked first, then the key, then the body.
    app.call(Method::PATCH, "/api/me").key(" ").json(&json!({})).send().await.problem(401, "unauthenticated");
    let bad = app.call(Method::PATCH, "/api/me").by(&user).key(" ").json(&json!({ "name": 1 }));
    bad.send().await.problem(400, "idempotency_key_invalid");
    assert_eq!(app.me(&user.token).await.json()["name"], "Ana Núñez");
    // The same key with another request is a separate request: these calls do not store keys.
    for name in ["Ana", "Eve", "Ana"] {
        let call = app.call(Method::PATCH, "/api/me").by(&user).key("a-key").json(&json!({ "name": name }));
        let answer = call.send().await.ok(200);
        assert_eq!((answer.json()["name"].as_str(), answer.header("idempotent-replayed")), (Some(name), None));
    }
    assert_eq!(app.rows("idempotency_keys").await, 0);
}

async fn ended_session_does_not_mark_its_seats(app: &TestApp) {
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    app.book(&user, "k", &seat(app, 0)).await.ok(201);
    let mine = async |user: &User| app.seat(app.world.soon.0, app.world.main[0].id.0, Some(user)).await["mine"].clone();
    assert_eq!(mine(&phone).await, true);
    end_session(app, &user, current(app, &phone).await).await.ok(204);
    assert_eq!(mine(&phone).await, Value::Null, "whoever has the token is anybody");
    assert_eq!(mine(&user).await, true);
}

/// Sends a call to another server.
async fn at(
    app: &TestApp,
    other: &RunningServer,
    method: Method,
    path: &str,
    user: &User,
    body: Option<&Value>,
) -> Answer {
    let call = app.call_at(&other.address.to_string(), method, path).by(user).key("elsewhere");
    match body {
        Some(body) => call.json(body).send().await,
        None => call.send().await,
    }
}

async fn a_new_password_at_one_server_ends_sessions_at_the_other(app: &TestApp) {
    let other = app.another_server().await;
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    // Both servers have just cached both sessions as live.
    for user in [&user, &phone] {
        app.me(&user.token).await.ok(200);
        at(app, &other, Method::GET, "/api/me", user, None).await.ok(200);
    }
    let body = json!({ "password": NEW_PASSWORD, "current_password": PASSWORD });
    let answer = update(app, &user, &body).await.ok(200);
    // These end at once, because they read the account: the caller's own data, and every booking.
    for path in ["/api/me", "/api/bookings", "/api/bookings/1", "/api/me/export"] {
        at(app, &other, Method::GET, path, &phone, None).await.problem(401, "unauthenticated");
    }
    at(app, &other, Method::POST, "/api/bookings", &phone, Some(&seat(app, 0))).await.problem(401, "unauthenticated");
    for change in [json!({ "name": "Eve" }), body] {
        at(app, &other, Method::PATCH, "/api/me", &phone, Some(&change)).await.problem(401, "unauthenticated");
    }
    let refresh = json!({ "refresh_token": phone.refresh_token });
    app.call_at(&other.address.to_string(), Method::POST, "/api/auth/refresh").json(&refresh).send().await.ok(401);
    assert_eq!(app.rows("bookings").await, 0);
    let next = User { token: answer.json()["token"].as_str().unwrap().to_owned(), ..user };
    at(app, &other, Method::GET, "/api/me", &next, None).await.ok(200);
    at(app, &other, Method::POST, "/api/bookings", &next, Some(&seat(app, 0))).await.ok(201);
    other.stop().await.unwrap();
}

async fn deleted_account_is_refused_at_the_other_server(app: &TestApp) {
    let other = app.another_server().await;
    let user = app.sign_up().await;
    at(app, &other, Method::GET, "/api/me", &user, None).await.ok(200);
    delete(app, &user, PASSWORD).await.ok(204);
    for path in ["/api/me", "/api/bookings"] {
        at(app, &other, Method::GET, path, &user, None).await.problem(401, "unauthenticated");
    }
    at(app, &other, Method::POST, "/api/bookings", &user, Some(&seat(app, 0))).await.problem(401, "unauthenticated");
    let again = json!({ "current_password": PASSWORD });
    at(app, &other, Method::DELETE, "/api/me", &user, Some(&again)).await.problem(401, "unauthenticated");
    other.stop().await.unwrap();
}

async fn session_ended_at_one_server_ends_at_the_other_within_a_second(app: &TestApp) {
    let other = app.another_server().await;
    let user = app.sign_up().await;
    let phone = app.login(&user.email, PASSWORD).await.user();
    at(app, &other, Method::GET, "/api/me", &phone, None).await.ok(200);
    end_session(app, &user, current(app, &phone).await).await.ok(204);
    // Commands that write claims read the session itself.
    at(app, &other, Method::POST, "/api/bookings", &phone, Some(&seat(app, 0))).await.problem(401, "unauthenticated");
    // The cached session is valid there for a second. The test waits longer, so that a slow machine makes no difference.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    at(app, &other, Method::GET, "/api/me", &phone, None)
        .await
        .problem(401, "unauthenticated")
        .snapshot("session_ended");
    for body in [seat(app, 0), json!({ "show_id": "none" })] {
        at(app, &other, Method::POST, "/api/bookings", &phone, Some(&body)).await.problem(401, "unauthenticated");
    }
    at(app, &other, Method::GET, "/api/me", &user, None).await.ok(200);
    assert_eq!(app.rows("bookings").await, 0);
    other.stop().await.unwrap();
}
