//! Holds, and changing and cancelling bookings.

use chrono::{DateTime, Utc};
use port_contracts::Fixture as _;
use port_contracts::world::block;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, NOBODY, TestApp, User};

on_both_stores!(
    a_hold_keeps_seats_until_it_is_booked,
    the_best_seats_are_held_together,
    holds_are_visible_only_to_their_owner,
    a_hold_is_extended_to_thirty_minutes_at_most,
    released_hold_is_deleted_and_its_seats_are_free,
    expired_hold_is_reported_as_expired with ["HOLD_TTL" = "1s"],
    a_caller_holds_no_more_than_a_booking_may_have with ["MAX_SEATS_PER_BOOKING" = "3"],
    mistakes_in_a_hold_are_reported,
    keys_are_remembered_by_every_call,
    lost_seats_are_named_with_alternatives,
    single_seat_gap_is_refused_if_forbidden with ["SEAT_GAP_RULE" = "forbid"],
    show_sales_open_and_close_on_time,
    a_booking_is_cancelled_once_and_stays_in_the_history,
    a_booking_is_cancelled_until_its_cutoff with ["CANCELLATION_CUTOFF" = "4h"],
    booking_changes_its_seats,
    an_account_holds_a_limited_number_of_seats_over_all_shows,
    limit_of_held_seats_reports_when_to_retry with ["MAX_SEATS_PER_BOOKING" = "4", "MAX_HELD_SEATS" = "7"],
    holding_and_releasing_never_keeps_a_seat_beyond_thirty_minutes with ["HOLD_TTL" = "30min"],
    a_seat_whose_hold_time_is_used_up_is_refused_for_ten_minutes,
    cancellations_are_limited_for_each_day with ["CANCELLATIONS_PER_DAY" = "3"],
);

mod two_servers {
    use super::holds_of_one_caller_count_on_every_server;

    on_postgres!(holds_of_one_caller_count_on_every_server);
}

/// Returns the id of a seat of Alpha's Main hall, by its index in the hall.
fn seat(app: &TestApp, at: usize) -> i64 {
    app.world.main[at].id.0
}

fn seats<const N: usize>(app: &TestApp, at: [usize; N]) -> [i64; N] {
    at.map(|at| seat(app, at))
}

fn holds_path(app: &TestApp) -> String {
    format!("/api/shows/{}/holds", app.world.soon)
}

async fn hold(app: &TestApp, user: &User, key: &str, body: &Value) -> Answer {
    app.post(&holds_path(app)).by(user).key(key).json(body).send().await
}

async fn held(app: &TestApp, user: &User, at: &[usize]) -> Value {
    let ids: Vec<_> = at.iter().map(|at| seat(app, *at)).collect();
    hold(app, user, &format!("hold {at:?}").replace(' ', ""), &json!({ "seat_ids": ids })).await.ok(201).json()
}

async fn booked(app: &TestApp, user: &User, at: &[usize]) -> Value {
    let ids: Vec<_> = at.iter().map(|at| seat(app, *at)).collect();
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": ids });
    app.book(user, &format!("book {at:?}").replace(' ', ""), &body).await.booking()
}

fn path(hold: &Value) -> String {
    format!("/api/holds/{}", hold["id"].as_str().unwrap())
}

async fn status(app: &TestApp, at: usize) -> Value {
    app.seat(app.world.soon.0, seat(app, at), None).await["status"].clone()
}

async fn redeem(app: &TestApp, user: &User, key: &str, hold: &Value) -> Answer {
    app.book(user, key, &json!({ "hold_id": hold["id"] })).await
}

