//! Reports: occupancy, revenue, and booked seats as a file.

use chrono::{DateTime, Days, SecondsFormat};
use port_contracts::Fixture as _;
use port_contracts::world::block;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, User, http_client};

on_both_stores!(
    occupancy_and_revenue_are_those_of_the_bookings,
    staff_see_the_reports_of_their_theatres,
    invalid_reports_are_refused,
    report_of_too_many_rows_is_refused,
    booked_seats_are_a_file,
    client_may_accept_the_file_alone,
    file_that_cannot_be_finished_is_cut_off,
);

/// Returns the days around the shows of the world, as a query.
fn days(app: &TestApp) -> String {
    let today = app.world.base.date_naive();
    let (from, to) = (today.checked_sub_days(Days::new(5)).unwrap(), today.checked_add_days(Days::new(10)).unwrap());
    format!("from={from}&to={to}")
}

async fn report(app: &TestApp, user: &User, name: &str, query: &str) -> Answer {
    app.get(&format!("/api/admin/reports/{name}?{}&{query}", days(app))).by(user).send().await
}

/// Books two seats in Alpha and two in Beta, one of which is cancelled. Returns the customer and the bookings.
async fn sell(app: &TestApp) -> (User, [Value; 3]) {
    let (ana, world) = (app.sign_up().await, &app.world);
    let book = async |key: &str, show: i64, seats: &[i64]| {
        app.book(&ana, key, &json!({ "show_id": show, "seat_ids": seats })).await.booking()
    };
    let alpha = book("a", world.soon.0, &[world.main[0].id.0, world.main[1].id.0]).await;
    let beta = book("b", world.later.0, &[world.beta[0].id.0]).await;
    let cancelled = book("c", world.later.0, &[world.beta[1].id.0]).await;
    app.post(&format!("/api/bookings/{}/cancel", cancelled["id"])).by(&ana).key("d").send().await.ok(200);
    (ana, [alpha, beta, cancelled])
}

async fn theatre_of(app: &TestApp, show: i64) -> i64 {
    app.get(&format!("/api/shows/{show}")).send().await.ok(200).json()["theatre_id"].as_i64().unwrap()
}

/// Returns these members of each row.
fn columns<const N: usize>(rows: &Value, names: [&str; N]) -> Vec<[Value; N]> {
    rows.as_array().unwrap().iter().map(|row| names.map(|name| row[name].clone())).collect()
}

