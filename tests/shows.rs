//! Shows and programmes that staff add, change and cancel.

use chrono::{Datelike as _, Days, NaiveDate, TimeDelta, Utc, Weekday};
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, TestApp, User};

on_both_stores!(
    show_is_added_with_its_prices,
    programme_keeps_its_local_times,
    nonexistent_local_times_are_named,
    overlapping_shows_are_listed,
    mistakes_of_shows_are_named,
    objects_of_new_shows_are_checked,
    shows_are_changed_by_version,
    show_with_bookings_moves_only_with_a_notice,
    new_prices_leave_holds_and_bookings,
    cancelled_show_cancels_its_bookings,
    cancelling_a_show_is_idempotent,
    staff_list_their_shows,
);

/// A theatre in Paris with one hall of six seats in two categories, and a movie.
struct Cinema {
    admin: User,
    theatre: i64,
    hall: i64,
    movie: i64,
    list: i64,
}

impl Cinema {
    async fn build(app: &TestApp) -> Self {
        let admin = app.sign_up_admin().await;
        let add = async |path: &str, body: Value| {
            let added = app.post(path).by(&admin).json(&body).send().await.ok(201);
            added.json()["id"].as_i64().unwrap()
        };
        let theatre = json!({
            "name": "Rex", "location": "Paris", "timezone": "Europe/Paris", "currency": "EUR", "tax_rate": "5.50",
            "cleaning_minutes": 20,
        });
        let theatre = add("/api/admin/theatres", theatre).await;
        let hall = add("/api/admin/halls", json!({ "theatre_id": theatre, "name": "Grande salle" })).await;
        let plan = "category s = standard\ncategory p = premium\nA | ssss\nB | pp";
        add(&format!("/api/admin/halls/{hall}/layouts"), json!({ "plan": plan })).await;
        add("/api/admin/ticket-types", json!({ "code": "child", "names": { "en": "Child" } })).await;
        let movie = json!({
            "title": "Playtime", "duration_minutes": 124, "language": "French", "release_date": "1967-12-16",
        });
        let movie = add("/api/admin/movies", movie).await;
        let price = |category: &str, ticket_type: &str, price: &str| json!({ "category": category, "ticket_type": ticket_type, "price": price });
        let prices = [
            price("standard", "adult", "9.00"),
            price("standard", "child", "6.00"),
            price("premium", "adult", "12.00"),
        ];
        let matinee = json!({ "name": "Matinee", "to_time": "17:00", "prices": [price("standard", "adult", "7.00")] });
        let list = json!({ "theatre_id": theatre, "name": "Standard", "prices": prices, "rules": [matinee] });
        let list = add("/api/admin/price-lists", list).await;
        Self { admin, theatre, hall, movie, list }
    }

    fn show(&self, start: &str) -> Value {
        json!({
            "movie_id": self.movie, "hall_id": self.hall, "price_list_id": self.list, "start_time": start, "format": "2D",
        })
    }

    fn programme(&self, first: NaiveDate, last: NaiveDate, times: &[&str]) -> Value {
        json!({
            "movie_id": self.movie, "hall_id": self.hall, "price_list_id": self.list, "first_day": first.to_string(),
            "last_day": last.to_string(), "times": times, "format": "2D",
        })
    }

    async fn add_show(&self, app: &TestApp, start: &str) -> i64 {
        let added = app.post("/api/admin/shows").by(&self.admin).json(&self.show(start)).send().await.ok(201);
        added.json()["id"].as_i64().unwrap()
    }

    async fn add_programme(&self, app: &TestApp, body: &Value) -> Answer {
        app.post("/api/admin/programmes").by(&self.admin).json(body).send().await
    }

    async fn seats(&self, app: &TestApp, show: i64) -> Vec<i64> {
        app.seats(show, None).await.iter().map(|seat| seat["id"].as_i64().unwrap()).collect()
    }
}

