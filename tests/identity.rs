//! Sign-up, login, logout, sessions and tokens.

use argon2::password_hash::PasswordHasher as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::admin::ChangeOrigin;
use domain::identity::{Email, PasswordHash};
use domain::ids::UserId;
use futures::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, JWT_SECRET, PASSWORD, TestApp, User};
use crate::openapi::{self, calls_with_a_session, operations};

on_both_stores!(
    signing_up_logs_in,
    sign_up_with_a_taken_address_is_refused,
    ten_concurrent_sign_up_requests_create_one_account,
    sign_up_ignores_a_requested_role,
    login_returns_tokens,
    unknown_and_known_addresses_are_refused_alike,
    passwords_are_not_trimmed_and_may_contain_any_character,
    password_is_the_same_in_every_encoding,
    password_hash_of_an_earlier_version_still_works_and_is_replaced,
    names_and_addresses_with_hidden_characters_are_rejected,
    names_keep_joiners_that_join,
    account_with_a_hidden_character_in_its_address_can_still_log_in,
    me_returns_the_caller,
    a_refresh_token_works_once,
    a_second_use_ends_the_whole_family,
    ten_concurrent_refreshes_return_at_most_one_pair,
    refresh_token_expires,
    logging_out_ends_the_session,
    invalid_tokens_are_refused,
    tampered_token_is_refused,
    tokens_are_refused_on_every_call_that_needs_one,
    the_scheme_is_read_in_any_case,
    public_calls_ignore_a_token_that_is_not_valid,
    a_previous_secret_is_still_good with ["JWT_SECRET_PREVIOUS" = "the secret of the day before, 0123456789abcdef"],
    a_new_password_ends_every_session,
);

async fn signing_up_logs_in(app: &TestApp) {
    let answer = app.register("  Ana Núñez ", " Ana@Example.org ", PASSWORD).await.ok(201).snapshot("register");
    let body = answer.json();
    assert_eq!(body["name"], "Ana Núñez");
    assert_eq!(body["email"], "Ana@Example.org");
    let me = app.me(&answer.user().token).await.ok(200).json();
    assert_eq!(me["id"], body["id"]);
}

async fn sign_up_with_a_taken_address_is_refused(app: &TestApp) {
    app.register("Ana", "ana.müller@example.org", PASSWORD).await.ok(201);
    for written in ["ana.müller@example.org", "ANA.MÜLLER@EXAMPLE.ORG", "  ana.mu\u{308}ller@example.org\t"] {
        let answer = app.register("Eve", written, "another password").await;
        answer.problem(409, "email_taken").snapshot("email_taken");
    }
    assert_eq!(app.rows("users").await, 1);
    app.login("Ana.Müller@Example.Org", PASSWORD).await.ok(200);
}

async fn ten_concurrent_sign_up_requests_create_one_account(app: &TestApp) {
    let answers = join_all((0..10).map(|_| app.register("Ana", "ana@example.org", PASSWORD))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "email_taken");
    }
    assert_eq!(app.rows("users").await, 1);
}

async fn sign_up_ignores_a_requested_role(app: &TestApp) {
    let body = json!({
        "name": "Eve", "email": "eve@example.org", "password": PASSWORD, "role": "admin", "id": 1, "session_generation": 9,
    });
    let answer = app.post("/api/auth/register").json(&body).send().await.ok(201);
    assert_eq!(answer.json()["role"], "customer");
    assert_eq!(app.me(&answer.user().token).await.json()["role"], "customer");
    let login = json!({ "email": "eve@example.org", "password": PASSWORD, "role": "admin" });
    assert_eq!(app.post("/api/auth/login").json(&login).send().await.ok(200).json()["role"], "customer");
}

async fn login_returns_tokens(app: &TestApp) {
    app.register("Ana", "ana@example.org", PASSWORD).await.ok(201);
    let answer = app.login(" ANA@example.org", PASSWORD).await.ok(200).snapshot("login");
    app.me(&answer.user().token).await.ok(200);
    assert_eq!(answer.json()["expires_in"], 3600);
}

