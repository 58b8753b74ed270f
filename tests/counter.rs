//! The box office: sales, house seats, corrections of bookings, and their history.

use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Call, PASSWORD, TestApp, User};

on_both_stores!(
    box_office_sells_to_walk_in_customers,
    box_office_sells_to_known_customers,
    invalid_sales_sell_nothing,
    overrides_are_audited_with_their_reason with ["SEAT_GAP_RULE" = "forbid"],
    box_office_sells_until_the_show_ends,
    house_seats_are_blocked_and_released,
    house_seats_are_blocked_all_or_none,
    staff_correct_a_booking_after_the_show_began,
    history_has_all_that_happened_to_a_booking,
    staff_of_another_theatre_sell_and_block_nothing,
);

/// The theatre of the show `soon`.
async fn theatre_of(app: &TestApp) -> i64 {
    app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200).json()["theatre_id"].as_i64().unwrap()
}

async fn cashier(app: &TestApp) -> User {
    let theatre = theatre_of(app).await;
    app.sign_up_staff(&[theatre]).await
}

fn seat_ids(app: &TestApp, places: impl IntoIterator<Item = usize>) -> Vec<i64> {
    places.into_iter().map(|place| app.world.main[place].id.0).collect()
}

fn sale(app: &TestApp, key: &str, body: &Value) -> Call {
    app.post(&format!("/api/admin/shows/{}/sales", app.world.soon)).key(key).json(body)
}

fn blocks(app: &TestApp, method: Method) -> Call {
    app.call(method, &format!("/api/admin/shows/{}/blocks", app.world.soon))
}

fn house(app: &TestApp, places: impl IntoIterator<Item = usize>) -> Value {
    json!({ "seat_ids": seat_ids(app, places), "reason": "For the press" })
}

async fn box_office_sells_to_walk_in_customers(app: &TestApp) {
    let (staff, admin) = (cashier(app).await, app.sign_up_admin().await);
    let body = json!({ "seat_ids": seat_ids(app, [0, 1]), "payment": "cash" });
    let sold = sale(app, "first", &body).by(&staff).send().await.ok(201);
    let booking = sold.json();
    assert_eq!((&booking["channel"], &booking["payment_kind"]), (&json!("box_office"), &json!("cash")));
    assert_eq!((&booking["status"], &booking["total"]), (&json!("confirmed"), &json!("25.00")));
    let path = format!("/api/admin/bookings/{}", booking["id"]);
    assert_eq!(sold.header("location"), Some(path.as_str()));
    let again = sale(app, "first", &body).by(&staff).send().await.ok(201);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&sold.bytes, Some("true")));
    let other = json!({ "seat_ids": seat_ids(app, [2]), "payment": "cash" });
    sale(app, "first", &other).by(&staff).send().await.problem(422, "idempotency_key_reused");
    let unkeyed = app.post(&format!("/api/admin/shows/{}/sales", app.world.soon)).json(&other);
    unkeyed.by(&staff).send().await.problem(400, "idempotency_key_missing");
    // Ticket types, and the same owner.
    let tickets = json!([{ "seat_id": seat_ids(app, [2])[0], "ticket_type": "adult" }]);
    let body = json!({ "seats": tickets, "payment": "card_terminal" });
    let second = sale(app, "second", &body).by(&admin).send().await.ok(201).json();
    assert_eq!((&second["user_id"], &second["payment_kind"]), (&booking["user_id"], &json!("card_terminal")));
    let found = app.get(&path).by(&staff).send().await.ok(200).json();
    assert_eq!((&found["customer_name"], &found["channel"]), (&json!("Box office"), &json!("box_office")));
    let email = found["customer_email"].as_str().unwrap();
    assert!(email.ends_with(".invalid"), "{email}");
    // The account cannot be logged in to, its address cannot be registered, and its rights cannot be changed.
    app.login(email, PASSWORD).await.problem(401, "invalid_credentials");
    assert_eq!(app.register("Ana", email, PASSWORD).await.mistakes(), ["email invalid"]);
    let users = app.get("/api/admin/users?search=box%20office").by(&admin).send().await.ok(200);
    assert_eq!(users.list(), [Value::Null; 0]);
    let user = format!("/api/admin/users/{}", booking["user_id"]);
    app.get(&user).by(&admin).send().await.problem(404, "user_not_found");
    let enable = app.call(Method::PATCH, &user).header("if-match", "*").json(&json!({ "disabled": false }));
    enable.by(&admin).send().await.problem(404, "user_not_found");
    // Staff cancel the booking.
    let cancel = app.post(&format!("{path}/cancel")).by(&staff).json(&json!({ "reason": "Changed their mind" }));
    assert_eq!(cancel.send().await.ok(200).json()["status"], "cancelled");
    assert_eq!(app.seat(app.world.soon.0, seat_ids(app, [0])[0], None).await["status"], "available");
}