async fn a_hold_keeps_seats_until_it_is_booked(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let ids = seats(app, [21, 20]);
    let answer = hold(app, &ana, "k", &json!({ "seat_ids": ids })).await.snapshot("hold");
    let hold = answer.json();
    assert_eq!(answer.header("location"), Some(path(&hold).as_str()));
    assert_eq!((&hold["total"], &hold["currency"]), (&"25.00".into(), &"EUR".into()));
    assert_eq!(status(app, 20).await, "held");
    let mine = app.seat(app.world.soon.0, ids[0], Some(&ana)).await;
    assert_eq!((&mine["mine"], &mine["user_id"], &mine["status"]), (&true.into(), &ana.id.into(), &"held".into()));
    assert_eq!(app.seats_available(app.world.soon.0).await, 58);
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": ids });
    let lost = app.book(&bo, "k", &body).await.problem(409, "seat_unavailable").json();
    assert_eq!((&lost["seat_ids"], &lost["hold_id"]), (&json!(ids), &Value::Null));
    let own = app.book(&ana, "own", &body).await.problem(409, "seat_unavailable").json();
    assert_eq!(own["hold_id"], hold["id"]);
    redeem(app, &bo, "theirs", &hold).await.problem(404, "hold_not_found");
    let booking = redeem(app, &ana, "redeem", &hold).await.booking();
    assert_eq!(
        (&booking["seat_ids"], &booking["seats"], &booking["total"]),
        (&json!(ids), &hold["seats"], &hold["total"])
    );
    redeem(app, &ana, "again", &hold).await.problem(404, "hold_not_found");
    app.get(&path(&hold)).by(&ana).send().await.problem(404, "hold_not_found");
    assert_eq!(status(app, 20).await, "booked");
    assert_eq!((app.rows("holds").await, app.rows("bookings").await, app.rows("seat_claims").await), (0, 1, 2));
}

async fn the_best_seats_are_held_together(app: &TestApp) {
    let user = app.sign_up().await;
    let two = hold(app, &user, "two", &json!({ "quantity": 2 })).await.ok(201).json();
    let places: Vec<_> =
        two["seats"].as_array().unwrap().iter().map(|seat| (&seat["row"], seat["number"].as_i64().unwrap())).collect();
    assert_eq!((places[0].0, places[0].1 + 1), (places[1].0, places[1].1), "beside each other: {two}");
    let premium = json!({ "quantity": 3, "category": "premium", "accessible": false });
    let three = hold(app, &user, "three", &premium).await.ok(201).json();
    assert!(three["seats"].as_array().unwrap().iter().all(|seat| seat["category"] == "premium"), "{three}");
    for at in 0..60 {
        if status(app, at).await == "available" {
            block(&app.backend, app.world.soon, app.world.main[at].id).await;
        }
    }
    let none = hold(app, &user, "none", &json!({ "quantity": 1 })).await.problem(409, "seat_unavailable");
    assert_eq!(none.snapshot("no_seats_left").json()["seat_ids"], json!([]));
}

async fn holds_are_visible_only_to_their_owner(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let (first, second) = (held(app, &ana, &[0, 1]).await, held(app, &ana, &[5]).await);
    let list = app.get("/api/holds").by(&ana).send().await.ok(200);
    assert_eq!(list.header("cache-control"), Some("private, no-cache"));
    assert_eq!(list.list(), [first.clone(), second.clone()]);
    assert_eq!(app.get(&path(&second)).by(&ana).send().await.ok(200).json(), second);
    assert!(app.get("/api/holds").by(&bo).send().await.ok(200).list().is_empty());
    for (method, path) in [
        (Method::GET, path(&first)),
        (Method::DELETE, path(&first)),
        (Method::POST, format!("{}/extend", path(&first))),
        (Method::GET, "/api/holds/1-7Q2XK0M4ZD7Q2XK0M4ZD7Q2XK0".into()),
        (Method::DELETE, "/api/holds/nobody's".into()),
    ] {
        app.call(method.clone(), &path).by(&bo).send().await.problem(404, "hold_not_found");
        app.call(method, &path).send().await.problem(401, "unauthenticated");
    }
    assert_eq!(app.rows("holds").await, 2);
}