async fn unknown_and_known_addresses_are_refused_alike(app: &TestApp) {
    app.register("Ana", "ana@example.org", PASSWORD).await.ok(201);
    let told = |answer: Answer| {
        let mut body = answer.problem(401, "invalid_credentials").snapshot("invalid_credentials").json();
        body["request_id"] = Value::Null;
        body
    };
    let wrong = told(app.login("ana@example.org", "wrong password").await);
    for (email, password) in [
        ("nobody@example.org", PASSWORD),
        ("nobody@example.org", "wrong password"),
        ("ana@example.org", "Correct horse battery"),
        ("ana@example.org", " correct horse battery"),
        ("ana@example.org", ""),
        ("no address", PASSWORD),
        ("", ""),
    ] {
        assert_eq!(told(app.login(email, password).await), wrong, "{email:?} {password:?}");
    }
    let long = "x".repeat(10_000);
    assert_eq!(told(app.login("ana@example.org", &long).await), wrong);
    assert_eq!(told(app.login(&format!("{long}@example.org"), PASSWORD).await), wrong);
}

async fn passwords_are_not_trimmed_and_may_contain_any_character(app: &TestApp) {
    let passwords = ["  spaces  ", "nul\0\u{1}\u{7f}char", "пароль из кириллицы", "🎬🎬🎬🎬🎬🎬🎬🎬", "\"quo\\ted\"\n"];
    for (number, password) in passwords.into_iter().enumerate() {
        let email = format!("p{number}@example.org");
        app.register("Ana", &email, password).await.ok(201);
        app.login(&email, password).await.ok(200);
        app.login(&email, password.trim_end()).await.ok(if password.trim_end() == password { 200 } else { 401 });
    }
    // Characters are counted as code points.
    let longest = "ß".repeat(128);
    app.register("Ana", "longest@example.org", &longest).await.ok(201);
    app.login("longest@example.org", &longest).await.ok(200);
    assert_eq!(app.register("Ana", "l@example.org", &"ß".repeat(129)).await.mistakes(), ["password too_long"]);
    assert_eq!(app.register("Ana", "l@example.org", "🎬🎬🎬🎬🎬🎬🎬").await.mistakes(), ["password too_short"]);
}

/// A password in decomposed form and with an ideographic space, as some keyboards produce it.
const TYPED: &str = "schön\u{3000}gro\u{df} Ko\u{308}nig";
/// The same password in normalization form C, with U+0020.
const PREPARED: &str = "sch\u{f6}n gro\u{df} K\u{f6}nig";

async fn password_is_the_same_in_every_encoding(app: &TestApp) {
    for (number, (first, second)) in [(TYPED, PREPARED), (PREPARED, TYPED)].into_iter().enumerate() {
        let email = format!("p{number}@example.org");
        app.register("Ana", &email, first).await.ok(201);
        let user = app.login(&email, second).await.ok(200).user();
        app.login(&email, &second.to_uppercase()).await.problem(401, "invalid_credentials");
        let change = json!({ "password": "another\u{a0}pa\u{308}ssword", "current_password": second });
        let changed = app.call(Method::PATCH, "/api/me").by(&user).json(&change).send().await.ok(200).json();
        app.login(&email, "another p\u{e4}ssword").await.ok(200);
        let token = changed["token"].as_str().unwrap();
        let delete = json!({ "current_password": "another p\u{e4}ssword" });
        app.call(Method::DELETE, "/api/me").token(token).json(&delete).send().await.ok(204);
    }
    // Characters are counted after preparation.
    let mistakes = app.register("Ana", "p@example.org", &"o\u{308}".repeat(7)).await.mistakes();
    assert_eq!(mistakes, ["password too_short"]);
    app.register("Ana", "p@example.org", &"o\u{308}".repeat(128)).await.ok(201);
    app.login("p@example.org", &"\u{f6}".repeat(128)).await.ok(200);
}