async fn box_office_sells_to_known_customers(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let body = |place, email: &str| json!({ "seat_ids": seat_ids(app, [place]), "payment": "cash", "customer": { "email": email } });
    let sold = sale(app, "k", &body(0, &ana.email.to_uppercase())).by(&staff).send().await.ok(201).json();
    assert_eq!(sold["user_id"], json!(ana.id));
    let own = app.get("/api/bookings").by(&ana).send().await.ok(200).list();
    assert_eq!(own.iter().map(|booking| booking["id"].clone()).collect::<Vec<_>>(), [sold["id"].clone()]);
    // The cashier is not the owner.
    app.get(&format!("/api/bookings/{}", sold["id"])).by(&staff).send().await.problem(404, "booking_not_found");
    let unknown = sale(app, "k2", &body(1, "nobody@example.org")).by(&staff).send().await;
    unknown.problem(404, "customer_not_found");
    assert_eq!(app.rows("bookings").await, 1);
    // The customer cancels it like any other booking.
    app.post(&format!("/api/bookings/{}/cancel", sold["id"])).by(&ana).send().await.ok(200);
}

async fn invalid_sales_sell_nothing(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let mistakes = async |body: Value| sale(app, "k", &body).by(&staff).send().await.mistakes();
    assert_eq!(mistakes(json!({})).await, ["seats required", "payment required"]);
    let one = seat_ids(app, [0]);
    let both = json!({ "seat_ids": one, "seats": [{ "seat_id": 1 }], "payment": "bitcoin", "customer": {} });
    let expected = ["seat_ids conflict", "seats conflict", "customer.email required", "payment invalid"];
    assert_eq!(mistakes(both).await, expected);
    let body = json!({ "seat_ids": one, "payment": "complimentary" });
    assert_eq!(mistakes(body).await, ["reason required"]);
    let body = json!({ "seat_ids": one, "payment": "cash", "override": ["seat_gap", "price"] });
    assert_eq!(mistakes(body).await, ["override[1] invalid"]);
    let body = json!({ "seat_ids": one, "payment": "cash", "override": ["seat_gap"] });
    assert_eq!(mistakes(body).await, ["reason required"]);
    let sell = |body: Value| sale(app, "k", &body).by(&staff);
    app.book(&ana, "a", &json!({ "show_id": app.world.soon.0, "seat_id": one[0] })).await.ok(201);
    let hold = app.post(&format!("/api/shows/{}/holds", app.world.soon)).by(&ana).key("hold");
    hold.json(&json!({ "seat_ids": seat_ids(app, [1]) })).send().await.ok(201);
    let taken = sell(json!({ "seat_ids": seat_ids(app, [2, 1, 0]), "payment": "cash" })).send().await;
    let taken = taken.problem(409, "seat_unavailable").json();
    assert_eq!((&taken["seat_ids"], taken.get("hold_id")), (&json!(seat_ids(app, [1, 0])), None));
    assert!(taken["alternatives"].is_array(), "{taken}");
    let elsewhere = app.world.beta[0].id.0;
    let wrong = sell(json!({ "seat_ids": [elsewhere], "payment": "cash" })).send().await;
    wrong.problem(404, "seat_not_found");
    let tickets = json!([{ "seat_id": seat_ids(app, [2])[0], "ticket_type": "child" }]);
    sell(json!({ "seats": tickets, "payment": "cash" })).send().await.problem(422, "ticket_type_not_sold");
    let unknown = app.post("/api/admin/shows/987654/sales").key("k").by(&staff);
    let body = json!({ "seat_ids": one, "payment": "cash" });
    unknown.json(&body).send().await.problem(404, "show_not_found");
    assert_eq!((app.rows("bookings").await, app.rows("audit_log").await), (1, 0));
}