/// Returns the local time of Paris at noon a number of days ahead.
fn noon_in(days: u64) -> String {
    format!("{}T12:00", Utc::now().date_naive() + Days::new(days))
}

/// Returns the last Sunday of a month of next year: the day on which clocks change in Paris.
fn last_sunday(month: u32) -> NaiveDate {
    let year = Utc::now().year() + 1;
    let next = NaiveDate::from_ymd_opt(year, month + 1, 1).unwrap();
    (1..=7).map(|days| next - Days::new(days)).find(|day| day.weekday() == Weekday::Sun).unwrap()
}

fn patch(app: &TestApp, show: i64, tag: &str, body: &Value) -> Call {
    app.call(Method::PATCH, &format!("/api/admin/shows/{show}")).header("if-match", tag).json(body)
}

async fn show_is_added_with_its_prices(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let mut body = cinema.show(&noon_in(30));
    body["sales_close_minutes"] = json!(30);
    let added = app.post("/api/admin/shows").by(&cinema.admin).json(&body).send().await.ok(201);
    let show = added.json();
    let id = show["id"].as_i64().unwrap();
    assert_eq!(added.header("location"), Some(format!("/api/admin/shows/{id}").as_str()));
    assert_eq!((added.header("etag"), &show["version"]), (Some("\"1\""), &json!(1)));
    assert_eq!((&show["local_start_time"], &show["ambiguous_start"]), (&json!(noon_in(30)), &json!(false)));
    assert_eq!(
        (&show["language"], &show["currency"], &show["status"]),
        (&json!("French"), &json!("EUR"), &json!("scheduled"))
    );
    let minutes = |from: &str, to: &str| {
        let time = |name: &str| chrono::DateTime::parse_from_rfc3339(show[name].as_str().unwrap()).unwrap();
        (time(to) - time(from)).num_minutes()
    };
    assert_eq!([minutes("start_time", "end_time"), minutes("end_time", "hall_free_at")], [124, 20]);
    assert_eq!(minutes("sales_close_at", "start_time"), 30);
    // Noon is before 17:00: the rule of the list applies.
    let price = |category: &str, ticket_type: &str, price: &str| json!({ "category": category, "ticket_type": ticket_type, "price": price });
    let prices = json!([
        price("premium", "adult", "12.00"),
        price("standard", "adult", "7.00"),
        price("standard", "child", "6.00")
    ]);
    assert_eq!(show["prices"], prices);
    // A later change of the list leaves the show as it is.
    let list = format!("/api/admin/price-lists/{}", cinema.list);
    app.call(Method::PATCH, &list)
        .header("if-match", "*")
        .by(&cinema.admin)
        .json(&json!({ "rules": [] }))
        .send()
        .await
        .ok(200);
    let read = app.get(&format!("/api/admin/shows/{id}")).by(&cinema.admin).send().await.ok(200);
    assert_eq!((read.json(), read.header("etag")), (show, Some("\"1\"")));
    // Customers see it, and buy.
    let public = app.get(&format!("/api/shows/{id}")).send().await.ok(200).json();
    assert_eq!((&public["price_from"], &public["seats_available"]), (&json!("7.00"), &json!(6)));
    let ana = app.sign_up().await;
    let seats = cinema.seats(app, id).await;
    let body = json!({ "show_id": id, "seats": [{ "seat_id": seats[0], "ticket_type": "child" }] });
    assert_eq!(app.book(&ana, "k", &body).await.ok(201).booking()["total"], "6.00");
}

