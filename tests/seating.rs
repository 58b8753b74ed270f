//! Seat maps.

use domain::ids::{SeatId, ShowId};
use domain::seed::SeedPlan;
use port_contracts::Fixture as _;
use port_contracts::world::{AMELIE, ROWS, block, hold, real_hall, show, show_id, theatre};
use serde_json::{Value, json};

use crate::harness::{NOBODY, TestApp, User};

on_both_stores!(
    seat_map_is_ordered_by_row_and_number,
    seat_map_shows_which_seats_are_available,
    only_the_owner_of_a_seat_sees_its_user,
    seats_available_decreases_at_once,
    seats_of_an_expired_hold_are_available,
    unknown_show_has_no_seat_map,
    prices_are_decimal_strings_of_the_currency,
    matching_tag_returns_not_modified,
    tag_depends_on_content_and_caller,
    a_large_map_is_compressed_and_a_small_one_is_not,
    a_real_hall_has_its_rows_sections_and_love_seats,
    a_love_seat_is_sold_whole,
    best_seats_split_no_love_seat_and_no_section,
);

fn path(show: impl std::fmt::Display) -> String {
    format!("/api/shows/{show}/seats")
}

async fn seat_map_is_ordered_by_row_and_number(app: &TestApp) {
    let seats = app.seats(app.world.soon.0, None).await;
    let places: Vec<_> =
        seats.iter().map(|seat| (seat["row"].as_str().unwrap(), seat["number"].as_i64().unwrap())).collect();
    let expected: Vec<_> = ROWS.iter().flat_map(|row| (1..=10).map(move |number| (*row, number))).collect();
    assert_eq!(places, expected);
}

/// Stores the claims of the small hall: a seat booked by the user, one booked by another user, one blocked by the house, one held by the
/// user.
async fn claim_four(app: &TestApp, mine: &User, other: &User) {
    let (show, small) = (app.world.beside, &app.world.small);
    app.book(mine, "mine", &json!({ "show_id": show.0, "seat_id": small[0].id.0 })).await.ok(201);
    app.book(other, "other", &json!({ "show_id": show.0, "seat_id": small[1].id.0 })).await.ok(201);
    block(&app.backend, show, small[2].id).await;
    hold(&app.backend, show, small[3].id, app.caller(mine).await, "a-hold", 300).await;
}

async fn seat_map_shows_which_seats_are_available(app: &TestApp) {
    let (mine, other) = (app.sign_up().await, app.sign_up().await);
    claim_four(app, &mine, &other).await;
    let map = app.get(&path(app.world.beside)).send().await.ok(200).snapshot("seats_to_anybody");
    assert_eq!(map.column("status"), ["booked", "booked", "booked", "held", "available"]);
    let own = app.get(&path(app.world.beside)).by(&mine).send().await.ok(200).snapshot("seats_to_their_owner");
    assert_eq!(own.column("status"), map.column("status"));
}

async fn only_the_owner_of_a_seat_sees_its_user(app: &TestApp) {
    let (mine, other) = (app.sign_up().await, app.sign_up().await);
    claim_four(app, &mine, &other).await;
    let owned = async |user: Option<&User>| -> Vec<(Value, Value)> {
        let seats = app.seats(app.world.beside.0, user).await;
        seats.iter().map(|seat| (seat["mine"].clone(), seat["user_id"].clone())).collect()
    };
    let nobodys = (Value::Null, Value::Null);
    let of = |user: &User| (Value::from(true), Value::from(user.id));
    let n = || nobodys.clone();
    assert_eq!(owned(Some(&mine)).await, [of(&mine), n(), n(), of(&mine), n()]);
    assert_eq!(owned(Some(&other)).await, [n(), of(&other), n(), n(), n()]);
    assert_eq!(owned(None).await, [n(), n(), n(), n(), n()]);
    let stranger = app.sign_up().await;
    let text = app.get(&path(app.world.beside)).by(&stranger).send().await.ok(200);
    assert!(!text.text().contains("user_id") && !text.text().contains("mine"), "{text:?}");
}

async fn seats_available_decreases_at_once(app: &TestApp) {
    let user = app.sign_up().await;
    let show = app.world.soon.0;
    for (taken, seat) in app.world.row(1).into_iter().enumerate() {
        assert_eq!(app.seats_available(show).await, 60 - i64::try_from(taken).unwrap());
        app.book(&user, &format!("key-{seat}"), &json!({ "show_id": show, "seat_id": seat.0 })).await.ok(201);
        assert_eq!(app.seat(show, seat.0, None).await["status"], "booked");
    }
    assert_eq!(app.seats_available(show).await, 50);
}