async fn occupancy_and_revenue_are_those_of_the_bookings(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    sell(app).await;
    block(&app.backend, app.world.soon, app.world.main[9].id).await;
    let found = report(app, &admin, "occupancy", "").await.ok(200).json();
    let rows = columns(&found["rows"], ["show_id", "seats", "sold", "blocked", "free", "percent"]);
    assert_eq!(rows.len(), 6);
    let row = |show: i64| rows.iter().find(|row| row[0] == show).unwrap();
    assert_eq!(json!(row(app.world.soon.0)), json!([app.world.soon.0, 60, 2, 1, 57, "3.33"]));
    assert_eq!(json!(row(app.world.later.0)), json!([app.world.later.0, 60, 1, 0, 59, "1.67"]));
    assert_eq!(json!(row(app.world.beside.0)), json!([app.world.beside.0, 5, 0, 0, 5, "0.00"]));
    let total = json!({ "shows": 6, "seats": 250, "sold": 3, "blocked": 1, "free": 246, "percent": "1.20" });
    assert_eq!(found["total"], total);
    for by in ["movie", "theatre", "day"] {
        let grouped = report(app, &admin, "occupancy", &format!("by={by}")).await.ok(200).json();
        assert_eq!(grouped["total"], total, "{by}");
        let sums = columns(&grouped["rows"], ["shows", "seats", "sold", "blocked"]);
        let sums: Vec<i64> = (0..4).map(|at| sums.iter().map(|row| row[at].as_i64().unwrap()).sum()).collect();
        assert_eq!(sums, [6, 250, 3, 1], "{by}");
    }
    let revenue = report(app, &admin, "revenue", "by=theatre").await.ok(200).json();
    let amounts = ["currency", "tickets", "cancelled_tickets", "gross", "net", "tax"];
    let (euros, yen) = (json!(["EUR", 2, 0, "25.00", "23.36", "1.64"]), json!(["JPY", 1, 1, "1900", "1776", "124"]));
    assert_eq!(json!(columns(&revenue["rows"], amounts)), json!([euros, yen]));
    assert_eq!(json!(columns(&revenue["rows"], ["theatre_name"])), json!([["Alpha"], ["Beta"]]));
    assert_eq!(json!(columns(&revenue["totals"], amounts)), json!([euros, yen]));
    for by in ["show", "movie", "day", "ticket_type", "channel"] {
        let grouped = report(app, &admin, "revenue", &format!("by={by}")).await.ok(200).json();
        assert_eq!(json!(columns(&grouped["rows"], amounts).len()), 2, "{by}");
        assert_eq!(json!(columns(&grouped["totals"], amounts)), json!([euros, yen]), "{by}");
    }
    let days = report(app, &admin, "revenue", "by=day").await.ok(200).json();
    let local = |hours: i64, zone: chrono_tz::Tz| {
        let start = app.world.base + chrono::TimeDelta::hours(hours);
        json!([start.with_timezone(&zone).date_naive().to_string()])
    };
    let expected = json!([local(3, chrono_tz::Europe::Berlin), local(100, chrono_tz::Asia::Tokyo)]);
    assert_eq!(json!(columns(&days["rows"], ["day"])), expected);
    let channel = report(app, &admin, "revenue", "by=channel").await.ok(200).json();
    assert_eq!(
        json!(columns(&channel["rows"], ["channel", "ticket_type"])),
        json!([["online", null], ["online", null]])
    );
    // A movie, and a day on which no show begins.
    let movie = app.get(&format!("/api/shows/{}", app.world.beside)).send().await.json()["movie_id"].clone();
    let of_movie = report(app, &admin, "revenue", &format!("movie_id={movie}")).await.ok(200).json();
    assert_eq!((&of_movie["rows"], &of_movie["totals"]), (&json!([]), &json!([])));
    let past = app.get("/api/admin/reports/occupancy?to=2001-01-01").by(&admin).send().await.ok(200).json();
    assert_eq!(
        (&past["from"], &past["rows"], &past["total"]["percent"]),
        (&json!("2001-01-01"), &json!([]), &json!("0.00"))
    );
}

async fn staff_see_the_reports_of_their_theatres(app: &TestApp) {
    sell(app).await;
    let (alpha, beta) = (theatre_of(app, app.world.soon.0).await, theatre_of(app, app.world.later.0).await);
    let (staff, nowhere) = (app.sign_up_staff(&[beta]).await, app.sign_up_staff(&[]).await);
    for name in ["occupancy", "revenue", "bookings.csv"] {
        report(app, &staff, name, &format!("theatre_id={alpha}")).await.problem(403, "forbidden");
        report(app, &nowhere, name, &format!("theatre_id={beta}")).await.problem(403, "forbidden");
        report(app, &app.sign_up().await, name, "").await.problem(403, "forbidden");
    }
    let revenue = report(app, &staff, "revenue", "by=theatre").await.ok(200).json();
    assert_eq!(json!(columns(&revenue["rows"], ["theatre_id", "currency"])), json!([[beta, "JPY"]]));
    let occupancy = report(app, &staff, "occupancy", &format!("by=theatre&theatre_id={beta}")).await.ok(200).json();
    assert_eq!(json!(columns(&occupancy["rows"], ["theatre_id", "shows"])), json!([[beta, 2]]));
    let file = report(app, &staff, "bookings.csv", "").await.ok(200);
    assert_eq!((file.text().lines().count(), file.text().contains("Alpha")), (3, false));
    let revenue = report(app, &nowhere, "revenue", "").await.ok(200).json();
    assert_eq!(revenue["totals"], json!([]));
    assert_eq!(report(app, &nowhere, "bookings.csv", "").await.ok(200).text().lines().count(), 1);
}