async fn password_hash_of_an_earlier_version_still_works_and_is_replaced(app: &TestApp) {
    let user = app.sign_up().await;
    let email = Email::parse(&user.email).unwrap();
    let users = &app.backend.stores().users;
    // Earlier versions hashed the password without preparing it.
    let old = PasswordHash(argon2::Argon2::default().hash_password(TYPED.as_bytes()).unwrap().to_string());
    users.reset_password(&email, &old, &ChangeOrigin::command_line("test")).await.unwrap().unwrap();
    app.login(&user.email, PREPARED).await.problem(401, "invalid_credentials");
    let session = app.login(&user.email, TYPED).await.ok(200).user();
    let renewed = users.account(UserId(user.id)).await.unwrap().unwrap().password_hash;
    assert!(renewed.0 != old.0);
    for password in [PREPARED, TYPED] {
        app.login(&user.email, password).await.ok(200);
    }
    app.me(&session.token).await.ok(200);
    app.refresh(&session.refresh_token).await.ok(200);
    // The other calls that take a password accept the earlier form too.
    users.reset_password(&email, &old, &ChangeOrigin::command_line("test")).await.unwrap().unwrap();
    let again = users.by_email(&email).await.unwrap().unwrap().user;
    let first = app.login(&user.email, TYPED).await.ok(200).user();
    users.replace_hash(again.id, &users.account(again.id).await.unwrap().unwrap().password_hash, &old).await.unwrap();
    let change = json!({ "email": "ana@example.org", "current_password": TYPED });
    app.call(Method::PATCH, "/api/me").by(&first).json(&change).send().await.ok(200);
    let delete = json!({ "current_password": TYPED });
    app.call(Method::DELETE, "/api/me").by(&first).json(&delete).send().await.ok(204);
}

/// Zero-width space, joiners, bidirectional override, blank letters, soft hyphen, byte order mark, grapheme joiner, tag,
/// private use.
const HIDDEN: [char; 14] = [
    '\u{200b}',
    '\u{200c}',
    '\u{200d}',
    '\u{202e}',
    '\u{2066}',
    '\u{2800}',
    '\u{3164}',
    '\u{115f}',
    '\u{ffa0}',
    '\u{ad}',
    '\u{feff}',
    '\u{34f}',
    '\u{e0041}',
    '\u{e000}',
];

async fn names_and_addresses_with_hidden_characters_are_rejected(app: &TestApp) {
    let user = app.sign_up().await;
    let rename = |name: &str| app.call(Method::PATCH, "/api/me").by(&user).json(&json!({ "name": name })).send();
    let mut names: Vec<_> = HIDDEN.iter().flat_map(|hidden| [format!("An{hidden}a"), format!("Ana{hidden}")]).collect();
    names.extend(HIDDEN.map(String::from));
    names.extend(["A\u{2028}na", "Ana\u{2029}", "A\nna", "A\0na"].map(str::to_owned));
    for name in names {
        let mistakes = app.register(&name, "kim@example.org", PASSWORD).await.mistakes();
        assert_eq!(mistakes, ["name invalid_character"], "{name:?}");
        assert_eq!(rename(&name).await.mistakes(), ["name invalid_character"], "{name:?}");
    }
    for blank in ["\u{301}", "\u{3000}", "\u{a0} "] {
        assert_eq!(app.register(blank, "kim@example.org", PASSWORD).await.mistakes(), ["name too_short"], "{blank:?}");
    }
    for hidden in HIDDEN.into_iter().chain(['\u{fe0f}', '\u{2028}']) {
        for email in
            [format!("kim@example.org{hidden}"), format!("{hidden}kim@example.org"), format!("k{hidden}im@example.org")]
        {
            let mistakes = app.register("Kim", &email, PASSWORD).await.mistakes();
            assert_eq!(mistakes, ["email invalid_character"], "{email:?}");
            let change = json!({ "email": email, "current_password": PASSWORD });
            let answer = app.call(Method::PATCH, "/api/me").by(&user).json(&change).send().await;
            assert_eq!(answer.mistakes(), ["email invalid_character"], "{email:?}");
            // No account has such an address.
            app.login(&email, PASSWORD).await.problem(401, "invalid_credentials");
        }
    }
    assert_eq!(app.rows("users").await, 1);
    let told = app.register("A\u{200b}na", "kim@example.org", PASSWORD).await.json();
    assert!(told["message"].as_str().unwrap().contains("U+200B"), "{told}");
}

async fn names_keep_joiners_that_join(app: &TestApp) {
    for (number, name) in
        ["می\u{200c}نا", "👩🏽\u{200d}🚀", "ශ්\u{200d}රී", "❤\u{fe0f} Ana", "葛\u{e0100}"].into_iter().enumerate()
    {
        let answer = app.register(name, &format!("n{number}@example.org"), PASSWORD).await.ok(201);
        assert_eq!(answer.json()["name"], name);
        assert_eq!(app.me(&answer.user().token).await.json()["name"], name);
    }
    // Stored in normalization form C.
    let answer = app.register("  Ame\u{301}lie ", "amelie@example.org", PASSWORD).await.ok(201);
    assert_eq!(answer.json()["name"], "Am\u{e9}lie");
}