async fn a_hold_is_extended_to_thirty_minutes_at_most(app: &TestApp) {
    let user = app.sign_up().await;
    let hold = held(app, &user, &[0]).await;
    let extend = async || app.post(&format!("{}/extend", path(&hold))).by(&user).send().await.ok(200).json();
    let ends = |hold: &Value| hold["expires_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let longer = extend().await;
    assert!(ends(&longer) > ends(&hold), "{longer}");
    assert_eq!((&longer["id"], &longer["seats"]), (&hold["id"], &hold["seats"]));
    assert_eq!(app.get(&path(&hold)).by(&user).send().await.ok(200).json(), longer);
    let made = app.backend.instant(-29 * 60);
    app.backend.execute(&format!("UPDATE holds SET created_at = {made}")).await;
    let last = extend().await;
    assert!(ends(&last) <= ends(&longer), "it had more than thirty minutes already: {last}");
    let soon = app.backend.instant(30);
    app.backend.execute(&format!("UPDATE holds SET expires_at = {soon}")).await;
    app.backend.execute("UPDATE seat_claims SET expires_at = (SELECT expires_at FROM holds)").await;
    let last = extend().await;
    let left = (ends(&last) - Utc::now()).num_seconds();
    assert!((30..=60).contains(&left), "{left} seconds of thirty minutes are left");
}

async fn released_hold_is_deleted_and_its_seats_are_free(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let hold = held(app, &ana, &[0, 1]).await;
    let answer = app.call(Method::DELETE, &path(&hold)).by(&ana).send().await.ok(204);
    assert!(answer.bytes.is_empty());
    for method in [Method::GET, Method::DELETE] {
        app.call(method, &path(&hold)).by(&ana).send().await.problem(404, "hold_not_found");
    }
    app.post(&format!("{}/extend", path(&hold))).by(&ana).send().await.problem(404, "hold_not_found");
    redeem(app, &ana, "k", &hold).await.problem(404, "hold_not_found");
    booked(app, &bo, &[0, 1]).await;
}

async fn expired_hold_is_reported_as_expired(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let hold = held(app, &ana, &[0, 1]).await;
    // The hold expires by the store's clock: poll until it is not found.
    while app.get(&path(&hold)).by(&ana).send().await.status == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(status(app, 0).await, "available");
    redeem(app, &ana, "k", &hold).await.problem(409, "hold_expired").snapshot("hold_expired");
    app.post(&format!("{}/extend", path(&hold))).by(&ana).send().await.problem(409, "hold_expired");
    app.call(Method::DELETE, &path(&hold)).by(&ana).send().await.problem(404, "hold_not_found");
    assert!(app.get("/api/holds").by(&ana).send().await.ok(200).list().is_empty());
    booked(app, &bo, &[1]).await;
    redeem(app, &ana, "k", &hold).await.problem(409, "hold_expired");
    assert_eq!(app.rows("bookings").await, 1);
}

async fn a_caller_holds_no_more_than_a_booking_may_have(app: &TestApp) {
    let user = app.sign_up().await;
    hold(app, &user, "four", &json!({ "quantity": 4 })).await.problem(422, "too_many_seats");
    let first = held(app, &user, &[0, 1]).await;
    let full = hold(app, &user, "two", &json!({ "quantity": 2 })).await.problem(422, "too_many_seats");
    assert_eq!(full.snapshot("too_many_held").json()["max"], 3);
    held(app, &user, &[2]).await;
    redeem(app, &user, "k", &first).await.ok(201);
    hold(app, &user, "two", &json!({ "quantity": 2 })).await.ok(201);
}

async fn mistakes_in_a_hold_are_reported(app: &TestApp) {
    let user = app.sign_up().await;
    let told = async |body: Value| hold(app, &user, "k", &body).await.mistakes();
    assert_eq!(told(json!({})).await, ["seat_ids required"]);
    assert_eq!(told(json!({ "seat_ids": [] })).await, ["seat_ids too_few"]);
    assert_eq!(told(json!({ "seat_ids": [seat(app, 0), seat(app, 0)] })).await, ["seat_ids repeated"]);
    assert_eq!(told(json!({ "seat_ids": [1], "quantity": 2 })).await, ["seat_ids conflict", "quantity conflict"]);
    assert_eq!(told(json!({ "seat_ids": [1], "accessible": true })).await, ["accessible conflict"]);
    let wrong = json!({ "quantity": 0, "category": 7, "accessible": "yes" });
    assert_eq!(told(wrong).await, ["quantity out_of_range", "category wrong_type", "accessible wrong_type"]);
    app.post(&holds_path(app))
        .by(&user)
        .json(&json!({ "quantity": 1 }))
        .send()
        .await
        .problem(400, "idempotency_key_missing");
    app.post(&holds_path(app)).key("k").json(&json!({ "quantity": 1 })).send().await.problem(401, "unauthenticated");
    let other = json!({ "seat_ids": [app.world.beta[0].id.0] });
    assert_eq!(
        hold(app, &user, "k", &other).await.problem(404, "seat_not_found").json()["seat_ids"],
        other["seat_ids"]
    );
    let nowhere = app.post(&format!("/api/shows/{NOBODY}/holds")).by(&user).key("k").json(&json!({ "quantity": 1 }));
    nowhere.send().await.problem(404, "show_not_found");
    assert_eq!(app.rows("holds").await + app.rows("idempotency_keys").await, 0);
}

async fn keys_are_remembered_by_every_call(app: &TestApp) {
    let user = app.sign_up().await;
    let kept = hold(app, &user, "h", &json!({ "quantity": 2 })).await.ok(201);
    let body = kept.json();
    hold(app, &user, "h", &json!({ "quantity": 3 })).await.problem(422, "idempotency_key_reused");
    let call = |method: Method, path: String, key: &'static str| app.call(method, &path).by(&user).key(key);
    let extended = call(Method::POST, format!("{}/extend", path(&body)), "e").send().await.ok(200);
    let booked = redeem(app, &user, "b", &body).await.ok(201);
    let id = booked.json()["booking"]["id"].as_i64().unwrap();
    let cancel = format!("/api/bookings/{id}/cancel");
    let start = app.backend.instant(5 * 3600);
    app.backend.execute(&format!("UPDATE shows SET start_time = {start}, end_time = {start} + (end_time - start_time), hall_free_at = {start} + (hall_free_at - start_time) WHERE id = {}", app.world.soon)).await;
    let cancelled = call(Method::POST, cancel.clone(), "c").send().await.ok(200);
    assert_eq!(cancelled.json()["status"], "cancelled");
    // Repeat each call: the bytes are the same, whatever has changed since.
    for (first, again) in [
        (&kept, hold(app, &user, "h", &json!({ "quantity": 2 })).await.ok(201)),
        (&extended, call(Method::POST, format!("{}/extend", path(&body)), "e").send().await.ok(200)),
        (&booked, redeem(app, &user, "b", &body).await.ok(201)),
        (&cancelled, call(Method::POST, cancel.clone(), "c").send().await.ok(200)),
    ] {
        assert_eq!((again.header("idempotent-replayed"), &again.bytes), (Some("true"), &first.bytes));
        assert_eq!(again.header("location"), first.header("location"));
    }
    for wrong in ["", "two words"] {
        call(Method::POST, cancel.clone(), "c")
            .header("idempotency-key", wrong)
            .send()
            .await
            .problem(400, "idempotency_key_invalid");
    }
    let second = held(app, &user, &[0]).await;
    call(Method::DELETE, path(&second), "r").send().await.ok(204);
    let again = call(Method::DELETE, path(&second), "r").send().await.ok(204);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((app.rows("bookings").await, app.rows("holds").await), (1, 0));
}

async fn lost_seats_are_named_with_alternatives(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    booked(app, &ana, &[1, 2]).await;
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": seats(app, [2, 3]) });
    let lost = app.book(&bo, "k", &body).await.problem(409, "seat_unavailable").json();
    assert_eq!(lost["seat_ids"], json!([seat(app, 2)]));
    let groups = lost["alternatives"].as_array().unwrap();
    assert_eq!(groups.len(), 3, "{lost}");
    // Each alternative is available.
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(group.as_array().unwrap().len(), 2);
        let body = json!({ "seat_ids": group });
        hold(app, &bo, &format!("{at}"), &body).await.ok(201);
    }
    let one = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 2) });
    assert!(app.book(&bo, "one", &one).await.problem(409, "seat_unavailable").json().get("alternatives").is_none());
}