async fn overrides_are_audited_with_their_reason(app: &TestApp) {
    let staff = cashier(app).await;
    let sell = |places: Vec<usize>, overrides: Value| {
        let body = json!({
            "seat_ids": seat_ids(app, places), "payment": "complimentary", "override": overrides,
            "reason": "A school class",
        });
        sale(app, "k", &body).by(&staff)
    };
    // The first seat of a row stays alone.
    sell(vec![1], json!([])).send().await.problem(422, "seats_leave_gap");
    let sold = sell(vec![1], json!(["seat_gap"])).send().await.ok(201).json();
    assert_eq!((&sold["total"], &sold["payment_kind"]), (&json!("0.00"), &json!("complimentary")));
    let many = sale(app, "many", &json!({ "seat_ids": seat_ids(app, 10..21), "payment": "cash" }));
    assert_eq!(many.by(&staff).send().await.problem(422, "too_many_seats").json()["max"], json!(10));
    let body = json!({
        "seat_ids": seat_ids(app, 10..30), "payment": "cash", "override": ["seat_limit"], "reason": "A company",
    });
    let many = sale(app, "many", &body).by(&staff).send().await.ok(201).json();
    assert_eq!(many["seats"].as_array().unwrap().len(), 20);
    let ids: Vec<i64> = (1..=101).collect();
    let body = json!({ "seat_ids": ids, "payment": "cash", "override": ["seat_limit"], "reason": "A company" });
    let refused = sale(app, "more", &body).by(&staff).send().await.problem(422, "too_many_seats");
    assert_eq!(refused.json()["max"], json!(100));
    let entries = app.get("/api/admin/audit?object=booking").by(&staff).send().await.ok(200).list();
    let [_, entry] = &entries[..] else { panic!("two entries: {entries:?}") };
    assert_eq!((&entry["action"], &entry["object_id"]), (&json!("sell"), &sold["id"]));
    let after = &entry["after"];
    assert_eq!((&after["overrides"], &after["reason"]), (&json!("seat_gap"), &json!("A school class")));
    assert_eq!((&after["payment_kind"], &entry["actor_id"]), (&json!("complimentary"), &json!(staff.id)));
}

async fn box_office_sells_until_the_show_ends(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let set = async |values: String| {
        app.backend.execute(&format!("UPDATE shows SET {values} WHERE id = {}", app.world.soon)).await;
    };
    let sell = |place: usize| {
        let body = json!({ "seat_ids": seat_ids(app, [place]), "payment": "cash" });
        sale(app, &format!("{place}"), &body).by(&staff)
    };
    let book = async |place: usize| {
        let body = json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [place])[0] });
        app.book(&ana, &format!("{place}"), &body).await
    };
    set(format!("sales_open_at = {}", app.backend.instant(600))).await;
    book(0).await.problem(409, "sales_closed");
    sell(0).send().await.ok(201);
    app.backend.execute("UPDATE shows SET status = 'cancelled' WHERE format = 'started'").await;
    let (start, end) = (app.backend.instant(-600), app.backend.instant(7_200));
    set(format!("sales_open_at = NULL, start_time = {start}, end_time = {end}, hall_free_at = {end}")).await;
    book(1).await.problem(409, "sales_closed");
    sell(1).send().await.ok(201);
    let end = app.backend.instant(-1);
    set(format!("end_time = {end}, hall_free_at = {end}")).await;
    sell(2).send().await.problem(409, "sales_closed");
    let end = app.backend.instant(7_200);
    set(format!("end_time = {end}, hall_free_at = {end}, status = 'cancelled'")).await;
    sell(2).send().await.problem(409, "sales_closed");
    blocks(app, Method::POST).by(&staff).json(&house(app, [2])).send().await.problem(409, "sales_closed");
}