async fn account_with_a_hidden_character_in_its_address_can_still_log_in(app: &TestApp) {
    let user = app.sign_up().await;
    let hidden = "kim@example.org\u{200b}";
    let (text, folded) = (hidden.to_owned(), domain::text::fold(hidden));
    let sql = format!("UPDATE users SET email = '{text}', email_folded = '{folded}' WHERE id = {}", user.id);
    app.backend.execute(&sql).await;
    let session = app.login(hidden, PASSWORD).await.ok(200).user();
    app.login(&format!("  {} ", hidden.to_uppercase()), PASSWORD).await.ok(200);
    app.login("kim@example.org", PASSWORD).await.problem(401, "invalid_credentials");
    let change = json!({ "email": "kim@example.org", "current_password": PASSWORD });
    app.call(Method::PATCH, "/api/me").by(&session).json(&change).send().await.ok(200);
    app.login("kim@example.org", PASSWORD).await.ok(200);
}

async fn me_returns_the_caller(app: &TestApp) {
    let user = app.sign_up().await;
    app.me(&user.token).await.ok(200).snapshot("me");
    let nobody = app.get("/api/me").send().await;
    nobody.problem(401, "unauthenticated").snapshot("unauthenticated");
}

async fn a_refresh_token_works_once(app: &TestApp) {
    let user = app.sign_up().await;
    let answer = app.refresh(&user.refresh_token).await.ok(200).snapshot("refresh");
    let next = answer.user();
    assert_ne!(next.refresh_token, user.refresh_token);
    assert_eq!(next.id, user.id);
    app.me(&next.token).await.ok(200);
    let after = app.refresh(&next.refresh_token).await.user();
    app.me(&after.token).await.ok(200);
}

async fn a_second_use_ends_the_whole_family(app: &TestApp) {
    let user = app.sign_up().await;
    let elsewhere = app.login(&user.email, PASSWORD).await.user();
    let second = app.refresh(&user.refresh_token).await.user();
    let newest = app.refresh(&second.refresh_token).await.user();
    let reused = app.refresh(&user.refresh_token).await;
    reused.problem(401, "unauthenticated").snapshot("refresh_refused");
    for dead in [&newest, &second, &user] {
        app.refresh(&dead.refresh_token).await.problem(401, "unauthenticated");
    }
    // The other session is another family.
    app.refresh(&elsewhere.refresh_token).await.ok(200);
    for unknown in ["x", "not a token", &"A".repeat(43)] {
        app.refresh(unknown).await.problem(401, "unauthenticated").snapshot("refresh_refused");
    }
}

async fn ten_concurrent_refreshes_return_at_most_one_pair(app: &TestApp) {
    let user = app.sign_up().await;
    let answers = join_all((0..10).map(|_| app.refresh(&user.refresh_token))).await;
    let pairs: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(pairs.len() <= 1, "{pairs:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.clone().problem(401, "unauthenticated");
    }
    // The second rotation has ended the family.
    for pair in pairs {
        app.refresh(&pair.user().refresh_token).await.problem(401, "unauthenticated");
    }
}

async fn refresh_token_expires(app: &TestApp) {
    let user = app.sign_up().await;
    // Expiry is judged by the store's clock, so the stored instant is moved back by a day.
    let past = app.backend.instant(-86_400);
    app.backend.execute(&format!("UPDATE refresh_tokens SET expires_at = {past}")).await;
    app.refresh(&user.refresh_token).await.problem(401, "unauthenticated");
}

async fn log_out(app: &TestApp, refresh_token: &str) -> Answer {
    app.post("/api/auth/logout").json(&json!({ "refresh_token": refresh_token })).send().await
}

