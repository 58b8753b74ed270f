//! The database fails and recovers while the server runs.

use futures::future::join_all;
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Call, PASSWORD, TestApp, User};
use crate::openapi::{self, operations};

on_postgres_without_pooler!(
    calls_that_need_the_database_are_unavailable_until_it_is_back,
    calls_that_need_no_database_still_work,
    bookings_during_an_outage_are_created_once,
    database_that_was_read_only_for_a_moment_is_used_again,
);

fn seat(app: &TestApp, at: usize) -> serde_json::Value {
    json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 })
}

/// Returns every call that needs the database, with its status while the database works.
fn calls(app: &TestApp, user: &User, refresh_token: &str, movie: i64, theatre: i64, round: usize) -> Vec<(Call, u16)> {
    let show = app.world.soon;
    let new = json!({ "name": "Eve", "email": format!("eve{round}@example.org"), "password": PASSWORD });
    let get = |path: String| (app.get(&path).by(user), 200);
    vec![
        (app.post("/api/auth/register").json(&new), 201),
        (app.post("/api/auth/login").json(&json!({ "email": user.email, "password": PASSWORD })), 200),
        (app.post("/api/auth/login").json(&json!({ "email": "nobody@example.org", "password": PASSWORD })), 401),
        (app.post("/api/auth/refresh").json(&json!({ "refresh_token": refresh_token })), 200),
        (app.post("/api/auth/logout").json(&json!({ "refresh_token": "nobody's" })), 204),
        get("/api/me".to_owned()),
        get("/api/me/sessions".to_owned()),
        get("/api/me/export".to_owned()),
        (app.call(Method::PATCH, "/api/me").by(user).json(&json!({ "name": "Ana" })), 200),
        (app.call(Method::DELETE, "/api/me").by(user).json(&json!({ "current_password": "wrong" })), 403),
        (app.call(Method::DELETE, "/api/me/sessions/9999999").by(user), 404),
        get("/api/movies".to_owned()),
        get("/api/movies?date=2026-01-01".to_owned()),
        get(format!("/api/movies/{movie}")),
        get(format!("/api/movies/{movie}/shows")),
        get("/api/shows".to_owned()),
        get(format!("/api/shows/{show}")),
        get(format!("/api/shows/{show}/seats")),
        get("/api/theatres".to_owned()),
        get(format!("/api/theatres/{theatre}")),
        get("/api/bookings".to_owned()),
        (app.get("/api/bookings/9999999").by(user), 404),
        (app.post("/api/bookings").by(user).key(&format!("key-{round}")).json(&seat(app, round)), 201),
    ]
}

async fn calls_that_need_the_database_are_unavailable_until_it_is_back(app: &TestApp) {
    let mut user = app.sign_up().await;
    let first = async |list: &str| app.get(list).send().await.column("id")[0].as_i64().unwrap();
    let (movie, theatre) = (first("/api/movies").await, first("/api/theatres").await);
    let ids = openapi::ids(app, &user).await;
    for round in 0..2 {
        let next = app.login(&user.email, PASSWORD).await.user();
        app.backend.database().take_down().await.unwrap();
        for (call, _) in calls(app, &user, &next.refresh_token, movie, theatre, round) {
            call.send().await.problem(503, "unavailable").snapshot("unavailable");
        }
        let ids = &ids;
        for operation in operations().iter().filter(|operation| operation.has_code(503, "unavailable")) {
            let answer = operation.call(app, ids).by(&user).key("a-key").send().await;
            // Where a body is required, an empty one may be refused first.
            assert!(answer.status == 503 || operation.needs_body() && answer.status == 400, "{answer:?}");
        }
        app.backend.database().bring_up().await.unwrap();
        for (call, status) in calls(app, &user, &next.refresh_token, movie, theatre, round) {
            call.send().await.ok(status);
        }
        user = app.login(&user.email, PASSWORD).await.user();
    }
    // One booking by `ids`, and one in each round.
    assert_eq!(app.rows("bookings").await, 3);
}