async fn single_seat_gap_is_refused_if_forbidden(app: &TestApp) {
    let user = app.sign_up().await;
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": seats(app, [1, 2]) });
    let gap = app.book(&user, "k", &body).await.problem(422, "seats_leave_gap").snapshot("seats_leave_gap").json();
    assert_eq!(gap["seat_ids"], json!([seat(app, 0)]));
    for (at, group) in gap["alternatives"].as_array().unwrap().iter().enumerate() {
        let other = json!({ "show_id": app.world.soon.0, "seat_ids": group });
        app.book(&user, &format!("{at}"), &other).await.ok(201);
    }
    // In a row where a single seat cannot be avoided, none is forbidden.
    for at in [1, 2, 4, 5, 6, 7, 8, 9] {
        if status(app, at).await == "available" {
            block(&app.backend, app.world.soon, app.world.main[at].id).await;
        }
    }
}

async fn show_sales_open_and_close_on_time(app: &TestApp) {
    let user = app.sign_up().await;
    let set = async |column: &str, seconds: i64| {
        let at = app.backend.instant(seconds);
        app.backend.execute(&format!("UPDATE shows SET {column} = {at} WHERE id = {}", app.world.soon)).await;
    };
    set("sales_open_at", 600).await;
    let early = hold(app, &user, "k", &json!({ "quantity": 1 })).await.problem(409, "sales_closed").json();
    assert!(early["detail"].as_str().unwrap().contains("not on sale yet"), "{early}");
    set("sales_open_at", -1).await;
    hold(app, &user, "k", &json!({ "quantity": 1 })).await.ok(201);
    set("sales_close_at", -1).await;
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0) });
    app.book(&user, "late", &body).await.problem(409, "sales_closed");
}

