//! Booking seats, and the caller's bookings.

use port_contracts::Fixture as _;
use port_contracts::world::{block, cancel_show, hold};
use serde_json::{Value, json};

use crate::harness::{NOBODY, TestApp, User};

on_both_stores!(
    one_seat_is_booked,
    several_seats_are_booked_in_the_order_asked_for,
    booking_is_read_as_it_was_created,
    booking_of_another_user_is_not_found,
    the_history_is_newest_first_and_paged,
    the_history_is_filtered,
    refusal_names_the_taken_seats,
    all_seats_are_booked_or_none,
    a_show_that_has_started_is_not_sold,
    a_cancelled_show_is_not_sold,
    unknown_shows_and_seats_are_not_sold,
    seats_of_another_hall_are_not_sold,
    as_many_seats_as_allowed with ["MAX_SEATS_PER_BOOKING" = "3"],
    ten_seats_are_allowed_by_default,
    mistakes_are_reported_in_the_order_of_the_contract,
    unknown_hold_is_not_found,
    money_has_the_digits_of_its_currency,
);

/// Returns the id of a seat of Alpha's Main hall, by its index in the hall.
fn seat(app: &TestApp, at: usize) -> i64 {
    app.world.main[at].id.0
}

fn seats<const N: usize>(app: &TestApp, at: [usize; N]) -> [i64; N] {
    at.map(|at| seat(app, at))
}

async fn one_seat_is_booked(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, seat(app, 0));
    let answer = app.book(&user, "one", &json!({ "show_id": show, "seat_id": seat })).await.snapshot("book_one_seat");
    let booking = answer.booking();
    assert_eq!(answer.json()["message"], "Booking successful!");
    assert_eq!(answer.header("location"), Some(format!("/api/bookings/{}", booking["id"]).as_str()));
    assert_eq!((&booking["user_id"], &booking["show_id"]), (&user.id.into(), &show.into()));
    assert_eq!((&booking["seat_id"], &booking["seat_ids"]), (&seat.into(), &json!([seat])));
    let on_map = app.seat(show, seat, Some(&user)).await;
    assert_eq!(
        (&on_map["mine"], &on_map["user_id"], &on_map["status"]),
        (&true.into(), &user.id.into(), &"booked".into())
    );
    let to_others = app.seat(show, seat, None).await;
    assert_eq!(
        (&to_others["mine"], &to_others["user_id"], &to_others["status"]),
        (&Value::Null, &Value::Null, &"booked".into())
    );
    assert_eq!(app.seats_available(show).await, 59);
}

async fn several_seats_are_booked_in_the_order_asked_for(app: &TestApp) {
    let user = app.sign_up().await;
    // AA1, A1 and Z2: ordered neither by id nor by row.
    let wanted = seats(app, [50, 0, 41]);
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": wanted });
    let booking = app.book(&user, "three", &body).await.snapshot("book_three_seats").booking();
    assert_eq!(booking["seat_ids"], json!(wanted));
    assert_eq!(booking["seat_id"], wanted[0]);
    let rows: Vec<_> = booking["seats"].as_array().unwrap().iter().map(|seat| seat["row"].clone()).collect();
    assert_eq!(rows, ["AA", "A", "Z"]);
    assert_eq!(booking["total"], "44.50");
    assert_eq!(app.seats_available(app.world.soon.0).await, 57);
}

async fn booking_is_read_as_it_was_created(app: &TestApp) {
    let user = app.sign_up().await;
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": seats(app, [2, 1]) });
    let made = app.book(&user, "k", &body).await.booking();
    let path = format!("/api/bookings/{}", made["id"]);
    let read = app.get(&path).by(&user).send().await.ok(200).snapshot("booking");
    assert_eq!(read.json(), made);
    let history = app.get("/api/bookings").by(&user).send().await.ok(200).snapshot("bookings");
    assert_eq!(history.list(), [made]);
}

