//! Prices by ticket type: the list of a show, and ticket types of bookings and holds.

use port_contracts::Fixture as _;
use port_contracts::world::{cancel_show, sell_to};
use serde_json::{Value, json};

use crate::harness::{Answer, NOBODY, TestApp, User};

on_both_stores!(
    prices_are_listed_in_the_language_of_the_caller,
    each_seat_is_booked_with_its_ticket_type,
    seats_are_held_and_booked_with_their_ticket_types,
    a_hold_is_booked_with_other_ticket_types,
    ticket_types_that_are_not_sold_are_named,
    changed_seats_keep_their_ticket_types,
    mistakes_in_seats_are_reported,
    seats_are_given_in_one_way,
    price_from_and_the_seat_map_show_prices_for_adults,
    retries_of_both_forms_are_replayed,
    as_many_tickets_as_seats_are_allowed with ["MAX_SEATS_PER_BOOKING" = "2"],
);

/// Sells standard seats of the show `soon` to children for 8.00 and to students for 10.00.
async fn sell_types(app: &TestApp) {
    sell_to(&app.backend, app.world.soon, "standard", "student", 1000).await;
    sell_to(&app.backend, app.world.soon, "standard", "child", 800).await;
}

/// Returns the id of a seat of Alpha's Main hall, by its index in the hall. The last three rows are premium.
fn seat(app: &TestApp, at: usize) -> i64 {
    app.world.main[at].id.0
}

/// Returns the member `seats` of a request.
fn tickets(app: &TestApp, wanted: &[(usize, &str)]) -> Value {
    wanted.iter().map(|(at, code)| json!({ "seat_id": seat(app, *at), "ticket_type": code })).collect()
}

fn sold(seats: &Value) -> Vec<(i64, &str, &str)> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap()
    }
    let seats = seats.as_array().unwrap().iter();
    seats.map(|seat| (seat["id"].as_i64().unwrap(), text(&seat["ticket_type"]), text(&seat["price"]))).collect()
}

async fn hold(app: &TestApp, user: &User, key: &str, body: &Value) -> Answer {
    app.post(&format!("/api/shows/{}/holds", app.world.soon)).by(user).key(key).json(body).send().await
}

fn prices_path(app: &TestApp) -> String {
    format!("/api/shows/{}/prices", app.world.soon)
}

async fn prices_are_listed_in_the_language_of_the_caller(app: &TestApp) {
    sell_types(app).await;
    let english = app.get(&prices_path(app)).send().await.ok(200);
    assert!(english.header_list("vary").contains(&"accept-language".to_owned()), "{english:?}");
    let expected = json!({ "currency": "EUR", "prices": [
        { "category": "premium", "ticket_type": "adult", "name": "Adult", "price": "16.00" },
        { "category": "standard", "ticket_type": "adult", "name": "Adult", "price": "12.50" },
        { "category": "standard", "ticket_type": "child", "name": "English child", "price": "8.00" },
        { "category": "standard", "ticket_type": "student", "name": "English student", "price": "10.00" },
    ] });
    assert_eq!(english.json(), expected);
    let names = async |languages: &str| {
        let answer = app.get(&prices_path(app)).header("Accept-Language", languages).send().await.ok(200).json();
        let name = |price: &Value| price["name"].as_str().unwrap().to_owned();
        answer["prices"].as_array().unwrap()[1..3].iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names("fr, de-AT;q=0.9, en;q=0.5").await, ["Adult", "German child"]);
    assert_eq!(names("de;q=0, nonsense!").await, ["Adult", "English child"]);
    app.get(&format!("/api/shows/{NOBODY}/prices")).send().await.problem(404, "show_not_found");
    app.get("/api/shows/x/prices").send().await.problem(400, "validation_failed");
    // A cancelled show keeps its prices.
    cancel_show(&app.backend, app.world.soon).await;
    app.get(&prices_path(app)).send().await.ok(200);
}

async fn each_seat_is_booked_with_its_ticket_type(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let mut seats = tickets(app, &[(3, "child"), (50, "adult"), (1, "student")]);
    // Without a ticket type, a seat is for an adult.
    seats.as_array_mut().unwrap().push(json!({ "seat_id": seat(app, 2), "ticket_type": null }));
    let body = json!({ "show_id": app.world.soon.0, "seats": seats });
    let booking = app.book(&user, "k", &body).await.snapshot("book_ticket_types").booking();
    let expected = [
        (seat(app, 3), "child", "8.00"),
        (seat(app, 50), "adult", "16.00"),
        (seat(app, 1), "student", "10.00"),
        (seat(app, 2), "adult", "12.50"),
    ];
    assert_eq!((sold(&booking["seats"]), &booking["total"]), (expected.to_vec(), &"46.50".into()));
    let read = app.get(&format!("/api/bookings/{}", booking["id"])).by(&user).send().await.ok(200).json();
    assert_eq!(read, booking);
    assert_eq!(app.get("/api/bookings").by(&user).send().await.list(), [booking]);
}