async fn programme_keeps_its_local_times(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    // Clocks go back on the last Sunday of October, when 02:30 exists twice.
    let sunday = last_sunday(10);
    let body = cinema.programme(sunday - Days::new(1), sunday + Days::new(1), &["20:00", "02:30"]);
    let answer = cinema.add_programme(app, &body).await.ok(201);
    let first = answer.json()["shows"][0]["id"].as_i64().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/api/admin/shows/{first}").as_str()));
    let shows = answer.json()["shows"].as_array().unwrap().clone();
    let found: Vec<_> = shows
        .iter()
        .map(|show| {
            let (local, utc) = (show["local_start_time"].as_str().unwrap(), show["start_time"].as_str().unwrap());
            format!("{} {} {}", &local[11..], &utc[11..16], show["ambiguous_start"])
        })
        .collect();
    let expected = [
        "02:30 00:30 false",
        "20:00 18:00 false",
        "02:30 00:30 true",
        "20:00 19:00 false",
        "02:30 01:30 false",
        "20:00 19:00 false",
    ];
    assert_eq!(found, expected);
    // Evening prices from 17:00.
    let evening = app.get(&format!("/api/shows/{}", shows[1]["id"])).send().await.ok(200).json();
    assert_eq!(evening["price_from"], "9.00");
    let mut weekend = cinema.programme(sunday + Days::new(8), sunday + Days::new(21), &["20:00"]);
    weekend["weekdays"] = json!(["sat", "sun"]);
    let days: Vec<_> = cinema.add_programme(app, &weekend).await.ok(201).json()["shows"].as_array().unwrap().clone();
    assert_eq!(days.len(), 4);
    assert_eq!(app.get("/api/admin/audit?object=show").by(&cinema.admin).send().await.ok(200).list().len(), 10);
}

async fn nonexistent_local_times_are_named(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let sunday = last_sunday(3);
    let before = app.rows("shows").await;
    let body = cinema.programme(sunday - Days::new(1), sunday + Days::new(1), &["02:30"]);
    let refused = cinema.add_programme(app, &body).await.problem(400, "validation_failed");
    assert!(refused.text().contains(&format!("{sunday} 02:30")), "{}", refused.text());
    assert_eq!(refused.mistakes(), ["times nonexistent_time"]);
    let one = app.post("/api/admin/shows").by(&cinema.admin).json(&cinema.show(&format!("{sunday}T02:30")));
    assert_eq!(one.send().await.mistakes(), ["start_time nonexistent_time"]);
    assert_eq!(app.rows("shows").await, before);
}

async fn overlapping_shows_are_listed(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let day = Utc::now().date_naive() + Days::new(40);
    let at = |time: &str| format!("{day}T{time}");
    // 124 minutes and 20 for cleaning: the hall is free at 22:24.
    let first = cinema.add_show(app, &at("20:00")).await;
    let second = cinema.add_show(app, &at("22:24")).await;
    let before = app.rows("shows").await;
    let body = cinema.programme(day - Days::new(1), day + Days::new(1), &["22:00"]);
    let refused = cinema.add_programme(app, &body).await.problem(409, "show_overlap").json();
    let conflicts = refused["conflicts"].as_array().unwrap();
    assert_eq!(conflicts.iter().map(|conflict| &conflict["show_id"]).collect::<Vec<_>>(), [first, second]);
    assert_eq!((&conflicts[0]["movie_title"], conflicts.len()), (&json!("Playtime"), 2));
    let late = app.post("/api/admin/shows").by(&cinema.admin).json(&cinema.show(&at("17:37"))).send().await;
    assert_eq!(late.problem(409, "show_overlap").json()["conflicts"][0]["show_id"], first);
    assert_eq!(app.rows("shows").await, before);
    cinema.add_show(app, &at("17:36")).await;
    let itself = cinema.programme(day + Days::new(5), day + Days::new(6), &["20:00", "22:00"]);
    assert_eq!(cinema.add_programme(app, &itself).await.mistakes(), ["times overlap"]);
}