async fn invalid_reports_are_refused(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    for name in ["occupancy", "revenue", "bookings.csv"] {
        let ask = async |query: &str| app.get(&format!("/api/admin/reports/{name}?{query}")).by(&admin).send().await;
        let mistakes = async |query: &str| ask(query).await.mistakes();
        assert_eq!(mistakes("from=2026-02-30&to=x").await, ["from invalid", "to invalid"]);
        assert_eq!(mistakes("from=2026-02-02&to=2026-02-01").await, ["to out_of_range"]);
        assert_eq!(mistakes("from=2026-01-01&to=2027-02-05").await, ["to out_of_range"]);
        ask("from=2026-01-01&to=2027-02-04").await.ok(200);
        ask("").await.ok(200);
        assert_eq!(mistakes("theatre_id=0&movie_id=x").await, ["theatre_id invalid", "movie_id invalid"]);
        ask("theatre_id=987654").await.problem(404, "theatre_not_found");
        ask("movie_id=987654").await.problem(404, "movie_not_found");
    }
    let ask = async |path: &str| app.get(&format!("/api/admin/reports/{path}")).by(&admin).send().await.mistakes();
    assert_eq!(ask("occupancy?by=channel").await, ["by invalid"]);
    assert_eq!(ask("revenue?by=customer").await, ["by invalid"]);
    assert_eq!(ask("bookings.csv?bom=yes").await, ["bom invalid"]);
    // The calendar's first and last days are no error.
    for day in ["0001-01-01", "9999-12-31"] {
        app.get(&format!("/api/admin/reports/revenue?from={day}")).by(&admin).send().await.ok(200);
    }
}

/// Adds bookings to shows, with this many seats each. A name follows an expression of the number `i` of the booking.
async fn add_bookings(app: &TestApp, owner: &User, count: i64, seats: i64, show: &str) {
    let (at, id) = (app.backend.instant(-60), owner.id);
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let bookings = "INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at)";
    let reference = "substr(CAST(10000000000 + i AS text), 2)";
    let rows = format!("SELECT 1000000 + i, {reference}, {id}, {show}, 'confirmed', 'EUR', {at} FROM n");
    app.backend.execute(&format!("{numbers} {bookings} {rows}")).await;
    let columns = "INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor)";
    let rows = format!(
        "SELECT b.id, s.id, p.i - 1, 'standard', 1250 FROM bookings b
         JOIN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {seats}) SELECT i FROM n) p ON true
         JOIN seats s ON s.id = (SELECT min(id) FROM seats) + p.i - 1 WHERE b.id > 1000000"
    );
    app.backend.execute(&format!("{columns} {rows}")).await;
}

async fn report_of_too_many_rows_is_refused(app: &TestApp) {
    let (admin, ana) = (app.sign_up_admin().await, app.sign_up().await);
    let soon = app.world.soon;
    let columns =
        "movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, language, currency, created_at";
    // Cancelled shows may overlap.
    let shows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
         INSERT INTO shows (format, status, {columns}) SELECT 'many', 'cancelled', {columns} FROM shows, n WHERE shows.id = {soon}"
    );
    app.backend.execute(&shows).await;
    let first = app.backend.count("SELECT min(id) FROM shows WHERE format = 'many'").await;
    add_bookings(app, &ana, 10_001, 1, &format!("{first} + i - 1")).await;
    let refused = report(app, &admin, "revenue", "by=show").await;
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("10001 rows"), "{refused:?}");
    assert_eq!(refused.mistakes(), ["by too_many_rows"]);
    let by_day = report(app, &admin, "revenue", "by=day").await.ok(200).json();
    assert_eq!(by_day["totals"][0]["tickets"], 10_001);
    assert_eq!(by_day["totals"][0]["gross"], "125012.50");
}