async fn calls_that_need_no_database_still_work(app: &TestApp) {
    app.get("/readyz").send().await.ok(200).snapshot("ready_on_postgresql");
    app.backend.database().take_down().await.unwrap();
    app.get("/healthz").send().await.ok(200);
    let ready = app.get("/readyz").send().await.ok(503).snapshot("not_ready_on_postgresql");
    assert_eq!(ready.json()["dependencies"]["postgresql"], "unavailable");
    app.get("/docs/").send().await.ok(200);
    app.get("/api/openapi.json").send().await.ok(200);
    app.get("/api/nothing").send().await.problem(404, "not_found");
    app.get("/api/me").send().await.problem(401, "unauthenticated");
    app.get("/api/movies/0").send().await.problem(400, "validation_failed");
    app.post("/api/auth/register").json(&json!({})).send().await.problem(400, "validation_failed");
    app.post("/api/bookings").json(&seat(app, 0)).send().await.problem(401, "unauthenticated");
    app.backend.database().bring_up().await.unwrap();
    app.get("/readyz").send().await.ok(200);
}

async fn bookings_during_an_outage_are_created_once(app: &TestApp) {
    let user = app.sign_up().await;
    let book = async |at: usize| app.book(&user, &format!("key-{at}"), &seat_anywhere(app, at)).await;
    let attempt = async || join_all((0..60).map(&book)).await;
    let break_it = async || {
        for _ in 0..3 {
            app.backend.break_backend().await;
            app.backend.database().bring_up().await.unwrap();
        }
    };
    let (first, ()) = futures::join!(attempt(), break_it());
    for answer in &first {
        assert!(matches!(answer.status, 201 | 503), "{answer:?}");
    }
    let second = attempt().await;
    for (before, after) in first.iter().zip(&second) {
        assert_eq!(after.status, 201, "{after:?}");
        if before.status == 201 {
            assert_eq!(after.bytes, before.bytes, "what was acknowledged is answered again");
        }
    }
    assert_eq!(app.rows("bookings").await, 60);
    assert_eq!(app.rows("seat_claims").await, 60);
    assert_eq!(app.rows("outbox").await, 60);
    let replayed = attempt().await;
    assert!(replayed.iter().all(|answer: &Answer| answer.header("idempotent-replayed") == Some("true")));
}

/// Returns a seat of one of two shows, so that every committer is used.
fn seat_anywhere(app: &TestApp, at: usize) -> serde_json::Value {
    if at.is_multiple_of(2) {
        seat(app, at)
    } else {
        json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[at].id.0 })
    }
}

/// As during a switchover. Sessions opened in the read-only interval would stay read-only.
async fn database_that_was_read_only_for_a_moment_is_used_again(app: &TestApp) {
    let user = app.sign_up().await;
    let book = |at: usize| app.post("/api/bookings").by(&user).key(&format!("key-{at}")).json(&seat(app, at));
    book(0).send().await.ok(201);
    let database = app.backend.database();
    let name = &database.name;
    app.backend.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    database.take_down().await.unwrap();
    database.bring_up().await.unwrap();
    for _ in 0..3 {
        app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200);
        book(1).send().await.problem(503, "unavailable");
        let profile = json!({ "name": "Ana" });
        app.call(Method::PATCH, "/api/me").by(&user).json(&profile).send().await.problem(503, "unavailable");
        let ready = app.get("/readyz").send().await.ok(503);
        assert_eq!(ready.json()["dependencies"]["postgresql"], "unavailable");
    }
    let reset = format!("SET transaction_read_only = off; ALTER DATABASE {name} RESET default_transaction_read_only");
    app.backend.execute(&reset).await;
    book(1).send().await.ok(201);
    app.call(Method::PATCH, "/api/me").by(&user).json(&json!({ "name": "Ana" })).send().await.ok(200);
    app.get("/readyz").send().await.ok(200);
    assert_eq!(app.rows("bookings").await, 2);
}