async fn mistakes_of_shows_are_named(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let before = app.rows("shows").await;
    let day = Utc::now().date_naive() + Days::new(50);
    let programme = || cinema.programme(day, day + Days::new(1), &["20:00"]);
    for (field, value, mistake) in [
        ("last_day", json!((day - Days::new(1)).to_string()), "last_day out_of_range"),
        ("last_day", json!((day + Days::new(5 * 366)).to_string()), "last_day out_of_range"),
        ("weekdays", json!([]), "weekdays too_few"),
        ("weekdays", json!(["sun", "sun"]), "weekdays[1] repeated"),
        ("weekdays", json!(["sunday"]), "weekdays[0] invalid"),
        ("times", json!([]), "times too_few"),
        ("times", json!(["20:00", "20:00"]), "times repeated"),
        ("times", json!(["24:00"]), "times[0] invalid"),
        ("times", json!(vec!["20:00"; 49]), "times too_many"),
        ("first_day", json!("2020-01-01"), "last_day out_of_range"),
        ("duration_minutes", json!(1_800), "duration_minutes out_of_range"),
        ("format", json!(""), "format too_short"),
        ("sales_open_at", json!("tomorrow"), "sales_open_at invalid"),
        ("sales_open_at", json!((Utc::now() + TimeDelta::days(60)).to_rfc3339()), "sales_open_at out_of_range"),
        ("sales_close_minutes", json!(10_081), "sales_close_minutes out_of_range"),
    ] {
        let mut body = programme();
        body[field] = value.clone();
        assert_eq!(cinema.add_programme(app, &body).await.mistakes(), [mistake], "{value}");
    }
    let past = cinema.programme(
        NaiveDate::from_ymd_opt(2020, 1, 1).unwrap(),
        NaiveDate::from_ymd_opt(2020, 1, 2).unwrap(),
        &["20:00"],
    );
    assert_eq!(cinema.add_programme(app, &past).await.mistakes(), ["times out_of_range"]);
    let mut past = cinema.show("2020-01-01T20:00");
    assert_eq!(
        app.post("/api/admin/shows").by(&cinema.admin).json(&past).send().await.mistakes(),
        ["start_time out_of_range"]
    );
    past["start_time"] = json!("2020-01-01T20:00:00Z");
    assert_eq!(
        app.post("/api/admin/shows").by(&cinema.admin).json(&past).send().await.mistakes(),
        ["start_time invalid"]
    );
    let missing =
        ["movie_id required", "hall_id required", "price_list_id required", "start_time required", "format required"];
    assert_eq!(app.post("/api/admin/shows").by(&cinema.admin).json(&json!({})).send().await.mistakes(), missing);
    assert_eq!(app.rows("shows").await, before);
}

async fn objects_of_new_shows_are_checked(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let admin = &cinema.admin;
    let create = async |field: &str, value: Value| {
        let mut body = cinema.show(&noon_in(30));
        body[field] = value;
        app.post("/api/admin/shows").by(admin).json(&body).send().await
    };
    for (field, code) in
        [("movie_id", "movie_not_found"), ("hall_id", "hall_not_found"), ("price_list_id", "price_list_not_found")]
    {
        create(field, json!(987_654)).await.problem(404, code);
    }
    let add =
        async |path: &str, body: Value| app.post(path).by(admin).json(&body).send().await.ok(201).json()["id"].clone();
    let empty = add("/api/admin/halls", json!({ "theatre_id": cinema.theatre, "name": "Petite salle" })).await;
    create("hall_id", empty).await.problem(409, "conflict");
    let price = json!([{ "category": "standard", "ticket_type": "adult", "price": "9.00" }]);
    let partial = json!({ "theatre_id": cinema.theatre, "name": "Partial", "prices": price });
    let partial = add("/api/admin/price-lists", partial).await;
    let refused = create("price_list_id", partial).await;
    assert!(refused.text().contains("premium/adult"), "{}", refused.text());
    assert_eq!(refused.mistakes(), ["price_list_id missing_prices"]);
    let theatre = app.get("/api/theatres").send().await.ok(200).list()[0]["id"].clone();
    let foreign =
        add("/api/admin/price-lists", json!({ "theatre_id": theatre, "name": "Foreign", "prices": price })).await;
    assert_eq!(create("price_list_id", foreign).await.mistakes(), ["price_list_id other_theatre"]);
    app.call(Method::DELETE, &format!("/api/admin/movies/{}", cinema.movie)).by(admin).send().await.ok(204);
    create("format", json!("3D")).await.problem(409, "conflict");
    // Staff of another theatre.
    let elsewhere = app.sign_up_staff(&[theatre.as_i64().unwrap()]).await;
    app.post("/api/admin/shows").by(&elsewhere).json(&cinema.show(&noon_in(30))).send().await.problem(403, "forbidden");
}