async fn seats_are_held_and_booked_with_their_ticket_types(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let body = json!({ "seats": tickets(app, &[(2, "child"), (1, "adult")]) });
    let held = hold(app, &user, "k", &body).await.ok(201).json();
    let expected = vec![(seat(app, 2), "child", "8.00"), (seat(app, 1), "adult", "12.50")];
    assert_eq!((sold(&held["seats"]), &held["total"]), (expected, &"20.50".into()));
    let path = format!("/api/holds/{}", held["id"].as_str().unwrap());
    assert_eq!(app.get(&path).by(&user).send().await.ok(200).json(), held);
    // The prices are those of the hold.
    app.backend.execute("UPDATE show_prices SET price_minor = 5000").await;
    let booking = app.book(&user, "redeem", &json!({ "hold_id": held["id"] })).await.booking();
    assert_eq!((&booking["seats"], &booking["total"]), (&held["seats"], &held["total"]));
    // The best seats are for adults.
    let best = hold(app, &user, "best", &json!({ "quantity": 2 })).await.ok(201).json();
    assert!(sold(&best["seats"]).iter().all(|(_, code, _)| *code == "adult"), "{best}");
}

async fn a_hold_is_booked_with_other_ticket_types(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let best = [seat(app, 2), seat(app, 1), seat(app, 0)];
    let held = hold(app, &user, "k", &json!({ "seat_ids": best })).await.ok(201).json();
    app.backend.execute("UPDATE show_prices SET price_minor = price_minor + 100").await;
    let redeem =
        async |key: &str, seats: Value| app.book(&user, key, &json!({ "hold_id": held["id"], "seats": seats })).await;
    let mistakes = redeem("few", tickets(app, &[(2, "child")])).await.mistakes();
    assert_eq!(mistakes, ["seats other_seats"]);
    let other = tickets(app, &[(2, "child"), (1, "adult"), (5, "adult")]);
    assert_eq!(redeem("other", other).await.mistakes(), ["seats other_seats"]);
    let unsold = redeem("dog", tickets(app, &[(0, "adult"), (1, "dog"), (2, "child")])).await;
    assert_eq!(unsold.problem(422, "ticket_type_not_sold").json()["seat_ids"], json!([seat(app, 1)]));
    // In the order of the hold. The seat that stays for an adult keeps the price of the hold.
    let booking = redeem("k", tickets(app, &[(0, "student"), (1, "child"), (2, "adult")])).await.booking();
    let expected =
        vec![(seat(app, 2), "adult", "12.50"), (seat(app, 1), "child", "9.00"), (seat(app, 0), "student", "11.00")];
    assert_eq!((sold(&booking["seats"]), &booking["total"]), (expected, &"32.50".into()));
    redeem("again", tickets(app, &[(0, "adult")])).await.problem(404, "hold_not_found");
    assert_eq!((app.rows("holds").await, app.rows("bookings").await), (0, 1));
}

async fn ticket_types_that_are_not_sold_are_named(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let seats = tickets(app, &[(1, "child"), (50, "child"), (2, "dog"), (3, "adult")]);
    let body = json!({ "show_id": app.world.soon.0, "seats": seats });
    let refused =
        app.book(&user, "k", &body).await.problem(422, "ticket_type_not_sold").snapshot("ticket_type_not_sold");
    let expected = json!([seat(app, 50), seat(app, 2)]);
    assert_eq!(refused.json()["seat_ids"], expected);
    let refused = hold(app, &user, "k", &json!({ "seats": body["seats"] })).await.problem(422, "ticket_type_not_sold");
    assert_eq!(refused.json()["seat_ids"], expected);
    // Unknown seats are reported first.
    let seats = json!([{ "seat_id": NOBODY, "ticket_type": "dog" }, { "seat_id": seat(app, 2), "ticket_type": "dog" }]);
    let body = json!({ "show_id": app.world.soon.0, "seats": seats });
    let missing = app.book(&user, "k", &body).await.problem(404, "seat_not_found").json();
    assert_eq!(missing["seat_ids"], json!([NOBODY]));
    assert_eq!((app.rows("bookings").await, app.rows("seat_claims").await), (0, 0));
}

async fn changed_seats_keep_their_ticket_types(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let body = json!({ "show_id": app.world.soon.0, "seats": tickets(app, &[(1, "adult"), (2, "child")]) });
    let booking = app.book(&user, "k", &body).await.booking();
    let path = format!("/api/bookings/{}/seats", booking["id"]);
    let change = async |seats: [usize; 2]| {
        let body = json!({ "seat_ids": seats.map(|at| seat(app, at)) });
        app.post(&path).by(&user).json(&body).send().await
    };
    let changed = change([2, 11]).await.ok(200).json();
    assert_eq!(sold(&changed["seats"]), [(seat(app, 2), "child", "8.00"), (seat(app, 11), "adult", "12.50")]);
    // Premium seats are not sold to children.
    let refused = change([50, 11]).await.problem(422, "ticket_type_not_sold").json();
    assert_eq!(refused["seat_ids"], json!([seat(app, 50)]));
}