async fn booking_of_another_user_is_not_found(app: &TestApp) {
    let (owner, other) = (app.sign_up().await, app.sign_up().await);
    let booking =
        app.book(&owner, "k", &json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0) })).await.booking();
    let path = format!("/api/bookings/{}", booking["id"]);
    app.get(&path).by(&other).send().await.problem(404, "booking_not_found").snapshot("booking_not_found");
    let none = app.get(&format!("/api/bookings/{NOBODY}")).by(&owner).send().await;
    none.problem(404, "booking_not_found").snapshot("booking_not_found");
    assert_eq!(app.get("/api/bookings").by(&other).send().await.ok(200).text(), "[]");
    assert_eq!(app.get("/api/bookings?limit=1").by(&owner).send().await.ok(200).next_page(), None);
}

/// Books `count` seats of `soon` one by one, and returns the ids of the bookings in that order.
async fn book_one_by_one(app: &TestApp, user: &User, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for at in 0..count {
        let body = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, at) });
        let booking = app.book(user, &format!("key-{at}"), &body).await.booking();
        ids.push(booking["id"].as_i64().unwrap());
    }
    ids
}

async fn history(app: &TestApp, user: &User, query: &str) -> Vec<Value> {
    app.get(&format!("/api/bookings?{query}")).by(user).send().await.ok(200).column("id")
}

async fn the_history_is_newest_first_and_paged(app: &TestApp) {
    let user = app.sign_up().await;
    let mut ids = book_one_by_one(app, &user, 5).await;
    ids.reverse();
    assert_eq!(history(app, &user, "").await, ids);
    let mut found = Vec::new();
    let mut next = Some("/api/bookings?limit=2&status=confirmed".to_owned());
    while let Some(path) = next {
        let page = app.get(&path).by(&user).send().await.ok(200);
        assert!(path.contains("status=confirmed"), "the next page is of the same list: {path}");
        next = page.next_page();
        found.extend(page.column("id"));
    }
    assert_eq!(found, ids);
}

async fn the_history_is_filtered(app: &TestApp) {
    let user = app.sign_up().await;
    let ids = book_one_by_one(app, &user, 2).await;
    let other = json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[0].id.0 });
    let later = app.book(&user, "later", &other).await.booking()["id"].as_i64().unwrap();
    // Make `soon` start in the past. The show that runs in its hall is moved out of the way.
    let (begun, ended) = (app.backend.instant(-60), app.backend.instant(3_600));
    let away = format!("UPDATE shows SET status = 'cancelled' WHERE id = {}", app.world.started);
    app.backend.execute(&away).await;
    let soon = app.world.soon;
    app.backend.execute(&format!("UPDATE shows SET start_time = {begun}, end_time = {ended} WHERE id = {soon}")).await;
    let cancelled = format!("UPDATE bookings SET status = 'cancelled', cancelled_at = {begun} WHERE id = {}", ids[0]);
    app.backend.execute(&cancelled).await;
    for (query, found) in [
        ("when=upcoming", vec![later]),
        ("when=past", vec![ids[1], ids[0]]),
        ("status=confirmed", vec![later, ids[1]]),
        ("status=cancelled", vec![ids[0]]),
        ("status=cancelled&when=upcoming", vec![]),
        ("status=expired", vec![]),
        ("status=refunded", vec![]),
        ("status=pending_payment", vec![]),
        ("when=past&status=confirmed&limit=100", vec![ids[1]]),
    ] {
        assert_eq!(history(app, &user, query).await, found, "{query}");
    }
    let one = app.get(&format!("/api/bookings/{}", ids[0])).by(&user).send().await.ok(200);
    one.snapshot("booking_cancelled");
}

