//! Idempotency keys: a retry returns the first answer and never books again.

use std::collections::HashSet;

use futures::future::join_all;
use port_contracts::Fixture as _;
use port_contracts::world::cancel_show;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::{Answer, PASSWORD, TestApp, User};

on_both_stores!(
    retry_returns_the_same_bytes,
    retry_returns_the_first_answer_after_later_changes,
    a_key_with_another_request_is_refused,
    a_key_belongs_to_its_user,
    a_refused_key_stays_free,
    field_order_and_white_space_do_not_matter,
    a_quoted_key_is_the_same_as_bare,
    keys_of_any_visible_character_are_taken,
    invalid_keys_are_refused,
    other_calls_ignore_the_key,
    fifty_concurrent_identical_requests_are_one_booking,
    two_concurrent_requests_with_one_key_are_one_booking,
    a_key_has_one_scope_however_the_path_is_spelled,
    retry_after_a_disconnect_creates_one_booking,
    incomplete_body_books_nothing,
);

fn body(app: &TestApp, at: usize) -> Value {
    json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 })
}

#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(first.header("idempotent-replayed"), None);
}

async fn retry_returns_the_same_bytes(app: &TestApp) {
    let user = app.sign_up().await;
    let first = app.book(&user, "k", &body(app, 0)).await.ok(201);
    for _ in 0..3 {
        assert_replay(&first, &app.book(&user, "k", &body(app, 0)).await.snapshot("book_replayed"));
    }
    // Also after another login: the key belongs to the user.
    let elsewhere = app.login(&user.email, PASSWORD).await.user();
    assert_replay(&first, &app.book(&elsewhere, "k", &body(app, 0)).await);
    assert_eq!(app.rows("bookings").await, 1);
    assert_eq!(app.seats_available(app.world.soon.0).await, 59);
}

async fn retry_returns_the_first_answer_after_later_changes(app: &TestApp) {
    let user = app.sign_up().await;
    let first = app.book(&user, "k", &body(app, 0)).await.ok(201);
    app.backend.execute("DELETE FROM seat_claims").await;
    app.backend
        .execute(&format!("UPDATE bookings SET status = 'cancelled', cancelled_at = {}", app.backend.instant(0)))
        .await;
    cancel_show(&app.backend, app.world.soon).await;
    assert_replay(&first, &app.book(&user, "k", &body(app, 0)).await);
    // The seat is free, and the key does not book it again.
    assert_eq!(app.rows("seat_claims").await, 0);
}

async fn a_key_with_another_request_is_refused(app: &TestApp) {
    let user = app.sign_up().await;
    let first = app.book(&user, "k", &body(app, 0)).await.ok(201);
    let others = [
        body(app, 1),
        json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[0].id.0 }),
        json!({ "show_id": app.world.soon.0, "seat_ids": [app.world.main[0].id.0] }),
        json!({ "show_id": app.world.soon.0, "seat_ids": [app.world.main[0].id.0, app.world.main[1].id.0] }),
    ];
    for other in others {
        let answer = app.book(&user, "k", &other).await;
        answer.problem(422, "idempotency_key_reused").snapshot("idempotency_key_reused");
    }
    assert_eq!(app.rows("bookings").await, 1);
    assert_replay(&first, &app.book(&user, "k", &body(app, 0)).await);
}

async fn a_key_belongs_to_its_user(app: &TestApp) {
    let (one, other) = (app.sign_up().await, app.sign_up().await);
    let first = app.book(&one, "k", &body(app, 0)).await.ok(201);
    app.book(&other, "k", &body(app, 0)).await.problem(409, "seat_unavailable");
    let second = app.book(&other, "k", &body(app, 1)).await.ok(201);
    assert_eq!(second.header("idempotent-replayed"), None);
    assert_replay(&first, &app.book(&one, "k", &body(app, 0)).await);
    assert_replay(&second, &app.book(&other, "k", &body(app, 1)).await);
}

async fn a_refused_key_stays_free(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    app.book(&other, "theirs", &body(app, 0)).await.ok(201);
    app.book(&user, "k", &body(app, 0)).await.problem(409, "seat_unavailable");
    app.book(&user, "k", &json!({ "show_id": app.world.started.0, "seat_id": 1 })).await.problem(404, "seat_not_found");
    app.book(&user, "k", &json!({ "show_id": "x" })).await.problem(400, "validation_failed");
    assert_eq!(app.rows("idempotency_keys").await, 1);
    let first = app.book(&user, "k", &body(app, 1)).await.ok(201);
    assert_replay(&first, &app.book(&user, "k", &body(app, 1)).await);
}