async fn seats_of_an_expired_hold_are_available(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.beside, app.world.small[0].id);
    hold(&app.backend, show, seat, app.caller(&user).await, "ran-out", -1).await;
    assert_eq!(app.seat(show.0, seat.0, Some(&user)).await["status"], "available");
    assert_eq!(app.seats_available(show.0).await, 5);
    let other = app.sign_up().await;
    app.book(&other, "k", &json!({ "show_id": show.0, "seat_id": seat.0 })).await.ok(201);
}

async fn unknown_show_has_no_seat_map(app: &TestApp) {
    let none = app.get(&path(NOBODY)).send().await;
    none.problem(404, "show_not_found").snapshot("show_not_found");
}

async fn prices_are_decimal_strings_of_the_currency(app: &TestApp) {
    let price = async |show: i64, row: &str| {
        let seats = app.seats(show, None).await;
        let seat = seats.iter().find(|seat| seat["row"] == row).unwrap();
        (seat["price"].as_str().unwrap().to_owned(), seat["currency"].as_str().unwrap().to_owned())
    };
    let priced = |price: &str, currency: &str| (price.to_owned(), currency.to_owned());
    assert_eq!(price(app.world.soon.0, "A").await, priced("12.50", "EUR"));
    assert_eq!(price(app.world.soon.0, "AA").await, priced("16.00", "EUR"));
    assert_eq!(price(app.world.later.0, "Z").await, priced("2600", "JPY"));
}

async fn matching_tag_returns_not_modified(app: &TestApp) {
    app.connect_directly("nginx refuses a second `If-None-Match`");
    let map = path(app.world.soon);
    let first = app.get(&map).send().await.ok(200);
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let strong = tag.strip_prefix("W/").unwrap().to_owned();
    for known in [tag.clone(), strong, format!("\"other\", {tag}"), format!("W/\"a\" , W/\"b\",{tag}"), "*".to_owned()]
    {
        let answer = app.get(&map).header("if-none-match", &known).send().await.ok(304);
        assert!(answer.bytes.is_empty(), "{known}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{known}");
        assert_eq!(answer.header_list("vary"), first.header_list("vary"), "{known}");
        assert_eq!(answer.header("cache-control"), first.header("cache-control"), "{known}");
    }
    let two_lines = app.get(&map).header("if-none-match", "\"other\"").header("if-none-match", &tag).send().await;
    two_lines.ok(304);
    for unknown in ["\"other\"", "W/\"other\"", "", "not a tag", "\"*\""] {
        app.get(&map).header("if-none-match", unknown).send().await.ok(200);
    }
    let none = app.get(&path(NOBODY)).header("if-none-match", "*").send().await;
    none.problem(404, "show_not_found");
}

async fn tag_depends_on_content_and_caller(app: &TestApp) {
    let (user, other) = (app.sign_up().await, app.sign_up().await);
    let map = path(app.world.soon);
    let tag = async |user: Option<&User>| {
        let call = app.get(&map);
        let call = if let Some(user) = user { call.by(user) } else { call };
        let answer = call.send().await.ok(200);
        let vary = answer.header_list("vary");
        for name in ["authorization", "accept-encoding"] {
            assert!(vary.contains(&name.to_owned()), "{vary:?}");
        }
        if user.is_some() {
            assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        }
        answer.header("etag").unwrap().to_owned()
    };
    let before = tag(None).await;
    assert_eq!(tag(None).await, before, "the same content has the same tag");
    app.book(&user, "k", &json!({ "show_id": app.world.soon.0, "seat_id": app.world.row(0)[0].0 })).await.ok(201);
    let after = tag(None).await;
    assert_ne!(after, before, "another content has another tag");
    app.get(&map).header("if-none-match", &before).send().await.ok(200);
    assert_ne!(tag(Some(&user)).await, after, "the owner sees more than others");
    assert_ne!(tag(Some(&user)).await, tag(Some(&other)).await);
    // The tag of one caller does not match for another caller.
    let owners = tag(Some(&user)).await;
    app.get(&map).header("if-none-match", &owners).send().await.ok(200);
}

async fn a_large_map_is_compressed_and_a_small_one_is_not(app: &TestApp) {
    let map = path(app.world.soon);
    let plain = app.get(&map).send().await.ok(200);
    assert_eq!(plain.header("content-encoding"), None);
    for encoding in ["gzip", "br"] {
        let answer = app.get(&map).header("accept-encoding", encoding).send().await.ok(200);
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert!(answer.bytes.len() * 3 < plain.bytes.len(), "{encoding}: {} bytes", answer.bytes.len());
        assert_eq!(answer.header("etag"), plain.header("etag"), "a weak tag is of the content");
        assert!(answer.header_list("vary").contains(&"accept-encoding".to_owned()));
    }
    let unpacking = reqwest::Client::new();
    let unpacked = unpacking.get(app.url(&map)).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(unpacked, plain.bytes);
    let small = app.get(&path(app.world.beside)).header("accept-encoding", "gzip, br").send().await.ok(200);
    assert_eq!(small.header("content-encoding"), None);
    assert_eq!(small.column("status"), ["available"; 5]);
}