async fn refusal_names_the_taken_seats(app: &TestApp) {
    let (first, second) = (app.sign_up().await, app.sign_up().await);
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0) });
    app.book(&first, "k", &body).await.ok(201);
    for user in [&first, &second] {
        let answer =
            app.book(user, "another", &body).await.problem(409, "seat_unavailable").snapshot("seat_unavailable");
        assert_eq!(answer.json()["seat_ids"], json!([seat(app, 0)]));
    }
    block(&app.backend, app.world.soon, app.world.main[1].id).await;
    let of_the_house = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 1) });
    app.book(&second, "house", &of_the_house).await.problem(409, "seat_unavailable");
    hold(&app.backend, app.world.soon, app.world.main[2].id, app.caller(&first).await, "a-hold", 300).await;
    let held = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 2) });
    app.book(&second, "held", &held).await.problem(409, "seat_unavailable");
}

async fn all_seats_are_booked_or_none(app: &TestApp) {
    let (first, second) = (app.sign_up().await, app.sign_up().await);
    let show = app.world.soon.0;
    app.book(&first, "k", &json!({ "show_id": show, "seat_ids": seats(app, [3, 1]) })).await.ok(201);
    let before = app.footprint().await;
    let body = json!({ "show_id": show, "seat_ids": seats(app, [4, 3, 2, 1, 0]) });
    let answer = app.book(&second, "k", &body).await.problem(409, "seat_unavailable");
    assert_eq!(answer.json()["seat_ids"], json!(seats(app, [3, 1])), "those that were taken");
    assert_eq!(app.footprint().await, before);
    assert_eq!(app.seat(show, seat(app, 0), None).await["status"], "available");
    app.book(&second, "k", &json!({ "show_id": show, "seat_ids": seats(app, [4, 2, 0]) })).await.ok(201);
}

async fn refused_without_a_trace(app: &TestApp, body: Value, status: u16, code: &str) {
    let user = app.sign_up().await;
    let before = app.footprint().await;
    app.book(&user, "k", &body).await.problem(status, code).snapshot(code);
    assert_eq!(app.footprint().await, before, "{body}");
}

async fn a_show_that_has_started_is_not_sold(app: &TestApp) {
    let body = json!({ "show_id": app.world.started.0, "seat_id": seat(app, 0) });
    refused_without_a_trace(app, body, 409, "sales_closed").await;
    let long_ago = json!({ "show_id": app.world.yesterday.0, "seat_id": app.world.beta[0].id.0 });
    refused_without_a_trace(app, long_ago, 409, "sales_closed").await;
}

async fn a_cancelled_show_is_not_sold(app: &TestApp) {
    cancel_show(&app.backend, app.world.soon).await;
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0) });
    refused_without_a_trace(app, body, 409, "sales_closed").await;
}

async fn unknown_shows_and_seats_are_not_sold(app: &TestApp) {
    let body = json!({ "show_id": NOBODY, "seat_id": seat(app, 0) });
    refused_without_a_trace(app, body, 404, "show_not_found").await;
    let body = json!({ "show_id": app.world.soon.0, "seat_id": NOBODY });
    refused_without_a_trace(app, body, 404, "seat_not_found").await;
}

async fn seats_of_another_hall_are_not_sold(app: &TestApp) {
    let (small, beta) = (app.world.small[0].id.0, app.world.beta[0].id.0);
    for foreign in [small, beta] {
        let body = json!({ "show_id": app.world.soon.0, "seat_id": foreign });
        refused_without_a_trace(app, body, 404, "seat_not_found").await;
    }
    let user = app.sign_up().await;
    let among_others = json!({ "show_id": app.world.soon.0, "seat_ids": [seat(app, 0), small, seat(app, 1), beta] });
    let answer = app.book(&user, "k", &among_others).await.problem(404, "seat_not_found");
    assert_eq!(answer.json()["seat_ids"], json!([small, beta]));
    assert_eq!(app.rows("seat_claims").await, 0);
}

async fn as_many_seats_as_allowed(app: &TestApp) {
    let user = app.sign_up().await;
    let show = app.world.soon.0;
    let four = json!({ "show_id": show, "seat_ids": seats(app, [0, 1, 2, 3]) });
    app.book(&user, "k", &four).await.problem(422, "too_many_seats").snapshot("too_many_seats");
    assert_eq!(app.rows("seat_claims").await, 0);
    app.book(&user, "k", &json!({ "show_id": show, "seat_ids": seats(app, [0, 1, 2]) })).await.ok(201);
}

