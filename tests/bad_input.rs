//! Invalid requests: each gets a description of its mistakes, and changes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, PASSWORD, TestApp, User};
use crate::openapi::operations;

on_both_stores!(
    body_that_is_not_json_is_malformed,
    body_that_is_not_an_object_is_refused,
    all_missing_fields_are_reported_together,
    fields_of_the_wrong_type_are_reported,
    texts_outside_their_limits_are_reported,
    texts_at_their_limits_are_accepted,
    invalid_ids_are_reported,
    invalid_seat_lists_are_reported,
    unknown_fields_are_ignored,
    other_media_types_are_refused,
    body_of_five_megabytes_is_refused_with_a_readable_response,
    announced_body_that_is_too_large_is_refused,
    invalid_ids_in_paths_are_reported,
    invalid_parameters_are_reported,
    all_invalid_parameters_are_reported_together,
    invalid_cursors_are_reported,
    unknown_parameters_are_ignored,
);

/// Checks that `requests` changes nothing.
async fn without_a_trace(app: &TestApp, requests: impl AsyncFnOnce()) {
    let before = app.footprint().await;
    requests().await;
    assert_eq!(app.footprint().await, before, "a refused request has changed something");
}

/// Returns the calls that take a body, without one.
fn calls_with_a_body(app: &TestApp, user: &User) -> Vec<Call> {
    vec![
        app.post("/api/auth/register"),
        app.post("/api/auth/login"),
        app.post("/api/auth/refresh"),
        app.post("/api/auth/logout"),
        app.post("/api/bookings").by(user).key("a-key"),
        app.call(Method::PATCH, "/api/me").by(user),
    ]
}