/// Adds a show in a hall with rows of any name, sections and love seats. Returns it with the ids of its seats by row and number.
async fn show_in_a_real_hall(app: &TestApp) -> (ShowId, impl Fn(&str, i64) -> i64) {
    let plan = SeedPlan {
        theatres: vec![theatre("Gamma", chrono_tz::Europe::Berlin, vec![real_hall()])],
        shows: vec![show(app.world.base, "real", AMELIE, "Gamma", "Real", 72)],
        ..SeedPlan::default()
    };
    assert_eq!(app.backend.stores().seeder.seed(&plan).await.unwrap().shows, 1);
    let show = show_id(&app.backend, "real").await;
    let seats = app.seats(show.0, None).await;
    let seat = move |row: &str, number: i64| {
        let found = seats.iter().find(|seat| seat["row"] == row && seat["number"] == number);
        found.and_then(|seat| seat["id"].as_i64()).unwrap()
    };
    (show, seat)
}

async fn a_real_hall_has_its_rows_sections_and_love_seats(app: &TestApp) {
    let (show, seat) = show_in_a_real_hall(app).await;
    let seats = app.seats(show.0, None).await;
    let mut rows: Vec<_> = seats.iter().map(|seat| seat["row"].as_str().unwrap()).collect();
    rows.dedup();
    assert_eq!(rows, ["2", "10", "AA", "Loge 2", "Loge 10", "Ложа 1"]);
    let of = |row: &str, number| app.seat(show.0, seat(row, number), None);
    let half = of("Loge 10", 4).await;
    assert_eq!((&half["section"], &half["pair_seat_id"]), (&json!("Balcony"), &json!(seat("Loge 10", 3))));
    assert_eq!(of("Loge 10", 3).await["pair_seat_id"], seat("Loge 10", 4));
    assert_eq!(of("Ложа 1", 1).await["section"], "Gallery");
    let first = of("10", 1).await;
    assert_eq!((&first["x"], first.get("section"), first.get("pair_seat_id")), (&json!(6), None, None));
}

async fn a_love_seat_is_sold_whole(app: &TestApp) {
    let (show, seat) = show_in_a_real_hall(app).await;
    let user = app.sign_up().await;
    let path = format!("/api/shows/{show}/holds");
    let half = json!({ "show_id": show.0, "seat_id": seat("Loge 2", 1) });
    let refused = app.book(&user, "k", &half).await.problem(422, "seats_split_pair").snapshot("seats_split_pair");
    assert_eq!(refused.json()["seat_ids"], json!([seat("Loge 2", 2)]));
    let halves = json!({ "seat_ids": [seat("Loge 10", 2), seat("AA", 3), seat("AA", 1)] });
    let refused = app.post(&path).by(&user).key("h").json(&halves).send().await.problem(422, "seats_split_pair");
    assert_eq!(refused.json()["seat_ids"], json!([seat("Loge 10", 1), seat("AA", 2)]));
    // The keys are free, and the whole love seats can be sold.
    let whole = json!({ "show_id": show.0, "seat_ids": [seat("Loge 2", 1), seat("Loge 2", 2)] });
    let booking = app.book(&user, "k", &whole).await.ok(201).json()["booking"].clone();
    let change = async |seats: [i64; 2]| {
        let path = format!("/api/bookings/{}/seats", booking["id"]);
        app.post(&path).by(&user).json(&json!({ "seat_ids": seats })).send().await
    };
    let refused = change([seat("Loge 10", 1), seat("AA", 3)]).await.problem(422, "seats_split_pair").json();
    assert_eq!(refused["seat_ids"], json!([seat("Loge 10", 2)]));
    change([seat("Loge 10", 2), seat("Loge 10", 1)]).await.ok(200);
    assert_eq!(app.seat(show.0, seat("Loge 2", 1), None).await["status"], "available");
}

async fn best_seats_split_no_love_seat_and_no_section(app: &TestApp) {
    let (show, seat) = show_in_a_real_hall(app).await;
    let user = app.sign_up().await;
    let path = format!("/api/shows/{show}/holds");
    let best = async |key: &str, body: Value| app.post(&path).by(&user).key(key).json(&body).send().await;
    // The two love seats in the middle of the balcony, which has no other seats.
    for row in ["2", "10"] {
        for number in 1..=6 {
            if row == "2" || number < 6 {
                block(&app.backend, show, SeatId(seat(row, number))).await;
            }
        }
    }
    let held = best("four", json!({ "quantity": 4, "category": "premium" })).await.ok(201).json();
    let ids: Vec<_> = held["seats"].as_array().unwrap().iter().map(|seat| seat["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4].map(|number| seat("Loge 10", number)));
    // The other premium seats are halves of love seats: none is sold alone.
    best("one", json!({ "quantity": 1, "category": "premium" })).await.problem(409, "seat_unavailable");
}