async fn ten_seats_are_allowed_by_default(app: &TestApp) {
    let user = app.sign_up().await;
    let show = app.world.soon.0;
    let eleven: [usize; 11] = std::array::from_fn(|at| at);
    let body = json!({ "show_id": show, "seat_ids": seats(app, eleven) });
    app.book(&user, "k", &body).await.problem(422, "too_many_seats");
    let ten: [usize; 10] = std::array::from_fn(|at| at);
    app.book(&user, "k", &json!({ "show_id": show, "seat_ids": seats(app, ten) })).await.ok(201);
}

/// Each request has its own mistake and those of all later requests.
async fn mistakes_are_reported_in_the_order_of_the_contract(app: &TestApp) {
    let user = app.sign_up().await;
    let (started, foreign) = (app.world.started.0, app.world.small[0].id.0);
    cancel_show(&app.backend, app.world.soon).await;
    let post = || app.post("/api/bookings");
    post().key("").body("text/plain", "{").send().await.problem(401, "unauthenticated");
    post()
        .by(&user)
        .body("text/plain", "{")
        .send()
        .await
        .problem(400, "idempotency_key_missing")
        .snapshot("key_missing");
    post()
        .by(&user)
        .key("")
        .body("text/plain", "{")
        .send()
        .await
        .problem(400, "idempotency_key_invalid")
        .snapshot("key_invalid");
    post().by(&user).key("k").body("text/plain", "{").send().await.problem(415, "unsupported_media_type");
    post().by(&user).key("k").body("application/json", "{").send().await.problem(400, "malformed_json");
    let body = json!({ "show_id": NOBODY, "seat_ids": [foreign, foreign] });
    app.book(&user, "k", &body).await.problem(400, "validation_failed");
    app.book(&user, "k", &json!({ "show_id": NOBODY, "seat_id": foreign })).await.problem(404, "show_not_found");
    for not_sold in [started, app.world.soon.0] {
        let body = json!({ "show_id": not_sold, "seat_ids": [foreign, seat(app, 0)] });
        app.book(&user, "k", &body).await.problem(404, "seat_not_found");
        app.book(&user, "k", &json!({ "show_id": not_sold, "seat_id": seat(app, 0) }))
            .await
            .problem(409, "sales_closed");
    }
    let good = json!({ "show_id": app.world.tomorrow.0, "seat_id": foreign });
    app.book(&user, "k", &good).await.ok(201);
    // A reused key is reported before anything is looked up.
    app.book(&user, "k", &json!({ "show_id": NOBODY, "seat_id": 1 })).await.problem(422, "idempotency_key_reused");
}

async fn unknown_hold_is_not_found(app: &TestApp) {
    let user = app.sign_up().await;
    app.book(&user, "k", &json!({ "hold_id": "nobody's" }))
        .await
        .problem(404, "hold_not_found")
        .snapshot("hold_not_found");
    for both in [
        json!({ "hold_id": "h", "show_id": app.world.soon.0, "seat_id": seat(app, 0) }),
        json!({ "show_id": app.world.soon.0, "seat_id": seat(app, 0), "seat_ids": [seat(app, 0)] }),
    ] {
        let told = app.book(&user, "k", &both).await.mistakes();
        assert!(told.len() == 2 && told.iter().all(|told| told.ends_with(" conflict")), "{told:?}");
    }
    assert_eq!(app.rows("bookings").await, 0);
}

async fn money_has_the_digits_of_its_currency(app: &TestApp) {
    let user = app.sign_up().await;
    let body = json!({ "show_id": app.world.later.0, "seat_ids": [app.world.beta[0].id.0, app.world.beta[59].id.0] });
    let booking = app.book(&user, "k", &body).await.snapshot("book_in_yen").booking();
    assert_eq!((&booking["total"], &booking["currency"]), (&"4500".into(), &"JPY".into()));
}