async fn shows_are_changed_by_version(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let staff = app.sign_up_staff(&[cinema.theatre]).await;
    let id = cinema.add_show(app, &noon_in(30)).await;
    let body = json!({ "start_time": noon_in(31), "format": "3D", "sales_close_minutes": 60, "duration_minutes": 130 });
    let changed = patch(app, id, "\"1\"", &body).by(&staff).send().await.ok(200);
    let show = changed.json();
    assert_eq!(
        (&show["local_start_time"], &show["format"], changed.header("etag")),
        (&json!(noon_in(31)), &json!("3D"), Some("\"2\""))
    );
    patch(app, id, "\"1\"", &body).by(&staff).send().await.problem(412, "precondition_failed");
    // The closing of sales moves with the show.
    let moved = patch(app, id, "\"2\"", &json!({ "start_time": noon_in(32) })).by(&staff).send().await.ok(200).json();
    let time = |show: &Value, name: &str| chrono::DateTime::parse_from_rfc3339(show[name].as_str().unwrap()).unwrap();
    assert_eq!(time(&moved, "start_time") - time(&moved, "sales_close_at"), TimeDelta::hours(1));
    let opening = (Utc::now() + TimeDelta::days(1)).to_rfc3339();
    let later = patch(app, id, "*", &json!({ "sales_open_at": opening })).by(&staff).send().await.ok(200).json();
    assert!(later["sales_open_at"].is_string());
    let ana = app.sign_up().await;
    let seat = json!({ "show_id": id, "seat_id": cinema.seats(app, id).await[0] });
    app.book(&ana, "early", &seat).await.problem(409, "sales_closed");
    let opened =
        patch(app, id, "*", &json!({ "sales_open_at": "", "sales_close_minutes": 0 })).by(&staff).send().await.ok(200);
    assert_eq!((&opened.json()["sales_open_at"], &opened.json()["sales_close_at"]), (&Value::Null, &Value::Null));
    app.book(&ana, "now", &seat).await.ok(201);
    let past = patch(app, id, "*", &json!({ "start_time": "2020-01-01T20:00" })).by(&staff).send().await;
    assert_eq!(past.mistakes(), ["start_time out_of_range"]);
    let both = json!({ "prices": [], "price_list_id": cinema.list });
    assert_eq!(patch(app, id, "*", &both).by(&staff).send().await.mistakes(), ["price_list_id excluded"]);
    let no_premium = json!({ "prices": [{ "category": "standard", "ticket_type": "adult", "price": "5.00" }] });
    assert_eq!(patch(app, id, "*", &no_premium).by(&staff).send().await.mistakes(), ["prices missing_prices"]);
    let wrong = json!({ "prices": [{ "category": "standard", "ticket_type": "adult", "price": "-1.00" }] });
    assert_eq!(patch(app, id, "*", &wrong).by(&staff).send().await.status, 400);
    // A show that has begun stays.
    let started = app.world.started.0;
    patch(app, started, "*", &json!({ "format": "3D" })).by(&cinema.admin).send().await.problem(409, "conflict");
    patch(app, 987_654, "*", &json!({})).by(&staff).send().await.problem(404, "show_not_found");
}