async fn house_seats_are_blocked_and_released(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let block = |key: &str| blocks(app, Method::POST).by(&staff).key(key).json(&house(app, [0, 1]));
    let blocked = block("k").send().await.ok(200);
    let mut ids = seat_ids(app, [0, 1]);
    ids.sort_unstable();
    assert_eq!(blocked.json(), json!({ "show_id": app.world.soon.0, "seat_ids": ids }));
    let again = block("k").send().await.ok(200);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&blocked.bytes, Some("true")));
    // Blocked already: no error and no effect.
    block("other").send().await.ok(200);
    assert_eq!(app.rows("audit_log").await, 1);
    let seat = app.seat(app.world.soon.0, ids[0], Some(&ana)).await;
    assert_eq!((&seat["status"], seat.get("user_id")), (&json!("booked"), None));
    let book = |place: usize| json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [place])[0] });
    app.book(&ana, "a", &book(0)).await.problem(409, "seat_unavailable");
    let listed = blocks(app, Method::GET).by(&staff).send().await.ok(200).list();
    assert_eq!(listed.len(), 2);
    let first = listed.iter().find(|seat| seat["seat_id"] == json!(seat_ids(app, [0])[0])).unwrap();
    assert_eq!((&first["row"], &first["number"]), (&json!("A"), &json!(1)));
    assert_eq!((&first["reason"], &first["by"]), (&json!("For the press"), &json!(staff.id)));
    assert!(first["since"].is_string());
    let mistakes = blocks(app, Method::POST).by(&staff).json(&json!({ "seat_ids": [] })).send().await.mistakes();
    assert_eq!(mistakes, ["seat_ids too_few", "reason required"]);
    // Free already: no error and no effect.
    let release = |places: [usize; 2]| blocks(app, Method::DELETE).by(&staff).json(&house(app, places)).send();
    assert_eq!(release([0, 2]).await.ok(200).json()["seat_ids"], json!(seat_ids(app, [1])));
    release([0, 2]).await.ok(200);
    app.book(&ana, "b", &book(0)).await.ok(201);
    let refused = release([0, 1]).await.problem(409, "seat_unavailable").json();
    assert_eq!(refused["seat_ids"], json!(seat_ids(app, [0])));
    let entries = app.get("/api/admin/audit?object=show").by(&staff).send().await.ok(200).list();
    let [released, entry] = &entries[..] else { panic!("two entries: {entries:?}") };
    assert_eq!((&entry["action"], &entry["object_id"]), (&json!("block"), &json!(app.world.soon.0)));
    assert_eq!(entry["after"], json!({ "blocked": "A 1; A 2", "reason": "For the press" }));
    assert_eq!((&released["action"], &released["before"]), (&json!("unblock"), &json!({ "blocked": "A 1" })));
    assert_eq!(app.rows("outbox WHERE kind = 'seats_blocked'").await, 1);
    assert_eq!(app.rows("outbox WHERE kind = 'seats_released'").await, 1);
}

async fn house_seats_are_blocked_all_or_none(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    app.book(&ana, "a", &json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [1])[0] })).await.ok(201);
    let hold = app.post(&format!("/api/shows/{}/holds", app.world.soon)).by(&ana).key("hold");
    hold.json(&json!({ "seat_ids": seat_ids(app, [2]) })).send().await.ok(201);
    let refused = blocks(app, Method::POST).by(&staff).json(&house(app, [0, 1, 2])).send().await;
    assert_eq!(refused.problem(409, "seat_unavailable").json()["seat_ids"], json!(seat_ids(app, [1, 2])));
    let elsewhere = json!({ "seat_ids": [app.world.beta[0].id.0], "reason": "A mistake" });
    for method in [Method::POST, Method::DELETE] {
        let wrong = blocks(app, method.clone()).by(&staff).json(&elsewhere).send().await;
        wrong.problem(404, "seat_not_found");
        let unknown = app.call(method, "/api/admin/shows/987654/blocks").by(&staff).json(&elsewhere).send().await;
        unknown.problem(404, "show_not_found");
    }
    app.get("/api/admin/shows/987654/blocks").by(&staff).send().await.problem(404, "show_not_found");
    assert_eq!(blocks(app, Method::GET).by(&staff).send().await.ok(200).list(), [Value::Null; 0]);
    assert_eq!((app.rows("seat_blocks").await, app.rows("audit_log").await), (0, 0));
    // More seats than a booking can have.
    let many = blocks(app, Method::POST).by(&staff).json(&house(app, 10..40)).send().await.ok(200).json();
    assert_eq!(many["seat_ids"].as_array().unwrap().len(), 30);
}