async fn logging_out_ends_the_session(app: &TestApp) {
    let user = app.sign_up().await;
    let elsewhere = app.login(&user.email, PASSWORD).await.user();
    let newest = app.refresh(&user.refresh_token).await.user();
    let answer = log_out(app, &newest.refresh_token).await.ok(204).snapshot("logout");
    assert!(answer.bytes.is_empty());
    app.refresh(&newest.refresh_token).await.problem(401, "unauthenticated");
    app.refresh(&elsewhere.refresh_token).await.ok(200);
    // Logging out of an unknown session succeeds.
    log_out(app, &newest.refresh_token).await.ok(204);
    log_out(app, "nobody's").await.ok(204);
    let mistakes = app.post("/api/auth/logout").json(&json!({})).send().await;
    assert_eq!(mistakes.snapshot("logout_without_token").mistakes(), ["refresh_token required"]);
}

/// The claims of a valid token of this user.
fn claims(user: &User) -> Value {
    let now = chrono::Utc::now().timestamp();
    json!({
        "iss": "movie-booking", "aud": "movie-booking-api", "sub": user.id.to_string(), "role": "customer", "gen": 1,
        "iat": now, "nbf": now, "exp": now + 600,
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Tokens that must not be accepted for this user.
fn bad_tokens(user: &User) -> Vec<(&'static str, String)> {
    let now = chrono::Utc::now().timestamp();
    let good = claims(user);
    let ours = |claims: Value| signed(Algorithm::HS256, JWT_SECRET, &claims);
    let mut without_expiry = good.clone();
    without_expiry.as_object_mut().unwrap().remove("exp");
    vec![
        ("expired", ours(with(good.clone(), "exp", (now - 1).into()))),
        ("not valid yet", ours(with(good.clone(), "nbf", (now + 600).into()))),
        ("made in the future", ours(with(good.clone(), "iat", (now + 600).into()))),
        ("without an end", ours(without_expiry)),
        ("of another issuer", ours(with(good.clone(), "iss", "somebody".into()))),
        ("for another audience", ours(with(good.clone(), "aud", "somebody".into()))),
        ("of an unknown role", ours(with(good.clone(), "role", "owner".into()))),
        ("of no user", ours(with(good.clone(), "sub", "everybody".into()))),
        ("of another algorithm", signed(Algorithm::HS512, JWT_SECRET, &good)),
        ("of another secret", signed(Algorithm::HS256, "another secret, as long as the one in use", &good)),
        ("of no secret", unsigned(&json!({ "alg": "none", "typ": "JWT" }), &good, "")),
        ("of no algorithm", unsigned(&json!({ "typ": "JWT" }), &good, "")),
        ("without a signature", unsigned(&json!({ "alg": "HS256", "typ": "JWT" }), &good, "")),
        ("empty", String::new()),
        ("no token", "nonsense".to_owned()),
        ("a refresh token", user.refresh_token.clone()),
        ("far too long", "x".repeat(10_000)),
    ]
}

async fn invalid_tokens_are_refused(app: &TestApp) {
    app.connect_directly("nginx refuses headers of more than 8 kB");
    let user = app.sign_up().await;
    // Check that the claims are valid. Otherwise the test would pass for the wrong reason.
    app.me(&signed(Algorithm::HS256, JWT_SECRET, &claims(&user))).await.ok(200);
    for (what, token) in bad_tokens(&user) {
        let answer = app.me(&token).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.problem(401, "unauthenticated").snapshot("unauthenticated");
    }
    let of_nobody = with(claims(&user), "sub", i64::MAX.to_string().into());
    app.me(&signed(Algorithm::HS256, JWT_SECRET, &of_nobody)).await.problem(401, "unauthenticated");
}

async fn tampered_token_is_refused(app: &TestApp) {
    let user = app.sign_up().await;
    for at in (0..user.token.len()).step_by(7) {
        let mut token = user.token.clone().into_bytes();
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(token).unwrap();
        app.me(&token).await.problem(401, "unauthenticated");
    }
    let [header, _, signature] = user.token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let admin = URL_SAFE_NO_PAD.encode(with(claims(&user), "role", "admin".into()).to_string());
    app.me(&format!("{header}.{admin}.{signature}")).await.problem(401, "unauthenticated");
}

async fn tokens_are_refused_on_every_call_that_needs_one(app: &TestApp) {
    app.connect_directly("nginx refuses headers of more than 8 kB");
    let user = app.sign_up().await;
    for call in calls_with_a_session(app) {
        call.send().await.problem(401, "unauthenticated").snapshot("unauthenticated");
    }
    for (what, token) in bad_tokens(&user) {
        for call in calls_with_a_session(app) {
            let answer = call.token(&token).send().await;
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
        }
    }
    for call in calls_with_a_session(app) {
        call.by(&user).by(&user).send().await.problem(401, "unauthenticated");
    }
    for scheme in ["Basic", "Token"] {
        for call in calls_with_a_session(app) {
            let answer = call.header("authorization", format!("{scheme} {}", user.token)).send().await;
            answer.problem(401, "unauthenticated");
        }
    }
    assert_eq!(app.rows("bookings").await, 0);
}

async fn the_scheme_is_read_in_any_case(app: &TestApp) {
    let user = app.sign_up().await;
    for scheme in ["bearer", "BEARER", "Bearer"] {
        app.get("/api/me").header("authorization", format!("{scheme} {}", user.token)).send().await.ok(200);
    }
}

async fn public_calls_ignore_a_token_that_is_not_valid(app: &TestApp) {
    app.connect_directly("nginx refuses headers of more than 8 kB");
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, app.world.row(0)[0].0);
    app.book(&user, "k", &json!({ "show_id": show, "seat_id": seat })).await.ok(201);
    let ids = openapi::ids(app, &user).await;
    let public = operations().iter().filter(|operation| {
        let is_json = operation.responses["200"]["content"]["application/json"].is_object();
        operation.method == Method::GET && !operation.session.needs_token() && is_json
    });
    let mut checked = 0;
    for operation in public {
        let anonymous = operation.call(app, &ids).send().await.ok(200);
        for (what, token) in bad_tokens(&user) {
            let answer = operation.call(app, &ids).token(&token).send().await.ok(200);
            assert_eq!(answer.json(), anonymous.json(), "{}, {what}", operation.path);
            assert_eq!(answer.header("etag"), anonymous.header("etag"), "{}, {what}", operation.path);
        }
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
    let bad = "nonsense";
    let login = json!({ "email": user.email, "password": PASSWORD });
    let next = app.post("/api/auth/login").token(bad).json(&login).send().await.user();
    let refresh = json!({ "refresh_token": next.refresh_token });
    let next = app.post("/api/auth/refresh").token(bad).json(&refresh).send().await.user();
    let end = json!({ "refresh_token": next.refresh_token });
    app.post("/api/auth/logout").token(bad).json(&end).send().await.ok(204);
    let new = json!({ "name": "Eve", "email": "eve@example.org", "password": PASSWORD });
    app.call(Method::POST, "/api/auth/register").token(bad).json(&new).send().await.ok(201);
}

async fn a_previous_secret_is_still_good(app: &TestApp) {
    let user = app.sign_up().await;
    let previous = signed(Algorithm::HS256, "the secret of the day before, 0123456789abcdef", &claims(&user));
    app.me(&previous).await.ok(200);
    app.me(&user.token).await.ok(200);
}

async fn a_new_password_ends_every_session(app: &TestApp) {
    let user = app.sign_up().await;
    let other = app.sign_up().await;
    let (show, row) = (app.world.soon.0, app.world.row(0));
    let body = json!({ "show_id": show, "seat_id": row[0].0 });
    app.book(&user, "before", &body).await.ok(201);
    // An administrator does this on the command line. The hash matches no password, which makes no difference here.
    let email = Email::parse(&user.email).unwrap();
    let hash = PasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA".into());
    app.backend
        .stores()
        .users
        .reset_password(&email, &hash, &ChangeOrigin::command_line("test"))
        .await
        .unwrap()
        .unwrap();
    app.me(&user.token).await.problem(401, "unauthenticated").snapshot("session_ended");
    app.get("/api/bookings").by(&user).send().await.problem(401, "unauthenticated").snapshot("session_ended");
    app.get("/api/bookings/1").by(&user).send().await.problem(401, "unauthenticated").snapshot("session_ended");
    let next = json!({ "show_id": show, "seat_id": row[1].0 });
    app.book(&user, "after", &next).await.problem(401, "unauthenticated").snapshot("session_ended");
    app.book(&user, "before", &body).await.problem(401, "unauthenticated");
    app.refresh(&user.refresh_token).await.problem(401, "unauthenticated");
    assert_eq!(app.rows("bookings").await, 1);
    app.me(&other.token).await.ok(200);
}