async fn show_with_bookings_moves_only_with_a_notice(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let id = cinema.add_show(app, &noon_in(30)).await;
    let ana = app.sign_up().await;
    let seats = cinema.seats(app, id).await;
    let booked = app.book(&ana, "k", &json!({ "show_id": id, "seat_ids": seats[..2] })).await.ok(201).booking();
    let body = |notify: bool| json!({ "start_time": noon_in(33), "notify": notify });
    patch(app, id, "*", &body(false)).by(&cinema.admin).send().await.problem(409, "show_has_bookings");
    let events = "SELECT count(*) FROM outbox WHERE kind = 'booking_moved'";
    assert_eq!(app.backend.count(events).await, 0);
    let show = patch(app, id, "*", &body(true)).by(&cinema.admin).send().await.ok(200).json();
    assert_eq!(app.backend.count(events).await, 1);
    let path = format!("/api/bookings/{}", booked["id"]);
    assert_eq!(app.get(&path).by(&ana).send().await.ok(200).json()["start_time"], show["start_time"]);
}

async fn new_prices_leave_holds_and_bookings(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let id = cinema.add_show(app, &noon_in(30)).await;
    let (ana, seats) = (app.sign_up().await, cinema.seats(app, id).await);
    let booked = app.book(&ana, "k", &json!({ "show_id": id, "seat_id": seats[0] })).await.ok(201).booking();
    let hold = app.post(&format!("/api/shows/{id}/holds")).by(&ana).key("h").json(&json!({ "seat_ids": [seats[1]] }));
    let hold = hold.send().await.ok(201).json();
    let price = |category: &str, price: &str| json!({ "category": category, "ticket_type": "adult", "price": price });
    let prices = json!({ "prices": [price("standard", "20.00"), price("premium", "30.00")] });
    let changed = patch(app, id, "\"1\"", &prices).by(&cinema.admin).send().await.ok(200).json();
    assert_eq!(changed["prices"].as_array().unwrap().len(), 2);
    let path = format!("/api/bookings/{}", booked["id"]);
    assert_eq!(app.get(&path).by(&ana).send().await.ok(200).json()["total"], "7.00");
    assert_eq!(app.book(&ana, "redeem", &json!({ "hold_id": hold["id"] })).await.ok(201).booking()["total"], "7.00");
    let new = app.book(&ana, "new", &json!({ "show_id": id, "seat_id": seats[2] })).await.ok(201).booking();
    assert_eq!(new["total"], "20.00");
    // Back to the list.
    let list = json!({ "price_list_id": cinema.list });
    let changed = patch(app, id, "\"2\"", &list).by(&cinema.admin).send().await.ok(200).json();
    assert_eq!(changed["prices"].as_array().unwrap().len(), 3);
}

async fn cancelled_show_cancels_its_bookings(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let id = cinema.add_show(app, &noon_in(30)).await;
    let (users, seats) = (app.sign_up_many(3).await, cinema.seats(app, id).await);
    for (user, seat) in users.iter().zip(&seats) {
        app.book(user, "k", &json!({ "show_id": id, "seat_id": seat })).await.ok(201);
    }
    let hold =
        app.post(&format!("/api/shows/{id}/holds")).by(&users[0]).key("h").json(&json!({ "seat_ids": [seats[4]] }));
    let hold = hold.send().await.ok(201).json()["id"].clone();
    let path = format!("/api/admin/shows/{id}/cancel");
    let reason = json!({ "reason": "The projector is broken" });
    let cancelled = app.post(&path).by(&cinema.admin).json(&reason).send().await.ok(200).json();
    assert_eq!((&cancelled["status"], &cancelled["cancel_reason"]), (&json!("cancelled"), &reason["reason"]));
    for user in &users {
        let bookings = app.get("/api/bookings").by(user).send().await.ok(200).list();
        assert_eq!(bookings.iter().map(|booking| &booking["status"]).collect::<Vec<_>>(), ["cancelled"]);
    }
    assert_eq!(app.backend.count("SELECT count(*) FROM outbox WHERE kind = 'booking_cancelled'").await, 3);
    assert_eq!(
        app.backend.count("SELECT count(*) FROM show_cancellations WHERE bookings_cancelled_at IS NOT NULL").await,
        1
    );
    app.book(&users[0], "late", &json!({ "show_id": id, "seat_id": seats[5] })).await.problem(409, "sales_closed");
    app.book(&users[0], "held", &json!({ "hold_id": hold })).await.problem(409, "sales_closed");
    assert_eq!(app.get(&format!("/api/shows/{id}")).send().await.ok(200).json()["status"], "cancelled");
    patch(app, id, "*", &json!({ "format": "3D" })).by(&cinema.admin).send().await.problem(409, "conflict");
    // The hall is free again.
    cinema.add_show(app, &noon_in(30)).await;
    app.post("/api/admin/shows/987654/cancel")
        .by(&cinema.admin)
        .json(&reason)
        .send()
        .await
        .problem(404, "show_not_found");
    let log = app.get(&format!("/api/admin/audit?object=show&object_id={id}")).by(&cinema.admin).send().await.ok(200);
    assert_eq!(log.column("action"), [json!("cancel"), json!("create")]);
}