async fn a_booking_is_cancelled_once_and_stays_in_the_history(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let booking = booked(app, &ana, &[0, 1]).await;
    let path = format!("/api/bookings/{}/cancel", booking["id"]);
    app.post(&path).send().await.problem(401, "unauthenticated");
    app.post(&path).by(&bo).send().await.problem(404, "booking_not_found");
    app.post(&format!("/api/bookings/{NOBODY}/cancel")).by(&ana).send().await.problem(404, "booking_not_found");
    let first = app.post(&path).by(&ana).send().await.ok(200).snapshot("cancelled");
    let cancelled = first.json();
    assert_eq!((&cancelled["status"], &cancelled["seats"]), (&"cancelled".into(), &booking["seats"]));
    assert_eq!(app.post(&path).by(&ana).send().await.ok(200).json(), cancelled);
    assert_eq!(app.get(&format!("/api/bookings/{}", booking["id"])).by(&ana).send().await.ok(200).json(), cancelled);
    assert_eq!(app.get("/api/bookings?status=cancelled").by(&ana).send().await.ok(200).list(), [cancelled]);
    assert!(app.get("/api/bookings?status=confirmed").by(&ana).send().await.ok(200).list().is_empty());
    assert_eq!(app.seats_available(app.world.soon.0).await, 60);
    booked(app, &bo, &[1]).await;
    let seats = json!({ "seat_ids": seats(app, [5, 6]) });
    let change = app.post(&format!("/api/bookings/{}/seats", booking["id"])).by(&ana).json(&seats);
    change.send().await.problem(409, "conflict");
}

async fn a_booking_is_cancelled_until_its_cutoff(app: &TestApp) {
    let user = app.sign_up().await;
    let booking = booked(app, &user, &[0]).await;
    let path = format!("/api/bookings/{}/cancel", booking["id"]);
    let late = app.post(&path).by(&user).send().await;
    late.problem(409, "booking_not_cancellable").snapshot("booking_not_cancellable");
    assert_eq!(status(app, 0).await, "booked");
}

async fn booking_changes_its_seats(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let booking = booked(app, &ana, &[0, 1]).await;
    booked(app, &bo, &[4]).await;
    let path = format!("/api/bookings/{}/seats", booking["id"]);
    let change =
        async |user: &User, ids: Value| app.post(&path).by(user).json(&json!({ "seat_ids": ids })).send().await;
    change(&bo, json!(seats(app, [5, 6]))).await.problem(404, "booking_not_found");
    assert_eq!(change(&ana, json!([seat(app, 5)])).await.mistakes(), ["seat_ids wrong_count"]);
    assert_eq!(change(&ana, Value::Null).await.mistakes(), ["seat_ids required"]);
    let lost = change(&ana, json!(seats(app, [3, 4]))).await.problem(409, "seat_unavailable").json();
    assert_eq!((&lost["seat_ids"], lost["alternatives"].as_array().unwrap().len()), (&json!([seat(app, 4)]), 3));
    // The last rows are premium.
    change(&ana, json!(seats(app, [50, 51]))).await.problem(422, "price_differs").snapshot("price_differs");
    let changed = change(&ana, json!(seats(app, [5, 1]))).await.ok(200).json();
    assert_eq!((&changed["seat_ids"], &changed["total"]), (&json!(seats(app, [5, 1])), &booking["total"]));
    assert_eq!((&changed["id"], &changed["reference"]), (&booking["id"], &booking["reference"]));
    assert_eq!((status(app, 0).await, status(app, 5).await), ("available".into(), "booked".into()));
    assert_eq!(app.get(&format!("/api/bookings/{}", booking["id"])).by(&ana).send().await.ok(200).json(), changed);
    booked(app, &bo, &[0]).await;
}