async fn body_that_is_not_json_is_malformed(app: &TestApp) {
    let user = app.sign_up().await;
    let deep_list = format!("{{\"name\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let twice = format!("{{\"show_id\":{show},\"seat_id\":{seat},\"seat_id\":{seat}}}");
    let bodies: [&[u8]; 17] = [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{\"name\":}",
        b"{'name':'Ana'}",
        b"{\"name\":\"Ana\",}",
        b"name=Ana",
        b"NaN",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":\"\xc3\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"a\0b\"}",
        b"\xef\xbb\xbf{\"name\":\"Ana\"",
        deep_list.as_bytes(),
        deep_object.as_bytes(),
        twice.as_bytes(),
    ];
    without_a_trace(app, async || {
        for body in bodies {
            for call in calls_with_a_body(app, &user) {
                call.body("application/json", body).send().await.problem(400, "malformed_json");
            }
        }
    })
    .await;
    let answer = app.post("/api/auth/login").body("application/json", "{").send().await;
    answer.snapshot("malformed_json");
}

async fn body_that_is_not_an_object_is_refused(app: &TestApp) {
    let user = app.sign_up().await;
    without_a_trace(app, async || {
        for body in [json!([]), json!(null), json!("text"), json!(1), json!(true), json!([{ "name": "Ana" }])] {
            for call in calls_with_a_body(app, &user) {
                assert_eq!(call.json(&body).send().await.mistakes(), ["body wrong_type"], "{body}");
            }
        }
    })
    .await;
}

async fn register(app: &TestApp, body: &Value) -> Answer {
    app.post("/api/auth/register").json(body).send().await
}

async fn all_missing_fields_are_reported_together(app: &TestApp) {
    let user = app.sign_up().await;
    without_a_trace(app, async || {
        for nothing in [json!({}), json!({ "name": null, "email": null, "password": null })] {
            let answer = register(app, &nothing).await.snapshot("register_without_fields");
            assert_eq!(answer.mistakes(), ["name required", "email required", "password required"]);
            let login = app.post("/api/auth/login").json(&nothing).send().await.snapshot("login_without_fields");
            assert_eq!(login.mistakes(), ["email required", "password required"]);
        }
        let refresh = app.post("/api/auth/refresh").json(&json!({})).send().await;
        assert_eq!(refresh.mistakes(), ["refresh_token required"]);
        for nothing in [json!({}), json!({ "show_id": null, "seat_id": null, "seat_ids": null, "hold_id": null })] {
            let answer = app.book(&user, "k", &nothing).await.snapshot("book_without_fields");
            assert_eq!(answer.mistakes(), ["show_id required", "seat_id required"]);
        }
        let seat_only = app.book(&user, "k", &json!({ "seat_id": 1 })).await;
        assert_eq!(seat_only.mistakes(), ["show_id required"]);
        let show_only = app.book(&user, "k", &json!({ "show_id": 1 })).await;
        assert_eq!(show_only.mistakes(), ["seat_id required"]);
    })
    .await;
}

async fn fields_of_the_wrong_type_are_reported(app: &TestApp) {
    let user = app.sign_up().await;
    without_a_trace(app, async || {
        for wrong in [json!(1), json!(true), json!(["Ana"]), json!({ "a": 1 }), json!(1.5)] {
            let body = json!({ "name": wrong, "email": wrong, "password": wrong, "refresh_token": wrong });
            let told = register(app, &body).await.mistakes();
            assert_eq!(told, ["name wrong_type", "email wrong_type", "password wrong_type"], "{wrong}");
            let told = app.post("/api/auth/login").json(&body).send().await.mistakes();
            assert_eq!(told, ["email wrong_type", "password wrong_type"], "{wrong}");
            for path in ["/api/auth/refresh", "/api/auth/logout"] {
                let told = app.post(path).json(&body).send().await.mistakes();
                assert_eq!(told, ["refresh_token wrong_type"], "{wrong}");
            }
            let told = app.book(&user, "k", &json!({ "hold_id": wrong })).await.mistakes();
            assert_eq!(told, ["hold_id wrong_type"], "{wrong}");
        }
    })
    .await;
}

fn sign_up_body(field: &str, value: &str) -> Value {
    let mut body = json!({ "name": "Ana", "email": "ana@example.org", "password": PASSWORD });
    body[field] = value.into();
    body
}

async fn texts_outside_their_limits_are_reported(app: &TestApp) {
    let long = "x".repeat(10_000);
    let too_long_name = "ß".repeat(101);
    let too_long_email = format!("{}@example.org", "x".repeat(243));
    let too_long_password = "p".repeat(129);
    let wrong = [
        ("name", "", "too_short"),
        ("name", "   ", "too_short"),
        ("name", "\u{3000}\u{a0}", "too_short"),
        ("name", &too_long_name, "too_long"),
        ("name", &long, "too_long"),
        ("name", "a\0b", "invalid_character"),
        ("name", "a\nb", "invalid_character"),
        ("name", "a\u{1b}[31mb", "invalid_character"),
        ("name", "a\u{7f}b", "invalid_character"),
        ("name", "a\u{85}b", "invalid_character"),
        ("email", "", "too_short"),
        ("email", "  ", "too_short"),
        ("email", &too_long_email, "too_long"),
        ("email", &long, "too_long"),
        ("email", "a\0@example.org", "invalid_character"),
        ("email", "a\r\nBcc: b@example.org", "invalid_character"),
        ("email", "ana", "invalid"),
        ("email", "ana@", "invalid"),
        ("email", "@example.org", "invalid"),
        ("email", "ana@localhost", "invalid"),
        ("email", "ana@example..org", "invalid"),
        ("email", "a na@example.org", "invalid"),
        ("email", "ana@eve@example.org", "invalid"),
        ("password", "", "too_short"),
        ("password", "1234567", "too_short"),
        ("password", &too_long_password, "too_long"),
        ("password", &long, "too_long"),
    ];
    without_a_trace(app, async || {
        for (field, value, code) in wrong {
            let told = register(app, &sign_up_body(field, value)).await.mistakes();
            assert_eq!(told, [format!("{field} {code}")], "{value:?}");
        }
        let all = json!({ "name": long, "email": "ana", "password": "short" });
        let answer = register(app, &all).await.snapshot("register_with_mistakes");
        assert_eq!(answer.mistakes(), ["name too_long", "email invalid", "password too_short"]);
        for path in ["/api/auth/refresh", "/api/auth/logout"] {
            let call = |token: &str| app.post(path).json(&json!({ "refresh_token": token }));
            assert_eq!(call("").send().await.mistakes(), ["refresh_token too_short"]);
            assert_eq!(call(&long).send().await.mistakes(), ["refresh_token too_long"]);
        }
    })
    .await;
}

async fn texts_at_their_limits_are_accepted(app: &TestApp) {
    let longest_email = format!("{}@example.org", "x".repeat(242));
    let longest_name = "ß".repeat(100);
    for (field, value) in [("name", longest_name.as_str()), ("email", &longest_email), ("password", "12345678")] {
        let mut body = sign_up_body(field, value);
        if field != "email" {
            body["email"] = format!("{field}@example.org").into();
        }
        let made = register(app, &body).await.ok(201).json();
        if field != "password" {
            assert_eq!(made[field], value);
        }
    }
    // Names with special characters are stored and returned unchanged.
    for name in ["Robert'); DROP TABLE users;--", "<script>alert(1)</script>", "%s%n", "{{7*7}}", "👩‍👩‍👧"]
    {
        let email = format!("n{}@example.org", name.len());
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        assert_eq!(register(app, &body).await.ok(201).json()["name"], name);
    }
}

/// JSON values that are not ids, with the expected mistake.
const NO_IDS: [(&str, &str); 17] = [
    ("0", "out_of_range"),
    ("-1", "out_of_range"),
    ("-9223372036854775808", "out_of_range"),
    ("9223372036854775808", "out_of_range"),
    ("18446744073709551615", "out_of_range"),
    ("1.5", "wrong_type"),
    ("1e-1", "wrong_type"),
    ("1e300", "out_of_range"),
    ("-0.0", "out_of_range"),
    ("123456789012345678901234567890", "out_of_range"),
    ("\"1\"", "wrong_type"),
    ("\"\"", "wrong_type"),
    ("true", "wrong_type"),
    ("{}", "wrong_type"),
    ("[1]", "wrong_type"),
    ("\"1 OR 1=1\"", "wrong_type"),
    ("\"\\u0000\"", "wrong_type"),
];

async fn invalid_ids_are_reported(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let book = async |text: String| {
        app.post("/api/bookings").by(&user).key("k").body("application/json", text).send().await.mistakes()
    };
    without_a_trace(app, async || {
        for (wrong, code) in NO_IDS {
            let of_show = book(format!("{{\"show_id\":{wrong},\"seat_id\":{seat}}}")).await;
            assert_eq!(of_show, [format!("show_id {code}")], "{wrong}");
            let of_seat = book(format!("{{\"show_id\":{show},\"seat_id\":{wrong}}}")).await;
            assert_eq!(of_seat, [format!("seat_id {code}")], "{wrong}");
            let of_both = book(format!("{{\"show_id\":{wrong},\"seat_id\":{wrong}}}")).await;
            assert_eq!(of_both, [format!("show_id {code}"), format!("seat_id {code}")], "{wrong}");
            let in_list = book(format!("{{\"show_id\":{show},\"seat_ids\":[{seat},{wrong}]}}")).await;
            assert_eq!(in_list, [format!("seat_ids[1] {code}")], "{wrong}");
        }
        // Larger than any number. Parsers may or may not accept it as JSON, but it is no seat either way.
        let beyond = format!("{{\"show_id\":{show},\"seat_id\":1e999}}");
        app.post("/api/bookings").by(&user).key("k").body("application/json", beyond).send().await.ok(400);
    })
    .await;
}

async fn invalid_seat_lists_are_reported(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let book = async |seats: Value| app.book(&user, "k", &json!({ "show_id": show, "seat_ids": seats })).await;
    without_a_trace(app, async || {
        for wrong in [json!("1,2"), json!(1), json!({ "0": 1 }), json!(true)] {
            assert_eq!(book(wrong.clone()).await.mistakes(), ["seat_ids wrong_type"], "{wrong}");
        }
        assert_eq!(book(json!([])).await.snapshot("seat_ids_empty").mistakes(), ["seat_ids too_few"]);
        assert_eq!(book(json!([seat, seat])).await.mistakes(), ["seat_ids repeated"]);
        assert_eq!(
            book(json!([null, 1.5, seat])).await.mistakes(),
            ["seat_ids[0] wrong_type", "seat_ids[1] wrong_type"]
        );
        let many: Vec<_> = app.world.main.iter().take(11).map(|seat| seat.id.0).collect();
        book(json!(many)).await.problem(422, "too_many_seats");
        let very_many: Vec<_> = (1..10_000).collect();
        book(json!(very_many)).await.problem(422, "too_many_seats");
        let foreign = app.world.small[0].id.0;
        book(json!([foreign])).await.problem(404, "seat_not_found");
    })
    .await;
}

async fn unknown_fields_are_ignored(app: &TestApp) {
    let mut body = sign_up_body("name", "Ana");
    body["favourite"] = json!({ "movie": ["Сталкер", null, 1.5, { "a": {} }] });
    let user = register(app, &body).await.ok(201).user();
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let body =
        json!({ "show_id": show, "seat_id": seat, "user_id": 1, "price": "0.00", "status": "refunded", "": null });
    let booking = app.book(&user, "k", &body).await.booking();
    assert_eq!((&booking["user_id"], &booking["total"]), (&user.id.into(), &"12.50".into()));
    assert_eq!(booking["status"], "confirmed");
}

async fn other_media_types_are_refused(app: &TestApp) {
    let user = app.sign_up().await;
    without_a_trace(app, async || {
        let good = sign_up_body("name", "Ana").to_string();
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json; charset=latin1",
            "application/jsonp",
            "",
        ] {
            for call in calls_with_a_body(app, &user) {
                call.body(media_type, good.clone()).send().await.problem(415, "unsupported_media_type");
            }
        }
        for call in calls_with_a_body(app, &user) {
            // Neither a body nor a content type.
            call.send().await.problem(415, "unsupported_media_type").snapshot("unsupported_media_type");
        }
        for call in calls_with_a_body(app, &user) {
            let packed = call.header("content-encoding", "gzip").body("application/json", vec![0x1f, 0x8b, 8, 0]);
            packed.send().await.problem(415, "unsupported_media_type");
        }
    })
    .await;
    for media_type in ["application/json;charset=UTF-8", "APPLICATION/JSON", "application/problem+json"] {
        let body = json!({ "email": user.email, "password": PASSWORD }).to_string();
        app.post("/api/auth/login").body(media_type, body).send().await.ok(200);
    }
}

async fn body_of_five_megabytes_is_refused_with_a_readable_response(app: &TestApp) {
    app.connect_directly("nginx refuses bodies of more than 1 MB");
    let user = app.sign_up().await;
    let large = |byte: u8| {
        let mut body = b"{\"name\":\"".to_vec();
        body.resize(5 * 1024 * 1024, byte);
        body
    };
    without_a_trace(app, async || {
        for byte in [b'x', 0, 0xff] {
            for call in calls_with_a_body(app, &user) {
                let answer = call.body("application/json", large(byte)).send().await;
                answer.problem(413, "payload_too_large").snapshot("payload_too_large");
            }
        }
        // Calls that do not read a body still get their response delivered.
        let json = "application/json";
        let nobody = app.post("/api/bookings").key("k").body(json, large(b'x')).send().await;
        nobody.problem(401, "unauthenticated");
        app.post("/api/bookings")
            .by(&user)
            .body(json, large(b'x'))
            .send()
            .await
            .problem(400, "idempotency_key_missing");
        app.post("/api/nothing").body(json, large(b'x')).send().await.problem(404, "not_found");
        app.call(Method::PUT, "/api/movies").body(json, large(b'x')).send().await.problem(405, "method_not_allowed");
        app.get("/api/movies").body(json, large(b'x')).send().await.ok(200);
    })
    .await;
    app.me(&user.token).await.ok(200);
}

async fn announced_body_that_is_too_large_is_refused(app: &TestApp) {
    let mut body = sign_up_body("name", "Ana").to_string().into_bytes();
    body.resize(64 * 1024, b' ');
    app.post("/api/auth/register").body("application/json", body.clone()).send().await.ok(201);
    body.push(b' ');
    without_a_trace(app, async || {
        app.post("/api/auth/register").body("application/json", body).send().await.problem(413, "payload_too_large");
    })
    .await;
}

async fn invalid_ids_in_paths_are_reported(app: &TestApp) {
    app.connect_directly("nginx refuses `%00`");
    let user = app.sign_up_admin().await;
    without_a_trace(app, async || {
        for wrong in [
            "0",
            "-1",
            "+1",
            "01",
            "1.0",
            "1e3",
            "abc",
            "9223372036854775808",
            "99999999999999999999999",
            "%00",
            "1%00",
            "%20",
            "1%20",
            "%EF%BC%91",
            "%FF",
            "null",
            "*",
            "1;2",
            "1,2",
            "'%20OR%201=1",
        ] {
            for operation in operations() {
                for parameter in operation.path_parameters() {
                    // A hold id is a text, and a malformed one is treated as unknown.
                    if parameter != "hold_id" {
                        let call = operation.call(app, &[(parameter, wrong.to_owned())].into());
                        let mistakes = call.by(&user).key("a-key").send().await.mistakes();
                        assert_eq!(mistakes, [format!("{parameter} invalid")], "{} {wrong}", operation.path);
                    }
                }
            }
        }
        app.get("/api/movies/abc").send().await.snapshot("path_invalid");
    })
    .await;
}

async fn told(app: &TestApp, user: &User, path: &str) -> Vec<String> {
    app.get(path).by(user).send().await.mistakes()
}

async fn invalid_parameters_are_reported(app: &TestApp) {
    app.connect_directly("nginx refuses request lines of more than 8 kB");
    let user = app.sign_up().await;
    let shows = format!("/api/movies/{}/shows", app.get("/api/movies").send().await.column("id")[0]);
    let lists = ["/api/movies", "/api/shows", "/api/theatres", "/api/bookings", &shows];
    for list in lists {
        for wrong in ["0", "-1", "101", "1.5", "abc", "", "99999999999999999999", "1%00", "%2B5x"] {
            assert_eq!(told(app, &user, &format!("{list}?limit={wrong}")).await, ["limit invalid"], "{list} {wrong}");
        }
        assert_eq!(told(app, &user, &format!("{list}?limit=1&limit=2")).await, ["limit repeated"], "{list}");
    }
    for list in ["/api/movies", "/api/shows", &shows] {
        for wrong in [
            "2026-02-30",
            "2026-13-01",
            "26-01-01",
            "2026-1-1",
            "2026-01-01T00:00:00Z",
            "today",
            "",
            "20260101",
            "%002026-01-01",
            "-2026-01-01",
            "%2B2026-1-1",
        ] {
            assert_eq!(told(app, &user, &format!("{list}?date={wrong}")).await, ["date invalid"], "{list} {wrong}");
        }
        for wrong in ["0", "-1", "abc", "1.5", "9223372036854775808", ""] {
            let path = format!("{list}?theatre_id={wrong}");
            assert_eq!(told(app, &user, &path).await, ["theatre_id invalid"], "{list} {wrong}");
        }
    }
    for list in ["/api/shows", &shows] {
        for wrong in ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T25:00:00Z", "now", "", "1767225600", "%00"] {
            assert_eq!(told(app, &user, &format!("{list}?from={wrong}")).await, ["from invalid"], "{list} {wrong}");
            assert_eq!(told(app, &user, &format!("{list}?to={wrong}")).await, ["to invalid"], "{list} {wrong}");
        }
        for wrong in ["yes", "1", "", "TRUE"] {
            let path = format!("{list}?include_past={wrong}");
            assert_eq!(told(app, &user, &path).await, ["include_past invalid"], "{list} {wrong}");
        }
    }
    for wrong in ["now", "", "Upcoming", "upcoming,past"] {
        assert_eq!(told(app, &user, &format!("/api/bookings?when={wrong}")).await, ["when invalid"], "{wrong}");
    }
    for wrong in ["unknown", "", "CONFIRMED"] {
        assert_eq!(told(app, &user, &format!("/api/bookings?status={wrong}")).await, ["status invalid"], "{wrong}");
    }
    let long = "x".repeat(10_000);
    for name in ["search", "genre", "language"] {
        assert_eq!(told(app, &user, &format!("/api/movies?{name}={long}")).await, [format!("{name} too_long")]);
        for wrong in ["%00", "a%0Ab", "%1B"] {
            let path = format!("/api/movies?{name}={wrong}");
            assert_eq!(told(app, &user, &path).await, [format!("{name} invalid_character")], "{wrong}");
        }
    }
    // Bytes that are not UTF-8 are answered, and never by a 5xx status.
    for name in ["search", "genre", "limit", "cursor", "date"] {
        let answer = app.get(&format!("/api/movies?{name}=%FF%FE")).send().await;
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
    }
}

async fn all_invalid_parameters_are_reported_together(app: &TestApp) {
    let path = "/api/shows?movie_id=x&theatre_id=0&date=2026-02-30&from=a&to=b&include_past=c&limit=0&cursor=d";
    let answer = app.get(path).send().await.snapshot("query_with_mistakes");
    let mut told = answer.mistakes();
    told.sort();
    let mut expected = ["movie_id", "theatre_id", "date", "from", "to", "include_past", "limit", "cursor"]
        .map(|name| format!("{name} invalid"));
    expected.sort();
    assert_eq!(told, expected);
}

async fn invalid_cursors_are_reported(app: &TestApp) {
    app.connect_directly("nginx refuses request lines of more than 8 kB");
    let user = app.sign_up().await;
    let packed = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let long = "A".repeat(10_000);
    let wrong = [
        String::new(),
        "x".to_owned(),
        "%00".to_owned(),
        "1".to_owned(),
        "../../etc/passwd".to_owned(),
        long,
        packed(json!(null)),
        packed(json!([])),
        packed(json!(["movies"])),
        packed(json!(["movies", 1, 1])),
        packed(json!(["movies", "a\0b", 1])),
        packed(json!(["theatres", "a", "b"])),
        packed(json!(["theatres", "a", 1.5])),
        packed(json!(["shows", i64::MAX, 1])),
        packed(json!(["shows", i64::MIN, 1])),
        packed(json!(["shows", "2026-01-01", 1])),
        packed(json!(["bookings", 1, u64::MAX])),
        packed(json!(["bookings", [1], 1])),
    ];
    for list in ["/api/movies", "/api/shows", "/api/theatres", "/api/bookings", "/api/me/sessions"] {
        for cursor in &wrong {
            let path = format!("{list}?cursor={cursor}");
            assert_eq!(told(app, &user, &path).await, ["cursor invalid"], "{path}");
        }
        // A cursor that the server never issued, with extreme values, is answered like any other.
        let kind = list.rsplit('/').next().unwrap();
        for place in [json!([kind, "\u{10ffff}", i64::MAX]), json!([kind, "", i64::MIN]), json!([kind, 0, 0])] {
            let answer = app.get(&format!("{list}?cursor={}", packed(place))).by(&user).send().await;
            assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        }
    }
    app.get("/api/movies?cursor=x").send().await.snapshot("cursor_invalid");
}

async fn unknown_parameters_are_ignored(app: &TestApp) {
    let whole = app.get("/api/movies").send().await.ok(200).text().to_owned();
    for query in ["?", "?&&", "?unknown=1", "?=", "?a=b=c&d", "?_=1700000000", "?Limit=0", "?%00=1"] {
        assert_eq!(app.get(&format!("/api/movies{query}")).send().await.ok(200).text(), whole, "{query}");
    }
}