async fn mistakes_in_seats_are_reported(app: &TestApp) {
    let user = app.sign_up().await;
    let one = seat(app, 1);
    for (seats, expected) in [
        (json!([]), vec!["seats too_few"]),
        (json!({}), vec!["seats wrong_type"]),
        (json!([one]), vec!["seats[0] wrong_type"]),
        (json!([{ "ticket_type": "adult" }]), vec!["seats[0].seat_id required"]),
        (
            json!([{ "seat_id": 0, "ticket_type": "Adult" }, { "seat_id": "1", "ticket_type": 1 }]),
            vec![
                "seats[0].seat_id out_of_range",
                "seats[0].ticket_type invalid",
                "seats[1].seat_id wrong_type",
                "seats[1].ticket_type wrong_type",
            ],
        ),
        (json!([{ "seat_id": one, "ticket_type": "x".repeat(31) }]), vec!["seats[0].ticket_type invalid"]),
        (json!([{ "seat_id": one }, { "seat_id": one, "ticket_type": "child" }]), vec!["seats repeated"]),
    ] {
        let body = json!({ "show_id": app.world.soon.0, "seats": seats });
        assert_eq!(app.book(&user, "k", &body).await.mistakes(), expected, "{body}");
        assert_eq!(hold(app, &user, "k", &json!({ "seats": seats })).await.mistakes(), expected, "{body}");
    }
}

async fn seats_are_given_in_one_way(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, one, seats) = (app.world.soon.0, seat(app, 1), tickets(app, &[(1, "adult")]));
    for (body, expected) in [
        (json!({ "show_id": show, "seat_ids": [one], "seats": seats }), vec!["seat_ids conflict", "seats conflict"]),
        (json!({ "show_id": show, "seat_id": one, "seats": seats }), vec!["seat_id conflict", "seats conflict"]),
        (
            json!({ "hold_id": "x", "seat_ids": [one], "seats": seats }),
            vec!["show_id required", "seat_ids conflict", "seats conflict", "hold_id conflict"],
        ),
        (json!({ "show_id": show }), vec!["seat_id required"]),
        (json!({ "hold_id": 1, "seats": [] }), vec!["hold_id wrong_type", "seats too_few"]),
    ] {
        assert_eq!(app.book(&user, "k", &body).await.mistakes(), expected, "{body}");
    }
    for (body, expected) in [
        (json!({ "seat_ids": [one], "seats": seats }), vec!["seat_ids conflict", "seats conflict"]),
        (json!({ "quantity": 1, "seats": seats }), vec!["seats conflict", "quantity conflict"]),
        (json!({ "seats": seats, "category": "standard" }), vec!["category conflict"]),
        (json!({}), vec!["seat_ids required"]),
    ] {
        assert_eq!(hold(app, &user, "k", &body).await.mistakes(), expected, "{body}");
    }
    // `null` stands for an absent member.
    let body = json!({ "show_id": show, "seats": seats, "seat_ids": null, "seat_id": null, "hold_id": null });
    app.book(&user, "k", &body).await.booking();
}

async fn price_from_and_the_seat_map_show_prices_for_adults(app: &TestApp) {
    sell_types(app).await;
    let show = app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200).json();
    assert_eq!(show["price_from"], "12.50");
    assert_eq!(app.seat(app.world.soon.0, seat(app, 1), None).await["price"], "12.50");
    let listed = app.get("/api/shows").send().await.list();
    let listed = listed.iter().find(|listed| listed["id"] == show["id"]).unwrap();
    assert_eq!(listed["price_from"], "12.50");
}

async fn retries_of_both_forms_are_replayed(app: &TestApp) {
    sell_types(app).await;
    let user = app.sign_up().await;
    let show = app.world.soon.0;
    let old_form = json!({ "show_id": show, "seat_ids": [seat(app, 1)] });
    let new_form = json!({ "show_id": show, "seats": tickets(app, &[(2, "child")]) });
    for (key, body) in [("old", &old_form), ("new", &new_form)] {
        let first = app.book(&user, key, body).await.ok(201);
        let again = app.book(&user, key, body).await.ok(201);
        assert_eq!((again.header("idempotent-replayed"), &again.bytes), (Some("true"), &first.bytes));
    }
    // Another form is another request, even for the same seats.
    let other = json!({ "show_id": show, "seats": tickets(app, &[(1, "adult")]) });
    app.book(&user, "old", &other).await.problem(422, "idempotency_key_reused");
}

async fn as_many_tickets_as_seats_are_allowed(app: &TestApp) {
    let user = app.sign_up().await;
    let seats = tickets(app, &[(1, "adult"), (2, "adult"), (3, "adult")]);
    let body = json!({ "show_id": app.world.soon.0, "seats": seats });
    assert_eq!(app.book(&user, "k", &body).await.problem(422, "too_many_seats").json()["max"], 2);
    hold(app, &user, "k", &json!({ "seats": seats })).await.problem(422, "too_many_seats");
}