async fn field_order_and_white_space_do_not_matter(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let send = async |text: String| {
        app.post("/api/bookings").by(&user).key("k").body("application/json; charset=utf-8", text).send().await
    };
    let first =
        send(format!(r#"{{"show_id":{show},"seat_id":{seat},"note":{{"a":[1,2],"b":"\u00e9"}}}}"#)).await.ok(201);
    let same = [
        format!(r#"{{"seat_id":{seat},"note":{{"b":"é","a":[1,2]}},"show_id":{show}}}"#),
        format!(
            "\r\n {{\t\"note\" : {{ \"a\": [ 1 , 2 ], \"b\": \"é\" }}, \"show_id\": {show} ,\n\"seat_id\":{seat} }} \n"
        ),
    ];
    for text in same {
        assert_replay(&first, &send(text).await);
    }
    for text in [
        format!(r#"{{"show_id":{show},"seat_id":{seat},"note":{{"a":[2,1],"b":"é"}}}}"#),
        format!(r#"{{"show_id":{show},"seat_id":{seat}}}"#),
    ] {
        send(text).await.problem(422, "idempotency_key_reused");
    }
}

async fn a_quoted_key_is_the_same_as_bare(app: &TestApp) {
    let user = app.sign_up().await;
    let first = app.book(&user, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &body(app, 0)).await.ok(201);
    assert_replay(&first, &app.book(&user, "8e03978e-40d5-43dd-bc93-6894a57f9324", &body(app, 0)).await);
    assert_replay(&first, &app.book(&user, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &body(app, 0)).await);
    // Several quoted strings are an ordinary key.
    let odd = app.book(&user, "\"a\",\"b\"", &body(app, 1)).await.ok(201);
    assert_replay(&odd, &app.book(&user, "\"a\",\"b\"", &body(app, 1)).await);
}

async fn keys_of_any_visible_character_are_taken(app: &TestApp) {
    let user = app.sign_up().await;
    let longest = "x".repeat(255);
    let quoted = format!("\"{}\"", "y".repeat(255));
    let every: String = ('!'..='~').collect();
    for (at, key) in ["k", &longest, &quoted, &every, "K", "'; DROP TABLE bookings; --".replace(' ', "_").as_str()]
        .into_iter()
        .enumerate()
    {
        let first = app.book(&user, key, &body(app, at)).await.ok(201);
        assert_replay(&first, &app.book(&user, key, &body(app, at)).await);
    }
}

async fn invalid_keys_are_refused(app: &TestApp) {
    let user = app.sign_up().await;
    let before = app.footprint().await;
    let post = || app.post("/api/bookings").by(&user).json(&body(app, 0));
    post().send().await.problem(400, "idempotency_key_missing").snapshot("key_missing");
    let too_long = "x".repeat(256);
    for wrong in [&b""[..], b"\"\"", b"a b", b"a\tb", "schlüssel".as_bytes(), b"\xff", too_long.as_bytes()] {
        let answer = post().header("idempotency-key", wrong).send().await;
        answer.problem(400, "idempotency_key_invalid").snapshot("key_invalid");
    }
    for second in ["one", "two"] {
        let twice = post().key("one").key(second).send().await;
        twice.problem(400, "idempotency_key_invalid").snapshot("key_twice");
    }
    assert_eq!(app.footprint().await, before);
}

async fn other_calls_ignore_the_key(app: &TestApp) {
    let new = |name: &str, email: &str| json!({ "name": name, "email": email, "password": PASSWORD });
    let one = app.post("/api/auth/register").key("k").json(&new("Ana", "ana@example.org")).send().await.ok(201);
    let two = app.post("/api/auth/register").key("k").json(&new("Eve", "eve@example.org")).send().await.ok(201);
    assert_ne!(one.user().id, two.user().id);
    let again = app.post("/api/auth/register").key("k").json(&new("Ana", "ana@example.org")).send().await;
    again.problem(409, "email_taken");
    app.get("/api/bookings").by(&one.user()).key("").send().await.ok(200);
}

/// Checks that of several responses to one request, one is the original and the others are replays with the same bytes.
fn assert_one_booking(answers: &[Answer]) {
    let bodies: HashSet<_> = answers.iter().map(|answer| answer.bytes.clone()).collect();
    assert!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    assert_eq!(bodies.len(), 1, "{answers:?}");
    let made = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!(made, 1, "one request made it");
}

async fn fifty_concurrent_identical_requests_are_one_booking(app: &TestApp) {
    let user = app.sign_up().await;
    for round in 0..4 {
        let key = format!("key-{round}");
        let body = json!({ "show_id": app.world.soon.0, "seat_ids": [app.world.main[round].id.0, app.world.main[round + 10].id.0] });
        let answers = join_all((0..50).map(|_| app.book(&user, &key, &body))).await;
        assert_one_booking(&answers);
    }
    assert_eq!(app.rows("bookings").await, 4);
    assert_eq!(app.rows("seat_claims").await, 8);
    assert_eq!(app.rows("outbox").await, 4);
}

async fn two_concurrent_requests_with_one_key_are_one_booking(app: &TestApp) {
    let user = app.sign_up().await;
    for round in 0..20 {
        let key = format!("key-{round}");
        // Seats of two shows, which two committers may process.
        let here = body(app, round);
        let there = json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[round].id.0 });
        let answers = join_all((0..4).map(|at| app.book(&user, &key, if at % 2 == 0 { &here } else { &there }))).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
        assert_one_booking(&made);
        assert_eq!(refused.len(), 2, "{refused:?}");
        for answer in refused {
            answer.problem(422, "idempotency_key_reused");
        }
    }
    assert_eq!(app.rows("bookings").await, 20);
}

/// Returns the bytes of a request to book.
fn raw_request(app: &TestApp, user: &User, key: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /api/bookings HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
        Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        app.authority,
        user.token,
        body.len()
    )
}

/// Sends the first bytes of a request and closes the connection.
async fn send_and_hang_up(app: &TestApp, bytes: &[u8]) {
    let mut connection = TcpStream::connect(&app.authority).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    drop(connection);
}

async fn a_key_has_one_scope_however_the_path_is_spelled(app: &TestApp) {
    app.connect_directly("proxies may change how a path is spelled");
    let user = app.sign_up().await;
    let show = app.world.soon;
    let hold = async |path: &str| app.post(path).by(&user).key("k").json(&json!({ "quantity": 1 })).send().await;
    let first = hold(&format!("/api/shows/{show}/holds")).await.ok(201);
    for path in [
        format!("/api/shows/{show}/%68olds"),
        format!("/api/shows/{show}/hold%73"),
        format!("/%61pi/shows/{show}/holds"),
        format!("/api/shows/%3{}/holds", show.to_string().chars().next().unwrap()),
        format!("//api/shows/{show}/holds"),
        format!("/api//shows/{show}/holds"),
        format!("/api/shows/{show}/holds/"),
        format!("/API/shows/{show}/holds"),
        format!("/api/shows/{show};/holds"),
        format!("/api/shows/{show}%2Fholds"),
        format!("/api/shows/0{show}/holds"),
        format!("/api/shows/+{show}/holds"),
    ] {
        let answer = hold(&path).await;
        assert!(matches!(answer.status, 400 | 404 | 405), "{path}: {answer:?}");
    }
    // The query is not part of the scope.
    for path in [format!("/api/shows/{show}/holds"), format!("/api/shows/{show}/holds?x=1")] {
        assert_replay(&first, &hold(&path).await);
    }
    assert_eq!(app.rows("holds").await, 1);
    let cancel = async |booking: &str| {
        app.post(&format!("/api/bookings/{booking}/cancel")).by(&user).key("c").send().await.status
    };
    let id = app.book(&user, "b", &body(app, 30)).await.booking()["id"].to_string();
    assert_eq!((cancel(&id).await, cancel(&format!("0{id}")).await), (200, 400));
    // Keys stored by the previous release still work: the scope is the method and the normalised path.
    let scopes = [
        format!("POST /api/shows/{show}/holds"),
        "POST /api/bookings".to_owned(),
        format!("POST /api/bookings/{id}/cancel"),
    ];
    for scope in scopes {
        let count = format!("SELECT COUNT(*) FROM idempotency_keys WHERE scope = '{scope}'");
        assert_eq!(app.backend.count(&count).await, 1, "{scope}");
    }
}

async fn retry_after_a_disconnect_creates_one_booking(app: &TestApp) {
    let user = app.sign_up().await;
    for at in 0..30 {
        let (key, body) = (format!("key-{at}"), body(app, at));
        let request = raw_request(app, &user, &key, &body);
        send_and_hang_up(app, request.as_bytes()).await;
        let again = app.book(&user, &key, &body).await.ok(201);
        let once_more = app.book(&user, &key, &body).await;
        assert_eq!(once_more.bytes, again.bytes);
        assert_eq!(once_more.header("idempotent-replayed"), Some("true"));
    }
    assert_eq!(app.rows("bookings").await, 30);
    assert_eq!(app.rows("seat_claims").await, 30);
}

async fn incomplete_body_books_nothing(app: &TestApp) {
    let user = app.sign_up().await;
    let other = app.sign_up().await;
    for at in 0..10 {
        let request = raw_request(app, &user, &format!("key-{at}"), &body(app, at));
        send_and_hang_up(app, &request.as_bytes()[..request.len() - 1 - at]).await;
    }
    for at in 0..10 {
        app.book(&other, &format!("key-{at}"), &body(app, at)).await.ok(201);
        app.book(&user, &format!("key-{at}"), &body(app, at)).await.problem(409, "seat_unavailable");
    }
    assert_eq!(app.rows("bookings").await, 10);
}