async fn staff_correct_a_booking_after_the_show_began(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let body = json!({ "show_id": app.world.soon.0, "seat_ids": seat_ids(app, [0, 1]) });
    let booking = app.book(&ana, "a", &body).await.booking();
    app.backend.execute("UPDATE shows SET status = 'cancelled' WHERE format = 'started'").await;
    let (start, end) = (app.backend.instant(-600), app.backend.instant(7_200));
    let times = format!("start_time = {start}, end_time = {end}, hall_free_at = {end}");
    app.backend.execute(&format!("UPDATE shows SET {times} WHERE id = {}", app.world.soon)).await;
    let own = app.post(&format!("/api/bookings/{}/seats", booking["id"])).by(&ana);
    own.json(&json!({ "seat_ids": seat_ids(app, [0, 2]) })).send().await.problem(409, "sales_closed");
    let path = format!("/api/admin/bookings/{}/seats", booking["id"]);
    let correct = |body: Value| app.post(&path).by(&staff).json(&body);
    assert_eq!(correct(json!({})).send().await.mistakes(), ["seats required", "reason required"]);
    let few = json!({ "seat_ids": seat_ids(app, [0]), "reason": "A wheelchair" });
    assert_eq!(correct(few).send().await.mistakes(), ["seat_ids wrong_count"]);
    // A premium seat at the price of the sale.
    let body = json!({ "seat_ids": seat_ids(app, [0, 55]), "reason": "A wheelchair" });
    let corrected = correct(body.clone()).key("k").send().await.ok(200);
    assert_eq!((&corrected.json()["total"], &corrected.json()["user_id"]), (&json!("25.00"), &json!(ana.id)));
    let again = correct(body.clone()).key("k").send().await.ok(200);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&corrected.bytes, Some("true")));
    correct(body).send().await.ok(200);
    let [first, last] = seat_ids(app, [0, 55])[..] else { panic!("two seats") };
    let tickets = json!([{ "seat_id": first, "ticket_type": "child" }, { "seat_id": last }]);
    let wrong = correct(json!({ "seats": tickets, "reason": "A child" })).send().await;
    assert_eq!(wrong.problem(422, "ticket_type_not_sold").json()["seat_ids"], json!([first]));
    let entries = app.get("/api/admin/audit?object=booking").by(&staff).send().await.ok(200).list();
    let [entry] = &entries[..] else { panic!("one entry: {entries:?}") };
    assert_eq!((&entry["action"], &entry["after"]["reason"]), (&json!("update"), &json!("A wheelchair")));
    assert_eq!(app.rows("outbox WHERE kind = 'booking_changed'").await, 1);
    assert_eq!(app.seat(app.world.soon.0, seat_ids(app, [1])[0], None).await["status"], "available");
    app.post("/api/admin/bookings/987654/seats")
        .by(&staff)
        .json(&json!({ "seat_ids": [1], "reason": "A mistake" }))
        .send()
        .await
        .problem(404, "booking_not_found");
}