async fn holds_of_one_caller_count_on_every_server(app: &TestApp) {
    let user = app.sign_up().await;
    let other = app.another_server().await;
    let authority = other.address.to_string();
    let path = holds_path(app);
    let asked = (0..8).map(|n| {
        let call = if n % 2 == 0 { app.post(&path) } else { app.post_at(&authority, &path) };
        let ids: Vec<_> = (4 * n..4 * n + 4).map(|at| seat(app, at)).collect();
        call.by(&user).key(&format!("{n}")).json(&json!({ "seat_ids": ids })).send()
    });
    let answers = futures::future::join_all(asked).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 2, "eight of ten seats: {answers:?}");
    for refused in answers.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(422, "too_many_seats");
    }
    assert_eq!(app.rows("hold_seats").await, 8);
    other.stop().await.unwrap();
}

/// Returns the seconds after which a refused client may retry.
fn retry_after(answer: &Answer) -> i64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

fn release(app: &TestApp, user: &User, hold: &Value) -> Call {
    app.call(Method::DELETE, &path(hold)).by(user)
}

fn time(instant: &Value) -> DateTime<Utc> {
    instant.as_str().unwrap().parse().unwrap()
}

async fn an_account_holds_a_limited_number_of_seats_over_all_shows(app: &TestApp) {
    let user = app.sign_up().await;
    let mut made = Vec::new();
    for (show, key) in [app.world.soon, app.world.later, app.world.tomorrow].into_iter().cycle().zip(0..60) {
        let call = app.post(&format!("/api/shows/{show}/holds")).by(&user).key(&format!("{key}"));
        let answer = call.json(&json!({ "quantity": 2 })).send().await;
        match answer.status {
            201 => made.push(answer.json()),
            // The caller holds as many seats of the show as a booking may have, or all its seats are held.
            409 | 422 => {}
            _ => _ = answer.problem(429, "held_seats_limit"),
        }
    }
    assert_eq!((made.len(), app.rows("hold_seats").await), (10, 20));
    // All holds are listed, whatever their show, in the order of their expiry.
    assert_eq!(app.get("/api/holds").by(&user).send().await.ok(200).list(), made);
    assert!(made.iter().any(|hold| hold["show_id"] != made[0]["show_id"]));
}

async fn limit_of_held_seats_reports_when_to_retry(app: &TestApp) {
    let user = app.sign_up().await;
    let later = format!("/api/shows/{}/holds", app.world.later);
    let hold_later = async |key: &str, quantity: i64| {
        app.post(&later).by(&user).key(key).json(&json!({ "quantity": quantity })).send().await
    };
    let first = held(app, &user, &[0, 1, 2, 3]).await;
    hold_later("three", 3).await.ok(201);
    let refused = hold_later("one", 1).await.problem(429, "held_seats_limit").snapshot("held_seats_limit");
    assert!((1..=600).contains(&retry_after(&refused)), "{refused:?}");
    // Other mistakes are reported first.
    hold(app, &user, "k", &json!({ "seat_ids": [seat(app, 4)] })).await.problem(422, "too_many_seats");
    hold(app, &user, "k", &json!({ "seat_ids": [app.world.beta[0].id.0] })).await.problem(404, "seat_not_found");
    app.post(&format!("{}/extend", path(&first))).by(&user).send().await.ok(200);
    // Booked seats do not count as held.
    redeem(app, &user, "redeem", &first).await.ok(201);
    hold_later("one", 1).await.ok(201);
}