async fn booked_seats_are_a_file(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let (ana, [alpha, beta, cancelled]) = sell(app).await;
    app.backend.execute(&format!("UPDATE users SET name = '=HYPERLINK(\"x\")' WHERE id = {}", ana.id)).await;
    let soon = app.world.soon;
    let movie = format!("(SELECT movie_id FROM shows WHERE id = {soon})");
    app.backend.execute(&format!("UPDATE movies SET title = '+Up, \"Two\"' WHERE id = {movie}")).await;
    app.backend.execute(&format!("UPDATE bookings SET tax_basis_points = 1900 WHERE id = {}", beta["id"])).await;
    let file = report(app, &admin, "bookings.csv", "").await.ok(200);
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let today = app.world.base.date_naive();
    let (from, to) = (today.checked_sub_days(Days::new(5)).unwrap(), today.checked_add_days(Days::new(10)).unwrap());
    let name = format!("attachment; filename=\"bookings-{from}-{to}.csv\"");
    assert_eq!(
        (file.header("content-disposition"), file.header("cache-control")),
        (Some(name.as_str()), Some("no-store"))
    );
    let mut lines: Vec<_> = file.text().split_terminator("\r\n").collect();
    let header = "reference,status,channel,payment_kind,booked_at,show_start,show_id,movie,theatre,hall,section,seat,category,\
        ticket_type,price,currency,tax_rate,tax,customer_name,customer_email";
    assert_eq!((lines.remove(0), file.text().contains("\n\n")), (header, false));
    let local = |time: &Value, zone: chrono_tz::Tz| {
        let time = DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
        time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
    };
    let expected = |booking: &Value, seat: usize, zone, theatre: &str, status: &str, amounts: &str| {
        let (reference, show) = (booking["reference"].as_str().unwrap(), &booking["show_id"]);
        let (booked, start) = (local(&booking["booked_at"], zone), local(&booking["start_time"], zone));
        let seat = &booking["seats"][seat];
        let seat = format!("{} {}", seat["row"].as_str().unwrap(), seat["number"]);
        let movie = "\"'+Up, \"\"Two\"\"\"";
        let who = format!("\"'=HYPERLINK(\"\"x\"\")\",{}", ana.email);
        format!(
            "{reference},{status},online,,{booked},{start},{show},{movie},{theatre},Main,,{seat},standard,adult,{amounts},{who}"
        )
    };
    let (berlin, tokyo) = (chrono_tz::Europe::Berlin, chrono_tz::Asia::Tokyo);
    let mut wanted = vec![
        expected(&alpha, 0, berlin, "Alpha", "confirmed", "12.50,EUR,7.00,0.82"),
        expected(&alpha, 1, berlin, "Alpha", "confirmed", "12.50,EUR,7.00,0.82"),
        expected(&beta, 0, tokyo, "Beta", "confirmed", "1900,JPY,19.00,303"),
        expected(&cancelled, 0, tokyo, "Beta", "cancelled", "1900,JPY,7.00,124"),
    ];
    wanted.sort();
    lines.sort_unstable();
    assert_eq!(lines, wanted);
    let marked = report(app, &admin, "bookings.csv", "bom=true").await.ok(200);
    assert_eq!(marked.bytes, [b"\xEF\xBB\xBF".as_slice(), &file.bytes].concat());
    let plain = report(app, &admin, "bookings.csv", "bom=false").await.ok(200);
    assert_eq!(plain.bytes, file.bytes);
}

async fn client_may_accept_the_file_alone(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let ask = async |path: &str, accept: &str| {
        app.get(&format!("/api/admin/reports/{path}")).header("accept", accept).by(&admin).send().await
    };
    for accept in ["text/csv", "text/*;q=0.5", "*/*", "application/json", "text/html, text/csv"] {
        ask("bookings.csv", accept).await.ok(200);
    }
    ask("bookings.csv", "text/html").await.problem(406, "not_acceptable");
    ask("bookings.csv", "text/csv;q=0, text/*").await.problem(406, "not_acceptable");
    ask("revenue", "text/csv").await.problem(406, "not_acceptable");
    // Problems are JSON all the same.
    ask("bookings.csv?from=x", "text/csv").await.problem(400, "validation_failed");
}

async fn file_that_cannot_be_finished_is_cut_off(app: &TestApp) {
    let (admin, ana) = (app.sign_up_admin().await, app.sign_up().await);
    // Much more than the buffers of client and server hold.
    add_bookings(
        app,
        &ana,
        12_000,
        4,
        &format!("CASE WHEN i % 2 = 0 THEN {} ELSE {} END", app.world.soon, app.world.beside),
    )
    .await;
    let url = format!("http://{}/api/admin/reports/bookings.csv?{}", app.direct(), days(app));
    let client = http_client().build().unwrap();
    let mut response = client.get(&url).bearer_auth(&admin.token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap().expect("the file begins");
    app.backend.execute("ALTER TABLE booking_seats RENAME TO lost").await;
    let mut read = 0;
    let outcome = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => break Ok(read),
            Err(error) => break Err(error),
        }
    };
    assert!(outcome.is_err(), "the file ends after {read} bytes as if it were whole");
    app.get("/healthz").send().await.ok(200);
    app.backend.execute("ALTER TABLE lost RENAME TO booking_seats").await;
    let whole = app.get(&format!("/api/admin/reports/bookings.csv?{}", days(app))).by(&admin).send().await.ok(200);
    assert_eq!(whole.text().lines().count(), 48_001);
}