async fn history_has_all_that_happened_to_a_booking(app: &TestApp) {
    let (staff, ana) = (cashier(app).await, app.sign_up().await);
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [0])[0] });
    let booking = app.book(&ana, "a", &body).await.booking();
    let history =
        async |id: &Value| app.get(&format!("/api/admin/bookings/{id}/history")).by(&staff).send().await.ok(200).list();
    let own = app.post(&format!("/api/bookings/{}/seats", booking["id"])).by(&ana);
    own.json(&json!({ "seat_ids": seat_ids(app, [1]) })).send().await.ok(200);
    let body = json!({ "seat_ids": seat_ids(app, [2]), "reason": "A wheelchair" });
    app.post(&format!("/api/admin/bookings/{}/seats", booking["id"])).by(&staff).json(&body).send().await.ok(200);
    let cancel = app.post(&format!("/api/admin/bookings/{}/cancel", booking["id"])).by(&staff);
    cancel.json(&json!({ "reason": "The projector is broken" })).send().await.ok(200);
    let events = history(&booking["id"]).await;
    let facts: Vec<_> = events.iter().map(|event| (&event["kind"], &event["by"], &event["actor_id"])).collect();
    let (kind, customer, by_staff) = (|text: &str| json!(text), json!("customer"), json!("staff"));
    let (booked, changed, cancelled) = (kind("booked"), kind("seats_changed"), kind("cancelled"));
    let (ana_id, staff_id) = (json!(ana.id), json!(staff.id));
    let expected = [
        (&booked, &customer, &ana_id),
        (&changed, &customer, &ana_id),
        (&changed, &by_staff, &staff_id),
        (&cancelled, &by_staff, &staff_id),
    ];
    assert_eq!(facts, expected);
    assert_eq!(events[0]["details"], json!({ "channel": "online" }));
    assert_eq!(events[0]["at"], booking["booked_at"]);
    assert_eq!(events[1]["details"]["seats_before"], "A 1 adult 12.50");
    assert_eq!(events[2]["details"]["seats_after"], "A 3 adult 12.50");
    assert_eq!((events[1].get("reason"), &events[2]["reason"]), (None, &json!("A wheelchair")));
    assert_eq!(events[3]["reason"], "The projector is broken");
    let body = json!({ "seat_ids": seat_ids(app, [5]), "payment": "cash", "reason": "A regular" });
    let sold = sale(app, "k", &body).by(&staff).send().await.ok(201).json();
    let events = history(&sold["id"]).await;
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((&event["kind"], &event["by"], &event["actor_id"]), (&booked, &by_staff, &staff_id));
    let details = json!({ "channel": "box_office", "payment_kind": "cash", "seats": "A 6 adult 12.50" });
    assert_eq!((&event["details"], &event["reason"]), (&details, &json!("A regular")));
    // A booking that an earlier version has cancelled.
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [7])[0] });
    let old = app.book(&ana, "old", &body).await.booking();
    app.post(&format!("/api/bookings/{}/cancel", old["id"])).by(&ana).send().await.ok(200);
    app.backend.execute(&format!("DELETE FROM booking_events WHERE booking_id = {}", old["id"])).await;
    let events = history(&old["id"]).await;
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, events[1].get("by")), (vec!["booked", "cancelled"], None));
    app.get("/api/admin/bookings/987654/history").by(&staff).send().await.problem(404, "booking_not_found");
}

async fn staff_of_another_theatre_sell_and_block_nothing(app: &TestApp) {
    let (theatre, ana) = (theatre_of(app).await, app.sign_up().await);
    let theatres = app.get("/api/theatres").send().await.column("id");
    let others: Vec<i64> = theatres.iter().map(|id| id.as_i64().unwrap()).filter(|id| *id != theatre).collect();
    let elsewhere = app.sign_up_staff(&others).await;
    let body = json!({ "seat_ids": seat_ids(app, [0]), "payment": "cash" });
    sale(app, "k", &body).by(&elsewhere).send().await.problem(403, "forbidden");
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let call = blocks(app, method.clone()).by(&elsewhere);
        let call = if method == Method::GET { call } else { call.json(&house(app, [0])) };
        call.send().await.problem(403, "forbidden");
    }
    let body = json!({ "show_id": app.world.soon.0, "seat_id": seat_ids(app, [0])[0] });
    let booking = app.book(&ana, "a", &body).await.booking();
    let path = format!("/api/admin/bookings/{}", booking["id"]);
    let body = json!({ "seat_ids": seat_ids(app, [1]), "reason": "A mistake" });
    let correct = app.post(&format!("{path}/seats")).by(&elsewhere).json(&body).send().await;
    correct.problem(404, "booking_not_found");
    app.get(&format!("{path}/history")).by(&elsewhere).send().await.problem(404, "booking_not_found");
    assert_eq!((app.rows("seat_claims").await, app.rows("audit_log").await), (1, 0));
}