async fn holding_and_releasing_never_keeps_a_seat_beyond_thirty_minutes(app: &TestApp) {
    let user = app.sign_up().await;
    let again = async |key: usize, body: &Value| hold(app, &user, &format!("{key}"), body).await.ok(201).json();
    let these = json!({ "seat_ids": seats(app, [0, 1]) });
    let first = again(0, &these).await;
    release(app, &user, &first).send().await.ok(204);
    for key in 1..20 {
        let next = again(key, &these).await;
        assert!(time(&next["expires_at"]) <= time(&first["expires_at"]), "{next} after {first}");
        let extended = app.post(&format!("{}/extend", path(&next))).by(&user).send().await.ok(200).json();
        assert_eq!(extended["expires_at"], next["expires_at"]);
        release(app, &user, &next).send().await.ok(204);
    }
    // Booking and cancelling in between makes no difference.
    let booking = redeem(app, &user, "redeem", &again(20, &these).await).await.booking();
    app.post(&format!("/api/bookings/{}/cancel", booking["id"])).by(&user).send().await.ok(200);
    let next = again(21, &these).await;
    assert!(time(&next["expires_at"]) <= time(&first["expires_at"]), "{next} after {first}");
    release(app, &user, &next).send().await.ok(204);
    // The best seats are then other ones, and their hold has the full duration.
    let best = again(22, &json!({ "quantity": 2 })).await;
    assert!(time(&best["expires_at"]) > time(&first["expires_at"]), "{best} after {first}");
}

async fn a_seat_whose_hold_time_is_used_up_is_refused_for_ten_minutes(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let first = held(app, &ana, &[0, 1]).await;
    let began = app.backend.instant(-30 * 60);
    app.backend.execute(&format!("UPDATE holds SET created_at = {began}")).await;
    release(app, &ana, &first).send().await.ok(204);
    let these = json!({ "seat_ids": seats(app, [2, 1, 0]) });
    let refused = hold(app, &ana, "k", &these).await.problem(429, "seat_hold_time_used");
    let refused = refused.snapshot("seat_hold_time_used");
    assert_eq!(refused.json()["seat_ids"], json!(seats(app, [1, 0])));
    assert!((1..=600).contains(&retry_after(&refused)), "{refused:?}");
    // The key is free, and so are other seats. Another caller may hold these seats, and they may be booked.
    hold(app, &ana, "k", &json!({ "seat_ids": [seat(app, 2)] })).await.ok(201);
    let others = hold(app, &bo, "k", &json!({ "seat_ids": [seat(app, 0)] })).await.ok(201).json();
    release(app, &bo, &others).send().await.ok(204);
    booked(app, &ana, &[1]).await;
    // Ten minutes after it was given up the seat can be held again.
    let ended = app.backend.instant(-10 * 60 - 1);
    app.backend.execute(&format!("UPDATE seat_tenures SET until = {ended} WHERE user_id = {}", ana.id)).await;
    held(app, &ana, &[0]).await;
}

async fn cancellations_are_limited_for_each_day(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0) });
    let cancel = async |user: &User, booking: &Value| {
        app.post(&format!("/api/bookings/{}/cancel", booking["id"])).by(user).send().await
    };
    let mut cancelled = Value::Null;
    for key in 0..3 {
        let booking = app.book(&ana, &format!("{key}"), &body).await.booking();
        cancelled = cancel(&ana, &booking).await.ok(200).json();
    }
    let booking = app.book(&ana, "last", &body).await.booking();
    let refused = cancel(&ana, &booking).await.problem(429, "cancellation_limit").snapshot("cancellation_limit");
    let day = 24 * 3600;
    assert!((day - 120..=day).contains(&retry_after(&refused)), "{refused:?}");
    let path = format!("/api/bookings/{}", booking["id"]);
    assert_eq!(app.get(&path).by(&ana).send().await.ok(200).json()["status"], "confirmed");
    // Repeating a cancellation succeeds, and other accounts have their own limits.
    assert_eq!(cancel(&ana, &cancelled).await.ok(200).json(), cancelled);
    let theirs = booked(app, &bo, &[1]).await;
    cancel(&bo, &theirs).await.ok(200);
}