async fn cancelling_a_show_is_idempotent(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let id = cinema.add_show(app, &noon_in(30)).await;
    let path = format!("/api/admin/shows/{id}/cancel");
    let cancel =
        |key: &str, reason: &str| app.post(&path).by(&cinema.admin).key(key).json(&json!({ "reason": reason }));
    let first = cancel("k", "Broken").send().await.ok(200);
    let again = cancel("k", "Broken").send().await.ok(200);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&first.bytes, Some("true")));
    cancel("k", "Another reason").send().await.problem(422, "idempotency_key_reused");
    let other = cancel("other", "Another reason").send().await.ok(200).json();
    assert_eq!((&other["version"], &other["cancel_reason"]), (&json!(2), &json!("Broken")));
    let log = app.get(&format!("/api/admin/audit?object=show&object_id={id}")).by(&cinema.admin).send().await.ok(200);
    assert_eq!(log.list().len(), 2);
}

async fn staff_list_their_shows(app: &TestApp) {
    let cinema = Cinema::build(app).await;
    let staff = app.sign_up_staff(&[cinema.theatre]).await;
    let ids = [cinema.add_show(app, &noon_in(30)).await, cinema.add_show(app, &noon_in(31)).await];
    let listed = async |query: &str, user: &User| {
        app.get(&format!("/api/admin/shows{query}")).by(user).send().await.ok(200).column("id")
    };
    assert_eq!(listed("", &staff).await, ids);
    let day = &noon_in(31)[..10];
    assert_eq!(listed(&format!("?date={day}"), &staff).await, [ids[1]]);
    assert_eq!(listed("?search=PLAYT", &staff).await, ids);
    assert_eq!(listed("?search=stalker", &staff).await, [0; 0]);
    assert_eq!(
        listed(&format!("?hall_id={}&movie_id={}&status=scheduled", cinema.hall, cinema.movie), &staff).await,
        ids
    );
    assert_eq!(listed("?status=cancelled", &staff).await, [0; 0]);
    let page = app.get("/api/admin/shows?limit=1").by(&staff).send().await.ok(200);
    assert_eq!(page.column("id"), [ids[0]]);
    let next = app.get(&page.next_page().unwrap()).by(&staff).send().await.ok(200);
    assert_eq!((next.column("id"), next.next_page()), (vec![json!(ids[1])], None));
    assert!(listed("?include_past=true", &cinema.admin).await.contains(&json!(app.world.yesterday.0)));
    let theatre = app.get("/api/theatres").send().await.ok(200).list()[0]["id"].as_i64().unwrap();
    app.get(&format!("/api/admin/shows?theatre_id={theatre}")).by(&staff).send().await.problem(403, "forbidden");
    let elsewhere = app.sign_up_staff(&[theatre]).await;
    app.get(&format!("/api/admin/shows/{}", ids[0])).by(&elsewhere).send().await.problem(403, "forbidden");
}
